//! Reading a schema.

use regex::RegexBuilder;
use serde_json::{Map, Value};

use super::{Additional, Checks, ListType, Schema, Type, field};

/// How large a pattern may become, in bytes.
const MOST_PATTERN: usize = 1 << 20;

/// What is wrong in a schema, and where from its root: `properties[spec].type`.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaError {
    pub path: String,
    pub value: Value,
    /// Without it the field is missing.
    pub reason: Option<String>,
}

impl Schema {
    /// Reads a schema, which must be structural: each field has its type.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        let schema = read(schema, "", Part::Structure)?;
        match schema.type_ {
            Some(Type::Object) => Ok(schema),
            _ => Err(SchemaError {
                path: "type".into(),
                value: Value::from(schema.type_.map_or("", Type::name)),
                reason: Some("must be object at the root".into()),
            }),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Structure,
    /// Below `allOf`, `anyOf`, `oneOf` or `not`, where types need not be said.
    Logic,
}

fn read(value: &Value, path: &str, part: Part) -> Result<Schema, SchemaError> {
    let wrong = |at: &str, value: &Value, reason: &str| SchemaError {
        path: field(path, at),
        value: value.clone(),
        reason: Some(reason.to_string()),
    };
    let Some(fields) = value.as_object() else {
        let (path, value) = (path.to_string(), value.clone());
        return Err(SchemaError { path, value, reason: Some("must be a schema".into()) });
    };
    let flag = |name: &str| fields.get(name).and_then(Value::as_bool).unwrap_or(false);
    let type_name = fields.get("type").and_then(Value::as_str).filter(|name| !name.is_empty());
    let type_ = match type_name {
        None => None,
        Some(name) => Some(Type::of(name).ok_or_else(|| wrong("type", &name.into(), "must be a type of JSON"))?),
    };
    let mut schema = Schema {
        type_,
        nullable: flag("nullable"),
        int_or_string: flag("x-kubernetes-int-or-string"),
        preserve: flag("x-kubernetes-preserve-unknown-fields"),
        embedded: flag("x-kubernetes-embedded-resource"),
        default: fields.get("default").filter(|default| !default.is_null()).cloned(),
        ..Schema::default()
    };
    let has_type = type_.is_some() || schema.int_or_string || schema.preserve;
    if part == Part::Structure && !has_type {
        return Err(SchemaError { path: field(path, "type"), value: Value::Null, reason: None });
    }
    for (name, property) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let property = read(property, &field(path, &format!("properties[{name}]")), part)?;
        schema.properties.insert(name.clone(), property);
    }
    schema.additional = match fields.get("additionalProperties") {
        None | Some(Value::Null | Value::Bool(false)) => Additional::No,
        Some(Value::Bool(true)) => Additional::Any,
        Some(other) => Additional::Of(Box::new(read(other, &field(path, "additionalProperties"), part)?)),
    };
    schema.items = match fields.get("items") {
        None | Some(Value::Null) => None,
        Some(items) => Some(Box::new(read(items, &field(path, "items"), part)?)),
    };
    if part == Part::Structure && schema.type_ == Some(Type::Array) && schema.items.is_none() {
        return Err(SchemaError { path: field(path, "items"), value: Value::Null, reason: None });
    }
    let keys = fields.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten();
    schema.list = match fields.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(keys.filter_map(Value::as_str).map(str::to_string).collect()),
        _ => ListType::Atomic,
    };
    schema.checks = checks(fields, path, &wrong)?;
    Ok(schema)
}

fn checks(
    fields: &Map<String, Value>,
    path: &str,
    wrong: &dyn Fn(&str, &Value, &str) -> SchemaError,
) -> Result<Checks, SchemaError> {
    let list = |name: &str| fields.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let number = |name: &str| fields.get(name).and_then(|value| Some((value.as_f64()?, value.clone())));
    let count = |name: &str| fields.get(name).and_then(Value::as_u64);
    let flag = |name: &str| fields.get(name).and_then(Value::as_bool).unwrap_or(false);
    let all = |name: &str| -> Result<Vec<Schema>, SchemaError> {
        let of = |(index, part)| read(part, &field(path, &format!("{name}[{index}]")), Part::Logic);
        list(name).iter().enumerate().map(of).collect()
    };
    let pattern = match fields.get("pattern") {
        Some(pattern) => {
            let text = pattern.as_str().unwrap_or_default();
            let read = RegexBuilder::new(text).size_limit(MOST_PATTERN).build();
            Some(read.map_err(|error| {
                wrong("pattern", pattern, &format!("must be a valid regular expression, but isn't: {error}"))
            })?)
        }
        None => None,
    };
    let not = match fields.get("not") {
        Some(not) => Some(Box::new(read(not, &field(path, "not"), Part::Logic)?)),
        None => None,
    };
    Ok(Checks {
        required: list("required").iter().filter_map(Value::as_str).map(str::to_string).collect(),
        one_of_values: list("enum").to_vec(),
        pattern,
        format: fields.get("format").and_then(Value::as_str).map(str::to_string),
        minimum: number("minimum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        maximum: number("maximum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: number("multipleOf").filter(|(step, _)| *step > 0.0),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: flag("uniqueItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        all_of: all("allOf")?,
        any_of: all("anyOf")?,
        one_of: all("oneOf")?,
        not,
    })
}
