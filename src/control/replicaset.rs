//! ReplicaSets and ReplicationControllers: keep as many pods as asked for.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::ownership::Claims;
use super::{Context, pods, ranking};
use crate::object::default::apply_defaults;
use crate::object::selector::{Selector, SelectorError};
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{KindRef, Object, Snapshot, Write, kind, service_account};

/// What the two kinds differ in.
struct Flavour {
    kind: KindRef,
    component: &'static str,
    selector: fn(&Object) -> Result<Selector, SelectorError>,
}

pub fn replicaset(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    let selector = |set: &Object| Selector::from_label_selector(set.at(&["spec", "selector"]).unwrap_or(&Value::Null));
    reconcile(&Flavour { kind: &kind::REPLICA_SET, component: "replicaset-controller", selector }, snapshot, ctx)
}

pub fn replication_controller(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    let selector = |set: &Object| {
        let labels = set.at(&["spec", "selector"]).and_then(Value::as_object);
        Ok(labels.map(Selector::from_map).unwrap_or_default())
    };
    let flavour = Flavour { kind: &kind::REPLICATION_CONTROLLER, component: "replication-controller", selector };
    reconcile(&flavour, snapshot, ctx)
}

fn reconcile(flavour: &Flavour, snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    let sets: Vec<&Arc<Object>> = snapshot.list(flavour.kind).collect();
    let mut writes = Vec::new();
    if sets.is_empty() {
        return writes;
    }
    let mut claims = Claims::of(snapshot.list(&kind::POD).filter(|pod| pods::is_active(pod)));
    let mut claimed = Vec::with_capacity(sets.len());
    for set in sets {
        match (flavour.selector)(set) {
            // It would take every pod of the namespace.
            Ok(selector) if selector.is_empty() => {}
            Ok(selector) => claimed.push((set, claims.claim(set, &selector, &mut writes))),
            Err(error) => ctx.standing_warning(flavour.component, set, "InvalidSelector", error.to_string()),
        }
    }
    for (set, active) in &claimed {
        if !set.is_terminating() {
            scale(flavour, set, active, &claimed, snapshot, ctx, &mut writes);
        }
        let status = status(set, active, ctx);
        if set.json().get("status").and_then(Value::as_object) != Some(&status) {
            let mut changed = Object::clone(set);
            changed.json_mut().insert("status".into(), Value::Object(status));
            // Nobody else writes this status, so that a new number of replicas meanwhile is no conflict.
            changed.metadata_mut().remove("resourceVersion");
            writes.push(Write::Update(changed, Part::Status));
        }
    }
    writes
}

fn replicas(set: &Object) -> usize {
    usize::try_from(set.i64_at(&["spec", "replicas"]).unwrap_or(1)).unwrap_or(0)
}

fn scale(
    flavour: &Flavour,
    set: &Arc<Object>,
    active: &[&Arc<Object>],
    all: &[(&Arc<Object>, Vec<&Arc<Object>>)],
    snapshot: &Snapshot,
    ctx: &mut Context,
    writes: &mut Vec<Write>,
) {
    let wanted = replicas(set);
    for _ in active.len()..wanted {
        let pod = match new_pod(set, snapshot, ctx) {
            Ok(pod) => pod,
            Err(why) => {
                ctx.standing_warning(flavour.component, set, "FailedCreate", format!("Error creating: {why}"));
                break;
            }
        };
        ctx.normal(flavour.component, set, "SuccessfulCreate", format!("Created pod: {}", pod.name()));
        writes.push(Write::Create(pod));
    }
    if active.len() <= wanted {
        return;
    }
    let is_sister = |other: &Object| match set.controller_uid() {
        Some(owner) => other.controller_uid() == Some(owner),
        None => other.uid() == set.uid(),
    };
    let related: Vec<&Arc<Object>> =
        all.iter().filter(|(other, _)| is_sister(other)).flat_map(|(_, pods)| pods.iter().copied()).collect();
    for pod in ranking::to_delete(active, &related, active.len() - wanted) {
        let Some(key) = pod.key() else { continue };
        ctx.normal(flavour.component, set, "SuccessfulDelete", format!("Deleted pod: {}", pod.name()));
        let (uid, propagation) = (Some(pod.uid().to_string()), Propagation::Background);
        writes.push(Write::Delete(Delete { key, uid, grace_seconds: None, propagation }));
    }
}

/// The longest name that leaves room for a suffix of five in a label's 63 characters.
const LONGEST_BASE: usize = 58;

/// Or why there is none, in the API server's words.
fn new_pod(set: &Object, snapshot: &Snapshot, ctx: &mut Context) -> Result<Object, String> {
    let generate_name = format!("{}-", set.name());
    let base: String = generate_name.chars().take(LONGEST_BASE).collect();
    let name = loop {
        let name = format!("{base}{}", ctx.suffix());
        if snapshot.find(&kind::POD, set.namespace(), &name).is_none() {
            break name;
        }
    };
    // Any five characters do.
    let suffix = name.rsplit('-').next().unwrap_or_default().to_string();
    let mut metadata = Map::new();
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = set.at(&["spec", "template", "metadata", field]) {
            metadata.insert(field.into(), value.clone());
        }
    }
    metadata.insert("name".into(), name.into());
    metadata.insert("generateName".into(), generate_name.into());
    metadata.insert("namespace".into(), set.namespace().into());
    metadata.insert("ownerReferences".into(), json!([set.as_controller_reference()]));
    let mut pod = Map::new();
    pod.insert("apiVersion".into(), "v1".into());
    pod.insert("kind".into(), "Pod".into());
    pod.insert("metadata".into(), Value::Object(metadata));
    pod.insert("spec".into(), set.at(&["spec", "template", "spec"]).cloned().unwrap_or_else(|| json!({})));
    pod.insert("status".into(), json!({"phase": "Pending"}));
    let mut pod = Object::from_map(pod);
    // What admission gives a pod, and a template does not have: the default tolerations, the service account's token.
    apply_defaults(&mut pod);
    match service_account::admit(snapshot, &mut pod, || suffix) {
        Ok(()) => Ok(pod),
        Err(why) => Err(format!("pods \"{base}\" is forbidden: {why}")),
    }
}

fn status(set: &Object, active: &[&Arc<Object>], ctx: &mut Context) -> Map<String, Value> {
    let min_ready_seconds = set.i64_at(&["spec", "minReadySeconds"]).unwrap_or(0);
    let template = set.at(&["spec", "template", "metadata", "labels"]).and_then(Value::as_object);
    let template = template.map(Selector::from_map).unwrap_or_default();
    let labelled = active.iter().filter(|pod| template.matches(pod.labels())).count();
    let ready = active.iter().filter(|pod| pods::is_ready(pod)).count();
    let available = active.iter().filter(|pod| pods::is_available(pod, min_ready_seconds, ctx)).count();
    let mut status = set.json().get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    status.insert("replicas".into(), active.len().into());
    status.insert("observedGeneration".into(), set.generation().into());
    for (field, count) in
        [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)]
    {
        if count > 0 {
            status.insert(field.into(), count.into());
        } else {
            status.remove(field);
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Cluster, object};
    use crate::object::map_at_mut;

    fn set(kind: &str, name: &str, replicas: i64) -> Value {
        let (api_version, selector) = match kind {
            "ReplicaSet" => ("apps/v1", json!({"matchLabels": {"app": "web"}})),
            _ => ("v1", json!({"app": "web"})),
        };
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "default"},
            "spec": {"replicas": replicas, "selector": selector, "template": {
                "metadata": {"labels": {"app": "web", "tier": "x"}, "annotations": {"note": "y"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}})
    }

    fn pod(name: &str, app: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default",
            "labels": {"app": app}}, "spec": {"containers": []}})
    }

    #[test]
    fn pods_are_made_and_deleted_to_match() {
        for kind_name in ["ReplicaSet", "ReplicationController"] {
            let mut cluster = Cluster::lab([set(kind_name, "web", 3)]);
            cluster.run();
            let kind = kind::ALL.iter().copied().find(|k| k.kind == kind_name).unwrap();
            let stored = cluster.get(kind, "default", "web");
            let pods = cluster.list(&kind::POD);
            assert_eq!(pods.len(), 3);
            for pod in &pods {
                let suffix = pod.name().strip_prefix("web-").unwrap();
                assert!(suffix.len() == 5 && suffix.bytes().all(|b| super::super::context::SAFE_ALPHABET.contains(&b)));
                assert_eq!(pod.metadata().unwrap()["ownerReferences"], json!([stored.as_controller_reference()]));
                assert_eq!((pod.label("tier"), pod.annotation("note")), (Some("x"), Some("y")));
            }
            let status = |n: i64| {
                json!({"replicas": n, "fullyLabeledReplicas": n, "readyReplicas": n,
                "availableReplicas": n, "observedGeneration": stored.generation() })
            };
            assert_eq!(stored.at(&["status"]), Some(&status(3)));
            cluster.change(kind, "default", "web", |o| {
                map_at_mut(o.json_mut(), "spec").insert("replicas".into(), 0.into());
            });
            cluster.run();
            assert!(cluster.list(&kind::POD).is_empty());
            let status = cluster.get(kind, "default", "web").at(&["status"]).cloned().unwrap();
            let generation = cluster.get(kind, "default", "web").generation();
            assert_eq!(status, json!({"replicas": 0, "observedGeneration": generation}));
            let reasons: Vec<_> = cluster
                .list(&kind::EVENT)
                .iter()
                .filter(|e| e.str_at(&["involvedObject", "kind"]) == Some(kind_name))
                .map(|e| (e.str_at(&["reason"]).unwrap().to_string(), e.str_at(&["message"]).unwrap().to_string()))
                .collect();
            for pod in &pods {
                assert!(reasons.contains(&("SuccessfulCreate".into(), format!("Created pod: {}", pod.name()))));
                assert!(reasons.contains(&("SuccessfulDelete".into(), format!("Deleted pod: {}", pod.name()))));
            }
        }
    }

    #[test]
    fn pods_are_adopted_and_released_by_their_labels() {
        let mut cluster = Cluster::lab([pod("free", "web"), pod("other", "db"), set("ReplicaSet", "web", 2)]);
        cluster.settle();
        let uid = cluster.get(&kind::REPLICA_SET, "default", "web").uid().to_string();
        assert_eq!(cluster.list(&kind::POD).len(), 3);
        assert_eq!(cluster.get(&kind::POD, "default", "free").controller_uid(), Some(uid.as_str()));
        assert_eq!(cluster.get(&kind::POD, "default", "other").controller_uid(), None);
        cluster.change(&kind::POD, "default", "free", |pod| pod.set_label("app", "debug"));
        cluster.settle();
        assert_eq!(cluster.get(&kind::POD, "default", "free").controller_uid(), None);
        assert_eq!(cluster.list(&kind::POD).len(), 4);
    }

    #[test]
    fn ended_and_ending_pods_are_replaced() {
        let mut cluster = Cluster::lab([set("ReplicaSet", "web", 2)]);
        cluster.run();
        let names = cluster.names(&kind::POD);
        cluster.change(&kind::POD, "default", &names[0], |pod| {
            map_at_mut(pod.json_mut(), "status").insert("phase".into(), "Failed".into());
        });
        cluster.delete(&kind::POD, "default", &names[1], Propagation::Background);
        cluster.settle();
        // The failed pod stays, the ending one is still there, and there are two new ones.
        assert_eq!(cluster.list(&kind::POD).len(), 4);
        assert_eq!(cluster.get(&kind::REPLICA_SET, "default", "web").i64_at(&["status", "replicas"]), Some(2));
    }

    #[test]
    fn a_pod_counts_as_available_after_min_ready_seconds() {
        let mut slow = set("ReplicaSet", "web", 1);
        slow["spec"]["minReadySeconds"] = 30.into();
        let mut cluster = Cluster::lab([slow]);
        cluster.run();
        let available = |cluster: &Cluster| {
            cluster.get(&kind::REPLICA_SET, "default", "web").i64_at(&["status", "availableReplicas"]).unwrap_or(0)
        };
        assert_eq!(available(&cluster), 0);
        let wake = cluster.ctx.wake_at.unwrap();
        assert_eq!((wake - cluster.ctx.now).total(jiff::Unit::Second).unwrap().ceil(), 30.0);
        cluster.ctx.now = wake;
        cluster.run();
        assert_eq!(available(&cluster), 1);
    }

    #[test]
    fn a_selector_that_cannot_be_read_is_told_and_holds_up_nothing_else() {
        let mut bad = set("ReplicaSet", "bad", 1);
        bad["spec"]["selector"] = json!({"matchExpressions": [{"key": "a", "operator": "Near"}]});
        let mut cluster = Cluster::lab([]);
        cluster.commit(vec![Write::Create(object(bad)), Write::Create(object(set("ReplicaSet", "web", 1)))]);
        cluster.run();
        assert_eq!(cluster.list(&kind::POD).len(), 1);
        let told: Vec<_> = cluster
            .list(&kind::EVENT)
            .into_iter()
            .filter(|e| e.str_at(&["involvedObject", "name"]) == Some("bad"))
            .collect();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].str_at(&["type"]), Some("Warning"));
        assert!(told[0].str_at(&["message"]).unwrap().contains("Near"));
    }
}
