//! What the agent says of pods and nodes: the `status` that `kubectl get` and `describe` read.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::kubelet::{ContainerState, Phase, PodState, Termination};
use crate::desired::{Container, Pod};
use crate::object::Object;

/// The pod's whole `status`, with what others wrote there kept.
pub fn pod_status(object: &Object, pod: &Pod, state: &PodState, host_ips: &[String], now: Timestamp) -> Value {
    let mut status = object.at(&["status"]).and_then(Value::as_object).cloned().unwrap_or_default();
    let all_ready = !state.stopped
        && !state.containers.is_empty()
        && state.containers.iter().all(|c| matches!(c.phase, Phase::Running { .. }));
    status.insert("phase".into(), phase(state).into());
    status.insert("startTime".into(), time(state.start_time).into());
    status.insert("hostIP".into(), host_ips.first().cloned().unwrap_or_default().into());
    status.insert("hostIPs".into(), host_ips.iter().map(|ip| json!({"ip": ip})).collect());
    if let Some(first) = pod.addresses.first() {
        status.insert("podIP".into(), first.to_string().into());
        status.insert("podIPs".into(), pod.addresses.iter().map(|ip| json!({"ip": ip.to_string()})).collect());
    }
    status.insert("qosClass".into(), qos_class(object).into());
    let finished = matches!(phase(state), "Succeeded" | "Failed");
    let not_ready = match phase(state) {
        "Succeeded" => ("PodCompleted", String::new()),
        "Failed" => ("PodFailed", String::new()),
        _ => ("ContainersNotReady", unready_containers(state)),
    };
    let why = (!all_ready).then_some(not_ready);
    let mut conditions = Conditions { list: take_list(&mut status, "conditions"), looked: "lastProbeTime", now };
    conditions.set("PodReadyToStartContainers", !finished, None);
    conditions.set("Initialized", true, None);
    conditions.set("Ready", all_ready, why.clone());
    conditions.set("ContainersReady", all_ready, why);
    conditions.set("PodScheduled", true, None);
    status.insert("conditions".into(), Value::Array(conditions.list));
    let containers = state.containers.iter().zip(&pod.containers).map(|(state, c)| container_status(pod, c, state));
    status.insert("containerStatuses".into(), containers.collect());
    Value::Object(status)
}

fn phase(state: &PodState) -> &'static str {
    if state.is_finished() {
        let failed = state.containers.iter().any(|c| matches!(&c.phase, Phase::Ended(end) if end.code != 0));
        return if failed { "Failed" } else { "Succeeded" };
    }
    let never_ran = |c: &ContainerState| {
        matches!(c.phase, Phase::Creating | Phase::Starting | Phase::NoImage { .. }) && c.last.is_none()
    };
    if state.containers.iter().any(never_ran) { "Pending" } else { "Running" }
}

fn unready_containers(state: &PodState) -> String {
    let unready = state.containers.iter().filter(|c| !matches!(c.phase, Phase::Running { .. }));
    format!("containers with unready status: [{}]", unready.map(|c| c.name.as_str()).collect::<Vec<_>>().join(" "))
}

fn container_status(pod: &Pod, container: &Container, state: &ContainerState) -> Value {
    let id = |attempt: u32| format!("nslab://{}/{}/{attempt}", pod.uid, state.name);
    let waiting = |reason: &str, message: String| {
        let mut waiting = Map::from_iter([("reason".to_string(), Value::from(reason))]);
        if !message.is_empty() {
            waiting.insert("message".into(), message.into());
        }
        json!({"waiting": waiting})
    };
    let terminated = |end: &Termination, attempt: u32| {
        let mut value = json!({
            "exitCode": end.code, "reason": end.reason, "finishedAt": time(end.finished_at),
            "startedAt": end.started_at.map(time), "containerID": id(attempt),
        });
        if let Some(signal) = end.signal {
            value["signal"] = signal.into();
        }
        if !end.message.is_empty() {
            value["message"] = end.message.clone().into();
        }
        json!({"terminated": value})
    };
    let mut last = state.last.as_ref().map(|end| terminated(end, state.attempt.saturating_sub(1)));
    let current = match &state.phase {
        Phase::Creating | Phase::Starting => waiting("ContainerCreating", String::new()),
        Phase::NoImage { message, .. } => waiting("ErrImagePull", message.clone()),
        Phase::Running { since, .. } => json!({"running": {"startedAt": time(*since)}}),
        Phase::Ended(end) => terminated(end, state.attempt),
        Phase::BackOff { until, ended } => {
            last = Some(terminated(ended, state.attempt));
            let wait = until.duration_since(ended.finished_at).as_secs();
            waiting(
                "CrashLoopBackOff",
                format!(
                    "back-off {wait}s restarting failed container={} pod={}_{}({})",
                    state.name, pod.name, pod.namespace, pod.uid
                ),
            )
        }
    };
    let running = matches!(state.phase, Phase::Running { .. });
    let known_image = if container.program.is_ok() { container.image.clone() } else { String::new() };
    json!({
        "name": state.name, "image": container.image, "imageID": known_image,
        "containerID": if running || state.last.is_some() { id(state.attempt) } else { String::new() },
        "ready": running, "started": running, "restartCount": state.attempt,
        "state": current, "lastState": last.unwrap_or_else(|| json!({})),
    })
}

/// BestEffort, Burstable or Guaranteed, by upstream's rule over the containers' cpu and memory.
fn qos_class(pod: &Object) -> &'static str {
    let containers = pod.at(&["spec", "containers"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let of = |c: &Value, list: &str, name: &str| c.pointer(&format!("/resources/{list}/{name}")).cloned();
    let each = |c: &Value, list: &str| ["cpu", "memory"].map(|name| of(c, list, name));
    if containers.iter().all(|c| each(c, "requests").iter().chain(&each(c, "limits")).all(Option::is_none)) {
        return "BestEffort";
    }
    let guaranteed = |c: &Value| {
        let (requests, limits) = (each(c, "requests"), each(c, "limits"));
        limits.iter().all(Option::is_some) && requests.iter().zip(&limits).all(|(r, l)| r.is_none() || r == l)
    };
    if containers.iter().all(guaranteed) { "Guaranteed" } else { "Burstable" }
}

/// A node's `status` once its process runs (or does not): the kubelet's five conditions, addresses and system facts.
pub fn node_status(object: &Object, up: bool, facts: &MachineFacts, now: Timestamp) -> Value {
    let mut status = object.at(&["status"]).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut conditions = Conditions { list: take_list(&mut status, "conditions"), looked: "lastHeartbeatTime", now };
    let reason = |reason: &'static str, message: &str| Some((reason, message.to_string()));
    let (memory, disk) = ("kubelet has sufficient memory available", "kubelet has no disk pressure");
    conditions.set("MemoryPressure", false, reason("KubeletHasSufficientMemory", memory));
    conditions.set("DiskPressure", false, reason("KubeletHasNoDiskPressure", disk));
    conditions.set("PIDPressure", false, reason("KubeletHasSufficientPID", "kubelet has sufficient PID available"));
    let ready = if up {
        reason("KubeletReady", "kubelet is posting ready status")
    } else {
        reason("KubeletNotReady", "the node's process is not running")
    };
    conditions.set("Ready", up, ready);
    status.insert("conditions".into(), Value::Array(conditions.list));
    let info = status.entry("nodeInfo").or_insert_with(|| json!({}));
    info["kernelVersion"] = facts.kernel_version.clone().into();
    info["osImage"] = facts.os_image.clone().into();
    info["operatingSystem"] = "linux".into();
    // Clients with typed values insist on all of them.
    let id = facts.machine_id_of(object.name());
    info["systemUUID"] = uuid(&id).into();
    info["machineID"] = id.into();
    info["bootID"] = facts.boot_id.clone().into();
    info["kubeProxyVersion"] = "".into();
    Value::Object(status)
}

/// What `kubectl get nodes -o wide` says of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFacts {
    pub kernel_version: String,
    pub os_image: String,
    pub machine_id: String,
    pub boot_id: String,
}

impl MachineFacts {
    pub fn read() -> Self {
        let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_string();
        let os = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let pretty = os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
        MachineFacts {
            kernel_version: line("/proc/sys/kernel/osrelease"),
            os_image: pretty.trim_matches('"').to_string(),
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
        }
    }

    /// The nodes share a machine; each has an id of its own all the same, the same after a restart.
    fn machine_id_of(&self, node: &str) -> String {
        let digest = Sha256::digest(format!("{}/{node}", self.machine_id));
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// 32 hexadecimal digits with the dashes of a UUID.
fn uuid(digits: &str) -> String {
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

struct Conditions {
    list: Vec<Value>,
    /// The name of the time at which it was last looked at, which pods' and nodes' conditions call differently.
    looked: &'static str,
    now: Timestamp,
}

impl Conditions {
    /// Sets a condition; the time of its last transition moves only when its status does.
    fn set(&mut self, type_: &str, is: bool, why: Option<(&str, String)>) {
        let status = if is { "True" } else { "False" };
        let before = self.list.iter().position(|c| c["type"] == type_);
        let same = before.and_then(|at| self.list.get(at)).filter(|c| c["status"] == status);
        let since = same.and_then(|c| c["lastTransitionTime"].as_str().map(str::to_string));
        let since = since.unwrap_or_else(|| time(self.now));
        // Kept as it is while nothing changes: a heartbeat would be a write, and an event for every watch.
        let looked = if self.looked == "lastProbeTime" { Value::Null } else { since.as_str().into() };
        let mut condition = json!({"type": type_, "status": status, "lastTransitionTime": since});
        condition[self.looked] = looked;
        if let Some((reason, message)) = why {
            condition["reason"] = reason.into();
            if !message.is_empty() {
                condition["message"] = message.into();
            }
        }
        match before.and_then(|at| self.list.get_mut(at)) {
            Some(slot) => *slot = condition,
            None => self.list.push(condition),
        }
    }
}

fn take_list(status: &mut Map<String, Value>, field: &str) -> Vec<Value> {
    match status.remove(field) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// RFC 3339 in whole seconds, as Kubernetes writes times.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
