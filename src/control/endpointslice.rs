//! EndpointSlices of the Services that have a selector.

use serde_json::{Value, json};

use super::concerned::Concerned;
use super::endpoints::HEADLESS;
use super::service::{self, Family, PodsByLabel};
use super::slices::{self, Owner, Wanted};
use super::{Context, pods};
use crate::object::snapshot::Difference;
use crate::object::{Object, Snapshot, Write, kind};

const MANAGED_BY: &str = "endpointslice-controller.k8s.io";

/// kube-controller-manager `--max-endpoints-per-slice`
const MOST: usize = 100;

pub fn endpointslice(snapshot: &Snapshot, changes: &[Difference], ctx: &mut Context) -> Vec<Write> {
    let concerned = Concerned::by(snapshot, changes);
    if concerned.is_empty() {
        return Vec::new();
    }
    let by_label = PodsByLabel::of(snapshot);
    let mut writes = Vec::new();
    for (namespace, name) in concerned.names() {
        let Some(service) = snapshot.find(&kind::SERVICE, namespace, name) else { continue };
        let Some(selector) = service::selector(service) else { continue };
        let families = service::families(service);
        let mut wanted = Wanted::new();
        let has_ports = service.at(&["spec", "ports"]).and_then(Value::as_array).is_some_and(|p| !p.is_empty());
        for pod in by_label.selected(namespace, selector) {
            let ports = service::ports(service, pod);
            if ports.is_empty() && has_ports {
                continue;
            }
            for family in &families {
                if let Some((address, endpoint)) = endpoint(service, pod, *family) {
                    wanted.entry((*family, ports.clone())).or_default().insert(address, endpoint);
                }
            }
        }
        let mut labels = service.labels().cloned().unwrap_or_default();
        if service::is_headless(service) {
            labels.insert(HEADLESS.into(), "".into());
        }
        let (object, service_name, managed_by) = (service, name, MANAGED_BY);
        let owner = Owner { object, service_name, managed_by, labels, annotations: None, most: MOST, families };
        writes.extend(slices::reconcile(snapshot, owner, wanted, ctx));
    }
    let owns = |owner: &Object| service::selector(owner).is_some();
    writes.extend(slices::leftovers(snapshot, changes, MANAGED_BY, &kind::SERVICE, owns));
    writes
}

fn endpoint(service: &Object, pod: &Object, family: Family) -> Option<(std::net::IpAddr, Value)> {
    let address = service::address(pod, family)?;
    let (serving, terminating) = (pods::is_ready(pod), pod.is_terminating());
    let ready = service::publishes_not_ready(service) || (serving && !terminating);
    let mut endpoint = json!({"addresses": [address.to_string()],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid()}});
    if let Some(endpoint) = endpoint.as_object_mut() {
        if let Some(node) = pods::node(pod) {
            endpoint.insert("nodeName".into(), node.into());
        }
        if let Some(hostname) = service::hostname(service, pod) {
            endpoint.insert("hostname".into(), hostname.into());
        }
    }
    Some((address, endpoint))
}
