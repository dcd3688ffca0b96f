//! From what a lab has to what it should have: ordered steps, each with its reason.
//!
//! The order is such that each step finds what it needs, and that traffic is moved away from a pod before it goes:
//! translation entries change first, then pods end, then what is no longer wanted is taken down, then new namespaces,
//! cables and runtimes are made, and pods start last.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use crate::desired::{Desired, Nat, Netns, NetnsName, NetnsRole, Pod, Runtime, Veth};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub action: Action,
    /// Why, in words that name the object: "pod default/web-1 is bound to w1-k8s".
    pub reason: String,
}

/// One change of the system. It holds all that it takes to make it, and to record that it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    AddNetns {
        name: NetnsName,
        netns: Netns,
    },
    RemoveNetns {
        name: NetnsName,
    },
    AddVeth {
        id: String,
        veth: Veth,
    },
    RemoveVeth {
        id: String,
        veth: Veth,
    },
    StartRuntime {
        node: String,
        runtime: Runtime,
    },
    StopRuntime {
        node: String,
    },
    /// The whole table, in place of whatever was there.
    LoadNat {
        netns: NetnsName,
        nat: Arc<Nat>,
    },
    /// Only the entries that differ from what was loaded before.
    ChangeNat {
        netns: NetnsName,
        from: Arc<Nat>,
        to: Arc<Nat>,
    },
    /// Listens for clients of the API at all addresses of the namespace.
    OpenApi {
        netns: NetnsName,
        port: u16,
    },
    /// Stops listening, and ends the connections there are.
    CloseApi {
        netns: NetnsName,
    },
    /// Gives the pod its namespaces; its containers are then started, watched and restarted by the agent.
    StartPod {
        key: String,
        pod: Arc<Pod>,
    },
    /// SIGTERM, and SIGKILL after the grace; the pod reports when it is gone.
    StopPod {
        key: String,
        pod: Arc<Pod>,
        grace_seconds: u64,
    },
    /// The pod's description changed in what containers that start from now on will see.
    UpdatePod {
        key: String,
        pod: Arc<Pod>,
    },
    /// Ends what is left of the pod, now, and forgets it.
    RemovePod {
        key: String,
        pod: Arc<Pod>,
    },
}

impl Action {
    /// Notes in `actual` that this was done.
    pub fn record(&self, actual: &mut Desired) {
        match self {
            Action::AddNetns { name, netns } => {
                actual.netns.insert(name.clone(), netns.clone());
            }
            Action::RemoveNetns { name } => {
                actual.netns.remove(name);
                // A namespace takes its cables with it.
                actual.veths.retain(|_, veth| veth.inner.netns != *name && veth.outer.netns != *name);
                actual.nat.remove(name);
                actual.api.remove(name);
            }
            Action::AddVeth { id, veth } => {
                actual.veths.insert(id.clone(), veth.clone());
            }
            Action::RemoveVeth { id, .. } => {
                actual.veths.remove(id);
            }
            Action::StartRuntime { node, runtime } => {
                actual.runtimes.insert(node.clone(), runtime.clone());
            }
            Action::StopRuntime { node } => {
                actual.runtimes.remove(node);
                actual.pods.retain(|_, pod| pod.node != *node);
            }
            Action::LoadNat { netns, nat } | Action::ChangeNat { netns, to: nat, .. } => {
                actual.nat.insert(netns.clone(), nat.clone());
            }
            Action::OpenApi { netns, port } => {
                actual.api.insert(netns.clone(), *port);
            }
            Action::CloseApi { netns } => {
                actual.api.remove(netns);
            }
            Action::StartPod { key, pod } | Action::UpdatePod { key, pod } | Action::StopPod { key, pod, .. } => {
                actual.pods.insert(key.clone(), pod.clone());
            }
            Action::RemovePod { key, .. } => {
                actual.pods.remove(key);
            }
        }
    }
}

/// In the words of the tools that show the result: `ip`, `nft`, and kubectl's.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::AddNetns { name, .. } => write!(f, "netns add {name}"),
            Action::RemoveNetns { name } => write!(f, "netns delete {name}"),
            Action::AddVeth { veth, .. } => {
                let end = |end: &crate::desired::End| {
                    let addresses: Vec<String> = end.addresses.iter().map(|a| a.to_string()).collect();
                    let at = if end.netns.is_empty() { "this machine" } else { &end.netns };
                    let bridge = end.bridge.as_ref().map(|b| format!(" (port of bridge {b})")).unwrap_or_default();
                    let address =
                        if addresses.is_empty() { String::new() } else { format!(" {}", addresses.join(",")) };
                    format!("{at} {}{address}{bridge}", end.name)
                };
                write!(f, "link add veth {} <-> {}", end(&veth.inner), end(&veth.outer))
            }
            Action::RemoveVeth { id, .. } => write!(f, "link delete veth {id}"),
            Action::StartRuntime { node, .. } => write!(f, "start node {node}"),
            Action::StopRuntime { node } => write!(f, "stop node {node}"),
            Action::LoadNat { netns, nat } => {
                let (services, node_ports) = (nat.services.len(), nat.node_ports.len());
                write!(f, "nft load {netns}: {services} service ports, {node_ports} node ports")
            }
            Action::ChangeNat { netns, from, to } => {
                let changed = changed_services(from, to);
                write!(f, "nft change {netns}: {}", changed.into_iter().collect::<Vec<_>>().join(", "))
            }
            Action::OpenApi { netns, port } => write!(f, "api listen {netns} port {port}"),
            Action::CloseApi { netns } => write!(f, "api close {netns}"),
            Action::StartPod { key, pod } => write!(f, "start pod {key} on {}", pod.node),
            Action::StopPod { key, grace_seconds, .. } => write!(f, "stop pod {key} (grace {grace_seconds}s)"),
            Action::UpdatePod { key, .. } => write!(f, "update pod {key}"),
            Action::RemovePod { key, .. } => write!(f, "remove pod {key}"),
        }
    }
}

/// The Services whose entries differ, `+` new, `-` gone, `~` other endpoints.
fn changed_services(from: &Nat, to: &Nat) -> BTreeSet<String> {
    let mut changed = BTreeSet::new();
    let mut note = |before: Option<&crate::desired::Backend>, after: Option<&crate::desired::Backend>| {
        let (sign, backend) = match (before, after) {
            (None, Some(after)) => ('+', after),
            (Some(before), None) => ('-', before),
            (Some(before), Some(after)) if before != after => ('~', after),
            _ => return,
        };
        changed.insert(format!("{sign}{}", backend.service));
    };
    for (_, before, after) in from.services.changes(&to.services) {
        note(before, after);
    }
    for (_, before, after) in from.node_ports.changes(&to.node_ports) {
        note(before, after);
    }
    changed
}

/// The steps that make `to` of `from`.
pub fn diff(from: &Desired, to: &Desired) -> Vec<Step> {
    let mut steps = Steps::default();
    nat_changes(&mut steps, from, to);
    endings(&mut steps, from, to);
    removals(&mut steps, from, to);
    additions(&mut steps, from, to);
    starts(&mut steps, from, to);
    steps.0
}

#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn add(&mut self, action: Action, reason: impl Into<String>) {
        self.0.push(Step { action, reason: reason.into() });
    }
}

fn nat_changes(steps: &mut Steps, from: &Desired, to: &Desired) {
    for (netns, nat) in &to.nat {
        // A table that is not there yet is loaded once its namespace is.
        if let Some(before) = from.nat.get(netns)
            && from.netns.get(netns) == to.netns.get(netns)
            && before != nat
        {
            let (netns, before, nat) = (netns.clone(), before.clone(), nat.clone());
            steps.add(Action::ChangeNat { netns, from: before, to: nat }, "the Services or their endpoints changed");
        }
    }
}

/// Pods that are to end.
fn endings(steps: &mut Steps, from: &Desired, to: &Desired) {
    for (key, before) in &from.pods {
        let (key, pod) = (key.clone(), before.clone());
        match to.pods.get(&key) {
            None => steps.add(Action::RemovePod { key, pod }, "the pod is gone or has finished"),
            Some(after) if after.uid != before.uid => {
                steps.add(Action::RemovePod { key, pod }, "another pod of the same name took its place");
            }
            Some(_) if !same_node(from, to, &before.node) => {
                steps.add(Action::RemovePod { key, pod }, format!("node {} changed", before.node));
            }
            Some(after) if after.stopping.is_some() && after.stopping != before.stopping => {
                let grace_seconds = after.stopping.unwrap_or_default();
                steps.add(Action::StopPod { key, pod: after.clone(), grace_seconds }, "the pod was deleted");
            }
            Some(_) => {}
        }
    }
}

/// A node's process can stay only where its settings and its namespace do.
fn same_node(from: &Desired, to: &Desired, node: &str) -> bool {
    let (before, after) = (from.runtimes.get(node), to.runtimes.get(node));
    before == after && after.is_none_or(|runtime| from.netns.get(&runtime.netns) == to.netns.get(&runtime.netns))
}

fn removals(steps: &mut Steps, from: &Desired, to: &Desired) {
    for node in from.runtimes.keys() {
        let reason = match to.runtimes.get(node) {
            Some(_) if same_node(from, to, node) => continue,
            Some(_) => "the node's settings changed",
            None => "the node is not in the Lab any more",
        };
        steps.add(Action::StopRuntime { node: node.clone() }, reason);
    }
    let going = |name: &NetnsName| from.netns.get(name).is_some_and(|before| to.netns.get(name) != Some(before));
    for (id, before) in &from.veths {
        if to.veths.get(id) != Some(before) && !going(&before.inner.netns) && !going(&before.outer.netns) {
            let reason = if to.veths.contains_key(id) { "its settings changed" } else { "it is not wanted any more" };
            steps.add(Action::RemoveVeth { id: id.clone(), veth: before.clone() }, reason);
        }
    }
    // An open socket would keep its namespace.
    for (netns, port) in &from.api {
        if to.api.get(netns) != Some(port) || going(netns) {
            let reason = if going(netns) { "its node goes" } else { "it is not wanted there any more" };
            steps.add(Action::CloseApi { netns: netns.clone() }, reason);
        }
    }
    for name in from.netns.keys().filter(|name| going(name)) {
        let reason = if to.netns.contains_key(name) { "its settings changed" } else { "what it was for is gone" };
        steps.add(Action::RemoveNetns { name: name.clone() }, reason);
    }
}

fn additions(steps: &mut Steps, from: &Desired, to: &Desired) {
    // The LAN first, for machines are plugged into it; pods last, for they are plugged into nodes.
    let order = |role: NetnsRole| match role {
        NetnsRole::Lan => 0,
        NetnsRole::Node => 1,
        NetnsRole::Client => 2,
        NetnsRole::Pod => 3,
    };
    let mut missing: Vec<_> = to.netns.iter().filter(|(name, netns)| from.netns.get(*name) != Some(netns)).collect();
    missing.sort_by_key(|(name, netns)| (order(netns.role), *name));
    let made_anew = |name: &NetnsName| from.netns.get(name) != to.netns.get(name);
    let mut cables: BTreeSet<&str> = BTreeSet::new();
    for (id, veth) in &to.veths {
        let anew = made_anew(&veth.inner.netns) || made_anew(&veth.outer.netns);
        if anew || from.veths.get(id) != Some(veth) {
            cables.insert(id.as_str());
        }
    }
    for (name, netns) in missing {
        let reason = match netns.role {
            NetnsRole::Lan => "the LAN that the nodes share".to_string(),
            NetnsRole::Client => "the outside machine, on the LAN but no node".to_string(),
            NetnsRole::Node => "a node of the Lab".to_string(),
            NetnsRole::Pod => "a pod's network".to_string(),
        };
        steps.add(Action::AddNetns { name: name.clone(), netns: netns.clone() }, reason);
        // Its cable with it, so that a pod is whole before the next is begun.
        let prefix = format!("{name}/");
        let from_prefix = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let own: Vec<&str> =
            cables.range::<str, _>(from_prefix).take_while(|id| id.starts_with(&prefix)).copied().collect();
        for id in own {
            cables.remove(id);
            if let Some(veth) = to.veths.get(id) {
                steps.add(Action::AddVeth { id: id.to_string(), veth: veth.clone() }, format!("the cable of {name}"));
            }
        }
    }
    for id in cables {
        if let Some(veth) = to.veths.get(id) {
            let reason = if veth.inner.netns.is_empty() { "this machine joins the LAN" } else { "a cable is missing" };
            steps.add(Action::AddVeth { id: id.to_string(), veth: veth.clone() }, reason);
        }
    }
    for (netns, port) in &to.api {
        if from.api.get(netns) != Some(port) || made_anew(netns) {
            let action = Action::OpenApi { netns: netns.clone(), port: *port };
            steps.add(action, "a control plane node serves the Kubernetes API");
        }
    }
    for (netns, nat) in &to.nat {
        if !from.nat.contains_key(netns) || made_anew(netns) {
            let action = Action::LoadNat { netns: netns.clone(), nat: nat.clone() };
            steps.add(action, "the node answers for every Service");
        }
    }
    for (node, runtime) in &to.runtimes {
        if !same_node(from, to, node) {
            let action = Action::StartRuntime { node: node.clone(), runtime: runtime.clone() };
            steps.add(action, "its processes need a parent");
        }
    }
}

fn starts(steps: &mut Steps, from: &Desired, to: &Desired) {
    for (key, pod) in &to.pods {
        let before = from
            .pods
            .get(key)
            .filter(|before| before.uid == pod.uid && from.runtimes.get(&before.node) == to.runtimes.get(&before.node));
        let (key, pod) = (key.clone(), pod.clone());
        match before {
            // It ended while nobody looked, or never began: there is nothing to start, and its agent only has to say
            // so. What an earlier supervisor may have started of it, and not noted, goes.
            None if pod.stopping.is_some() => {
                steps.add(Action::RemovePod { key, pod }, "the pod was deleted and no longer runs");
            }
            None => {
                let reason = format!("it is bound to {}", pod.node);
                steps.add(Action::StartPod { key, pod }, reason);
            }
            Some(before) if before.stopping == pod.stopping && **before != *pod => {
                steps.add(Action::UpdatePod { key, pod }, "its description changed");
            }
            Some(_) => {}
        }
    }
}
