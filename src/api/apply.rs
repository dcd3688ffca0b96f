//! `POST /apis/nslab.dev/v1alpha1/apply`: many manifests at once, as `kubectl apply` would apply each; all of them or
//! none.
//!
//! The body is a JSON list of manifests. Query: `namespace` for those that name none (`default`), `dryRun=All`,
//! `fieldValidation`, `fieldManager`; `serverSide=true` for what `kubectl apply --server-side` does, then also `force`.
//! The answer is `{"items": [`[`Applied`]`, ...]}` in the order of the manifests, or a `Status` whose
//! causes carry the `index` of the manifest they are about.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::admission::{self, Used};
use super::body::Body;
use super::owners::Writer;
use super::query::Query;
use super::respond;
use super::route::Target;
use super::serve::Call;
use super::status::ApiError;
use super::subresource::has_status;
use super::write::{body_of, check, in_place};
use crate::object::changes::{self, Change};
use crate::object::merge::{LAST_APPLIED, last_applied_text, three_way};
use crate::object::write::Part;
use crate::object::{Key, KindRef, Object, Objects, Snapshot, Write, custom, kind, map_at_mut};
use crate::store::{Store, WriteError};

/// What became of one manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub api_version: String,
    pub kind: String,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    pub name: String,
    pub outcome: Outcome,
    /// What is different, of one that was configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What that leads to, where it is more than it says: `new pods`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Created,
    Configured,
    Unchanged,
}

/// How often all is computed anew because something changed one of the objects meanwhile.
const ATTEMPTS: usize = 8;

pub async fn post(call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query) = (call.api.clone(), call.query.clone());
    let bytes = body_of(call).await?;
    let body: Value = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::bad_request(format!("the list of manifests is no JSON: {error}")))?;
    let manifests = match body {
        Value::Array(list) => list,
        _ => return Err(ApiError::bad_request("the body must be a JSON list of manifests")),
    };
    let _admitting = api.admitting();
    let applied = apply(&api.store, &manifests, &query)?;
    Ok(respond::json(&json!({"kind": "ApplyResult", "apiVersion": "nslab.dev/v1alpha1", "items": applied})))
}

/// Applies manifests to a store that nobody else writes to meanwhile; for `lab plan`.
///
/// # Errors
/// One for all that is wrong with any of them; then nothing has been written.
pub fn apply_all(store: &Store, manifests: &[Value]) -> Result<Vec<Applied>, ApiError> {
    apply(store, manifests, &Query::default())
}

fn apply(store: &Store, manifests: &[Value], query: &Query) -> Result<Vec<Applied>, ApiError> {
    let dry_run = query.dry_run()?;
    // What earlier attempts have done, when something else changed an object at the same moment.
    let mut done: BTreeMap<Key, Applied> = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        let mut batch = Batch::over(&store.snapshot(), query);
        let mut applied = batch.add_all(manifests)?;
        for (key, one) in &mut applied {
            if let Some(earlier) = done.get(key) {
                (one.outcome, one.effect) = (earlier.outcome, earlier.effect.clone());
                one.changes.clone_from(&earlier.changes);
            }
        }
        let results = if dry_run { Vec::new() } else { store.commit(batch.writes()) };
        let mut again = false;
        for (key, result) in batch.order.iter().zip(results) {
            match result {
                Ok(_) => {
                    let told = applied.iter().find(|(of, _)| of == key).map(|(_, one)| one.clone());
                    done.extend(told.map(|one| (key.clone(), one)));
                }
                Err(error @ WriteError::Storage(_)) => return Err(ApiError::from_write(key.kind, &key.name, error)),
                Err(_) => again = true,
            }
        }
        if !again {
            return Ok(applied.into_iter().map(|(_, one)| one).collect());
        }
    }
    Err(ApiError::internal("the objects change too fast"))
}

struct Planned {
    object: Object,
    creates: bool,
}

/// Manifests that are applied one after the other to objects that nobody else sees yet.
struct Batch<'a> {
    query: &'a Query,
    server_side: bool,
    writer: Writer,
    objects: Arc<Objects>,
    version: u64,
    used: Option<Used>,
    planned: BTreeMap<Key, Planned>,
    /// The planned keys in the order in which they are to be written.
    order: Vec<Key>,
}

impl<'a> Batch<'a> {
    fn over(snapshot: &Snapshot, query: &'a Query) -> Self {
        let server_side = query.flag("serverSide");
        Batch {
            query,
            server_side,
            writer: Writer::of_lab_apply(query, server_side),
            objects: snapshot.objects().clone(),
            version: snapshot.resource_version(),
            used: None,
            planned: BTreeMap::new(),
            order: Vec::new(),
        }
    }

    /// Namespaces and definitions go first, so that what is in them, and what they define, may stand before them.
    fn add_all(&mut self, manifests: &[Value]) -> Result<Vec<(Key, Applied)>, ApiError> {
        let of_kind = |m: &Value, kind: KindRef| m.get("kind").and_then(Value::as_str) == Some(kind.kind);
        let is_first = |m: &Value| of_kind(m, &kind::NAMESPACE) || of_kind(m, &kind::CUSTOM_RESOURCE_DEFINITION);
        let is_lab = |m: &Value| m.get("kind").and_then(Value::as_str) == Some(kind::LAB.kind);
        let mut indexes: Vec<usize> = (0..manifests.len()).collect();
        indexes.sort_by_key(|i| {
            manifests.get(*i).map_or(3, |m| match m {
                m if is_lab(m) => 0,
                m if is_first(m) => 1,
                // Pods need theirs.
                m if of_kind(m, &kind::SERVICE_ACCOUNT) => 2,
                _ => 3,
            })
        });
        let mut applied: Vec<(usize, (Key, Applied))> = Vec::with_capacity(manifests.len());
        let mut errors: Vec<(usize, ApiError)> = Vec::new();
        for index in indexes {
            match self.add(manifests.get(index).unwrap_or(&Value::Null)) {
                Ok(one) => applied.push((index, one)),
                Err(error) => errors.push((index, error)),
            }
        }
        if !errors.is_empty() {
            return Err(all_errors(errors));
        }
        applied.sort_by_key(|(index, _)| *index);
        Ok(applied.into_iter().map(|(_, one)| one).collect())
    }

    fn add(&mut self, manifest: &Value) -> Result<(Key, Applied), ApiError> {
        let map = manifest.as_object().ok_or_else(|| ApiError::bad_request("the manifest is no JSON object"))?;
        let (object, mut warnings) = admission::plug::to_current(Object::from_map(map.clone()));
        let known = object.kind().or_else(|| {
            let snapshot = Snapshot::new(self.objects.clone(), self.version);
            custom::by_api_version_kind(&snapshot, object.api_version(), object.kind_name())
        });
        let kind = known.ok_or_else(|| {
            let (kind, version) = (object.kind_name(), object.api_version());
            let message = format!("no matches for kind \"{kind}\" in version \"{version}\"");
            ApiError::new(StatusCode::NOT_FOUND, "NotFound", message)
        })?;
        if object.name().is_empty() && object.metadata().is_some_and(|m| m.contains_key("generateName")) {
            return Err(ApiError::bad_request("cannot use generate name with apply"));
        }
        let object = check(kind, self.query, object.into_map(), &mut warnings)?;
        let crd = self.objects.get(&Key::new(&kind::CUSTOM_RESOURCE_DEFINITION, "", kind.resource()));
        let definition = crd.filter(|_| kind.custom.is_some()).and_then(|crd| custom::definition(crd));
        super::custom::field_validation(definition.as_deref(), self.query, &object, &mut warnings)?;
        let namespace = match object.namespace() {
            "" => self.query.get("namespace").unwrap_or("default"),
            namespace => namespace,
        };
        let namespace = kind.namespaced.then(|| namespace.to_string());
        let object = in_place(object, &Target { kind, namespace, name: None, subresource: None })?;
        let manifest = if self.server_side { object } else { with_last_applied(object) };
        let key = Key::new(kind, manifest.namespace(), manifest.name());
        let before = self.objects.get(&key).cloned();
        let outcome = match &before {
            None => {
                let manifest = match self.server_side {
                    true => Object::from_map(self.writer.apply(kind, None, manifest.json())?).of(kind),
                    false => self.writer.record(kind, None, manifest),
                };
                let snapshot = Snapshot::new(self.objects.clone(), self.version);
                let rng = &mut rand::rng();
                let object = admission::admit_create_with(&snapshot, manifest, rng, &mut self.used)?;
                drop(snapshot);
                self.plan(key.clone(), object, true);
                Outcome::Created
            }
            Some(current) => {
                let current = super::custom::served_as(kind, current);
                self.add_change(&key, manifest, &current, &mut warnings)?
            }
        };
        let changes = match (before, self.objects.get(&key)) {
            (Some(before), Some(after)) => changes::changes(kind, before.json(), after.json()),
            _ => Vec::new(),
        };
        let effect = changes::replace_pods(kind, &changes).then(|| "new pods".to_string());
        let applied = Applied {
            api_version: kind.api_version(),
            kind: kind.kind.to_string(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            outcome,
            changes,
            effect,
            warnings,
        };
        Ok((key, applied))
    }

    fn add_change(
        &mut self,
        key: &Key,
        manifest: Object,
        current: &Arc<Object>,
        warnings: &mut Vec<String>,
    ) -> Result<Outcome, ApiError> {
        let merged = match self.server_side {
            true => self.writer.apply_and_migrate(key.kind, Some(current), manifest.json())?,
            false => merged_here(key, &manifest, current, warnings),
        };
        let mut merged = Object::from_map(merged).of(manifest.kind().unwrap_or(key.kind));
        let version = current.metadata().and_then(|m| m.get("resourceVersion")).cloned();
        if let Some(version) = version {
            merged.metadata_mut().insert("resourceVersion".into(), version);
        }
        let snapshot = Snapshot::new(self.objects.clone(), self.version);
        let rng = &mut rand::rng();
        let mut merged = admission::admit_update_with(&snapshot, current, merged, rng, &mut self.used)?;
        drop(snapshot);
        if !self.server_side {
            merged = self.writer.record(key.kind, Some(current), merged);
        }
        // Not a manifest's to say, and to stay as it is to the last null.
        if has_status(key.kind) {
            match current.json().get("status") {
                Some(status) => merged.json_mut().insert("status".into(), status.clone()),
                None => merged.json_mut().remove("status"),
            };
        }
        if merged == **current {
            return Ok(Outcome::Unchanged);
        }
        if current.is_terminating() {
            warnings.push(format!("Detected changes to resource {} which is currently being deleted.", key.name));
        }
        let creates = self.planned.get(key).is_some_and(|planned| planned.creates);
        self.plan(key.clone(), merged, creates);
        Ok(Outcome::Configured)
    }

    fn plan(&mut self, key: Key, object: Object, creates: bool) {
        Arc::make_mut(&mut self.objects).insert(key.clone(), Arc::new(object.clone()));
        if self.planned.insert(key.clone(), Planned { object, creates }).is_none() {
            self.order.push(key);
        }
    }

    fn writes(&self) -> Vec<Write> {
        let write = |planned: &Planned| match planned.creates {
            true => Write::Create(planned.object.clone()),
            false => Write::Update(planned.object.clone(), Part::Spec),
        };
        self.order.iter().filter_map(|key| self.planned.get(key)).map(write).collect()
    }
}

/// What `kubectl apply` makes of the configuration applied last, this one, and the live object; with a warning when the
/// first is not known.
fn merged_here(key: &Key, manifest: &Object, current: &Object, warnings: &mut Vec<String>) -> Map<String, Value> {
    let original = current.annotation(LAST_APPLIED).and_then(|text| serde_json::from_str::<Map<_, _>>(text).ok());
    if original.is_none() {
        let (resource, name) = (key.kind.resource(), &key.name);
        warnings.push(format!(
            "resource {resource}/{name} is missing the {LAST_APPLIED} annotation which is required by apply. It should \
             only be used on resources created declaratively. The missing annotation will be patched automatically."
        ));
    }
    three_way(key.kind, &original.unwrap_or_default(), manifest.json(), current.json())
}

/// The manifest with itself as the annotation that the next apply compares with.
fn with_last_applied(mut manifest: Object) -> Object {
    if let Some(Value::Object(annotations)) = manifest.metadata_mut().get_mut("annotations") {
        annotations.remove(LAST_APPLIED);
    }
    map_at_mut(manifest.metadata_mut(), "annotations");
    let text = last_applied_text(&manifest.to_value());
    manifest.set_annotation(LAST_APPLIED, &text);
    manifest
}

/// One `Status` for the errors of many manifests.
fn all_errors(mut errors: Vec<(usize, ApiError)>) -> ApiError {
    errors.sort_by_key(|(index, _)| *index);
    let causes: Vec<Value> = errors
        .iter()
        .map(|(index, error)| {
            let mut cause = json!({"index": index, "reason": error.reason, "message": error.message,
                "field": format!("[{index}]"), "code": error.code.as_u16()});
            if let Some(details) = &error.details {
                cause["details"] = Value::Object(details.clone());
            }
            cause
        })
        .collect();
    let messages: Vec<&str> = errors.iter().map(|(_, error)| error.message.as_str()).collect();
    let (code, reason) = match errors.as_slice() {
        [(_, only)] => (only.code, only.reason),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
    };
    ApiError::new(code, reason, messages.join("\n")).with_causes(causes)
}
