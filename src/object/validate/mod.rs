//! What the API server would refuse in an object, in its own words.
//!
//! Objects are validated after their defaults are filled in ([`super::default::apply_defaults`]): what a default gives
//! is not asked for here. A value of a wrong type is reported first and alone, since nothing else can be said then.

mod endpoints;
mod error;
mod families;
mod field;
mod ingress;
pub(super) mod names;
mod pod;
mod quantity;
mod service;
mod storage;
#[cfg(test)]
mod tests;
mod types;
mod update;
mod workload;

pub use error::{FieldError, Reason};
pub use quantity::Quantity;
pub use update::validate_update;

use serde_json::Value;

use super::{KindRef, Object, custom, kind, lab};
use field::{Errors, Field};

/// Everything that is wrong with an object, in the order of its parts.
pub fn validate(object: &Object) -> Vec<FieldError> {
    let Some(kind) = object.kind() else { return Vec::new() };
    let wrong_types = types::errors(object);
    if !wrong_types.is_empty() {
        return wrong_types;
    }
    let value = object.to_value();
    let root = Field::root(&value);
    let mut errors = Errors::new();
    metadata(kind, &root.get("metadata"), &mut errors);
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::pod(&root, &mut errors),
        ("", "Service") => service::service(&root, &mut errors),
        ("", "Endpoints") => endpoints::endpoints(&root, &mut errors),
        ("", "ConfigMap" | "Secret") => storage::keys(&root, &mut errors),
        ("", "PersistentVolume") => storage::persistent_volume(&root, &mut errors),
        ("", "PersistentVolumeClaim") => storage::persistent_volume_claim(&root.get("spec"), &mut errors),
        ("", "ReplicationController") => workload::replication_controller(&root, &mut errors),
        ("apps", "Deployment") => workload::deployment(&root, &mut errors),
        ("apps", "ReplicaSet") => workload::replica_set(&root, &mut errors),
        ("apps", "DaemonSet") => workload::daemon_set(&root, &mut errors),
        ("apps", "StatefulSet") => workload::stateful_set(&root, &mut errors),
        ("batch", "Job") => workload::job(&root.get("spec"), &mut errors),
        ("batch", "CronJob") => workload::cron_job(&root, &mut errors),
        ("discovery.k8s.io", "EndpointSlice") => endpoints::endpoint_slice(&root, &mut errors),
        ("networking.k8s.io", "Ingress") => ingress::ingress(&root, &mut errors),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => errors.extend(custom::validate(object)),
        (kind::LAB_GROUP, "Lab") => lab_document(object, &root, &mut errors),
        _ => {}
    }
    errors
}

/// What to write instead, if there is something to suggest: `try "hogehoge-service"`.
pub fn suggestion(error: &FieldError) -> Option<String> {
    error.suggestion.clone()
}

fn metadata(kind: KindRef, metadata: &Field, errors: &mut Errors) {
    let rule = name_rule(kind);
    let (name, prefix) = (metadata.get("name"), metadata.get("generateName"));
    if kind != &kind::LAB {
        if prefix.is_filled() {
            // Characters are added to the prefix: it may end in "-".
            let stem = format!("{}a", prefix.text().strip_suffix('-').unwrap_or(prefix.text()));
            errors.extend(rule(&stem).into_iter().map(|message| prefix.invalid(message)));
        }
        if !name.is_filled() && !prefix.is_filled() {
            errors.push(name.required("name or generateName is required"));
        }
    }
    if name.is_filled() {
        name.follows(rule, errors);
    }
    let namespace = metadata.get("namespace");
    if kind.namespaced && namespace.is_filled() {
        namespace.follows(names::dns1123_label, errors);
    }
    names::labels(&metadata.get("labels"), errors);
    names::annotations(&metadata.get("annotations"), errors);
    let finalizers = metadata.get("finalizers");
    for finalizer in finalizers.items() {
        finalizer.follows(names::qualified_name, errors);
    }
}

/// How objects of a kind may be called.
fn name_rule(kind: KindRef) -> fn(&str) -> Vec<String> {
    match (kind.group, kind.kind) {
        ("", "Service") => names::dns1035_label,
        ("", "Namespace") => names::dns1123_label,
        ("batch", "CronJob") => names::cron_job_name,
        ("rbac.authorization.k8s.io" | "apiregistration.k8s.io", _) => names::path_segment,
        (kind::LAB_GROUP, _) => names::lab_name,
        _ => names::dns1123_subdomain,
    }
}

fn lab_document(object: &Object, root: &Field, errors: &mut Errors) {
    for node in root.get("nodes").items() {
        let name = node.get("name");
        if name.is_set() {
            name.follows(names::dns1123_label, errors);
        }
        names::labels(&node.get("labels"), errors);
        for mount in node.get("extraMounts").items() {
            for path in ["hostPath", "containerPath"] {
                let path = mount.get(path);
                if !path.text().starts_with('/') {
                    errors.push(path.invalid_value(path.text(), "must be an absolute path"));
                }
            }
        }
    }
    if !errors.is_empty() {
        return;
    }
    let lab: Result<lab::Lab, _> = serde_json::from_value(Value::Object(object.json().clone()));
    match lab.map(|lab| lab.complete_nodes()) {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            let pointer = format!("/{}", error.path.replace(['.', '['], "/").replace(']', ""));
            let value = root.value.and_then(|value| value.pointer(&pointer)).cloned().unwrap_or_default();
            errors.push(FieldError::new(error.path, Reason::Invalid, value, error.reason));
        }
        Err(error) => errors.push(FieldError::new("", Reason::Invalid, Value::Null, error.to_string())),
    }
}
