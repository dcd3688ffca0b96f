//! Who writes: the field manager of a request, and the notes of who owns what that its writes leave.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::admission::plug;
use super::serve::Call;
use super::status::{ApiError, Cause};
use super::subresource::has_status;
use crate::object::kind::KindRef;
use crate::object::managed::{self, Conflict};
use crate::object::shape::of_kind;
use crate::object::{Object, time_text, unknown};

/// The longest name of a manager, in bytes.
const MAX_MANAGER: usize = 128;
/// Who `lab apply` writes as: what `kubectl apply` calls itself, for it is the same kind of apply.
const CLIENT_SIDE_APPLY: &str = "kubectl-client-side-apply";

/// The manager that a request writes as.
#[derive(Debug, Clone)]
pub struct Writer {
    manager: String,
    /// Takes fields over from their owners, when it applies.
    force: bool,
    /// Empty for the object itself.
    subresource: String,
}

/// What the options of a request are called, and whether it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Options {
    Create,
    Update,
    Patch,
    Apply,
}

impl Options {
    fn kind(self) -> &'static str {
        match self {
            Options::Create => "CreateOptions",
            Options::Update => "UpdateOptions",
            Options::Patch | Options::Apply => "PatchOptions",
        }
    }
}

impl Writer {
    pub fn of(call: &Call, options: Options, subresource: Option<&str>) -> Result<Self, ApiError> {
        let (given, force) = (call.query.get("fieldManager"), call.query.get("force"));
        let mut causes = Vec::new();
        if let Some(other) = call.query.get("fieldValidation").filter(|v| !matches!(*v, "Ignore" | "Warn" | "Strict")) {
            let why = r#"supported values: "", "Ignore", "Strict", "Warn""#;
            causes.push(Cause::new("fieldValidation", format!("Unsupported value: \"{other}\": {why}")));
        }
        match (options, given, force) {
            (Options::Apply, None, _) => causes.push(Cause::required("fieldManager", "is required for apply patch")),
            (Options::Patch, _, Some(_)) => {
                causes.push(Cause::new("force", "Forbidden: may not be specified for non-apply patch"));
            }
            _ => {}
        }
        let manager = given.unwrap_or_default();
        if manager.len() > MAX_MANAGER {
            let why = format!("Too long: may not be more than {MAX_MANAGER} bytes");
            causes.push(Cause::new("fieldManager", why));
        }
        if let Some((at, odd)) = manager.char_indices().find(|(_, c)| c.is_control()) {
            let why = format!("invalid character U+{:04X} (at position {at})", u32::from(odd));
            causes.push(Cause::invalid("fieldManager", &manager.into(), why));
        }
        if !causes.is_empty() {
            return Err(ApiError::invalid_as("meta.k8s.io", options.kind(), "", causes));
        }
        let manager = if manager.is_empty() { of_user_agent(call.header("user-agent")) } else { manager.to_string() };
        let force = call.query.flag("force");
        Ok(Writer { manager, force, subresource: subresource.unwrap_or_default().to_string() })
    }

    /// Who `lab apply` writes as when the request names nobody.
    pub fn of_lab_apply(query: &super::query::Query, server_side: bool) -> Self {
        let default = if server_side { "kubectl" } else { CLIENT_SIDE_APPLY };
        let manager = query.get("fieldManager").unwrap_or(default).to_string();
        Writer { manager, force: query.flag("force"), subresource: String::new() }
    }

    fn change<'a>(&'a self, kind: KindRef, version: &'a str, now: &'a str) -> managed::Change<'a> {
        managed::Change {
            shape: of_kind(kind),
            version,
            manager: &self.manager,
            subresource: &self.subresource,
            has_status: has_status(kind),
            now,
        }
    }

    /// Completes an object that is to be created or to replace `live`: with its defaults, and with the notes of who
    /// owns what of it then.
    pub fn record(&self, kind: KindRef, live: Option<&Object>, mut object: Object) -> Object {
        if let Some(live) = live
            && self.subresource == "status"
        {
            object = with_status_of(live, object);
        }
        plug::apply_defaults(&mut object);
        let (version, now) = (kind.api_version(), time_text(jiff::Timestamp::now()));
        managed::record(&self.change(kind, &version, &now), live.map(Object::json), object.json_mut());
        object
    }

    /// `live`, or a new object, with a configuration applied to it.
    ///
    /// # Errors
    /// A conflict that names every field that somebody else owns, or what is wrong with the configuration.
    pub fn apply(
        &self,
        kind: KindRef,
        live: Option<&Object>,
        config: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ApiError> {
        check(kind, config)?;
        let (version, now) = (kind.api_version(), time_text(jiff::Timestamp::now()));
        let change = self.change(kind, &version, &now);
        let applied = managed::apply(&change, live.map(Object::json), config, self.force);
        let applied = applied.map_err(|conflicts| conflict(&conflicts))?;
        let Some(live) = live.filter(|_| self.subresource == "status") else { return Ok(applied) };
        let notes = applied.get("metadata").and_then(|m| m.get("managedFields")).cloned();
        let mut whole = with_status_of(live, Object::from_map(applied));
        whole.metadata_mut().extend(notes.map(|notes| ("managedFields".to_string(), notes)));
        Ok(whole.into_map())
    }

    /// As [`Writer::apply`], for an object that kubectl may have applied without the server before: what it owns as an
    /// updater becomes what it applied.
    pub fn apply_and_migrate(
        &self,
        kind: KindRef,
        live: Option<&Object>,
        config: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ApiError> {
        let applied = self.apply(kind, live, config)?;
        let (version, now) = (kind.api_version(), time_text(jiff::Timestamp::now()));
        match managed::migrate(&self.change(kind, &version, &now), &applied) {
            Some(migrated) => self.apply(kind, Some(&Object::from_map(migrated)), config),
            None => Ok(applied),
        }
    }
}

/// `live` with the status, and the resourceVersion, that a client wrote.
fn with_status_of(live: &Object, written: Object) -> Object {
    let mut whole = live.clone();
    let mut written = written.into_map();
    match written.remove("status") {
        Some(status) => drop(whole.json_mut().insert("status".into(), status)),
        None => drop(whole.json_mut().remove("status")),
    }
    if let Some(version) = written.get("metadata").and_then(|m| m.get("resourceVersion")) {
        whole.metadata_mut().insert("resourceVersion".into(), version.clone());
    }
    whole
}

/// The first part of a user agent, such as `kubectl`.
fn of_user_agent(agent: &str) -> String {
    let name = agent.split('/').next().unwrap_or_default();
    let mut kept = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > MAX_MANAGER {
            break;
        }
        kept.push(c);
    }
    kept
}

/// May this be applied at all?
fn check(kind: KindRef, config: &Map<String, Value>) -> Result<(), ApiError> {
    let object = Object::from_map(config.clone());
    let gvk = |group: &str, version: &str, kind: &str| format!("{group}/{version}, Kind={kind}");
    let (group, version) = object.api_version().split_once('/').unwrap_or(("", object.api_version()));
    if (group, version, object.kind_name()) != (kind.group, kind.version, kind.kind) {
        let given = gvk(group, version, object.kind_name());
        return Err(ApiError::bad_request(format!("invalid object type: {given}")));
    }
    if object.metadata().and_then(|m| m.get("managedFields")).is_some_and(|fields| !fields.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    match managed::check(of_kind(kind), config, &unknown::examine(&object)) {
        None => Ok(()),
        Some(why) => {
            let kind = if group.is_empty() {
                format!("/{version}, Kind={}", kind.kind)
            } else {
                gvk(group, version, kind.kind)
            };
            let (namespace, name) = (object.namespace(), object.name());
            let message = format!("failed to create typed patch object ({namespace}/{name}; {kind}): {why}");
            Err(ApiError::without_reason(StatusCode::INTERNAL_SERVER_ERROR, message))
        }
    }
}

fn conflict(conflicts: &[Conflict]) -> ApiError {
    let message = match conflicts {
        [one] => format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.path),
        many => {
            let mut lines = Vec::new();
            let mut of = "";
            for conflict in many {
                if conflict.manager != of {
                    of = &conflict.manager;
                    lines.push(format!("conflicts with {of}:"));
                }
                lines.push(format!("- {}", conflict.path));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let cause = |c: &Conflict| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", c.manager), "field": c.path});
    ApiError::new(StatusCode::CONFLICT, "Conflict", message).with_causes(conflicts.iter().map(cause).collect())
}
