//! What one write does to the objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::batch::Batch;
use super::watch::EventType;
use super::{Outcome, WriteError, Written};
use crate::object::kind::{self, KindRef};
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Key, Object, Write, custom, map_at_mut, time_text};

pub(super) fn make(batch: &mut Batch<'_>, write: Write) -> Result<Written, WriteError> {
    match write {
        Write::Create(object) => create(batch, object),
        Write::Update(object, part) => update(batch, object, part),
        Write::Delete(delete) => self::delete(batch, delete),
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

fn create(batch: &mut Batch<'_>, mut object: Object) -> Result<Written, WriteError> {
    let key = key_of(&object)?;
    if batch.objects().contains_key(&key) {
        return Err(WriteError::AlreadyExists { resource: key.kind.resource(), name: key.name });
    }
    let has_generation =
        key.kind.custom.is_some() || (counts_generations(key.kind) && object.json().contains_key("spec"));
    let metadata = object.metadata_mut();
    metadata.insert("uid".into(), new_uid().into());
    metadata.insert("creationTimestamp".into(), now().into());
    metadata.remove("deletionTimestamp");
    metadata.remove("deletionGracePeriodSeconds");
    metadata.remove("generation");
    if has_generation {
        metadata.insert("generation".into(), 1.into());
    }
    if *key.kind == kind::NAMESPACE {
        let spec = map_at_mut(object.json_mut(), "spec");
        spec.entry("finalizers").or_insert_with(|| json!(["kubernetes"]));
        map_at_mut(object.json_mut(), "status").insert("phase".into(), "Active".into());
    }
    let object = batch.put(key, object, EventType::Added, None);
    Ok(Written { object, outcome: Outcome::Created })
}

fn update(batch: &mut Batch<'_>, mut object: Object, part: Part) -> Result<Written, WriteError> {
    let key = key_of(&object)?;
    let stored = batch.objects().get(&key).ok_or_else(|| not_found(&key))?.clone();
    let expected = object.resource_version();
    if expected != 0 && expected != stored.resource_version() {
        return Err(WriteError::Conflict { resource: key.kind.resource(), name: key.name });
    }
    if !object.uid().is_empty() && object.uid() != stored.uid() {
        return Err(precondition(&key, object.uid(), &stored));
    }
    match part {
        Part::All => {}
        // Without the subresource, a custom object's status is a field like any other.
        Part::Spec if key.kind.custom.as_ref().is_some_and(|custom| !custom.status) => {}
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
    if counts_generations(key.kind) && asks_for_other(key.kind, &object, &stored) {
        set(&mut object, "generation", Some((stored.generation() + 1).into()));
    }
    if stored.is_terminating() && !is_held(&object) && !waits_for_its_containers(&object) {
        return Ok(remove(batch, key, object, &stored));
    }
    let object = batch.put(key, object, EventType::Modified, Some(stored));
    Ok(Written { object, outcome: Outcome::Changed })
}

fn delete(batch: &mut Batch<'_>, delete: Delete) -> Result<Written, WriteError> {
    let key = delete.key;
    let stored = batch.objects().get(&key).ok_or_else(|| not_found(&key))?.clone();
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
    if grace == 0 && !is_held(&object) {
        return Ok(remove(batch, key, object, &stored));
    }
    if !stored.is_terminating() {
        let when = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(grace);
        set(&mut object, "deletionTimestamp", Some(time_text(when).into()));
    }
    set(&mut object, "deletionGracePeriodSeconds", Some(grace.into()));
    if *key.kind == kind::NAMESPACE {
        map_at_mut(object.json_mut(), "status").insert("phase".into(), "Terminating".into());
    }
    if object == *stored {
        return Ok(Written { object: stored, outcome: Outcome::Terminating });
    }
    if counts_generations(key.kind) && !stored.is_terminating() {
        set(&mut object, "generation", Some((stored.generation() + 1).into()));
    }
    let object = batch.put(key, object, EventType::Modified, Some(stored));
    Ok(Written { object, outcome: Outcome::Terminating })
}

/// Something has to be done before the object may vanish: it has finalizers, or is a namespace that may have content.
fn is_held(object: &Object) -> bool {
    let of_namespace = || {
        let is_namespace = object.kind().is_some_and(|k| *k == kind::NAMESPACE);
        let list = object.at(&["spec", "finalizers"]).and_then(Value::as_array);
        is_namespace && list.is_some_and(|list| !list.is_empty())
    };
    object.finalizers().next().is_some() || of_namespace()
}

/// Takes an object away; with a definition, all objects of its kind: what nothing defines could not be read again.
fn remove(batch: &mut Batch<'_>, key: Key, object: Object, stored: &Arc<Object>) -> Written {
    let of_kind = match custom::kinds_of(stored).first() {
        Some(kind)
            if *key.kind == kind::CUSTOM_RESOURCE_DEFINITION
                && kind::by_resource(kind.group, kind.plural).is_none() =>
        {
            let range = batch.objects().from(&Key::new(kind, "", ""));
            let of_kind = range.take_while(|(key, _)| key.kind == *kind);
            of_kind.map(|(key, object)| (key.clone(), object.clone())).collect()
        }
        _ => Vec::new(),
    };
    for (key, object) in of_kind {
        batch.remove(key, (*object).clone(), &object);
    }
    Written { object: batch.remove(key, object, stored), outcome: Outcome::Deleted }
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

/// Gives `object` the `field` of `from`, or takes it away where that has none.
fn carry(object: &mut Object, from: &Object, field: &str) {
    match from.json().get(field) {
        Some(value) => object.json_mut().insert(field.into(), value.clone()),
        None => object.json_mut().remove(field),
    };
}

pub(super) fn set(object: &mut Object, field: &str, value: Option<Value>) {
    let metadata = object.metadata_mut();
    match value {
        Some(value) => metadata.insert(field.into(), value),
        None => metadata.remove(field),
    };
}

/// Do two states of an object differ in what they ask for?
fn asks_for_other(kind: KindRef, new: &Object, old: &Object) -> bool {
    let Some(custom) = &kind.custom else { return new.json().get("spec") != old.json().get("spec") };
    let asks = |field: &str| match field {
        "metadata" | "apiVersion" => false,
        "status" => !custom.status,
        _ => true,
    };
    let fields = |object: &'_ Object| object.json().keys().filter(|field| asks(field)).count();
    let same = |(field, value): (&String, &Value)| !asks(field) || old.json().get(field) == Some(value);
    fields(new) != fields(old) || !new.json().iter().all(same)
}

/// The core group's kinds have no generation that anybody reads.
fn counts_generations(kind: KindRef) -> bool {
    !kind.group.is_empty()
}

fn now() -> String {
    time_text(jiff::Timestamp::now())
}

/// A random (version 4) UUID.
fn new_uid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
