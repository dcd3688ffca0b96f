//! The API's `Status` answers, and what kubectl makes of them.

use serde_json::Value;

/// A `kind: Status` that reports a failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The HTTP status, e.g. 404.
    pub code: u16,
    /// `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, ...
    pub reason: String,
    pub message: String,
    /// Kind and name of what the request was about, where the server says so.
    pub kind: String,
    pub name: String,
    /// Field and message of each thing that is wrong, for `Invalid`.
    pub causes: Vec<(String, String)>,
    /// The same with all that the server said of each: which manifest it is about, for `apply`.
    pub raw_causes: Vec<Value>,
}

impl Status {
    /// From the body of an answer with an error code, which need not be a `Status` at all.
    pub fn from_body(code: u16, body: &[u8]) -> Self {
        let Ok(json) = serde_json::from_slice::<Value>(body) else {
            let text = String::from_utf8_lossy(body).trim().to_string();
            return Status { code, reason: reason_of(code).into(), message: text, ..Self::empty() };
        };
        let mut status = Self::from_json(&json);
        status.code = code;
        if status.reason.is_empty() {
            status.reason = reason_of(code).into();
        }
        status
    }

    pub fn from_json(json: &Value) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_string();
        let details = json.get("details");
        let detail = |field: &str| details.and_then(|d| d.get(field));
        let raw_causes = detail("causes").and_then(Value::as_array).cloned().unwrap_or_default();
        Status {
            code: json.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok()).unwrap_or(0),
            reason: text(json.get("reason")),
            message: text(json.get("message")),
            kind: text(detail("kind")),
            name: text(detail("name")),
            causes: raw_causes.iter().map(|c| (text(c.get("field")), text(c.get("message")))).collect(),
            raw_causes,
        }
    }

    fn empty() -> Self {
        let (reason, message, kind, name) = Default::default();
        Status { code: 0, reason, message, kind, name, causes: Vec::new(), raw_causes: Vec::new() }
    }

    pub fn is_not_found(&self) -> bool {
        self.code == 404 || self.reason == "NotFound"
    }

    /// Puts kubectl's `error when creating "web.yaml": ` before the message.
    pub fn during(mut self, doing: &str, source: &str) -> Self {
        self.message = format!("error when {doing} \"{source}\": {}", self.message);
        self
    }

    /// As kubectl prints it: `Error from server (NotFound): pods "x" not found`.
    pub fn for_people(&self) -> String {
        if self.reason == "Invalid" {
            return self.invalid();
        }
        match self.reason.as_str() {
            "" => format!("Error from server: {}", self.message),
            reason => format!("Error from server ({reason}): {}", self.message),
        }
    }

    fn invalid(&self) -> String {
        let what = match (self.kind.as_str(), self.name.as_str()) {
            ("", "") => "The request is invalid".to_string(),
            (kind, name) => format!("The {kind} \"{name}\" is invalid"),
        };
        let cause = |(field, message): &(String, String)| match field.as_str() {
            "" => message.clone(),
            field => format!("{field}: {message}"),
        };
        match self.causes.as_slice() {
            [] if self.message.is_empty() => what,
            // The server's message repeats the beginning that was just made.
            [] if self.message.starts_with(&what[4..]) => format!("The {}", self.message),
            [] => format!("{what}: {}", self.message),
            [one] => format!("{what}: {}", cause(one)),
            many => many.iter().fold(format!("{what}: "), |text, one| text + "\n* " + &cause(one)),
        }
    }
}

fn reason_of(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        410 => "Expired",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(code: u16, body: Value) -> String {
        Status::from_body(code, body.to_string().as_bytes()).for_people()
    }

    #[test]
    fn statuses_read_as_kubectl_prints_them() {
        let not_found = json!({"kind": "Status", "reason": "NotFound", "message": "pods \"x\" not found"});
        assert_eq!(said(404, not_found), "Error from server (NotFound): pods \"x\" not found");
        let port = json!({"field": "spec.ports[0].nodePort", "message": "Invalid value: 30080: provided port is already allocated"});
        let invalid = |causes: Value| json!({"reason": "Invalid", "message": "Service \"a\" is invalid: ...", "details": {"kind": "Service", "name": "a", "causes": causes}});
        assert_eq!(
            said(422, invalid(json!([port]))),
            "The Service \"a\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
        );
        assert_eq!(
            said(422, invalid(json!([{"field": "a", "message": "x"}, {"field": "b", "message": "y"}]))),
            "The Service \"a\" is invalid: \n* a: x\n* b: y"
        );
        assert_eq!(
            said(
                422,
                json!({"reason": "Invalid", "message": "Service \"a\" is invalid: b: c", "details": {"kind": "Service", "name": "a"}})
            ),
            "The Service \"a\" is invalid: b: c"
        );
    }

    #[test]
    fn an_answer_that_is_no_status_is_still_told() {
        let status = Status::from_body(503, b"upstream gone\n");
        assert_eq!(status.for_people(), "Error from server (ServiceUnavailable): upstream gone");
    }
}
