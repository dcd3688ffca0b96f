//! The lab's objects: compare-and-swap on `resourceVersion`, list, watch, and a log on disk.
//!
//! The store knows nothing of what objects mean beyond what every Kubernetes API server does for every kind: it stamps
//! `uid`, `creationTimestamp`, `generation` and `resourceVersion`, and turns a delete into a mark where finalizers or a
//! pod's grace period ask for that, or where a namespace may still have content. Admission (defaults, validation,
//! address allocation) happens before it, in `api`.

mod batch;
mod commit;
mod frame;
mod keeper;
mod log;
mod recover;
#[cfg(test)]
mod tests;
mod watch;

pub use keeper::FLUSH_AFTER;
pub use log::OpenError;
pub use watch::{Event, EventType, Gone, Version};

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::object::{Key, Object, Objects, Snapshot, Write};

/// Shared by the API, the controllers and the agent; all methods take `&self`.
pub struct Store {
    shared: Arc<Shared>,
    /// `None` for a store in memory.
    _keeper: Option<keeper::Keeper>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes threads in [`Store::wait_past`].
    changed: Condvar,
    /// Wakes the keeper.
    unflushed: Condvar,
    /// Wakes tasks: the last resourceVersion.
    version: tokio::sync::watch::Sender<u64>,
}

struct State {
    objects: Arc<Objects>,
    resource_version: u64,
    history: watch::History,
    /// `None` for a store in memory.
    log: Option<log::Log>,
    /// The store is being dropped.
    closing: bool,
}

/// Why a write was not made. The texts are the API server's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("{resource} \"{name}\" already exists")]
    AlreadyExists { resource: String, name: String },
    #[error("{resource} \"{name}\" not found")]
    NotFound { resource: String, name: String },
    #[error(
        "Operation cannot be fulfilled on {resource} \"{name}\": the object has been modified; please apply your \
         changes to the latest version and try again"
    )]
    Conflict { resource: String, name: String },
    /// The uid asked for is not the stored object's.
    #[error(
        "Operation cannot be fulfilled on {resource} \"{name}\": Precondition failed: UID in precondition: {wanted}, \
         UID in object meta: {found}"
    )]
    Precondition { resource: String, name: String, wanted: String, found: String },
    /// The object has no kind that the lab knows, or no name.
    #[error("{0}")]
    Invalid(String),
    #[error("the store cannot be written: {0}")]
    Storage(String),
}

/// What a write came to.
#[derive(Debug, Clone)]
pub struct Written {
    /// As it is now, or as it was before it was taken away.
    pub object: Arc<Object>,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Changed,
    /// The write said what was there already.
    Unchanged,
    /// A deletion that waits for finalizers or for the pod to end.
    Terminating,
    Deleted,
}

impl Store {
    /// A store that forgets everything when it is dropped: for `lab plan` and tests.
    pub fn in_memory() -> Self {
        Store { shared: Arc::new(Shared::new(Objects::default(), 0, None)), _keeper: None }
    }

    /// As [`Store::in_memory`], with objects that another store has, as they are there.
    pub fn with_objects(objects: impl IntoIterator<Item = Arc<Object>>) -> Self {
        let objects: Objects = objects.into_iter().filter_map(|o| Some((o.key()?, o))).collect();
        let version = objects.values().map(|object| object.resource_version()).max().unwrap_or(0);
        Store { shared: Arc::new(Shared::new(objects, version, None)), _keeper: None }
    }

    /// The store whose files are in `dir`, which is made when it is missing. Only one process can have it open.
    ///
    /// What `commit` has acknowledged survives the end of the process at any moment; see [`FLUSH_AFTER`] for a loss of
    /// power. Changes from before are not in the history: a watch from then on is told [`Gone`].
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let lock = log::lock(dir)?;
        let recovered = recover::recover(dir)?;
        let log = log::Log::resume(dir, lock, recovered.found)?;
        let shared = Arc::new(Shared::new(recovered.objects, recovered.version, Some(log)));
        let keeper = keeper::Keeper::start(shared.clone()).map_err(|source| OpenError::Io {
            action: "start a thread for",
            path: dir.to_path_buf(),
            source,
        })?;
        Ok(Store { shared, _keeper: Some(keeper) })
    }

    /// All objects as they are now. Cheap: nothing is copied until the next write.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.lock();
        Snapshot::new(state.objects.clone(), state.resource_version)
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.shared.lock().objects.get(key).cloned()
    }

    /// Makes the writes in their order, as one entry of the log. Each succeeds or fails by itself, but for
    /// [`WriteError::Storage`], after which none of them has happened.
    pub fn commit(&self, writes: Vec<Write>) -> Vec<Result<Written, WriteError>> {
        let mut state = self.shared.lock();
        let before = state.resource_version;
        let was_flushed = state.log.as_ref().is_some_and(|log| !log.unflushed);
        let mut batch = batch::Batch::new(&mut state);
        let results: Vec<_> = writes.into_iter().map(|write| commit::make(&mut batch, write)).collect();
        if let Err(error) = batch.keep() {
            return results.iter().map(|_| Err(error.clone())).collect();
        }
        let after = state.resource_version;
        drop(state);
        if after != before {
            self.shared.changed.notify_all();
            if was_flushed {
                self.shared.unflushed.notify_all();
            }
            self.shared.version.send_replace(after);
        }
        results
    }

    /// Makes one write.
    pub fn write(&self, write: Write) -> Result<Written, WriteError> {
        let nothing = || Err(WriteError::Storage("no result for the write".into()));
        self.commit(vec![write]).pop().unwrap_or_else(nothing)
    }

    /// Every change after `resource_version`, oldest first; [`Gone`] when the history does not reach back that far.
    pub fn events_since(&self, resource_version: u64) -> Result<Vec<Event>, Gone> {
        let state = self.shared.lock();
        state.history.since(resource_version, state.resource_version)
    }

    /// Forgets changes that are older than `age`; who asks for them is told [`Gone`]. Returns how many were forgotten.
    pub fn forget_history(&self, age: Duration) -> usize {
        let then = Instant::now().checked_sub(age);
        then.map_or(0, |then| self.shared.lock().history.forget_before(then))
    }

    /// Lets what is kept as text, and has been read, be text alone again. Returns how many objects that were.
    pub fn rest(&self) -> usize {
        let mut state = self.shared.lock();
        let disturbed = state.objects.iter().filter(|(_, object)| object.is_disturbed());
        let disturbed: Vec<(Key, Arc<Object>)> = disturbed.map(|(key, object)| (key.clone(), object.clone())).collect();
        for (key, object) in &disturbed {
            if let Some(stored) = Arc::make_mut(&mut state.objects).get_mut(key) {
                *stored = Arc::new(object.at_rest());
            }
        }
        disturbed.len()
    }

    /// Changes whenever something is written; holds the last resourceVersion.
    pub fn version(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Blocks a thread until something newer than `resource_version` is there, or for `timeout`. Returns the last
    /// resourceVersion.
    pub fn wait_past(&self, resource_version: u64, timeout: Duration) -> u64 {
        let until = Instant::now() + timeout;
        let mut state = self.shared.lock();
        while state.resource_version <= resource_version {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.resource_version
    }
}

impl Shared {
    fn new(objects: Objects, resource_version: u64, log: Option<log::Log>) -> Self {
        let history = watch::History::starting_at(resource_version);
        let state = State { objects: Arc::new(objects), resource_version, history, log, closing: false };
        Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            unflushed: Condvar::new(),
            version: tokio::sync::watch::channel(resource_version).0,
        }
    }

    /// A panic while the lock was held leaves a whole state behind: a batch that is not kept undoes itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
