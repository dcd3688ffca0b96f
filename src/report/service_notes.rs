//! What is likely meant otherwise about a Service: a selector that no pod has, a port that no pod opens, pods that do
//! not become ready, a name that is nearly another's. Each with the nearest match. A Service with such a fault is valid.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::object::Object;
use crate::object::nearest::{is_slip_of, nearest};
use crate::object::selector::Selector;

/// As many names as are listed before they are only counted.
const FEW: usize = 3;
/// Each name is compared with each; in a crowd, names are made by a program.
const MOST_COMPARED: usize = 200;

/// About one Service, from the pods of its namespace; `why_not_ready` says what is wrong with a pod for good, if that is
/// known.
pub fn service_notes<'a>(
    service: &Object,
    pods: &[&'a Object],
    why_not_ready: impl Fn(&'a Object) -> Option<String>,
) -> Vec<String> {
    let Some(labels) = service.at(&["spec", "selector"]).and_then(Value::as_object).filter(|l| !l.is_empty()) else {
        return Vec::new();
    };
    if service.str_at(&["spec", "type"]) == Some("ExternalName") {
        return Vec::new();
    }
    let selector = Selector::from_map(labels);
    let has_ended = |pod: &Object| matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed"));
    let selected: Vec<&'a Object> = pods.iter().copied().filter(|pod| selector.matches(pod.labels())).collect();
    if selected.is_empty() {
        return vec![unmatched_selector(service, labels, pods)];
    }
    let mut notes: Vec<String> = Vec::new();
    let living: Vec<&'a Object> = selected.into_iter().filter(|pod| !has_ended(pod)).collect();
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array);
    notes.extend(ports.into_iter().flatten().filter_map(|port| unopened_port(service, port, &living)));
    let causes: Option<Vec<String>> =
        living.iter().map(|pod| Some(format!("{}: {}", pod.name(), why_not_ready(pod)?))).collect();
    if let Some(causes) = causes.filter(|causes| !causes.is_empty()) {
        let name = service.name();
        notes.push(format!("Service {name} has no endpoint: no pod that it selects is ready ({}).", listed(&causes)));
    }
    notes
}

/// `Service X selects app=wbe: 0 pods match. Labels in use: app=web. Did you mean app=web?`
fn unmatched_selector(service: &Object, labels: &Map<String, Value>, pods: &[&Object]) -> String {
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    let wanted: Vec<String> = labels.iter().map(pair).collect();
    let used: BTreeSet<String> = pods
        .iter()
        .flat_map(|pod| pod.labels().into_iter().flatten().map(pair).collect::<Vec<_>>())
        .filter(|label| !label.starts_with("pod-template-hash="))
        .collect();
    let mut text = format!("Service {} selects {}: 0 pods match.", service.name(), wanted.join(","));
    if used.is_empty() {
        text.push_str(&format!(" There are no pods with labels in namespace {}.", service.namespace()));
        return text;
    }
    text.push_str(&format!(" Labels in use: {}.", used.iter().cloned().collect::<Vec<_>>().join(", ")));
    let missing: Vec<&String> = wanted.iter().filter(|label| !used.contains(*label)).collect();
    if missing.is_empty() && wanted.len() > 1 {
        text.push_str(" No pod has all that the Service selects.");
    }
    let near: Vec<&str> = missing.iter().filter_map(|label| nearest(label, used.iter().map(String::as_str))).collect();
    text.push_str(&did_you_mean(&near));
    text
}

/// One port that a container declares.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Declared<'a> {
    number: i64,
    protocol: &'a str,
    name: &'a str,
}

fn declared(pod: &Object) -> impl Iterator<Item = Declared<'_>> {
    let containers = pod.at(&["spec", "containers"]).and_then(Value::as_array).into_iter().flatten();
    let ports = containers.flat_map(|c| c.get("ports").and_then(Value::as_array).into_iter().flatten());
    ports.filter_map(|port| {
        let text = |field| port.get(field).and_then(Value::as_str);
        let number = port.get("containerPort")?.as_i64()?;
        Some(Declared { number, protocol: text("protocol").unwrap_or("TCP"), name: text("name").unwrap_or_default() })
    })
}

/// A `targetPort` by a name that no selected pod has, or by a number that none of them declares although all declare
/// others: what is declared nowhere may be open all the same.
fn unopened_port(service: &Object, port: &Value, pods: &[&Object]) -> Option<String> {
    let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
    let number = port.get("port").and_then(Value::as_i64)?;
    if pods.is_empty() {
        return None;
    }
    let (service, all) = (service.name(), pods.iter().flat_map(|pod| declared(pod)).collect::<BTreeSet<_>>());
    let known = || {
        let text = |port: &Declared| match port.name {
            "" => format!("{}/{}", port.number, port.protocol),
            name => format!("{name} ({}/{})", port.number, port.protocol),
        };
        match all.is_empty() {
            true => " They declare no ports.".to_string(),
            false => format!(" Ports that they declare: {}.", all.iter().map(text).collect::<Vec<_>>().join(", ")),
        }
    };
    let many = if pods.len() == 1 { "the one pod".to_string() } else { format!("the {} pods", pods.len()) };
    if let Some(Value::String(name)) = port.get("targetPort") {
        let is_it = |port: &&Declared| port.name == name && port.protocol == protocol;
        if all.iter().any(|port| is_it(&port)) {
            return None;
        }
        let mut text = format!(
            "Service {service}: targetPort {name} of port {number}/{protocol} is the name of no container port in {many} \
             that it selects.{}",
            known()
        );
        let names = all.iter().filter(|port| port.protocol == protocol).map(|port| port.name);
        let near = nearest(name, names.filter(|name| !name.is_empty()));
        text.push_str(&did_you_mean(near.as_slice()));
        return Some(text);
    }
    let target = port.get("targetPort").and_then(Value::as_i64).filter(|target| *target > 0).unwrap_or(number);
    let is_it = |port: Declared| port.number == target && port.protocol == protocol;
    let each_declares_others = pods.iter().all(|pod| declared(pod).next().is_some() && !declared(pod).any(is_it));
    each_declares_others.then(|| {
        format!(
            "Service {service}: port {number}/{protocol} leads to port {target}, which no container of {many} that it \
             selects declares.{}",
            known()
        )
    })
}

/// Names among a namespace's Services that differ by a slip of the finger, where one of the two has no endpoints.
pub fn slips(services: &[(&str, usize)]) -> Vec<String> {
    let mut notes = Vec::new();
    if services.len() > MOST_COMPARED {
        return notes;
    }
    for (name, _) in services.iter().filter(|(_, endpoints)| *endpoints == 0) {
        let near = services.iter().find(|(other, endpoints)| *endpoints > 0 && is_slip_of(name, other));
        if let Some((other, _)) = near {
            notes.push(format!("Service {name} has no endpoints, and its name is nearly that of Service {other}."));
        }
    }
    notes
}

/// A Service that an Ingress names and that is not there.
pub fn missing_backends(ingress: &Object, services: &BTreeSet<&str>) -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut take = |backend: Option<&'_ Value>| {
        let name = backend.and_then(|backend| backend.pointer("/service/name")).and_then(Value::as_str);
        names.extend(name.map(str::to_string));
    };
    take(ingress.at(&["spec", "defaultBackend"]));
    for rule in ingress.at(&["spec", "rules"]).and_then(Value::as_array).into_iter().flatten() {
        let paths = rule.pointer("/http/paths").and_then(Value::as_array);
        paths.into_iter().flatten().for_each(|path| take(path.get("backend")));
    }
    let missing = names.iter().filter(|name| !services.contains(name.as_str()));
    let said = missing.map(|name| {
        let near = nearest(name, services.iter().copied());
        let (ingress, near) = (ingress.name(), did_you_mean(near.as_slice()));
        format!("Ingress {ingress} leads to Service {name}, which does not exist.{near}")
    });
    said.collect()
}

fn did_you_mean(near: &[&str]) -> String {
    if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(",")) }
}

fn listed(all: &[String]) -> String {
    match all.get(..FEW) {
        Some(first) if all.len() > FEW => format!("{}; and {} more", first.join("; "), all.len() - FEW),
        _ => all.join("; "),
    }
}

#[cfg(test)]
mod tests;
