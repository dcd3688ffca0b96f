//! JSON written as YAML the way kubectl writes it: keys sorted, lists not indented, strings quoted only where YAML 1.1
//! would read something else, text of several lines as `|` blocks, long lines folded at 80 columns.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::{Map, Value};

mod scalar;

/// A scalar that goes on past this column is broken at its next space.
const WIDTH: usize = 80;

/// One YAML document with a line end.
pub fn to_yaml(value: &Value) -> String {
    let mut writer = Writer { out: String::new() };
    match value {
        Value::Object(map) if !map.is_empty() => writer.map(map, 0, false),
        Value::Array(list) if !list.is_empty() => writer.list(list, 0, false),
        other => {
            writer.scalar(other, 0, 0, 0);
            writer.out.push('\n');
        }
    }
    writer.out
}

struct Writer {
    out: String,
}

impl Writer {
    /// `inline`: the first key stands behind a list's dash.
    fn map(&mut self, map: &Map<String, Value>, indent: usize, inline: bool) {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_by(|a, b| natural(a.0, b.0));
        for (at, (key, value)) in entries.into_iter().enumerate() {
            if at > 0 || !inline {
                super::tabs::pad(&mut self.out, indent);
            }
            let key = scalar::key(key);
            self.out.push_str(&key);
            self.out.push(':');
            match value {
                Value::Object(inner) if !inner.is_empty() => {
                    self.out.push('\n');
                    self.map(inner, indent + 2, false);
                }
                Value::Array(inner) if !inner.is_empty() => {
                    self.out.push('\n');
                    self.list(inner, indent, false);
                }
                other => {
                    self.out.push(' ');
                    self.scalar(other, indent, indent + 2, indent + super::tabs::width(&key) + 2);
                    self.out.push('\n');
                }
            }
        }
    }

    fn list(&mut self, list: &[Value], indent: usize, inline: bool) {
        for (at, value) in list.iter().enumerate() {
            if at > 0 || !inline {
                super::tabs::pad(&mut self.out, indent);
            }
            self.out.push_str("- ");
            match value {
                Value::Object(inner) if !inner.is_empty() => self.map(inner, indent + 2, true),
                Value::Array(inner) if !inner.is_empty() => self.list(inner, indent + 2, true),
                other => {
                    self.scalar(other, indent, indent + 2, indent + 2);
                    self.out.push('\n');
                }
            }
        }
    }

    /// `parent` is the indentation of what holds the scalar, `indent` that of its further lines, `column` where it
    /// begins.
    fn scalar(&mut self, value: &Value, parent: usize, indent: usize, column: usize) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(flag) => {
                let _ = write!(self.out, "{flag}");
            }
            Value::Number(number) => self.out.push_str(&number.to_string()),
            Value::String(text) => scalar::write(&mut self.out, text, parent, indent, column),
            Value::Object(_) => self.out.push_str("{}"),
            Value::Array(_) => self.out.push_str("[]"),
        }
    }
}

/// The order of keys: numbers in them by value, so that `web-10` comes after `web-9`; letters after all else.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) else { return a.len().cmp(&b.len()) };
    let (x, y) = (a[at], b[at]);
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero in the middle of a number counts with the digits before it.
    let in_number = a[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let lead = if in_number && (x == '0' || y == '0') { "1" } else { "" };
    let digits = |text: &[char]| text[at..].iter().take_while(|c| c.is_ascii_digit()).collect::<String>();
    let (x_digits, y_digits) = (digits(&a), digits(&b));
    let number = |digits: &str| {
        format!("{lead}{digits}").parse::<u128>().unwrap_or(if digits.is_empty() { 0 } else { u128::MAX })
    };
    number(&x_digits).cmp(&number(&y_digits)).then(x_digits.len().cmp(&y_digits.len())).then(x.cmp(&y))
}

#[cfg(test)]
mod tests;
