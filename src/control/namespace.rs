//! Namespaces that are going away: everything in them goes first.

use serde_json::Value;

use super::Context;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Object, Snapshot, Write, custom, kind, map_at_mut};

pub fn namespace(snapshot: &Snapshot, _: &mut Context) -> Vec<Write> {
    let mut writes = Vec::new();
    for namespace in snapshot.list(&kind::NAMESPACE).filter(|namespace| namespace.is_terminating()) {
        let mut is_empty = true;
        let kinds = kind::ALL.iter().copied().chain(custom::kinds(snapshot)).filter(|kind| kind.namespaced);
        for object in kinds.flat_map(|kind| snapshot.list_in(kind, namespace.name())) {
            is_empty = false;
            if let (false, Some(key)) = (object.is_terminating(), object.key()) {
                let (uid, propagation) = (Some(object.uid().to_string()), Propagation::Background);
                writes.push(Write::Delete(Delete { key, uid, grace_seconds: None, propagation }));
            }
        }
        let finalizers = namespace.at(&["spec", "finalizers"]).and_then(Value::as_array);
        if is_empty && finalizers.is_some_and(|list| list.iter().any(is_ours)) {
            let mut released = Object::clone(namespace);
            if let Some(Value::Array(list)) = map_at_mut(released.json_mut(), "spec").get_mut("finalizers") {
                list.retain(|finalizer| !is_ours(finalizer));
            }
            writes.push(Write::Update(released, Part::Spec));
        }
    }
    writes
}

fn is_ours(finalizer: &Value) -> bool {
    finalizer.as_str() == Some("kubernetes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Cluster, deployment, service};
    use serde_json::json;

    #[test]
    fn a_namespace_goes_when_its_last_pod_has_ended() {
        let mut web = deployment("web", 2);
        web["metadata"]["namespace"] = "shop".into();
        let mut svc = service("web", json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}));
        svc["metadata"]["namespace"] = "shop".into();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        let mut cluster = Cluster::lab([namespace, web, svc]);
        cluster.run();
        cluster.delete(&kind::NAMESPACE, "", "shop", Propagation::Background);
        cluster.settle();
        let left: Vec<_> = cluster.store.snapshot().iter().map(|(key, _)| key.clone()).collect();
        let left = left.into_iter().filter(|key| key.namespace == "shop").map(|key| key.kind.kind);
        assert_eq!(left.collect::<Vec<_>>(), ["Pod", "Pod"]);
        assert_eq!(cluster.get(&kind::NAMESPACE, "", "shop").str_at(&["status", "phase"]), Some("Terminating"));
        cluster.run();
        assert!(!cluster.names(&kind::NAMESPACE).contains(&"shop".to_string()));
    }
}
