//! What makes pods: Deployments, ReplicaSets, Jobs and their like.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cells::{self, NONE, condition, containers, field, labels, list, number, selector, text};
use super::duration;
use crate::object::Object;

const TEMPLATE: [&str; 3] = ["spec", "template", "spec"];

/// Containers, images and selector, for `-o wide`.
fn wide(object: &Object, mut cells: Vec<Value>) -> Vec<Value> {
    let (names, images) = containers(object, &TEMPLATE);
    cells.extend([names, images, selector(object.at(&["spec", "selector"])).into()]);
    cells
}

/// `spec.replicas`, which is 1 when it is not there.
fn desired(object: &Object) -> i64 {
    object.i64_at(&["spec", "replicas"]).unwrap_or(1)
}

fn ready_of_desired(object: &Object) -> Value {
    format!("{}/{}", object.i64_at(&["status", "readyReplicas"]).unwrap_or(0), desired(object)).into()
}

pub fn deployment(object: &Object, now: Timestamp) -> Vec<Value> {
    let cells = vec![
        cells::name(object),
        ready_of_desired(object),
        number(object, &["status", "updatedReplicas"]),
        number(object, &["status", "availableReplicas"]),
        cells::age(object, now),
    ];
    wide(object, cells)
}

pub fn replica_set(object: &Object, now: Timestamp) -> Vec<Value> {
    let cells = vec![
        cells::name(object),
        desired(object).into(),
        number(object, &["status", "replicas"]),
        number(object, &["status", "readyReplicas"]),
        cells::age(object, now),
    ];
    wide(object, cells)
}

pub fn daemon_set(object: &Object, now: Timestamp) -> Vec<Value> {
    let status = |field: &str| number(object, &["status", field]);
    let nodes = object.at(&["spec", "template", "spec", "nodeSelector"]).and_then(Value::as_object);
    let cells = vec![
        cells::name(object),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        labels(nodes, NONE).into(),
        cells::age(object, now),
    ];
    wide(object, cells)
}

pub fn stateful_set(object: &Object, now: Timestamp) -> Vec<Value> {
    let (names, images) = containers(object, &TEMPLATE);
    vec![cells::name(object), ready_of_desired(object), cells::age(object, now), names, images]
}

pub fn job(object: &Object, now: Timestamp) -> Vec<Value> {
    let done = object.i64_at(&["status", "succeeded"]).unwrap_or(0);
    let completions = match (object.i64_at(&["spec", "completions"]), object.i64_at(&["spec", "parallelism"])) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, Some(parallel)) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    };
    let is = |wanted: &str| condition(object, wanted) == Some("True");
    let status = match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if object.is_terminating() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    };
    let (start, end) = (text(object, &["status", "startTime"]), text(object, &["status", "completionTime"]));
    let took = match (start, end) {
        ("", _) => String::new(),
        (start, "") => duration::since(start, now),
        (start, end) => duration::between(start, end).unwrap_or_default(),
    };
    let cells = vec![cells::name(object), status.into(), completions.into(), took.into(), cells::age(object, now)];
    wide(object, cells)
}

pub fn cron_job(object: &Object, now: Timestamp) -> Vec<Value> {
    let last = text(object, &["status", "lastScheduleTime"]);
    let zone = text(object, &["spec", "timeZone"]);
    let suspended = object.at(&["spec", "suspend"]) == Some(&Value::Bool(true));
    let job = ["spec", "jobTemplate", "spec"];
    let (names, images) = containers(object, &["spec", "jobTemplate", "spec", "template", "spec"]);
    let wanted = object.at(&[job[0], job[1], job[2], "selector"]);
    vec![
        cells::name(object),
        text(object, &["spec", "schedule"]).into(),
        cells::or_none(zone),
        if suspended { "True" } else { "False" }.into(),
        list(object, &["status", "active"]).len().into(),
        if last.is_empty() { NONE.into() } else { duration::since(last, now).into() },
        cells::age(object, now),
        names,
        images,
        selector(wanted).into(),
    ]
}

pub fn revision(object: &Object, now: Timestamp) -> Vec<Value> {
    let owner = object.owner_references().find(|o| o.get("controller") == Some(&Value::Bool(true)));
    let of = |name: &str| owner.and_then(|o| o.get(name)).and_then(Value::as_str).unwrap_or("");
    let group = of("apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = of("kind").to_ascii_lowercase();
    let controller = match (owner, group) {
        (None, _) => NONE.to_string(),
        (Some(_), "") => format!("{kind}/{}", of("name")),
        (Some(_), group) => format!("{kind}.{group}/{}", of("name")),
    };
    vec![cells::name(object), controller.into(), number(object, &["revision"]), cells::age(object, now)]
}

pub fn autoscaler(object: &Object, now: Timestamp) -> Vec<Value> {
    let target = object.at(&["spec", "scaleTargetRef"]);
    let of = |name: &str| target.map_or("", |t| field(t, name));
    let metric = |metric: &Value| {
        let resource = metric.get("resource");
        let name = resource.map_or("", |r| field(r, "name"));
        let wanted = resource.and_then(|r| r.pointer("/target/averageUtilization")).and_then(Value::as_i64);
        match wanted {
            Some(percent) => format!("{name}: <unknown>/{percent}%"),
            None => format!("{name}: <unknown>/<auto>"),
        }
    };
    let metrics: Vec<String> = list(object, &["spec", "metrics"]).iter().map(metric).collect();
    let least = object.i64_at(&["spec", "minReplicas"]).map_or(json!(UNSET_NUMBER), Value::from);
    vec![
        cells::name(object),
        format!("{}/{}", of("kind"), of("name")).into(),
        if metrics.is_empty() { NONE.into() } else { metrics.join(", ").into() },
        least,
        number(object, &["spec", "maxReplicas"]),
        number(object, &["status", "currentReplicas"]),
        cells::age(object, now),
    ]
}

const UNSET_NUMBER: &str = cells::UNSET;

pub fn template(object: &Object, _: Timestamp) -> Vec<Value> {
    let (names, images) = containers(object, &["template", "spec"]);
    let of = object.at(&["template", "metadata", "labels"]).and_then(Value::as_object);
    vec![cells::name(object), names, images, labels(of, NONE).into()]
}

pub fn disruption_budget(object: &Object, now: Timestamp) -> Vec<Value> {
    let bound = |field: &str| match object.at(&["spec", field]) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "N/A".into(),
    };
    vec![
        cells::name(object),
        bound("minAvailable").into(),
        bound("maxUnavailable").into(),
        number(object, &["status", "disruptionsAllowed"]),
        cells::age(object, now),
    ]
}
