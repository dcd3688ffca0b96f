//! A CustomResourceDefinition as the lab reads it.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::intern::{Names, intern};
use super::schema::Schema;
use crate::object::jsonpath::Template;
use crate::object::kind::{self, KindRef};

#[derive(Debug)]
pub struct Definition {
    pub group: String,
    pub kind: String,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub short: Vec<String>,
    pub namespaced: bool,
    pub versions: Vec<Version>,
    /// Its condition `Established`: its names are its own.
    pub established: bool,
    /// A webhook is to convert its objects, which the lab does not call.
    pub has_webhook: bool,
    /// It goes, and its objects go before it.
    pub terminating: bool,
}

#[derive(Debug)]
pub struct Version {
    pub kind: KindRef,
    pub served: bool,
    pub storage: bool,
    /// `openAPIV3Schema` as it is written.
    pub raw_schema: Option<Value>,
    /// As the lab applies it; `None` also where it cannot be read.
    pub schema: Option<Schema>,
    pub columns: Vec<Column>,
    pub scale: Option<ScalePaths>,
    /// Paths that a field selector may name, without the leading dot.
    pub selectable: Vec<String>,
    /// What a client of a deprecated version is told.
    pub warning: Option<String>,
    /// It has rules in CEL, which the lab does not evaluate.
    pub has_rules: bool,
}

/// One of a version's `additionalPrinterColumns`.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    /// `None` for a path that cannot be read.
    pub path: Option<Template>,
}

/// Where the fields of a version's `Scale` are: field names from the object's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec_replicas: Vec<String>,
    pub status_replicas: Vec<String>,
    pub selector: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for Definition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let crd = Map::<String, Value>::deserialize(deserializer)?;
        Definition::of(&crd).map_err(serde::de::Error::custom)
    }
}

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or("")
}

fn texts(value: &Value, at: &str) -> Vec<String> {
    let list = value.pointer(at).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_string).collect()
}

impl Definition {
    fn of(crd: &Map<String, Value>) -> Result<Self, String> {
        let spec = crd.get("spec").ok_or("it has no spec")?;
        let kind = text(spec, "/names/kind");
        let or = |at: &str, other: String| match text(spec, at) {
            "" => other,
            own => own.to_string(),
        };
        let conditions = crd.get("status").and_then(|status| status.get("conditions")).and_then(Value::as_array);
        let is_true = |type_: &str| {
            let mut all = conditions.into_iter().flatten();
            all.any(|one| text(one, "/type") == type_ && text(one, "/status") == "True")
        };
        let mut definition = Definition {
            group: text(spec, "/group").to_string(),
            kind: kind.to_string(),
            list_kind: or("/names/listKind", format!("{kind}List")),
            plural: text(spec, "/names/plural").to_string(),
            singular: or("/names/singular", kind.to_lowercase()),
            short: texts(spec, "/names/shortNames"),
            namespaced: text(spec, "/scope") == "Namespaced",
            versions: Vec::new(),
            established: is_true("Established"),
            has_webhook: text(spec, "/conversion/strategy") == "Webhook",
            terminating: crd.get("metadata").is_some_and(|m| m.get("deletionTimestamp").is_some_and(|t| !t.is_null())),
        };
        if definition.group.is_empty() || kind.is_empty() || definition.plural.is_empty() {
            return Err("its group, kind or plural name is missing".into());
        }
        let categories = texts(spec, "/names/categories");
        for version in spec.get("versions").and_then(Value::as_array).into_iter().flatten() {
            let version = definition.version(version, &categories)?;
            definition.versions.push(version);
        }
        Ok(definition)
    }

    fn version(&self, version: &Value, categories: &[String]) -> Result<Version, String> {
        let name = text(version, "/name");
        let scale = version.pointer("/subresources/scale").filter(|scale| scale.is_object()).map(scale_paths);
        let names = Names {
            group: self.group.clone(),
            version: name.to_string(),
            kind: self.kind.clone(),
            list_kind: self.list_kind.clone(),
            plural: self.plural.clone(),
            singular: self.singular.clone(),
            short: self.short.clone(),
            categories: categories.to_vec(),
            namespaced: self.namespaced,
            status: version.pointer("/subresources/status").is_some_and(|status| !status.is_null()),
            scale: scale.is_some(),
        };
        let kind = intern(&names).ok_or("this lab has seen too many custom kinds; start it anew")?;
        let raw_schema = version.pointer("/schema/openAPIV3Schema").filter(|schema| schema.is_object()).cloned();
        let flag = |field: &str| version.get(field).and_then(Value::as_bool).unwrap_or(false);
        let columns = version.get("additionalPrinterColumns").and_then(Value::as_array);
        let warning = || match text(version, "/deprecationWarning") {
            "" => format!("{} {} is deprecated", kind.api_version(), kind.kind),
            own => own.to_string(),
        };
        let selectable = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
        Ok(Version {
            kind,
            served: flag("served"),
            storage: flag("storage"),
            schema: raw_schema.as_ref().and_then(|schema| Schema::compile(schema).ok()),
            has_rules: raw_schema.as_ref().is_some_and(has_rules),
            raw_schema,
            columns: columns.into_iter().flatten().map(column).collect(),
            scale,
            selectable: selectable.map(|field| text(field, "/jsonPath").trim_start_matches('.').to_string()).collect(),
            warning: flag("deprecated").then(warning),
        })
    }

    /// Does the API serve its kind because of it? Not that of a definition whose names are another's, nor a kind that
    /// the lab has by itself.
    pub fn is_served(&self) -> bool {
        self.established && kind::by_resource(&self.group, &self.plural).is_none()
    }

    pub fn served_version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.served && version.kind.version == name)
    }

    /// The version of exactly this kind.
    pub fn version_of(&self, kind: KindRef) -> Option<&Version> {
        self.versions.iter().find(|version| version.kind.version == kind.version)
    }

    /// The kind in the version in which its objects are stored.
    pub fn stored_kind(&self) -> Option<KindRef> {
        self.versions.iter().find(|version| version.storage).map(|version| version.kind)
    }
}

fn column(column: &Value) -> Column {
    Column {
        name: text(column, "/name").to_string(),
        type_: text(column, "/type").to_string(),
        format: text(column, "/format").to_string(),
        description: text(column, "/description").to_string(),
        priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
        path: Template::parse_relaxed(text(column, "/jsonPath")).ok(),
    }
}

fn scale_paths(scale: &Value) -> ScalePaths {
    let path = |field: &str| -> Vec<String> {
        text(scale, field).split('.').filter(|part| !part.is_empty()).map(str::to_string).collect()
    };
    ScalePaths {
        spec_replicas: path("/specReplicasPath"),
        status_replicas: path("/statusReplicasPath"),
        selector: Some(path("/labelSelectorPath")).filter(|path| !path.is_empty()),
    }
}

/// Is there an `x-kubernetes-validations` anywhere in a schema?
fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            let own = fields.get("x-kubernetes-validations").and_then(Value::as_array);
            own.is_some_and(|rules| !rules.is_empty()) || fields.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}
