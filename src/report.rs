//! How a lab is doing, as one value: what `lab status` prints, what `lab up` waits for, what `-o json` gives. A pure
//! function of the objects and of what the agent could not do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::lab::in_url;
use crate::object::selector::Selector;
use crate::object::service_account::{ROOT_CA, VOLUME_PREFIX};
use crate::object::{Object, Snapshot, custom, kind};

mod service_notes;

pub use service_notes::{missing_backends, service_notes, slips};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub lab: String,
    /// Nothing is waited for, and all of it has been made in the kernel.
    pub ready: bool,
    pub nodes: Vec<NodeLine>,
    pub pods: Vec<PodLine>,
    pub services: Vec<ServiceLine>,
    /// What is not as its object says it should be, each with the cause and the next step.
    pub waiting: Vec<Waiting>,
    /// What works as written, but hardly as meant.
    pub notes: Vec<String>,
    /// Kinds that are kept and listed, but that nothing here acts on, with the number of objects.
    pub not_acted_on: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLine {
    pub name: String,
    pub control_plane: bool,
    pub address: String,
    pub ready: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodLine {
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub address: String,
    pub ready: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceLine {
    pub namespace: String,
    pub name: String,
    #[serde(rename = "type")]
    pub type_: String,
    pub cluster_ip: String,
    /// As kubectl prints them: `80:30000/TCP`.
    pub ports: String,
    /// The number of ready endpoints.
    pub endpoints: usize,
    /// How to try it.
    pub tries: Vec<Try>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Try {
    /// The command line, to be typed on this machine.
    pub command: String,
    /// What the answer shows: `from outside the cluster`, `from node w1-k8s`.
    pub note: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// `pod default/web-1`
    pub object: String,
    pub cause: String,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// It will not mend itself.
    pub stuck: bool,
}

/// What the agent has to add to the objects.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The resourceVersion that the kernel has been brought up to.
    pub made: u64,
    /// Containers are being started, and the pods' status will say in a moment what comes of it.
    pub starting: bool,
    /// Steps that failed: what was tried, and why it failed.
    pub failed: Vec<(String, String)>,
}

pub fn report(lab: &str, snapshot: &Snapshot, progress: &Progress) -> Report {
    let mut report = Report { lab: lab.to_string(), ..Report::default() };
    for (step, error) in &progress.failed {
        report.wait(step, error.clone(), None, true);
    }
    nodes(&mut report, snapshot);
    pods(&mut report, snapshot);
    workloads(&mut report, snapshot);
    services(&mut report, snapshot);
    fields_not_acted_on(&mut report, snapshot);
    api_not_acted_on(&mut report, snapshot);
    for (key, _) in snapshot.iter().filter(|(key, _)| !key.kind.acted_on && !is_built_in(key)) {
        *report.not_acted_on.entry(key.kind.kind.to_string()).or_default() += 1;
    }
    report.ready = report.waiting.is_empty() && progress.made >= snapshot.resource_version();
    report
}

/// Parts of pods that are kept as written, but that nothing here acts on yet.
const POD_FIELDS: &[(&str, &str)] =
    &[("initContainers", "initContainers are not run"), ("securityContext", "the securityContext is not applied")];
/// The same of containers.
const CONTAINER_FIELDS: &[(&str, &str)] = &[
    ("livenessProbe", "probes are not made"),
    ("readinessProbe", "probes are not made"),
    ("startupProbe", "probes are not made"),
    ("lifecycle", "lifecycle hooks are not run"),
    ("envFrom", "envFrom is not read"),
];

/// A manifest that asks for something that this version does not do must not look as if it had got it.
fn fields_not_acted_on(report: &mut Report, snapshot: &Snapshot) {
    let mut found: BTreeMap<&str, (String, usize)> = BTreeMap::new();
    for pod in snapshot.list(&kind::POD) {
        let Some(spec) = pod.at(&["spec"]) else { continue };
        let containers = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
        let has = |value: &Value, field: &str| match &value[field] {
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => false,
        };
        // What admission adds is there: the token's.
        let is_written = |volume: &&Value| !volume["name"].as_str().is_some_and(|n| n.starts_with(VOLUME_PREFIX));
        let volumes = spec["volumes"].as_array().is_some_and(|volumes| volumes.iter().any(|v| is_written(&v)));
        let volumes = volumes.then_some("volumes are not mounted");
        let of_pod = POD_FIELDS.iter().filter(|(field, _)| has(spec, field));
        let of_containers = CONTAINER_FIELDS.iter().filter(|(field, _)| containers.iter().any(|c| has(c, field)));
        let limits = containers.iter().any(|c| has(&c["resources"], "limits"));
        let said = of_pod.chain(of_containers).map(|(_, what)| *what).chain(volumes);
        for what in said.chain(limits.then_some("resource limits are not enforced")).collect::<BTreeSet<_>>() {
            let name = || format!("{}/{}", pod.namespace(), pod.name());
            found.entry(what).or_insert_with(|| (name(), 0)).1 += 1;
        }
    }
    for (what, (first, pods)) in found {
        let more = if pods > 1 { format!(" and {} more", pods - 1) } else { String::new() };
        report.notes.push(format!("{what} in this version (pod {first}{more})"));
    }
    for service in snapshot.list(&kind::SERVICE) {
        let pending = service.str_at(&["spec", "type"]) == Some("LoadBalancer")
            && service.at(&["status", "loadBalancer", "ingress"]).is_none();
        if pending {
            report.notes.push(format!(
                "Service {}/{} stays <pending>: this version has no load balancer; its NodePort works",
                service.namespace(),
                service.name()
            ));
        }
    }
}

/// What the API keeps and does not hold anybody to.
fn api_not_acted_on(report: &mut Report, snapshot: &Snapshot) {
    let rbac = [&kind::ROLE, &kind::ROLE_BINDING, &kind::CLUSTER_ROLE, &kind::CLUSTER_ROLE_BINDING];
    let rbac: usize = rbac.into_iter().map(|kind| snapshot.list(kind).count()).sum();
    if rbac > 0 {
        report.notes.push(format!(
            "RBAC objects are kept but not enforced ({rbac} of them): everybody who is known may do everything"
        ));
    }
    let (mut webhooks, mut rules) = (Vec::new(), Vec::new());
    for definition in custom::definitions(snapshot).filter(|definition| definition.is_served()) {
        if definition.has_webhook {
            webhooks.push(definition.kind.clone());
        }
        if definition.versions.iter().any(|version| version.served && version.has_rules) {
            rules.push(definition.kind.clone());
        }
    }
    for (kinds, what, so) in [
        (
            webhooks,
            "conversion webhooks",
            "are not called in this version: each version of a kind shows the same fields",
        ),
        (rules, "x-kubernetes-validations", "are not evaluated in this version; the rest of the schema is"),
    ] {
        if !kinds.is_empty() {
            report.notes.push(format!("{what} of {} {so}", kinds.join(", ")));
        }
    }
}

/// Objects that every cluster has from the start.
fn is_built_in(key: &crate::object::Key) -> bool {
    *key.kind == kind::CONFIG_MAP && key.name == ROOT_CA
}

impl Report {
    fn wait(&mut self, object: &str, cause: impl Into<String>, next: Option<String>, stuck: bool) {
        self.waiting.push(Waiting { object: object.to_string(), cause: cause.into(), next, stuck });
    }
}

fn nodes(report: &mut Report, snapshot: &Snapshot) {
    let mut lines: Vec<NodeLine> = Vec::new();
    for node in snapshot.list(&kind::NODE) {
        let ready = condition(node, "Ready").is_some_and(|c| c["status"] == "True");
        if !ready {
            let cause = condition(node, "Ready").and_then(|c| c["message"].as_str()).unwrap_or("it is being made");
            report.wait(&format!("node {}", node.name()), cause, None, false);
        }
        let addresses = node.at(&["status", "addresses"]).and_then(Value::as_array);
        let internal = addresses.into_iter().flatten().find(|a| a["type"] == "InternalIP");
        lines.push(NodeLine {
            name: node.name().to_string(),
            control_plane: node.label("node-role.kubernetes.io/control-plane").is_some(),
            address: internal.and_then(|a| a["address"].as_str()).unwrap_or_default().to_string(),
            ready,
        });
    }
    report.nodes = lines;
}

fn pods(report: &mut Report, snapshot: &Snapshot) {
    for pod in snapshot.list(&kind::POD) {
        let ready = condition(pod, "Ready").is_some_and(|c| c["status"] == "True");
        let phase = pod.str_at(&["status", "phase"]).unwrap_or("Pending");
        report.pods.push(PodLine {
            namespace: pod.namespace().to_string(),
            name: pod.name().to_string(),
            node: pod.str_at(&["spec", "nodeName"]).unwrap_or_default().to_string(),
            address: pod.str_at(&["status", "podIP"]).unwrap_or_default().to_string(),
            ready,
        });
        let object = format!("pod {}/{}", pod.namespace(), pod.name());
        if pod.is_terminating() {
            report.wait(&object, "it is ending (its grace period runs)", None, false);
        } else if !ready && phase != "Succeeded" {
            let (cause, next, stuck) = missing_node(snapshot, pod).unwrap_or_else(|| why_not_ready(pod, phase));
            report.wait(&object, cause, next, stuck);
        }
    }
}

/// A pod whose `nodeName` names no node waits for ever.
fn missing_node(snapshot: &Snapshot, pod: &Object) -> Option<(String, Option<String>, bool)> {
    let name = pod.str_at(&["spec", "nodeName"]).filter(|name| !name.is_empty())?;
    if snapshot.find(&kind::NODE, "", name).is_some() {
        return None;
    }
    let nodes: Vec<&str> = snapshot.list(&kind::NODE).map(|node| node.name()).collect();
    let next = format!("delete the pod and make it anew with another nodeName, or without: {}", nodes.join(", "));
    Some((format!("it is bound to node {name}, which does not exist"), Some(next), true))
}

fn why_not_ready(pod: &Object, phase: &str) -> (String, Option<String>, bool) {
    let logs = |more: &str| {
        let namespace = if pod.namespace() == "default" { String::new() } else { format!(" -n {}", pod.namespace()) };
        Some(format!("lab logs{namespace} {}{more}", pod.name()))
    };
    if let Some(scheduled) = condition(pod, "PodScheduled").filter(|c| c["status"] == "False") {
        let message = scheduled["message"].as_str().unwrap_or_default();
        let next = "change the pod's nodeSelector, tolerations or nodeName, or the nodes' labels".to_string();
        return (format!("no node takes it: {message}"), Some(next), true);
    }
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    for status in statuses.into_iter().flatten() {
        let name = status["name"].as_str().unwrap_or_default();
        let waiting = &status["state"]["waiting"];
        let message = waiting["message"].as_str().unwrap_or_default();
        match waiting["reason"].as_str() {
            Some(reason @ ("ErrImagePull" | "ImagePullBackOff")) => {
                return (format!("container {name}: {reason}: {message}"), None, true);
            }
            Some("CrashLoopBackOff") => {
                let end = &status["lastState"]["terminated"];
                let code = end["exitCode"].as_i64().unwrap_or_default();
                let said = end["message"].as_str().map(|m| format!(": {m}")).unwrap_or_default();
                // Before the second start nothing is known to be wrong for good.
                let stuck = status["restartCount"].as_i64().unwrap_or_default() > 0 || end["reason"] == "StartError";
                let policy = pod.str_at(&["spec", "restartPolicy"]).unwrap_or("Always");
                let cause = format!(
                    "container {name} ended with code {code}{said}; restartPolicy {policy}: it is started again"
                );
                return (cause, logs(" --previous"), stuck);
            }
            _ => {}
        }
        if let Some(end) = status["state"]["terminated"].as_object().filter(|_| phase == "Failed") {
            let code = end.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
            let said = end.get("message").and_then(Value::as_str).map(|m| format!(": {m}")).unwrap_or_default();
            return (format!("container {name} ended with code {code}{said}"), logs(""), true);
        }
    }
    let cause = match (phase, pod.str_at(&["spec", "nodeName"])) {
        ("Failed", _) => "it failed",
        (_, None | Some("")) => "it waits for a node",
        _ => "its containers are being started",
    };
    (cause.to_string(), None, phase == "Failed")
}

/// Deployments and ReplicaSets whose pods are not all there yet: their pods' own causes stand with the pods.
fn workloads(report: &mut Report, snapshot: &Snapshot) {
    for kind in [&kind::DEPLOYMENT, &kind::REPLICA_SET] {
        for object in snapshot.list(kind) {
            if object.controller_uid().is_some() {
                continue;
            }
            let wanted = object.i64_at(&["spec", "replicas"]).unwrap_or(1);
            let available = if *kind == kind::DEPLOYMENT { "availableReplicas" } else { "readyReplicas" };
            let has = object.i64_at(&["status", available]).unwrap_or(0);
            // Absent is none: so says a rollout that has only begun. A ReplicaSet has no such field.
            let none_yet = if *kind == kind::DEPLOYMENT { 0 } else { wanted };
            let updated = object.i64_at(&["status", "updatedReplicas"]).unwrap_or(none_yet);
            let all = object.i64_at(&["status", "replicas"]).unwrap_or(0);
            let seen = object.i64_at(&["status", "observedGeneration"]).unwrap_or(0) >= object.generation();
            let paused = object.at(&["spec", "paused"]) == Some(&Value::Bool(true));
            if seen && (has >= wanted && all == wanted && updated >= wanted || paused) {
                continue;
            }
            let name = format!("{} {}/{}", kind.singular(), object.namespace(), object.name());
            report.wait(&name, format!("{has} of {wanted} pods are available"), None, false);
        }
    }
}

fn services(report: &mut Report, snapshot: &Snapshot) {
    let mut endpoints: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for slice in snapshot.list(&kind::ENDPOINT_SLICE) {
        let Some(service) = slice.label("kubernetes.io/service-name") else { continue };
        let found = endpoints.entry((slice.namespace(), service)).or_default();
        let list = slice.at(&["endpoints"]).and_then(Value::as_array);
        for endpoint in list.into_iter().flatten().filter(|e| e["conditions"]["ready"] != false) {
            found.extend(endpoint["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str));
        }
    }
    let node = report.nodes.iter().find(|n| !n.control_plane).or(report.nodes.first()).cloned();
    let with_host = snapshot.list(&kind::LAB).next().is_none_or(|lab| lab.annotation(kind::NO_HOST) != Some("true"));
    for service in snapshot.list(&kind::SERVICE) {
        let key = (service.namespace(), service.name());
        let is_v6 = service.at(&["spec", "ipFamilies"]).is_some_and(|families| families[0] == "IPv6");
        let ready = endpoints.get(&key).into_iter().flatten().filter(|ip| ip.contains(':') == is_v6).count();
        let line = service_line(service, ready, node.as_ref().filter(|_| !is_the_clusters_own(service)), with_host);
        wait_for_endpoints(report, snapshot, service, endpoints.get(&key));
        report.services.push(line);
    }
    service_findings(report, snapshot);
}

/// By namespace, since Services and what they are about are in one.
fn service_findings(report: &mut Report, snapshot: &Snapshot) {
    let stuck: BTreeMap<&str, &str> =
        report.waiting.iter().filter(|w| w.stuck).map(|w| (w.object.as_str(), w.cause.as_str())).collect();
    let cause =
        |pod: &Object| stuck.get(format!("pod {}/{}", pod.namespace(), pod.name()).as_str()).map(|c| c.to_string());
    let mut by_namespace: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    for line in report.services.iter().filter(|line| line.type_ != "ExternalName") {
        by_namespace.entry(&line.namespace).or_default().push((&line.name, line.endpoints));
    }
    let mut notes = Vec::new();
    for (namespace, services) in &by_namespace {
        let pods: Vec<&Object> = snapshot.list_in(&kind::POD, namespace).map(|pod| &**pod).collect();
        for service in snapshot.list_in(&kind::SERVICE, namespace) {
            notes.extend(service_notes(service, &pods, cause));
        }
        notes.extend(slips(services));
    }
    for ingress in snapshot.list(&kind::INGRESS) {
        let services = snapshot.list_in(&kind::SERVICE, ingress.namespace()).map(|service| service.name()).collect();
        notes.extend(missing_backends(ingress, &services));
    }
    report.notes.extend(notes);
}

/// `kubernetes` and the DNS: nobody tries these with curl.
fn is_the_clusters_own(service: &Object) -> bool {
    matches!((service.namespace(), service.name()), ("default", "kubernetes") | ("kube-system", _))
}

fn service_line(service: &Object, endpoints: usize, node: Option<&NodeLine>, with_host: bool) -> ServiceLine {
    let type_ = service.str_at(&["spec", "type"]).unwrap_or("ClusterIP");
    let cluster_ip = service.str_at(&["spec", "clusterIP"]).unwrap_or_default();
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut texts = Vec::new();
    let mut tries = Vec::new();
    for port in ports {
        let number = port["port"].as_i64().unwrap_or_default();
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let node_port = port["nodePort"].as_i64().filter(|p| *p > 0);
        texts.push(match node_port {
            Some(node_port) => format!("{number}:{node_port}/{protocol}"),
            None => format!("{number}/{protocol}"),
        });
        let Some(node) = node.filter(|_| protocol == "TCP" && endpoints > 0) else { continue };
        let curl = if number == 443 { "curl -k https://" } else { "curl http://" };
        // The node's first address may be of a family that the Service has not.
        let family = if node.address.contains(':') { "IPv6" } else { "IPv4" };
        let families = service.at(&["spec", "ipFamilies"]).and_then(Value::as_array);
        if let Some(port) = node_port.filter(|_| families.is_none_or(|all| all.iter().any(|f| f == family))) {
            let curl = format!("{curl}{}:{port}", in_url(&node.address));
            let command = if with_host { curl } else { format!("sudo lab client exec -- {curl}") };
            tries.push(Try { command, note: "from outside the cluster".into() });
        } else if cluster_ip.parse::<std::net::IpAddr>().is_ok() {
            let command = format!("sudo lab node exec {} -- {curl}{}:{number}", node.name, in_url(cluster_ip));
            tries.push(Try { command, note: format!("from node {}", node.name) });
        }
    }
    ServiceLine {
        namespace: service.namespace().to_string(),
        name: service.name().to_string(),
        type_: type_.to_string(),
        cluster_ip: cluster_ip.to_string(),
        ports: texts.join(","),
        endpoints,
        tries,
    }
}

/// Pods that are ready but not yet endpoints are waited for.
fn wait_for_endpoints(report: &mut Report, snapshot: &Snapshot, service: &Object, endpoints: Option<&BTreeSet<&str>>) {
    let Some(labels) = service.at(&["spec", "selector"]).and_then(Value::as_object).filter(|l| !l.is_empty()) else {
        return;
    };
    let selector = Selector::from_map(labels);
    let name = format!("service {}/{}", service.namespace(), service.name());
    for pod in snapshot.list_in(&kind::POD, service.namespace()).filter(|pod| selector.matches(pod.labels())) {
        let ready = condition(pod, "Ready").is_some_and(|c| c["status"] == "True") && !pod.is_terminating();
        let list = pod.at(&["status", "podIPs"]).and_then(Value::as_array);
        let mut addresses = list.into_iter().flatten().filter_map(|ip| ip["ip"].as_str());
        if ready && !addresses.any(|address| endpoints.is_some_and(|list| list.contains(address))) {
            report.wait(&name, format!("pod {} is not an endpoint yet", pod.name()), None, false);
            return;
        }
    }
}

fn condition<'a>(object: &'a Object, type_: &str) -> Option<&'a Value> {
    object.at(&["status", "conditions"])?.as_array()?.iter().find(|c| c["type"] == type_)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn snapshot(objects: Vec<Value>) -> Snapshot {
        objects.into_iter().filter_map(Object::from_value).collect()
    }

    fn service(selector: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.1.1", "selector": selector, "ports": [{"port": 80}]}})
    }

    fn pod(status: Value, extra: Value) -> Value {
        let mut spec = json!({"nodeName": "w1-k8s", "containers": [{"name": "c"}]});
        if let (Value::Object(spec), Value::Object(extra)) = (&mut spec, extra) {
            spec.extend(extra);
        }
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-1", "namespace": "default", "labels": {"label-test": "label-name"}},
            "spec": spec, "status": status})
    }

    fn ready() -> Value {
        json!({"phase": "Running", "podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}],
            "conditions": [{"type": "Ready", "status": "True"}]})
    }

    fn report_of(objects: Vec<Value>) -> Report {
        report("lab", &snapshot(objects), &Progress::default())
    }

    #[test]
    fn a_selector_that_matches_nothing_names_the_nearest_label() {
        let report = report_of(vec![service(json!({"label-test": "lable-name"})), pod(ready(), json!({}))]);
        assert_eq!(
            report.notes,
            ["Service web selects label-test=lable-name: 0 pods match. Labels in use: label-test=label-name. \
              Did you mean label-test=label-name?"]
        );
        assert!(report.ready, "a Service that matches nothing is valid");
    }

    #[test]
    fn a_ready_pod_is_waited_for_until_it_is_an_endpoint() {
        let web = service(json!({"label-test": "label-name"}));
        let waiting = report_of(vec![web.clone(), pod(ready(), json!({}))]);
        assert_eq!(waiting.waiting[0].cause, "pod web-1 is not an endpoint yet");
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "web-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [{"addresses": ["10.244.1.2"], "conditions": {"ready": true}}]});
        let report = report_of(vec![web, pod(ready(), json!({})), slice]);
        assert!(report.ready, "{:?}", report.waiting);
        assert_eq!(report.services[0].endpoints, 1);
    }

    #[test]
    fn why_a_pod_is_not_ready_and_whether_that_will_pass() {
        let state = |waiting: Value, restarts: i64| {
            json!({"phase": "Pending", "containerStatuses": [{"name": "c", "restartCount": restarts,
                "state": {"waiting": waiting}, "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]})
        };
        for (status, stuck, cause) in [
            (state(json!({"reason": "ErrImagePull", "message": "no such image"}), 0), true, "no such image"),
            (state(json!({"reason": "CrashLoopBackOff"}), 0), false, "ended with code 3"),
            (state(json!({"reason": "CrashLoopBackOff"}), 1), true, "ended with code 3"),
            (state(json!({"reason": "ContainerCreating"}), 0), false, "containers are being started"),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/4 nodes"}]}),
                true,
                "no node takes it: 0/4 nodes",
            ),
        ] {
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1-k8s"},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
            let report = report_of(vec![node, pod(status.clone(), json!({}))]);
            let [waiting] = report.waiting.as_slice() else { panic!("{status}: {:?}", report.waiting) };
            assert_eq!(waiting.stuck, stuck, "{status}");
            assert!(waiting.cause.contains(cause), "{}", waiting.cause);
        }
    }

    #[test]
    fn what_is_asked_for_but_not_done_is_said() {
        let asks = json!({"volumes": [{"name": "v", "emptyDir": {}}], "securityContext": {}});
        let report = report_of(vec![pod(ready(), asks)]);
        assert_eq!(report.notes, ["volumes are not mounted in this version (pod default/web-1)"]);
    }

    fn of(objects: impl IntoIterator<Item = Value>) -> Report {
        let snapshot: Snapshot = objects.into_iter().filter_map(Object::from_value).collect();
        report("lab", &snapshot, &Progress { made: u64::MAX, ..Progress::default() })
    }

    fn rollout(status: Value) -> Report {
        of([json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default", "generation": 2},
            "spec": {"replicas": 2}, "status": status})])
    }

    #[test]
    fn a_rollout_that_has_only_begun_is_waited_for() {
        let old = json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "availableReplicas": 2});
        assert_eq!(rollout(old.clone()).waiting.len(), 1, "none of the pods is of the new template");
        let mut new = old;
        new["updatedReplicas"] = json!(2);
        assert!(rollout(new).ready);
    }

    #[test]
    fn a_pod_bound_to_no_node_names_the_node_and_those_there_are() {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1-k8s"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"nodeName": "w9-k8s"}, "status": {"phase": "Pending"}});
        let report = of([node, pod]);
        let [waiting] = &report.waiting[..] else { panic!("{:?}", report.waiting) };
        assert_eq!(waiting.cause, "it is bound to node w9-k8s, which does not exist");
        assert!(waiting.stuck && waiting.next.as_deref().is_some_and(|next| next.ends_with("w1-k8s")));
    }

    #[test]
    fn what_the_api_keeps_and_does_not_enforce_is_said() {
        let report = |objects: Vec<Value>| report_of(objects).notes;
        let rule = json!([{"rule": "self.x > 1"}]);
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.example.com"},
            "spec": {"group": "example.com", "scope": "Cluster", "names": {"plural": "things", "kind": "Thing"},
                "conversion": {"strategy": "Webhook"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-validations": rule}}}]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]}});
        let notes = report(vec![definition]);
        assert!(notes[0].starts_with("conversion webhooks of Thing are not called"), "{notes:?}");
        assert!(notes[1].starts_with("x-kubernetes-validations of Thing are not evaluated"), "{notes:?}");
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "r", "namespace": "default"}});
        assert!(report(vec![role])[0].starts_with("RBAC objects are kept but not enforced (1 of them)"));
        let token = json!({"name": "kube-api-access-abcde", "projected": {}});
        let pod = |volumes: Value| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
                "spec": {"containers": [{"name": "c"}], "volumes": volumes}})
        };
        assert_eq!(report(vec![pod(json!([token]))]), Vec::<String>::new());
        let both = report(vec![pod(json!([token, {"name": "data", "emptyDir": {}}]))]);
        assert_eq!(both, ["volumes are not mounted in this version (pod default/p)"]);
    }
}
