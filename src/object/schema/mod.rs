//! What objects look like, in the terms of OpenAPI: a schema for each kind, and for each type that kinds are made of,
//! with the descriptions of Kubernetes' API.
//!
//! The schemas are those of the types that objects are decoded as ([`types`]). What those do not say is added here: the
//! kind that a schema is of, how its lists merge (from the same table as the server's merging, so that a patch that
//! kubectl computes means the same to both) and which values its enumerations have.

mod facts;
mod form;
pub mod go;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::kind::{self, KindRef};
use super::merge::keys::{Place, Strategy, has_strategy};
use super::types;

pub const GROUP_VERSION_KIND: &str = "x-kubernetes-group-version-kind";
const PATCH_STRATEGY: &str = "x-kubernetes-patch-strategy";
const PATCH_MERGE_KEY: &str = "x-kubernetes-patch-merge-key";

/// Where OpenAPI v3 keeps schemas, as references begin.
const COMPONENTS: &str = "#/components/schemas/";

/// A kind, and where its schema comes from.
#[derive(Debug)]
pub struct Described {
    pub kind: KindRef,
    /// The schema of a kind that has no type: what its definition has as `openAPIV3Schema`.
    pub schema: Option<Value>,
}

impl From<KindRef> for Described {
    fn from(kind: KindRef) -> Self {
        Described { kind, schema: None }
    }
}

/// Named schemas, complete: whatever one refers to is among them.
#[derive(Debug, Default)]
pub struct Schemas(Map<String, Value>);

impl Schemas {
    /// The schemas of these kinds and of all that they are made of.
    pub fn of(kinds: Vec<Described>) -> Self {
        let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
        for described in &kinds {
            if let Some(known) = types::of(described.kind) {
                (known.schema)(&mut generator);
            }
        }
        let mut schemas = Schemas(generator.take_definitions(true));
        form::normalize(&mut schemas.0);
        facts::add(&mut schemas.0);
        for Described { kind, schema } in kinds {
            let name = name(kind);
            if types::of(kind).is_some() && has_strategy(kind) {
                schemas.add_strategies(&name, Place::Object(kind), &mut BTreeSet::new());
            }
            if let Some(schema) = schema {
                schemas.add_given(&name, schema);
            }
            let Some(Value::Object(schema)) = schemas.0.get_mut(&name) else { continue };
            schema.insert(GROUP_VERSION_KIND.into(), json!([group_version_kind(kind)]));
            // The types always have it; to a client it is as optional as ever.
            if *kind != kind::EVENT {
                facts::leave_out(schema, "metadata");
            }
        }
        schemas
    }

    /// For `components.schemas` of OpenAPI v3.
    pub fn into_v3(self) -> Map<String, Value> {
        self.0
    }

    /// For `definitions` of OpenAPI v2, which has fewer words.
    pub fn into_v2(mut self) -> Map<String, Value> {
        self.0.values_mut().for_each(form::to_v2);
        self.0
    }

    /// Adds a schema that has no type, with the fields that the objects of all kinds have.
    fn add_given(&mut self, name: &str, mut schema: Value) {
        let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
        if let Some(known) = types::of(&kind::NAMESPACE) {
            (known.schema)(&mut generator);
        }
        let mut common = generator.take_definitions(true);
        if let Some(fields) = schema.as_object_mut() {
            let properties = fields.entry("properties").or_insert_with(|| json!({}));
            let namespace = common.remove(self::name(&kind::NAMESPACE).as_str());
            for field in ["apiVersion", "kind", "metadata"] {
                let known = namespace.as_ref().and_then(|schema| schema.get("properties")?.get(field));
                if let (Some(properties), Some(known)) = (properties.as_object_mut(), known) {
                    properties.insert(field.into(), known.clone());
                }
            }
        }
        for (name, schema) in common.into_iter().filter(|(name, _)| name.contains(".apimachinery.")) {
            self.0.entry(name).or_insert(schema);
        }
        self.0.insert(name.to_string(), schema);
    }

    /// Says of each field below a schema how a strategic merge patch treats it.
    fn add_strategies(&mut self, name: &str, place: Place, seen: &mut BTreeSet<String>) {
        if place == Place::Plain || !seen.insert(name.to_string()) {
            return;
        }
        let mut below = Vec::new();
        let properties = self.0.get_mut(name).and_then(|schema| schema.get_mut("properties"));
        for (property, schema) in properties.and_then(Value::as_object_mut).into_iter().flatten() {
            let below_it = reference(schema).map(str::to_string);
            let Some(schema) = schema.as_object_mut() else { continue };
            let field = place.field(property);
            let mut strategies = Vec::new();
            if let Strategy::ByKey(key) = field.strategy {
                schema.insert(PATCH_MERGE_KEY.into(), key.into());
            }
            if field.strategy != Strategy::Default {
                strategies.push("merge");
            }
            if field.retain_keys {
                strategies.push("retainKeys");
            }
            if !strategies.is_empty() {
                schema.insert(PATCH_STRATEGY.into(), strategies.join(",").into());
            }
            below.extend(below_it.map(|name| (name, field.place)));
        }
        for (name, place) in below {
            self.add_strategies(&name, place, seen);
        }
    }
}

/// What the schema of a kind is called, as upstream does: `io.k8s.api.core.v1.Pod`, `com.example.v1.Widget`.
pub fn name(kind: KindRef) -> String {
    match types::of(kind) {
        Some(known) => form::full_name(&(known.name)()),
        None => {
            let group: Vec<&str> = kind.group.rsplit('.').collect();
            format!("{}.{}.{}", group.join("."), kind.version, kind.kind)
        }
    }
}

pub fn group_version_kind(kind: KindRef) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

/// The name of the schema that this one stands for, or whose list or map it is.
fn reference(schema: &Value) -> Option<&str> {
    let only = |list: &'_ Value| list.as_array().is_some_and(|list| list.len() == 1);
    let inner = schema.get("allOf").filter(|all| only(all)).and_then(|all| all.get(0));
    let inner = inner.or(schema.get("items")).or(schema.get("additionalProperties"));
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => reference.strip_prefix(COMPONENTS),
        None => inner.and_then(reference),
    }
}
