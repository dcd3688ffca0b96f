//! What a YAML scalar means to kubectl.
//!
//! kubectl reads YAML 1.1 the way its Go library does, with that library's own corners: `0644` is 420 but `0888` is
//! 888, `yes` is true, `1_000` is 1000, `1:30` is text. The golden table of the tests was made with kubectl itself.

use serde_json::{Number, Value};

/// Why a scalar cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScalarError {
    #[error("\"{0}\" is not finite, and JSON has no such number")]
    NotFinite(String),
    #[error("\"{text}\" does not fit its tag !!{tag}")]
    Tag { text: String, tag: &'static str },
}

/// The tags that change how a scalar is read. All others, and the non-specific `!`, leave it text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Str,
    Binary,
    Other,
}

impl Tag {
    /// By the suffix of a core schema tag: the `int` of `!!int`.
    pub fn core(suffix: &str) -> Self {
        match suffix {
            "null" => Tag::Null,
            "bool" => Tag::Bool,
            "int" => Tag::Int,
            "float" => Tag::Float,
            "str" => Tag::Str,
            "binary" => Tag::Binary,
            _ => Tag::Other,
        }
    }
}

/// The value of a scalar. `plain` is an unquoted one: quotes make text, unless a tag says otherwise.
pub fn resolve(text: &str, plain: bool, tag: Option<Tag>) -> Result<Value, ScalarError> {
    let misfit = |tag| ScalarError::Tag { text: text.to_string(), tag };
    let string = || Value::String(text.to_string());
    match tag {
        None if !plain => Ok(string()),
        None => resolve_plain(text),
        Some(Tag::Str | Tag::Other) => Ok(string()),
        Some(Tag::Binary) => binary(text).map(Value::String).ok_or_else(|| misfit("binary")),
        Some(Tag::Null) => Some(resolve_plain(text)?).filter(Value::is_null).ok_or_else(|| misfit("null")),
        Some(Tag::Bool) => Some(resolve_plain(text)?).filter(Value::is_boolean).ok_or_else(|| misfit("bool")),
        // `!!int 1.0` is refused although its value is whole: what counts is how the text reads.
        Some(Tag::Int) => Some(resolve_plain(text)?)
            .filter(|value| value.is_number() && integer(text).is_some())
            .ok_or_else(|| misfit("int")),
        Some(Tag::Float) => Some(resolve_plain(text)?).filter(Value::is_number).ok_or_else(|| misfit("float")),
    }
}

fn resolve_plain(text: &str) -> Result<Value, ScalarError> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Ok(true.into()),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(false.into());
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN"
        | ".NAN" => return Err(ScalarError::NotFinite(text.to_string())),
        _ => {}
    }
    let number = match text.as_bytes().first() {
        // After a leading dot an underscore is not skipped.
        Some(b'.') => float(text),
        Some(b'0'..=b'9' | b'+' | b'-') => integer(text).or_else(|| float(&text.replace('_', ""))),
        _ => None,
    };
    Ok(number.map_or_else(|| Value::String(text.to_string()), Value::Number))
}

/// Decimal, or with the prefixes `0x`, `0b`, `0o` and plain `0` for octal.
fn integer(text: &str) -> Option<Number> {
    let digits = text.replace('_', "");
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let bytes = digits.as_bytes();
    let (radix, digits) = match (bytes.first()?, bytes.get(1).map(u8::to_ascii_lowercase)) {
        (b'0', Some(b'x')) => (16, digits.get(2..)?),
        (b'0', Some(b'b')) => (2, digits.get(2..)?),
        (b'0', Some(b'o')) => (8, digits.get(2..)?),
        (b'0', Some(_)) => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // from_str_radix would take a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    // A 128 bit number holds every 64 bit one of either sign.
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -magnitude } else { magnitude };
    match i64::try_from(value) {
        Ok(value) => Some(value.into()),
        // Beyond int64 kubectl holds an unsigned number as a float.
        Err(_) if value > 0 && u64::try_from(value).is_ok() => Number::from_f64(value as f64),
        Err(_) => None,
    }
}

/// `digits[.digits][e[sign]digits]`, also with the digits on one side of the dot only.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let shaped = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|e| !e.is_empty() && digits(e));
    let value: f64 = if shaped { text.parse().ok()? } else { return None };
    number(value)
}

/// A finite number as Kubernetes writes it in JSON: a whole one has no fraction, so that `80.0` fits an integer field.
pub fn number(value: f64) -> Option<Number> {
    /// Where float64 stops telling neighbouring int64 apart from what does not fit: 2^63.
    const INT64_END: f64 = 9_223_372_036_854_775_808.0;
    if !value.is_finite() {
        None
    } else if value.fract() == 0.0 && value.abs() < INT64_END {
        Some((value as i64).into())
    } else {
        Number::from_f64(value)
    }
}

fn binary(text: &str) -> Option<String> {
    use base64::Engine;
    let compact: String = text.split_whitespace().collect();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(compact).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_int64_are_floats_or_text() {
        assert_eq!(resolve("9223372036854775807", true, None).unwrap(), i64::MAX);
        assert_eq!(resolve("9223372036854775808", true, None).unwrap(), 9_223_372_036_854_775_808.0);
        assert_eq!(resolve("0x10000000000000000", true, None).unwrap(), "0x10000000000000000");
    }

    #[test]
    fn a_sign_counts_once() {
        for text in ["--5", "+-5", "0x-5", "-0x+5", "0-5"] {
            assert_eq!(resolve(text, true, None).unwrap(), text);
        }
    }
}
