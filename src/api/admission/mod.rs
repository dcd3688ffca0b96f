//! What may be written, and what is filled in before it is: names, namespaces, defaults, addresses, ports.
//!
//! Pure functions of a snapshot: `lab plan` uses them too. Whoever commits what they return must see to it that
//! nothing else is admitted in between, for two objects admitted over one snapshot may be given the same address.

mod create;
mod custom;
mod families;
pub mod names;
pub(super) mod plug;
mod service;
mod used;

pub use used::Used;

use rand::Rng;

use super::status::{ApiError, Cause};
use crate::object::custom::settled;
use crate::object::kind::{self, KindRef};
use crate::object::{Object, Snapshot, map_at_mut, service_account};

/// Why an object may not be written, in the API server's words.
pub type AdmissionError = ApiError;

/// Completes an object that is to be created.
///
/// # Errors
/// `Invalid` with all causes, `NotFound` or `Forbidden` for its namespace, `BadRequest` for an unknown kind.
pub fn admit_create(snapshot: &Snapshot, object: Object, rng: &mut dyn Rng) -> Result<Object, AdmissionError> {
    admit_create_with(snapshot, object, rng, &mut None)
}

/// Completes the new state of an object that is there already.
///
/// # Errors
/// `Invalid` with all causes, `BadRequest` for an unknown kind.
pub fn admit_update(
    snapshot: &Snapshot,
    old: &Object,
    new: Object,
    rng: &mut dyn Rng,
) -> Result<Object, AdmissionError> {
    admit_update_with(snapshot, old, new, rng, &mut None)
}

/// As [`admit_create`], for many objects in a row: `used` is filled at need and carries what earlier ones took.
pub fn admit_create_with(
    snapshot: &Snapshot,
    object: Object,
    rng: &mut dyn Rng,
    used: &mut Option<Used>,
) -> Result<Object, AdmissionError> {
    let mut object = plug::to_current(object).0;
    let kind = known_kind(&object)?;
    custom::may_create(snapshot, kind)?;
    names::generate(&mut object, rng);
    if object.name().is_empty() {
        let cause = Cause::required("metadata.name", "name or generateName is required");
        return Err(ApiError::invalid(kind, "", vec![cause]));
    }
    check_namespace(snapshot, kind, &object)?;
    create::prepare(kind, &mut object);
    plug::apply_defaults(&mut object);
    if *kind == kind::POD {
        service_account::admit(snapshot, &mut object, || names::suffix(rng))
            .map_err(|why| ApiError::forbidden(kind, object.name(), why))?;
    }
    let mut causes = Vec::new();
    if *kind == kind::SERVICE {
        let used = used.get_or_insert_with(|| Used::of(snapshot));
        causes = service::create(&mut object, used, rng);
        used.add(&object);
    }
    if *kind == kind::CUSTOM_RESOURCE_DEFINITION {
        object = settled(snapshot, &object, jiff::Timestamp::now());
    }
    causes.extend(custom::complete(snapshot, kind, &mut object));
    merge_causes(&mut causes, plug::validate(&object));
    object = custom::to_stored(snapshot, kind, object);
    if causes.is_empty() { Ok(object) } else { Err(ApiError::invalid(kind, object.name(), causes)) }
}

/// As [`admit_update`], for many objects in a row.
pub fn admit_update_with(
    snapshot: &Snapshot,
    old: &Object,
    new: Object,
    rng: &mut dyn Rng,
    used: &mut Option<Used>,
) -> Result<Object, AdmissionError> {
    let mut new = plug::to_current(new).0;
    let kind = known_kind(&new)?;
    keep_identity(old, &mut new);
    if *kind == kind::NAMESPACE
        && let Some(finalizers) = old.at(&["spec", "finalizers"])
    {
        // Theirs is a path of their own.
        map_at_mut(new.json_mut(), "spec").insert("finalizers".into(), finalizers.clone());
    }
    plug::apply_defaults(&mut new);
    let mut causes = Vec::new();
    if *kind == kind::SERVICE {
        let used = used.get_or_insert_with(|| Used::of(snapshot));
        used.remove(old);
        causes = service::update(old, &mut new, used, rng);
        used.add(&new);
    }
    if *kind == kind::CUSTOM_RESOURCE_DEFINITION {
        if let Some(status) = old.json().get("status") {
            new.json_mut().insert("status".into(), status.clone());
        }
        new = settled(snapshot, &new, jiff::Timestamp::now());
    }
    causes.extend(custom::complete(snapshot, kind, &mut new));
    merge_causes(&mut causes, plug::validate_update(old, &new));
    new = custom::to_stored(snapshot, kind, new);
    if causes.is_empty() { Ok(new) } else { Err(ApiError::invalid(kind, new.name(), causes)) }
}

/// Completes the new status of an object; of a built-in kind it is taken as it is.
///
/// # Errors
/// `Invalid` with all causes.
pub fn admit_status(snapshot: &Snapshot, old: &Object, new: Object) -> Result<Object, AdmissionError> {
    match old.kind() {
        Some(kind) if kind.custom.is_some() => custom::admit_status(snapshot, old, &new),
        _ => Ok(plug::to_current(new).0),
    }
}

/// May this object be deleted at all?
///
/// # Errors
/// `Forbidden` for the namespaces that every cluster has.
pub fn admit_delete(object: &Object) -> Result<(), AdmissionError> {
    let protected = ["default", "kube-system", "kube-public", "kube-node-lease"];
    match object.kind() {
        Some(kind) if *kind == kind::NAMESPACE && protected.contains(&object.name()) => {
            Err(ApiError::forbidden(kind, object.name(), "this namespace may not be deleted"))
        }
        _ => Ok(()),
    }
}

fn known_kind(object: &Object) -> Result<KindRef, AdmissionError> {
    object.kind().ok_or_else(|| {
        let (kind, version) = (object.kind_name(), object.api_version());
        ApiError::bad_request(format!("no matches for kind \"{kind}\" in version \"{version}\""))
    })
}

fn check_namespace(snapshot: &Snapshot, kind: KindRef, object: &Object) -> Result<(), AdmissionError> {
    if !kind.namespaced {
        return Ok(());
    }
    let name = object.namespace();
    let namespace =
        snapshot.find(&kind::NAMESPACE, "", name).ok_or_else(|| ApiError::not_found(&kind::NAMESPACE, name))?;
    if namespace.is_terminating() || namespace.str_at(&["status", "phase"]) == Some("Terminating") {
        let why = format!("unable to create new content in namespace {name} because it is being terminated");
        let cause = serde_json::json!({"reason": "NamespaceTerminating",
            "message": format!("namespace {name} is being terminated"), "field": "metadata.namespace"});
        return Err(ApiError::forbidden(kind, object.name(), why).with_causes(vec![cause]));
    }
    Ok(())
}

/// What a client left out of an object it replaces, and cannot change.
fn keep_identity(old: &Object, new: &mut Object) {
    for field in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let before = old.metadata().and_then(|m| m.get(field)).cloned();
        // Another uid is for the store to refuse.
        if field == "uid" && !new.uid().is_empty() {
            continue;
        }
        match before {
            Some(value) => new.metadata_mut().insert(field.into(), value),
            None => new.metadata_mut().remove(field),
        };
    }
}

/// Adds the causes that say something new.
fn merge_causes(causes: &mut Vec<Cause>, more: Vec<Cause>) {
    for cause in more {
        if !causes.iter().any(|c| c.field == cause.field && c.reason() == cause.reason()) {
            causes.push(cause);
        }
    }
}

#[cfg(test)]
mod tests;
