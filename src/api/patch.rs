//! `PATCH`: the four types of patches.

use hyper::{Response, StatusCode};
use serde_json::{Map, Value};

use super::body::Body;
use super::custom;
use super::owners::{Options, Writer};
use super::respond::{self, Form};
use super::route::Target;
use super::serve::Call;
use super::status::{ApiError, Cause};
use super::write::{body_of, check, in_place, media_type, part};
use crate::manifest;
use crate::object::kind::KindRef;
use crate::object::managed::text;
use crate::object::patch::{self, PatchError};
use crate::object::{merge, shape};

pub(super) const JSON_PATCH: &str = "application/json-patch+json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(super) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// The most operations that one JSON Patch may hold, as in the API server.
const MAX_OPERATIONS: usize = 10_000;

pub async fn patch(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query, form) = (call.api.clone(), call.query.clone(), Form::wanted(&call)?);
    let (patch, writer) = Patch::of(&target, call).await?;
    let mut warnings = Vec::new();
    let creates = patch.kind == PatchKind::Apply && target.subresource.is_none();
    if creates && api.find(&target).is_err_and(|e| e.code == StatusCode::NOT_FOUND) {
        let object = writer.apply(target.kind, None, patch.fields()?)?;
        if let Some(uid) = object.get("metadata").and_then(|m| m.get("uid")).and_then(Value::as_str) {
            // The very object that is meant is no more.
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(ApiError::conflict(target.kind, target.name.as_deref().unwrap_or_default(), why));
        }
        let object = in_place(check(target.kind, &query, object, &mut warnings)?, &target)?;
        custom::field_validation(form.definition(), &query, &object, &mut warnings)?;
        let created = api.create(target.kind, object, query.dry_run()?)?;
        return Ok(respond::warned(respond::object(&form, StatusCode::CREATED, &created), &warnings));
    }
    let patched = api.change(&target, part(&target), query.dry_run()?, |current| {
        warnings.clear();
        if patch.kind == PatchKind::Apply {
            let object = writer.apply(target.kind, Some(current), patch.fields()?)?;
            let object = check(target.kind, &query, object, &mut warnings)?;
            custom::field_validation(form.definition(), &query, &object, &mut warnings)?;
            return in_place(object, &target);
        }
        let object = patch.apply(target.kind, current.json())?;
        let shown = patch.as_shown(&object);
        let object = check(target.kind, &query, object, &mut warnings).map_err(|error| unfit(&shown, error))?;
        custom::field_validation(form.definition(), &query, &object, &mut warnings)?;
        let object = in_place(object, &target)?;
        Ok(writer.record(target.kind, Some(current), object))
    })?;
    Ok(respond::warned(respond::object(&form, StatusCode::OK, &patched), &warnings))
}

/// The error for a patch after which the object is not what it should be: `value` is what upstream shows of it.
fn unfit(value: &str, error: ApiError) -> ApiError {
    if error.reason != "BadRequest" {
        return error;
    }
    let why = error.message.split_once(" cannot be handled as a ").and_then(|(_, rest)| rest.split_once(": "));
    match why {
        Some((_, why)) => ApiError::invalid_as("", "", "", vec![Cause::invalid("patch", &value.into(), why)]),
        None => error,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// A patch of one of the types, not yet applied.
pub(super) struct Patch {
    kind: PatchKind,
    value: Value,
}

impl Patch {
    /// Reads a patch; with who it comes from.
    pub async fn of(target: &Target, call: Call) -> Result<(Self, Writer), ApiError> {
        let kind = match media_type(&call) {
            JSON_PATCH => PatchKind::Json,
            MERGE_PATCH => PatchKind::Merge,
            STRATEGIC_PATCH if shape::has_strategy(target.kind) => PatchKind::Strategic,
            APPLY_PATCH => PatchKind::Apply,
            _ => {
                let mut accepted = vec![JSON_PATCH, MERGE_PATCH, APPLY_PATCH];
                accepted.extend(shape::has_strategy(target.kind).then_some(STRATEGIC_PATCH));
                return Err(ApiError::unsupported_media_type(&accepted));
            }
        };
        let options = if kind == PatchKind::Apply { Options::Apply } else { Options::Patch };
        let writer = Writer::of(&call, options, target.subresource.as_deref());
        let bytes = body_of(call).await?;
        let writer = writer?;
        let unreadable =
            |error: &dyn std::fmt::Display| ApiError::bad_request(format!("error decoding patch: {error}"));
        let value = if kind == PatchKind::Apply {
            // JSON is YAML, and quicker to read.
            let json = serde_json::from_slice(&bytes).ok();
            json.map_or_else(|| manifest::read_value("patch", &bytes).map_err(|error| unreadable(&error)), Ok)?
        } else {
            serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?
        };
        Ok((Patch { kind, value }, writer))
    }

    /// The patch as an object, which all but JSON patches are.
    fn fields(&self) -> Result<&Map<String, Value>, ApiError> {
        self.value.as_object().ok_or_else(|| ApiError::bad_request("error decoding patch: it is no JSON object"))
    }

    fn apply(&self, kind: KindRef, current: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
        match self.kind {
            PatchKind::Strategic => merge::strategic(kind, current, self.fields()?).map_err(strategic_error),
            PatchKind::Json | PatchKind::Merge | PatchKind::Apply => self.apply_plain(current.clone()),
        }
    }

    /// Applies to anything, also to what is no stored object: every list is replaced.
    pub fn apply_plain(&self, current: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
        let mut value = Value::Object(current);
        match &self.value {
            Value::Array(operations) if self.kind == PatchKind::Json => {
                if operations.len() > MAX_OPERATIONS {
                    let count = operations.len();
                    let message = format!(
                        "Request entity too large: The allowed maximum operations in a JSON patch is \
                         {MAX_OPERATIONS}, got {count}"
                    );
                    return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message));
                }
                patch::json_patch(&mut value, operations).map_err(|error| refused(&error))?;
            }
            _ if self.kind == PatchKind::Json => {
                return Err(ApiError::bad_request("error decoding patch: a JSON patch is a list of operations"));
            }
            _ => patch::merge(&mut value, &Value::Object(self.fields()?.clone())),
        }
        match value {
            Value::Object(map) => Ok(map),
            _ => Err(ApiError::bad_request("the patch makes the object something else than a JSON object")),
        }
    }

    /// What upstream shows of a patch whose result does not fit: a strategic one itself, of the others the result.
    fn as_shown(&self, patched: &Map<String, Value>) -> String {
        match self.kind {
            PatchKind::Strategic => text::go(&self.value),
            _ => Value::Object(patched.clone()).to_string(),
        }
    }

    pub fn is_apply(&self) -> bool {
        self.kind == PatchKind::Apply
    }

    pub fn value(&self) -> &Value {
        &self.value
    }
}

/// A patch that does not fit what it is applied to.
fn refused(error: &PatchError) -> ApiError {
    let message = format!("the server rejected our request due to an error in our request: {error}");
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
}

fn strategic_error(error: PatchError) -> ApiError {
    match error.is_malformed {
        true => ApiError::bad_request(error.to_string()),
        false => ApiError::without_reason(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
