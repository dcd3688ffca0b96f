//! The form of a schema: how upstream writes what the generator writes differently, and what OpenAPI v2 cannot say.

use serde_json::{Map, Value, json};

use super::COMPONENTS;
use crate::object::kind::{LAB, LAB_GROUP};

/// Where OpenAPI v2 keeps schemas.
const DEFINITIONS: &str = "#/definitions/";

/// Names types of this program as upstream names its own, with the group and version before the name.
pub fn full_name(name: &str) -> String {
    if name.contains('.') {
        return name.to_string();
    }
    let group: Vec<&str> = LAB_GROUP.rsplit('.').collect();
    format!("{}.{}.{name}", group.join("."), LAB.version)
}

/// Gives all schemas their full names and upstream's form.
pub fn normalize(schemas: &mut Map<String, Value>) {
    *schemas = std::mem::take(schemas)
        .into_iter()
        .map(|(name, mut schema)| {
            each(&mut schema, &mut |schema| {
                rename(schema);
                choices_to_enum(schema);
            });
            spell_out_either(&name, &mut schema);
            (full_name(&name), schema)
        })
        .collect();
}

fn rename(schema: &mut Map<String, Value>) {
    if let Some(Value::String(reference)) = schema.get_mut("$ref")
        && let Some(name) = reference.strip_prefix(COMPONENTS)
    {
        *reference = format!("{COMPONENTS}{}", full_name(name));
    }
}

/// A choice between constants is an enumeration.
fn choices_to_enum(schema: &mut Map<String, Value>) {
    let choices = schema.get("oneOf").and_then(Value::as_array);
    let values = choices.and_then(|choices| choices.iter().map(|c| c.get("enum")?.get(0).cloned()).collect());
    if let Some(Value::Array(values)) = values {
        schema.remove("oneOf");
        schema.insert("type".into(), "string".into());
        schema.insert("enum".into(), Value::Array(values));
    }
}

/// The two types that are a number or a string have no type by name.
fn spell_out_either(name: &str, schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if fields.remove("x-kubernetes-int-or-string").is_none() {
        return;
    }
    if name.ends_with(".IntOrString") {
        fields.insert("format".into(), "int-or-string".into());
        fields.insert("oneOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
    } else {
        fields.insert("oneOf".into(), json!([{"type": "string"}, {"type": "number"}]));
    }
}

/// Writes a schema as OpenAPI v2 has it: references with a description beside them, and no choices.
pub fn to_v2(schema: &mut Value) {
    each(schema, &mut |schema| {
        let all = schema.get_mut("allOf").and_then(Value::as_array_mut);
        if let Some(reference) = all.and_then(|all| all.first_mut()?.get_mut("$ref").map(Value::take)) {
            schema.insert("$ref".into(), reference);
        }
        if let Some(Value::String(reference)) = schema.get_mut("$ref")
            && let Some(name) = reference.strip_prefix(COMPONENTS)
        {
            *reference = format!("{DEFINITIONS}{name}");
        }
        if schema.contains_key("$ref") {
            // Nothing may stand beside a reference that says what it refers to already.
            schema.retain(|word, _| word == "$ref" || word == "description" || word.starts_with("x-"));
        }
        // A number or a string; any other choice is left open.
        let choices = schema.remove("oneOf");
        let is_type = |choice: &Value| choice.as_object().is_some_and(|c| c.len() == 1 && c.contains_key("type"));
        if choices.as_ref().and_then(Value::as_array).is_some_and(|choices| choices.iter().all(is_type)) {
            schema.insert("type".into(), "string".into());
        }
        for word in ["allOf", "anyOf", "not", "nullable"] {
            schema.remove(word);
        }
    });
}

/// Calls `change` with a schema and each schema in it, the inner ones first.
pub fn each(schema: &mut Value, change: &mut dyn FnMut(&mut Map<String, Value>)) {
    let Some(fields) = schema.as_object_mut() else { return };
    for (word, inner) in fields.iter_mut() {
        match (word.as_str(), inner) {
            ("properties" | "patternProperties" | "definitions", Value::Object(all)) => {
                all.values_mut().for_each(|inner| each(inner, change));
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => all.iter_mut().for_each(|inner| each(inner, change)),
            ("items" | "additionalProperties" | "not", inner) => each(inner, change),
            _ => {}
        }
    }
    change(fields);
}
