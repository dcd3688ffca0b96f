//! Structural schemas: the part of OpenAPI that a CustomResourceDefinition may say about its objects. Read once
//! ([`Schema::compile`]), then used to take away fields that are not in it, to fill in defaults and to check values.

mod check;
mod compile;
mod format;
mod shape;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

#[derive(Debug, Default)]
pub struct Schema {
    /// `None`: any.
    type_: Option<Type>,
    nullable: bool,
    int_or_string: bool,
    /// Fields that are not in it stay.
    preserve: bool,
    /// It is an object with `apiVersion`, `kind` and `metadata` of its own.
    embedded: bool,
    properties: BTreeMap<String, Schema>,
    additional: Additional,
    items: Option<Box<Schema>>,
    default: Option<Value>,
    list: ListType,
    checks: Checks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// What the values of fields that `properties` does not name must be.
#[derive(Debug, Default)]
enum Additional {
    #[default]
    No,
    Any,
    Of(Box<Schema>),
}

#[derive(Debug, Default, PartialEq, Eq)]
enum ListType {
    #[default]
    Atomic,
    Set,
    /// By the fields that tell its items apart.
    Map(Vec<String>),
}

/// What a value must be beyond its type.
#[derive(Debug, Default)]
struct Checks {
    required: Vec<String>,
    one_of_values: Vec<Value>,
    pattern: Option<Regex>,
    format: Option<String>,
    minimum: Option<(f64, Value)>,
    exclusive_minimum: bool,
    maximum: Option<(f64, Value)>,
    exclusive_maximum: bool,
    multiple_of: Option<(f64, Value)>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    unique_items: bool,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Box<Schema>>,
}

impl Type {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Type::Object,
            "array" => Type::Array,
            "string" => Type::String,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
        }
    }

    fn has(self, value: &Value) -> bool {
        match (self, value) {
            (Type::Object, Value::Object(_)) | (Type::Array, Value::Array(_)) | (Type::String, Value::String(_)) => {
                true
            }
            (Type::Boolean, Value::Bool(_)) | (Type::Number, Value::Number(_)) => true,
            // `3.0` is a whole number to JSON Schema.
            (Type::Integer, Value::Number(number)) => {
                number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
            }
            _ => false,
        }
    }
}

/// The path of a field of what is at `path`.
fn field(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}
