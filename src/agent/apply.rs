//! Makes steps: one after the other where they lean on each other, on two threads where they are pods' own.
//!
//! Two threads, because most of a pod's network is made under one lock of the kernel (RTNL): a second thread uses what
//! is left beside it, a third gains nothing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;

use super::kubelet::{Order, PodState};
use crate::desired::{Desired, NetnsRole};
use crate::diff::{Action, Step};
use crate::kernel::{ContainerEvent, Event, Kernel, KernelError};

const POD_THREADS: usize = 2;

/// What came of a batch of steps.
#[derive(Default)]
pub struct Applied {
    /// Steps that failed, each with what the kernel said. Steps that lean on them were not tried.
    pub failed: Vec<(Step, KernelError)>,
    /// Pods that were started, with the orders (already carried out) of their first containers.
    pub started: BTreeMap<String, (PodState, Vec<Order>)>,
    /// Containers that the node would not take, as the events that say so.
    pub refused: Vec<Event>,
    pub done: usize,
}

/// What is known of pods by `namespace/name`.
pub type PodStates = BTreeMap<String, PodState>;

/// Makes `steps` and notes each that succeeded in `actual`. `known` are the pods that ran before: one that is started
/// again, since its node went down, goes on counting its restarts.
pub fn apply(kernel: &dyn Kernel, actual: &mut Desired, known: &PodStates, steps: Vec<Step>) -> Applied {
    let mut applied = Applied::default();
    let (common, pods) = split(steps);
    let mut broken: Vec<String> = Vec::new();
    for step in common {
        if leans_on(&step.action).iter().any(|needed| broken.contains(needed)) {
            continue;
        }
        match kernel.apply(&step.action) {
            Ok(()) => {
                step.action.record(actual);
                applied.done += 1;
            }
            Err(error) => {
                broken.extend(makes(&step.action));
                applied.failed.push((step, error));
            }
        }
    }
    let pods: Vec<Vec<Step>> = pods
        .into_values()
        .filter(|steps| !steps.iter().any(|s| leans_on(&s.action).iter().any(|n| broken.contains(n))))
        .collect();
    for result in run_pods(kernel, known, pods) {
        for action in &result.done {
            action.record(actual);
            applied.done += 1;
        }
        applied.started.extend(result.started);
        applied.failed.extend(result.failed);
        applied.refused.extend(result.refused);
    }
    applied
}

/// The steps that make one pod, by its namespace, apart from all others.
fn split(steps: Vec<Step>) -> (Vec<Step>, BTreeMap<String, Vec<Step>>) {
    let (mut common, mut pods) = (Vec::new(), BTreeMap::<String, Vec<Step>>::new());
    for step in steps {
        let pod = match &step.action {
            Action::AddNetns { name, netns } if netns.role == NetnsRole::Pod => Some(name.clone()),
            Action::AddVeth { veth, .. } if pods.contains_key(&veth.inner.netns) => Some(veth.inner.netns.clone()),
            // A pod on its node's network shares the namespace with others, but no step of theirs.
            Action::StartPod { pod, .. } => Some(pod.netns.clone()),
            _ => None,
        };
        match pod {
            Some(netns) => pods.entry(netns).or_default().push(step),
            None => common.push(step),
        }
    }
    (common, pods)
}

/// The names of what an action needs, as [`makes`] calls them.
fn leans_on(action: &Action) -> Vec<String> {
    let netns = |name: &String| format!("netns {name}");
    match action {
        Action::AddVeth { veth, .. } => vec![netns(&veth.inner.netns), netns(&veth.outer.netns)],
        Action::LoadNat { netns: name, .. } | Action::OpenApi { netns: name, .. } => vec![netns(name)],
        Action::StartRuntime { runtime, .. } => vec![netns(&runtime.netns)],
        Action::StartPod { pod, .. } => vec![netns(&pod.netns), format!("node {}", pod.node)],
        _ => Vec::new(),
    }
}

fn makes(action: &Action) -> Vec<String> {
    match action {
        Action::AddNetns { name, .. } => vec![format!("netns {name}")],
        Action::AddVeth { veth, .. } => vec![format!("netns {}", veth.inner.netns)],
        Action::StartRuntime { node, .. } => vec![format!("node {node}")],
        _ => Vec::new(),
    }
}

#[derive(Default)]
struct PodResult {
    done: Vec<Action>,
    started: Vec<(String, (PodState, Vec<Order>))>,
    failed: Option<(Step, KernelError)>,
    refused: Vec<Event>,
}

fn run_pods(kernel: &dyn Kernel, known: &PodStates, pods: Vec<Vec<Step>>) -> Vec<PodResult> {
    if pods.len() <= 1 {
        return pods.into_iter().map(|steps| run_pod(kernel, known, steps)).collect();
    }
    let next = AtomicUsize::new(0);
    let pods: Vec<Mutex<Vec<Step>>> = pods.into_iter().map(Mutex::new).collect();
    let worker = || {
        let mut results = Vec::new();
        while let Some(steps) = pods.get(next.fetch_add(1, Ordering::Relaxed)) {
            let steps = std::mem::take(&mut *steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            results.push(run_pod(kernel, known, steps));
        }
        results
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..POD_THREADS).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

/// A pod's steps in their order; the first that fails ends it, and it is tried again with the next plan.
fn run_pod(kernel: &dyn Kernel, known: &PodStates, steps: Vec<Step>) -> PodResult {
    let mut result = PodResult::default();
    for step in steps {
        if let Err(error) = kernel.apply(&step.action) {
            result.failed = Some((step, error));
            break;
        }
        if let Action::StartPod { key, pod } = &step.action {
            let before = known.get(key).filter(|state| state.uid == pod.uid);
            let (state, orders) = PodState::begin(pod, before, Timestamp::now());
            for order in &orders {
                if let Order::Start { index, attempt } = order
                    && let Some(container) = pod.containers.get(*index)
                    && let Err(error) = kernel.start_container(pod, container, *attempt)
                {
                    result.refused.push(Event::Container {
                        pod_uid: pod.uid.clone(),
                        container: container.name.clone(),
                        attempt: *attempt,
                        at: Timestamp::now(),
                        what: ContainerEvent::StartFailed { message: error.0 },
                    });
                }
            }
            result.started.push((key.clone(), (state, orders)));
        }
        result.done.push(step.action);
    }
    result
}
