//! Objects of custom kinds: what their definition's schema makes of them.

use crate::api::status::{ApiError, Cause};
use crate::object::custom::{self, Definition};
use crate::object::kind::KindRef;
use crate::object::validate::FieldError;
use crate::object::{Object, Snapshot};

fn definition_of(snapshot: &Snapshot, kind: KindRef) -> Option<std::sync::Arc<Definition>> {
    kind.custom.as_ref()?;
    custom::definition_of(snapshot, kind)
}

/// Nothing new is made of a kind that is going away.
pub fn may_create(snapshot: &Snapshot, kind: KindRef) -> Result<(), ApiError> {
    if definition_of(snapshot, kind).is_some_and(|definition| definition.terminating) {
        let mut error = ApiError::method_not_allowed();
        error.message = "create not allowed while custom resource definition is terminating".into();
        return Err(error);
    }
    Ok(())
}

/// Takes away the fields that the schema does not have, fills in its defaults and checks the rest.
pub fn complete(snapshot: &Snapshot, kind: KindRef, object: &mut Object) -> Vec<Cause> {
    let Some(definition) = definition_of(snapshot, kind) else { return Vec::new() };
    let Some(schema) = definition.version_of(kind).and_then(|version| version.schema.as_ref()) else {
        return Vec::new();
    };
    schema.prune(object.json_mut(), &mut Vec::new());
    schema.apply_defaults(object.json_mut());
    let cause = |error: FieldError| Cause::new(error.path.clone(), error.body());
    schema.check(object.json()).into_iter().map(cause).collect()
}

/// The object as it is stored: in its definition's storage version.
pub fn to_stored(snapshot: &Snapshot, kind: KindRef, mut object: Object) -> Object {
    match definition_of(snapshot, kind).and_then(|definition| definition.stored_kind()) {
        Some(stored) => {
            object.json_mut().insert("apiVersion".into(), stored.api_version().into());
            object.of(stored)
        }
        None => object,
    }
}

/// Completes the new status of a custom object; nothing but its status is taken from `new`.
pub fn admit_status(snapshot: &Snapshot, old: &Object, new: &Object) -> Result<Object, ApiError> {
    let Some(kind) = old.kind().filter(|kind| kind.custom.is_some()) else { return Ok(new.clone()) };
    let mut object = old.clone();
    match new.json().get("status") {
        Some(status) => object.json_mut().insert("status".into(), status.clone()),
        None => object.json_mut().remove("status"),
    };
    let causes = complete(snapshot, kind, &mut object);
    if !causes.is_empty() {
        return Err(ApiError::invalid(kind, object.name(), causes));
    }
    if let Some(version) = new.metadata().and_then(|metadata| metadata.get("resourceVersion")) {
        object.metadata_mut().insert("resourceVersion".into(), version.clone());
    }
    Ok(to_stored(snapshot, kind, object))
}
