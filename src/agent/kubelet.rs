//! The life of a pod's containers, as the kubelet leads it: when each is started, when it is started again, and what
//! is to be said of it. Pure: events and the clock go in, orders come out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::desired::{Container, Pod, RestartPolicy};
use crate::kernel::ContainerEvent;
use crate::object::lab::Timings;

/// A container that ran this long starts its back-off anew (the kubelet: twice the longest back-off).
const HEALTHY_AFTER: u32 = 2;

#[derive(Debug, Clone, PartialEq)]
pub struct PodState {
    pub uid: String,
    pub start_time: Timestamp,
    pub containers: Vec<ContainerState>,
    /// The runtime was told to stop the pod.
    pub stopping: bool,
    /// The runtime said that nothing of it runs any more.
    pub stopped: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContainerState {
    pub name: String,
    pub image: String,
    /// The number of the current or next start, 0 for the first.
    pub attempt: u32,
    pub phase: Phase,
    /// How the run before the current one ended.
    pub last: Option<Termination>,
    /// What the next wait will be; `None` before the first end.
    backoff: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Not started, and nothing but an order is missing.
    Creating,
    /// Ordered.
    Starting,
    /// The image or its program cannot be had; it is tried again when the pod is described anew.
    NoImage {
        message: String,
        since: Timestamp,
    },
    Running {
        pid: i32,
        since: Timestamp,
    },
    /// Ended, to be started again at this time.
    BackOff {
        until: Timestamp,
        ended: Termination,
    },
    /// Ended for good.
    Ended(Termination),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Termination {
    pub code: i32,
    pub signal: Option<i32>,
    /// `Completed`, `Error` or `StartError`
    pub reason: &'static str,
    pub message: String,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
}

/// What the agent is to do or say now.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Start the container of this index.
    Start { index: usize, attempt: u32 },
    /// An event of the pod: reason, message and whether it is a warning.
    Say { warning: bool, reason: &'static str, message: String },
}

impl PodState {
    /// A pod whose namespaces were just made, and the orders for its first containers. `before` is what was known of it
    /// when it ran already, on a node that went down since.
    pub fn begin(pod: &Pod, before: Option<&PodState>, now: Timestamp) -> (PodState, Vec<Order>) {
        let containers = pod.containers.iter().map(|container| {
            let before = before.and_then(|pod| pod.containers.iter().find(|c| c.name == container.name));
            before.map_or_else(|| ContainerState::new(container), |before| before.after_node_down(now))
        });
        let mut state = PodState {
            uid: pod.uid.clone(),
            start_time: before.map_or(now, |before| before.start_time),
            containers: containers.collect(),
            stopping: pod.stopping.is_some(),
            stopped: false,
        };
        let orders = state.advance(pod, now);
        (state, orders)
    }

    /// Orders what is due at `now`.
    pub fn advance(&mut self, pod: &Pod, now: Timestamp) -> Vec<Order> {
        let mut orders = Vec::new();
        if self.stopping || self.stopped {
            return orders;
        }
        for (index, (state, container)) in self.containers.iter_mut().zip(&pod.containers).enumerate() {
            if let Phase::BackOff { until, ended } = &state.phase {
                if *until > now {
                    continue;
                }
                state.last = Some(ended.clone());
                state.attempt += 1;
                state.phase = Phase::Creating;
            }
            if matches!(state.phase, Phase::NoImage { .. }) && state.image != container.image {
                state.phase = Phase::Creating;
            }
            if state.phase != Phase::Creating {
                continue;
            }
            state.image.clone_from(&container.image);
            let image = &container.image;
            let mut say = |warning, reason, message| orders.push(Order::Say { warning, reason, message });
            match &container.program {
                Ok(_) => {
                    say(false, "Pulled", format!("Container image \"{image}\" already present on machine"));
                    orders.push(Order::Start { index, attempt: state.attempt });
                    state.phase = Phase::Starting;
                }
                Err(message) => {
                    say(true, "Failed", format!("Failed to pull image \"{image}\": {message}"));
                    say(true, "Failed", "Error: ErrImagePull".to_string());
                    state.phase = Phase::NoImage { message: message.clone(), since: now };
                }
            }
        }
        orders
    }

    /// Takes in what the node reported of a container.
    pub fn event(
        &mut self,
        pod: &Pod,
        timings: &Timings,
        container: &str,
        attempt: u32,
        at: Timestamp,
        what: &ContainerEvent,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        let stopping = self.stopping;
        let Some(state) = self.containers.iter_mut().find(|c| c.name == container && c.attempt == attempt) else {
            return orders;
        };
        let started_at = match &state.phase {
            Phase::Running { since, .. } => Some(*since),
            Phase::Starting => None,
            // Said twice, as after a reconnection.
            _ => return orders,
        };
        let mut say = |warning, reason, message| orders.push(Order::Say { warning, reason, message });
        let ended = match what {
            ContainerEvent::Started { pid } => {
                if started_at.is_none() {
                    say(false, "Created", format!("Created container: {container}"));
                    say(false, "Started", format!("Started container {container}"));
                    state.phase = Phase::Running { pid: *pid, since: at };
                }
                return orders;
            }
            ContainerEvent::StartFailed { message } => {
                say(true, "Failed", format!("Error: {message}"));
                Termination {
                    code: 128,
                    signal: None,
                    reason: "StartError",
                    message: message.clone(),
                    started_at: None,
                    finished_at: at,
                }
            }
            ContainerEvent::Exited { code, signal } => Termination {
                code: *code,
                signal: *signal,
                reason: if *code == 0 { "Completed" } else { "Error" },
                message: String::new(),
                started_at: started_at.or(Some(at)),
                finished_at: at,
            },
        };
        let again = match pod.restart_policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => ended.code != 0,
            RestartPolicy::Never => false,
        };
        if !again || stopping {
            state.phase = Phase::Ended(ended);
            return orders;
        }
        let wait = state.next_wait(&ended, timings);
        if !wait.is_zero() {
            let name = &pod.name;
            let message = format!(
                "Back-off restarting failed container {container} in pod {name}_{}({})",
                pod.namespace, pod.uid
            );
            say(true, "BackOff", message);
        }
        let until = at.checked_add(SignedDuration::try_from(wait).unwrap_or_default()).unwrap_or(at);
        state.phase = Phase::BackOff { until, ended };
        orders
    }

    /// The earliest time at which [`PodState::advance`] will have something to do.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let due = |c: &ContainerState| match &c.phase {
            Phase::BackOff { until, .. } => Some(*until),
            _ => None,
        };
        self.containers.iter().filter_map(due).min()
    }

    /// A container was ordered, and how its start went is not known yet.
    pub fn is_starting(&self) -> bool {
        self.containers.iter().any(|c| matches!(c.phase, Phase::Creating | Phase::Starting))
    }

    /// Every container has ended for good.
    pub fn is_finished(&self) -> bool {
        !self.containers.is_empty() && self.containers.iter().all(|c| matches!(c.phase, Phase::Ended(_)))
    }
}

impl ContainerState {
    fn new(container: &Container) -> Self {
        ContainerState {
            name: container.name.clone(),
            image: container.image.clone(),
            attempt: 0,
            phase: Phase::Creating,
            last: None,
            backoff: None,
        }
    }

    /// A container that a live node has already.
    pub fn adopt(container: &Container, attempt: u32, phase: Phase) -> Self {
        ContainerState { attempt, phase, ..Self::new(container) }
    }

    /// What ended for good stays ended; all else ended with the node, and starts again.
    fn after_node_down(&self, now: Timestamp) -> Self {
        let mut state = self.clone();
        let started_at = match &self.phase {
            Phase::Ended(_) | Phase::Creating | Phase::NoImage { .. } => return state,
            Phase::Running { since, .. } => Some(*since),
            Phase::Starting | Phase::BackOff { .. } => None,
        };
        state.last = Some(Termination {
            code: 137,
            signal: Some(9),
            reason: "Error",
            message: "The node went down".to_string(),
            started_at,
            finished_at: now,
        });
        state.attempt += 1;
        state.phase = Phase::Creating;
        state
    }

    /// None after the first end; then the shortest wait, doubled each time up to the longest. A long healthy run
    /// forgets the past.
    fn next_wait(&mut self, ended: &Termination, timings: &Timings) -> Duration {
        let longest = timings.container_restart_backoff_max.0;
        let ran = ended.started_at.map_or(Duration::ZERO, |from| {
            Duration::try_from(ended.finished_at.duration_since(from)).unwrap_or_default()
        });
        if ran >= longest * HEALTHY_AFTER {
            self.backoff = None;
        }
        let wait = self.backoff.unwrap_or_default();
        self.backoff = Some(match self.backoff {
            None => timings.container_restart_backoff.0,
            Some(wait) => (wait * 2).min(longest),
        });
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Program;

    fn pod(policy: RestartPolicy, program: Result<Program, String>) -> Pod {
        Pod {
            namespace: "default".into(),
            name: "p".into(),
            uid: "u".into(),
            node: "w1-k8s".into(),
            netns: "lab.default.p".into(),
            hostname: "p".into(),
            addresses: Vec::new(),
            resolv_conf: String::new(),
            hosts: String::new(),
            service_account: None,
            restart_policy: policy,
            containers: vec![Container {
                name: "c".into(),
                image: "busybox".into(),
                program,
                env: Vec::new(),
                working_dir: None,
                stdin: false,
                stdin_once: false,
                tty: false,
            }],
            grace_seconds: 30,
            stopping: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn starts(orders: &[Order]) -> Vec<u32> {
        let attempt = |o: &Order| match o {
            Order::Start { attempt, .. } => Some(*attempt),
            Order::Say { .. } => None,
        };
        orders.iter().filter_map(attempt).collect()
    }

    fn sh() -> Result<Program, String> {
        Ok(Program::Command { argv: vec!["sh".into()] })
    }

    /// Runs the container for a second at a time and returns the seconds between each end and the next start.
    fn waits(policy: RestartPolicy, code: i32, runs: u32) -> Vec<i64> {
        let pod = pod(policy, sh());
        let timings = Timings::default();
        let (mut state, orders) = PodState::begin(&pod, None, at(0));
        assert_eq!(starts(&orders), [0]);
        let (mut clock, mut waits) = (0, Vec::new());
        for attempt in 0..runs {
            state.event(&pod, &timings, "c", attempt, at(clock), &ContainerEvent::Started { pid: 9 });
            clock += 1;
            let exit = ContainerEvent::Exited { code, signal: None };
            state.event(&pod, &timings, "c", attempt, at(clock), &exit);
            let Some(due) = state.wake_at() else { break };
            waits.push(due.duration_since(at(clock)).as_secs());
            assert!(starts(&state.advance(&pod, due - SignedDuration::from_millis(1))).is_empty());
            assert_eq!(starts(&state.advance(&pod, due)), [attempt + 1]);
            clock = due.as_second() - 1_800_000_000;
        }
        waits
    }

    #[test]
    fn restarts_wait_as_the_kubelet_does() {
        assert_eq!(waits(RestartPolicy::Always, 1, 8), [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(waits(RestartPolicy::Always, 0, 2), [0, 10]);
        assert_eq!(waits(RestartPolicy::OnFailure, 1, 2), [0, 10]);
        assert!(waits(RestartPolicy::OnFailure, 0, 2).is_empty());
        assert!(waits(RestartPolicy::Never, 1, 2).is_empty());
    }

    #[test]
    fn an_image_that_is_not_there_starts_nothing_until_another_is_asked_for() {
        let missing = pod(RestartPolicy::Always, Err("not found".into()));
        let (mut state, orders) = PodState::begin(&missing, None, at(0));
        assert!(starts(&orders).is_empty());
        assert!(state.advance(&missing, at(1)).is_empty());
        let mut mended = pod(RestartPolicy::Always, sh());
        mended.containers[0].image = "alpine".into();
        assert_eq!(starts(&state.advance(&mended, at(2))), [0]);
    }

    #[test]
    fn a_pod_that_is_stopping_starts_nothing_again() {
        let pod = pod(RestartPolicy::Always, sh());
        let (mut state, _) = PodState::begin(&pod, None, at(0));
        let timings = Timings::default();
        state.event(&pod, &timings, "c", 0, at(0), &ContainerEvent::Started { pid: 9 });
        state.stopping = true;
        state.event(&pod, &timings, "c", 0, at(1), &ContainerEvent::Exited { code: 143, signal: Some(15) });
        assert!(state.is_finished() && state.wake_at().is_none());
        assert!(state.advance(&pod, at(1000)).is_empty());
    }

    #[test]
    fn a_report_of_an_earlier_run_changes_nothing() {
        let pod = pod(RestartPolicy::Always, sh());
        let (mut state, _) = PodState::begin(&pod, None, at(0));
        let before = state.clone();
        state.event(&pod, &Timings::default(), "c", 7, at(1), &ContainerEvent::Exited { code: 0, signal: None });
        assert_eq!(state, before);
    }
}
