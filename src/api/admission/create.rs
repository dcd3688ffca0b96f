//! What the API server makes of a new object before anything looks at it: its status begins afresh.

use serde_json::{Map, Value, json};

use crate::api::subresource::has_status;
use crate::object::kind::{self, KindRef};
use crate::object::{Object, map_at_mut};

pub fn prepare(kind: KindRef, object: &mut Object) {
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "deletionTimestamp"] {
        object.metadata_mut().remove(field);
    }
    if has_status(kind) && *kind != kind::NODE {
        object.json_mut().remove("status");
    }
    if *kind == kind::POD {
        let status = json!({"phase": "Pending", "qosClass": qos_class(object)});
        object.json_mut().insert("status".into(), status);
    } else if *kind == kind::NAMESPACE {
        let name = object.name().to_string();
        object.set_label("kubernetes.io/metadata.name", &name);
        map_at_mut(object.json_mut(), "spec").insert("finalizers".into(), json!(["kubernetes"]));
        object.json_mut().insert("status".into(), json!({"phase": "Active"}));
    } else if *kind == kind::PERSISTENT_VOLUME || *kind == kind::PERSISTENT_VOLUME_CLAIM {
        object.json_mut().insert("status".into(), json!({"phase": "Pending"}));
    } else if *kind == kind::SERVICE {
        object.json_mut().insert("status".into(), json!({"loadBalancer": {}}));
    }
}

/// Guaranteed: each container has limits for cpu and memory and asks for no less. BestEffort: none asks for anything.
fn qos_class(pod: &Object) -> &'static str {
    let containers = ["containers", "initContainers"].into_iter().filter_map(|f| pod.at(&["spec", f])?.as_array());
    let (mut any, mut all) = (false, true);
    for container in containers.flatten() {
        let of = |what: &str| container.get("resources").and_then(|r| r.get(what)).and_then(Value::as_object);
        let empty = Map::new();
        let (limits, requests) = (of("limits").unwrap_or(&empty), of("requests").unwrap_or(&empty));
        for resource in ["cpu", "memory"] {
            let (limit, request) = (limits.get(resource), requests.get(resource));
            any |= limit.is_some() || request.is_some();
            all &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
