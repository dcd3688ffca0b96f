//! EndpointSlices as both their controllers keep them: filled up to a bound, changed as little as possible.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Context;
use super::mirroring::{LEADER, SKIP_MIRROR};
use super::service::{Family, Port, selector};
use crate::object::snapshot::Difference;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{KindRef, Object, Snapshot, Write, kind};

pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Endpoints of one family with the same ports, by address. The values are the slices' `endpoints` entries.
pub(super) type Wanted = BTreeMap<(Family, Vec<Port>), BTreeMap<IpAddr, Value>>;

/// Whose slices they are.
pub(super) struct Owner<'a> {
    /// The Service, or the Endpoints that is mirrored.
    pub object: &'a Object,
    pub service_name: &'a str,
    pub managed_by: &'static str,
    pub labels: Map<String, Value>,
    /// `None`: they are nobody's here.
    pub annotations: Option<Map<String, Value>>,
    /// The most endpoints in one of them.
    pub most: usize,
    /// Without endpoints there is one slice of each of these families that says so.
    pub families: Vec<Family>,
}

pub(super) fn reconcile(snapshot: &Snapshot, owner: Owner, mut wanted: Wanted, ctx: &mut Context) -> Vec<Write> {
    for family in &owner.families {
        if !wanted.keys().any(|(of, _)| of == family) {
            wanted.insert((*family, Vec::new()), BTreeMap::new());
        }
    }
    let mut by_ports: BTreeMap<(Family, Vec<Port>), Vec<Slice>> = BTreeMap::new();
    let mut writes = Vec::new();
    for object in stored(snapshot, owner.object, owner.managed_by) {
        match Slice::read(object) {
            Some((group, slice)) if wanted.contains_key(&group) => by_ports.entry(group).or_default().push(slice),
            _ => writes.extend(delete(object)),
        }
    }
    for (group, endpoints) in wanted {
        let stored = by_ports.remove(&group).unwrap_or_default();
        for slice in distribute(stored, endpoints, owner.most) {
            writes.extend(slice.into_write(&owner, &group, snapshot, ctx));
        }
    }
    writes
}

/// The slices that this manager has made for `owner`, a Service or Endpoints.
pub(super) fn stored<'a>(
    snapshot: &'a Snapshot,
    owner: &'a Object,
    managed_by: &'static str,
) -> impl Iterator<Item = &'a Arc<Object>> {
    let prefix = format!("{}-", owner.name());
    let slices = snapshot.list_with_prefix(&kind::ENDPOINT_SLICE, owner.namespace(), &prefix);
    slices
        .filter(move |slice| slice.label(MANAGED_BY) == Some(managed_by) && slice.controller_uid() == Some(owner.uid()))
}

fn delete(object: &Arc<Object>) -> Option<Write> {
    let (uid, propagation) = (Some(object.uid().to_string()), Propagation::Background);
    Some(Write::Delete(Delete { key: object.key()?, uid, grace_seconds: None, propagation }))
}

struct Slice {
    stored: Option<Arc<Object>>,
    endpoints: Vec<Value>,
    /// Has to go, not to be filled.
    is_surplus: bool,
}

impl Slice {
    fn read(object: &Arc<Object>) -> Option<((Family, Vec<Port>), Self)> {
        let family = match object.str_at(&["addressType"])? {
            "IPv4" => Family::IPv4,
            "IPv6" => Family::IPv6,
            _ => return None,
        };
        let list = |field| object.json().get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let ports: Vec<Port> = list("ports").iter().filter_map(Value::as_object).filter_map(Port::read).collect();
        let slice = Slice { stored: Some(object.clone()), endpoints: list("endpoints"), is_surplus: false };
        Some(((family, ports), slice))
    }

    fn into_write(
        self,
        owner: &Owner,
        (family, ports): &(Family, Vec<Port>),
        snapshot: &Snapshot,
        ctx: &mut Context,
    ) -> Option<Write> {
        let mut labels = owner.labels.clone();
        labels.insert(SERVICE_NAME.into(), owner.service_name.into());
        labels.insert(MANAGED_BY.into(), owner.managed_by.into());
        match self.stored {
            Some(stored) if self.is_surplus => delete(&stored),
            Some(stored) => {
                let same_endpoints = stored.json().get("endpoints").and_then(Value::as_array) == Some(&self.endpoints);
                let annotations = stored.at(&["metadata", "annotations"]).and_then(Value::as_object);
                let same_annotations = owner
                    .annotations
                    .as_ref()
                    .is_none_or(|wanted| annotations.map_or(wanted.is_empty(), |annotations| annotations == wanted));
                if same_endpoints && same_annotations && stored.labels() == Some(&labels) {
                    return None;
                }
                let mut changed = Object::clone(&stored);
                changed.json_mut().insert("endpoints".into(), Value::Array(self.endpoints));
                changed.metadata_mut().insert("labels".into(), Value::Object(labels));
                set_annotations(&mut changed, owner);
                Some(Write::Update(changed, Part::All))
            }
            None => {
                let (base, namespace) = (owner.object.name(), owner.object.namespace());
                let name = loop {
                    let name = format!("{base}-{}", ctx.suffix());
                    if snapshot.find(&kind::ENDPOINT_SLICE, namespace, &name).is_none() {
                        break name;
                    }
                };
                let json = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": {"name": name, "generateName": format!("{base}-"), "namespace": namespace,
                        "labels": labels, "ownerReferences": [owner.object.as_controller_reference()]},
                    "addressType": family.name(), "ports": ports.iter().map(port_value).collect::<Vec<_>>(),
                    "endpoints": self.endpoints});
                let mut made = Object::from_value(json)?;
                set_annotations(&mut made, owner);
                Some(Write::Create(made))
            }
        }
    }
}

fn set_annotations(slice: &mut Object, owner: &Owner) {
    match &owner.annotations {
        None => {}
        Some(none) if none.is_empty() => drop(slice.metadata_mut().remove("annotations")),
        Some(wanted) => drop(slice.metadata_mut().insert("annotations".into(), Value::Object(wanted.clone()))),
    }
}

fn port_value(port: &Port) -> Value {
    let mut value = json!({"name": port.name, "port": port.port, "protocol": port.protocol});
    if let (Some(value), Some(app)) = (value.as_object_mut(), &port.app_protocol) {
        value.insert("appProtocol".into(), app.as_str().into());
    }
    value
}

fn address(endpoint: &Value) -> Option<IpAddr> {
    endpoint.get("addresses")?.get(0)?.as_str()?.parse().ok()
}

/// Endpoints stay in the slice they are in; new ones fill the slices that have room, the fullest first, and then new
/// slices. A slice that becomes empty goes, unless it is the only one.
fn distribute(mut slices: Vec<Slice>, mut wanted: BTreeMap<IpAddr, Value>, most: usize) -> Vec<Slice> {
    for slice in &mut slices {
        // Of an address that stands in two slices the first counts.
        let current = |endpoint: &Value| wanted.remove(&address(endpoint)?);
        slice.endpoints = slice.endpoints.iter().filter_map(current).collect();
    }
    let mut fullest_first: Vec<&mut Slice> = slices.iter_mut().collect();
    fullest_first.sort_by_key(|slice| std::cmp::Reverse(slice.endpoints.len()));
    let mut new = wanted.into_values().peekable();
    for slice in fullest_first {
        let room = most.saturating_sub(slice.endpoints.len());
        slice.endpoints.extend(new.by_ref().take(room));
    }
    while new.peek().is_some() {
        slices.push(Slice { stored: None, endpoints: new.by_ref().take(most).collect(), is_surplus: false });
    }
    if slices.is_empty() {
        slices.push(Slice { stored: None, endpoints: Vec::new(), is_surplus: false });
    }
    let first_kept = slices.iter().position(|slice| !slice.endpoints.is_empty()).unwrap_or(0);
    for (at, slice) in slices.iter_mut().enumerate() {
        slice.is_surplus = slice.endpoints.is_empty() && at != first_kept;
    }
    slices
}

/// The slices of this manager whose owner, of `kind`, is gone or has no slices any more. While all owners stay, these
/// can only be among those that have changed.
pub(super) fn leftovers(
    snapshot: &Snapshot,
    changes: &[Difference],
    managed_by: &str,
    kind: KindRef,
    owns: impl Fn(&Object) -> bool,
) -> Vec<Write> {
    let is_left = |slice: &&Arc<Object>| {
        let mut references = slice.owner_references();
        let owner = references.find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
        let text = |field| owner.and_then(|owner| owner.get(field)?.as_str()).unwrap_or_default();
        let owner = snapshot.find(kind, slice.namespace(), text("name"));
        slice.label(MANAGED_BY) == Some(managed_by)
            && !owner.is_some_and(|owner| owner.uid() == text("uid") && owns(owner))
    };
    let is_other_owner = |(key, old, new): &Difference| {
        let what = |object: &&Arc<Object>| {
            let kept_out = (object.label(SKIP_MIRROR).map(str::to_string), object.annotation(LEADER).is_some());
            (object.uid().to_string(), selector(object).is_some(), kept_out)
        };
        let is_owner = *key.kind == kind::SERVICE || *key.kind == kind::ENDPOINTS;
        is_owner && old.is_some() && old.as_ref().map(what) != new.as_ref().map(what)
    };
    if changes.iter().any(is_other_owner) {
        return snapshot.list(&kind::ENDPOINT_SLICE).filter(is_left).filter_map(delete).collect();
    }
    let changed = changes.iter().filter(|(key, ..)| *key.kind == kind::ENDPOINT_SLICE).filter_map(|(_, _, new)| *new);
    changed.filter(is_left).filter_map(delete).collect()
}
