//! The three-way merge of `apply`: what the file says now, what it said at the last apply, and what the object is.

use serde_json::{Map, Value};

use crate::object::kind::{self, KindRef};

/// The object as it should become: fields of `modified` are set, fields that only `original` had are removed, all
/// others (defaults, addresses, what controllers wrote) stay as they are in `current`.
pub fn three_way(kind: KindRef, original: Option<&Value>, modified: &Value, current: &Value) -> Value {
    Merge { kind }.value("", original, modified, Some(current))
}

struct Merge {
    kind: KindRef,
}

impl Merge {
    /// `path` is the names of the fields that lead here, without list positions.
    fn value(&self, path: &str, original: Option<&Value>, modified: &Value, current: Option<&Value>) -> Value {
        match (modified, current) {
            (Value::Object(modified), current) => {
                let empty = Map::new();
                let current = current.and_then(Value::as_object).unwrap_or(&empty);
                Value::Object(self.map(path, original.and_then(Value::as_object), modified, current))
            }
            (Value::Array(modified), Some(Value::Array(current))) => {
                match self.keys(path, modified.iter().chain(current)) {
                    Some(keys) => {
                        let original = original.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                        Value::Array(self.list(path, keys, original, modified, current))
                    }
                    None => Value::Array(modified.clone()),
                }
            }
            (modified, _) => modified.clone(),
        }
    }

    fn map(
        &self,
        path: &str,
        original: Option<&Map<String, Value>>,
        modified: &Map<String, Value>,
        current: &Map<String, Value>,
    ) -> Map<String, Value> {
        let mut merged = current.clone();
        // Of a union only one member may be left: another type of strategy, another source of a volume.
        let union = path.ends_with("trategy") || path.ends_with(".volumes");
        merged.retain(|name, _| {
            let dropped = original.is_some_and(|o| o.contains_key(name)) || union;
            modified.contains_key(name) || !dropped
        });
        for (name, value) in modified {
            if value.is_null() {
                merged.remove(name);
                continue;
            }
            let inner = format!("{path}.{name}");
            let value = self.value(&inner, original.and_then(|o| o.get(name)), value, current.get(name));
            merged.insert(name.clone(), value);
        }
        merged
    }

    fn list(&self, path: &str, keys: &[&str], original: &[Value], modified: &[Value], current: &[Value]) -> Vec<Value> {
        let find = |list: &'_ [Value], item: &Value| list.iter().position(|other| same(keys, other, item));
        let mut merged: Vec<Value> = modified
            .iter()
            .map(|item| {
                let original = find(original, item).and_then(|at| original.get(at));
                let current = find(current, item).and_then(|at| current.get(at));
                self.value(path, original, item, current)
            })
            .collect();
        let others = current.iter().filter(|item| find(modified, item).is_none() && find(original, item).is_none());
        merged.extend(others.cloned());
        merged
    }

    /// The fields that tell the items of a list apart; `None` for a list that is replaced as a whole.
    fn keys<'v>(&self, path: &str, mut items: impl Iterator<Item = &'v Value>) -> Option<&'static [&'static str]> {
        let field = path.rsplit('.').next().unwrap_or(path);
        let keys: &'static [&'static str] = match field {
            "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env" | "imagePullSecrets" => {
                &["name"]
            }
            "volumeMounts" => &["mountPath"],
            "volumeDevices" => &["devicePath"],
            "hostAliases" => &["ip"],
            "ownerReferences" => &["uid"],
            "conditions" => &["type"],
            "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
            "ports" if path == ".spec.ports" && self.kind == &kind::SERVICE => &["port", "protocol"],
            "ports" if path.ends_with("ontainers.ports") => &["containerPort", "protocol"],
            _ => return None,
        };
        items.all(|item| item.get(keys[0]).is_some()).then_some(keys)
    }
}

/// A protocol that is left out is TCP.
fn same(keys: &[&str], a: &Value, b: &Value) -> bool {
    let tcp = Value::from("TCP");
    let field = |item: &'_ Value, key: &str| -> Value {
        item.get(key).cloned().unwrap_or_else(|| if key == "protocol" { tcp.clone() } else { Value::Null })
    };
    keys.iter().all(|key| field(a, key) == field(b, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_server_added_stays() {
        let file = json!({"spec": {"type": "NodePort", "ports": [{"port": 80}], "selector": {"app": "b"}}});
        let live = json!({"metadata": {"uid": "1"}, "spec": {"type": "NodePort", "clusterIP": "10.96.0.7",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 31234}], "selector": {"app": "a"}}});
        let merged = three_way(&kind::SERVICE, None, &file, &live);
        assert_eq!(merged["spec"]["ports"], live["spec"]["ports"]);
        assert_eq!(merged["spec"]["clusterIP"], "10.96.0.7");
        assert_eq!(merged["spec"]["selector"], json!({"app": "b"}));
        assert_eq!(merged["metadata"], json!({"uid": "1"}));
    }

    #[test]
    fn what_the_file_dropped_goes() {
        let before = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": [
            {"name": "x", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}, {"name": "side"}]}});
        let now = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [
            {"name": "x", "env": [{"name": "B", "value": "3"}]}]}});
        let live = json!({"metadata": {"labels": {"a": "1", "b": "2", "c": "3"}}, "spec": {"containers": [
            {"name": "x", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "policy": "p"},
            {"name": "side"}, {"name": "injected"}]}});
        let merged = three_way(&kind::POD, Some(&before), &now, &live);
        assert_eq!(merged["metadata"]["labels"], json!({"a": "1", "c": "3"}));
        assert_eq!(
            merged["spec"]["containers"],
            json!([{"name": "x", "env": [{"name": "B", "value": "3"}], "policy": "p"}, {"name": "injected"}])
        );
    }

    #[test]
    fn the_same_again_changes_nothing() {
        let file = json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "x", "ports": [{"containerPort": 80}]}]}}}});
        let live = json!({"spec": {"replicas": 3, "strategy": {"type": "RollingUpdate"}, "template": {"spec": {
            "restartPolicy": "Always", "containers": [{"name": "x", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}}});
        assert_eq!(three_way(&kind::DEPLOYMENT, Some(&file), &file, &live), live);
    }

    #[test]
    fn another_strategy_takes_the_old_ones_settings_away() {
        let file = json!({"spec": {"strategy": {"type": "Recreate"}}});
        let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        assert_eq!(three_way(&kind::DEPLOYMENT, None, &file, &live), file);
    }

    #[test]
    fn lists_without_keys_are_replaced() {
        let file = json!({"spec": {"containers": [{"name": "x", "args": ["b"]}], "tolerations": [{"key": "k"}]}});
        let live = json!({"spec": {"containers": [{"name": "x", "args": ["a", "c"]}], "tolerations": [{"key": "j"}]}});
        assert_eq!(three_way(&kind::POD, Some(&live), &file, &live), file);
    }
}
