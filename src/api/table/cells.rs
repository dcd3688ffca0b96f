//! What cells of many kinds are made with.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::duration;
use crate::object::Object;

pub const NONE: &str = "<none>";
pub const UNSET: &str = "<unset>";

pub fn name(object: &Object) -> Value {
    object.name().into()
}

pub fn age(object: &Object, now: Timestamp) -> Value {
    duration::since(object.creation_timestamp(), now).into()
}

/// The text at a path; `""` when there is none.
pub fn text<'a>(object: &'a Object, path: &[&str]) -> &'a str {
    object.str_at(path).unwrap_or("")
}

/// The number at a path; 0 when there is none.
pub fn number(object: &Object, path: &[&str]) -> Value {
    object.i64_at(path).unwrap_or(0).into()
}

pub fn list<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

pub fn or_none(text: &str) -> Value {
    if text.is_empty() { NONE.into() } else { text.into() }
}

/// `a=b,c=d`, or `otherwise` when there are none.
pub fn labels(labels: Option<&Map<String, Value>>, otherwise: &str) -> String {
    let pairs: Vec<String> =
        labels.into_iter().flatten().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or(""))).collect();
    if pairs.is_empty() { otherwise.to_string() } else { pairs.join(",") }
}

/// A `LabelSelector` (or a plain map) as text.
pub fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector.and_then(Value::as_object) else {
        return NONE.into();
    };
    if !selector.contains_key("matchLabels") && !selector.contains_key("matchExpressions") {
        return labels(Some(selector), NONE);
    }
    let mut parts: Vec<String> = Vec::new();
    let equal = labels(selector.get("matchLabels").and_then(Value::as_object), "");
    if !equal.is_empty() {
        parts.push(equal);
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = field(expression, "key");
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let values = values.filter_map(Value::as_str).collect::<Vec<_>>().join(",");
        parts.push(match field(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_string(),
        });
    }
    if parts.is_empty() { NONE.into() } else { parts.join(",") }
}

/// The names and the images of a pod template's containers.
pub fn containers(object: &Object, pod_spec: &[&str]) -> (Value, Value) {
    let path: Vec<&str> = pod_spec.iter().copied().chain(["containers"]).collect();
    let join = |name: &str| list(object, &path).iter().map(|c| field(c, name)).collect::<Vec<_>>().join(",");
    (join("name").into(), join("image").into())
}

/// At most three of `all`, and how many more there are.
pub fn first_three(all: &[String], separator: &str) -> String {
    let shown = all.get(..3).filter(|_| all.len() > 3).unwrap_or(all).join(separator);
    match all.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

/// The status (`True`, `False`, `Unknown`) of a condition.
pub fn condition<'a>(object: &'a Object, wanted: &str) -> Option<&'a str> {
    let conditions = list(object, &["status", "conditions"]);
    conditions.iter().find(|c| field(c, "type") == wanted).map(|c| field(c, "status"))
}
