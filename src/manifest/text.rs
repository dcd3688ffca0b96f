//! The bytes of a file to text, and a text to its documents' texts.

use super::place::Position;

/// Why bytes are no text that could be YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    pub position: Position,
    pub message: String,
    pub help: Option<String>,
}

/// UTF-8 with or without a byte order mark, or UTF-16 with one.
pub fn decode(bytes: &[u8]) -> Result<String, TextError> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => decode_utf8(rest)?,
        [0xff, 0xfe, rest @ ..] => decode_utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => decode_utf16(rest, u16::from_be_bytes)?,
        _ => decode_utf8(bytes)?,
    };
    match text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) {
        None => Ok(text),
        Some((at, c)) => Err(TextError {
            position: position_after(text.get(..at).unwrap_or_default()),
            message: format!("the control character U+{:04X} is not allowed", u32::from(c)),
            help: Some("is this a text file? YAML holds text only; binary data goes into base64".into()),
        }),
    }
}

fn decode_utf8(bytes: &[u8]) -> Result<String, TextError> {
    std::str::from_utf8(bytes).map(str::to_string).map_err(|error| {
        let (valid, rest) = bytes.split_at_checked(error.valid_up_to()).unwrap_or((bytes, &[]));
        let byte = rest.first().map_or_else(String::new, |byte| format!(": byte 0x{byte:02x}"));
        TextError {
            position: position_after(std::str::from_utf8(valid).unwrap_or_default()),
            message: format!("not valid UTF-8{byte}"),
            help: Some(
                "the file is saved in another encoding; if that is CP949 (Korean Windows), \
                 `iconv -f CP949 -t UTF-8 OLD.yaml > NEW.yaml` converts it"
                    .into(),
            ),
        }
    })
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, TextError> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(pairs.len());
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match decoded {
            Ok(c) => text.push(c),
            Err(_) => {
                let message = "not valid UTF-16: half of a surrogate pair".to_string();
                let help = Some("save the file as UTF-8".to_string());
                return Err(TextError { position: position_after(&text), message, help });
            }
        }
    }
    Ok(text)
}

/// The position right after `text`.
fn position_after(text: &str) -> Position {
    let line = text.bytes().filter(|byte| *byte == b'\n').count();
    let last = text.rsplit('\n').next().unwrap_or_default().chars().count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    Position { line: count(line), column: count(last) }
}

/// A part of a file that begins with `---` or at the file's start, and the number of its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'t> {
    pub text: &'t str,
    pub first_line: u32,
}

/// Cuts a file at its `---` lines, so that an error in one document does not hide the others.
pub fn split(text: &str) -> Vec<Part<'_>> {
    // A directive (`%YAML 1.1`) belongs to the document after the next `---`: such a file stays whole.
    if text.lines().any(|line| line.starts_with('%')) {
        return vec![Part { text, first_line: 1 }];
    }
    let (mut parts, mut start, mut first_line, mut at) = (Vec::new(), 0, 1, 0);
    for (line, number) in text.split_inclusive('\n').zip(1u32..) {
        let separates =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if separates && at > start {
            parts.push(Part { text: text.get(start..at).unwrap_or_default(), first_line });
            (start, first_line) = (at, number);
        }
        at += line.len();
    }
    parts.push(Part { text: text.get(start..).unwrap_or_default(), first_line });
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_that_say_what_they_are() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
        };
        let text = "a: 한글 😀\r\n";
        for bytes in [
            text.as_bytes().to_vec(),
            format!("\u{feff}{text}").into_bytes(),
            utf16(text, u16::to_le_bytes),
            utf16(text, u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).unwrap(), text);
        }
    }

    #[test]
    fn other_bytes_are_refused_at_their_place() {
        // "name: 한" in CP949.
        let error = decode(b"a: 1\nname: \xc7\xd1\n").unwrap_err();
        assert_eq!(
            (error.position, error.message.as_str()),
            (Position { line: 2, column: 7 }, "not valid UTF-8: byte 0xc7")
        );
        assert!(error.help.unwrap().contains("iconv -f CP949"));
        let error = decode(b"a: \x00").unwrap_err();
        assert_eq!((error.position.column, error.message.contains("U+0000")), (4, true));
        assert!(decode(b"\xff\xfe\x00\xd8").unwrap_err().message.contains("UTF-16"));
    }

    #[test]
    fn a_file_is_cut_at_its_separators() {
        let cut = |text| split(text).into_iter().map(|p| (p.first_line, p.text)).collect::<Vec<_>>();
        assert_eq!(cut("a\n---\nb\n--- # c\nd\n---"), [(1, "a\n"), (2, "---\nb\n"), (4, "--- # c\nd\n"), (6, "---")]);
        assert_eq!(cut("---\na: |\n  ---\n----\n---x"), [(1, "---\na: |\n  ---\n----\n---x")]);
        assert_eq!(cut("%YAML 1.1\n---\na"), [(1, "%YAML 1.1\n---\na")]);
        assert_eq!(cut(""), [(1, "")]);
    }
}
