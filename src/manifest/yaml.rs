//! YAML text to values with the place of every field, from the events of `saphyr-parser`.
//!
//! The events leave to us what scalars mean ([`super::scalar`]) and what a document may cost: nesting, and how much
//! aliases may multiply it.

use std::collections::{BTreeSet, HashMap};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};
use serde_json::Value;

use super::place::{MapNode, Node, Position};
use super::scalar::{self, Tag};

/// Maps and lists inside each other. No Kubernetes object comes near, and JSON readers stop at 128.
pub const MAX_DEPTH: usize = 100;

/// How much aliases may copy in one document, counted roughly in bytes. A real one copies a few kilobytes; ten levels
/// of ten aliases would copy gigabytes.
const MAX_COPIED: usize = 8 << 20;

/// What one value costs beside its text.
const NODE_COST: usize = 100;

/// Why and where a text is no YAML that Kubernetes would take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}: {message}", position.line)]
pub struct YamlError {
    pub position: Position,
    pub message: String,
}

type Result<T> = std::result::Result<T, YamlError>;
type Events<'t> = Parser<'t, StrInput<'t>>;

/// How far a line of a flow collection is moved in, which is more than any line around it.
const SHIFT: u32 = 400;

/// How many lines are moved before the parser's word is final.
const MAX_SHIFTED: usize = 40;

/// All documents in `text`, empty ones left out. `first_line` is the number of its first line in the file.
pub fn read(text: &str, first_line: u32) -> Result<Vec<Node>> {
    let mut shifted = BTreeSet::new();
    let mut error = match read_as_it_stands(text, first_line, &shifted) {
        Err(error) => error,
        documents => return documents,
    };
    // YAML 1.2, and with it the parser, wants the lines of a list in brackets further in than what is around them.
    // kubectl reads YAML 1.1, which lets the "]" stand anywhere. Blanks before such a line change nothing else.
    let first = error.clone();
    while is_flow_indentation(&error) && shifted.len() < MAX_SHIFTED && shifted.insert(error.position.line) {
        let indent = " ".repeat(SHIFT as usize);
        let moved: String = text
            .split_inclusive('\n')
            .zip(first_line..)
            .flat_map(|(line, number)| [if shifted.contains(&number) { indent.as_str() } else { "" }, line])
            .collect();
        match read_as_it_stands(&moved, first_line, &shifted) {
            Err(next) => error = next,
            documents => return documents,
        }
    }
    Err(if is_flow_indentation(&error) { first } else { error })
}

/// The parser's words for a line of a flow collection that is not indented enough.
fn is_flow_indentation(error: &YamlError) -> bool {
    matches!(error.message.as_str(), "invalid indentation" | "invalid indentation in flow construct")
}

/// `shifted` are the lines that were moved in.
fn read_as_it_stands(text: &str, first_line: u32, shifted: &BTreeSet<u32>) -> Result<Vec<Node>> {
    let mut composer = Composer {
        events: Parser::new_from_str(text),
        lines_before: first_line.saturating_sub(1),
        shifted,
        anchors: HashMap::new(),
        copied: 0,
    };
    let mut documents = Vec::new();
    while let Some((event, at)) = composer.next()? {
        if matches!(event, Event::DocumentStart(_)) {
            composer.anchors.clear();
            composer.copied = 0;
            let (event, at) = composer.next_within(at)?;
            let document = composer.node(event, at, 0)?;
            if !document.value.is_null() {
                documents.push(document);
            }
        }
    }
    Ok(documents)
}

struct Composer<'t> {
    events: Events<'t>,
    lines_before: u32,
    shifted: &'t BTreeSet<u32>,
    /// By the parser's id; `None` while the anchored value is still being read.
    anchors: HashMap<usize, Option<Node>>,
    copied: usize,
}

impl<'t> Composer<'t> {
    fn position(&self, marker: &Marker) -> Position {
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX).saturating_add(self.lines_before);
        let column = u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1);
        let shift = if self.shifted.contains(&line) { SHIFT } else { 0 };
        Position { line, column: column.saturating_sub(shift).max(1) }
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Position)>> {
        match self.events.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, self.position(&span.start)))),
            Some(Err(error)) => Err(self.scan_error(&error)),
        }
    }

    fn scan_error(&self, error: &ScanError) -> YamlError {
        YamlError { position: self.position(error.marker()), message: error.info().to_string() }
    }

    /// The next event where there must be one: inside a document that began at `start`.
    fn next_within(&mut self, start: Position) -> Result<(Event<'t>, Position)> {
        let message = || "the document ends in the middle of a value".to_string();
        self.next()?.ok_or_else(|| YamlError { position: start, message: message() })
    }

    fn node(&mut self, event: Event<'t>, at: Position, depth: usize) -> Result<Node> {
        let error = |message: String| YamlError { position: at, message };
        if depth > MAX_DEPTH {
            return Err(error(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| if tag.is_yaml_core_schema() { Tag::core(&tag.suffix) } else { Tag::Other });
                let value = scalar::resolve(&text, style == ScalarStyle::Plain, tag);
                let node = Node::scalar(value.map_err(|e| error(e.to_string()))?, at);
                self.anchored(anchor, &node, at)?;
                Ok(node)
            }
            Event::SequenceStart(anchor, _) => {
                self.begin_anchor(anchor);
                let mut items = Vec::new();
                loop {
                    let (event, item_at) = self.next_within(at)?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, item_at, depth + 1)?);
                }
                let node = Node::list(items, at);
                self.anchored(anchor, &node, at)?;
                Ok(node)
            }
            Event::MappingStart(anchor, _) => {
                self.begin_anchor(anchor);
                let node = self.map(at, depth)?;
                self.anchored(anchor, &node, at)?;
                Ok(node)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(Some(node)) => {
                    let node = node.clone();
                    self.pay(&node.value, at)?;
                    Ok(node)
                }
                Some(None) => Err(error("the anchor's value contains itself".into())),
                None => Err(error("unknown anchor: anchors hold only within their document".into())),
            },
            _ => Err(error("expected a value".into())),
        }
    }

    fn map(&mut self, at: Position, depth: usize) -> Result<Node> {
        let mut map = MapNode::default();
        // Where each field was written; what a merge brought in may be written again.
        let mut written = HashMap::<String, Position>::new();
        loop {
            let (event, key_at) = self.next_within(at)?;
            if event == Event::MappingEnd {
                return Ok(map.finish(at));
            }
            let error = |message: String| YamlError { position: key_at, message };
            let merges = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, key_at, depth + 1)?;
            let (event, value_at) = self.next_within(at)?;
            let value = self.node(event, value_at, depth + 1)?;
            if merges {
                merge(&mut map, value).map_err(error)?;
                continue;
            }
            let name = field_name(key.value).map_err(error)?;
            if let Some(first) = written.insert(name.clone(), key_at) {
                return Err(error(format!("key \"{name}\" already set in map, at line {}", first.line)));
            }
            map.set(name, key_at, value);
        }
    }

    fn begin_anchor(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn anchored(&mut self, anchor: usize, node: &Node, at: Position) -> Result<()> {
        if anchor != 0 {
            self.pay(&node.value, at)?;
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(())
    }

    fn pay(&mut self, value: &Value, at: Position) -> Result<()> {
        self.copied = self.copied.saturating_add(cost(value));
        if self.copied > MAX_COPIED {
            let message = "aliases multiply this document beyond reason".to_string();
            return Err(YamlError { position: at, message });
        }
        Ok(())
    }
}

fn cost(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(cost).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + cost(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    inner + NODE_COST
}

/// Field names are text in JSON; kubectl writes `0644:` as "420" and `yes:` as "true".
fn field_name(key: Value) -> std::result::Result<String, String> {
    match key {
        // A no-break space from a web page looks like indentation, and is part of the name.
        Value::String(name) if name.starts_with(|c: char| c.is_whitespace() && !c.is_ascii()) => {
            Err("the name of a field begins with a character that only looks like a space".into())
        }
        Value::String(name) => Ok(name),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Err("a field has no name".into()),
        Value::Array(_) | Value::Object(_) => {
            Err("a map or list cannot be the name of a field (is this a template with {{ }}?)".into())
        }
    }
}

/// `<<: *base`, `<<: [*first, *second]`: takes over the fields, of several maps the earlier one's first.
fn merge(map: &mut MapNode, from: Node) -> std::result::Result<(), String> {
    let wanted = || "map merge requires map or sequence of maps as the value".to_string();
    let sources = match from.value {
        Value::Array(_) => from.into_items(),
        _ => vec![from],
    };
    for source in sources.into_iter().rev() {
        for (name, node) in source.into_fields().ok_or_else(wanted)? {
            let key = node.places.key;
            map.set(name, key, node);
        }
    }
    Ok(())
}
