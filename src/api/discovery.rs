//! What is served: groups, versions and resources, in the old form and in the aggregated one.

use std::collections::BTreeSet;

use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::body::Body;
use super::serve::Call;
use super::{KUBERNETES_VERSION, respond, subresource};
use crate::object::kind::{self, KindRef};

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

pub fn version() -> Value {
    let mut numbers = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    json!({
        "major": numbers.next().unwrap_or("1"), "minor": numbers.next().unwrap_or("0"),
        "gitVersion": format!("{KUBERNETES_VERSION}+nslab"), "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

pub fn paths() -> Value {
    let mut paths: BTreeSet<String> =
        ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
            .map(String::from)
            .into();
    paths.insert("/openapi/v3/api/v1".into());
    for (group, version) in groups_and_versions() {
        paths.insert(format!("/openapi/v3/apis/{group}/{version}"));
        paths.insert(format!("/apis/{group}"));
        paths.insert(format!("/apis/{group}/{version}"));
    }
    json!({ "paths": paths })
}

/// Groups but the core one, in the order of their first kind.
pub fn groups_and_versions() -> Vec<(&'static str, &'static str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for kind in kind::ALL.iter().filter(|k| !k.group.is_empty()) {
        if !found.contains(&(kind.group, kind.version)) {
            found.push((kind.group, kind.version));
        }
    }
    found
}

pub fn kinds_of<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = KindRef> + 'a {
    kind::ALL.iter().copied().filter(move |k| k.group == group && k.version == version)
}

fn wants_aggregated(call: &Call) -> bool {
    call.header("accept").split(',').any(|media| {
        let has = |wanted: &str| media.split(';').any(|part| part.trim() == wanted);
        has("as=APIGroupDiscoveryList") && has("v=v2")
    })
}

pub fn core_versions(call: &Call) -> Response<Body> {
    if wants_aggregated(call) {
        return aggregated(&[("", "v1")]);
    }
    respond::json(&json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]}))
}

pub fn groups(call: &Call) -> Response<Body> {
    if wants_aggregated(call) {
        return aggregated(&groups_and_versions());
    }
    let groups: Vec<Value> = groups_and_versions().into_iter().map(|(g, v)| group_value(g, v)).collect();
    respond::json(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

pub fn group(name: &str) -> Value {
    let version = groups_and_versions().into_iter().find(|(g, _)| *g == name).map_or("v1", |(_, v)| v);
    let mut group = group_value(name, version);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

fn group_value(group: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

pub fn resources(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for kind in kinds_of(group, version) {
        let mut resource = json!({"name": kind.plural, "singularName": kind.singular(), "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": VERBS});
        if !kind.short.is_empty() {
            resource["shortNames"] = json!(kind.short);
        }
        if kind.in_all {
            resource["categories"] = json!(["all"]);
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
    let group_version = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
}

/// Everything in one answer (`apidiscovery.k8s.io/v2`), which saves a client a request per group.
fn aggregated(groups: &[(&str, &str)]) -> Response<Body> {
    let items: Vec<Value> = groups.iter().map(|(group, version)| aggregated_group(group, version)).collect();
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items});
    let mut response = respond::json(&list);
    let content_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn aggregated_group(group: &str, version: &str) -> Value {
    let kind_of = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let resource = |kind: KindRef| {
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
            ("categories", if kind.in_all { json!(["all"]) } else { json!([]) }),
            ("subresources", json!(subresources)),
        ] {
            if list.as_array().is_some_and(|l| !l.is_empty()) {
                value[field] = list;
            }
        }
        value
    };
    let resources: Vec<Value> = kinds_of(group, version).map(resource).collect();
    json!({"metadata": {"name": group}, "versions": [{"version": version, "freshness": "Current",
        "resources": resources}]})
}
