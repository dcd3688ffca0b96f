//! Pods, and how their STATUS comes from the states of their containers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cells::{self, NONE, condition, field, list, or_none, text};
use super::duration;
use crate::object::Object;

pub fn cells(pod: &Object, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match summary.last_restart.filter(|_| summary.restarts > 0) {
        Some(when) => format!("{} ({} ago)", summary.restarts, duration::since(when, now)),
        None => summary.restarts.to_string(),
    };
    let ip = list(pod, &["status", "podIPs"]).first().map_or(text(pod, &["status", "podIP"]), |ip| field(ip, "ip"));
    vec![
        cells::name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.status.into(),
        restarts.into(),
        cells::age(pod, now),
        or_none(ip),
        or_none(text(pod, &["spec", "nodeName"])),
        or_none(text(pod, &["status", "nominatedNodeName"])),
        readiness_gates(pod),
    ]
}

struct Summary<'a> {
    /// Running, CrashLoopBackOff, Init:0/1, Terminating, ...
    status: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<&'a str>,
}

impl<'a> Summary<'a> {
    fn of(pod: &'a Object) -> Self {
        let init = list(pod, &["spec", "initContainers"]);
        let sidecars = init.iter().filter(|c| is_sidecar(c)).count();
        let phase = text(pod, &["status", "phase"]);
        let reason = text(pod, &["status", "reason"]);
        let status = if reason.is_empty() { phase } else { reason };
        let mut summary = Summary {
            status: if status.is_empty() { "Unknown".into() } else { status.into() },
            ready: 0,
            total: list(pod, &["spec", "containers"]).len() + sidecars,
            restarts: 0,
            last_restart: None,
        };
        let scheduled = list(pod, &["status", "conditions"]).iter().find(|c| field(c, "type") == "PodScheduled");
        if scheduled.is_some_and(|c| field(c, "reason") == "SchedulingGated") {
            summary.status = "SchedulingGated".into();
        }
        let initializing = summary.add_init_containers(pod, init);
        if !initializing || condition(pod, "Initialized") == Some("True") {
            summary.add_containers(pod, init);
        }
        if pod.is_terminating() {
            if reason == "NodeLost" {
                summary.status = "Unknown".into();
            } else if !matches!(phase, "Succeeded" | "Failed") {
                summary.status = "Terminating".into();
            }
        }
        summary
    }

    /// Returns whether an init container is still to end.
    fn add_init_containers(&mut self, pod: &'a Object, init: &[Value]) -> bool {
        for (index, status) in list(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
            self.add_restarts(status);
            let sidecar = init.iter().any(|c| field(c, "name") == field(status, "name") && is_sidecar(c));
            let (waiting, terminated) = (state(status, "waiting"), state(status, "terminated"));
            if terminated.is_some_and(|t| code(t) == 0) {
                continue;
            }
            if sidecar && status.get("started") == Some(&Value::Bool(true)) {
                self.ready += usize::from(is_ready(status));
                continue;
            }
            let waiting_for = waiting.map_or("", |w| field(w, "reason"));
            self.status = match terminated {
                Some(terminated) => format!("Init:{}", ended(terminated)),
                None if !waiting_for.is_empty() && waiting_for != "PodInitializing" => format!("Init:{waiting_for}"),
                None => format!("Init:{index}/{}", init.len()),
            };
            return true;
        }
        false
    }

    fn add_containers(&mut self, pod: &'a Object, init: &[Value]) {
        (self.restarts, self.last_restart) = (0, None);
        for status in list(pod, &["status", "initContainerStatuses"]) {
            if init.iter().any(|c| field(c, "name") == field(status, "name") && is_sidecar(c)) {
                self.add_restarts(status);
            }
        }
        let mut running = false;
        for status in list(pod, &["status", "containerStatuses"]).iter().rev() {
            self.add_restarts(status);
            let waiting_for = state(status, "waiting").map_or("", |w| field(w, "reason"));
            if !waiting_for.is_empty() {
                self.status = waiting_for.into();
            } else if let Some(terminated) = state(status, "terminated") {
                self.status = ended(terminated);
            } else if is_ready(status) && state(status, "running").is_some() {
                running = true;
                self.ready += 1;
            }
        }
        // Some of its containers are done, and some are not.
        if self.status == "Completed" && running {
            self.status = if condition(pod, "Ready") == Some("True") { "Running" } else { "NotReady" }.into();
        }
    }

    fn add_restarts(&mut self, status: &'a Value) {
        self.restarts += status.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
        let finished = status.pointer("/lastState/terminated/finishedAt").and_then(Value::as_str);
        // RFC 3339 times in UTC sort as text.
        self.last_restart = self.last_restart.max(finished);
    }
}

fn is_sidecar(container: &Value) -> bool {
    field(container, "restartPolicy") == "Always"
}

fn is_ready(status: &Value) -> bool {
    status.get("ready") == Some(&Value::Bool(true))
}

fn state<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status.get("state")?.get(name).filter(|state| !state.is_null())
}

fn code(terminated: &Value) -> i64 {
    terminated.get("exitCode").and_then(Value::as_i64).unwrap_or(0)
}

fn ended(terminated: &Value) -> String {
    let reason = field(terminated, "reason");
    match terminated.get("signal").and_then(Value::as_i64).unwrap_or(0) {
        _ if !reason.is_empty() => reason.into(),
        0 => format!("ExitCode:{}", code(terminated)),
        signal => format!("Signal:{signal}"),
    }
}

fn readiness_gates(pod: &Object) -> Value {
    let gates = list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return json!(NONE);
    }
    let open = gates.iter().filter(|g| condition(pod, field(g, "conditionType")) == Some("True")).count();
    format!("{open}/{}", gates.len()).into()
}
