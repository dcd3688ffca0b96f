//! What only the text of an object shows: fields that stand in it twice, and the order of what is wrong with it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::UnknownField;

/// A text with more to say about it than this is no manifest; upstream's reader ends there too.
const MOST: usize = 100;

/// What field validation says about a JSON text, in its order: `unknown field "spec.foo"` for those of `unknown`, and
/// `duplicate field "spec.replicas"`. Of a text that is no JSON, what stands before the error.
pub fn strict_errors(text: &[u8], unknown: &[UnknownField]) -> Vec<String> {
    let found = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(text);
    // Whether it is JSON is asked elsewhere.
    let _ = Below { path: String::new(), unknown, found: &found }.deserialize(&mut reader);
    found.into_inner()
}

/// The value at a path.
struct Below<'a> {
    path: String,
    unknown: &'a [UnknownField],
    found: &'a RefCell<Vec<String>>,
}

impl Below<'_> {
    fn say(&self, message: String) {
        let mut found = self.found.borrow_mut();
        if found.len() < MOST && !found.contains(&message) {
            found.push(message);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Below<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Below<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let dot = if self.path.is_empty() { "" } else { "." };
            let path = format!("{}{dot}{name}", self.path);
            if self.unknown.iter().any(|field| field.path == path) {
                self.say(format!("unknown field \"{path}\""));
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if !seen.insert(name) {
                self.say(format!("duplicate field \"{path}\""));
            }
            map.next_value_seed(Below { path, ..self })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while seq.next_element_seed(Below { path: format!("{}[{index}]", self.path), ..self })?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_in_the_order_of_the_text() {
        let unknown = |path: &str| UnknownField { path: path.into(), name: String::new(), known: &[] };
        let text = br#"{"spec": {"zoo": {"a": 1, "a": 2}, "replicas": 1, "bar": 1, "replicas": 2, "replicas": 3,
            "ports": [{"port": 1}, {"port": 1, "port": 2, "x": null}]}, "metadata": {"labels": {"a/b": "1", "a/b": "2"}}}"#;
        let unknown = [unknown("spec.bar"), unknown("spec.ports[1].x"), unknown("spec.zoo")];
        assert_eq!(
            strict_errors(text, &unknown),
            [
                "unknown field \"spec.zoo\"",
                "unknown field \"spec.bar\"",
                "duplicate field \"spec.replicas\"",
                "duplicate field \"spec.ports[1].port\"",
                "unknown field \"spec.ports[1].x\"",
                "duplicate field \"metadata.labels.a/b\"",
            ]
        );
        assert_eq!(strict_errors(br#"[{"op": "add", "op": "x"}]"#, &[]), ["duplicate field \"[0].op\""]);
        assert_eq!(strict_errors(br#"{"a": 1, "b": ]"#, &[]), Vec::<String>::new());
    }
}
