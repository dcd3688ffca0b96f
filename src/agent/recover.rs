//! Taking over what an earlier supervisor left running: what it had noted, less what is not there any more.
//!
//! Whatever is there but was not noted (it was being made when the supervisor died) is unknown here, and is made again
//! or taken away by the first plan: making a step twice is no error.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::apply::PodStates;
use super::kubelet::{ContainerState, Phase, PodState};
use crate::desired::{Container, Desired};
use crate::kernel::{ContainerEvent, LiveContainer, Survivors};

/// What the lab still has, and the events that happened while nobody listened, to be handled like new ones.
pub struct Recovered {
    pub actual: Desired,
    pub pods: PodStates,
    pub missed: Vec<crate::kernel::Event>,
}

pub fn recover(noted: Desired, survivors: &Survivors, now: Timestamp) -> Recovered {
    let mut actual = noted;
    actual.netns.retain(|name, _| survivors.netns.contains(name));
    // A namespace without a note is unknown: its plan will make it anew.
    let there = |name: &String| name.is_empty() || survivors.netns.contains(name);
    actual.veths.retain(|_, veth| there(&veth.inner.netns) && there(&veth.outer.netns));
    // Tables are loaded whole once, for what is in them is never read back.
    actual.nat.clear();
    // The sockets went with the supervisor that held them.
    actual.api.clear();
    let netns = &actual.netns;
    actual.runtimes.retain(|node, runtime| survivors.nodes.contains_key(node) && netns.contains_key(&runtime.netns));
    let live: BTreeMap<&str, &Vec<LiveContainer>> =
        survivors.nodes.values().flatten().map(|pod| (pod.uid.as_str(), &pod.containers)).collect();
    actual.pods.retain(|_, pod| live.contains_key(pod.uid.as_str()) && netns.contains_key(&pod.netns));

    let (mut pods, mut missed) = (PodStates::new(), Vec::new());
    for (key, pod) in &actual.pods {
        let Some(containers) = live.get(pod.uid.as_str()) else { continue };
        let states = pod.containers.iter().map(|container| {
            // Only the latest attempt counts.
            let live = containers.iter().filter(|c| c.name == container.name).max_by_key(|c| c.attempt);
            adopt(container, live)
        });
        let started = containers.iter().filter_map(|c| c.started_at).min();
        let state = PodState {
            uid: pod.uid.clone(),
            start_time: started.unwrap_or(now),
            containers: states.collect(),
            stopping: pod.stopping.is_some(),
            stopped: false,
        };
        for live in containers.iter() {
            if let Some((at, what @ (ContainerEvent::Exited { .. } | ContainerEvent::StartFailed { .. }))) = &live.last
            {
                missed.push(crate::kernel::Event::Container {
                    pod_uid: pod.uid.clone(),
                    container: live.name.clone(),
                    attempt: live.attempt,
                    at: *at,
                    what: what.clone(),
                });
            }
        }
        pods.insert(key.clone(), state);
    }
    Recovered { actual, pods, missed }
}

fn adopt(container: &Container, live: Option<&LiveContainer>) -> ContainerState {
    let Some(live) = live else { return ContainerState::adopt(container, 0, Phase::Creating) };
    let phase = match (&live.last, live.started_at) {
        (Some((at, ContainerEvent::Started { pid })), _) => Phase::Running { pid: *pid, since: *at },
        // Its end is among the missed events, and finds it running.
        (Some(_), Some(since)) => Phase::Running { pid: 0, since },
        _ => Phase::Starting,
    };
    ContainerState::adopt(container, live.attempt, phase)
}
