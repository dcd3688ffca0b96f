//! What the API server's own types call a field: users know its messages about values of a wrong type by heart, and
//! these speak of Go.

use serde_json::Value;

use super::{Described, Schemas, name, reference};
use crate::object::kind::{self, KindRef};
use crate::object::unknown::walk::split_path;

/// A field as Go's JSON decoder names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoField {
    /// The struct that has the field, and the path to it from the object: `DeploymentSpec.spec.replicas`.
    pub path: String,
    /// `int32`, `[]v1.Container`
    pub type_: String,
}

/// The field at a path of an object, such as `spec.ports[0].port`; `None` where nothing says what is there, and for the
/// kind that is not Kubernetes'. This makes the kind's schemas, and is for errors alone.
pub fn field(kind: KindRef, path: &str) -> Option<GoField> {
    if *kind == kind::LAB {
        return None;
    }
    let root = name(kind);
    let schemas = Schemas::of(vec![Described::from(kind)]).into_v3();
    // A reference's schema, with the name that it is known by.
    let resolved = |schema: &Value| {
        let name = reference(schema).filter(|_| schema.get("items").or(schema.get("additionalProperties")).is_none());
        let target = name.and_then(|name| Some((name.to_string(), schemas.get(name)?.clone())));
        target.unwrap_or_else(|| (String::new(), schema.clone()))
    };
    let mut at = (root.clone(), schemas.get(&root)?.clone());
    let (mut holder, mut fields) = (String::new(), Vec::new());
    let mut steps = Vec::new();
    split_path(path, &mut |step| steps.push(step.to_string()));
    for step in &steps {
        let (name, schema) = &at;
        let next = match schema.get("properties").and_then(|properties| properties.get(step)) {
            Some(property) => {
                holder = short(name, 1);
                fields.push(step.as_str());
                property
            }
            None => schema.get("items").or(schema.get("additionalProperties").filter(|values| values.is_object()))?,
        };
        at = resolved(next);
    }
    let (name, schema) = &at;
    let type_ = if name.is_empty() { of_schema(schema)? } else { of_name(name) };
    (!fields.is_empty()).then(|| GoField { path: format!("{holder}.{}", fields.join(".")), type_ })
}

fn of_schema(schema: &Value) -> Option<String> {
    if let Some(items) = schema.get("items") {
        return Some(format!("[]{}", of_schema(items)?));
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        return Some(format!("map[string]{}", of_schema(values)?));
    }
    if let Some(name) = reference(schema) {
        return Some(of_name(name));
    }
    let format = schema.get("format").and_then(Value::as_str);
    Some(match (schema.get("type").and_then(Value::as_str)?, format) {
        ("integer", format) => format.unwrap_or("int64").to_string(),
        ("number", _) => "float64".to_string(),
        ("boolean", _) => "bool".to_string(),
        ("string", Some("byte")) => "[]uint8".to_string(),
        ("string", _) => "string".to_string(),
        _ => return None,
    })
}

fn of_name(name: &str) -> String {
    match name.ends_with(".IntOrString") {
        // What is no string is read as a number.
        true => "int32".to_string(),
        false => short(name, 2),
    }
}

/// The last parts of a schema's name: `Pod`, `v1.Pod`.
fn short(name: &str, parts: usize) -> String {
    let mut last: Vec<&str> = name.rsplit('.').take(parts).collect();
    last.reverse();
    last.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_as_in_go() {
        for (kind, path, expected, type_) in [
            (&kind::DEPLOYMENT, "spec.replicas", "DeploymentSpec.spec.replicas", "int32"),
            (&kind::DEPLOYMENT, "spec", "Deployment.spec", "v1.DeploymentSpec"),
            (&kind::POD, "spec.containers", "PodSpec.spec.containers", "[]v1.Container"),
            (&kind::POD, "spec.containers[0]", "PodSpec.spec.containers", "v1.Container"),
            (
                &kind::POD,
                "spec.containers[1].ports[0].hostPort",
                "ContainerPort.spec.containers.ports.hostPort",
                "int32",
            ),
            (&kind::POD, "metadata.labels[a.b/c]", "ObjectMeta.metadata.labels", "string"),
            (&kind::POD, "metadata.labels", "ObjectMeta.metadata.labels", "map[string]string"),
            (&kind::SERVICE, "spec.ports[0].targetPort", "ServicePort.spec.ports.targetPort", "int32"),
        ] {
            let expected = GoField { path: expected.to_string(), type_: type_.to_string() };
            assert_eq!(field(kind, path), Some(expected), "{path}");
        }
        assert_eq!(field(&kind::POD, ""), None);
        assert_eq!(field(&kind::LAB, "nodes"), None);
        assert_eq!(field(&kind::POD, "spec.nope"), None);
    }
}
