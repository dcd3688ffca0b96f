//! What is served: groups, versions and resources, in the old form and in the aggregated one.

use std::collections::BTreeSet;

use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::body::Body;
use super::review::CREATE_ONLY;
use super::serve::Call;
use super::{KUBERNETES_VERSION, custom, respond, subresource};
use crate::object::KindRef;
use crate::store::Store;

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

pub fn version() -> Value {
    let mut numbers = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    json!({
        "major": numbers.next().unwrap_or("1"), "minor": numbers.next().unwrap_or("0"),
        "gitVersion": format!("{KUBERNETES_VERSION}+nslab"), "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

pub fn paths(store: &Store) -> Value {
    let mut paths: BTreeSet<String> =
        ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
            .map(String::from)
            .into();
    paths.insert("/openapi/v3/api/v1".into());
    for (group, version) in custom::groups_and_versions(store) {
        paths.insert(format!("/openapi/v3/apis/{group}/{version}"));
        paths.insert(format!("/apis/{group}"));
        paths.insert(format!("/apis/{group}/{version}"));
    }
    json!({ "paths": paths })
}

/// What is served of a group in a version.
pub fn kinds_of(store: &Store, group: &str, version: &str) -> Vec<KindRef> {
    let mut kinds = custom::kinds(store);
    kinds.retain(|kind| kind.group == group && kind.version == version);
    kinds
}

fn wants_aggregated(call: &Call) -> bool {
    call.header("accept").split(',').any(|media| {
        let has = |wanted: &str| media.split(';').any(|part| part.trim() == wanted);
        has("as=APIGroupDiscoveryList") && has("v=v2")
    })
}

pub fn core_versions(call: &Call) -> Response<Body> {
    if wants_aggregated(call) {
        return aggregated(&call.api.store, &[("", "v1")]);
    }
    respond::json(&json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]}))
}

pub fn groups(call: &Call) -> Response<Body> {
    let all = custom::groups_and_versions(&call.api.store);
    if wants_aggregated(call) {
        return aggregated(&call.api.store, &all);
    }
    let groups: Vec<Value> = all.chunk_by(|(a, _), (b, _)| a == b).map(group_value).collect();
    respond::json(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

pub fn group(store: &Store, name: &str) -> Value {
    let mut versions = custom::groups_and_versions(store);
    versions.retain(|(group, _)| *group == name);
    let mut group = group_value(&versions);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

/// A group by its versions, the preferred one first.
fn group_value(versions: &[(&str, &str)]) -> Value {
    let version =
        |(group, version): &(&str, &str)| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let name = versions.first().map(|(group, _)| *group);
    json!({"name": name, "versions": versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(version)})
}

pub fn resources(store: &Store, group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for kind in kinds_of(store, group, version) {
        let mut resource = json!({"name": kind.plural, "singularName": kind.singular(), "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": VERBS});
        if !kind.short.is_empty() {
            resource["shortNames"] = json!(kind.short);
        }
        if !kind.categories().is_empty() {
            resource["categories"] = json!(kind.categories());
        }
        resources.push(resource);
        for sub in subresource::of(kind) {
            let mut resource = json!({"name": format!("{}/{}", kind.plural, sub.name), "singularName": "",
                "namespaced": kind.namespaced, "kind": sub.kind, "verbs": sub.verbs});
            if let Some((group, version)) = sub.of_group {
                resource["group"] = group.into();
                resource["version"] = version.into();
            }
            resources.push(resource);
        }
    }
    for (_, _, name, kind, namespaced) in create_only(group, version) {
        resources.push(json!({"name": name, "singularName": kind.to_lowercase(), "namespaced": namespaced,
            "kind": kind, "verbs": ["create"]}));
    }
    let group_version = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
}

/// The kinds of a group and version that are never stored.
fn create_only(
    group: &str,
    version: &str,
) -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str, bool)> {
    CREATE_ONLY.into_iter().filter(move |(of, in_version, ..)| *of == group && *in_version == version)
}

/// Everything in one answer (`apidiscovery.k8s.io/v2`), which saves a client a request per group.
fn aggregated(store: &Store, groups: &[(&str, &str)]) -> Response<Body> {
    let items: Vec<Value> =
        groups.chunk_by(|(a, _), (b, _)| a == b).map(|versions| aggregated_group(store, versions)).collect();
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items});
    let mut response = respond::json(&list);
    let content_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn aggregated_group(store: &Store, versions: &[(&str, &str)]) -> Value {
    let version = |(group, version): &(&str, &str)| {
        let mut resources: Vec<Value> = kinds_of(store, group, version).into_iter().map(aggregated_resource).collect();
        for (group, version, name, kind, namespaced) in create_only(group, version) {
            resources.push(json!({"resource": name, "singularResource": kind.to_lowercase(), "verbs": ["create"],
                "responseKind": {"group": group, "version": version, "kind": kind},
                "scope": if namespaced { "Namespaced" } else { "Cluster" }}));
        }
        json!({"version": version, "freshness": "Current", "resources": resources})
    };
    let name = versions.first().map(|(group, _)| *group);
    json!({"metadata": {"name": name}, "versions": versions.iter().map(version).collect::<Vec<_>>()})
}

fn aggregated_resource(kind: KindRef) -> Value {
    let kind_of = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let subresources: Vec<Value> = subresource::of(kind)
        .iter()
        .map(|sub| {
            let (group, version) = sub.of_group.unwrap_or((kind.group, kind.version));
            json!({"subresource": sub.name, "responseKind": kind_of(group, version, sub.kind), "verbs": sub.verbs})
        })
        .collect();
    let mut value = json!({"resource": kind.plural, "responseKind": kind_of(kind.group, kind.version, kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" }, "singularResource": kind.singular(),
        "verbs": VERBS});
    for (field, list) in [
        ("shortNames", json!(kind.short)),
        ("categories", json!(kind.categories())),
        ("subresources", json!(subresources)),
    ] {
        if list.as_array().is_some_and(|l| !l.is_empty()) {
            value[field] = list;
        }
    }
    value
}
