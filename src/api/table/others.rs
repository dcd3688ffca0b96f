//! Kinds with a simple table.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::cells::{self, condition, field, list, number, text};
use super::duration;
use crate::object::Object;

pub fn namespace(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![cells::name(object), text(object, &["status", "phase"]).into(), cells::age(object, now)]
}

fn entries(object: &Object, fields: &[&str]) -> usize {
    fields.iter().filter_map(|f| object.at(&[f])?.as_object().map(Map::len)).sum()
}

pub fn config_map(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![cells::name(object), entries(object, &["data", "binaryData"]).into(), cells::age(object, now)]
}

pub fn secret(object: &Object, now: Timestamp) -> Vec<Value> {
    let kind = match text(object, &["type"]) {
        "" => "Opaque",
        kind => kind,
    };
    vec![cells::name(object), kind.into(), entries(object, &["data"]).into(), cells::age(object, now)]
}

pub fn service_account(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![cells::name(object), list(object, &["secrets"]).len().into(), cells::age(object, now)]
}

pub fn created_at(object: &Object, _: Timestamp) -> Vec<Value> {
    vec![cells::name(object), object.creation_timestamp().into()]
}

pub fn event(event: &Object, now: Timestamp) -> Vec<Value> {
    let when = |path: &[&str]| Some(text(event, path)).filter(|t| !t.is_empty());
    let at = when(&["eventTime"]);
    let first = when(&["firstTimestamp"]).or(at);
    let last = when(&["series", "lastObservedTime"]).or(when(&["lastTimestamp"])).or(first);
    let since = |time: Option<&str>| Value::from(time.map_or("<unknown>".into(), |t| duration::since(t, now)));
    let count = event.i64_at(&["series", "count"]).or(event.i64_at(&["count"])).unwrap_or(1);
    let involved = |name: &str| text(event, &["involvedObject", name]);
    let source = match (text(event, &["source", "component"]), text(event, &["source", "host"])) {
        ("", _) => text(event, &["reportingComponent"]).to_string(),
        (component, "") => component.to_string(),
        (component, host) => format!("{component}, {host}"),
    };
    vec![
        since(last),
        text(event, &["type"]).into(),
        text(event, &["reason"]).into(),
        format!("{}/{}", involved("kind").to_ascii_lowercase(), involved("name")).into(),
        involved("fieldPath").into(),
        source.into(),
        text(event, &["message"]).trim().into(),
        since(first),
        count.into(),
        cells::name(event),
    ]
}

pub fn quota(object: &Object, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in object.at(&["status", "hard"]).and_then(Value::as_object).into_iter().flatten() {
        let used = object.at(&["status", "used", name]).and_then(Value::as_str).unwrap_or("0");
        let entry = format!("{name}: {used}/{}", hard.as_str().unwrap_or(""));
        if name.starts_with("limits") { limits.push(entry) } else { requests.push(entry) }
    }
    vec![cells::name(object), requests.join(", ").into(), limits.join(", ").into(), cells::age(object, now)]
}

pub fn role_binding(object: &Object, now: Timestamp) -> Vec<Value> {
    let role = format!("{}/{}", text(object, &["roleRef", "kind"]), text(object, &["roleRef", "name"]));
    let of = |kind: &str| {
        let subjects = list(object, &["subjects"]).iter().filter(|s| field(s, "kind") == kind);
        let name = |s: &Value| match field(s, "namespace") {
            "" => field(s, "name").to_string(),
            namespace => format!("{namespace}/{}", field(s, "name")),
        };
        Value::from(subjects.map(name).collect::<Vec<_>>().join(", "))
    };
    vec![cells::name(object), role.into(), cells::age(object, now), of("User"), of("Group"), of("ServiceAccount")]
}

pub fn lease(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![cells::name(object), text(object, &["spec", "holderIdentity"]).into(), cells::age(object, now)]
}

pub fn priority_class(object: &Object, now: Timestamp) -> Vec<Value> {
    let policy = match text(object, &["preemptionPolicy"]) {
        "" => "PreemptLowerPriority",
        policy => policy,
    };
    vec![
        cells::name(object),
        number(object, &["value"]),
        (object.at(&["globalDefault"]) == Some(&Value::Bool(true))).into(),
        cells::age(object, now),
        policy.into(),
    ]
}

pub fn api_service(object: &Object, now: Timestamp) -> Vec<Value> {
    let service = match text(object, &["spec", "service", "name"]) {
        "" => "Local".to_string(),
        name => format!("{}/{name}", text(object, &["spec", "service", "namespace"])),
    };
    let available = condition(object, "Available").unwrap_or("Unknown");
    vec![cells::name(object), service.into(), available.into(), cells::age(object, now)]
}

pub fn webhook(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![cells::name(object), list(object, &["webhooks"]).len().into(), cells::age(object, now)]
}
