//! Reads a template.

use serde_json::Value;

use super::{Comparison, JsonPathError, Operand, Part, Path, Step};

type Result<T> = std::result::Result<T, JsonPathError>;

fn error<T>(reason: impl Into<String>) -> Result<T> {
    Err(JsonPathError(reason.into()))
}

pub fn template(text: &str) -> Result<Vec<Part>> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0 };
    let parts = parts(&mut reader, false)?;
    Ok(parts)
}

/// Up to the end of the text, or of the range.
fn parts(reader: &mut Reader, in_range: bool) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    loop {
        let text = reader.take_while(|c| c != '{');
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        if !reader.eat('{') {
            return if in_range { error("unclosed range: {end} is missing") } else { Ok(parts) };
        }
        reader.blanks();
        if reader.eat_word("end") {
            reader.close_action()?;
            return if in_range { Ok(parts) } else { error("not in range: {end} without {range ...}") };
        }
        if reader.eat_word("range") {
            reader.blanks();
            let over = path(reader)?;
            reader.close_action()?;
            let body = self::parts(reader, true)?;
            parts.push(Part::Range(over, body));
            continue;
        }
        action(reader, &mut parts)?;
    }
}

/// What stands between braces: quoted text and paths.
fn action(reader: &mut Reader, parts: &mut Vec<Part>) -> Result<()> {
    let mut paths = Vec::new();
    loop {
        while reader.eat(' ') || reader.eat(',') {}
        match reader.peek() {
            None => return error("unclosed action"),
            Some('}') => {
                reader.at += 1;
                if !paths.is_empty() {
                    parts.push(Part::Paths(paths));
                }
                return Ok(());
            }
            Some(quote @ ('"' | '\'')) => parts.push(Part::Text(reader.quoted(quote)?)),
            Some(_) => paths.push(path(reader)?),
        }
    }
}

fn path(reader: &mut Reader) -> Result<Path> {
    let from_root = reader.eat('$');
    if !from_root {
        reader.eat('@');
    }
    let mut steps = Vec::new();
    loop {
        match reader.peek() {
            Some('.') => {
                reader.at += 1;
                if reader.eat('.') {
                    steps.push(Step::Descend);
                }
                match reader.peek() {
                    Some('*') => {
                        reader.at += 1;
                        steps.push(Step::All);
                    }
                    Some('[') => {}
                    _ => {
                        let name = reader.field();
                        if !name.is_empty() {
                            steps.push(Step::Field(name));
                        }
                    }
                }
            }
            Some('[') => {
                reader.at += 1;
                steps.push(brackets(reader)?);
            }
            Some(' ' | ',' | '}' | ')' | '=' | '!' | '<' | '>') | None => return Ok(Path { from_root, steps }),
            Some(c) if steps.is_empty() && (c.is_alphanumeric() || c == '_') => {
                let name = reader.field();
                return error(format!("unrecognized identifier {name}"));
            }
            Some(c) => return error(format!("unrecognized character in action: U+{:04X} '{c}'", u32::from(c))),
        }
    }
}

/// What stands behind `[`.
fn brackets(reader: &mut Reader) -> Result<Step> {
    reader.blanks();
    if reader.eat('?') {
        return filter(reader);
    }
    let mut steps = Vec::new();
    loop {
        reader.blanks();
        let step = match reader.peek() {
            Some('*') => {
                reader.at += 1;
                Step::All
            }
            // A dot may be escaped here too, though it need not be.
            Some(quote @ ('"' | '\'')) => Step::Field(reader.quoted(quote)?.replace("\\.", ".")),
            _ => index_or_slice(reader)?,
        };
        steps.push(step);
        reader.blanks();
        match reader.next() {
            Some(']') => break,
            Some(',') => {}
            _ => return error("unterminated array"),
        }
    }
    match <[Step; 1]>::try_from(steps) {
        Ok([one]) => Ok(one),
        Err(several) => Ok(Step::Any(several)),
    }
}

fn index_or_slice(reader: &mut Reader) -> Result<Step> {
    let text = reader.take_while(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | ' '));
    let number = |part: &str| -> Result<Option<i64>> {
        match part.trim() {
            "" => Ok(None),
            digits => digits.parse().map(Some).or_else(|_| error(format!("invalid array index {digits}"))),
        }
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [one] => match number(one)? {
            Some(index) => Ok(Step::Index(index)),
            None if reader.peek().is_none() => error("unterminated array"),
            None => error("invalid array index"),
        },
        [from, to] => Ok(Step::Slice(number(from)?, number(to)?, 1)),
        [from, to, step] => Ok(Step::Slice(number(from)?, number(to)?, number(step)?.unwrap_or(1))),
        _ => error(format!("invalid array index {text}")),
    }
}

/// What stands behind `[?`.
fn filter(reader: &mut Reader) -> Result<Step> {
    let unterminated = || JsonPathError("unterminated filter".into());
    if !reader.eat('(') {
        return error("a filter begins with [?(");
    }
    let left = operand(reader)?;
    reader.blanks();
    let comparison = match (reader.peek(), reader.peek_at(1)) {
        (Some('='), Some('=')) => Some((Comparison::Equal, 2)),
        (Some('!'), Some('=')) => Some((Comparison::NotEqual, 2)),
        (Some('<'), Some('=')) => Some((Comparison::LessOrEqual, 2)),
        (Some('>'), Some('=')) => Some((Comparison::GreaterOrEqual, 2)),
        (Some('<'), _) => Some((Comparison::Less, 1)),
        (Some('>'), _) => Some((Comparison::Greater, 1)),
        (Some(')'), _) => None,
        (Some(other), _) => return error(format!("unrecognized operator in filter at '{other}'")),
        (None, _) => return Err(unterminated()),
    };
    let rest = match comparison {
        None => None,
        Some((comparison, length)) => {
            reader.at += length;
            let right = operand(reader)?;
            reader.blanks();
            Some((comparison, right))
        }
    };
    if reader.eat(')') && reader.eat(']') { Ok(Step::Filter(left, rest)) } else { Err(unterminated()) }
}

fn operand(reader: &mut Reader) -> Result<Operand> {
    reader.blanks();
    match reader.peek() {
        Some('@' | '$' | '.') => path(reader).map(Operand::Path),
        Some(quote @ ('"' | '\'')) => Ok(Operand::Value(Value::String(reader.quoted(quote)?))),
        _ => {
            let word = reader.take_while(|c| !matches!(c, ')' | ']' | ' ' | '=' | '!' | '<' | '>' | '}'));
            match serde_json::from_str::<Value>(&word) {
                Ok(value @ (Value::Bool(_) | Value::Number(_))) => Ok(Operand::Value(value)),
                _ => error(format!("\"{word}\" in a filter is no number, true, false or quoted text")),
            }
        }
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let is = self.peek() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    /// A word that ends here: not the beginning of a longer one.
    fn eat_word(&mut self, word: &str) -> bool {
        let length = word.chars().count();
        let is = word.chars().enumerate().all(|(at, c)| self.peek_at(at) == Some(c))
            && self.peek_at(length).is_none_or(|c| !c.is_alphanumeric());
        self.at += if is { length } else { 0 };
        is
    }

    fn blanks(&mut self) {
        while self.eat(' ') {}
    }

    fn close_action(&mut self) -> Result<()> {
        self.blanks();
        if self.eat('}') { Ok(()) } else { error("unclosed action") }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek().filter(|c| wanted(*c)) {
            text.push(c);
            self.at += 1;
        }
        text
    }

    /// A field's name; `\.` is a dot in it.
    fn field(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    name.extend(self.next());
                }
                '.' | '[' | ' ' | ',' | '}' | ')' | '=' | '!' | '<' | '>' | '|' => break,
                _ => {
                    name.push(c);
                    self.at += 1;
                }
            }
        }
        name
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.next() {
                None => return error("unterminated quoted string"),
                Some(c) if c == quote => return Ok(text),
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c @ ('\\' | '"' | '\'')) => text.push(c),
                    Some(c) => text.extend(['\\', c]),
                    None => return error("unterminated quoted string"),
                },
                Some(c) => text.push(c),
            }
        }
    }
}
