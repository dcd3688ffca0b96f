//! Where the object room's own rules come in: old API versions, defaults, validation.

use super::super::status::Cause;
use crate::object::Object;

/// An object of an old API version in today's; with what its writer should know.
pub fn to_current(object: Object) -> (Object, Vec<String>) {
    (object, Vec::new())
}

pub fn apply_defaults(_object: &mut Object) {}

pub fn validate(_object: &Object) -> Vec<Cause> {
    Vec::new()
}

pub fn validate_update(_old: &Object, _new: &Object) -> Vec<Cause> {
    Vec::new()
}
