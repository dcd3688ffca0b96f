//! What may not change once an object exists.

use serde_json::{Map, Value};

use super::error::{FieldError, Reason};
use super::families;
use super::field::{Errors, Field};
use super::quantity::Quantity;
use super::storage;
use crate::object::{Object, custom, kind};

const IMMUTABLE: &str = "field is immutable";

/// What is wrong with replacing `old` by `new`, beside what [`super::validate`] says about `new` by itself. Both have
/// their defaults.
pub fn validate_update(old: &Object, new: &Object) -> Vec<FieldError> {
    let (Some(kind), true) = (new.kind(), old.kind() == new.kind()) else { return Vec::new() };
    let (old_object, new_object) = (old, new);
    let (old, new) = (old.to_value(), new.to_value());
    let (old, new) = (Field::root(&old), Field::root(&new));
    let mut errors = Errors::new();
    match (kind.group, kind.kind) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => immutable(&old, &new, "spec.selector", &mut errors),
        ("apps", "StatefulSet") => stateful_set(&old.get("spec"), &new.get("spec"), &mut errors),
        ("batch", "Job") => {
            for path in ["spec.selector", "spec.template", "spec.completionMode"] {
                immutable(&old, &new, path, &mut errors);
            }
        }
        ("", "Pod") => pod(&old.get("spec"), &new.get("spec"), &mut errors),
        ("", "Service") => service(&old.get("spec"), &new.get("spec"), &mut errors),
        ("", "PersistentVolumeClaim") => claim(&old, &new, &mut errors),
        ("", "PersistentVolume") => volume(&old.get("spec"), &new.get("spec"), &mut errors),
        ("", "ConfigMap" | "Secret") => data(kind == &kind::SECRET, &old, &new, &mut errors),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            errors.extend(custom::validate_update(old_object, new_object));
        }
        ("discovery.k8s.io", "EndpointSlice") => immutable(&old, &new, "addressType", &mut errors),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding")
            if old.get("roleRef").value != new.get("roleRef").value =>
        {
            errors.push(new.get("roleRef").invalid("cannot change roleRef"));
        }
        _ => {}
    }
    errors
}

fn immutable(old: &Field, new: &Field, path: &str, errors: &mut Errors) {
    if old.at(path).value != new.at(path).value {
        let mut error = new.at(path).invalid(IMMUTABLE);
        error.suggestion = Some("delete the object and create it again to change this field".into());
        errors.push(error);
    }
}

/// A copy of a spec without the fields that may change.
fn without(spec: &Field, fields: &[&str]) -> Map<String, Value> {
    let mut map = spec.value.and_then(Value::as_object).cloned().unwrap_or_default();
    for field in fields {
        map.remove(*field);
    }
    map
}

/// The first field that two maps do not share.
fn first_difference(old: &Map<String, Value>, new: &Map<String, Value>) -> Option<String> {
    let names = new.keys().chain(old.keys().filter(|name| !new.contains_key(*name)));
    names.into_iter().find(|name| old.get(*name) != new.get(*name)).cloned()
}

/// The error of a spec of which only some fields may change.
fn only_some_may_change(
    spec: &Field,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    detail: &str,
    errors: &mut Errors,
) {
    if let Some(field) = first_difference(old, new) {
        let mut error = FieldError::new(spec.path.as_str(), Reason::Forbidden, Value::Null, detail);
        error.blame = Some(spec.get(&field).path);
        error.suggestion =
            Some(format!("{} differs; delete the object and create it again to change it", spec.get(&field).path));
        errors.push(error);
    }
}

fn stateful_set(old: &Field, new: &Field, errors: &mut Errors) {
    let may_change = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    only_some_may_change(
        new,
        &without(old, &may_change),
        &without(new, &may_change),
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
         'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        errors,
    );
}

fn pod(old: &Field, new: &Field, errors: &mut Errors) {
    for list in ["containers", "initContainers"] {
        let (before, after) = (old.get(list).items().len(), new.get(list).items().len());
        if before != after {
            return errors.push(new.get(list).forbidden("pod updates may not add or remove containers"));
        }
    }
    tolerations(old, new, errors);
    let may_change = ["activeDeadlineSeconds", "tolerations", "schedulingGates"];
    let (mut before, mut after) = (without(old, &may_change), without(new, &may_change));
    for spec in [&mut before, &mut after] {
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(fields) = container.as_object_mut() {
                    fields.remove("image");
                }
            }
        }
    }
    only_some_may_change(
        new,
        &before,
        &after,
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
         `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
         `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        errors,
    );
}

/// Tolerations may be added, and their time changed.
fn tolerations(old: &Field, new: &Field, errors: &mut Errors) {
    let untimed = |field: &Field| without(field, &["tolerationSeconds"]);
    let after: Vec<_> = new.get("tolerations").items().iter().map(untimed).collect();
    if old.get("tolerations").items().iter().any(|toleration| !after.contains(&untimed(toleration))) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(new.get("tolerations").forbidden(detail));
    }
}

fn service(old: &Field, new: &Field, errors: &mut Errors) {
    // A change from or to ExternalName takes addresses away or gives new ones.
    if [old, new].iter().any(|spec| spec.get("type").text() == "ExternalName") {
        return;
    }
    let addresses = |spec: &Field| {
        let listed: Vec<String> = spec.get("clusterIPs").items().iter().map(|ip| ip.text().to_string()).collect();
        let one = spec.get("clusterIP").text();
        if listed.first().is_some_and(|first| one.is_empty() || first == one) || one.is_empty() {
            return listed;
        }
        vec![one.to_string()]
    };
    let (before, after) = (addresses(old), addresses(new));
    // An address that is left out stays what it was.
    let pairs = before.iter().zip(&after).enumerate();
    for (index, _) in pairs.filter(|(_, (before, after))| !before.is_empty() && !after.is_empty() && before != after) {
        let path = format!("{}[{index}]", new.get("clusterIPs").path);
        let mut error = FieldError::new(path, Reason::Invalid, after.clone(), "may not change once set");
        let field = if index == 0 { "clusterIP" } else { "clusterIPs" };
        error.blame = Some(new.get(field).path);
        errors.push(error);
    }
    families::update(old, new, errors);
}

fn claim(old: &Field, new: &Field, errors: &mut Errors) {
    let (before, after) = (old.get("spec"), new.get("spec"));
    let mut may_change = vec!["resources", "volumeAttributesClassName"];
    // Binding sets these once.
    for set_once in ["volumeName", "storageClassName"] {
        if !before.get(set_once).is_filled() {
            may_change.push(set_once);
        }
    }
    only_some_may_change(
        &after,
        &without(&before, &may_change),
        &without(&after, &may_change),
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        errors,
    );
    let size = |field: &Field| field.value.and_then(Quantity::of);
    let wanted = after.at("resources.requests.storage");
    if let (Some(was), Some(is)) = (size(&before.at("resources.requests.storage")), size(&wanted))
        && is < was
    {
        errors.push(wanted.forbidden("field can not be less than previous value"));
    }
}

fn volume(old: &Field, new: &Field, errors: &mut Errors) {
    let (before, after) = (without(old, &storage::MAY_CHANGE), without(new, &storage::MAY_CHANGE));
    if let Some(field) = first_difference(&before, &after) {
        if field == "volumeMode" {
            errors.push(new.get("volumeMode").invalid(IMMUTABLE));
        } else {
            let mut source = new.get("persistentvolumesource");
            source.value = None;
            let mut error = source.forbidden("spec.persistentvolumesource is immutable after creation");
            error.blame = Some(new.get(&field).path);
            errors.push(error);
        }
    }
}

fn data(is_secret: bool, old: &Field, new: &Field, errors: &mut Errors) {
    if is_secret {
        immutable(old, new, "type", errors);
    }
    if !old.get("immutable").is_true() {
        return;
    }
    if !new.get("immutable").is_true() {
        errors.push(new.get("immutable").forbidden("field is immutable when `immutable` is set"));
    }
    for field in ["data", "binaryData"] {
        if old.get(field).value != new.get(field).value {
            errors.push(new.get(field).forbidden("field is immutable when `immutable` is set"));
        }
    }
}
