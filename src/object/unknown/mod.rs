//! An object held against the type of its kind: fields that the kind does not have, and values of a wrong type.
//!
//! An object is JSON here, so that nothing a user wrote is lost; but a typing error in a field's name must not pass in
//! silence. The object is decoded once through the type of its kind by a deserializer of our own ([`walk`]), which sees
//! every field that a type asks for and every one it does not know.

mod text;
pub(super) mod walk;

pub use text::strict_errors;

use serde_json::Value;

use super::{Object, types};

/// A field that its type does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// `spec.template.spec.contianers`
    pub path: String,
    /// Its last part: `contianers`.
    pub name: String,
    /// The names that its type does have.
    pub known: &'static [&'static str],
}

/// A value that its field cannot hold.
#[derive(Debug, Clone, PartialEq)]
pub struct WrongType {
    pub path: String,
    pub value: Value,
    /// What the field holds, such as `i32`, `a string`, `Container`: in serde's words.
    pub expected: String,
}

/// What there is to say about an object's fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    pub unknown: Vec<UnknownField>,
    pub wrong: Vec<WrongType>,
}

/// A document with more wrong values than this is no manifest; the rest is not looked for.
const MAX_WRONG: usize = 25;

/// The paths of the fields that the object's kind does not have; none for kinds that are not in the table.
pub fn unknown_fields(object: &Object) -> Vec<String> {
    examine(object).unknown.into_iter().map(|field| field.path).collect()
}

/// Holds an object against the type of its kind.
pub fn examine(object: &Object) -> Findings {
    let Some(decode) = object.kind().and_then(types::of).map(|known| known.decode) else {
        return Findings::default();
    };
    let mut findings = decode(object.json());
    // A type error ends the decoding. Without the wrong value it goes on to the next one.
    let mut mended = None::<Value>;
    let mut wrong = Vec::<WrongType>::new();
    while let Some(error) = findings.wrong.pop() {
        let again = wrong.iter().any(|known| known.path == error.path);
        if again || wrong.len() == MAX_WRONG {
            break;
        }
        let value = mended.get_or_insert_with(|| object.to_value());
        let cleared = clear(value, &error.path);
        wrong.push(error);
        match value.as_object().filter(|_| cleared) {
            Some(fields) => findings = decode(fields),
            None => break,
        }
    }
    findings.wrong = wrong;
    findings
}

/// Takes away the fields that the object's kind does not have, as a server does that keeps objects by their types.
pub fn prune(object: &mut Object, unknown: &[UnknownField]) {
    if unknown.is_empty() {
        return;
    }
    let mut value = Value::Object(std::mem::take(object.json_mut()));
    for field in unknown {
        clear(&mut value, &field.path);
    }
    if let Value::Object(fields) = value {
        *object.json_mut() = fields;
    }
}

/// Takes what stands at a path away; an item of a list becomes null, so that the others stay where they are. `false`
/// if there is nothing.
fn clear(value: &mut Value, path: &str) -> bool {
    let mut steps = Vec::new();
    walk::split_path(path, &mut |step| steps.push(step.to_string()));
    let Some((last, parents)) = steps.split_last() else { return false };
    let parent = parents.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get_mut(step),
        _ => None,
    });
    match parent {
        Some(Value::Object(fields)) => fields.remove(last).is_some(),
        Some(Value::Array(items)) => {
            let item = last.parse::<usize>().ok().and_then(|index| items.get_mut(index));
            item.map(|item| *item = Value::Null).is_some()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::kind;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    #[test]
    fn every_kind_can_be_examined() {
        for kind in kind::ALL {
            let minimal = object(json!({"apiVersion": kind.api_version(), "kind": kind.kind, "nope": 1}));
            assert_eq!(unknown_fields(&minimal), ["nope"], "{}", kind.kind);
        }
    }

    #[test]
    fn unknown_fields_at_any_depth() {
        let deployment = object(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "lables": {}, "labels": {"any": "thing"}},
            "spec": {"replica": 3, "template": {"spec": {"containers": [
                {"name": "a"}, {"name": "b", "port": [], "ports": [{"containerport": 80}], "resources": {"limits": {"x": 1}}}],
                "contianers": []}}}}));
        let findings = examine(&deployment);
        let paths: Vec<_> = findings.unknown.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "metadata.lables",
                "spec.replica",
                "spec.template.spec.containers[1].port",
                "spec.template.spec.containers[1].ports[0].containerport",
                "spec.template.spec.contianers",
            ]
        );
        assert!(findings.unknown[0].known.contains(&"labels"));
        assert!(findings.wrong.is_empty());
    }

    #[test]
    fn each_wrong_type_has_its_path() {
        let service = object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"labels": {"a.b/c": true}},
            "spec": {"ports": [{"port": "80"}, {"port": 80, "targetPort": []}, 5], "selector": "x", "tpye": 1}}));
        let findings = examine(&service);
        let wrong: Vec<_> = findings.wrong.iter().map(|w| format!("{}: {}", w.path, w.expected)).collect();
        assert_eq!(
            wrong,
            [
                "metadata.labels[a.b/c]: a string",
                "spec.ports[0].port: i32",
                "spec.ports[1].targetPort: IntOrString",
                "spec.ports[2]: ServicePort",
                "spec.selector: a map",
            ]
        );
        assert_eq!(findings.unknown.iter().map(|f| &f.path).collect::<Vec<_>>(), ["spec.tpye"]);
    }

    #[test]
    fn what_kubernetes_takes_is_taken() {
        let pod = object(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "creationTimestamp": null, "annotations": {"empty": null},
                "managedFields": [{"fieldsV1": {"f:spec": {}}}]},
            "spec": {"nodeSelector": {"node-role.kubernetes.io/control-plane": null}, "containers": [{"name": "c",
                "resources": {"limits": {"cpu": 0.5, "memory": "64Mi"}, "requests": {"cpu": 1}},
                "livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"httpGet": {"port": 80}}}]},
            "status": {}}));
        assert_eq!(examine(&pod), Findings::default());
        let secret = object(json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "aGk="}}));
        assert_eq!(examine(&secret), Findings::default());
        let unknown_kind = object(json!({"apiVersion": "example.com/v1", "kind": "Thing", "spec": 5}));
        assert_eq!(examine(&unknown_kind), Findings::default());
    }

    #[test]
    fn a_lab_document_knows_its_fields() {
        let document = object(json!({"apiVersion": "nslab.dev/v1alpha1", "kind": "Lab", "metadata": {"name": "x"},
            "nodes": [{"rol": "worker"}, {"role": "boss"}], "timings": {"podEvictionTimeout": "3 s"}}));
        let findings = examine(&document);
        assert_eq!(findings.unknown[0].path, "nodes[0].rol");
        let wrong: Vec<_> = findings.wrong.iter().map(|w| w.path.as_str()).collect();
        assert_eq!(wrong, ["nodes[1].role", "timings.podEvictionTimeout"]);
    }
}
