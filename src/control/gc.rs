//! Garbage collection: what becomes of objects whose owners go.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Context;
use super::ownership::without_owners;
use crate::object::snapshot::Difference;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Object, Snapshot, Write, custom, kind};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What an owner reference points at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It is there, or of a kind that the lab cannot look up.
    Stays,
    /// It waits for its dependents to go first.
    Waits,
    /// It lets its dependents go free.
    Frees,
    Gone,
}

/// What an object's dependents depend on.
fn as_owner<'a>(object: &Option<&'a Arc<Object>>) -> Option<(&'a str, bool, bool)> {
    let object = object.as_ref()?;
    let has = |finalizer| object.finalizers().any(|f| f == finalizer);
    Some((object.uid(), object.is_terminating() && has(FOREGROUND), object.is_terminating() && has(ORPHAN)))
}

pub fn gc(snapshot: &Snapshot, changes: &[Difference], _: &mut Context) -> Vec<Write> {
    // While no owner goes, only what has changed itself can have something to be done about it.
    let is_going = |(_, old, new): &Difference| {
        let going = new.is_some_and(|object| object.is_terminating() && object.finalizers().next().is_some());
        going || (old.is_some() && as_owner(old) != as_owner(new))
    };
    match changes.iter().any(is_going) {
        true => collect_among(snapshot, snapshot.iter().map(|(_, object)| object)),
        false => collect_among(snapshot, changes.iter().filter_map(|(_, _, new)| *new)),
    }
}

fn collect_among<'a>(snapshot: &'a Snapshot, objects: impl Iterator<Item = &'a Arc<Object>>) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut owners: HashMap<&str, Owner> = HashMap::new();
    let mut dependents: Option<Dependents> = None;
    let mut states: Vec<(&str, Owner)> = Vec::new();
    for object in objects {
        if object.is_terminating() {
            for finalizer in [FOREGROUND, ORPHAN].into_iter().filter(|name| object.finalizers().any(|f| f == *name)) {
                let dependents = dependents.get_or_insert_with(|| Dependents::of(snapshot));
                let is_held = match finalizer {
                    FOREGROUND => dependents.blocking(object.uid()),
                    _ => dependents.any(object.uid()),
                };
                if !is_held {
                    writes.push(Write::Update(without_finalizer(object, finalizer), Part::All));
                }
            }
        }
        states.clear();
        states.extend(object.owner_references().filter_map(|reference| {
            let uid = text(reference, "uid");
            let state = *owners.entry(uid).or_insert_with(|| look_up(snapshot, object, reference));
            (!uid.is_empty()).then_some((uid, state))
        }));
        // The usual case.
        if states.iter().all(|(_, state)| *state == Owner::Stays) {
            continue;
        }
        let mut has_dependents = |uid: &str| dependents.get_or_insert_with(|| Dependents::of(snapshot)).any(uid);
        writes.extend(collect(object, &states, &mut has_dependents));
    }
    writes
}

fn text<'a>(map: &'a Map<String, Value>, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn look_up(snapshot: &Snapshot, dependent: &Object, reference: &Map<String, Value>) -> Owner {
    let (version, name) = (text(reference, "apiVersion"), text(reference, "kind"));
    let known = kind::by_api_version_kind(version, name);
    let Some(kind) = known.or_else(|| custom::by_api_version_kind(snapshot, version, name)) else {
        return Owner::Stays;
    };
    let namespace = if kind.namespaced { dependent.namespace() } else { "" };
    let owner = snapshot.find(kind, namespace, text(reference, "name"));
    match owner.filter(|owner| owner.uid() == text(reference, "uid")) {
        None => Owner::Gone,
        Some(owner) if !owner.is_terminating() => Owner::Stays,
        Some(owner) if owner.finalizers().any(|f| f == ORPHAN) => Owner::Frees,
        Some(owner) if owner.finalizers().any(|f| f == FOREGROUND) => Owner::Waits,
        Some(_) => Owner::Stays,
    }
}

fn collect(
    object: &Arc<Object>,
    owners: &[(&str, Owner)],
    has_dependents: &mut dyn FnMut(&str) -> bool,
) -> Option<Write> {
    let has = |state| owners.iter().any(|(_, owner)| *owner == state);
    if has(Owner::Frees) {
        let freed = |uid: &str| owners.contains(&(uid, Owner::Frees));
        return Some(Write::Update(without_owners(object, freed), Part::All));
    }
    if object.is_terminating() || owners.is_empty() {
        return None;
    }
    if has(Owner::Stays) {
        let lost = |uid: &str| owners.contains(&(uid, Owner::Gone)) || owners.contains(&(uid, Owner::Waits));
        let write = || Write::Update(without_owners(object, lost), Part::All);
        return (has(Owner::Gone) || has(Owner::Waits)).then(write);
    }
    // An owner that waits wants everything below it gone first, too.
    let propagation = match has(Owner::Waits) && has_dependents(object.uid()) {
        true => Propagation::Foreground,
        false => Propagation::Background,
    };
    Some(Write::Delete(Delete {
        key: object.key()?,
        uid: Some(object.uid().to_string()),
        grace_seconds: None,
        propagation,
    }))
}

fn without_finalizer(object: &Object, finalizer: &str) -> Object {
    let mut object = object.clone();
    let metadata = object.metadata_mut();
    if let Some(Value::Array(list)) = metadata.get_mut("finalizers") {
        list.retain(|f| f.as_str() != Some(finalizer));
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    }
    object
}

/// Owners that have dependents; whether one of these has `blockOwnerDeletion`.
struct Dependents<'a>(HashMap<&'a str, bool>);

impl<'a> Dependents<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut found = HashMap::new();
        for (_, object) in snapshot.iter() {
            for reference in object.owner_references() {
                let blocks = reference.get("blockOwnerDeletion") == Some(&Value::Bool(true));
                *found.entry(text(reference, "uid")).or_insert(false) |= blocks;
            }
        }
        Dependents(found)
    }

    fn any(&self, uid: &str) -> bool {
        self.0.contains_key(uid)
    }

    fn blocking(&self, uid: &str) -> bool {
        self.0.get(uid).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Cluster, deployment, object};
    use serde_json::json;

    fn web() -> Cluster {
        let mut cluster = Cluster::lab([deployment("web", 2)]);
        cluster.run();
        assert_eq!((cluster.list(&kind::REPLICA_SET).len(), cluster.list(&kind::POD).len()), (1, 2));
        cluster
    }

    #[test]
    fn in_the_background_the_owner_goes_first() {
        let mut cluster = web();
        cluster.delete(&kind::DEPLOYMENT, "default", "web", Propagation::Background);
        assert!(cluster.list(&kind::DEPLOYMENT).is_empty());
        cluster.run();
        assert!(cluster.list(&kind::REPLICA_SET).is_empty() && cluster.list(&kind::POD).is_empty());
    }

    #[test]
    fn in_the_foreground_the_owner_goes_last() {
        let mut cluster = web();
        cluster.delete(&kind::DEPLOYMENT, "default", "web", Propagation::Foreground);
        cluster.settle();
        let counts = |cluster: &Cluster| {
            [&kind::DEPLOYMENT, &kind::REPLICA_SET, &kind::POD].map(|kind| cluster.list(kind).len())
        };
        // The pods have not ended yet, so that everything above them waits.
        assert_eq!(counts(&cluster), [1, 1, 2]);
        assert!(cluster.list(&kind::POD).iter().all(|pod| pod.is_terminating()));
        cluster.kubelet(1);
        cluster.settle();
        assert_eq!(counts(&cluster), [1, 1, 1]);
        cluster.run();
        assert_eq!(counts(&cluster), [0, 0, 0]);
    }

    #[test]
    fn orphans_stay_and_are_adopted_again() {
        let mut cluster = web();
        let names = cluster.names(&kind::POD);
        cluster.delete(&kind::DEPLOYMENT, "default", "web", Propagation::Orphan);
        cluster.run();
        assert!(cluster.list(&kind::DEPLOYMENT).is_empty());
        assert_eq!(cluster.list(&kind::REPLICA_SET)[0].owner_references().count(), 0);
        cluster.commit(vec![Write::Create(object(deployment("web", 2)))]);
        cluster.run();
        let uid = cluster.get(&kind::DEPLOYMENT, "default", "web").uid().to_string();
        assert_eq!(cluster.list(&kind::REPLICA_SET)[0].controller_uid(), Some(uid.as_str()));
        assert_eq!(cluster.names(&kind::POD), names);
    }

    #[test]
    fn an_object_with_another_owner_left_only_loses_the_reference() {
        let config_map = |name: &str, owners: Value| {
            object(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "default", "ownerReferences": owners}}))
        };
        let mut cluster = Cluster::with([config_map("owner", json!([]))]);
        let owner = cluster.get(&kind::CONFIG_MAP, "default", "owner").as_controller_reference();
        let gone = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1"});
        // Another object of the owner's name.
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "2"});
        let unknown = json!({"apiVersion": "x/v1", "kind": "Foo", "name": "x", "uid": "3"});
        cluster.commit(vec![
            Write::Create(config_map("kept", json!([owner, gone]))),
            Write::Create(config_map("lost", json!([gone, other]))),
            Write::Create(config_map("unknown", json!([unknown]))),
        ]);
        cluster.settle();
        assert_eq!(cluster.names(&kind::CONFIG_MAP), ["kept", "owner", "unknown"]);
        let kept = cluster.get(&kind::CONFIG_MAP, "default", "kept");
        assert_eq!(kept.metadata().unwrap()["ownerReferences"], json!([owner]));
    }
}
