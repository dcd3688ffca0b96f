//! The paths of a kind, with what may be done at each: what clients look up is the kind that an operation is about,
//! which patches it takes, and which parameters.

use serde_json::{Map, Value, json};

use super::super::write::{APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};
use super::super::{protobuf, subresource};
use super::JSON;
use crate::object::KindRef;
use crate::object::merge::keys::has_strategy;
use crate::object::schema::{self, GROUP_VERSION_KIND};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V2,
    V3,
}

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carries {
    Nothing,
    Object,
    Patch,
}

/// One thing that may be done at a path.
struct Operation<'a> {
    method: &'static str,
    action: &'static str,
    /// The kind that it is about, for a subresource another one than the objects'.
    group_version_kind: Value,
    carries: Carries,
    kind: KindRef,
    /// Objects of the kind are what it takes and gives.
    of_the_kind: bool,
    parameters: &'a [&'a str],
}

const LISTS: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITES: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCHES: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETES: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];

/// The paths of a kind's objects and of their parts.
pub fn of(kind: KindRef, version: Version) -> Vec<(String, Value)> {
    let root = match kind.group {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    let all = format!("{root}/{}", kind.plural);
    let list = operation(kind, "get", "list", Carries::Nothing, LISTS);
    let collection = [
        list,
        operation(kind, "post", "post", Carries::Object, WRITES),
        operation(kind, "delete", "deletecollection", Carries::Nothing, DELETES),
    ];
    let one = [
        operation(kind, "get", "get", Carries::Nothing, &[]),
        operation(kind, "put", "put", Carries::Object, WRITES),
        operation(kind, "patch", "patch", Carries::Patch, PATCHES),
        operation(kind, "delete", "delete", Carries::Nothing, DELETES),
    ];
    let mut paths = Vec::new();
    let mut within: Vec<&str> = Vec::new();
    let base = match kind.namespaced {
        true => {
            paths.push((all, item(&collection[..1], &within, version)));
            within.push("namespace");
            format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
        }
        false => all,
    };
    paths.push((base.clone(), item(&collection, &within, version)));
    within.push("name");
    paths.push((format!("{base}/{{name}}"), item(&one, &within, version)));
    for part in subresource::of(kind) {
        let operations: Vec<Operation> = part.verbs.iter().filter_map(|verb| on_part(kind, &part, verb)).collect();
        paths.push((format!("{base}/{{name}}/{}", part.name), item(&operations, &within, version)));
    }
    paths
}

fn operation<'a>(
    kind: KindRef,
    method: &'static str,
    action: &'static str,
    carries: Carries,
    parameters: &'a [&'a str],
) -> Operation<'a> {
    let group_version_kind = schema::group_version_kind(kind);
    let of_the_kind = !matches!(action, "list" | "delete" | "deletecollection");
    Operation { method, action, group_version_kind, carries, kind, of_the_kind, parameters }
}

fn on_part(kind: KindRef, part: &subresource::Subresource, verb: &str) -> Option<Operation<'static>> {
    let (method, carries, parameters) = match verb {
        "get" => ("get", Carries::Nothing, &[][..]),
        "create" => ("post", Carries::Object, WRITES),
        "update" => ("put", Carries::Object, WRITES),
        "patch" => ("patch", Carries::Patch, PATCHES),
        _ => return None,
    };
    let mut operation = operation(kind, method, method, carries, parameters);
    let (group, version) = part.of_group.unwrap_or((kind.group, kind.version));
    operation.group_version_kind = json!({"group": group, "version": version, "kind": part.kind});
    operation.of_the_kind = part.kind == kind.kind && part.name != "log";
    Some(operation)
}

/// A path with its operations; `within` are the parts of the path that are names.
fn item(operations: &[Operation], within: &[&str], version: Version) -> Value {
    let mut item: Map<String, Value> =
        operations.iter().map(|operation| (operation.method.to_string(), operation.value(version))).collect();
    if !within.is_empty() {
        let parameter = |name: &&str| parameter(name, "path", version);
        item.insert("parameters".into(), within.iter().map(parameter).collect());
    }
    Value::Object(item)
}

fn parameter(name: &str, place: &str, version: Version) -> Value {
    let type_ = match name {
        "allowWatchBookmarks" | "force" | "orphanDependents" | "sendInitialEvents" | "watch" => "boolean",
        "gracePeriodSeconds" | "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    };
    let mut parameter = json!({"name": name, "in": place});
    if place == "path" {
        parameter["required"] = true.into();
    }
    match version {
        Version::V2 => {
            parameter["type"] = type_.into();
            parameter["uniqueItems"] = true.into();
        }
        Version::V3 => parameter["schema"] = json!({"type": type_, "uniqueItems": true}),
    }
    parameter
}

impl Operation<'_> {
    fn value(&self, version: Version) -> Value {
        let mut parameters: Vec<Value> = self.parameters.iter().map(|name| parameter(name, "query", version)).collect();
        let mut value = json!({"x-kubernetes-action": self.action, GROUP_VERSION_KIND: self.group_version_kind});
        let object = self.schema(version);
        let takes = match self.carries {
            Carries::Patch => json!({"type": "object"}),
            _ => object.clone(),
        };
        match version {
            Version::V2 => {
                value["produces"] = json!([JSON]);
                value["consumes"] = self.media_types().into();
                if self.carries != Carries::Nothing {
                    parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": takes}));
                }
                value["responses"] = json!({"200": {"description": "OK", "schema": object}});
            }
            Version::V3 => {
                if self.carries != Carries::Nothing {
                    let media =
                        self.media_types().into_iter().map(|media| (media.to_string(), json!({"schema": takes})));
                    value["requestBody"] = json!({"required": true, "content": media.collect::<Map<_, _>>()});
                }
                let content = json!({JSON: {"schema": object}});
                value["responses"] = json!({"200": {"description": "OK", "content": content}});
            }
        }
        if !parameters.is_empty() {
            value["parameters"] = parameters.into();
        }
        value
    }

    /// The schema of the object that it takes or gives.
    fn schema(&self, version: Version) -> Value {
        let at = match version {
            Version::V2 => "definitions",
            Version::V3 => "components/schemas",
        };
        match self.of_the_kind {
            true => json!({"$ref": format!("#/{at}/{}", schema::name(self.kind))}),
            false => json!({"type": "object"}),
        }
    }

    fn media_types(&self) -> Vec<&'static str> {
        match self.carries {
            Carries::Nothing => vec!["*/*"],
            Carries::Object => vec![JSON, protobuf::MEDIA_TYPE],
            Carries::Patch if has_strategy(self.kind) => vec![JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH],
            Carries::Patch => vec![JSON_PATCH, MERGE_PATCH, APPLY_PATCH],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::kind;

    fn patch_of(kind: KindRef, path: &str, version: Version) -> Value {
        let paths = of(kind, version);
        let (_, item) = paths.iter().find(|(known, _)| known == path).unwrap();
        item["patch"].clone()
    }

    /// kubectl computes a strategic merge patch where one is taken, and leaves validation to a server that knows the
    /// parameter.
    #[test]
    fn patches_say_what_they_take() {
        let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
        let patch = patch_of(&kind::DEPLOYMENT, path, Version::V3);
        assert_eq!(patch[GROUP_VERSION_KIND], json!({"group": "apps", "version": "v1", "kind": "Deployment"}));
        assert!(patch["requestBody"]["content"][STRATEGIC_PATCH].is_object());
        let names: Vec<_> = patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
        assert_eq!(names, PATCHES);
        let lab = patch_of(&kind::LAB, "/apis/nslab.dev/v1alpha1/labs/{name}", Version::V3);
        assert!(lab["requestBody"]["content"].get(STRATEGIC_PATCH).is_none());
        let v2 = patch_of(&kind::DEPLOYMENT, path, Version::V2);
        assert_eq!(v2["consumes"], json!([JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH]));
    }

    #[test]
    fn every_kind_has_a_path_for_one_and_for_all() {
        for kind in kind::ALL {
            for version in [Version::V2, Version::V3] {
                let paths: Map<String, Value> = of(kind, version).into_iter().collect();
                let lists = paths.values().filter(|item| item["get"]["x-kubernetes-action"] == "list").count();
                assert_eq!(lists, if kind.namespaced { 2 } else { 1 }, "{}", kind.kind);
                assert!(paths.keys().any(|path| path.ends_with("/{name}")), "{}", kind.kind);
            }
        }
        let scale =
            patch_of(&kind::DEPLOYMENT, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", Version::V3);
        assert_eq!(scale[GROUP_VERSION_KIND]["kind"], "Scale");
    }
}
