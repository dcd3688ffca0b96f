//! A serde deserializer over JSON that remembers where it is.
//!
//! Types tell a deserializer which fields they have; so this one can report the fields that a type does not ask for,
//! and the path of a value that does not fit.

use std::cell::RefCell;
use std::fmt::{self, Display, Write};

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::{Findings, UnknownField, WrongType};

/// Decodes `fields` as a `T` and says what did not fit: of wrong types only the first, which ends the decoding.
pub fn decode<T: DeserializeOwned>(fields: &Map<String, Value>) -> Findings {
    let log = RefCell::new(Findings::default());
    let at = Location { path: &Path::Root, log: &log };
    let known = Known::Any;
    if let Err(misfit) = T::deserialize(Root { fields, at, known }) {
        at.note(|| Value::Object(fields.clone()), &misfit);
    }
    log.into_inner()
}

/// Where the deserializer is, from the inside out.
enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Item(list, index) => write!(f, "{list}[{index}]"),
            // Names with dots would not be told from two names.
            Path::Field(map, name) if name.contains(['.', '[', ']']) => write!(f, "{map}[{name}]"),
            Path::Field(Path::Root, name) => f.write_str(name),
            Path::Field(map, name) => write!(f, "{map}.{name}"),
        }
    }
}

/// Calls `step` with each part of a path that [`Path`] printed.
pub fn split_path(path: &str, step: &mut dyn FnMut(&str)) {
    let mut rest = path;
    while !rest.is_empty() {
        if let Some((inside, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            step(inside);
            rest = after;
        } else {
            let unpointed = rest.strip_prefix('.').unwrap_or(rest);
            let end = unpointed.find(['.', '[']).unwrap_or(unpointed.len());
            let (name, after) = unpointed.split_at(end);
            if name.is_empty() {
                return;
            }
            step(name);
            rest = after;
        }
    }
}

#[derive(Clone, Copy)]
struct Location<'p> {
    path: &'p Path<'p>,
    log: &'p RefCell<Findings>,
}

impl Location<'_> {
    /// Decodes the value that stands here. An error is noted here unless it was noted further in.
    fn decode<'de, S: DeserializeSeed<'de>>(self, value: &'de Value, seed: S) -> Result<S::Value, Misfit> {
        let result = seed.deserialize(Walk { value, at: self, known: Known::Any });
        if let Err(misfit) = &result {
            self.note(|| value.clone(), misfit);
        }
        result
    }

    fn note(self, value: impl FnOnce() -> Value, misfit: &Misfit) {
        let mut log = self.log.borrow_mut();
        if log.wrong.is_empty() {
            let (path, value) = (self.path.to_string(), value());
            log.wrong.push(WrongType { path, value, expected: misfit.expected.clone() });
        }
    }
}

/// The error of this deserializer: only what was expected is kept, the rest is known from the place.
#[derive(Debug)]
struct Misfit {
    expected: String,
}

impl Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl std::error::Error for Misfit {}

impl Error for Misfit {
    fn custom<T: Display>(message: T) -> Self {
        Misfit { expected: message.to_string() }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Misfit { expected: expected.to_string() }
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Misfit { expected: expected.to_string() }
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        let mut one_of = "one of".to_string();
        for (index, variant) in expected.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing to a String does not fail.
            let _ = write!(one_of, "{comma} \"{variant}\"");
        }
        Misfit { expected: one_of }
    }
}

#[derive(Clone, Copy)]
enum Known {
    /// A map with names of the user's choice.
    Any,
    Fields(&'static [&'static str]),
}

/// The object itself, which is a map without a `Value` around it.
struct Root<'de, 'p> {
    fields: &'de Map<String, Value>,
    at: Location<'p>,
    known: Known,
}

impl<'de> Deserializer<'de> for Root<'de, '_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(Fields { rest: self.fields.iter(), value: None, at: self.at, known: self.known })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        Root { known: Known::Fields(fields), ..self }.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Any value inside the object.
struct Walk<'de, 'p> {
    value: &'de Value,
    at: Location<'p>,
    known: Known,
}

impl<'de> Walk<'de, '_> {
    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let Walk { value, at, known } = self;
        match value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items { rest: items.iter(), index: 0, at }),
            Value::Object(fields) => visitor.visit_map(Fields { rest: fields.iter(), value: None, at, known }),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, number) => visitor.visit_f64(number.unwrap_or(f64::NAN)),
            },
        }
    }
}

/// Kubernetes takes null for "nothing": an empty text, 0, false, an empty map or list.
macro_rules! null_is_nothing {
    ($($method:ident => $visit:ident($nothing:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            match self.value {
                Value::Null => visitor.$visit($nothing),
                _ => self.visit(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Walk<'de, '_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.visit(visitor)
    }

    null_is_nothing! {
        deserialize_str => visit_str("");
        deserialize_string => visit_str("");
        deserialize_bool => visit_bool(false);
        deserialize_i32 => visit_i64(0);
        deserialize_i64 => visit_i64(0);
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        static NOTHING: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::Object(Map::new()));
        let value = if self.value.is_null() { &NOTHING } else { self.value };
        Walk { value, known: Known::Fields(fields), ..self }.visit(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.value {
            Value::String(text) => StrDeserializer::<Misfit>::new(text).deserialize_enum(name, variants, visitor),
            _ => Err(Misfit::unknown_variant("", variants)),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

struct Items<'de, 'p> {
    rest: std::slice::Iter<'de, Value>,
    index: usize,
    at: Location<'p>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Misfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Misfit> {
        let Some(value) = self.rest.next() else { return Ok(None) };
        let path = Path::Item(self.at.path, self.index);
        self.index += 1;
        Location { path: &path, ..self.at }.decode(value, seed).map(Some)
    }
}

struct Fields<'de, 'p> {
    rest: serde_json::map::Iter<'de>,
    /// The field whose name was read last.
    value: Option<(&'de str, &'de Value)>,
    at: Location<'p>,
    known: Known,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Misfit;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Misfit> {
        for (name, value) in self.rest.by_ref() {
            match self.known {
                Known::Fields(known) if !known.contains(&name.as_str()) => {
                    let path = Path::Field(self.at.path, name).to_string();
                    self.at.log.borrow_mut().unknown.push(UnknownField { path, name: name.clone(), known });
                }
                _ => {
                    self.value = Some((name, value));
                    return seed.deserialize(StrDeserializer::new(name)).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        let Some((name, value)) = self.value.take() else { return Err(Misfit::custom("the name of a field")) };
        let path = Path::Field(self.at.path, name);
        Location { path: &path, ..self.at }.decode(value, seed)
    }
}
