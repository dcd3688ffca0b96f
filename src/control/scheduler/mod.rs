//! The scheduler: gives each pod without a node one that it may run on.

mod filter;
mod ports;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use self::filter::{Candidate, Needs};
use self::ports::HostPorts;
use super::{Context, conditions, pods};
use crate::object::write::Part;
use crate::object::{Object, Snapshot, Write, kind, map_at_mut};

const COMPONENT: &str = "default-scheduler";

pub fn scheduler(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    let mut waiting: Vec<&Arc<Object>> = snapshot.list(&kind::POD).filter(|pod| is_waiting(pod)).collect();
    if waiting.is_empty() {
        return Vec::new();
    }
    // The most important first, then in the order they came.
    waiting.sort_by_key(|pod| (Reverse(pod.i64_at(&["spec", "priority"]).unwrap_or(0)), pod.creation_timestamp()));
    let nodes: Vec<&Arc<Object>> = snapshot.list(&kind::NODE).filter(|node| !node.is_terminating()).collect();
    let candidates: Vec<Candidate> = nodes.iter().map(|node| Candidate::new(node)).collect();
    let mut load = Load::of(snapshot, &nodes);
    let mut ports = HostPorts::of(snapshot, &nodes, &waiting);
    let mut writes = Vec::new();
    for pod in waiting {
        let wanted = ports::of(pod);
        let needs = Needs::of(pod);
        let mut reasons: HashMap<String, usize> = HashMap::new();
        let mut best: Option<usize> = None;
        for (at, candidate) in candidates.iter().enumerate() {
            if let Some(reason) = candidate.refusal(&needs, ports.are_free(&wanted, at), load.on(at)) {
                *reasons.entry(reason).or_default() += 1;
            } else if best.is_none_or(|best| load.rank(pod, at) < load.rank(pod, best)) {
                best = Some(at);
            }
        }
        match best.and_then(|at| Some((at, nodes.get(at)?))) {
            Some((at, node)) => {
                load.add(pod, at);
                ports.take(wanted, at);
                writes.push(bind(pod, node.name(), ctx));
            }
            None => writes.extend(refuse(pod, nodes.len(), reasons, ctx)),
        }
    }
    writes
}

fn is_waiting(pod: &Object) -> bool {
    let has_gates = || {
        let gates = pod.at(&["spec", "schedulingGates"]).and_then(Value::as_array);
        gates.is_some_and(|gates| !gates.is_empty())
    };
    let is_ours = || matches!(pod.str_at(&["spec", "schedulerName"]), None | Some("" | COMPONENT));
    pods::node(pod).is_none() && pods::is_active(pod) && is_ours() && !has_gates()
}

/// How many pods each node has, in all and by controller.
struct Load<'a> {
    by_controller: HashMap<&'a str, Vec<usize>>,
    all: Vec<usize>,
}

impl<'a> Load<'a> {
    fn of(snapshot: &'a Snapshot, nodes: &[&Arc<Object>]) -> Self {
        let index: HashMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (node.name(), at)).collect();
        let mut load = Load { by_controller: HashMap::new(), all: vec![0; nodes.len()] };
        for pod in snapshot.list(&kind::POD).filter(|pod| !pods::is_finished(pod)) {
            if let Some(at) = pods::node(pod).and_then(|node| index.get(node)) {
                load.add(pod, *at);
            }
        }
        load
    }

    fn add(&mut self, pod: &'a Object, at: usize) {
        if let Some(count) = self.all.get_mut(at) {
            *count += 1;
        }
        if let Some(controller) = pod.controller_uid() {
            let of_nodes = self.by_controller.entry(controller).or_insert_with(|| vec![0; self.all.len()]);
            if let Some(count) = of_nodes.get_mut(at) {
                *count += 1;
            }
        }
    }

    fn on(&self, at: usize) -> usize {
        self.all.get(at).copied().unwrap_or(0)
    }

    /// The least is best. Nodes come in order of their names.
    fn rank(&self, pod: &Object, at: usize) -> (usize, usize, usize) {
        let of_controller = pod.controller_uid().and_then(|uid| self.by_controller.get(uid)?.get(at).copied());
        (of_controller.unwrap_or(0), self.on(at), at)
    }
}

fn with_condition(pod: &Object, status: &str, reason_and_message: Option<(&str, &str)>, ctx: &Context) -> Object {
    let mut pod = pod.clone();
    let status_map = map_at_mut(pod.json_mut(), "status");
    let list = status_map.entry("conditions").or_insert_with(|| json!([]));
    if let Value::Array(list) = list {
        conditions::set(list, "PodScheduled", status, reason_and_message, &ctx.now_text());
    }
    pod
}

fn bind(pod: &Object, node: &str, ctx: &mut Context) -> Write {
    let mut bound = with_condition(pod, "True", None, ctx);
    map_at_mut(bound.json_mut(), "spec").insert("nodeName".into(), node.into());
    let message = format!("Successfully assigned {}/{} to {node}", pod.namespace(), pod.name());
    ctx.normal(COMPONENT, pod, "Scheduled", message);
    Write::Update(bound, Part::All)
}

fn refuse(pod: &Object, nodes: usize, reasons: HashMap<String, usize>, ctx: &mut Context) -> Option<Write> {
    let mut reasons: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    reasons.sort();
    let message = match nodes {
        0 => "no nodes available to schedule pods".to_string(),
        _ => format!("0/{nodes} nodes are available: {}.", reasons.join(", ")),
    };
    let before = conditions::find(pod, "PodScheduled");
    if before.is_some_and(|c| (conditions::text(c, "status"), conditions::text(c, "message")) == ("False", &message)) {
        return None;
    }
    ctx.warning(COMPONENT, pod, "FailedScheduling", message.clone());
    Some(Write::Update(with_condition(pod, "False", Some(("Unschedulable", &message)), ctx), Part::Status))
}
