//! The last changes, so that a watcher that was away for a moment misses none.
//!
//! Each holds its object as it was before and as it was after. What is not the object's latest version any more is kept
//! as JSON text, once: a tenth of what it takes as a value. Of all that, a certain number of bytes is kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::object::{Key, KindRef, Object};

/// A change as a watcher sees it.
#[derive(Debug, Clone)]
pub struct Event {
    pub resource_version: u64,
    pub event_type: EventType,
    pub key: Key,
    /// For a deletion: the object as it last was, with the deletion's resourceVersion.
    pub object: Version,
    /// As it was before, so that a watch with a selector can tell when an object enters or leaves it.
    pub before: Option<Version>,
}

/// A version of an object.
#[derive(Debug, Clone)]
pub enum Version {
    /// The latest, as the store has it.
    Whole(Arc<Object>),
    /// Its text, and its kind.
    Text(Arc<[u8]>, KindRef),
}

impl Version {
    /// Costs reading the JSON of one that is not the latest.
    pub fn object(&self) -> Arc<Object> {
        match self {
            Version::Whole(object) => object.clone(),
            // It was written from such a value.
            Version::Text(text, kind) => Arc::new(Object::from_text(text).of(kind)),
        }
    }

    fn text_of(object: &Object, kind: KindRef) -> Self {
        let text = || {
            let mut text = Vec::new();
            object.write(&mut text).ok()?;
            Some(text.into())
        };
        Version::Text(object.text().cloned().or_else(text).unwrap_or_default(), kind)
    }

    fn bytes(&self) -> usize {
        match self {
            Version::Whole(_) => 0,
            Version::Text(text, _) => text.len(),
        }
    }
}

/// A change as it is made.
pub(super) struct Made {
    pub resource_version: u64,
    pub event_type: EventType,
    pub key: Key,
    pub object: Arc<Object>,
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

/// How many changes are kept, and how many bytes of texts.
const KEPT: usize = 20_000;
const KEPT_BYTES: usize = 4 << 20;

#[derive(Default)]
pub(super) struct History {
    events: VecDeque<(Instant, Event)>,
    /// Those of the versions before.
    bytes: usize,
    /// The resourceVersion of the last change that is no longer kept.
    forgotten: u64,
}

impl History {
    /// A history that begins after `resource_version`.
    pub fn starting_at(resource_version: u64) -> Self {
        History { forgotten: resource_version, ..History::default() }
    }

    pub fn push(&mut self, made: Made) {
        let Made { resource_version, event_type, key, object, before } = made;
        let before = before.map(|before| {
            let text = Version::text_of(&before, key.kind);
            self.bytes += text.bytes();
            // The change that made it has it, too.
            if let Some(earlier) = self.at(before.resource_version()) {
                earlier.object = text.clone();
            }
            text
        });
        let object = match event_type {
            EventType::Added | EventType::Modified if object.text().is_none() => Version::Whole(object),
            _ => Version::text_of(&object, key.kind),
        };
        self.events.push_back((Instant::now(), Event { resource_version, event_type, key, object, before }));
        while self.events.len() > KEPT || self.bytes > KEPT_BYTES {
            self.forget_oldest();
        }
    }

    fn at(&mut self, resource_version: u64) -> Option<&mut Event> {
        let at = self.events.binary_search_by_key(&resource_version, |(_, event)| event.resource_version).ok()?;
        self.events.get_mut(at).map(|(_, event)| event)
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
            self.bytes -= oldest.before.map_or(0, |before| before.bytes());
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
