//! EndpointSlices for hand-made Endpoints: those of Services without a selector.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::Context;
use super::concerned::Concerned;
use super::service::{Family, Port};
use super::slices::{self, Owner, Wanted};
use crate::object::snapshot::Difference;
use crate::object::{Object, Snapshot, Write, kind};

const MANAGED_BY: &str = "endpointslicemirroring-controller.k8s.io";
const COMPONENT: &str = "endpoint-slice-mirroring-controller";

/// Endpoints with this label `true` come with slices of their own.
pub(super) const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// As many addresses of one subset are mirrored, into one slice (`--mirroring-max-endpoints-per-subset`).
const MOST: usize = 1000;

/// Endpoints by which somebody elects a leader have nothing to do with a Service.
pub(super) const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// Annotations that are about the Endpoints alone.
const NOT_MIRRORED: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];

pub fn mirroring(snapshot: &Snapshot, changes: &[Difference], ctx: &mut Context) -> Vec<Write> {
    let mut writes = Vec::new();
    for (namespace, name) in Concerned::by(snapshot, changes).names() {
        let Some(endpoints) = snapshot.find(&kind::ENDPOINTS, namespace, name) else { continue };
        if !is_mirrored(snapshot, endpoints) {
            continue;
        }
        let mut annotations =
            endpoints.at(&["metadata", "annotations"]).and_then(Value::as_object).cloned().unwrap_or_default();
        annotations.retain(|name, _| !NOT_MIRRORED.contains(&name.as_str()));
        let (wanted, skipped) = wanted(endpoints);
        if skipped > 0 {
            let message = format!(
                "A max of {MOST} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses \
                 were skipped"
            );
            ctx.standing_warning(COMPONENT, endpoints, "TooManyAddressesToMirror", message);
        }
        let owner = Owner {
            object: endpoints,
            service_name: endpoints.name(),
            managed_by: MANAGED_BY,
            labels: endpoints.labels().cloned().unwrap_or_default(),
            annotations: Some(annotations),
            most: MOST,
            families: Vec::new(),
        };
        writes.extend(slices::reconcile(snapshot, owner, wanted, ctx));
    }
    let owns = |owner: &Object| is_mirrored(snapshot, owner);
    writes.extend(slices::leftovers(snapshot, changes, MANAGED_BY, &kind::ENDPOINTS, owns));
    writes
}

fn is_mirrored(snapshot: &Snapshot, endpoints: &Object) -> bool {
    let service = snapshot.find(&kind::SERVICE, endpoints.namespace(), endpoints.name());
    // One that became an alias keeps its selector, and the Endpoints that were made of it.
    let has_selector = |service: &Object| service.at(&["spec", "selector"]).is_some_and(|s| !s.is_null());
    let is_by_hand = service.is_some_and(|service| !has_selector(service));
    is_by_hand && endpoints.label(SKIP_MIRROR) != Some("true") && endpoints.annotation(LEADER).is_none()
}

/// With the number of addresses that are too many.
fn wanted(endpoints: &Object) -> (Wanted, usize) {
    let mut wanted: Wanted = BTreeMap::new();
    let mut skipped = 0;
    for subset in list(endpoints.json(), "subsets") {
        let ports: Vec<Port> = list(subset, "ports").filter_map(Port::read).collect();
        let mut room = MOST;
        for (field, ready) in [("addresses", true), ("notReadyAddresses", false)] {
            for address in list(subset, field) {
                let Some((ip, endpoint)) = endpoint(address, ready) else { continue };
                if room == 0 {
                    skipped += 1;
                    continue;
                }
                room -= 1;
                let group = wanted.entry((Family::of(ip), ports.clone())).or_default();
                group.entry(ip).or_insert(endpoint);
            }
        }
    }
    (wanted, skipped)
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
