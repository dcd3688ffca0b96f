//! EndpointSlices for hand-made Endpoints: those of Services without a selector.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::Context;
use super::concerned::Concerned;
use super::service::{self, Family, Port};
use super::slices::{self, Owner, Wanted};
use crate::object::snapshot::Difference;
use crate::object::{Object, Snapshot, Write, kind};

const MANAGED_BY: &str = "endpointslicemirroring-controller.k8s.io";

/// Endpoints with this label `true` come with slices of their own.
pub(super) const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

pub fn mirroring(snapshot: &Snapshot, changes: &[Difference], ctx: &mut Context) -> Vec<Write> {
    let mut writes = Vec::new();
    for (namespace, name) in Concerned::by(snapshot, changes).names() {
        let Some(endpoints) = snapshot.find(&kind::ENDPOINTS, namespace, name) else { continue };
        if !is_mirrored(snapshot, endpoints) {
            continue;
        }
        let owner = Owner {
            object: endpoints,
            service_name: endpoints.name(),
            managed_by: MANAGED_BY,
            labels: endpoints.labels().cloned().unwrap_or_default(),
            families: Vec::new(),
        };
        writes.extend(slices::reconcile(snapshot, owner, wanted(endpoints), ctx));
    }
    let owns = |owner: &Object| is_mirrored(snapshot, owner);
    writes.extend(slices::leftovers(snapshot, changes, MANAGED_BY, &kind::ENDPOINTS, owns));
    writes
}

fn is_mirrored(snapshot: &Snapshot, endpoints: &Object) -> bool {
    let service = snapshot.find(&kind::SERVICE, endpoints.namespace(), endpoints.name());
    let is_by_hand = service.is_some_and(|service| service::selector(service).is_none());
    is_by_hand && endpoints.label(SKIP_MIRROR) != Some("true")
}

fn wanted(endpoints: &Object) -> Wanted {
    let mut wanted: Wanted = BTreeMap::new();
    for subset in list(endpoints.json(), "subsets") {
        let ports: Vec<Port> = list(subset, "ports").filter_map(Port::read).collect();
        for (field, ready) in [("addresses", true), ("notReadyAddresses", false)] {
            for address in list(subset, field) {
                let Some((ip, endpoint)) = endpoint(address, ready) else { continue };
                let group = wanted.entry((Family::of(ip), ports.clone())).or_default();
                group.entry(ip).or_insert(endpoint);
            }
        }
    }
    wanted
}

fn list<'a>(map: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    map.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn endpoint(address: &Map<String, Value>, ready: bool) -> Option<(IpAddr, Value)> {
    let ip: IpAddr = address.get("ip")?.as_str()?.parse().ok()?;
    let mut endpoint = json!({"addresses": [ip.to_string()], "conditions": {"ready": ready}});
    if let Some(endpoint) = endpoint.as_object_mut() {
        for field in ["nodeName", "hostname", "targetRef"] {
            if let Some(value) = address.get(field) {
                endpoint.insert(field.into(), value.clone());
            }
        }
    }
    Some((ip, endpoint))
}
