//! How the values of each kind merge: which lists are told apart by keys, which are sets, what is one whole.
//!
//! One table ([`table`]) for all that merges: strategic merge patches, `kubectl apply`'s three-way merge, and
//! server-side apply with its notes of who owns which field.

mod table;

use serde_json::{Map, Value};

use super::kind::KindRef;

pub use table::of_kind;

/// How a value merges with another one at the same place. What the shape says nothing of merges as its JSON says:
/// objects field by field, all else as a whole.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// An object with named fields.
    Struct(&'static Struct),
    /// An object whose names are keys that a user chose, all with such values.
    Map(&'static Shape),
    /// A list of objects that are told apart by some of their fields.
    Keyed(&'static Keyed),
    /// A list of plain values, each there once.
    Set,
    /// One whole, whatever it is.
    Atomic,
    /// What has no schema: an object merges key by key, a list is one whole.
    Unknown,
}

#[derive(Debug)]
pub struct Struct {
    /// The fields that are in some way special.
    pub fields: &'static [Field],
    /// All others.
    pub others: Shape,
    /// Changes only as a whole when it is applied; a patch merges it nevertheless.
    pub atomic: bool,
}

#[derive(Debug)]
pub struct Keyed {
    pub keys: &'static [&'static str],
    pub item: Shape,
}

#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub strategy: Strategy,
    /// A strategic merge of the object, or of an element of the list, keeps only the alternatives that a patch names.
    pub retain_keys: bool,
}

/// What a strategic merge patch does to a field that both sides have: older than [`Shape`], and not always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Maps merge, lists are replaced.
    Default,
    /// A list whose elements are told apart by this field.
    ByKey(&'static str),
    /// A list of plain values that is a set.
    Set,
    /// A map that is replaced.
    Replace,
}

static PLAIN: Struct = Struct { fields: &[], others: Shape::Struct(&PLAIN), atomic: false };

/// An object with named fields of which none is special.
pub const PLAIN_STRUCT: Shape = Shape::Struct(&PLAIN);

impl Shape {
    /// What is at a name of an object of this shape.
    pub fn at(self, name: &str) -> Shape {
        self.field(name).shape
    }

    pub fn field(self, name: &str) -> Field {
        let plain = |shape| Field { name: "", shape, strategy: Strategy::Default, retain_keys: false };
        match self {
            Shape::Struct(object) => {
                let special = object.fields.iter().find(|field| field.name == name);
                special.copied().unwrap_or(plain(object.others))
            }
            Shape::Map(value) => plain(*value),
            Shape::Unknown => plain(Shape::Unknown),
            Shape::Keyed(_) | Shape::Set | Shape::Atomic => plain(PLAIN_STRUCT),
        }
    }

    /// What the elements of a list of this shape are.
    pub fn item(self) -> Shape {
        match self {
            Shape::Keyed(list) => list.item,
            Shape::Unknown => Shape::Unknown,
            _ => PLAIN_STRUCT,
        }
    }

    /// Is a name in an object of this shape that of a field, and not a key that a user chose?
    pub fn is_field(self, name: &str) -> bool {
        match self {
            Shape::Struct(Struct { others: Shape::Unknown, fields, .. }) => {
                fields.iter().any(|field| field.name == name)
            }
            other => matches!(other, Shape::Struct(_)),
        }
    }

    /// Is `value`, at a place of this shape, one whole for server-side apply?
    pub fn is_leaf(self, value: &Value) -> bool {
        match (self, value) {
            (Shape::Atomic, _) | (Shape::Struct(Struct { atomic: true, .. }), _) => true,
            (_, Value::Object(_)) => false,
            (Shape::Keyed(_) | Shape::Set, Value::Array(_)) => false,
            _ => true,
        }
    }
}

impl Field {
    /// The shape below: of the object, or of each of the list's elements.
    pub fn below(self) -> Shape {
        match self.shape {
            Shape::Keyed(list) => list.item,
            // Merged by key when it is patched, but applied as one whole.
            Shape::Atomic => PLAIN_STRUCT,
            shape => shape,
        }
    }
}

impl Keyed {
    /// The fields that tell `element` apart, each with its value. Empty if it has none of them.
    pub fn keys_of(&self, element: &Map<String, Value>) -> Vec<(&'static str, Value)> {
        let value = |key: &&'static str| {
            let written = element.get(*key).cloned();
            Some((*key, written.or_else(|| default_key(key))?))
        };
        let mut keys: Vec<_> = self.keys.iter().filter_map(value).collect();
        keys.sort_by_key(|(name, _)| *name);
        keys
    }
}

/// The value of a key that is left out: ports are TCP.
fn default_key(key: &str) -> Option<Value> {
    (key == "protocol").then(|| "TCP".into())
}

/// Does a strategic merge patch mean anything for this kind? Not for custom resources.
pub fn has_strategy(kind: KindRef) -> bool {
    !matches!(of_kind(kind), Shape::Struct(Struct { others: Shape::Unknown, .. }))
}
