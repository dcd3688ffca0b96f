//! Volumes, claims and classes.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, UNSET, list, text};
use crate::object::Object;

fn access_modes(object: &Object, path: &[&str]) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    let modes: Vec<&str> = list(object, path).iter().map(short).filter(|mode| !mode.is_empty()).collect();
    modes.join(",")
}

/// Dressed up when it is going away.
fn phase(object: &Object) -> Value {
    if object.is_terminating() {
        return "Terminating".into();
    }
    text(object, &["status", "phase"]).into()
}

fn or_unset(text: &str) -> Value {
    if text.is_empty() { UNSET.into() } else { text.into() }
}

pub fn volume(volume: &Object, now: Timestamp) -> Vec<Value> {
    let claim = match text(volume, &["spec", "claimRef", "name"]) {
        "" => String::new(),
        name => format!("{}/{name}", text(volume, &["spec", "claimRef", "namespace"])),
    };
    vec![
        cells::name(volume),
        text(volume, &["spec", "capacity", "storage"]).into(),
        access_modes(volume, &["spec", "accessModes"]).into(),
        text(volume, &["spec", "persistentVolumeReclaimPolicy"]).into(),
        phase(volume),
        claim.into(),
        text(volume, &["spec", "storageClassName"]).into(),
        or_unset(text(volume, &["spec", "volumeAttributesClassName"])),
        text(volume, &["status", "reason"]).into(),
        cells::age(volume, now),
        or_unset(text(volume, &["spec", "volumeMode"])),
    ]
}

pub fn claim(claim: &Object, now: Timestamp) -> Vec<Value> {
    let bound = !text(claim, &["spec", "volumeName"]).is_empty();
    let when_bound = |text: String| Value::from(if bound { text } else { String::new() });
    vec![
        cells::name(claim),
        phase(claim),
        text(claim, &["spec", "volumeName"]).into(),
        when_bound(text(claim, &["status", "capacity", "storage"]).to_string()),
        when_bound(access_modes(claim, &["status", "accessModes"])),
        text(claim, &["spec", "storageClassName"]).into(),
        or_unset(text(claim, &["spec", "volumeAttributesClassName"])),
        cells::age(claim, now),
        or_unset(text(claim, &["spec", "volumeMode"])),
    ]
}

pub fn class(class: &Object, now: Timestamp) -> Vec<Value> {
    let default = class.annotation("storageclass.kubernetes.io/is-default-class") == Some("true");
    let name = if default { format!("{} (default)", class.name()) } else { class.name().to_string() };
    let or = |field: &str, otherwise: &str| match text(class, &[field]) {
        "" => Value::from(otherwise),
        value => Value::from(value),
    };
    vec![
        name.into(),
        text(class, &["provisioner"]).into(),
        or("reclaimPolicy", "Delete"),
        or("volumeBindingMode", "Immediate"),
        (class.at(&["allowVolumeExpansion"]) == Some(&Value::Bool(true))).into(),
        cells::age(class, now),
    ]
}

pub fn csi_driver(driver: &Object, now: Timestamp) -> Vec<Value> {
    let flag = |field: &str, otherwise: bool| {
        Value::from(driver.at(&["spec", field]).and_then(Value::as_bool).unwrap_or(otherwise))
    };
    let join = |path: &[&str], field: Option<&str>| {
        let item = |v: &Value| match field {
            Some(field) => cells::field(v, field).to_string(),
            None => v.as_str().unwrap_or("").to_string(),
        };
        list(driver, path).iter().map(item).collect::<Vec<_>>().join(",")
    };
    vec![
        cells::name(driver),
        flag("attachRequired", true),
        flag("podInfoOnMount", false),
        flag("storageCapacity", false),
        or_unset(&join(&["spec", "tokenRequests"], Some("audience"))),
        flag("requiresRepublish", false),
        join(&["spec", "volumeLifecycleModes"], None).into(),
        cells::age(driver, now),
    ]
}
