//! Where something stands in a file, and what is said about it there.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// A line and a column, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// A position in a file, printed `web.yaml:3:11`; only the file's name when it is about the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<str>,
    pub position: Option<Position>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(Position { line, column }) => write!(f, "{}:{line}:{column}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// Something that keeps a manifest from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `None` when there is no file: a path that does not exist.
    pub place: Option<Place>,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message)?,
            None => f.write_str(&self.message)?,
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with the manifests that were asked for; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Something the user should know about a manifest that is used all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub place: Place,
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The positions of a value and of everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// Where the field's name stands, or the item, or the document begins.
    pub key: Position,
    /// Where the value stands; for a map, a list or nothing at all it is where the name stands.
    pub value: Position,
    pub inner: Inner,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Inner {
    #[default]
    Scalar,
    List(Vec<Places>),
    Map(Vec<(String, Places)>),
}

impl Places {
    /// A value that was not read from a file of its own, such as an item in the middle of nowhere.
    pub fn at(position: Position) -> Self {
        Places { key: position, value: position, inner: Inner::Scalar }
    }

    /// The places of the field, or of its nearest ancestor that the file has. Paths are written as Kubernetes writes
    /// them: `spec.ports[0].nodePort`, `metadata.labels[app]`; dots in names need no escape.
    pub fn find(&self, path: &str) -> &Places {
        let mut here = self;
        let mut rest = path.strip_prefix('.').unwrap_or(path);
        while !rest.is_empty() {
            match here.step(rest) {
                Some((inner, after)) => {
                    here = inner;
                    rest = after.strip_prefix('.').unwrap_or(after);
                }
                None => break,
            }
        }
        here
    }

    fn step<'p>(&self, path: &'p str) -> Option<(&Places, &'p str)> {
        let indexed = path.strip_prefix('[').and_then(|p| p.split_once(']'));
        match (&self.inner, indexed) {
            (Inner::List(items), Some((index, after))) => Some((items.get(index.parse::<usize>().ok()?)?, after)),
            (Inner::Map(fields), Some((name, after))) => {
                fields.iter().find(|(field, _)| field == name).map(|(_, places)| (places, after))
            }
            // Of `app` and `app.kubernetes.io/name` the longer one is meant, if both fit.
            (Inner::Map(fields), None) => {
                let fits = fields.iter().filter_map(|(field, places)| {
                    let after = path.strip_prefix(field.as_str())?;
                    (after.is_empty() || after.starts_with(['.', '['])).then_some((places, after))
                });
                fits.min_by_key(|(_, after)| after.len())
            }
            _ => None,
        }
    }
}

/// A value with the places of its parts, as a reader of YAML or JSON makes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    pub places: Places,
}

impl Node {
    pub fn scalar(value: Value, position: Position) -> Self {
        Node { value, places: Places::at(position) }
    }

    pub fn list(items: Vec<Node>, position: Position) -> Self {
        let (mut values, mut places) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for item in items {
            values.push(item.value);
            places.push(item.places);
        }
        Node { value: Value::Array(values), places: Places { inner: Inner::List(places), ..Places::at(position) } }
    }

    /// The items of a list; none of anything else.
    pub fn into_items(self) -> Vec<Node> {
        match (self.value, self.places.inner) {
            (Value::Array(values), Inner::List(places)) => {
                values.into_iter().zip(places).map(|(value, places)| Node { value, places }).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The fields of a map, in the file's order; `None` of anything else.
    pub fn into_fields(self) -> Option<Vec<(String, Node)>> {
        let (Value::Object(mut values), Inner::Map(places)) = (self.value, self.places.inner) else { return None };
        let field = |(name, places)| Some((values.remove::<String>(&name)?, name, places));
        let fields = places.into_iter().filter_map(field);
        Some(fields.map(|(value, name, places)| (name, Node { value, places })).collect())
    }
}

/// A map that is being read, one field after the other.
#[derive(Debug, Default)]
pub struct MapNode {
    values: Map<String, Value>,
    places: Vec<(String, Places)>,
}

impl MapNode {
    /// Sets a field; the value of an earlier one of that name is gone.
    pub fn set(&mut self, name: String, key: Position, node: Node) {
        let mut places = Places { key, ..node.places };
        if matches!(node.value, Value::Object(_) | Value::Array(_) | Value::Null) {
            places.value = key;
        }
        if self.values.insert(name.clone(), node.value).is_some() {
            self.places.retain(|(field, _)| *field != name);
        }
        self.places.push((name, places));
    }

    pub fn finish(self, position: Position) -> Node {
        let places = Places { inner: Inner::Map(self.places), ..Places::at(position) };
        Node { value: Value::Object(self.values), places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(line: u32) -> Places {
        Places::at(Position { line, column: 1 })
    }

    fn map(line: u32, fields: Vec<(&str, Places)>) -> Places {
        let fields = fields.into_iter().map(|(name, places)| (name.to_string(), places)).collect();
        Places { inner: Inner::Map(fields), ..leaf(line) }
    }

    #[test]
    fn a_path_finds_its_field_or_the_nearest_ancestor() {
        let ports = Places { inner: Inner::List(vec![map(4, vec![("port", leaf(5))])]), ..leaf(3) };
        let labels = map(7, vec![("app", leaf(8)), ("app.kubernetes.io/name", leaf(9))]);
        let all = map(1, vec![("spec", map(2, vec![("ports", ports)])), ("labels", labels)]);
        for (path, line) in [
            ("spec.ports[0].port", 5),
            ("spec.ports[0].nodePort", 4),
            ("spec.ports[1].port", 3),
            ("spec.ports[x]", 3),
            ("spec.ports.port", 3),
            ("spec.type.x", 2),
            ("status", 1),
            ("", 1),
            (".spec", 2),
            ("labels[app]", 8),
            ("labels.app", 8),
            ("labels.app.kubernetes.io/name", 9),
            ("labels[app.kubernetes.io/name]", 9),
            ("labels.application", 7),
            ("spec.ports[", 3),
        ] {
            assert_eq!(all.find(path).key.line, line, "{path}");
        }
    }
}
