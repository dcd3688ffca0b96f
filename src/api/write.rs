//! Changing objects: create, replace, delete, and what all changes have in common.

use hyper::{Response, StatusCode};
use serde_json::{Map, Value};

use super::Api;
use super::admission;
use super::body::{self, Body};
use super::custom;
use super::owners::{Options, Writer};
use super::protobuf;
use super::query::{Filter, Query};
use super::read::select;
use super::respond::{self, Form, ListMeta};
use super::route::Target;
use super::selectable;
use super::serve::Call;
use super::status::{self, ApiError};
use crate::object::kind::{self, KindRef};
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Key, Object, Write, map_at_mut, schema, unknown};
use crate::store::{Outcome, WriteError, Written};

/// How often a change is tried again when something else changed the object meanwhile, and a generated name when it is
/// taken.
const ATTEMPTS: usize = 8;

pub async fn create(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query, form) = (call.api.clone(), call.query.clone(), Form::wanted(&call)?);
    let (user, writer) = (call.user.clone(), Writer::of(&call, Options::Create, None));
    // Refused only when the body was read: a client that still sends one would see a broken connection.
    let body = object_bytes(call).await?;
    let writer = writer?;
    let (object, mut warnings) = decode(target.kind, &query, &body)?;
    custom::field_validation(form.definition(), &query, &object, &mut warnings)?;
    let mut object = in_place(object, &target)?;
    if *target.kind == kind::CERTIFICATE_SIGNING_REQUEST {
        let spec = map_at_mut(object.json_mut(), "spec");
        spec.insert("username".into(), user.name.into());
        spec.insert("groups".into(), user.groups.into());
    }
    let object = writer.record(target.kind, None, object);
    let created = api.create(target.kind, object, query.dry_run()?)?;
    Ok(respond::warned(respond::object(&form, StatusCode::CREATED, &created), &warnings))
}

pub async fn replace(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query, form) = (call.api.clone(), call.query.clone(), Form::wanted(&call)?);
    let writer = Writer::of(&call, Options::Update, target.subresource.as_deref());
    let body = object_bytes(call).await?;
    let writer = writer?;
    let (object, mut warnings) = decode(target.kind, &query, &body)?;
    custom::field_validation(form.definition(), &query, &object, &mut warnings)?;
    let object = in_place(object, &target)?;
    let replaced = api.change(&target, part(&target), query.dry_run()?, |current| {
        Ok(writer.record(target.kind, Some(current), object.clone()))
    })?;
    Ok(respond::warned(respond::object(&form, StatusCode::OK, &replaced), &warnings))
}

pub async fn delete(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query, form) = (call.api.clone(), call.query.clone(), Form::wanted(&call)?);
    let options = DeleteOptions::of(&query, &body_of(call).await?)?;
    let written = api.delete(&target, &options)?;
    if written.outcome == Outcome::Deleted && *target.kind != kind::POD {
        let object = &written.object;
        return Ok(respond::json(&status::success(target.kind, object.name(), object.uid())));
    }
    Ok(respond::object(&form, StatusCode::OK, &written.object))
}

pub async fn delete_collection(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query, form) = (call.api.clone(), call.query.clone(), Form::wanted(&call)?);
    if target.kind.namespaced && target.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let filter = Filter::new(target.namespace.as_deref(), &query)?;
    selectable::check(call.definition.as_deref(), target.kind, &filter)?;
    let options = DeleteOptions::of(&query, &body_of(call).await?)?;
    let snapshot = api.store.snapshot();
    let objects = select(&snapshot, &target, &filter).map(|object| custom::served_as(target.kind, object));
    let objects: Vec<_> = objects.collect();
    for object in &objects {
        let one = Target { name: Some(object.name().to_string()), ..target.clone() };
        match api.delete(&one, &options) {
            Err(error) if error.code != StatusCode::NOT_FOUND => return Err(error),
            _ => {}
        }
    }
    let meta = ListMeta { resource_version: api.store.snapshot().resource_version(), next: None };
    respond::list(&form, target.kind, &objects, &meta)
}

impl Api {
    pub(super) fn create(
        &self,
        kind: KindRef,
        object: Object,
        dry_run: bool,
    ) -> Result<std::sync::Arc<Object>, ApiError> {
        let generated = object.name().is_empty();
        for attempt in 1.. {
            let _admitting = self.admitting();
            let admitted = admission::admit_create(&self.store.snapshot(), object.clone(), &mut rand::rng())?;
            let name = admitted.name().to_string();
            if dry_run {
                let tried = self.try_out(kind, Write::Create(admitted))?;
                return Ok(custom::served_as(kind, &tried.object));
            }
            match self.store.write(Write::Create(admitted)) {
                Ok(written) => return Ok(custom::served_as(kind, &written.object)),
                Err(WriteError::AlreadyExists { .. }) if generated && attempt < ATTEMPTS => {}
                Err(error) => return Err(ApiError::from_write(kind, &name, error)),
            }
        }
        Err(ApiError::internal("no name could be generated"))
    }

    /// Changes an object by a function of what it is now, again when something else changes it at the same moment.
    pub(super) fn change(
        &self,
        target: &Target,
        part: Part,
        dry_run: bool,
        change: impl FnMut(&Object) -> Result<Object, ApiError>,
    ) -> Result<std::sync::Arc<Object>, ApiError> {
        self.change_with(target, part, dry_run, part != Part::Status, change)
    }

    /// As [`Api::change`]; without admission for what a client may ask for by a subresource alone.
    pub(super) fn change_with(
        &self,
        target: &Target,
        part: Part,
        dry_run: bool,
        admit: bool,
        mut change: impl FnMut(&Object) -> Result<Object, ApiError>,
    ) -> Result<std::sync::Arc<Object>, ApiError> {
        let kind = target.kind;
        for attempt in 1.. {
            let _admitting = self.admitting();
            let current = custom::served_as(kind, &self.find(target)?);
            let mut object = change(&current)?;
            let key = Key::new(kind, target.namespace(), current.name());
            let asked = object.resource_version();
            if asked != 0 && asked != current.resource_version() {
                let conflict = WriteError::Conflict { resource: kind.resource(), name: key.name.clone() };
                return Err(ApiError::from_write(kind, &key.name, conflict));
            }
            if admit {
                object = admission::admit_update(&self.store.snapshot(), &current, object, &mut rand::rng())?;
            } else if part == Part::Status {
                object = admission::admit_status(&self.store.snapshot(), &current, object)?;
            }
            let version = current.resource_version().to_string();
            object.metadata_mut().insert("resourceVersion".into(), version.into());
            // Who owns what of the status is written in the metadata.
            let write = Write::Update(object, if part == Part::Status { Part::All } else { part });
            if dry_run {
                return Ok(custom::served_as(kind, &self.try_out(kind, write)?.object));
            }
            match self.store.write(write) {
                Ok(written) => return Ok(custom::served_as(kind, &written.object)),
                Err(WriteError::Conflict { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(ApiError::from_write(kind, &key.name, error)),
            }
        }
        Err(ApiError::internal("the object changes too fast"))
    }

    pub(super) fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Written, ApiError> {
        let name = target.name.as_deref().unwrap_or("");
        let found = self.find(target)?;
        admission::admit_delete(&found)?;
        if let Some(wanted) = &options.resource_version
            && *wanted != found.resource_version().to_string()
        {
            let message = format!(
                "Operation cannot be fulfilled on {} \"{name}\": Precondition failed: ResourceVersion in precondition: \
                 {wanted}, ResourceVersion in object meta: {}",
                target.kind.resource(),
                found.resource_version()
            );
            return Err(ApiError::new(StatusCode::CONFLICT, "Conflict", message));
        }
        let write = Write::Delete(Delete {
            key: Key::new(target.kind, target.namespace(), name),
            uid: options.uid.clone(),
            grace_seconds: options.grace_seconds,
            propagation: options.propagation,
        });
        if options.dry_run {
            return self.try_out(target.kind, write);
        }
        self.store.write(write).map_err(|error| ApiError::from_write(target.kind, name, error))
    }

    /// What a write would come to, on a copy of the object it is about.
    fn try_out(&self, kind: KindRef, write: Write) -> Result<Written, ApiError> {
        let Some(key) = write.key() else {
            return Err(ApiError::bad_request("the object has no known kind"));
        };
        let copy = crate::store::Store::in_memory();
        let write = match (self.store.get(&key), write) {
            (None, write) => write,
            (Some(_), Write::Create(_)) => return Err(ApiError::already_exists(kind, &key.name)),
            (Some(stored), Write::Update(mut object, part)) => {
                // The copy gives its own resourceVersions and uids; the answer shows the real ones.
                let copied = copy.write(Write::Create((*stored).clone()));
                let copied = copied.map_err(|e| ApiError::from_write(kind, &key.name, e))?;
                for field in ["resourceVersion", "uid"] {
                    object.metadata_mut().remove(field);
                }
                let written = copy.write(Write::Update(object, part));
                let mut written = written.map_err(|e| ApiError::from_write(kind, &key.name, e))?;
                let mut shown = (*written.object).clone();
                let generation = shown.generation() - copied.object.generation() + stored.generation();
                for field in ["resourceVersion", "uid", "creationTimestamp"] {
                    if let Some(value) = stored.metadata().and_then(|m| m.get(field)) {
                        shown.metadata_mut().insert(field.into(), value.clone());
                    }
                }
                if shown.generation() != 0 {
                    shown.metadata_mut().insert("generation".into(), generation.into());
                }
                written.object = shown.into();
                return Ok(written);
            }
            (Some(stored), Write::Delete(_)) => return Ok(Written { object: stored, outcome: Outcome::Deleted }),
        };
        let mut written = copy.write(write).map_err(|e| ApiError::from_write(kind, &key.name, e))?;
        let mut shown = (*written.object).clone();
        shown.metadata_mut().remove("resourceVersion");
        written.object = shown.into();
        Ok(written)
    }
}

/// What a client may say about how to delete, in the body and in the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub grace_seconds: Option<i64>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub propagation: Propagation,
    pub dry_run: bool,
}

impl DeleteOptions {
    pub fn of(query: &Query, body: &[u8]) -> Result<Self, ApiError> {
        let body: Value = if body.iter().all(u8::is_ascii_whitespace) {
            Value::Null
        } else {
            serde_json::from_slice(body)
                .map_err(|error| ApiError::bad_request(format!("the DeleteOptions cannot be read: {error}")))?
        };
        let text = |path: &str| body.pointer(path).and_then(Value::as_str).map(str::to_string);
        let propagation = text("/propagationPolicy").or_else(|| query.get("propagationPolicy").map(str::to_string));
        let orphan = body.get("orphanDependents").and_then(Value::as_bool);
        let orphan = orphan.or(query.get("orphanDependents").map(|_| query.flag("orphanDependents")));
        let propagation = match (propagation.as_deref(), orphan) {
            (None, Some(true)) | (Some("Orphan"), _) => Propagation::Orphan,
            (None, _) | (Some("Background"), _) => Propagation::Background,
            (Some("Foreground"), _) => Propagation::Foreground,
            (Some(other), _) => {
                return Err(ApiError::bad_request(format!(
                    "DeleteOptions: propagationPolicy: Unsupported value: \"{other}\": supported values: \
                     \"Background\", \"Foreground\", \"Orphan\""
                )));
            }
        };
        let dry_run = body.get("dryRun").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
        Ok(DeleteOptions {
            grace_seconds: grace.or(query.number("gracePeriodSeconds")?),
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            propagation,
            dry_run: dry_run || query.dry_run()?,
        })
    }
}

/// The body, as JSON where it is not something else.
pub(super) async fn body_of(call: Call) -> Result<hyper::body::Bytes, ApiError> {
    let is_protobuf = media_type(&call) == protobuf::MEDIA_TYPE;
    let bytes = body::read(call.request.into_body()).await?;
    if is_protobuf && !bytes.is_empty() { Ok(protobuf::to_json(&bytes)?.into()) } else { Ok(bytes) }
}

pub(super) fn media_type(call: &Call) -> &str {
    call.header("content-type").split(';').next().unwrap_or("").trim()
}

/// The body of a request that carries an object, as JSON.
async fn object_bytes(call: Call) -> Result<hyper::body::Bytes, ApiError> {
    match media_type(&call) {
        "" | "application/json" | "*/*" | protobuf::MEDIA_TYPE => body_of(call).await,
        _ => Err(ApiError::unsupported_media_type(&["application/json", protobuf::MEDIA_TYPE])),
    }
}

/// Reads a body as an object of `kind`; with the warnings that field validation asks for.
pub(super) fn decode(kind: KindRef, query: &Query, bytes: &[u8]) -> Result<(Object, Vec<String>), ApiError> {
    let unrecognized = |error: &dyn std::fmt::Display| {
        ApiError::bad_request(format!("the object provided is unrecognized (must be of type {}): {error}", kind.kind))
    };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| unrecognized(&error))?;
    let Value::Object(map) = value else {
        return Err(unrecognized(&"it is no JSON object"));
    };
    let mut warnings = Vec::new();
    let object = check_text(kind, query, map, Some(bytes), &mut warnings)?;
    Ok((object, warnings))
}

/// Makes sure that `map` is an object of `kind`, and treats unknown fields as `fieldValidation` says. What is not
/// refused goes without them.
pub(super) fn check(
    kind: KindRef,
    query: &Query,
    map: Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<Object, ApiError> {
    check_text(kind, query, map, None, warnings)
}

/// As [`check`]; with the text that `map` was read from, which may have a field twice.
fn check_text(
    kind: KindRef,
    query: &Query,
    map: Map<String, Value>,
    text: Option<&[u8]>,
    warnings: &mut Vec<String>,
) -> Result<Object, ApiError> {
    let mut object = Object::from_map(map).of(kind);
    let (api_version, kind_name) = (object.api_version(), object.kind_name());
    if !api_version.is_empty() && api_version != kind.api_version() {
        let expected = kind.api_version();
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({expected})"
        )));
    }
    if !kind_name.is_empty() && kind_name != kind.kind {
        let expected = kind.kind;
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({kind_name}) does not match the expected kind ({expected})"
        )));
    }
    object.json_mut().insert("apiVersion".into(), kind.api_version().into());
    object.json_mut().insert("kind".into(), kind.kind.into());
    let cannot = |why: &str| {
        let (kind, version) = (kind.kind, kind.version);
        ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
    };
    let findings = unknown::examine(&object);
    if let Some(wrong) = findings.wrong.first() {
        let place = match schema::go::field(kind, &wrong.path) {
            Some(field) => format!("Go struct field {} of type {}", field.path, field.type_),
            None => format!("field {} of type {}", wrong.path, wrong.expected),
        };
        return Err(cannot(&format!("json: cannot unmarshal {} into {place}", json_type(&wrong.value))));
    }
    let directive = query.get("fieldValidation");
    if directive != Some("Ignore") {
        let told = match text {
            Some(text) => unknown::strict_errors(text, &findings.unknown),
            None => findings.unknown.iter().map(|f| format!("unknown field \"{}\"", f.path)).collect(),
        };
        if directive == Some("Strict") && !told.is_empty() {
            return Err(cannot(&format!("strict decoding error: {}", told.join(", "))));
        }
        warnings.extend(told);
    }
    unknown::prune(&mut object, &findings.unknown);
    Ok(object)
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Gives the object the namespace and name of the URL, or says how they differ.
pub(super) fn in_place(mut object: Object, target: &Target) -> Result<Object, ApiError> {
    if let Some(name) = target.name.as_deref() {
        if object.name().is_empty() {
            object.metadata_mut().insert("name".into(), name.into());
        } else if object.name() != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                object.name()
            )));
        }
    }
    match target.namespace.as_deref() {
        Some(namespace) if object.namespace().is_empty() => {
            object.metadata_mut().insert("namespace".into(), namespace.into());
        }
        Some(namespace) if object.namespace() != namespace => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        None if target.kind.namespaced => {
            return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
        }
        None => {
            object.metadata_mut().remove("namespace");
        }
        Some(_) => {}
    }
    Ok(object)
}

/// What a write to this path writes.
pub(super) fn part(target: &Target) -> Part {
    match target.subresource.as_deref() {
        Some("status" | "approval") => Part::Status,
        _ => Part::Spec,
    }
}
