//! Errors as the API server words them: a `Status` object with reason, code, details and causes.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use crate::object::KindRef;
use crate::store::WriteError;

/// An answer that is a failure. Its texts are what kubectl prints after `Error from server (REASON): `.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: StatusCode,
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Map<String, Value>>,
}

/// One thing that is wrong with an object, and the field it is in (`spec.ports[0].nodePort`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub field: String,
    /// Without the field: `Invalid value: 30080: provided port is already allocated`.
    pub message: String,
}

impl Cause {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Cause { field: field.into(), message: message.into() }
    }

    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl std::fmt::Display) -> Self {
        Cause::new(field, format!("Invalid value: {value}: {detail}"))
    }

    pub fn required(field: impl Into<String>, detail: impl std::fmt::Display) -> Self {
        Cause::new(field, format!("Required value: {detail}"))
    }

    /// The API server's word for the sort of error, which its message begins with.
    pub fn reason(&self) -> &'static str {
        const REASONS: [(&str, &str); 8] = [
            ("Required value", "FieldValueRequired"),
            ("Unsupported value", "FieldValueNotSupported"),
            ("Duplicate value", "FieldValueDuplicate"),
            ("Forbidden", "FieldValueForbidden"),
            ("Not found", "FieldValueNotFound"),
            ("Too long", "FieldValueTooLong"),
            ("Too many", "FieldValueTooMany"),
            ("Internal error", "InternalError"),
        ];
        let known = REASONS.iter().find(|(start, _)| self.message.starts_with(start));
        known.map_or("FieldValueInvalid", |(_, reason)| reason)
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl ApiError {
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        ApiError { code, reason, message: message.into(), details: None }
    }

    /// An error that upstream has no word for: kubectl prints it after `Error from server: `.
    pub fn without_reason(code: StatusCode, message: impl Into<String>) -> Self {
        Self::new(code, "", message)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// Nobody that this lab knows.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// The path is no path of this API.
    pub fn no_such_path() -> Self {
        let mut error =
            Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource");
        error.details = as_map(json!({}));
        error
    }

    pub fn not_found(kind: KindRef, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(kind, name)
    }

    pub fn already_exists(kind: KindRef, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(kind, name)
    }

    pub fn forbidden(kind: KindRef, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", kind.resource());
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(kind, name)
    }

    pub fn conflict(kind: KindRef, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name)
    }

    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// The history no longer reaches back to what was asked for.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub fn too_many_requests(message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        error.details = as_map(json!({"retryAfterSeconds": 1}));
        error
    }

    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// `Service "web" is invalid: ...`, with one cause a field.
    pub fn invalid(kind: KindRef, name: &str, causes: Vec<Cause>) -> Self {
        Self::invalid_as(kind.group, kind.kind, name, causes)
    }

    /// As [`ApiError::invalid`], for what is no object of the table of kinds: a request's options, a patch.
    pub fn invalid_as(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let list: Vec<String> = causes.iter().map(Cause::to_string).collect();
        let what = match list.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let titled = if group.is_empty() { kind.to_string() } else { format!("{kind}.{group}") };
        let message = format!("{titled} \"{name}\" is invalid: {what}");
        let causes: Vec<Value> =
            causes.iter().map(|c| json!({"reason": c.reason(), "message": c.message, "field": c.field})).collect();
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        error.details = details(group, kind, name);
        error.with_causes(causes)
    }

    /// A refusal of the store.
    pub fn from_write(kind: KindRef, name: &str, error: WriteError) -> Self {
        match &error {
            WriteError::AlreadyExists { .. } => Self::already_exists(kind, name),
            WriteError::NotFound { .. } => Self::not_found(kind, name),
            WriteError::Conflict { .. } | WriteError::Precondition { .. } => {
                Self::new(StatusCode::CONFLICT, "Conflict", error.to_string()).about(kind, name)
            }
            WriteError::Invalid(message) => Self::bad_request(message.clone()),
            WriteError::Storage(_) => Self::internal(error),
        }
    }

    pub fn with_causes(mut self, causes: Vec<Value>) -> Self {
        if !causes.is_empty() {
            self.details.get_or_insert_default().insert("causes".into(), Value::Array(causes));
        }
        self
    }

    fn about(mut self, kind: KindRef, name: &str) -> Self {
        self.details = details(kind.group, kind.plural, name);
        self
    }

    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code.as_u16(),
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = Value::Object(details.clone());
        }
        status
    }
}

fn details(group: &str, kind: &str, name: &str) -> Option<Map<String, Value>> {
    let mut details = Map::new();
    for (field, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(field.into(), value.into());
        }
    }
    Some(details)
}

fn as_map(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// `Status` of a thing that was done, about an object.
pub fn success(kind: KindRef, name: &str, uid: &str) -> Value {
    let mut details = details(kind.group, kind.plural, name).unwrap_or_default();
    if !uid.is_empty() {
        details.insert("uid".into(), uid.into());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::kind;

    #[test]
    fn an_invalid_object_names_every_field_as_the_api_server_does() {
        let port = Cause::invalid("spec.ports[0].nodePort", &json!(30080), "provided port is already allocated");
        let one = ApiError::invalid(&kind::SERVICE, "x", vec![port.clone()]);
        assert_eq!(
            one.message,
            "Service \"x\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
        );
        assert_eq!(
            one.to_value()["details"],
            json!({"name": "x", "kind": "Service", "causes": [{"reason": "FieldValueInvalid",
                "message": "Invalid value: 30080: provided port is already allocated",
                "field": "spec.ports[0].nodePort"}]})
        );
        let two = ApiError::invalid(&kind::DEPLOYMENT, "x", vec![port, Cause::required("spec.selector", "")]);
        assert_eq!(
            two.message,
            "Deployment.apps \"x\" is invalid: [spec.ports[0].nodePort: Invalid value: 30080: provided port is already \
             allocated, spec.selector: Required value: ]"
        );
    }

    #[test]
    fn not_found_carries_group_and_resource() {
        let status = ApiError::not_found(&kind::DEPLOYMENT, "web").to_value();
        assert_eq!(status["message"], "deployments.apps \"web\" not found");
        assert_eq!(status["details"], json!({"name": "web", "group": "apps", "kind": "deployments"}));
        assert_eq!(status["code"], 404);
    }
}
