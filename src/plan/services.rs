//! Services and EndpointSlices as the address translation that every node loads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use serde_json::Value;

use crate::desired::{Backend, Nat, Protocol, ServiceAddress};
use crate::object::lab::Lab;
use crate::object::{Key, Object, Snapshot, kind};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The Service of the API, by namespace and name.
const API: (&str, &str) = ("default", "kubernetes");

/// What one Service is in the nodes' tables.
#[derive(Debug, Default, PartialEq)]
pub struct Fronts {
    pub services: Vec<(ServiceAddress, Backend)>,
    pub node_ports: Vec<((Protocol, u16), Backend)>,
    /// The addresses of its endpoints.
    pub hairpin: BTreeSet<IpAddr>,
}

/// The tables of a lab without Services.
pub fn empty_nat(lab: &Lab) -> Nat {
    Nat {
        pod_subnets: lab.networking.pod_subnet.iter().collect(),
        service_subnets: lab.networking.service_subnet.iter().collect(),
        ..Nat::default()
    }
}

/// The Service that an EndpointSlice is of, by name.
pub fn service_of(slice: &Object) -> Option<&str> {
    slice.label(SERVICE_NAME)
}

/// The pods that a slice names: namespace and name.
pub fn targets(slice: &Object) -> impl Iterator<Item = (&str, &str)> {
    let endpoints = slice.json().get("endpoints").and_then(Value::as_array);
    let targets = endpoints.into_iter().flatten().filter_map(|endpoint| endpoint.get("targetRef"));
    targets.map(|target| {
        let text = |field| target.get(field).and_then(Value::as_str).unwrap_or_default();
        (text("namespace"), text("name"))
    })
}

/// The Service whose variables all pods find.
pub fn is_seen_everywhere(key: &Key) -> bool {
    (key.namespace.as_str(), key.name.as_str()) == API
}

/// What kube-proxy would load for `service`, on every node the same. `slices` are all that name it.
pub fn fronts<'a>(snapshot: &Snapshot, service: &Object, slices: impl Iterator<Item = &'a Arc<Object>>) -> Fronts {
    let mut fronts = Fronts::default();
    let (namespace, name) = (service.namespace(), service.name());
    let Ok(Service { spec: Some(spec), .. }) = service.read::<Service>() else { return fronts };
    let with_leaving = spec.publish_not_ready_addresses == Some(true);
    let counts = |endpoint: &Endpoint| with_leaving || !is_leaving(snapshot, endpoint);
    let type_ = spec.type_.as_deref().unwrap_or("ClusterIP");
    let cluster_ips: Vec<IpAddr> = cluster_ips(&spec);
    if type_ == "ExternalName" || cluster_ips.is_empty() {
        return fronts;
    }
    // A slice that cannot be read has no endpoints; the controller that made it says so.
    let slices = slices.filter_map(|slice| slice.read().ok());
    // Nor has a Service any of a family that it has no address of, not even by its node ports.
    let is_of = |slice: &EndpointSlice, ip: &IpAddr| slice.address_type == if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let slices: Vec<EndpointSlice> =
        slices.filter(|slice: &EndpointSlice| cluster_ips.iter().any(|ip| is_of(slice, ip))).collect();
    for port in spec.ports.iter().flatten() {
        let Some((protocol, number)) = protocol(port.protocol.as_deref()).zip(u16::try_from(port.port).ok()) else {
            continue;
        };
        let endpoints = endpoints(&slices, port, counts);
        fronts.hairpin.extend(endpoints.iter().map(|(address, _)| *address));
        let label = match port.name.as_deref() {
            Some(port_name) if !port_name.is_empty() => format!("{namespace}/{name}:{port_name}"),
            _ => format!("{namespace}/{name}"),
        };
        for address in &cluster_ips {
            let of_family = endpoints.iter().filter(|(e, _)| e.is_ipv4() == address.is_ipv4()).copied().collect();
            fronts.services.push((
                ServiceAddress { address: *address, protocol, port: number },
                Backend { service: label.clone(), endpoints: of_family },
            ));
        }
        let node_port = port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0);
        if let Some(node_port) = node_port.filter(|_| type_ == "NodePort" || type_ == "LoadBalancer") {
            fronts.node_ports.push(((protocol, node_port), Backend { service: label, endpoints }));
        }
    }
    fronts
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    let listed = spec.cluster_ips.iter().flatten().map(String::as_str);
    let mut addresses: Vec<IpAddr> = listed.filter_map(|ip| ip.parse().ok()).collect();
    if addresses.is_empty() {
        addresses.extend(spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()));
    }
    addresses
}

/// The ready endpoints of one Service port. The slices' ports are matched by name, as kube-proxy does.
fn endpoints(
    slices: &[EndpointSlice],
    port: &ServicePort,
    counts: impl Fn(&Endpoint) -> bool,
) -> BTreeSet<(IpAddr, u16)> {
    let wanted = port.name.as_deref().unwrap_or("");
    let mut found = BTreeSet::new();
    for slice in slices {
        let numbers = slice.ports.iter().flatten().filter(|p| p.name.as_deref().unwrap_or("") == wanted);
        let numbers: Vec<u16> = numbers.filter_map(|p| p.port.and_then(|n| u16::try_from(n).ok())).collect();
        let ready = slice.endpoints.iter().filter(|e| e.conditions.as_ref().and_then(|c| c.ready) != Some(false));
        for address in ready.filter(|e| counts(e)).flat_map(|e| &e.addresses).filter_map(|a| a.parse::<IpAddr>().ok()) {
            found.extend(numbers.iter().map(|number| (address, *number)));
        }
    }
    found
}

/// The endpoint's pod was deleted, and its slice does not say so yet. The same plan stops that pod: were the endpoint
/// kept, its server would be gone before the last new connection was sent elsewhere.
fn is_leaving(snapshot: &Snapshot, endpoint: &Endpoint) -> bool {
    let Some(target) = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod")) else {
        return false;
    };
    let (namespace, name) =
        (target.namespace.as_deref().unwrap_or_default(), target.name.as_deref().unwrap_or_default());
    snapshot
        .find(&kind::POD, namespace, name)
        .is_some_and(|pod| pod.is_terminating() && target.uid.as_deref() == Some(pod.uid()))
}

pub fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// The variables that a pod of `namespace` finds about its Services (`WEB_SERVICE_HOST`, `WEB_PORT_80_TCP_ADDR`, ...):
/// those of its own namespace where it asks for them, and always those of `kubernetes`.
pub fn environment(snapshot: &Snapshot, namespace: &str, links: bool) -> BTreeMap<String, String> {
    let api = snapshot.find(&kind::SERVICE, API.0, API.1).into_iter();
    let own = snapshot.list_in(&kind::SERVICE, namespace).filter(|_| links);
    own.chain(api).flat_map(|service| variables(service)).collect()
}

/// Those of one Service.
pub fn variables(service: &Object) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let Ok(Service { spec: Some(spec), .. }) = service.read::<Service>() else { return variables };
    let Some(address) = cluster_ips(&spec).first().copied() else { return variables };
    let prefix: String = service.name().to_ascii_uppercase().replace('-', "_");
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{address}:{}", protocol.to_ascii_lowercase(), port.port);
        if index == 0 {
            variables.push((format!("{prefix}_SERVICE_HOST"), address.to_string()));
            variables.push((format!("{prefix}_SERVICE_PORT"), port.port.to_string()));
            variables.push((format!("{prefix}_PORT"), url.clone()));
        }
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            let name = name.to_ascii_uppercase().replace('-', "_");
            variables.push((format!("{prefix}_SERVICE_PORT_{name}"), port.port.to_string()));
        }
        let prefix = format!("{prefix}_PORT_{}_{protocol}", port.port);
        variables.push((format!("{prefix}_ADDR"), address.to_string()));
        variables.push((format!("{prefix}_PORT"), port.port.to_string()));
        variables.push((format!("{prefix}_PROTO"), protocol.to_ascii_lowercase()));
        variables.push((prefix, url));
    }
    variables
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{Machine, plan};

    /// Two pods behind a Service, the second of which was just deleted; the slice still has both.
    fn reached(publish_not_ready: bool) -> Vec<String> {
        let pod = |name: &str, deleted: Value| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default",
                "uid": name, "deletionTimestamp": deleted}})
        };
        let endpoint = |name: &str, address: &str| {
            json!({"addresses": [address], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": name, "uid": name}})
        };
        let objects = [
            pod("stays", Value::Null),
            pod("goes", json!("2026-01-01T00:00:00Z")),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
                "spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 80}],
                    "publishNotReadyAddresses": publish_not_ready}}),
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "web-1", "namespace": "default", "labels": {SERVICE_NAME: "web"}},
                "ports": [{"port": 80}],
                "endpoints": [endpoint("stays", "10.244.1.2"), endpoint("goes", "10.244.2.2")]}),
        ];
        let snapshot: Snapshot = objects.into_iter().filter_map(Object::from_value).collect();
        let desired = plan("lab", &snapshot, &Machine::default()).unwrap();
        let endpoints = desired.nat["lab.w1-k8s"].services.values().flat_map(|backend| &backend.endpoints);
        endpoints.map(|(address, _)| address.to_string()).collect()
    }

    #[test]
    fn a_deleted_pod_gets_no_new_connection_even_while_its_slice_names_it() {
        assert_eq!(reached(false), ["10.244.1.2"]);
    }

    #[test]
    fn a_service_that_publishes_what_is_not_ready_keeps_it() {
        assert_eq!(reached(true), ["10.244.1.2", "10.244.2.2"]);
    }
}
