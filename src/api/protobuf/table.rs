//! How the messages of Kubernetes' API are laid out. `table.txt` has a line for each: its name (`apiVersion.Kind`, or
//! `meta/v1.Kind` for what all groups share), then its fields as `name=number:type`.
//!
//! A type is `string`, `int`, the name of another message, and so on; before it may stand `*` (a pointer: its zero was
//! meant), `[]` (a list) or `{}` (a map from strings). A field called `^` has no name in JSON: what it holds belongs to
//! the message that it stands in.

use std::collections::HashMap;
use std::sync::LazyLock;

pub struct Field {
    pub name: &'static str,
    pub number: u64,
    pub shape: Shape,
    pub kind: Kind,
}

/// The name of a field without one.
pub const INLINE: &str = "^";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One { pointer: bool },
    List,
    Map,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Text,
    Bytes,
    Time {
        micro: bool,
    },
    Quantity,
    IntOrText,
    /// JSON.
    Raw,
    /// A list of strings in a message of its own.
    Items,
    Message(&'static str),
}

static TABLE: LazyLock<HashMap<&'static str, Vec<Field>>> =
    LazyLock::new(|| include_str!("table.txt").lines().filter_map(line).collect());

pub fn message(name: &str) -> Option<&'static [Field]> {
    TABLE.get(name).map(Vec::as_slice)
}

/// The message of an object of this kind.
pub fn object(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    // Some kinds, such as DeleteOptions, go by the version of what they are for.
    message(&format!("{api_version}.{kind}")).or_else(|| message(&format!("meta/v1.{kind}")))
}

fn line(line: &'static str) -> Option<(&'static str, Vec<Field>)> {
    let mut words = line.split(' ');
    let name = words.next().filter(|name| *name != "#")?;
    Some((name, words.filter_map(field).collect()))
}

fn field(word: &'static str) -> Option<Field> {
    let (name, rest) = word.split_once('=')?;
    let (number, kind) = rest.split_once(':')?;
    let (shape, kind) = match kind.get(..2) {
        Some("[]") => (Shape::List, kind.get(2..)?),
        Some("{}") => (Shape::Map, kind.get(2..)?),
        _ => (Shape::One { pointer: kind.starts_with('*') }, kind.strip_prefix('*').unwrap_or(kind)),
    };
    let kind = match kind {
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "time" => Kind::Time { micro: false },
        "microtime" => Kind::Time { micro: true },
        "quantity" => Kind::Quantity,
        "intorstring" => Kind::IntOrText,
        "raw" => Kind::Raw,
        "items" => Kind::Items,
        message => Kind::Message(message),
    };
    Some(Field { name, number: number.parse().ok()?, shape, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::kind;

    #[test]
    fn the_table_is_whole() {
        let lines = include_str!("table.txt").lines().count();
        // Its first line is a comment.
        assert_eq!(TABLE.len(), lines - 1);
        for (name, fields) in TABLE.iter() {
            for field in fields {
                if let Kind::Message(inner) = field.kind {
                    assert!(message(inner).is_some(), "{name}.{}: {inner}", field.name);
                }
            }
        }
        let words: usize = include_str!("table.txt").lines().skip(1).map(|line| line.split(' ').count() - 1).sum();
        assert_eq!(TABLE.values().map(Vec::len).sum::<usize>(), words);
    }

    #[test]
    fn every_kind_of_kubernetes_own_can_be_read() {
        // These groups' clients speak JSON.
        let others = [kind::LAB_GROUP, "apiextensions.k8s.io", "apiregistration.k8s.io"];
        for kind in kind::ALL.iter().filter(|kind| !others.contains(&kind.group)) {
            assert!(object(&kind.api_version(), kind.kind).is_some(), "{} {}", kind.api_version(), kind.kind);
        }
        assert!(object("apps/v1", "DeleteOptions").is_some());
        assert!(object("apps/v1", "Pod").is_none());
    }
}
