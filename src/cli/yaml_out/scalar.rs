//! How one string is written: plain, quoted or as a block.

use std::fmt::Write as _;

use super::WIDTH;

/// A key, which is never broken or written as a block.
pub fn key(text: &str) -> String {
    let mut out = String::new();
    match style(text, true) {
        Style::Plain => out.push_str(text),
        Style::Single => single(&mut out, text, None),
        Style::Double | Style::Block => double(&mut out, text, None),
    }
    out
}

pub fn write(out: &mut String, text: &str, parent: usize, indent: usize, column: usize) {
    let fold = Some(Fold { column, indent });
    match style(text, false) {
        Style::Plain => plain(out, text, fold),
        Style::Single => single(out, text, fold),
        Style::Double => double(out, text, fold),
        Style::Block => block(out, text, parent + 2),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Block,
}

fn style(text: &str, key: bool) -> Style {
    let shape = Shape::of(text);
    if text.contains('\n') {
        return if shape.can_be_block && !key { Style::Block } else { Style::Double };
    }
    if text.is_empty() || means_something_else(text) {
        return Style::Double;
    }
    match (shape.can_be_plain, shape.can_be_single) {
        (true, _) => Style::Plain,
        (_, true) => Style::Single,
        _ => Style::Double,
    }
}

/// What the characters of a string allow.
struct Shape {
    can_be_plain: bool,
    can_be_single: bool,
    can_be_block: bool,
}

impl Shape {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let white = |at: usize| chars.get(at).is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
        let special = chars.iter().any(|c| !printable(*c));
        let space_then_break = text.contains(" \n");
        let break_then_space = text.contains("\n ");
        let indicator = chars.iter().enumerate().any(|(at, c)| match c {
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                if at == 0 =>
            {
                true
            }
            '-' | '?' if at == 0 => white(at + 1),
            ':' => white(at + 1),
            '#' => white(at - 1),
            _ => false,
        });
        let marker = text.starts_with("---") || text.starts_with("...");
        let edge_space = text.starts_with([' ', '\n']) || text.ends_with([' ', '\n']);
        Shape {
            can_be_plain: !(special || indicator || marker || edge_space || text.contains('\n')),
            can_be_single: !(special || space_then_break || break_then_space),
            can_be_block: !(special || space_then_break || text.ends_with(' ')),
        }
    }
}

/// Is written as it is, without an escape. TAB is not, nor are the line ends that only YAML 1.1 knows.
fn printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// Would YAML 1.1 read the plain text as something else than this string?
fn means_something_else(text: &str) -> bool {
    const WORDS: [&str; 12] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", ".nan", ".inf"];
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let known_case = |word: &str| {
        let lower = word.to_ascii_lowercase();
        // `yes`, `Yes` and `YES`, but not `yEs`; `.NaN` is a case of its own.
        let capitalised = word.chars().skip(1).all(|c| !c.is_ascii_uppercase());
        WORDS.contains(&lower.as_str())
            && (capitalised || word == word.to_ascii_uppercase() || word == ".NaN" || word == ".Inf")
    };
    known_case(text)
        || (unsigned.eq_ignore_ascii_case(".inf") && known_case(unsigned))
        || is_integer(unsigned)
        || is_float(unsigned)
        || is_base_60(unsigned)
        || is_timestamp(text)
}

fn is_integer(unsigned: &str) -> bool {
    let digits = |text: &str, radix: u32| {
        let text: String = text.chars().filter(|c| *c != '_').collect();
        !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
    };
    let lower = unsigned.to_ascii_lowercase();
    let radixes = [("0x", 16), ("0b", 2), ("0o", 8)];
    unsigned.starts_with(|c: char| c.is_ascii_digit())
        && (digits(unsigned, 10)
            || radixes.iter().any(|(prefix, radix)| lower.strip_prefix(prefix).is_some_and(|d| digits(d, *radix))))
}

/// `1.5`, `.5`, `1.`, `1e3`, `1.5e-3`.
fn is_float(unsigned: &str) -> bool {
    let text: String = unsigned.chars().filter(|c| *c != '_').collect();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text.as_str(), None),
    };
    let all_digits = |t: &str| t.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|e| !e.is_empty() && all_digits(e))
        && !unsigned.starts_with('_')
}

/// `80:30` is 4830 in YAML 1.1.
fn is_base_60(unsigned: &str) -> bool {
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = whole.split(':');
    let digits = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_digit() || c == '_');
    let first = parts.next().is_some_and(|first| digits(first) && !first.starts_with('_'));
    let rest: Vec<&str> = parts.collect();
    let sixtieth = |t: &&str| matches!(t.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    first && !rest.is_empty() && rest.iter().all(sixtieth) && (fraction.is_empty() || digits(fraction))
}

/// A date, or a date and a time: `2026-01-02`, `2026-1-2T3:04:05Z`, `2026-01-02 03:04:05.6`.
fn is_timestamp(text: &str) -> bool {
    let digits =
        |t: &str, least: usize, most: usize| (least..=most).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    let at = text.find(['T', 't', ' ']);
    let (date, time) = at.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    if !digits(year, 4, 4) {
        return false;
    }
    let Some(time) = time else { return digits(month, 2, 2) && digits(day, 2, 2) };
    if !(digits(month, 1, 2) && digits(day, 1, 2)) {
        return false;
    }
    let (clock, zone) = time.find(['Z', '+', '-']).map_or((time, ""), |zone| time.split_at(zone));
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let is_clock = matches!(parts.as_slice(), [h, m, s] if digits(h, 1, 2) && digits(m, 1, 2) && digits(s, 1, 2));
    // Only with a blank between date and time may the zone be left out.
    let is_zone = match zone.strip_prefix(['+', '-']) {
        Some(offset) => matches!(offset.split_once(':'), Some((h, m)) if digits(h, 2, 2) && digits(m, 2, 2)),
        None => zone == "Z" || (zone.is_empty() && text.contains(' ')),
    };
    is_clock && is_zone && digits(fraction, 1, 9)
}

/// Where a scalar that may be broken over lines begins, and the indentation of its further lines.
#[derive(Clone, Copy)]
struct Fold {
    column: usize,
    indent: usize,
}

/// Keeps the column while characters are written, and breaks at spaces.
struct Folder<'a> {
    out: &'a mut String,
    fold: Option<Fold>,
    column: usize,
}

impl<'a> Folder<'a> {
    fn new(out: &'a mut String, fold: Option<Fold>) -> Self {
        Folder { out, column: fold.map_or(0, |f| f.column), fold }
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += super::super::tabs::width(text);
    }

    fn is_past_width(&self) -> bool {
        self.fold.is_some() && self.column > WIDTH
    }

    fn break_line(&mut self) {
        let indent = self.fold.map_or(0, |f| f.indent);
        self.out.push('\n');
        super::super::tabs::pad(self.out, indent);
        self.column = indent;
    }
}

fn plain(out: &mut String, text: &str, fold: Option<Fold>) {
    let chars: Vec<char> = text.chars().collect();
    let mut to = Folder::new(out, fold);
    for (at, c) in chars.iter().enumerate() {
        let alone = *c == ' ' && chars.get(at + 1) != Some(&' ') && (at == 0 || chars[at - 1] != ' ');
        if alone && to.is_past_width() {
            to.break_line();
        } else {
            to.push(c.encode_utf8(&mut [0; 4]));
        }
    }
}

fn single(out: &mut String, text: &str, fold: Option<Fold>) {
    let chars: Vec<char> = text.chars().collect();
    let mut to = Folder::new(out, fold);
    to.push("'");
    for (at, c) in chars.iter().enumerate() {
        let inside = at > 0 && at + 1 < chars.len();
        let alone = *c == ' ' && inside && chars.get(at + 1) != Some(&' ') && chars[at - 1] != ' ';
        if alone && to.is_past_width() {
            to.break_line();
        } else if *c == '\'' {
            to.push("''");
        } else {
            to.push(c.encode_utf8(&mut [0; 4]));
        }
    }
    to.push("'");
}

fn double(out: &mut String, text: &str, fold: Option<Fold>) {
    let chars: Vec<char> = text.chars().collect();
    let mut to = Folder::new(out, fold);
    to.push("\"");
    let mut after_space = false;
    for (at, c) in chars.iter().enumerate() {
        let inside = at > 0 && at + 1 < chars.len();
        if *c == ' ' && !after_space && inside && to.is_past_width() {
            to.break_line();
            // A line cannot begin with a space that counts, unless it is escaped.
            if chars.get(at + 1) == Some(&' ') {
                to.push("\\");
            }
        } else {
            to.push(&escaped(*c));
        }
        after_space = *c == ' ';
    }
    to.push("\"");
}

fn escaped(c: char) -> String {
    let short = match c {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        _ if printable(c) => return c.to_string(),
        _ => "",
    };
    if !short.is_empty() {
        return short.to_string();
    }
    let mut text = String::new();
    let code = u32::from(c);
    let _ = match code {
        0..=0xff => write!(text, "\\x{code:02X}"),
        0x100..=0xffff => write!(text, "\\u{code:04X}"),
        _ => write!(text, "\\U{code:08X}"),
    };
    text
}

/// `|` keeps the last line end, `|-` has none, `|+` keeps several; a digit tells the indentation when the text itself
/// begins with space.
fn block(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text.ends_with("\n\n") || text == "\n" {
        out.push('+');
    }
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            super::super::tabs::pad(out, indent);
            out.push_str(line);
        }
    }
}
