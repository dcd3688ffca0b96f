//! OpenAPI v3, as little of it as makes kubectl leave validation to the server: each kind's paths with the parameter
//! `fieldValidation`.

use hyper::Response;
use serde_json::{Map, Value, json};

use super::body::Body;
use super::custom::{self, groups_and_versions};
use super::discovery::kinds_of;
use super::respond;
use super::status::ApiError;
use crate::object::kind::KindRef;
use crate::store::Store;

pub fn get(store: &Store, path: &str) -> Result<Response<Body>, ApiError> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    match parts.as_slice() {
        [] => Ok(respond::json(&index(store))),
        ["api", version] => document(store, "", version),
        ["apis", group, version] => document(store, group, version),
        _ => Err(ApiError::no_such_path()),
    }
}

fn index(store: &Store) -> Value {
    let entry = |path: String| {
        let url = json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
        (path, url)
    };
    let core = std::iter::once(entry("api/v1".into()));
    let paths: Map<String, Value> =
        core.chain(groups_and_versions(store).iter().map(|(g, v)| entry(format!("apis/{g}/{v}")))).collect();
    json!({ "paths": paths })
}

fn document(store: &Store, group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in kinds_of(store, group, version) {
        let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let within = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let plural = kind.plural;
        paths.insert(format!("{root}{within}/{plural}"), json!({"post": operation(kind, "post")}));
        paths.insert(
            format!("{root}{within}/{plural}/{{name}}"),
            json!({"put": operation(kind, "put"), "patch": operation(kind, "patch")}),
        );
        let name = if group.is_empty() { "core" } else { group };
        let own = custom::schema(store, kind);
        let mut schema = own.unwrap_or_else(|| json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(kind)]);
        schemas.insert(format!("{name}.{version}.{}", kind.kind), schema);
    }
    if paths.is_empty() && !groups_and_versions(store).contains(&(group, version)) {
        return Err(ApiError::no_such_path());
    }
    Ok(respond::json(&json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths, "components": {"schemas": schemas}})))
}

fn group_version_kind(kind: KindRef) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn operation(kind: KindRef, action: &str) -> Value {
    let parameter =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    json!({
        "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": group_version_kind(kind),
    })
}
