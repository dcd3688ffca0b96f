//! The parts of objects that have paths of their own: status, scale, binding, eviction, finalize.

use std::sync::Arc;

use hyper::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::Api;
use super::body::Body;
use super::owners::{Options, Writer};
use super::patch::Patch;
use super::query::Query;
use super::respond::{self, Form};
use super::route::Target;
use super::serve::Call;
use super::status::{ApiError, Cause};
use super::write::{self, DeleteOptions, body_of};
use crate::object::custom::{self, Definition};
use crate::object::kind::{self, KindRef};
use crate::object::write::Part;
use crate::object::{Object, Snapshot, disruption, map_at_mut};

/// How a subresource stands in discovery.
pub struct Subresource {
    pub name: &'static str,
    pub kind: &'static str,
    /// When its kind is of another group than the object's.
    pub of_group: Option<(&'static str, &'static str)>,
    pub verbs: &'static [&'static str],
}

const READ_WRITE: &[&str] = &["get", "patch", "update"];

pub fn of(kind: KindRef) -> Vec<Subresource> {
    let sub = |name, kind, of_group, verbs| Subresource { name, kind, of_group, verbs };
    let mut all = Vec::new();
    if *kind == kind::POD {
        let policy = Some(("policy", "v1"));
        all.extend([
            sub("attach", "PodAttachOptions", None, &["create", "get"][..]),
            sub("binding", "Binding", None, &["create"]),
            sub("eviction", "Eviction", policy, &["create"]),
            sub("exec", "PodExecOptions", None, &["create", "get"]),
            sub("log", "Pod", None, &["get"]),
            sub("portforward", "PodPortForwardOptions", None, &["create", "get"]),
        ]);
    }
    if *kind == kind::NAMESPACE {
        all.push(sub("finalize", "Namespace", None, &["update"]));
    }
    if *kind == kind::SERVICE_ACCOUNT {
        all.push(sub("token", "TokenRequest", Some(("authentication.k8s.io", "v1")), &["create"]));
    }
    if *kind == kind::CERTIFICATE_SIGNING_REQUEST {
        all.push(sub("approval", kind.kind, None, READ_WRITE));
    }
    if has_scale(kind) {
        all.push(sub("scale", "Scale", Some(("autoscaling", "v1")), READ_WRITE));
    }
    if has_status(kind) {
        all.push(sub("status", kind.kind, None, READ_WRITE));
    }
    all
}

fn has_scale(kind: KindRef) -> bool {
    if let Some(custom) = &kind.custom {
        return custom.scale;
    }
    [&kind::DEPLOYMENT, &kind::REPLICA_SET, &kind::REPLICATION_CONTROLLER, &kind::STATEFUL_SET]
        .iter()
        .any(|k| **k == *kind)
}

pub fn has_status(kind: KindRef) -> bool {
    if let Some(custom) = &kind.custom {
        return custom.status;
    }
    [
        &kind::NAMESPACE,
        &kind::NODE,
        &kind::POD,
        &kind::SERVICE,
        &kind::PERSISTENT_VOLUME,
        &kind::PERSISTENT_VOLUME_CLAIM,
        &kind::REPLICATION_CONTROLLER,
        &kind::RESOURCE_QUOTA,
        &kind::DEPLOYMENT,
        &kind::REPLICA_SET,
        &kind::DAEMON_SET,
        &kind::STATEFUL_SET,
        &kind::JOB,
        &kind::CRON_JOB,
        &kind::HORIZONTAL_POD_AUTOSCALER,
        &kind::INGRESS,
        &kind::POD_DISRUPTION_BUDGET,
        &kind::CUSTOM_RESOURCE_DEFINITION,
        &kind::API_SERVICE,
        &kind::CERTIFICATE_SIGNING_REQUEST,
        &kind::FLOW_SCHEMA,
        &kind::PRIORITY_LEVEL_CONFIGURATION,
        &kind::SERVICE_CIDR,
        &kind::RESOURCE_CLAIM,
        &kind::VALIDATING_ADMISSION_POLICY,
        &kind::VOLUME_ATTACHMENT,
    ]
    .iter()
    .any(|k| **k == *kind)
}

pub async fn dispatch(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let name = target.subresource.as_deref().unwrap_or("");
    if !of(target.kind).iter().any(|sub| sub.name == name) {
        return Err(ApiError::no_such_path());
    }
    match (name, call.request.method()) {
        ("status" | "approval", &Method::GET) => super::read::get(target, call),
        ("status" | "approval", &Method::PUT) => write::replace(target, call).await,
        ("status" | "approval", &Method::PATCH) => super::patch::patch(target, call).await,
        ("scale", &Method::GET) => {
            let object = super::custom::served_as(target.kind, &call.api.find(&target)?);
            Ok(respond::json(&scale_of(&object, &ScalePaths::of(target.kind, call.definition.as_deref()))))
        }
        ("scale", &Method::PUT | &Method::PATCH) => set_scale(target, call).await,
        ("binding", &Method::POST) => bind(target, call).await,
        ("eviction", &Method::POST) => evict(target, call).await,
        ("token", &Method::POST) => super::review::token(target, call).await,
        ("finalize", &Method::PUT) => finalize(target, call).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Where the fields of an object's `Scale` are.
struct ScalePaths(Option<custom::ScalePaths>);

impl ScalePaths {
    /// `definition`: the one of a custom kind.
    fn of(kind: KindRef, definition: Option<&Definition>) -> Self {
        ScalePaths(definition.and_then(|d| d.version_of(kind)).and_then(|version| version.scale.clone()))
    }

    fn number(&self, object: &Object, custom: impl Fn(&custom::ScalePaths) -> &[String], own: &[&str]) -> Option<i64> {
        match &self.0 {
            Some(paths) => object.i64_at(&custom(paths).iter().map(String::as_str).collect::<Vec<_>>()),
            None => object.i64_at(own),
        }
    }

    fn selector(&self, object: &Object) -> String {
        let Some(paths) = &self.0 else { return selector_text(object) };
        let path = paths.selector.as_deref().unwrap_or_default();
        object.str_at(&path.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_or("").to_string()
    }

    fn set_replicas(&self, object: &mut Object, replicas: Value) {
        let own = ["spec".to_string(), "replicas".to_string()];
        let path = self.0.as_ref().map_or(&own[..], |paths| &paths.spec_replicas);
        if let Some((last, parents)) = path.split_last() {
            let parent = parents.iter().fold(object.json_mut(), |map, field| map_at_mut(map, field));
            parent.insert(last.clone(), replicas);
        }
    }
}

/// The `Scale` of a workload.
fn scale_of(object: &Object, paths: &ScalePaths) -> Value {
    let metadata = object.metadata();
    let mut shown = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = metadata.and_then(|m| m.get(field)) {
            shown.insert(field.into(), value.clone());
        }
    }
    let replicas = paths.number(object, |p| &p.status_replicas, &["status", "replicas"]).unwrap_or(0);
    // A built-in workload that says nothing has one replica, a custom one none that is known.
    let unset = i64::from(paths.0.is_none());
    let wanted = paths.number(object, |p| &p.spec_replicas, &["spec", "replicas"]).unwrap_or(unset);
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": shown,
        "spec": {"replicas": wanted},
        "status": {"replicas": replicas, "selector": paths.selector(object)}})
}

/// A workload's selector as text; ReplicationControllers have a plain map.
fn selector_text(object: &Object) -> String {
    let Some(selector) = object.at(&["spec", "selector"]).and_then(Value::as_object) else {
        return String::new();
    };
    let plain = object.kind().is_some_and(|k| *k == kind::REPLICATION_CONTROLLER);
    let labels = if plain { Some(selector) } else { selector.get("matchLabels").and_then(Value::as_object) };
    super::table::cells::labels(labels, "")
}

async fn set_scale(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query) = (call.api.clone(), call.query.clone());
    let paths = ScalePaths::of(target.kind, call.definition.as_deref());
    let (scale, writer) = ScaleChange::of(&target, call).await?;
    let changed =
        api.change(&Target { subresource: None, ..target.clone() }, Part::Spec, query.dry_run()?, |current| {
            let wanted = scale.apply(scale_of(current, &paths))?;
            let replicas = wanted.pointer("/spec/replicas").cloned().unwrap_or(json!(0));
            if replicas.as_i64().is_none_or(|n| !(0..=i64::from(i32::MAX)).contains(&n)) {
                let why = "must be greater than or equal to 0";
                let cause = Cause::invalid("spec.replicas", &replicas, why);
                return Err(ApiError::invalid(target.kind, current.name(), vec![cause]));
            }
            let mut object = match scale {
                // What is applied to the scale is applied to the object's own field.
                ScaleChange::Patch(ref patch) if patch.is_apply() => {
                    let mut config = Object::from_map(Map::new());
                    config.json_mut().insert("apiVersion".into(), current.api_version().into());
                    config.json_mut().insert("kind".into(), current.kind_name().into());
                    config.metadata_mut().insert("name".into(), current.name().into());
                    paths.set_replicas(&mut config, replicas);
                    Object::from_map(writer.apply(target.kind, Some(current), config.json())?).of(target.kind)
                }
                _ => {
                    let mut object = current.clone();
                    paths.set_replicas(&mut object, replicas);
                    writer.record(target.kind, Some(current), object)
                }
            };
            if let Some(version) = wanted.pointer("/metadata/resourceVersion") {
                object.metadata_mut().insert("resourceVersion".into(), version.clone());
            }
            Ok(object)
        })?;
    Ok(respond::json(&scale_of(&changed, &paths)))
}

enum ScaleChange {
    Replace(Value),
    Patch(Patch),
}

impl ScaleChange {
    async fn of(target: &Target, call: Call) -> Result<(Self, Writer), ApiError> {
        if call.request.method() == Method::PATCH {
            let (patch, writer) = Patch::of(target, call).await?;
            return Ok((ScaleChange::Patch(patch), writer));
        }
        let writer = Writer::of(&call, Options::Update, target.subresource.as_deref())?;
        Ok((ScaleChange::Replace(json_body(call).await?), writer))
    }

    fn apply(&self, current: Value) -> Result<Value, ApiError> {
        match (self, current) {
            (ScaleChange::Replace(wanted), _) => Ok(wanted.clone()),
            (ScaleChange::Patch(patch), _) if patch.is_apply() => Ok(patch.value().clone()),
            (ScaleChange::Patch(patch), Value::Object(current)) => patch.apply_plain(current).map(Value::Object),
            (ScaleChange::Patch(_), other) => Ok(other),
        }
    }
}

async fn json_body(call: Call) -> Result<Value, ApiError> {
    let bytes = body_of(call).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request(format!("the body is no JSON: {error}")))
}

/// Puts a pod on a node, once.
async fn bind(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query) = (call.api.clone(), call.query.clone());
    let binding = json_body(call).await?;
    let Some(node) = binding.pointer("/target/name").and_then(Value::as_str).filter(|n| !n.is_empty()) else {
        return Err(ApiError::bad_request("the Binding names no node in target.name"));
    };
    let pod = Target { subresource: None, ..target };
    change_directly(&api, &pod, &query, |pod| {
        if let Some(bound) = pod.str_at(&["spec", "nodeName"]).filter(|n| !n.is_empty()) {
            let why = format!("pod {} is already assigned to node \"{bound}\"", pod.name());
            let message = format!("Operation cannot be fulfilled on pods/binding \"{}\": {why}", pod.name());
            return Err(ApiError::new(StatusCode::CONFLICT, "Conflict", message));
        }
        map_at_mut(pod.json_mut(), "spec").insert("nodeName".into(), node.into());
        Ok(())
    })?;
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::json_with(StatusCode::CREATED, &status))
}

/// Deletes a pod, where its disruption budget lets it go.
async fn evict(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query) = (call.api.clone(), call.query.clone());
    let eviction = json_body(call).await?;
    let options = eviction.get("deleteOptions").cloned().unwrap_or(json!({}));
    let options = DeleteOptions::of(&query, options.to_string().as_bytes())?;
    let target = Target { subresource: None, ..target };
    // Held until the pod is marked, so that two evictions do not spend the same of a budget.
    let _admitting = api.admitting();
    may_evict(&api.store.snapshot(), &*api.find(&target)?)?;
    api.delete(&target, &options)?;
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::json_with(StatusCode::CREATED, &status))
}

fn may_evict(snapshot: &Snapshot, pod: &Object) -> Result<(), ApiError> {
    // It serves nobody yet, or any more.
    if pod.is_terminating() || matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed" | "Pending")) {
        return Ok(());
    }
    let budgets = snapshot.list_in(&kind::POD_DISRUPTION_BUDGET, pod.namespace());
    let budgets: Vec<&Arc<Object>> = budgets.filter(|budget| disruption::is_about(budget, pod)).collect();
    let pdb = match budgets.as_slice() {
        [] => return Ok(()),
        [one] => one,
        _ => {
            let message =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message));
        }
    };
    let is = disruption::budget(snapshot, pdb);
    if !disruption::is_healthy(pod) {
        let always = pdb.str_at(&["spec", "unhealthyPodEvictionPolicy"]) == Some("AlwaysAllow");
        if always || (is.healthy >= is.desired && is.desired > 0) {
            return Ok(());
        }
    }
    if is.allowed > 0 {
        return Ok(());
    }
    let mut error = ApiError::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.");
    let message = format!(
        "The disruption budget {} needs {} healthy pods and has {} currently",
        pdb.name(),
        is.desired,
        is.healthy
    );
    error.details = None;
    Err(error.with_causes(vec![json!({"reason": "DisruptionBudget", "message": message})]))
}

/// Sets a Namespace's `spec.finalizers`.
async fn finalize(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let (api, query, form) = (call.api.clone(), call.query.clone(), Form::wanted(&call)?);
    let wanted = json_body(call).await?;
    let namespace = Target { subresource: None, ..target };
    let changed = change_directly(&api, &namespace, &query, |namespace| {
        let spec = map_at_mut(namespace.json_mut(), "spec");
        match wanted.pointer("/spec/finalizers") {
            Some(finalizers) => spec.insert("finalizers".into(), finalizers.clone()),
            None => spec.remove("finalizers"),
        };
        Ok(())
    })?;
    Ok(respond::object(&form, StatusCode::OK, &changed))
}

/// Changes an object past what clients may change in it.
fn change_directly(
    api: &Api,
    target: &Target,
    query: &Query,
    change: impl Fn(&mut Object) -> Result<(), ApiError>,
) -> Result<Arc<Object>, ApiError> {
    api.change_with(target, Part::Spec, query.dry_run()?, false, |current| {
        let mut object = current.clone();
        change(&mut object)?;
        Ok(object)
    })
}
