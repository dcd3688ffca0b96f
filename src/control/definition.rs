//! CustomResourceDefinitions: whose names are accepted, and what becomes of the objects of one that goes.

use std::sync::Arc;

use serde_json::Value;

use super::Context;
use crate::object::custom::{self, CLEANUP, settled};
use crate::object::snapshot::Difference;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Object, Snapshot, Write, kind};

pub fn definition(snapshot: &Snapshot, changes: &[Difference], ctx: &mut Context) -> Vec<Write> {
    let mut writes = Vec::new();
    let all: Vec<&Arc<Object>> = snapshot.list(&kind::CUSTOM_RESOURCE_DEFINITION).collect();
    // Schemas are large: they are looked at when one of them has changed. One that goes waits for its objects.
    let changed = changes.iter().any(|(key, ..)| *key.kind == kind::CUSTOM_RESOURCE_DEFINITION);
    for crd in all.into_iter().filter(|crd| changed || crd.is_terminating()) {
        let mut wanted = settled(snapshot, crd, ctx.now);
        if crd.is_terminating() && crd.finalizers().any(|finalizer| finalizer == CLEANUP) {
            let objects = objects_of(snapshot, crd);
            if objects.is_empty() {
                release(&mut wanted);
            }
            writes.extend(objects.into_iter().filter(|object| !object.is_terminating()).filter_map(delete));
        }
        if wanted != **crd {
            writes.push(Write::Update(wanted, Part::All));
        }
    }
    writes
}

fn objects_of<'a>(snapshot: &'a Snapshot, crd: &Object) -> Vec<&'a Object> {
    // One kind is enough: those of all versions are the same to the store.
    let kind = custom::kinds_of(crd).into_iter().next();
    kind.into_iter().flat_map(|kind| snapshot.list(kind)).map(|object| &**object).collect()
}

fn delete(object: &Object) -> Option<Write> {
    let (key, uid) = (object.key()?, Some(object.uid().to_string()));
    Some(Write::Delete(Delete { key, uid, grace_seconds: None, propagation: Propagation::Background }))
}

fn release(crd: &mut Object) {
    let metadata = crd.metadata_mut();
    if let Some(Value::Array(list)) = metadata.get_mut("finalizers") {
        list.retain(|finalizer| finalizer.as_str() != Some(CLEANUP));
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Cluster, object};
    use serde_json::json;

    fn widgets() -> Object {
        object(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}}}]}}))
    }

    fn widget(cluster: &Cluster, name: &str) -> Object {
        let kind = custom::kinds(&cluster.store.snapshot())[0];
        object(json!({"apiVersion": "example.com/v1", "kind": "Widget",
            "metadata": {"name": name, "namespace": "default"}}))
        .of(kind)
    }

    fn left(cluster: &Cluster) -> Vec<String> {
        let snapshot = cluster.store.snapshot();
        snapshot.iter().filter(|(key, _)| key.kind.group == "example.com").map(|(key, _)| key.name.clone()).collect()
    }

    #[test]
    fn a_definition_is_established_and_takes_its_objects_with_it() {
        let mut cluster = Cluster::with([widgets()]);
        cluster.settle();
        let crd = cluster.get(&kind::CUSTOM_RESOURCE_DEFINITION, "", "widgets.example.com");
        assert!(custom::definition(&crd).unwrap().is_served());
        assert!(crd.finalizers().any(|f| f == CLEANUP));
        let mut held = widget(&cluster, "held");
        held.metadata_mut().insert("finalizers".into(), json!(["example.com/hold"]));
        cluster.commit(vec![Write::Create(widget(&cluster, "free")), Write::Create(held)]);
        cluster.delete(&kind::CUSTOM_RESOURCE_DEFINITION, "", "widgets.example.com", Propagation::Background);
        cluster.settle();
        assert_eq!(left(&cluster), ["held"]);
        let crd = cluster.get(&kind::CUSTOM_RESOURCE_DEFINITION, "", "widgets.example.com");
        assert_eq!(crd.at(&["status", "conditions"]).unwrap()[2]["type"], "Terminating");
        let kind = custom::kinds_of(&crd)[0];
        let mut held = (*cluster.get(kind, "default", "held")).clone();
        held.metadata_mut().remove("finalizers");
        cluster.commit(vec![Write::Update(held, Part::All)]);
        cluster.settle();
        assert!(left(&cluster).is_empty() && cluster.list(&kind::CUSTOM_RESOURCE_DEFINITION).is_empty());
    }

    #[test]
    fn no_object_outlives_a_definition_that_was_forced_away() {
        let mut cluster = Cluster::with([widgets()]);
        cluster.settle();
        let mut held = widget(&cluster, "held");
        held.metadata_mut().insert("finalizers".into(), json!(["example.com/hold"]));
        cluster.commit(vec![Write::Create(held)]);
        cluster.delete(&kind::CUSTOM_RESOURCE_DEFINITION, "", "widgets.example.com", Propagation::Background);
        cluster.settle();
        let crd = cluster.get(&kind::CUSTOM_RESOURCE_DEFINITION, "", "widgets.example.com");
        let mut forced = (*crd).clone();
        forced.metadata_mut().remove("finalizers");
        cluster.commit(vec![Write::Update(forced, Part::All)]);
        assert!(left(&cluster).is_empty());
    }

    #[test]
    fn a_definition_waits_for_a_name_until_it_is_free() {
        let mut other = widgets();
        other.metadata_mut().insert("name".into(), "gadgets.example.com".into());
        other.json_mut()["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget"});
        let mut cluster = Cluster::with([widgets()]);
        cluster.settle();
        cluster.commit(vec![Write::Create(other)]);
        cluster.settle();
        let established = |cluster: &Cluster| {
            let crd = cluster.get(&kind::CUSTOM_RESOURCE_DEFINITION, "", "gadgets.example.com");
            custom::definition(&crd).unwrap().established
        };
        assert!(!established(&cluster));
        cluster.delete(&kind::CUSTOM_RESOURCE_DEFINITION, "", "widgets.example.com", Propagation::Background);
        cluster.settle();
        assert!(established(&cluster));
    }
}
