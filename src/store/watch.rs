//! The last changes, so that a watcher that was away for a moment misses none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::object::{Key, Object};

#[derive(Debug, Clone)]
pub struct Event {
    pub resource_version: u64,
    pub event_type: EventType,
    pub key: Key,
    /// For a deletion: the object as it last was, with the deletion's resourceVersion.
    pub object: Arc<Object>,
    /// As it was before, so that a watch with a selector can tell when an object enters or leaves it.
    pub before: Option<Arc<Object>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Added,
    Modified,
    Deleted,
}

/// The history no longer has what was asked for: list again (HTTP 410).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Gone {
    pub asked: u64,
    pub oldest: u64,
}

/// How many changes are kept.
const KEPT: usize = 20_000;

#[derive(Default)]
pub(super) struct History {
    events: VecDeque<(Instant, Event)>,
    /// The resourceVersion of the last change that is no longer kept.
    forgotten: u64,
}

impl History {
    /// A history that begins after `resource_version`.
    pub fn starting_at(resource_version: u64) -> Self {
        History { events: VecDeque::new(), forgotten: resource_version }
    }

    pub fn push(&mut self, event: Event) {
        if self.events.len() == KEPT {
            self.forget_oldest();
        }
        self.events.push_back((Instant::now(), event));
    }

    /// Forgets what happened before `then`. Returns how much it was.
    pub fn forget_before(&mut self, then: Instant) -> usize {
        let before = self.events.len();
        while self.events.front().is_some_and(|(at, _)| *at < then) {
            self.forget_oldest();
        }
        before - self.events.len()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.events.pop_front() {
            self.forgotten = oldest.resource_version;
        }
    }

    pub fn since(&self, asked: u64, last: u64) -> Result<Vec<Event>, Gone> {
        if asked < self.forgotten || asked > last {
            return Err(Gone { asked, oldest: self.forgotten + 1 });
        }
        let from = self.events.partition_point(|(_, event)| event.resource_version <= asked);
        Ok(self.events.range(from..).map(|(_, event)| event.clone()).collect())
    }
}
