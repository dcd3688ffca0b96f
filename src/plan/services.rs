//! Services and EndpointSlices as the address translation that every node loads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use serde_json::Value;

use crate::desired::{Affinity, Backend, Nat, Protocol, ServiceAddress};
use crate::object::lab::Lab;
use crate::object::{Key, Object, Snapshot, kind};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The Service of the API, by namespace and name.
const API: (&str, &str) = ("default", "kubernetes");

type Endpoints = BTreeSet<(IpAddr, u16)>;

/// What one Service is in the nodes' tables.
#[derive(Debug, Default, PartialEq)]
pub struct Fronts {
    pub services: Vec<(ServiceAddress, Front)>,
    pub node_ports: Vec<((Protocol, u16), Front)>,
    /// The addresses of its endpoints.
    pub hairpin: BTreeSet<IpAddr>,
    /// The nodes on which it is not what it is on the others: a policy is Local, and they have endpoints.
    pub nodes: BTreeSet<String>,
}

/// One address and port of a Service.
#[derive(Debug, PartialEq)]
pub struct Front {
    /// On a node without an endpoint.
    elsewhere: Backend,
    /// The endpoints of each node, where a policy is Local.
    by_node: Option<Arc<BTreeMap<String, Endpoints>>>,
    /// Whether it is of IPv4; a NodePort is of any family.
    family: Option<bool>,
}

impl Front {
    /// What it is on a node without an endpoint, and wherever no policy is Local.
    pub fn elsewhere(self) -> Backend {
        self.elsewhere
    }

    pub fn on(&self, node: &str) -> Backend {
        let mut backend = self.elsewhere.clone();
        if let Some(here) = self.by_node.as_ref().and_then(|by_node| by_node.get(node)) {
            let family = |(address, _): &&(IpAddr, u16)| self.family.is_none_or(|four| address.is_ipv4() == four);
            let here = here.iter().filter(family).copied().collect();
            match &mut backend.local {
                Some(local) => *local = here,
                None => backend.endpoints = here,
            }
        }
        backend
    }
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

/// What kube-proxy would load for `service`. `slices` are all that name it.
pub fn fronts<'a>(snapshot: &Snapshot, service: &Object, slices: impl Iterator<Item = &'a Arc<Object>>) -> Fronts {
    let mut fronts = Fronts::default();
    let (namespace, name) = (service.namespace(), service.name());
    let Ok(service) = service.read::<Service>() else { return fronts };
    let Some(spec) = &service.spec else { return fronts };
    let type_ = spec.type_.as_deref().unwrap_or("ClusterIP");
    let cluster_ips: Vec<IpAddr> = cluster_ips(spec);
    if type_ == "ExternalName" || cluster_ips.is_empty() {
        return fronts;
    }
    let mut external_ips = external_ips(&service, spec, type_);
    external_ips.retain(|address| {
        cluster_ips.iter().any(|ip| ip.is_ipv4() == address.is_ipv4()) && !cluster_ips.contains(address)
    });
    let is_local = |policy: &Option<String>| policy.as_deref() == Some("Local");
    let inside_local = is_local(&spec.internal_traffic_policy);
    let outside_local = is_local(&spec.external_traffic_policy);
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
        let node_port = port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0);
        let node_port = node_port.filter(|_| type_ == "NodePort" || type_ == "LoadBalancer");
        let serving = serving(snapshot, &slices, port, spec.publish_not_ready_addresses == Some(true));
        fronts.hairpin.extend(serving.all.iter().map(|(address, _)| *address));
        let label = match port.name.as_deref() {
            Some(port_name) if !port_name.is_empty() => format!("{namespace}/{name}:{port_name}"),
            _ => format!("{namespace}/{name}"),
        };
        let has_outside = node_port.is_some() || !external_ips.is_empty();
        let by_node = (inside_local || outside_local && has_outside).then(|| Arc::new(serving.by_node.clone()));
        fronts.nodes.extend(by_node.iter().flat_map(|by_node| by_node.keys().cloned()));
        let affinity = affinity_seconds(spec).map(|seconds| Affinity {
            service: cluster_ips.iter().map(|ip| ServiceAddress { address: *ip, protocol, port: number }).collect(),
            seconds,
        });
        // Of one family, where the front is.
        let of = |address: Option<&IpAddr>, is_external: bool| {
            let policy_local = if is_external { outside_local } else { inside_local };
            let fits = |endpoint: &(IpAddr, u16)| address.is_none_or(|a| a.is_ipv4() == endpoint.0.is_ipv4());
            let all: Endpoints = serving.all.iter().filter(|e| fits(e)).copied().collect();
            let elsewhere = Backend {
                service: label.clone(),
                has_others: policy_local && !is_external && !all.is_empty(),
                endpoints: if policy_local && !is_external { Endpoints::new() } else { all },
                is_external,
                local: (policy_local && is_external).then(Endpoints::new),
                affinity: affinity.clone(),
            };
            Front { elsewhere, by_node: by_node.clone().filter(|_| policy_local), family: address.map(IpAddr::is_ipv4) }
        };
        let cluster_ips = cluster_ips.iter().map(|address| (address, false));
        for (address, is_external) in cluster_ips.chain(external_ips.iter().map(|address| (address, true))) {
            let key = ServiceAddress { address: *address, protocol, port: number };
            fronts.services.push((key, of(Some(address), is_external)));
        }
        if let Some(node_port) = node_port {
            let mut front = of(None, true);
            front.elsewhere.is_external = false;
            fronts.node_ports.push(((protocol, node_port), front));
        }
    }
    fronts
}

/// For how long a client comes back to the endpoint that it had.
fn affinity_seconds(spec: &ServiceSpec) -> Option<u32> {
    const DEFAULT: i32 = 10800;
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    u32::try_from(config.and_then(|client| client.timeout_seconds).unwrap_or(DEFAULT)).ok()
}

/// The addresses by which the world outside knows the Service.
fn external_ips(service: &Service, spec: &ServiceSpec, type_: &str) -> BTreeSet<IpAddr> {
    let status = service.status.as_ref().filter(|_| type_ == "LoadBalancer");
    let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref()).into_iter().flatten();
    // A balancer that is a proxy sends nothing to this address itself.
    let ingress = ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    let given = ingress.filter_map(|ingress| ingress.ip.as_deref());
    let asked = spec.external_ips.iter().flatten().map(String::as_str);
    asked.chain(given).filter_map(|ip| ip.parse().ok()).collect()
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    let listed = spec.cluster_ips.iter().flatten().map(String::as_str);
    let mut addresses: Vec<IpAddr> = listed.filter_map(|ip| ip.parse().ok()).collect();
    if addresses.is_empty() {
        addresses.extend(spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()));
    }
    addresses
}

/// The endpoints of one Service port that connections may be sent to.
#[derive(Default)]
struct Serving {
    all: Endpoints,
    by_node: BTreeMap<String, Endpoints>,
}

/// What new connections may expect of an endpoint.
#[derive(Clone, Copy, PartialEq)]
enum Fitness {
    Ready,
    /// It ends, and serves while it does: for when no other is ready.
    Ending,
    Unfit,
}

fn fitness(snapshot: &Snapshot, endpoint: &Endpoint, publishes_all: bool) -> Fitness {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready != Some(false);
    let is_leaving = !publishes_all && is_leaving(snapshot, endpoint);
    if ready && !is_leaving {
        Fitness::Ready
    } else if conditions.serving.unwrap_or(ready) && (is_leaving || conditions.terminating == Some(true)) {
        Fitness::Ending
    } else {
        Fitness::Unfit
    }
}

/// The slices' ports are matched by name, as kube-proxy does.
fn serving(snapshot: &Snapshot, slices: &[EndpointSlice], port: &ServicePort, publishes_all: bool) -> Serving {
    let wanted = port.name.as_deref().unwrap_or("");
    let (mut ready, mut ending) = (Serving::default(), Serving::default());
    for slice in slices {
        let numbers = slice.ports.iter().flatten().filter(|p| p.name.as_deref().unwrap_or("") == wanted);
        let numbers: Vec<u16> = numbers.filter_map(|p| p.port.and_then(|n| u16::try_from(n).ok())).collect();
        for endpoint in &slice.endpoints {
            let serving = match fitness(snapshot, endpoint, publishes_all) {
                Fitness::Ready => &mut ready,
                Fitness::Ending => &mut ending,
                Fitness::Unfit => continue,
            };
            for address in endpoint.addresses.iter().filter_map(|a| a.parse::<IpAddr>().ok()) {
                let here = numbers.iter().map(|number| (address, *number));
                serving.all.extend(here.clone());
                if let Some(node) = &endpoint.node_name {
                    serving.by_node.entry(node.clone()).or_default().extend(here);
                }
            }
        }
    }
    // A node goes by its own endpoints alone, even where another node has a better one.
    for (node, endpoints) in ending.by_node {
        ready.by_node.entry(node).or_insert(endpoints);
    }
    if ready.all.is_empty() {
        ready.all = ending.all;
    }
    ready
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
    fn session_affinity_is_kept_by_cluster_ip() {
        let affinity = |fields: Value| {
            let mut service = json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"type": "NodePort", "clusterIP": "10.96.0.20", "ports": [{"port": 80, "nodePort": 30080}]}});
            for (field, value) in fields.as_object().unwrap() {
                service["spec"][field] = value.clone();
            }
            let snapshot: Snapshot = Object::from_value(service).into_iter().collect();
            let desired = plan("lab", &snapshot, &Machine::default()).unwrap();
            let nat = &desired.nat["lab.w1-k8s"];
            let fronts: Vec<_> = nat.services.values().chain(nat.node_ports.values()).collect();
            assert!(fronts.len() == 2 && fronts[0].affinity == fronts[1].affinity, "{fronts:?}");
            fronts[0].affinity.as_ref().map(|affinity| (affinity.service[0].address.to_string(), affinity.seconds))
        };
        assert_eq!(affinity(json!({"sessionAffinity": "None"})), None);
        let by = |seconds| Some(("10.96.0.20".to_string(), seconds));
        assert_eq!(affinity(json!({"sessionAffinity": "ClientIP"})), by(10800));
        let config = json!({"clientIP": {"timeoutSeconds": 7}});
        assert_eq!(affinity(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config})), by(7));
    }

    #[test]
    fn endpoints_that_end_are_sent_to_when_no_other_is_left() {
        let condition = |ready: bool, serving: bool| json!({"ready": ready, "serving": serving, "terminating": !ready});
        let endpoint = |address: &str, node: &str, conditions: Value| json!({"addresses": [address], "nodeName": node, "conditions": conditions});
        let of = |endpoints: Value, policy: &str| {
            let objects = [
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
                    "spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 80}], "internalTrafficPolicy": policy}}),
                json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                    "metadata": {"name": "web-1", "namespace": "default", "labels": {SERVICE_NAME: "web"}},
                    "ports": [{"port": 80}], "endpoints": endpoints}),
            ];
            let snapshot: Snapshot = objects.into_iter().filter_map(Object::from_value).collect();
            let desired = plan("lab", &snapshot, &Machine::default()).unwrap();
            let on = |node: &str| {
                let backends = desired.nat[node].services.values();
                backends.flat_map(|backend| &backend.endpoints).map(|(ip, _)| ip.to_string()).collect::<Vec<_>>()
            };
            [on("lab.w1-k8s"), on("lab.w2-k8s")]
        };
        let ending = endpoint("10.244.1.2", "w1-k8s", condition(false, true));
        let ended = endpoint("10.244.1.3", "w1-k8s", condition(false, false));
        let ready = endpoint("10.244.2.2", "w2-k8s", condition(true, true));
        assert_eq!(of(json!([ending, ended]), "Cluster"), [["10.244.1.2"], ["10.244.1.2"]]);
        assert_eq!(of(json!([ending, ready]), "Cluster"), [["10.244.2.2"], ["10.244.2.2"]]);
        assert_eq!(of(json!([ending, ready]), "Local"), [["10.244.1.2"], ["10.244.2.2"]]);
    }

    /// A Service with an endpoint on each of two nodes.
    #[test]
    fn addresses_and_policies_lead_to_the_endpoints_that_they_say() {
        let plan_of = |spec: Value, ingress: Value| {
            let endpoint = |address: &str, node: &str| json!({"addresses": [address], "nodeName": node});
            let mut service = json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.20", "externalIPs": ["203.0.113.7", "fd00::7"],
                    "ports": [{"port": 80, "nodePort": 30080}]},
                "status": {"loadBalancer": {"ingress": ingress}}});
            for (field, value) in spec.as_object().unwrap() {
                service["spec"][field] = value.clone();
            }
            let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "web-1", "namespace": "default", "labels": {SERVICE_NAME: "web"}},
                "ports": [{"port": 8080}],
                "endpoints": [endpoint("10.244.1.2", "w1-k8s"), endpoint("10.244.2.2", "w2-k8s")]});
            let snapshot: Snapshot = [service, slice].into_iter().filter_map(Object::from_value).collect();
            plan("lab", &snapshot, &Machine::default()).unwrap()
        };
        let at =
            |address: &str| ServiceAddress { address: address.parse().unwrap(), protocol: Protocol::Tcp, port: 80 };
        let ips = |endpoints: &Endpoints| endpoints.iter().map(|(ip, _)| ip.to_string()).collect::<Vec<_>>();

        let cluster = plan_of(json!({}), json!([{"ip": "203.0.113.8"}, {"ip": "203.0.113.9", "ipMode": "Proxy"}]));
        let nat = &cluster.nat["lab.w1-k8s"];
        assert!(cluster.nat.values().all(|other| Arc::ptr_eq(nat, other)), "the same on all nodes");
        let keys: Vec<String> = nat.services.keys().map(|key| key.address.to_string()).collect();
        assert_eq!(keys, ["10.96.0.20", "203.0.113.7", "203.0.113.8"]);
        let external = nat.services.get(&at("203.0.113.7")).unwrap();
        assert!(external.is_external && external.local.is_none() && external.endpoints.len() == 2);

        let local = plan_of(json!({"externalTrafficPolicy": "Local"}), json!([]));
        let here = |node: &str, nat: &Nat| {
            let front = nat.services.get(&at("203.0.113.7")).unwrap();
            let node_port = nat.node_ports.get(&(Protocol::Tcp, 30080)).unwrap();
            assert_eq!((&front.local, &front.endpoints), (&node_port.local, &node_port.endpoints), "{node}");
            assert_eq!(front.endpoints.len(), 2, "{node}, from inside");
            assert_eq!(nat.services.get(&at("10.96.0.20")).unwrap().local, None, "{node}");
            ips(front.local.as_ref().unwrap())
        };
        let here: Vec<_> = local.nat.iter().map(|(node, nat)| (node.as_str(), here(node, nat))).collect();
        let expected = [
            ("lab.m-k8s", vec![]),
            ("lab.w1-k8s", vec!["10.244.1.2".to_string()]),
            ("lab.w2-k8s", vec!["10.244.2.2".to_string()]),
            ("lab.w3-k8s", vec![]),
        ];
        assert_eq!(here, expected);
        assert!(Arc::ptr_eq(&local.nat["lab.m-k8s"], &local.nat["lab.w3-k8s"]), "nodes without endpoints share");

        let inside = plan_of(json!({"internalTrafficPolicy": "Local"}), json!([]));
        let front = |node: &str| inside.nat[node].services.get(&at("10.96.0.20")).unwrap().clone();
        assert_eq!(ips(&front("lab.w2-k8s").endpoints), ["10.244.2.2"]);
        assert!(front("lab.m-k8s").endpoints.is_empty() && front("lab.m-k8s").has_others);
    }

    #[test]
    fn a_service_that_publishes_what_is_not_ready_keeps_it() {
        assert_eq!(reached(true), ["10.244.1.2", "10.244.2.2"]);
    }
}
