//! The writes of one commit, which become part of the store together or not at all.

use std::sync::Arc;

use super::commit::set;
use super::watch::{EventType, Made};
use super::{State, WriteError};
use crate::object::{Key, KindRef, Object, Objects, kind};

/// Changes the state as it goes, and changes it back when it is dropped before [`Batch::keep`] has made them durable.
pub(super) struct Batch<'a> {
    state: &'a mut State,
    events: Vec<Made>,
    version_before: u64,
}

impl<'a> Batch<'a> {
    pub fn new(state: &'a mut State) -> Self {
        let version_before = state.resource_version;
        Batch { state, events: Vec::new(), version_before }
    }

    /// As the writes so far have left them.
    pub fn objects(&self) -> &Objects {
        &self.state.objects
    }

    pub fn put(
        &mut self,
        key: Key,
        mut object: Object,
        event_type: EventType,
        before: Option<Arc<Object>>,
    ) -> Arc<Object> {
        let resource_version = self.next_version(&mut object);
        let object = Arc::new(object);
        Arc::make_mut(&mut self.state.objects).insert(key.clone(), object.clone());
        self.events.push(Made { resource_version, event_type, key, object: object.clone(), before });
        object
    }

    /// Takes the object away; returns how it last was, with the resourceVersion of its end.
    pub fn remove(&mut self, key: Key, mut object: Object, stored: &Arc<Object>) -> Arc<Object> {
        let resource_version = self.next_version(&mut object);
        let object = Arc::new(object);
        Arc::make_mut(&mut self.state.objects).remove(&key);
        let (event_type, before) = (EventType::Deleted, Some(stored.clone()));
        self.events.push(Made { resource_version, event_type, key, object: object.clone(), before });
        object
    }

    fn next_version(&mut self, object: &mut Object) -> u64 {
        self.state.resource_version += 1;
        set(object, "resourceVersion", Some(self.state.resource_version.to_string().into()));
        self.state.resource_version
    }

    /// Writes the changes to the log, then shows them to watchers. After an error nothing of the batch has happened.
    pub fn keep(mut self) -> Result<(), WriteError> {
        if self.events.is_empty() {
            return Ok(());
        }
        if let Some(log) = &mut self.state.log {
            log.append(self.version_before, &self.events).map_err(|error| WriteError::Storage(error.to_string()))?;
        }
        for mut event in std::mem::take(&mut self.events) {
            if rests(event.key.kind) && event.event_type != EventType::Deleted {
                event.object = Arc::new(event.object.at_rest());
                // Unless a later write of the batch has replaced it, or taken it away.
                let objects = Arc::make_mut(&mut self.state.objects);
                let stored = objects.get_mut(&event.key);
                if let Some(stored) = stored.filter(|o| o.resource_version() == event.resource_version) {
                    stored.clone_from(&event.object);
                }
            }
            self.state.history.push(event);
        }
        Ok(())
    }
}

/// There are many of these, and they are seldom looked at: they are kept as text.
pub(super) fn rests(kind: KindRef) -> bool {
    *kind == kind::EVENT
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let objects = Arc::make_mut(&mut self.state.objects);
        for event in self.events.drain(..).rev() {
            match event.before {
                Some(before) => objects.insert(event.key, before),
                None => objects.remove(&event.key),
            };
        }
        self.state.resource_version = self.version_before;
    }
}
