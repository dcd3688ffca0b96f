//! Makes steps: one after the other where they lean on each other, at once where they are a node's or a pod's own.
//!
//! Pods on two threads, because most of a pod's network is made under one lock of the kernel (RTNL): a second thread
//! uses what is left beside it, a third gains nothing. Nodes on more, because to start one is mostly to wait for it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use jiff::Timestamp;

use super::kubelet::{Order, PodState};
use crate::desired::NetnsRole;
use crate::diff::{Action, Step};
use crate::kernel::{ContainerEvent, Event, Kernel, KernelError};

const POD_THREADS: usize = 2;
const NODE_THREADS: usize = 8;

/// What is known of pods by `namespace/name`.
pub type PodStates = BTreeMap<String, PodState>;

/// Makes `steps` and hands what was made to `take`, as it comes, on the calling thread. `known` are the pods that ran
/// before: one that is started again, since its node went down, goes on counting its restarts.
///
/// Returns the steps that failed, each with what the kernel said. Steps that lean on them were not tried.
pub fn apply(
    kernel: &dyn Kernel,
    known: &PodStates,
    steps: Vec<Step>,
    take: &mut dyn FnMut(Made),
) -> Vec<(Step, KernelError)> {
    let mut failed = Vec::new();
    let Split { common, nodes, pods } = split(steps);
    let (mut broken, mut made): (Vec<String>, _) = (Vec::new(), Made::default());
    for step in common {
        if leans_on_any(&step, &broken) {
            continue;
        }
        match kernel.apply(&step.action) {
            Ok(()) => made.actions.push(step.action),
            Err(error) => {
                broken.extend(makes(&step.action));
                failed.push((step, error));
            }
        }
    }
    take(made);
    for (lanes, threads) in [(nodes, NODE_THREADS), (pods, POD_THREADS)] {
        let sound = lanes.into_values().filter(|lane| !lane.iter().any(|step| leans_on_any(step, &broken)));
        run_lanes(kernel, known, sound.collect(), threads, &mut |result| {
            if let Some((step, error)) = result.failed {
                broken.extend(makes(&step.action));
                failed.push((step, error));
            }
            take(result.made);
        });
    }
    failed
}

/// Steps that are made in order, beside those of other lanes. By the namespace that they are all about.
type Lanes = BTreeMap<String, Vec<Step>>;

#[derive(Default)]
struct Split {
    common: Vec<Step>,
    /// What makes a node of a namespace: it leans on common steps only.
    nodes: Lanes,
    /// All that makes a pod; it leans on nodes.
    pods: Lanes,
}

fn split(steps: Vec<Step>) -> Split {
    let mut split = Split::default();
    for step in steps {
        let lane = match &step.action {
            Action::LoadNat { netns, .. } => split.nodes.entry(netns.clone()).or_default(),
            Action::StartRuntime { runtime, .. } => split.nodes.entry(runtime.netns.clone()).or_default(),
            Action::AddNetns { name, netns } if netns.role == NetnsRole::Pod => {
                split.pods.entry(name.clone()).or_default()
            }
            Action::AddVeth { veth, .. } if split.pods.contains_key(&veth.inner.netns) => {
                split.pods.entry(veth.inner.netns.clone()).or_default()
            }
            // A pod on its node's network shares the namespace with others, but no step of theirs.
            Action::StartPod { pod, .. } => split.pods.entry(pod.netns.clone()).or_default(),
            _ => &mut split.common,
        };
        lane.push(step);
    }
    split
}

fn leans_on_any(step: &Step, broken: &[String]) -> bool {
    leans_on(&step.action).iter().any(|needed| broken.contains(needed))
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

/// What was made by some of the steps.
#[derive(Default)]
pub struct Made {
    pub actions: Vec<Action>,
    /// Pods that were started, with the orders (already carried out) of their first containers.
    pub started: Vec<(String, (PodState, Vec<Order>))>,
    /// Containers that the node would not take, as the events that say so.
    pub refused: Vec<Event>,
}

#[derive(Default)]
struct LaneResult {
    made: Made,
    failed: Option<(Step, KernelError)>,
}

fn run_lanes(
    kernel: &dyn Kernel,
    known: &PodStates,
    lanes: Vec<Vec<Step>>,
    threads: usize,
    take: &mut dyn FnMut(LaneResult),
) {
    if lanes.len() <= 1 {
        return lanes.into_iter().for_each(|steps| take(run_lane(kernel, known, steps)));
    }
    let next = AtomicUsize::new(0);
    let threads = threads.min(lanes.len());
    let lanes: Vec<Mutex<Vec<Step>>> = lanes.into_iter().map(Mutex::new).collect();
    let (results, arriving) = channel();
    let (lanes, next) = (&lanes, &next);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let results = results.clone();
            scope.spawn(move || {
                while let Some(steps) = lanes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let steps = std::mem::take(&mut *steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
                    // The receiver outlives this thread.
                    let _ = results.send(run_lane(kernel, known, steps));
                }
            });
        }
        // It ends with the last thread's.
        drop(results);
        arriving.into_iter().for_each(take);
    });
}

/// A lane's steps in their order; the first that fails ends it, and it is tried again with the next plan.
fn run_lane(kernel: &dyn Kernel, known: &PodStates, steps: Vec<Step>) -> LaneResult {
    let mut result = LaneResult::default();
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
                    result.made.refused.push(Event::Container {
                        pod_uid: pod.uid.clone(),
                        container: container.name.clone(),
                        attempt: *attempt,
                        at: Timestamp::now(),
                        what: ContainerEvent::StartFailed { message: error.0 },
                    });
                }
            }
            result.made.started.push((key.clone(), (state, orders)));
        }
        result.made.actions.push(step.action);
    }
    result
}
