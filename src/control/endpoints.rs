//! Endpoints: the addresses behind each Service that has a selector.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::concerned::Concerned;
use super::service::{self, PodsByLabel, Port};
use super::{Context, pods};
use crate::object::snapshot::Difference;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Object, Snapshot, Write, kind};

const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

pub fn endpoints(snapshot: &Snapshot, changes: &[Difference], _: &mut Context) -> Vec<Write> {
    let concerned = Concerned::by(snapshot, changes);
    if concerned.is_empty() {
        return Vec::new();
    }
    let pods = PodsByLabel::of(snapshot);
    let mut writes = Vec::new();
    for (namespace, name) in concerned.names() {
        let stored = snapshot.find(&kind::ENDPOINTS, namespace, name);
        let Some(service) = snapshot.find(&kind::SERVICE, namespace, name) else {
            writes.extend(stored.and_then(|endpoints| leftover(snapshot, endpoints)));
            continue;
        };
        let Some(selector) = service::selector(service) else { continue };
        let wanted = wanted(service, &pods.selected(namespace, selector));
        writes.extend(match stored {
            None => Some(Write::Create(wanted)),
            Some(stored) => correction(stored, wanted),
        });
    }
    writes
}

fn wanted(service: &Object, selected: &[&Arc<Object>]) -> Object {
    let mut labels = service.labels().cloned().unwrap_or_default();
    labels.insert(MANAGED_BY.0.into(), MANAGED_BY.1.into());
    if service::is_headless(service) {
        labels.insert(HEADLESS.into(), "".into());
    }
    let mut endpoints = Map::new();
    endpoints.insert("apiVersion".into(), "v1".into());
    endpoints.insert("kind".into(), "Endpoints".into());
    let metadata = json!({"name": service.name(), "namespace": service.namespace(), "labels": labels});
    endpoints.insert("metadata".into(), metadata);
    let subsets = subsets(service, selected);
    if !subsets.is_empty() {
        endpoints.insert("subsets".into(), Value::Array(subsets));
    }
    Object::from_map(endpoints)
}

fn correction(stored: &Arc<Object>, wanted: Object) -> Option<Write> {
    if stored.json().get("subsets") == wanted.json().get("subsets") && stored.labels() == wanted.labels() {
        return None;
    }
    let mut changed = Object::clone(stored);
    match wanted.json().get("subsets") {
        Some(subsets) => changed.json_mut().insert("subsets".into(), subsets.clone()),
        None => changed.json_mut().remove("subsets"),
    };
    let labels = wanted.labels().cloned().unwrap_or_default();
    changed.metadata_mut().insert("labels".into(), Value::Object(labels));
    Some(Write::Update(changed, Part::All))
}

/// Ready and not ready addresses that have the same ports stand together.
#[derive(Default)]
struct Subset {
    ready: Vec<(String, Value)>,
    not_ready: Vec<(String, Value)>,
}

fn subsets(service: &Object, selected: &[&Arc<Object>]) -> Vec<Value> {
    let family = service::families(service).first().copied().unwrap_or(service::Family::IPv4);
    let has_ports = service.at(&["spec", "ports"]).and_then(Value::as_array).is_some_and(|ports| !ports.is_empty());
    let with_not_ready = service::publishes_not_ready(service);
    let mut by_ports: BTreeMap<Vec<Port>, Subset> = BTreeMap::new();
    for pod in selected {
        let Some(address) = service::address(pod, family) else { continue };
        if pod.is_terminating() && !with_not_ready {
            continue;
        }
        let mut ports = service::ports(service, pod);
        if ports.is_empty() && has_ports {
            continue;
        }
        ports.sort();
        let ip = address.to_string();
        let mut entry = json!({"ip": ip, "targetRef": {"kind": "Pod", "namespace": pod.namespace(),
            "name": pod.name(), "uid": pod.uid()}});
        if let Some(entry) = entry.as_object_mut() {
            if let Some(node) = pods::node(pod) {
                entry.insert("nodeName".into(), node.into());
            }
            if let Some(hostname) = service::hostname(service, pod) {
                entry.insert("hostname".into(), hostname.into());
            }
        }
        let subset = by_ports.entry(ports).or_default();
        let list = if with_not_ready || pods::is_ready(pod) { &mut subset.ready } else { &mut subset.not_ready };
        list.push((ip, entry));
    }
    by_ports.into_iter().map(|(ports, subset)| subset.into_value(&ports)).collect()
}

impl Subset {
    fn into_value(self, ports: &[Port]) -> Value {
        let mut value = Map::new();
        for (field, mut list) in [("addresses", self.ready), ("notReadyAddresses", self.not_ready)] {
            list.sort_by(|(a, _), (b, _)| a.cmp(b));
            if !list.is_empty() {
                value.insert(field.into(), list.into_iter().map(|(_, entry)| entry).collect());
            }
        }
        let port = |port: &Port| {
            let mut value = json!({"port": port.port, "protocol": port.protocol});
            if let Some(value) = value.as_object_mut() {
                if !port.name.is_empty() {
                    value.insert("name".into(), port.name.as_str().into());
                }
                if let Some(app) = &port.app_protocol {
                    value.insert("appProtocol".into(), app.as_str().into());
                }
            }
            value
        };
        if !ports.is_empty() {
            value.insert("ports".into(), ports.iter().map(port).collect());
        }
        Value::Object(value)
    }
}

/// Endpoints end with their Service: those made here, and hand-made ones that had one (they have been mirrored). Other
/// hand-made ones may still be waiting for theirs.
fn leftover(snapshot: &Snapshot, endpoints: &Arc<Object>) -> Option<Write> {
    if endpoints.is_terminating() {
        return None;
    }
    let is_made_here = endpoints.label(MANAGED_BY.0) == Some(MANAGED_BY.1);
    let prefix = format!("{}-", endpoints.name());
    let is_mirrored = || {
        let mut slices = snapshot.list_with_prefix(&kind::ENDPOINT_SLICE, endpoints.namespace(), &prefix);
        slices.any(|slice| slice.controller_uid() == Some(endpoints.uid()))
    };
    if !is_made_here && !is_mirrored() {
        return None;
    }
    let (uid, propagation) = (Some(endpoints.uid().to_string()), Propagation::Background);
    Some(Write::Delete(Delete { key: endpoints.key()?, uid, grace_seconds: None, propagation }))
}
