//! What is wrong with a field, in the API server's words.

use std::fmt::{self, Write};

use serde_json::Value;

/// What is wrong with one field. Printed as the API server does:
/// `spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// `spec.ports[0].port`
    pub path: String,
    pub reason: Reason,
    pub value: Value,
    /// Empty when the reason says it all.
    pub detail: String,
    /// The path of what is to blame when `path` is what holds it: the label in a map of labels.
    pub blame: Option<String>,
    /// A value that would do, or a way to one.
    pub suggestion: Option<String>,
}

/// The reasons of Kubernetes' `field.Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    Forbidden,
    NotFound,
    TooLong,
    TooMany,
    /// The value is of another type than the field.
    TypeInvalid,
}

impl Reason {
    /// The `reason` of a `Status` cause: `FieldValueRequired`.
    pub fn cause(self) -> &'static str {
        match self {
            Reason::Required => "FieldValueRequired",
            Reason::Invalid => "FieldValueInvalid",
            Reason::NotSupported => "FieldValueNotSupported",
            Reason::Duplicate => "FieldValueDuplicate",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::NotFound => "FieldValueNotFound",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany => "FieldValueTooMany",
            Reason::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(self, Reason::Required | Reason::Forbidden | Reason::TooLong | Reason::TypeInvalid)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Required => "Required value",
            Reason::Invalid | Reason::TypeInvalid => "Invalid value",
            Reason::NotSupported => "Unsupported value",
            Reason::Duplicate => "Duplicate value",
            Reason::Forbidden => "Forbidden",
            Reason::NotFound => "Not found",
            Reason::TooLong => "Too long",
            Reason::TooMany => "Too many",
        })
    }
}

impl FieldError {
    pub fn new(path: impl Into<String>, reason: Reason, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        let (path, value, detail) = (path.into(), value.into(), detail.into());
        FieldError { path, reason, value, detail, blame: None, suggestion: None }
    }

    /// Without the field's path: what a `Status` cause has as its message.
    pub fn body(&self) -> String {
        let mut body = self.reason.to_string();
        if self.reason.shows_value() {
            body.push_str(": ");
            body.push_str(&go_value(&self.value));
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }

    /// The path to point at.
    pub fn blamed(&self) -> &str {
        self.blame.as_deref().unwrap_or(&self.path)
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

impl std::error::Error for FieldError {}

/// A value as Go's `%v`, `%q` and `%#v` print it in these messages.
fn go_value(value: &Value) -> String {
    match value {
        Value::String(text) => go_quote(text),
        Value::Object(fields) if fields.contains_key("matchLabels") || fields.contains_key("matchExpressions") => {
            go_label_selector(value)
        }
        Value::Object(fields)
            if fields.len() == 2 && fields.contains_key("port") && fields.contains_key("protocol") =>
        {
            go_service_port(value)
        }
        Value::Object(fields) => {
            let mut all = fields.iter().map(|(key, value)| format!("{}:{}", go_quote(key), go_value(value)));
            format!("map[string]string{{{}}}", all_joined(&mut all))
        }
        Value::Array(items) if items.iter().all(Value::is_string) => {
            format!("[]string{{{}}}", all_joined(&mut items.iter().map(go_value)))
        }
        Value::Null => "null".into(),
        other => other.to_string(),
    }
}

fn go_service_port(port: &Value) -> String {
    let field = |name| port.get(name).map(go_value).unwrap_or_default();
    format!(
        "core.ServicePort{{Name:\"\", Protocol:{}, AppProtocol:(*string)(nil), Port:{}, \
         TargetPort:intstr.IntOrString{{Type:0, IntVal:0, StrVal:\"\"}}, NodePort:0}}",
        field("protocol"),
        field("port")
    )
}

fn all_joined(all: &mut dyn Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join(", ")
}

fn go_label_selector(selector: &Value) -> String {
    let labels = match selector.get("matchLabels") {
        Some(labels) if labels.is_object() => go_value(labels),
        _ => "map[string]string(nil)".into(),
    };
    let expressions = match selector.get("matchExpressions").and_then(Value::as_array) {
        None => "[]v1.LabelSelectorRequirement(nil)".to_string(),
        Some(list) => {
            let mut all = list.iter().map(|expression| {
                let text = |field| go_value(expression.get(field).unwrap_or(&Value::String(String::new())));
                let values = expression.get("values").filter(|values| values.is_array());
                let values = values.map_or_else(|| "[]string(nil)".into(), go_value);
                let (key, operator) = (text("key"), text("operator"));
                format!("v1.LabelSelectorRequirement{{Key:{key}, Operator:{operator}, Values:{values}}}")
            });
            format!("[]v1.LabelSelectorRequirement{{{}}}", all_joined(&mut all))
        }
    };
    format!("v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:{expressions}}}")
}

/// Go's `%q`: printable characters stand for themselves.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a String does not fail.
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_read_as_the_api_servers() {
        let error = |reason, value, detail: &str| FieldError::new("spec.x", reason, value, detail).to_string();
        for (error, expected) in [
            (error(Reason::Required, Value::Null, ""), "spec.x: Required value"),
            (error(Reason::Invalid, json!(70000), "too big"), "spec.x: Invalid value: 70000: too big"),
            (error(Reason::Invalid, json!("a\"b\n"), ""), r#"spec.x: Invalid value: "a\"b\n""#),
            (error(Reason::TooLong, json!("abc"), "may not"), "spec.x: Too long: may not"),
            (
                error(Reason::Invalid, json!({"b": "2", "a": "1"}), "no"),
                r#"spec.x: Invalid value: map[string]string{"a":"1", "b":"2"}: no"#,
            ),
            (
                error(Reason::Invalid, json!({"matchLabels": {"a": "b"}}), "field is immutable"),
                "spec.x: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"a\":\"b\"}, \
                 MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable",
            ),
        ] {
            assert_eq!(error, expected);
        }
    }
}
