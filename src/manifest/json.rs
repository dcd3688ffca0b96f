//! JSON text to values with the place of every field.
//!
//! Nearly all JSON is YAML too, but not all of it (surrogate escapes such as `\ud83d\ude00`, several objects one after
//! the other), and kubectl reads a file that begins with `{` as JSON first.

use std::collections::HashMap;

use serde_json::Value;

use super::place::{MapNode, Node, Position};
use super::scalar;
use super::yaml::{MAX_DEPTH, YamlError};

type Result<T> = std::result::Result<T, YamlError>;

/// Does the text say that it is JSON?
pub fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// All values in `text`, one after the other; `null` is left out.
pub fn read(text: &str) -> Result<Vec<Node>> {
    let mut reader = Reader { text, at: 0, line: 1, line_start: 0 };
    let mut documents = Vec::new();
    loop {
        reader.skip_blanks();
        if reader.peek().is_none() {
            return Ok(documents);
        }
        let document = reader.value(0)?;
        if !document.value.is_null() {
            documents.push(document);
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    /// In bytes, always at the start of a character.
    at: usize,
    line: u32,
    line_start: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn position(&self) -> Position {
        let before = self.text.get(self.line_start..self.at).unwrap_or_default().chars().count();
        Position { line: self.line, column: u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1) }
    }

    fn error(&self, message: impl Into<String>) -> YamlError {
        YamlError { position: self.position(), message: message.into() }
    }

    fn skip_blanks(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                self.line += 1;
                self.line_start = self.at;
            }
        }
    }

    /// Steps over `token` if it comes next, blanks before it included.
    fn take(&mut self, token: u8) -> bool {
        self.skip_blanks();
        let is_next = self.peek() == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, token: u8, wanted: &str) -> Result<()> {
        if self.take(token) { Ok(()) } else { Err(self.error(format!("expected {wanted}"))) }
    }

    fn value(&mut self, depth: usize) -> Result<Node> {
        self.skip_blanks();
        let at = self.position();
        if depth > MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        match self.peek() {
            Some(b'{') => self.object(at, depth),
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                if !self.take(b']') {
                    items.push(self.value(depth + 1)?);
                    while self.take(b',') {
                        items.push(self.value(depth + 1)?);
                    }
                    self.expect(b']', "\",\" or \"]\"")?;
                }
                Ok(Node::list(items, at))
            }
            Some(b'"') => Ok(Node::scalar(Value::String(self.string()?), at)),
            _ => Ok(Node::scalar(self.word()?, at)),
        }
    }

    fn object(&mut self, at: Position, depth: usize) -> Result<Node> {
        self.at += 1;
        let mut map = MapNode::default();
        let mut written = HashMap::<String, Position>::new();
        if self.take(b'}') {
            return Ok(map.finish(at));
        }
        loop {
            self.skip_blanks();
            let key_at = self.position();
            let name = self.string()?;
            self.expect(b':', "\":\"")?;
            let value = self.value(depth + 1)?;
            if let Some(first) = written.insert(name.clone(), key_at) {
                let message = format!("key \"{name}\" already set in map, at line {}", first.line);
                return Err(YamlError { position: key_at, message });
            }
            map.set(name, key_at, value);
            if !self.take(b',') {
                self.expect(b'}', "\",\" or \"}\"")?;
                return Ok(map.finish(at));
            }
        }
    }

    /// A string in double quotes, escapes resolved.
    fn string(&mut self) -> Result<String> {
        let rest = self.rest();
        if !rest.starts_with('"') {
            return Err(self.error("expected a string in double quotes"));
        }
        let mut escaped = true; // so that the opening quote is not taken for the closing one
        let end = rest.bytes().position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let quoted = end.and_then(|end| rest.get(..=end)).ok_or_else(|| self.error("the string is not closed"))?;
        let string = serde_json::from_str(quoted).map_err(|_| self.error("the string is not valid JSON"))?;
        self.at += quoted.len();
        Ok(string)
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Value> {
        let rest = self.rest();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        let value: Value = serde_json::from_str(word).map_err(|_| self.error("expected a value"))?;
        let value = match value.as_f64() {
            Some(float) if value.as_i64().is_none() => {
                scalar::number(float).map(Value::Number).ok_or_else(|| self.error("the number is too large"))?
            }
            _ => value,
        };
        self.at += end;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(text: &str) -> Vec<Value> {
        read(text).unwrap().into_iter().map(|node| node.value).collect()
    }

    #[test]
    fn values_as_kubectl_reads_them() {
        let text = r#"{"a": 80.0, "b": [1e3, -5, 0.5, true, null, "\ud83d\ude00 \"q\" \\"], "c": {}, "d": []}
            {"e": ""} null"#;
        let first = json!({"a": 80, "b": [1000, -5, 0.5, true, null, "\u{1f600} \"q\" \\"], "c": {}, "d": []});
        assert_eq!(values(text), [first, json!({"e": ""})]);
    }

    #[test]
    fn fields_know_their_places() {
        let node = &read("{\n  \"ü\": 1, \"spec\": [\n\t{\"a\": true}]}").unwrap()[0];
        let at = |path: &str| (node.places.find(path).key, node.places.find(path).value);
        let position = |line, column| Position { line, column };
        assert_eq!(at("ü"), (position(2, 3), position(2, 8)));
        assert_eq!(at("spec[0].a"), (position(3, 3), position(3, 8)));
    }

    #[test]
    fn errors_know_their_places() {
        for (text, line, column, message) in [
            ("{\n\"a\": 1,\n}", 3, 1, "double quotes"),
            ("{\"a\" 1}", 1, 6, "expected \":\""),
            ("{\"a\": [1 2]}", 1, 10, "\",\" or \"]\""),
            ("{\"a\": \"x", 1, 7, "not closed"),
            ("{\"a\": 1, \"a\": 2}", 1, 10, "already set in map, at line 1"),
            ("{\"a\": tru}", 1, 7, "expected a value"),
            ("{\"a\": 1e999}", 1, 7, "expected a value"),
            ("{\"a\": \"\u{1}\"}", 1, 7, "not valid JSON"),
            ("{", 1, 2, "double quotes"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.position, Position { line, column }, "{text}");
            assert!(error.message.contains(message), "{text}: {}", error.message);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&format!("{{\"a\": {deep}}}")).unwrap_err().message.contains("nested deeper"));
    }
}
