//! Percent-encoding and query strings, as far as the applets need them.

/// The bytes that a percent-encoded text stands for. A `%` without two hexadecimal digits stands for itself.
pub fn percent_decode(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let escaped = if first == b'%' { after.first_chunk().and_then(hex_byte) } else { None };
        match escaped {
            Some(byte) => {
                decoded.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => decoded.push(first),
        }
    }
    decoded
}

fn hex_byte(digits: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

/// The value of the first parameter called `name` in a query string.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decode(key) == name).then(|| form_decode(value))
    })
}

fn form_decode(text: &str) -> String {
    String::from_utf8_lossy(&percent_decode(&text.replace('+', " "))).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone() {
        for (encoded, decoded) in
            [("a%20b", "a b"), ("%2e%2E/", "../"), ("100%", "100%"), ("%4", "%4"), ("%zz", "%zz"), ("%%41", "%A")]
        {
            assert_eq!(String::from_utf8_lossy(&percent_decode(encoded)), decoded, "{encoded}");
        }
        assert_eq!(percent_decode("%ff"), [0xff]);
    }

    #[test]
    fn parameters_are_found_by_their_decoded_name() {
        let query = Some("msg=hello+there%21&empty&m%73g=second&x=1=2");
        assert_eq!(parameter(query, "msg").as_deref(), Some("hello there!"));
        assert_eq!(parameter(query, "empty").as_deref(), Some(""));
        assert_eq!(parameter(query, "x").as_deref(), Some("1=2"));
        assert_eq!(parameter(query, "none"), None);
        assert_eq!(parameter(None, "msg"), None);
    }
}
