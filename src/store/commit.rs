//! What one write does to the objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::watch::{Event, EventType};
use super::{Outcome, State, WriteError, Written};
use crate::object::kind::{self, KindRef};
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Key, Object, Write};

pub(super) fn make(state: &mut State, write: Write) -> Result<Written, WriteError> {
    match write {
        Write::Create(object) => create(state, object),
        Write::Update(object, part) => update(state, object, part),
        Write::Delete(delete) => self::delete(state, delete),
    }
}

fn key_of(object: &Object) -> Result<Key, WriteError> {
    let key = object.key().ok_or_else(|| {
        WriteError::Invalid(format!(
            "no matches for kind \"{}\" in version \"{}\"",
            object.kind_name(),
            object.api_version()
        ))
    })?;
    if key.name.is_empty() {
        return Err(WriteError::Invalid(format!("{}: metadata.name is empty", key.kind.kind)));
    }
    Ok(key)
}

fn not_found(key: &Key) -> WriteError {
    WriteError::NotFound { resource: key.kind.resource(), name: key.name.clone() }
}

fn create(state: &mut State, mut object: Object) -> Result<Written, WriteError> {
    let key = key_of(&object)?;
    if state.objects.contains_key(&key) {
        return Err(WriteError::AlreadyExists { resource: key.kind.resource(), name: key.name });
    }
    let has_generation = counts_generations(key.kind) && object.json().contains_key("spec");
    let metadata = object.metadata_mut();
    metadata.insert("uid".into(), new_uid().into());
    metadata.insert("creationTimestamp".into(), now().into());
    metadata.remove("deletionTimestamp");
    metadata.remove("deletionGracePeriodSeconds");
    metadata.remove("generation");
    if has_generation {
        metadata.insert("generation".into(), 1.into());
    }
    let object = put(state, key, object, EventType::Added, None);
    Ok(Written { object, outcome: Outcome::Created })
}

fn update(state: &mut State, mut object: Object, part: Part) -> Result<Written, WriteError> {
    let key = key_of(&object)?;
    let stored = state.objects.get(&key).ok_or_else(|| not_found(&key))?.clone();
    let expected = object.resource_version();
    if expected != 0 && expected != stored.resource_version() {
        return Err(WriteError::Conflict { resource: key.kind.resource(), name: key.name });
    }
    if !object.uid().is_empty() && object.uid() != stored.uid() {
        return Err(precondition(&key, object.uid(), &stored));
    }
    match part {
        Part::All => {}
        Part::Spec => carry(&mut object, &stored, "status"),
        Part::Status => {
            let mut whole = (*stored).clone();
            carry(&mut whole, &object, "status");
            object = whole;
        }
    }
    // What the store alone decides stays as it is.
    for field in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let value = stored.metadata().and_then(|m| m.get(field)).cloned();
        set(&mut object, field, value);
    }
    set(&mut object, "resourceVersion", stored.metadata().and_then(|m| m.get("resourceVersion")).cloned());
    if object == *stored {
        return Ok(Written { object: stored, outcome: Outcome::Unchanged });
    }
    if counts_generations(key.kind) && object.json().get("spec") != stored.json().get("spec") {
        set(&mut object, "generation", Some((stored.generation() + 1).into()));
    }
    if stored.is_terminating() && object.finalizers().next().is_none() && !waits_for_its_containers(&object) {
        return Ok(remove(state, key, object, &stored));
    }
    let object = put(state, key, object, EventType::Modified, Some(stored));
    Ok(Written { object, outcome: Outcome::Changed })
}

fn delete(state: &mut State, delete: Delete) -> Result<Written, WriteError> {
    let key = delete.key;
    let stored = state.objects.get(&key).ok_or_else(|| not_found(&key))?.clone();
    if let Some(uid) = &delete.uid
        && uid != stored.uid()
    {
        return Err(precondition(&key, uid, &stored));
    }
    let mut object = (*stored).clone();
    let finalizer = match delete.propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some("foregroundDeletion"),
        Propagation::Orphan => Some("orphan"),
    };
    if let Some(finalizer) = finalizer
        && !stored.finalizers().any(|f| f == finalizer)
    {
        let list = object.metadata_mut().entry("finalizers").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(finalizer.into());
        }
    }
    let grace = match key.kind {
        k if *k == kind::POD && is_bound(&stored) && !is_finished(&stored) => {
            let own = stored.i64_at(&["spec", "terminationGracePeriodSeconds"]).unwrap_or(30);
            let asked = delete.grace_seconds.unwrap_or(own).max(0);
            // A second delete may shorten the grace, never lengthen it.
            match stored.i64_at(&["metadata", "deletionGracePeriodSeconds"]) {
                Some(before) => asked.min(before),
                None => asked,
            }
        }
        _ => 0,
    };
    if grace == 0 && object.finalizers().next().is_none() {
        return Ok(remove(state, key, object, &stored));
    }
    if !stored.is_terminating() {
        let when = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace);
        set(&mut object, "deletionTimestamp", Some(rfc3339(when).into()));
    }
    set(&mut object, "deletionGracePeriodSeconds", Some(grace.into()));
    if object == *stored {
        return Ok(Written { object: stored, outcome: Outcome::Terminating });
    }
    if counts_generations(key.kind) && !stored.is_terminating() {
        set(&mut object, "generation", Some((stored.generation() + 1).into()));
    }
    let object = put(state, key, object, EventType::Modified, Some(stored));
    Ok(Written { object, outcome: Outcome::Terminating })
}

/// A pod that is bound to a node and marked for deletion stays until the node's agent deletes it with no grace.
fn waits_for_its_containers(object: &Object) -> bool {
    let is_pod = object.kind().is_some_and(|k| *k == kind::POD);
    is_pod && object.i64_at(&["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) > 0
}

fn is_bound(pod: &Object) -> bool {
    pod.str_at(&["spec", "nodeName"]).is_some_and(|node| !node.is_empty())
}

fn is_finished(pod: &Object) -> bool {
    matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

fn precondition(key: &Key, wanted: &str, stored: &Object) -> WriteError {
    WriteError::Precondition {
        resource: key.kind.resource(),
        name: key.name.clone(),
        wanted: wanted.to_string(),
        found: stored.uid().to_string(),
    }
}

fn put(
    state: &mut State,
    key: Key,
    mut object: Object,
    event_type: EventType,
    before: Option<Arc<Object>>,
) -> Arc<Object> {
    let resource_version = next_version(state, &mut object);
    let object = Arc::new(object);
    Arc::make_mut(&mut state.objects).insert(key.clone(), object.clone());
    state.history.push(Event { resource_version, event_type, key, object: object.clone(), before });
    object
}

fn remove(state: &mut State, key: Key, mut object: Object, stored: &Arc<Object>) -> Written {
    let resource_version = next_version(state, &mut object);
    let object = Arc::new(object);
    Arc::make_mut(&mut state.objects).remove(&key);
    let (event_type, before) = (EventType::Deleted, Some(stored.clone()));
    state.history.push(Event { resource_version, event_type, key, object: object.clone(), before });
    Written { object, outcome: Outcome::Deleted }
}

fn next_version(state: &mut State, object: &mut Object) -> u64 {
    state.resource_version += 1;
    set(object, "resourceVersion", Some(state.resource_version.to_string().into()));
    state.resource_version
}

/// Gives `object` the `field` of `from`, or takes it away where that has none.
fn carry(object: &mut Object, from: &Object, field: &str) {
    match from.json().get(field) {
        Some(value) => object.json_mut().insert(field.into(), value.clone()),
        None => object.json_mut().remove(field),
    };
}

fn set(object: &mut Object, field: &str, value: Option<Value>) {
    let metadata = object.metadata_mut();
    match value {
        Some(value) => metadata.insert(field.into(), value),
        None => metadata.remove(field),
    };
}

/// The core group's kinds have no generation that anybody reads.
fn counts_generations(kind: KindRef) -> bool {
    !kind.group.is_empty()
}

fn now() -> String {
    rfc3339(jiff::Timestamp::now())
}

/// Kubernetes' own precision: whole seconds.
fn rfc3339(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A random (version 4) UUID.
fn new_uid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
