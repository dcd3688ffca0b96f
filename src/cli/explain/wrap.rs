//! Lines of a bounded width, broken as kubectl breaks them.

/// Breaks `text` between words so that lines have at most `width` characters, but for words that are longer. Blanks
/// where a line is broken go; all others stay.
pub fn wrap(text: &str, width: usize) -> String {
    let mut lines = Wrapped { out: String::with_capacity(text.len()), ..Wrapped::default() };
    for c in text.chars() {
        if c == '\n' {
            if lines.word.is_empty() && lines.column + lines.blanks.chars().count() > width {
                lines.blanks.clear();
            }
            lines.flush();
            lines.out.push('\n');
            lines.column = 0;
        } else if c.is_whitespace() && c != '\u{a0}' {
            if !lines.word.is_empty() {
                lines.flush();
            }
            lines.blanks.push(c);
        } else {
            lines.word.push(c);
            lines.length += 1;
            let end = lines.column + lines.blanks.chars().count() + lines.length;
            if end > width && lines.length < width {
                lines.out.push('\n');
                lines.column = 0;
                lines.blanks.clear();
            }
        }
    }
    if lines.word.is_empty() && lines.column + lines.blanks.chars().count() > width {
        lines.blanks.clear();
    }
    lines.flush();
    lines.out
}

/// What has been written, and the blanks and the word after it of which it is not yet known which line they are on.
#[derive(Default)]
struct Wrapped {
    out: String,
    column: usize,
    blanks: String,
    word: String,
    /// Of the word, in characters.
    length: usize,
}

impl Wrapped {
    fn flush(&mut self) {
        self.column += self.blanks.chars().count() + self.length;
        self.out.push_str(&self.blanks);
        self.out.push_str(&self.word);
        self.blanks.clear();
        self.word.clear();
        self.length = 0;
    }
}

/// Puts blanks before every line, the empty ones too.
pub fn indent(text: &str, by: usize) -> String {
    let pad = " ".repeat(by);
    format!("{pad}{}", text.replace('\n', &format!("\n{pad}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        for (text, width, expected) in [
            ("one two three", 7, "one two\nthree"),
            ("one  two   three", 8, "one  two\nthree"),
            ("a abcdefghijkl b", 5, "a\nabcdefghijkl\nb"),
            ("one\n\n\ttwo", 20, "one\n\n\ttwo"),
            ("one two", 3, "one\ntwo"),
            ("", 5, ""),
            ("häuser äöü", 7, "häuser\näöü"),
        ] {
            assert_eq!(wrap(text, width), expected, "{text:?}");
        }
    }
}
