//! A Deployment's ReplicaSets: which one has its template, their revisions, and how a new one is made.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::strategy::Strategy;
use crate::control::context::SAFE_ALPHABET;
use crate::object::write::Part;
use crate::object::{Object, Write, map_at_mut};

pub(super) const HASH_LABEL: &str = "pod-template-hash";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that its ReplicaSets do not take over.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// A ReplicaSet, and what is to become of it.
pub(super) struct Set {
    /// As it will be.
    pub object: Object,
    /// As it is; `None` when it is to be created.
    stored: Option<Arc<Object>>,
}

impl Set {
    pub fn stored(object: &Arc<Object>) -> Self {
        Set { object: Object::clone(object), stored: Some(object.clone()) }
    }

    /// `spec.replicas`
    pub fn replicas(&self) -> i64 {
        self.object.i64_at(&["spec", "replicas"]).unwrap_or(1)
    }

    pub fn status(&self, field: &str) -> i64 {
        self.object.i64_at(&["status", field]).unwrap_or(0)
    }

    /// Available pods that will stay: the status may not know yet that it was scaled down.
    pub fn available(&self) -> i64 {
        self.status("availableReplicas").min(self.replicas())
    }

    pub fn revision(&self) -> i64 {
        self.number(REVISION).unwrap_or(0)
    }

    pub fn desired_replicas(&self) -> Option<i64> {
        self.number(DESIRED_REPLICAS)
    }

    pub fn max_replicas(&self) -> Option<i64> {
        self.number(MAX_REPLICAS)
    }

    fn number(&self, annotation: &str) -> Option<i64> {
        self.object.annotation(annotation)?.parse().ok()
    }

    pub fn set_replicas(&mut self, replicas: i64) {
        map_at_mut(self.object.json_mut(), "spec").insert("replicas".into(), replicas.into());
    }

    /// Notes for what number of replicas it was scaled, so that a change of that number is noticed.
    pub fn note_scale(&mut self, strategy: &Strategy) {
        self.object.set_annotation(DESIRED_REPLICAS, &strategy.replicas.to_string());
        self.object.set_annotation(MAX_REPLICAS, &(strategy.replicas + strategy.max_surge).to_string());
    }

    /// Gives it the Deployment's annotations and `minReadySeconds`, and at least this revision.
    pub fn take_over(&mut self, deployment: &Object, strategy: &Strategy, revision: i64) {
        let annotations = deployment.metadata().and_then(|m| m.get("annotations")).and_then(Value::as_object);
        for (name, value) in annotations.into_iter().flatten() {
            if let (false, Some(value)) = (NOT_COPIED.contains(&name.as_str()), value.as_str()) {
                self.object.set_annotation(name, value);
            }
        }
        let before = self.revision();
        if before < revision {
            if before > 0 {
                let history = self.object.annotation(REVISION_HISTORY).map(|h| format!("{h},")).unwrap_or_default();
                self.object.set_annotation(REVISION_HISTORY, &format!("{history}{before}"));
            }
            self.object.set_annotation(REVISION, &revision.to_string());
        }
        if self.object.i64_at(&["spec", "minReadySeconds"]).unwrap_or(0) != strategy.min_ready_seconds {
            let spec = map_at_mut(self.object.json_mut(), "spec");
            spec.insert("minReadySeconds".into(), strategy.min_ready_seconds.into());
        }
    }

    /// The write that makes it as it is to be, if it is not so already.
    pub fn into_write(self) -> Option<Write> {
        match self.stored {
            None => Some(Write::Create(self.object)),
            Some(stored) if self.object != *stored => Some(Write::Update(self.object, Part::Spec)),
            Some(_) => None,
        }
    }
}

fn template(object: &Object) -> Option<&Map<String, Value>> {
    object.at(&["spec", "template"])?.as_object()
}

/// Do these have the same pod template, the hash label apart?
pub(super) fn same_template(a: &Object, b: &Object) -> bool {
    let (Some(a), Some(b)) = (template(a), template(b)) else { return false };
    let metadata = |of| fields(Some(of), &["metadata"], "labels");
    let labels = |of| fields(Some(of), &["metadata", "labels"], HASH_LABEL);
    // The most telling first.
    a.get("spec") == b.get("spec") && labels(a) == labels(b) && metadata(a) == metadata(b)
}

/// The fields of the object at `path`, without `except` and those that are null.
fn fields<'a>(of: Option<&'a Map<String, Value>>, path: &[&str], except: &str) -> Vec<(&'a String, &'a Value)> {
    match path.split_first() {
        Some((first, rest)) => fields(of.and_then(|of| of.get(*first)).and_then(Value::as_object), rest, except),
        None => of.into_iter().flatten().filter(|(name, value)| *name != except && !value.is_null()).collect(),
    }
}

/// The hash of a Deployment's template: ten characters that look as upstream's do (a decimal number, written in the
/// alphabet of generated names).
pub(super) fn template_hash(deployment: &Object, collisions: i64) -> String {
    // FNV-1a over the template's JSON, whose fields are in order of their names.
    let mut text = template(deployment).and_then(|t| serde_json::to_string(t).ok()).unwrap_or_default();
    text.push_str(&collisions.to_string());
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let digits = format!("{:010}", hash % 10_000_000_000);
    digits.bytes().map(|digit| char::from(SAFE_ALPHABET[usize::from(digit) % SAFE_ALPHABET.len()])).collect()
}

/// A ReplicaSet for the Deployment's template.
pub(super) fn new(deployment: &Object, strategy: &Strategy, hash: &str, revision: i64) -> Set {
    let mut template = deployment.at(&["spec", "template"]).cloned().unwrap_or_else(|| json!({}));
    if let Some(template) = template.as_object_mut() {
        map_at_mut(map_at_mut(template, "metadata"), "labels").insert(HASH_LABEL.into(), hash.into());
    }
    let mut selector = deployment.at(&["spec", "selector"]).cloned().unwrap_or_else(|| json!({}));
    if let Some(selector) = selector.as_object_mut() {
        map_at_mut(selector, "matchLabels").insert(HASH_LABEL.into(), hash.into());
    }
    let labels = template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    let mut spec = json!({"replicas": 0, "selector": selector, "template": template});
    if let (Some(spec), true) = (spec.as_object_mut(), strategy.min_ready_seconds > 0) {
        spec.insert("minReadySeconds".into(), strategy.min_ready_seconds.into());
    }
    let json = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("{}-{hash}", deployment.name()), "namespace": deployment.namespace(),
            "labels": labels, "ownerReferences": [deployment.as_controller_reference()]},
        "spec": spec, "status": {"replicas": 0}});
    let mut set = Set { object: Object::from_value(json).unwrap_or_default(), stored: None };
    set.take_over(deployment, strategy, revision);
    set.note_scale(strategy);
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{deployment, object};

    #[test]
    fn a_hash_is_ten_safe_characters_of_the_template_alone() {
        let web = object(deployment("web", 3));
        let hash = template_hash(&web, 0);
        assert!(hash.len() == 10 && hash.bytes().all(|b| b"456789bcdf".contains(&b)), "{hash}");
        assert_eq!(hash, template_hash(&object(deployment("web", 9)), 0));
        assert_ne!(hash, template_hash(&web, 1));
        assert_ne!(hash, template_hash(&object(deployment("db", 3)), 0));
    }

    #[test]
    fn templates_are_the_same_but_for_the_hash_label() {
        let web = object(deployment("web", 3));
        let strategy = Strategy::of(&web);
        let set = new(&web, &strategy, "abc", 1).object;
        assert_eq!(set.label(HASH_LABEL), Some("abc"));
        assert!(same_template(&web, &set));
        for path in ["/spec/template/metadata/labels/app", "/spec/template/spec/containers/0/image"] {
            let mut other = deployment("web", 3);
            *other.pointer_mut(path).unwrap() = "other".into();
            assert!(!same_template(&object(other), &set), "{path}");
        }
        let mut annotated = deployment("web", 3);
        annotated["spec"]["template"]["metadata"]["annotations"] = json!({"restartedAt": "now"});
        assert!(!same_template(&object(annotated), &set));
        let mut nulls = deployment("web", 3);
        nulls["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
        assert!(same_template(&object(nulls), &set));
    }
}
