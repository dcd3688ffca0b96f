//! Ingresses, their classes, network policies.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, NONE, UNSET, field, list, or_none, selector, text};
use crate::object::Object;

pub fn ingress(ingress: &Object, now: Timestamp) -> Vec<Value> {
    let rules = list(ingress, &["spec", "rules"]);
    let mut hosts: Vec<&str> = rules.iter().map(|r| field(r, "host")).filter(|h| !h.is_empty()).collect();
    let more = hosts.len().saturating_sub(3);
    hosts.truncate(3);
    let hosts = match (hosts.is_empty(), more) {
        (true, _) => "*".to_string(),
        (false, 0) => hosts.join(","),
        (false, more) => format!("{} + {more} more...", hosts.join(",")),
    };
    let status = list(ingress, &["status", "loadBalancer", "ingress"]);
    let addresses: Vec<&str> = status
        .iter()
        .map(|i| match field(i, "ip") {
            "" => field(i, "hostname"),
            ip => ip,
        })
        .collect();
    let ports = if list(ingress, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" };
    vec![
        cells::name(ingress),
        or_none(text(ingress, &["spec", "ingressClassName"])),
        hosts.into(),
        addresses.join(",").into(),
        ports.into(),
        cells::age(ingress, now),
    ]
}

pub fn ingress_class(class: &Object, now: Timestamp) -> Vec<Value> {
    let parameters = match class.at(&["spec", "parameters"]) {
        Some(reference) => {
            let (kind, name) = (field(reference, "kind"), field(reference, "name"));
            match field(reference, "apiGroup") {
                "" => format!("{kind}/{name}"),
                group => format!("{kind}.{group}/{name}"),
            }
        }
        None => NONE.to_string(),
    };
    vec![cells::name(class), text(class, &["spec", "controller"]).into(), parameters.into(), cells::age(class, now)]
}

pub fn policy(policy: &Object, now: Timestamp) -> Vec<Value> {
    let pods = selector(policy.at(&["spec", "podSelector"]));
    let pods = if pods == UNSET { NONE.to_string() } else { pods };
    vec![cells::name(policy), pods.into(), cells::age(policy, now)]
}
