//! The documents of a file: what is an object, what is a list of objects, and what is neither.

use std::sync::Arc;

use serde_json::Value;

use super::place::{Node, Note, Place, Places, Position, Problem};
use super::syntax::{self, Explained};
use super::text::Part;
use super::{json, text, yaml};
use crate::object::nearest::nearest;
use crate::object::{Object, convert, kind};

/// One object of a manifest, in its kind's present version.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub object: Object,
    /// The file's name as the user gave it.
    pub file: Arc<str>,
    /// The document's number in its file, from 1. The items of a `kind: List` share one.
    pub number: usize,
    /// What was put right on the way, in the words to print.
    pub notes: Vec<Note>,
    places: Places,
}

impl Document {
    /// Where the value of a field stands, such as `spec.ports[0].nodePort`; of a field that the file does not have,
    /// its nearest ancestor.
    pub fn place(&self, path: &str) -> Place {
        self.at(self.places.find(path).value)
    }

    /// Where the name of a field stands.
    pub fn key_place(&self, path: &str) -> Place {
        self.at(self.places.find(path).key)
    }

    /// Where the document begins.
    pub fn start(&self) -> Place {
        self.at(self.places.key)
    }

    pub fn problem(&self, path: &str, message: impl Into<String>, help: Option<String>) -> Problem {
        Problem { place: Some(self.place(path)), message: message.into(), help }
    }

    fn at(&self, position: Position) -> Place {
        Place { file: self.file.clone(), position: Some(position) }
    }
}

/// What a file holds, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Contents {
    pub documents: Vec<Document>,
    pub problems: Vec<Problem>,
}

/// Reads the bytes of one file.
pub fn read(file: &Arc<str>, bytes: &[u8]) -> Contents {
    let mut reader = Reader { file, number: 0, contents: Contents::default() };
    match text::decode(bytes) {
        Err(error) => reader.problem(Explained { position: error.position, message: error.message, help: error.help }),
        Ok(text) => reader.text(&text),
    }
    reader.contents
}

/// The first value in the bytes of one file.
pub fn read_value(file: &Arc<str>, bytes: &[u8]) -> Result<Value, Problem> {
    let problem = |explained: Explained| Problem {
        place: Some(Place { file: file.clone(), position: Some(explained.position) }),
        message: explained.message,
        help: explained.help,
    };
    let text = text::decode(bytes)
        .map_err(|e| problem(Explained { position: e.position, message: e.message, help: e.help }))?;
    let json = if json::looks_like_json(&text) { json::read(&text).ok() } else { None };
    let nodes = match json {
        Some(nodes) => nodes,
        None => yaml::read(&text, 1).map_err(|error| problem(syntax::explain(&text, 1, error)))?,
    };
    Ok(nodes.into_iter().next().map_or(Value::Null, |node| node.value))
}

struct Reader<'f> {
    file: &'f Arc<str>,
    number: usize,
    contents: Contents,
}

impl Reader<'_> {
    fn place(&self, position: Position) -> Place {
        Place { file: self.file.clone(), position: Some(position) }
    }

    fn problem(&mut self, problem: Explained) {
        let Explained { position, message, help } = problem;
        self.contents.problems.push(Problem { place: Some(self.place(position)), message, help });
    }

    fn text(&mut self, text: &str) {
        if json::looks_like_json(text) {
            // What is no JSON may still be YAML in braces.
            if let Ok(nodes) = json::read(text) {
                nodes.into_iter().for_each(|node| self.document(node, Vec::new()));
                return;
            }
        }
        for part in text::split(text) {
            self.part(part);
        }
    }

    fn part(&mut self, part: Part<'_>) {
        let (text, slashes) = syntax::comment_out_leading_slashes(part.text);
        let line = |number: u32| part.first_line.saturating_add(number).saturating_sub(1);
        let excerpt = syntax::excerpt_line(&text).map(line);
        let mut notes: Vec<Note> = slashes
            .into_iter()
            .map(|number| Note {
                place: self.place(Position { line: line(number), column: 1 }),
                message:
                    "\"//\" does not start a comment in YAML; use \"#\" (did you copy the file name line from a web \
                          page?); the line is left out"
                        .into(),
            })
            .collect();
        let read = yaml::read(&text, part.first_line);
        match (read, excerpt) {
            (Ok(nodes), excerpt) if excerpt.is_none() || nodes.iter().all(|n| is_object(&n.value)) => {
                for node in nodes {
                    self.document(node, std::mem::take(&mut notes));
                }
            }
            (_, Some(line)) => self.problem(Explained {
                position: Position { line, column: 1 },
                message: format!(
                    "this looks like an excerpt (\"...\" at line {line}, no apiVersion and kind): nothing to apply"
                ),
                help: Some("an object begins with its apiVersion and kind; put the whole of it into the file".into()),
            }),
            (Err(error), None) => self.problem(syntax::explain(&text, part.first_line, error)),
            (Ok(_), None) => {}
        }
    }

    /// One document of the file; `notes` are about the lines before it.
    fn document(&mut self, node: Node, notes: Vec<Note>) {
        self.number += 1;
        self.object(node, notes);
    }

    fn object(&mut self, node: Node, notes: Vec<Note>) {
        let Node { value: Value::Object(fields), places } = node else {
            return self.no_object(&node);
        };
        let wrong_type = ["kind", "apiVersion"].into_iter().find_map(|field| match fields.get(field) {
            None | Some(Value::String(_) | Value::Null) => None,
            Some(other) => Some((field, other.to_string())),
        });
        if let Some((field, value)) = wrong_type {
            let position = places.find(field).value;
            let message = format!("{field}: must be a string, and {value} is none");
            return self.problem(Explained { position, message, help: Some("put it in quotes".into()) });
        }
        let text = |field| fields.get(field).and_then(Value::as_str).unwrap_or("").to_string();
        let (api_version, kind_name) = (text("apiVersion"), text("kind"));
        if kind_name.ends_with("List") && fields.contains_key("items") {
            return self.list(Node { value: Value::Object(fields), places }, &api_version, &kind_name, notes);
        }
        if kind_name.is_empty() || api_version.is_empty() {
            let missing = match (kind_name.is_empty(), api_version.is_empty()) {
                (true, true) => "apiVersion and kind are",
                (true, false) => "kind is",
                _ => "apiVersion is",
            };
            let message = format!("not a Kubernetes object: its {missing} missing");
            let help = missing_type_help(&kind_name, &fields);
            return self.problem(Explained { position: places.key, message, help });
        }
        let mut document =
            Document { object: Object::from_map(fields), file: self.file.clone(), number: self.number, notes, places };
        for change in convert::convert(&mut document.object) {
            let place = document.place(&change.path);
            document.notes.push(Note { place, message: change.message });
        }
        self.contents.documents.push(document);
    }

    fn list(&mut self, node: Node, api_version: &str, kind_name: &str, mut notes: Vec<Note>) {
        let position = node.places.find("items").value;
        let items = node.into_fields().into_iter().flatten().find(|(name, _)| name == "items").map(|(_, items)| items);
        let Some(items) = items.filter(|items| items.value.is_array() || items.value.is_null()) else {
            let message = format!("items: a {kind_name} has a list of objects here");
            return self.problem(Explained { position, message, help: None });
        };
        // A PodList need not say of each item that it is a Pod.
        let item_kind = kind_name.strip_suffix("List").filter(|kind| !kind.is_empty());
        for mut item in items.into_items() {
            if let (Value::Object(fields), Some(kind)) = (&mut item.value, item_kind) {
                fields.entry("kind").or_insert_with(|| kind.into());
                fields.entry("apiVersion").or_insert_with(|| api_version.into());
            }
            self.object(item, std::mem::take(&mut notes));
        }
    }

    fn no_object(&mut self, node: &Node) {
        let number = self.number;
        let (what, help) = match &node.value {
            Value::String(text) => describe_text(text),
            Value::Array(_) => (
                "a list".to_string(),
                Some("put \"---\" between objects, or the list under \"items:\" of a \"kind: List\"".to_string()),
            ),
            other => (format!("the value {other}"), None),
        };
        let message = format!("not a Kubernetes object: document {number} is {what}");
        self.problem(Explained { position: node.places.key, message, help });
    }
}

fn is_object(value: &Value) -> bool {
    ["apiVersion", "kind"].iter().all(|field| value.get(field).is_some_and(Value::is_string))
}

/// What a document that is only text is, and what to do about it.
fn describe_text(text: &str) -> (String, Option<String>) {
    if let Some(command) = syntax::shell_command(text) {
        let help = "these are shell commands: run them in a shell, and keep only the YAML in the file";
        return (format!("a string that begins with \"{command}\""), Some(help.into()));
    }
    let begin: String = text.chars().take(20).collect();
    let more = if begin.len() < text.len() { "..." } else { "" };
    let is_page = text.trim_start().starts_with('<');
    let help = is_page.then(|| "this is a web page; download the raw file instead".to_string());
    (format!("the string \"{}{more}\"", begin.escape_debug()), help)
}

fn missing_type_help(kind_name: &str, fields: &serde_json::Map<String, Value>) -> Option<String> {
    if let Some(known) = kind::ALL.iter().find(|known| known.kind == kind_name) {
        return Some(format!("a {kind_name} begins with \"apiVersion: {}\"", known.api_version()));
    }
    let wanted = ["apiVersion", "kind"].into_iter().filter(|field| !fields.contains_key(*field));
    let near = wanted.filter_map(|field| Some((nearest(field, fields.keys().map(String::as_str))?, field)));
    near.map(|(written, meant)| format!("is \"{written}\" meant to be \"{meant}\"?")).next()
}
