//! Custom objects as rows: the columns that their definition names, after the name; without any, the age.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cells, duration};
use crate::object::Object;
use crate::object::custom::{Column, Version};
use crate::object::jsonpath::to_text;

pub fn definitions(version: &Version) -> Value {
    let column = |name: &str, type_: &str, format: &str, description: &str, priority: i64| json!({"name": name, "type": type_, "format": format, "description": description, "priority": priority});
    let mut all = vec![column("Name", "string", "name", "", 0)];
    if version.columns.is_empty() {
        all.push(column("Age", "date", "", "", 0));
    }
    all.extend(version.columns.iter().map(|c| column(&c.name, &c.type_, &c.format, &c.description, c.priority)));
    all.into()
}

pub fn cells(version: &Version, object: &Object, now: Timestamp) -> Vec<Value> {
    let mut row = vec![cells::name(object)];
    if version.columns.is_empty() {
        row.push(cells::age(object, now));
        return row;
    }
    let json = object.to_value();
    row.extend(version.columns.iter().map(|column| cell(column, &json, now)));
    row
}

/// A cell without a value is empty, and so is one with a value of another type than its column.
fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let found = column.path.as_ref().and_then(|path| path.find(object).ok()).unwrap_or_default();
    let Some(first) = found.first() else { return Value::Null };
    match column.type_.as_str() {
        "integer" => first.as_i64().or_else(|| first.as_f64().map(|n| n as i64)).map_or(Value::Null, Value::from),
        "number" => first.as_f64().map_or(Value::Null, Value::from),
        "boolean" => first.as_bool().map_or(Value::Null, Value::from),
        "date" => match first.as_str() {
            Some(text) => duration::since(text, now).into(),
            None => Value::Null,
        },
        _ if found.iter().all(|value| value.is_null()) => Value::Null,
        _ => found.into_iter().map(to_text).collect::<Vec<_>>().join(" ").into(),
    }
}
