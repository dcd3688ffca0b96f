//! What is different between two versions of an object, field by field, for people.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::kind::{self, KindRef};
use super::merge::LAST_APPLIED;
use super::merge::keys::{Place, Strategy};
use super::merge::list::find_exactly;

/// A field that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `spec.template.spec.containers[web].image`
    pub field: String,
    /// What it was; absent where there was nothing, and where it is nobody's to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// Longer values are cut off when they are shown.
const SHOWN: usize = 40;

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.from, &self.to) {
            (None, None) => write!(f, "{} changed", self.field),
            (Some(from), None) => write!(f, "{}{} removed", self.field, beside(from)),
            (None, Some(to)) => write!(f, "{}{} added", self.field, beside(to)),
            (Some(from), Some(to)) => write!(f, "{} {} -> {}", self.field, short(from), short(to)),
        }
    }
}

/// A value that comes or goes, behind its field; of one with parts the field says enough.
fn beside(value: &Value) -> String {
    if value.is_object() || value.is_array() { String::new() } else { format!(" {}", short(value)) }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.is_empty() && !text.contains(['\n', ' ', ',']) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// All that somebody else than the server changed, in the order of the fields.
pub fn changes(kind: KindRef, old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<Change> {
    let mut walk = Walk { hides_values: *kind == kind::SECRET, found: Vec::new() };
    walk.maps("", Place::Object(kind), old, new);
    walk.found
}

/// Whether these changes have the object's pods replaced.
pub fn replace_pods(kind: KindRef, changes: &[Change]) -> bool {
    *kind == kind::DEPLOYMENT && changes.iter().any(|change| change.field.starts_with("spec.template."))
}

struct Walk {
    hides_values: bool,
    found: Vec<Change>,
}

impl Walk {
    fn maps(&mut self, path: &str, place: Place, old: &Map<String, Value>, new: &Map<String, Value>) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names.into_iter().filter(|name| !is_the_servers(path, name)) {
            let field = place.field(name);
            let path = join(path, name);
            match (old.get(name), new.get(name)) {
                (Some(Value::Object(old)), Some(Value::Object(new))) => self.maps(&path, field.place, old, new),
                (Some(Value::Array(old)), Some(Value::Array(new))) => match field.strategy {
                    Strategy::ByKey(key) => self.lists(&path, field.place, key, old, new),
                    _ => self.values(path, Some(old.clone().into()), Some(new.clone().into())),
                },
                // A map that comes or goes is its fields that do.
                (Some(Value::Object(old)), None) if !old.is_empty() => self.maps(&path, field.place, old, &Map::new()),
                (None, Some(Value::Object(new))) if !new.is_empty() => self.maps(&path, field.place, &Map::new(), new),
                (old, new) => self.values(path, old.cloned(), new.cloned()),
            }
        }
    }

    fn lists(&mut self, path: &str, place: Place, key: &str, old: &[Value], new: &[Value]) {
        let as_maps = |list: &[Value]| list.iter().filter_map(|e| e.as_object().cloned()).collect::<Vec<_>>();
        let of = |element: &Map<String, Value>| format!("{path}[{}]", short(element.get(key).unwrap_or(&Value::Null)));
        let before = self.found.len();
        for element in as_maps(old) {
            match find_exactly(new, key, &element).and_then(|at| new.get(at)?.as_object()) {
                Some(other) => self.maps(&of(&element), place, &element, other),
                None => self.values(of(&element), Some(without(element, key)), None),
            }
        }
        for element in as_maps(new) {
            if find_exactly(old, key, &element).is_none() {
                self.values(of(&element), None, Some(without(element, key)));
            }
        }
        if self.found.len() == before && old != new {
            self.found.push(Change { field: format!("{path} (order)"), from: None, to: None });
        }
    }

    fn values(&mut self, field: String, from: Option<Value>, to: Option<Value>) {
        if from != to {
            let shown = |value: Option<Value>| value.filter(|_| !self.hides_values);
            self.found.push(Change { field, from: shown(from), to: shown(to) });
        }
    }
}

/// An element as it is shown beside its key.
fn without(mut element: Map<String, Value>, key: &str) -> Value {
    element.remove(key);
    Value::Object(element)
}

fn join(path: &str, name: &str) -> String {
    match (path, name.contains(['.', '/'])) {
        ("", _) => name.to_string(),
        (_, true) => format!("{path}[{name}]"),
        (_, false) => format!("{path}.{name}"),
    }
}

fn is_the_servers(path: &str, name: &str) -> bool {
    match path {
        "" => name == "status",
        "metadata" => ["resourceVersion", "generation", "managedFields", "uid", "creationTimestamp"].contains(&name),
        "metadata.annotations" => name == LAST_APPLIED,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(kind: KindRef, old: Value, new: Value) -> Vec<String> {
        let map = |value: Value| value.as_object().cloned().unwrap();
        changes(kind, &map(old), &map(new)).iter().map(ToString::to_string).collect()
    }

    fn deployment(containers: Value) -> Value {
        json!({"metadata": {"generation": 1, "annotations": {LAST_APPLIED: containers.to_string()}},
            "spec": {"replicas": 2, "template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn a_containers_fields_are_named_by_the_container() {
        let old = deployment(json!([{"name": "web", "image": "nginx:1.14"}, {"name": "side", "image": "a"}]));
        let mut new =
            deployment(json!([{"name": "web", "image": "nginx:1.16", "env": [{"name": "A", "value": "a b"}]}]));
        new["spec"]["replicas"] = 3.into();
        new["metadata"]["generation"] = 2.into();
        new["metadata"]["labels"] = json!({"app.kubernetes.io/name": "web"});
        assert_eq!(
            said(&kind::DEPLOYMENT, old, new),
            [
                "metadata.labels[app.kubernetes.io/name] web added",
                "spec.replicas 2 -> 3",
                "spec.template.spec.containers[web].env added",
                "spec.template.spec.containers[web].image nginx:1.14 -> nginx:1.16",
                "spec.template.spec.containers[side] removed",
            ]
        );
    }

    #[test]
    fn ports_with_one_number_are_told_apart_by_protocol_and_order_counts() {
        let port = |protocol: &str, target: i64| json!({"port": 53, "protocol": protocol, "targetPort": target});
        let of = |ports: Value| json!({"spec": {"ports": ports}});
        let both = of(json!([port("UDP", 53), port("TCP", 53)]));
        let changed = said(&kind::SERVICE, both.clone(), of(json!([port("UDP", 53), port("TCP", 54)])));
        assert_eq!(changed, ["spec.ports[53].targetPort 53 -> 54"]);
        let turned = said(&kind::SERVICE, both, of(json!([port("TCP", 53), port("UDP", 53)])));
        assert_eq!(turned, ["spec.ports (order) changed"]);
    }

    #[test]
    fn what_a_secret_holds_is_not_told() {
        let of = |word: &str| json!({"data": {"password": word, word: "x"}});
        let told = said(&kind::SECRET, of("b2xk"), of("bmV3"));
        assert_eq!(told, ["data.b2xk changed", "data.bmV3 changed", "data.password changed"]);
    }

    #[test]
    fn long_values_are_cut_off() {
        let of = |text: &str| json!({"data": {"page": text}});
        let told = said(&kind::CONFIG_MAP, of("a"), of(&"é\n".repeat(100)));
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("data.page a -> \"é") && told[0].ends_with("...") && told[0].len() < 90,
            "{told:?}"
        );
    }

    #[test]
    fn only_a_deployments_template_replaces_pods() {
        let change = |field: &str| vec![Change { field: field.into(), from: None, to: None }];
        assert!(replace_pods(&kind::DEPLOYMENT, &change("spec.template.spec.containers[web].image")));
        assert!(!replace_pods(&kind::DEPLOYMENT, &change("spec.replicas")));
        assert!(!replace_pods(&kind::REPLICA_SET, &change("spec.template.spec.containers[web].image")));
    }
}
