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
    causes(validate::validate(object))
}

pub fn validate_update(old: &Object, new: &Object) -> Vec<Cause> {
    let mut errors = validate::validate(new);
    errors.extend(validate::validate_update(old, new));
    causes(errors)
}

fn causes(errors: Vec<FieldError>) -> Vec<Cause> {
    errors.into_iter().map(|error| Cause::new(error.path.clone(), error.body())).collect()
}
