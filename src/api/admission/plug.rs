//! Where the object room's own rules come in: old API versions, defaults, validation.

use super::super::status::Cause;
use crate::object::validate::FieldError;
use crate::object::{Object, convert, default, validate};

/// An object of an old API version in today's; with what its writer should know.
pub fn to_current(mut object: Object) -> (Object, Vec<String>) {
    let changes = convert::convert(&mut object);
    (object, changes.into_iter().map(|change| change.message).collect())
}

pub fn apply_defaults(object: &mut Object) {
    default::apply_defaults(object);
}

pub fn validate(object: &Object) -> Vec<Cause> {
    validate::validate(object).into_iter().map(cause).collect()
}

/// What is wrong with the new object by itself, and with the change.
pub fn validate_update(old: &Object, new: &Object) -> Vec<Cause> {
    let all = validate::validate(new).into_iter().chain(validate::validate_update(old, new));
    all.map(cause).collect()
}

fn cause(error: FieldError) -> Cause {
    let message = error.body();
    Cause { field: error.path, message }
}
