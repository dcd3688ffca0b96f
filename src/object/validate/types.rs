//! Values of a wrong type, as errors about their fields.

use serde_json::Value;

use super::error::{FieldError, Reason};
use crate::object::Object;
use crate::object::unknown::{WrongType, examine};

/// The values of an object that their fields cannot hold.
pub fn errors(object: &Object) -> Vec<FieldError> {
    examine(object).wrong.into_iter().map(error).collect()
}

fn error(wrong: WrongType) -> FieldError {
    let WrongType { path, value, expected } = wrong;
    let (wanted, suggestion) = match expected.as_str() {
        "i32" | "i64" => ("an integer".to_string(), unquoted::<i64>(&value)),
        "f64" => ("a number".into(), unquoted::<f64>(&value)),
        "a boolean" => ("a boolean".into(), unquoted::<bool>(&value)),
        "a string" => ("a string".into(), quoted(&value)),
        "a sequence" => ("a list".into(), Some("start each item with \"- \"".to_string()).filter(|_| !value.is_null())),
        "a map" => ("a map".into(), None),
        "IntOrString" => ("an integer or a string".into(), None),
        "Quantity" => ("a quantity such as 100m or 64Mi".into(), None),
        // The name of a struct of Kubernetes, or what a type of ours says by itself.
        other if !other.contains(' ') && other.starts_with(char::is_uppercase) => (format!("a map ({other})"), None),
        other => (other.to_string(), None),
    };
    let shown = match &value {
        Value::String(_) => format!("{value} is a string"),
        Value::Number(number) if number.is_f64() => format!("{value} is not a whole number"),
        Value::Number(_) => format!("{value} is a number"),
        Value::Bool(_) => format!("{value} is a boolean"),
        Value::Array(_) => "this is a list".to_string(),
        Value::Object(_) => "this is a map".to_string(),
        Value::Null => "nothing is here".to_string(),
    };
    let mut error = FieldError::new(path, Reason::TypeInvalid, value, format!("must be {wanted}, but {shown}"));
    error.suggestion = suggestion;
    error
}

/// The value without its quotes, if it is one of the type that is wanted then.
fn unquoted<T: std::str::FromStr>(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    text.parse::<T>().ok().map(|_| format!("write it without quotes: {text}"))
}

fn quoted(value: &Value) -> Option<String> {
    match value {
        Value::Number(_) => Some(format!("put it in quotes: \"{value}\"")),
        Value::Bool(flag) => {
            let words = if *flag { "yes, on, true" } else { "no, off, false" };
            Some(format!("put it in quotes; without them {words} are the boolean {flag}"))
        }
        _ => None,
    }
}
