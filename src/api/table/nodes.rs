//! Nodes.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, NONE, condition, field, list, text};
use crate::object::Object;

pub fn cells(node: &Object, now: Timestamp) -> Vec<Value> {
    let ready = match condition(node, "Ready") {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = node.at(&["spec", "unschedulable"]) == Some(&Value::Bool(true));
    let status = if cordoned { format!("{ready},SchedulingDisabled") } else { ready.to_string() };
    let info = |field: &str| {
        let value = text(node, &["status", "nodeInfo", field]);
        Value::from(if value.is_empty() { "<unknown>" } else { value })
    };
    vec![
        cells::name(node),
        status.into(),
        roles(node).into(),
        cells::age(node, now),
        text(node, &["status", "nodeInfo", "kubeletVersion"]).into(),
        address(node, "InternalIP"),
        address(node, "ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn roles(node: &Object) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (label, value) in node.labels().into_iter().flatten() {
        if let Some(role) = label.strip_prefix("node-role.kubernetes.io/") {
            roles.push(role);
        } else if label == "kubernetes.io/role" {
            roles.extend(value.as_str());
        }
    }
    roles.retain(|role| !role.is_empty());
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { NONE.into() } else { roles.join(",") }
}

fn address(node: &Object, wanted: &str) -> Value {
    let addresses = list(node, &["status", "addresses"]);
    addresses.iter().find(|a| field(a, "type") == wanted).map_or(NONE, |a| field(a, "address")).into()
}
