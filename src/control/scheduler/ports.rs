//! The ports of nodes that pods take for themselves: an address, protocol and port of a node is one pod's alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::control::pods;
use crate::object::{Object, Snapshot, kind};

/// Of any of the node's addresses.
const ANY: &str = "0.0.0.0";

/// Address, protocol and port.
pub(super) type HostPort = (String, String, u64);

/// What a pod takes of its node. Pods on the node's network list all their ports so.
pub(super) fn of(pod: &Object) -> Vec<HostPort> {
    let list = |field| pod.at(&["spec", field]).and_then(Value::as_array).into_iter().flatten();
    // Of the init containers, those that stay.
    let stays = |container: &&Value| container.get("restartPolicy").and_then(Value::as_str) == Some("Always");
    let containers = list("containers").chain(list("initContainers").filter(stays));
    let ports = containers.filter_map(|container| container.get("ports")?.as_array()).flatten();
    let taken = ports.filter_map(|port| {
        let number = port.get("hostPort")?.as_u64().filter(|number| *number != 0)?;
        let text = |field, default: &str| {
            let text = port.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
            text.unwrap_or(default).to_string()
        };
        Some((text("hostIP", ANY), text("protocol", "TCP"), number))
    });
    taken.collect()
}

/// What is taken, by the nodes' positions.
#[derive(Default)]
pub(super) struct HostPorts {
    taken: Vec<HashSet<HostPort>>,
}

impl HostPorts {
    /// Nothing is looked at when no pod that waits wants any.
    pub fn of(snapshot: &Snapshot, nodes: &[&Arc<Object>], waiting: &[&Arc<Object>]) -> Self {
        let mut ports = HostPorts { taken: vec![HashSet::new(); nodes.len()] };
        if waiting.iter().all(|pod| of(pod).is_empty()) {
            return ports;
        }
        let index: HashMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (node.name(), at)).collect();
        for pod in snapshot.list(&kind::POD).filter(|pod| !pods::is_finished(pod)) {
            if let Some(at) = pods::node(pod).and_then(|node| index.get(node)) {
                ports.take(of(pod), *at);
            }
        }
        ports
    }

    pub fn take(&mut self, ports: Vec<HostPort>, at: usize) {
        if let Some(taken) = self.taken.get_mut(at) {
            taken.extend(ports);
        }
    }

    pub fn are_free(&self, wanted: &[HostPort], at: usize) -> bool {
        let taken = self.taken.get(at);
        let collides = |(address, protocol, number): &HostPort| {
            let same =
                |(a, p, n): &&HostPort| (p, n) == (protocol, number) && (a == address || a == ANY || address == ANY);
            taken.into_iter().flatten().any(|other| same(&other))
        };
        !wanted.iter().any(collides)
    }
}
