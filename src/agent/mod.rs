//! The loop: snapshot, plan, diff, kernel, status.
//!
//! It alone knows what the lab really has ([`Desired`] as far as it was made). Everything it learns goes back into the
//! store as status, the only way back.

mod apply;
pub mod kubelet;
mod recover;
mod status;

pub use recover::{Recovered, recover};
pub use status::MachineFacts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::control;
use crate::control::events::{self, EventType, Occurrence};
use crate::desired::{Desired, Pod};
use crate::diff::{Action, Step, diff};
use crate::kernel::{Event, Kernel};
use crate::object::lab::Timings;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Key, Object, Snapshot, Write, kind};
use crate::plan::{self, Machine, Planner};
use crate::report::Progress;
use crate::store::{Store, WriteError, Written};
use apply::{Made, PodStates};
use kubelet::{Order, PodState};

/// How long to wait before steps that failed are tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The longest the loop sleeps with nothing to do.
const IDLE: Duration = Duration::from_secs(3600);

/// While many pods are made, this often it is heard which of them run by now, and written down; each time is a round of
/// the controllers. Fewer pods than this are not many.
const HEARINGS: usize = 4;
const FEW_PODS: usize = 32;

/// What containers say while others are still starting is gathered for so long at most, and then written down at once:
/// a status is a commit, some rounds of the controllers and a plan, for one pod as for a hundred.
const GATHER: Duration = Duration::from_millis(20);

/// What wakes the loop.
pub enum Wake {
    /// The store has something new.
    Store,
    Kernel(Event),
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Something,
    Stop,
}

/// How far the kernel is, and what could not be made: for `lab status`.
pub type SharedProgress = Arc<Mutex<Progress>>;

pub struct Agent {
    pub store: Arc<Store>,
    pub kernel: Arc<dyn Kernel>,
    planner: Planner,
    pub facts: MachineFacts,
    /// Where what was made is noted, for the next supervisor.
    pub record: PathBuf,
    pub progress: SharedProgress,
    actual: Desired,
    pods: PodStates,
    /// What each pod's status was made of when it was found to be written already, so that it is not made again.
    written: BTreeMap<String, StatusInputs>,
    /// Pods that have logs, by uid: they stay as long as the pod's object does.
    logged: BTreeMap<String, (String, String)>,
    /// The snapshot that was planned for last.
    planned: Option<u64>,
    retry_at: Option<Timestamp>,
    /// What was heard while pods were made, and is for afterwards.
    put_off: Vec<Wake>,
}

impl Agent {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        lab: String,
        store: Arc<Store>,
        kernel: Arc<dyn Kernel>,
        machine: Machine,
        facts: MachineFacts,
        record: PathBuf,
        recovered: Recovered,
    ) -> Self {
        let of_pod = |pod: &Arc<Pod>| (pod.uid.clone(), (pod.namespace.clone(), pod.name.clone()));
        let logged = recovered.actual.pods.values().map(of_pod).collect();
        let mut agent = Agent {
            planner: Planner::new(&lab, machine),
            store,
            kernel,
            facts,
            record,
            progress: SharedProgress::default(),
            actual: recovered.actual,
            pods: recovered.pods,
            written: BTreeMap::new(),
            logged,
            planned: None,
            retry_at: None,
            put_off: Vec::new(),
        };
        let mut said = Vec::new();
        for event in recovered.missed {
            agent.take_in(event, Timestamp::now(), &mut said);
        }
        agent
    }

    /// Runs until told to stop, or until nobody can wake it any more.
    pub fn run(mut self, wakes: &Receiver<Wake>) {
        let mut said = Vec::new();
        loop {
            self.advance(Timestamp::now(), &mut said);
            let made = self.sync(wakes, &mut said);
            // What was started has mostly said by now how that went: a status less to write for each.
            let put_off = std::mem::take(&mut self.put_off);
            let told = self.hear(put_off.into_iter().chain(wakes.try_iter()), &mut said);
            self.write_status(&mut said);
            let starting = self.is_starting();
            let mut progress = self.lock_progress();
            (progress.made, progress.starting) = (made, starting);
            drop(progress);
            if told == Told::Stop || self.wait(wakes, told, &mut said) == Told::Stop {
                return;
            }
        }
    }

    /// Sleeps until something happens and takes in all that has.
    fn wait(&mut self, wakes: &Receiver<Wake>, told: Told, said: &mut Vec<Said>) -> Told {
        let due = self.pods.values().filter_map(PodState::wake_at).chain(self.retry_at).min();
        let due = due.map_or(IDLE, |at| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
        let sleep = if told == Told::Something { Duration::ZERO } else { due };
        let told = match wakes.recv_timeout(sleep) {
            Ok(wake) => self.hear(std::iter::once(wake).chain(wakes.try_iter()), said),
            Err(RecvTimeoutError::Timeout) => told,
            Err(RecvTimeoutError::Disconnected) => Told::Stop,
        };
        if told == Told::Something { self.gather(wakes, GATHER.min(due), said) } else { told }
    }

    /// Goes on hearing as long as something is starting, but no longer than `at_most`.
    fn gather(&mut self, wakes: &Receiver<Wake>, at_most: Duration, said: &mut Vec<Said>) -> Told {
        let until = Instant::now() + at_most;
        while self.is_starting() {
            let heard = match wakes.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(wake) => self.hear(std::iter::once(wake).chain(wakes.try_iter()), said),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => Told::Stop,
            };
            if heard == Told::Stop {
                return Told::Stop;
            }
        }
        Told::Something
    }

    fn is_starting(&self) -> bool {
        self.pods.values().any(PodState::is_starting)
    }

    fn hear(&mut self, wakes: impl Iterator<Item = Wake>, said: &mut Vec<Said>) -> Told {
        let mut told = Told::Nothing;
        for wake in wakes {
            match wake {
                Wake::Stop => return Told::Stop,
                Wake::Store => {}
                Wake::Kernel(event) => self.take_in(event, Timestamp::now(), said),
            }
            told = Told::Something;
        }
        told
    }

    /// Takes in what containers say while pods are being made, and writes down which of these run: with many pods, most
    /// of that is then done when the last is made. Whatever else there is waits until then, and so does what is said of
    /// a pod whose making is not known yet.
    fn hear_of_new_pods(&mut self, wakes: &Receiver<Wake>, said: &mut Vec<Said>) {
        for wake in wakes.try_iter() {
            match wake {
                Wake::Kernel(event @ Event::Container { .. }) if !self.must_wait(&event) => {
                    self.take_in(event, Timestamp::now(), said);
                }
                other => self.put_off.push(other),
            }
        }
        let snapshot = self.store.snapshot();
        let statuses = self.pod_statuses(&snapshot, Timestamp::now(), |state| !state.is_starting());
        self.write(&snapshot, statuses, Vec::new(), said);
    }

    fn must_wait(&self, event: &Event) -> bool {
        let Event::Container { pod_uid, .. } = event else { return true };
        let same_pod =
            |wake: &Wake| matches!(wake, Wake::Kernel(Event::Container { pod_uid: of, .. }) if of == pod_uid);
        self.put_off.iter().any(same_pod) || !self.pods.values().any(|state| state.uid == *pod_uid)
    }

    fn take_in(&mut self, event: Event, now: Timestamp, said: &mut Vec<Said>) {
        match event {
            Event::Container { pod_uid, container, attempt, at, what } => {
                let timings = self.timings();
                let found = self.pods.iter_mut().find(|(_, state)| state.uid == pod_uid);
                if let Some((key, state)) = found
                    && let Some(pod) = self.actual.pods.get(key).cloned()
                {
                    let orders = state.event(&pod, &timings, &container, attempt, at, &what);
                    let key = key.clone();
                    self.carry_out(&key, orders, now, said);
                }
            }
            Event::PodStopped { pod_uid } => {
                if let Some(state) = self.pods.values_mut().find(|state| state.uid == pod_uid) {
                    state.stopped = true;
                }
            }
            Event::NodeDown { node } => {
                self.actual.runtimes.remove(&node);
                self.actual.pods.retain(|_, pod| pod.node != node);
                self.planned = None;
            }
        }
    }

    /// Starts what is due.
    fn advance(&mut self, now: Timestamp, said: &mut Vec<Said>) {
        let mut all = Vec::new();
        for (key, state) in &mut self.pods {
            if let Some(pod) = self.actual.pods.get(key) {
                let orders = state.advance(pod, now);
                if !orders.is_empty() {
                    all.push((key.clone(), orders));
                }
            }
        }
        for (key, orders) in all {
            self.carry_out(&key, orders, now, said);
        }
    }

    fn carry_out(&mut self, key: &str, orders: Vec<Order>, now: Timestamp, said: &mut Vec<Said>) {
        let Some(pod) = self.actual.pods.get(key).cloned() else { return };
        for order in orders {
            match order {
                Order::Start { index, attempt } => {
                    let Some(container) = pod.containers.get(index) else { continue };
                    if let Err(error) = self.kernel.start_container(&pod, container, attempt) {
                        let what = crate::kernel::ContainerEvent::StartFailed { message: error.0 };
                        let timings = self.timings();
                        if let Some(state) = self.pods.get_mut(key) {
                            let more = state.event(&pod, &timings, &container.name, attempt, now, &what);
                            said.extend(more.into_iter().filter_map(|order| Said::of(key, order)));
                        }
                    }
                }
                say => said.extend(Said::of(key, say)),
            }
        }
    }

    /// Plans for the newest snapshot and makes what differs. Returns its resourceVersion.
    fn sync(&mut self, wakes: &Receiver<Wake>, said: &mut Vec<Said>) -> u64 {
        let snapshot = self.store.snapshot();
        let now = Timestamp::now();
        let retry = self.retry_at.is_some_and(|at| at <= now);
        if self.planned != Some(snapshot.resource_version()) || retry {
            self.planned = Some(snapshot.resource_version());
            self.retry_at = None;
            match self.planner.plan(&snapshot) {
                Ok(desired) => {
                    self.make(&desired, wakes, said);
                    self.remove_logs(&snapshot);
                }
                // The API refuses such a document; one that is there all the same is shown, and nothing changes.
                Err(error) => self.set_failed(vec![("the Lab document".to_string(), error.to_string())]),
            }
        }
        snapshot.resource_version()
    }

    /// Removes the logs of pods whose objects are gone. Those of pods that have only finished stay.
    fn remove_logs(&mut self, snapshot: &Snapshot) {
        let kernel = &self.kernel;
        self.logged.retain(|uid, (namespace, name)| {
            if snapshot.find(&kind::POD, namespace, name).is_some_and(|pod| pod.uid() == uid) {
                return true;
            }
            if let Err(error) = kernel.remove_logs(namespace, name, uid) {
                eprintln!("{error}");
            }
            false
        });
    }

    fn make(&mut self, desired: &Desired, wakes: &Receiver<Wake>, said: &mut Vec<Said>) {
        let before = self.actual.pods.clone();
        let steps = diff(&self.actual, desired);
        if steps.is_empty() {
            self.set_failed(Vec::new());
            return;
        }
        let kernel = self.kernel.clone();
        let starts = |step: &Step| match &step.action {
            Action::StartPod { key, .. } => Some(key.clone()),
            _ => None,
        };
        let starting: Vec<String> = steps.iter().filter_map(starts).collect();
        let heard_after = (starting.len() / HEARINGS).max(FEW_PODS);
        let known = starting.into_iter().filter_map(|key| self.pods.get_key_value(&key));
        let known: PodStates = known.map(|(key, state)| (key.clone(), state.clone())).collect();
        let (mut done, mut unheard) = (0, 0);
        let failed = apply::apply(kernel.as_ref(), &known, steps, &mut |made| {
            done += made.actions.len();
            unheard += made.started.len();
            self.keep(made, said);
            if unheard >= heard_after {
                unheard = 0;
                self.hear_of_new_pods(wakes, said);
            }
        });
        self.actual.lab.clone_from(&desired.lab);
        let wanted = &desired.pods;
        self.pods.retain(|key, state| wanted.get(key).is_some_and(|pod| pod.uid == state.uid));
        for (key, pod) in &self.actual.pods {
            let newly = pod.stopping.is_some() && before.get(key).is_none_or(|before| before.stopping.is_none());
            if let Some(state) = self.pods.get_mut(key).filter(|_| newly) {
                state.stopping = true;
                let names = pod.containers.iter().map(|c| format!("Stopping container {}", c.name));
                let say = |message| Said { key: key.clone(), warning: false, reason: "Killing", message };
                said.extend(names.map(say));
            }
        }
        if !failed.is_empty() {
            let wait = jiff::SignedDuration::try_from(RETRY).unwrap_or_default();
            self.retry_at = Timestamp::now().checked_add(wait).ok();
        }
        self.set_failed(failed.into_iter().map(|(step, error)| (step.action.to_string(), error.0)).collect());
        if done > 0 {
            self.note();
        }
    }

    /// Takes note of what was made.
    fn keep(&mut self, made: Made, said: &mut Vec<Said>) {
        for action in &made.actions {
            action.record(&mut self.actual);
        }
        for (key, (state, orders)) in made.started {
            said.extend(orders.into_iter().filter_map(|order| Said::of(&key, order)));
            if let Some(pod) = self.actual.pods.get(&key) {
                self.logged.insert(pod.uid.clone(), (pod.namespace.clone(), pod.name.clone()));
            }
            self.pods.insert(key, state);
        }
        for event in made.refused {
            self.take_in(event, Timestamp::now(), said);
        }
    }

    /// Writes down what the lab has. Written aside and renamed, so that it is always whole.
    fn note(&mut self) {
        // Never trusted, so never kept.
        let nat = std::mem::take(&mut self.actual.nat);
        let noted = serde_json::to_vec(&self.actual);
        self.actual.nat = nat;
        let aside = self.record.with_extension("new");
        let written = noted
            .map_err(std::io::Error::from)
            .and_then(|bytes| std::fs::write(&aside, bytes))
            .and_then(|()| std::fs::rename(&aside, &self.record));
        if let Err(error) = written {
            eprintln!("note what the lab has in {}: {error}", self.record.display());
        }
    }

    /// Brings the objects' status up to what is known, and says what there is to say.
    fn write_status(&mut self, said: &mut Vec<Said>) {
        let (snapshot, now) = (self.store.snapshot(), Timestamp::now());
        let statuses = self.pod_statuses(&snapshot, now, |_| true);
        self.written.retain(|key, _| self.pods.contains_key(key));
        let mut others = Vec::new();
        for object in snapshot.list(&kind::POD).filter(|object| object.is_terminating()) {
            let bound = object.str_at(&["spec", "nodeName"]).is_some_and(|node| !node.is_empty());
            let key = format!("{}/{}", object.namespace(), object.name());
            let has_it = self.actual.pods.get(&key).is_some_and(|pod| pod.uid == object.uid());
            let stopped = self.pods.get(&key).is_some_and(|state| state.stopped && state.uid == object.uid());
            if bound && (!has_it || stopped) {
                others.push(Write::Delete(Delete {
                    key: Key::new(&kind::POD, object.namespace(), object.name()),
                    uid: Some(object.uid().to_string()),
                    grace_seconds: Some(0),
                    propagation: Propagation::Background,
                }));
            }
        }
        for object in snapshot.list(&kind::NODE) {
            let up = self.actual.runtimes.contains_key(object.name());
            let status = status::node_status(object, up, &self.facts, now);
            others.extend(status_write(object, status));
        }
        self.write(&snapshot, statuses, others, said);
    }

    /// The statuses to write of the pods that are `wanted`, and what each is made of.
    fn pod_statuses(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
        wanted: impl Fn(&PodState) -> bool,
    ) -> Vec<(Write, String, StatusInputs)> {
        let mut statuses = Vec::new();
        for (key, state) in self.pods.iter().filter(|(_, state)| wanted(state)) {
            let Some(pod) = self.actual.pods.get(key) else { continue };
            let Some(object) = snapshot.find(&kind::POD, &pod.namespace, &pod.name).filter(|o| o.uid() == pod.uid)
            else {
                continue;
            };
            if object.is_terminating() && state.stopped {
                continue;
            }
            let from = StatusInputs {
                version: object.resource_version(),
                state: state.clone(),
                pod: pod.clone(),
                host_ips: node_addresses(snapshot, &pod.node),
            };
            if self.written.get(key) == Some(&from) {
                continue;
            }
            let status = status::pod_status(object, pod, state, &from.host_ips, now);
            match status_write(object, status) {
                Some(write) => statuses.push((write, key.clone(), from)),
                None => drop(self.written.insert(key.clone(), from)),
            }
        }
        statuses
    }

    /// All in one commit: each is a round for the controllers, and a plan.
    fn write(
        &mut self,
        snapshot: &Snapshot,
        statuses: Vec<(Write, String, StatusInputs)>,
        others: Vec<Write>,
        said: &mut Vec<Said>,
    ) {
        let (mut writes, made_of): (Vec<Write>, Vec<_>) =
            statuses.into_iter().map(|(write, key, from)| (write, (key, from))).unzip();
        writes.extend(others);
        writes.extend(events_of(snapshot, std::mem::take(said)));
        // The statuses come first.
        for ((key, from), result) in made_of.into_iter().zip(self.commit(writes)) {
            if let Ok(written) = result {
                self.written.insert(key, StatusInputs { version: written.object.resource_version(), ..from });
            }
        }
    }

    fn commit(&self, writes: Vec<Write>) -> Vec<Result<Written, WriteError>> {
        if writes.is_empty() {
            return Vec::new();
        }
        let results = self.store.commit(writes);
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            if !matches!(error, WriteError::NotFound { .. } | WriteError::Conflict { .. }) {
                eprintln!("write status: {error}");
            }
        }
        results
    }

    fn timings(&self) -> Timings {
        plan::lab_of(&self.store.snapshot()).map(|(lab, _)| lab.timings).unwrap_or_default()
    }

    fn set_failed(&self, failed: Vec<(String, String)>) {
        self.lock_progress().failed = failed;
    }

    fn lock_progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that a pod's status is made of.
#[derive(PartialEq)]
struct StatusInputs {
    /// The object's resourceVersion.
    version: u64,
    state: PodState,
    pod: Arc<Pod>,
    host_ips: Vec<String>,
}

/// Something to be said of a pod in an Event.
struct Said {
    key: String,
    warning: bool,
    reason: &'static str,
    message: String,
}

impl Said {
    fn of(key: &str, order: Order) -> Option<Said> {
        match order {
            Order::Say { warning, reason, message } => Some(Said { key: key.to_string(), warning, reason, message }),
            Order::Start { .. } => None,
        }
    }
}

fn events_of(snapshot: &Snapshot, said: Vec<Said>) -> Vec<Write> {
    if said.is_empty() {
        return Vec::new();
    }
    let occurrence = |said: Said| {
        let (namespace, name) = said.key.split_once('/')?;
        let about = snapshot.find(&kind::POD, namespace, name)?;
        let event_type = if said.warning { EventType::Warning } else { EventType::Normal };
        let occurrence = Occurrence::new("kubelet", about, event_type, said.reason, said.message);
        Some(occurrence.on(about.str_at(&["spec", "nodeName"]).unwrap_or_default()))
    };
    let occurrences = said.into_iter().filter_map(occurrence).collect();
    events::record(snapshot, &mut control::Context::new(Timestamp::now()), occurrences)
}

fn node_addresses(snapshot: &Snapshot, node: &str) -> Vec<String> {
    let node = snapshot.find(&kind::NODE, "", node);
    let addresses = node.and_then(|node| node.at(&["status", "addresses"])).and_then(Value::as_array);
    let internal = addresses.into_iter().flatten().filter(|a| a["type"] == "InternalIP");
    internal.filter_map(|a| a["address"].as_str().map(str::to_string)).collect()
}

/// The write that gives `object` this status; none when it has it already.
fn status_write(object: &Arc<Object>, status: Value) -> Option<Write> {
    if object.at(&["status"]) == Some(&status) {
        return None;
    }
    let mut changed = (**object).clone();
    changed.json_mut().insert("status".into(), status);
    // Another writer's change of the rest must not stop this one.
    changed.metadata_mut().remove("resourceVersion");
    Some(Write::Update(changed, Part::Status))
}

#[cfg(test)]
mod tests;
