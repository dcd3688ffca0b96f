//! Services and EndpointSlices as the address translation that every node loads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::desired::{Backend, Nat, Protocol, ServiceAddress};
use crate::object::lab::Lab;
use crate::object::{Snapshot, kind};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

type Slices<'a> = HashMap<(&'a str, &'a str), Vec<Arc<EndpointSlice>>>;

/// What kube-proxy would load; the same on every node of the lab.
pub fn nat(snapshot: &Snapshot, lab: &Lab) -> Nat {
    let mut slices: Slices = HashMap::new();
    for object in snapshot.list(&kind::ENDPOINT_SLICE) {
        // A slice that cannot be read has no endpoints; the controller that made it says so.
        if let (Some(service), Ok(slice)) = (object.label(SERVICE_NAME), object.view::<EndpointSlice>()) {
            slices.entry((object.namespace(), service)).or_default().push(slice);
        }
    }
    let mut nat = Nat {
        pod_subnets: vec![IpNet::V4(lab.networking.pod_subnet)],
        service_subnets: vec![IpNet::V4(lab.networking.service_subnet)],
        ..Nat::default()
    };
    for object in snapshot.list(&kind::SERVICE) {
        if let Ok(service) = object.view::<Service>() {
            let slices = slices.get(&(object.namespace(), object.name())).map_or(&[][..], Vec::as_slice);
            add_service(&mut nat, snapshot, object.namespace(), object.name(), &service, slices);
        }
    }
    nat
}

fn add_service(
    nat: &mut Nat,
    snapshot: &Snapshot,
    namespace: &str,
    name: &str,
    service: &Service,
    slices: &[Arc<EndpointSlice>],
) {
    let Some(spec) = &service.spec else { return };
    let with_leaving = spec.publish_not_ready_addresses == Some(true);
    let counts = |endpoint: &Endpoint| with_leaving || !is_leaving(snapshot, endpoint);
    let type_ = spec.type_.as_deref().unwrap_or("ClusterIP");
    let cluster_ips: Vec<IpAddr> = cluster_ips(service);
    if type_ == "ExternalName" || cluster_ips.is_empty() {
        return;
    }
    for port in spec.ports.iter().flatten() {
        let Some((protocol, number)) = protocol(port.protocol.as_deref()).zip(u16::try_from(port.port).ok()) else {
            continue;
        };
        let endpoints = endpoints(slices, port, counts);
        nat.hairpin.extend(endpoints.iter().map(|(address, _)| *address));
        let label = match port.name.as_deref() {
            Some(port_name) if !port_name.is_empty() => format!("{namespace}/{name}:{port_name}"),
            _ => format!("{namespace}/{name}"),
        };
        for address in &cluster_ips {
            let of_family = endpoints.iter().filter(|(e, _)| e.is_ipv4() == address.is_ipv4()).copied().collect();
            nat.services.insert(
                ServiceAddress { address: *address, protocol, port: number },
                Backend { service: label.clone(), endpoints: of_family },
            );
        }
        let node_port = port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0);
        if let Some(node_port) = node_port.filter(|_| type_ == "NodePort" || type_ == "LoadBalancer") {
            nat.node_ports.insert((protocol, node_port), Backend { service: label, endpoints });
        }
    }
}

fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let listed = spec.cluster_ips.iter().flatten().map(String::as_str);
    let mut addresses: Vec<IpAddr> = listed.filter_map(|ip| ip.parse().ok()).collect();
    if addresses.is_empty() {
        addresses.extend(spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()));
    }
    addresses
}

/// The ready endpoints of one Service port. The slices' ports are matched by name, as kube-proxy does.
fn endpoints(
    slices: &[Arc<EndpointSlice>],
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
    let mut variables = BTreeMap::new();
    let api = snapshot.find(&kind::SERVICE, "default", "kubernetes").into_iter();
    let own = snapshot.list_in(&kind::SERVICE, namespace).filter(|_| links);
    for object in own.chain(api) {
        let Ok(service) = object.view::<Service>() else { continue };
        let Some(address) = cluster_ips(&service).first().copied() else { continue };
        let prefix: String = object.name().to_ascii_uppercase().replace('-', "_");
        let ports = service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default();
        for (index, port) in ports.iter().enumerate() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let url = format!("{}://{address}:{}", protocol.to_ascii_lowercase(), port.port);
            if index == 0 {
                variables.insert(format!("{prefix}_SERVICE_HOST"), address.to_string());
                variables.insert(format!("{prefix}_SERVICE_PORT"), port.port.to_string());
                variables.insert(format!("{prefix}_PORT"), url.clone());
            }
            if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                let name = name.to_ascii_uppercase().replace('-', "_");
                variables.insert(format!("{prefix}_SERVICE_PORT_{name}"), port.port.to_string());
            }
            let prefix = format!("{prefix}_PORT_{}_{protocol}", port.port);
            variables.insert(format!("{prefix}_ADDR"), address.to_string());
            variables.insert(format!("{prefix}_PORT"), port.port.to_string());
            variables.insert(format!("{prefix}_PROTO"), protocol.to_ascii_lowercase());
            variables.insert(prefix, url);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::object::Object;

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
        let nat = nat(&snapshot, &Lab::default());
        let endpoints = nat.services.values().flat_map(|backend| &backend.endpoints);
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
