//! What a CustomResourceDefinition must be like, beyond its type.

use serde_json::Value;

use super::schema::Schema;
use crate::object::Object;
use crate::object::validate::{FieldError, Reason};

/// The annotation that definitions of Kubernetes' own groups need.
const APPROVED: &str = "api-approved.kubernetes.io";
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];

fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value.pointer(at).and_then(Value::as_str).unwrap_or("")
}

pub fn validate(crd: &Object) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let null = Value::Null;
    let spec = crd.json().get("spec").unwrap_or(&null);
    let (group, plural) = (text(spec, "/group"), text(spec, "/names/plural"));
    for (path, at) in
        [("spec.group", "/group"), ("spec.names.plural", "/names/plural"), ("spec.names.kind", "/names/kind")]
    {
        if text(spec, at).is_empty() {
            errors.push(FieldError::new(path, Reason::Required, Value::Null, ""));
        }
    }
    if !errors.is_empty() {
        return errors;
    }
    if crd.name() != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        let mut error = FieldError::new("metadata.name", Reason::Invalid, crd.name(), detail);
        error.suggestion = Some(format!("write {plural}.{group}"));
        errors.push(error);
    }
    if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(FieldError::new("spec.group", Reason::Invalid, group, detail));
    }
    let is_protected =
        ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")));
    if is_protected && crd.annotation(APPROVED).is_none() {
        let detail = format!(
            "protected groups must have approval annotation \"{APPROVED}\", see \
             https://github.com/kubernetes/enhancements/pull/1111"
        );
        let path = format!("metadata.annotations[{APPROVED}]");
        errors.push(FieldError::new(path, Reason::Required, Value::Null, detail));
    }
    let scope = text(spec, "/scope");
    if !["Cluster", "Namespaced"].contains(&scope) {
        let detail = "supported values: \"Cluster\", \"Namespaced\"";
        errors.push(FieldError::new("spec.scope", Reason::NotSupported, scope, detail));
    }
    for field in ["plural", "singular"] {
        let (name, path) = (text(spec, &format!("/names/{field}")), format!("spec.names.{field}"));
        if !name.is_empty() && !is_label(name) {
            let detail = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                          alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
                          regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
            errors.push(FieldError::new(path, Reason::Invalid, name, detail));
        }
    }
    versions(spec, &mut errors);
    errors
}

fn versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = spec.get("versions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let keeps_all = spec.get("preserveUnknownFields") == Some(&Value::Bool(true));
    let mut names: Vec<&str> = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let at = |field: &str| format!("spec.versions[{index}].{field}");
        let name = text(version, "/name");
        if !is_label(name) {
            let detail = "a DNS-1035 label must consist of lower case alphanumeric characters or '-'";
            errors.push(FieldError::new(at("name"), Reason::Invalid, name, detail));
        }
        if names.contains(&name) {
            errors.push(FieldError::new("spec.versions", Reason::Invalid, name, "must contain unique version names"));
        }
        names.push(name);
        match version.pointer("/schema/openAPIV3Schema") {
            None | Some(Value::Null) if keeps_all => {}
            None | Some(Value::Null) => {
                let path = at("schema.openAPIV3Schema");
                errors.push(FieldError::new(path, Reason::Required, Value::Null, "schemas are required"));
            }
            Some(schema) => {
                if let Err(error) = Schema::compile(schema)
                    && !keeps_all
                {
                    let path = at(&format!("schema.openAPIV3Schema.{}", error.path));
                    errors.push(match error.reason {
                        Some(reason) => FieldError::new(path, Reason::Invalid, error.value, reason),
                        None => FieldError::new(
                            path,
                            Reason::Required,
                            Value::Null,
                            "must not be empty for specified object fields",
                        ),
                    });
                }
            }
        }
        let columns = version.get("additionalPrinterColumns").and_then(Value::as_array);
        for (column_index, column) in columns.into_iter().flatten().enumerate() {
            let type_ = text(column, "/type");
            if !COLUMN_TYPES.contains(&type_) {
                let path = at(&format!("additionalPrinterColumns[{column_index}].type"));
                let detail = format!("must be one of {}", COLUMN_TYPES.join(","));
                errors.push(FieldError::new(path, Reason::Invalid, type_, detail));
            }
        }
    }
    let is_stored = |version: &&Value| version.get("storage") == Some(&Value::Bool(true));
    if versions.iter().filter(is_stored).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::new("spec.versions", Reason::Invalid, names.join(", "), detail));
    }
}

fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// What may not change once the definition is served.
pub fn validate_update(old: &Object, new: &Object) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let established = super::definition(old).is_some_and(|definition| definition.established);
    let paths: &[&[&str]] = match established {
        true => &[&["group"], &["names", "plural"], &["scope"], &["names", "kind"]],
        false => &[&["group"], &["names", "plural"]],
    };
    for path in paths {
        let path: Vec<&str> = std::iter::once("spec").chain(path.iter().copied()).collect();
        if old.at(&path) != new.at(&path) {
            let value = new.at(&path).cloned().unwrap_or_default();
            errors.push(FieldError::new(path.join("."), Reason::Invalid, value, "field is immutable"));
        }
    }
    let versions = new.at(&["spec", "versions"]).and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = versions.map(|version| text(version, "/name")).collect();
    let stored = new.at(&["status", "storedVersions"]).and_then(Value::as_array).into_iter().flatten();
    for (index, version) in stored.filter_map(Value::as_str).enumerate().filter(|(_, v)| !names.contains(v)) {
        let detail = format!(
            "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions \
             until a storage migration ensures no data remains persisted in {version} and removes {version} from \
             status.storedVersions"
        );
        errors.push(FieldError::new(format!("status.storedVersions[{index}]"), Reason::Invalid, version, detail));
    }
    errors
}
