//! The label selector of the command line, word by word.

use super::{Operator, Requirement, SelectorError};
use crate::object::validate::names;

const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

/// The words of a selector: symbols, and what stands between them and blanks.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
        let length = match symbol {
            Some(symbol) => symbol.len(),
            None => rest.find(|c: char| c.is_whitespace() || "=!(),<>".contains(c)).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(length);
        words.push(word);
        rest = after.trim_start();
    }
    words
}

struct Words<'a> {
    words: std::vec::IntoIter<&'a str>,
}

impl<'a> Words<'a> {
    /// The next word; at the end, and ever after, the empty one.
    fn next(&mut self) -> &'a str {
        self.words.next().unwrap_or_default()
    }

    fn peek(&self) -> &'a str {
        self.words.as_slice().first().copied().unwrap_or_default()
    }
}

fn is_identifier(word: &str) -> bool {
    !word.is_empty() && !word.starts_with(|c| "=!(),<>".contains(c))
}

fn expected(found: &str, what: &str) -> String {
    format!("found '{found}', expected: {what}")
}

pub fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut words = Words { words: words(text).into_iter() };
    let mut all = Vec::new();
    if words.peek().is_empty() {
        return Ok(all);
    }
    if !is_identifier(words.peek()) && words.peek() != "!" {
        return Err(SelectorError(expected(words.peek(), "!, identifier, or 'end of string'")));
    }
    loop {
        let requirement = requirement(&mut words);
        all.push(requirement.map_err(|why| SelectorError(format!("unable to parse requirement: {why}")))?);
        match words.next() {
            "" => return Ok(all),
            "," if is_identifier(words.peek()) || words.peek() == "!" => {}
            "," => return Err(SelectorError(expected(words.peek(), "identifier after ','"))),
            other => return Err(SelectorError(expected(other, "',' or 'end of string'"))),
        }
    }
}

fn requirement(words: &mut Words) -> Result<Requirement, String> {
    let negated = words.peek() == "!";
    if negated {
        words.next();
    }
    let key = words.next();
    if !is_identifier(key) {
        return Err(expected(key, "identifier"));
    }
    let wrong = names::qualified_name(key);
    if !wrong.is_empty() {
        return Err(format!("<nil>: Invalid value: \"{key}\": {}", wrong.join("; ")));
    }
    let requirement = |operator| Ok(Requirement { key: key.to_string(), operator });
    if negated {
        return requirement(Operator::DoesNotExist);
    }
    if matches!(words.peek(), "" | ",") {
        return requirement(Operator::Exists);
    }
    let number = |text: String| text.parse::<i64>().map_err(|_| format!("\"{text}\" is not a whole number"));
    requirement(match words.next() {
        "in" => Operator::In(values(key, words)?),
        "notin" => Operator::NotIn(values(key, words)?),
        "=" | "==" => Operator::In(vec![exact_value(key, words)?]),
        "!=" => Operator::NotIn(vec![exact_value(key, words)?]),
        ">" => Operator::GreaterThan(number(exact_value(key, words)?)?),
        "<" => Operator::LessThan(number(exact_value(key, words)?)?),
        other => return Err(expected(other, "in, notin, =, ==, !=, gt, lt")),
    })
}

/// One value, which may be empty.
fn exact_value(key: &str, words: &mut Words) -> Result<String, String> {
    match words.peek() {
        "" | "," => Ok(String::new()),
        word if is_identifier(word) => value(key, words.next()),
        other => Err(expected(other, "identifier")),
    }
}

/// `(a, b)`; between commas, or nothing but the parentheses, is the empty value.
fn values(key: &str, words: &mut Words) -> Result<Vec<String>, String> {
    if words.peek() != "(" {
        return Err(expected(words.peek(), "'('"));
    }
    words.next();
    let mut values = Vec::new();
    loop {
        values.push(if is_identifier(words.peek()) { value(key, words.next())? } else { String::new() });
        match words.next() {
            "," => {}
            ")" => return Ok(values),
            other => return Err(expected(other, "',' or ')'")),
        }
    }
}

fn value(key: &str, text: &str) -> Result<String, String> {
    let wrong = names::label_value(text);
    if wrong.is_empty() {
        return Ok(text.to_string());
    }
    Err(format!("values[0][{key}]: Invalid value: \"{text}\": {}", wrong.join("; ")))
}
