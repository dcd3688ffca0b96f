//! Kinds that clusters have for their own administration.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, NONE, UNSET, field, list, text};
use super::duration;
use crate::object::Object;

pub fn component(object: &Object, _: Timestamp) -> Vec<Value> {
    let healthy = list(object, &["conditions"]).iter().find(|one| field(one, "type") == "Healthy");
    let of = |name: &str| healthy.map_or("", |one| field(one, name));
    let status = match of("status") {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![cells::name(object), status.into(), of("message").into(), of("error").into()]
}

pub fn signing_request(object: &Object, now: Timestamp) -> Vec<Value> {
    let seconds = object.i64_at(&["spec", "expirationSeconds"]);
    let asked = seconds.map_or(NONE.to_string(), duration::human);
    let is = |wanted: &str| list(object, &["status", "conditions"]).iter().any(|one| field(one, "type") == wanted);
    let has_certificate = !text(object, &["status", "certificate"]).is_empty();
    let mut state = Vec::new();
    for (condition, word) in [("Denied", "Denied"), ("Approved", "Approved"), ("Failed", "Failed")] {
        if is(condition) {
            state.push(word);
        }
    }
    if state.is_empty() {
        state.push("Pending");
    }
    if has_certificate {
        state.push("Issued");
    }
    vec![
        cells::name(object),
        cells::age(object, now),
        text(object, &["spec", "signerName"]).into(),
        text(object, &["spec", "username"]).into(),
        asked.into(),
        state.join(",").into(),
    ]
}

pub fn flow_schema(object: &Object, now: Timestamp) -> Vec<Value> {
    let dangling = list(object, &["status", "conditions"]).iter().find(|one| field(one, "type") == "Dangling");
    vec![
        cells::name(object),
        text(object, &["spec", "priorityLevelConfiguration", "name"]).into(),
        cells::number(object, &["spec", "matchingPrecedence"]),
        cells::or_none(text(object, &["spec", "distinguisherMethod", "type"])),
        cells::age(object, now),
        dangling.map_or("?", |one| field(one, "status")).into(),
    ]
}

pub fn priority_level(object: &Object, now: Timestamp) -> Vec<Value> {
    let limited = |path: &[&str]| {
        let path: Vec<&str> = ["spec", "limited"].into_iter().chain(path.iter().copied()).collect();
        object.i64_at(&path).map_or(Value::from(NONE), Value::from)
    };
    let queuing = |name: &str| limited(&["limitResponse", "queuing", name]);
    vec![
        cells::name(object),
        text(object, &["spec", "type"]).into(),
        limited(&["nominalConcurrencyShares"]),
        queuing("queues"),
        queuing("handSize"),
        queuing("queueLengthLimit"),
        cells::age(object, now),
    ]
}

pub fn ip_address(object: &Object, now: Timestamp) -> Vec<Value> {
    let parent = |name: &str| text(object, &["spec", "parentRef", name]);
    let parts = [parent("resource"), parent("group"), parent("namespace"), parent("name")];
    let mut parts = parts.into_iter();
    let resource = match (parts.next().unwrap_or(""), parts.next().unwrap_or("")) {
        (resource, "") => resource.to_string(),
        (resource, group) => format!("{resource}.{group}"),
    };
    let rest: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    vec![cells::name(object), format!("{resource}/{}", rest.join("/")).into(), cells::age(object, now)]
}

pub fn service_cidr(object: &Object, now: Timestamp) -> Vec<Value> {
    let cidrs: Vec<&str> = list(object, &["spec", "cidrs"]).iter().filter_map(Value::as_str).collect();
    vec![cells::name(object), cidrs.join(",").into(), cells::age(object, now)]
}

pub fn runtime_class(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![cells::name(object), text(object, &["handler"]).into(), cells::age(object, now)]
}

pub fn csi_node(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![cells::name(object), list(object, &["spec", "drivers"]).len().into(), cells::age(object, now)]
}

pub fn volume_attachment(object: &Object, now: Timestamp) -> Vec<Value> {
    let attached = object.at(&["status", "attached"]).and_then(Value::as_bool).unwrap_or(false);
    vec![
        cells::name(object),
        text(object, &["spec", "attacher"]).into(),
        text(object, &["spec", "source", "persistentVolumeName"]).into(),
        text(object, &["spec", "nodeName"]).into(),
        attached.into(),
        cells::age(object, now),
    ]
}

pub fn attributes_class(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![cells::name(object), text(object, &["driverName"]).into(), cells::age(object, now)]
}

pub fn admission_policy(object: &Object, now: Timestamp) -> Vec<Value> {
    let kind = match (text(object, &["spec", "paramKind", "apiVersion"]), text(object, &["spec", "paramKind", "kind"]))
    {
        ("", "") => UNSET.to_string(),
        (version, kind) => format!("{version}/{kind}"),
    };
    let validations = list(object, &["spec", "validations"]).len();
    vec![cells::name(object), validations.into(), kind.into(), cells::age(object, now)]
}

pub fn admission_binding(object: &Object, now: Timestamp) -> Vec<Value> {
    let parameter = |name: &str| text(object, &["spec", "paramRef", name]);
    let reference = match (parameter("namespace"), parameter("name")) {
        ("", "") => UNSET.to_string(),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    vec![cells::name(object), text(object, &["spec", "policyName"]).into(), reference.into(), cells::age(object, now)]
}

pub fn resource_claim(object: &Object, now: Timestamp) -> Vec<Value> {
    let mut state = Vec::new();
    if object.is_terminating() {
        state.push("deleted");
    }
    match (object.at(&["status", "allocation"]), list(object, &["status", "reservedFor"])) {
        (None, _) => state.push("pending"),
        (Some(_), []) => state.push("allocated"),
        (Some(_), _) => state.extend(["allocated", "reserved"]),
    }
    vec![cells::name(object), state.join(",").into(), cells::age(object, now)]
}

pub fn resource_slice(object: &Object, now: Timestamp) -> Vec<Value> {
    let node = match text(object, &["spec", "nodeName"]) {
        "" => UNSET,
        name => name,
    };
    vec![
        cells::name(object),
        node.into(),
        text(object, &["spec", "driver"]).into(),
        text(object, &["spec", "pool", "name"]).into(),
        cells::age(object, now),
    ]
}
