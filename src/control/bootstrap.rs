//! The objects that a cluster has before anybody makes one.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::mirroring::SKIP_MIRROR;
use super::slices::SERVICE_NAME;
use crate::object::default::apply_defaults;
use crate::object::lab::{API_PORT, Lab, LabError, Node, Role};
use crate::object::{Object, Write, kind};

/// The lab's name when the document has none.
pub const DEFAULT_NAME: &str = "lab";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
const COMPONENTS: [&str; 3] = ["controller-manager", "etcd-0", "scheduler"];
const DNS_LABEL: &str = "k8s-app";
const DNS_IMAGE: &str = "registry.k8s.io/coredns/coredns:v1.12.1";
/// What fits into a node's /24 with room to spare.
const PODS_PER_NODE: &str = "250";

/// What [`cluster`] creates, and the cluster's DNS. To be committed to an empty store. Errors are about what the document
/// says.
pub fn bootstrap(lab: &Lab) -> Result<Vec<Write>, LabError> {
    let mut writes = cluster(lab)?;
    writes.extend(dns(lab.api_and_dns_cluster_ips().1).map(Write::Create));
    Ok(writes)
}

/// Creates the namespaces, the nodes, the Service `kubernetes` with its endpoints, and the Lab document itself as an
/// object: a cluster in which nothing runs yet.
pub(super) fn cluster(lab: &Lab) -> Result<Vec<Write>, LabError> {
    let nodes = lab.complete_nodes()?;
    let mut objects: Vec<Object> = NAMESPACES.iter().map(|name| namespace(name)).collect();
    objects.extend(nodes.iter().map(node));
    let api = nodes.iter().filter(|node| node.role == Role::ControlPlane);
    // The lab's first family is that of the Service `kubernetes`, and of each node's first address.
    let api: Vec<IpAddr> = api.flat_map(|node| node.addresses.first().copied()).collect();
    objects.extend(kubernetes_service(lab.api_and_dns_cluster_ips().0, &api));
    objects.push(default_service_account("default"));
    objects.extend(COMPONENTS.iter().map(|name| component(name)));
    objects.push(document(lab)?);
    Ok(objects.into_iter().map(Write::Create).collect())
}

fn object(json: Value) -> Object {
    Object::from_value(json).unwrap_or_default()
}

fn namespace(name: &str) -> Object {
    object(json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}))
}

pub(super) fn default_service_account(namespace: &str) -> Object {
    object(json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": namespace}}))
}

/// What `kubectl get componentstatuses` shows, which is deprecated but in every course.
fn component(name: &str) -> Object {
    object(json!({"apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]}))
}

/// As Go, and so Kubernetes, calls this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn node(node: &Node) -> Object {
    let mut labels: Map<String, Value> = Map::new();
    for (name, value) in [
        ("kubernetes.io/hostname", node.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
    ] {
        labels.insert(name.into(), value.into());
    }
    let pod_subnets: Vec<String> = node.pod_subnets.iter().map(|subnet| subnet.to_string()).collect();
    let mut spec = json!({"podCIDR": pod_subnets.first(), "podCIDRs": pod_subnets});
    if node.role == Role::ControlPlane {
        labels.insert(CONTROL_PLANE.into(), "".into());
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("taints".into(), json!([{"key": CONTROL_PLANE, "effect": "NoSchedule"}]));
        }
    }
    labels.extend(node.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
    let mut addresses: Vec<Value> =
        node.addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
    addresses.push(json!({"type": "Hostname", "address": node.name}));
    let resources = json!({"pods": PODS_PER_NODE});
    object(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": labels},
        "spec": spec,
        "status": {"addresses": addresses, "capacity": resources, "allocatable": resources,
            "nodeInfo": {"kubeletVersion": "v1.34.0+nslab", "containerRuntimeVersion":
                concat!("nslab://", env!("CARGO_PKG_VERSION")), "operatingSystem": "linux",
                "architecture": architecture()}}}))
}

/// The Service `kubernetes` and its endpoints, which upstream's API server writes itself.
fn kubernetes_service(cluster_ip: IpAddr, api: &[IpAddr]) -> [Object; 3] {
    let family = if cluster_ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let metadata = |labels: Value| json!({"name": "kubernetes", "namespace": "default", "labels": labels});
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": metadata(json!({"component": "apiserver", "provider": "kubernetes"})),
        "spec": {"type": "ClusterIP", "clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": API_PORT}]},
        "status": {"loadBalancer": {}}});
    let ports = json!([{"name": "https", "port": API_PORT, "protocol": "TCP"}]);
    let addresses: Vec<Value> = api.iter().map(|ip| json!({ "ip": ip })).collect();
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata(json!({SKIP_MIRROR: "true"})),
        "subsets": [{"addresses": addresses, "ports": ports}]});
    let entries: Vec<Value> = api.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": metadata(json!({SERVICE_NAME: "kubernetes"})), "addressType": family, "ports": ports,
        "endpoints": entries});
    [object(service), object(endpoints), object(slice)]
}

/// The DNS server and its Service, as kubeadm sets them up: it runs on the control plane, and asks the machine's own
/// resolver for the names of the world.
fn dns(cluster_ip: IpAddr) -> [Object; 3] {
    let labels = json!({DNS_LABEL: "kube-dns"});
    let metadata = |name: &str, labels: &Value| json!({"name": name, "namespace": "kube-system", "labels": labels});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "coredns", "namespace": "kube-system"}});
    let port = |name: &str, protocol: &str| json!({"name": name, "containerPort": 53, "protocol": protocol});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("coredns", &labels),
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {"metadata": {"labels": labels}, "spec": {
                "serviceAccountName": "coredns", "dnsPolicy": "Default",
                "priorityClassName": "system-cluster-critical",
                "nodeSelector": {CONTROL_PLANE: ""},
                "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"},
                    {"key": CONTROL_PLANE, "effect": "NoSchedule"}],
                "containers": [{"name": "coredns", "image": DNS_IMAGE,
                    "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]}]}}}});
    let family = if cluster_ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "protocol": protocol, "targetPort": 53});
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": metadata("kube-dns", &json!({DNS_LABEL: "kube-dns", "kubernetes.io/cluster-service": "true",
            "kubernetes.io/name": "CoreDNS"})),
        "spec": {"type": "ClusterIP", "clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "selector": labels, "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]},
        "status": {"loadBalancer": {}}});
    [account, deployment, service].map(|json| {
        let mut object = object(json);
        apply_defaults(&mut object);
        object
    })
}

fn document(lab: &Lab) -> Result<Object, LabError> {
    let unwritable = |error: serde_json::Error| LabError { path: "metadata".into(), reason: error.to_string() };
    let mut document = Object::from_typed(&kind::LAB, lab).map_err(unwritable)?;
    let name = lab.metadata.name.as_deref().unwrap_or(DEFAULT_NAME);
    document.metadata_mut().insert("name".into(), name.into());
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::Cluster;

    #[test]
    fn a_new_lab_gets_its_dns() {
        let mut cluster = Cluster::lab([]);
        cluster.commit(dns("10.96.0.10".parse().unwrap()).map(Write::Create).into());
        cluster.run();
        let deployment = cluster.get(&kind::DEPLOYMENT, "kube-system", "coredns");
        assert_eq!(deployment.i64_at(&["status", "availableReplicas"]), Some(1));
        let [pod] = cluster.list(&kind::POD).try_into().unwrap();
        assert_eq!(pod.str_at(&["spec", "nodeName"]), Some("m-k8s"));
        assert_eq!(pod.str_at(&["spec", "serviceAccountName"]), Some("coredns"));
        let endpoints = cluster.get(&kind::ENDPOINTS, "kube-system", "kube-dns");
        let ports = json!([{"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]);
        assert_eq!(endpoints.at(&["subsets"]).unwrap()[0]["ports"], ports);
    }

    #[test]
    fn an_empty_lab_has_what_a_new_cluster_has() {
        let mut cluster = Cluster::lab([]);
        cluster.settle();
        assert_eq!(cluster.names(&kind::NAMESPACE), NAMESPACES);
        assert_eq!(cluster.list(&kind::SERVICE_ACCOUNT).len(), NAMESPACES.len());
        assert_eq!(cluster.names(&kind::NODE), ["m-k8s", "w1-k8s", "w2-k8s", "w3-k8s"]);
        let control_plane = cluster.get(&kind::NODE, "", "m-k8s");
        assert_eq!(control_plane.at(&["spec", "taints"]).unwrap()[0]["key"], CONTROL_PLANE);
        assert_eq!(control_plane.str_at(&["spec", "podCIDR"]), Some("10.244.0.0/24"));
        let worker = cluster.get(&kind::NODE, "", "w2-k8s");
        assert_eq!(worker.at(&["spec", "taints"]), None);
        assert_eq!(worker.label("kubernetes.io/hostname"), Some("w2-k8s"));
        assert_eq!(
            worker.at(&["status", "addresses"]),
            Some(&json!([{"type": "InternalIP",
            "address": "192.168.1.102"}, {"type": "Hostname", "address": "w2-k8s"}]))
        );
        let service = cluster.get(&kind::SERVICE, "default", "kubernetes");
        assert_eq!(service.str_at(&["spec", "clusterIP"]), Some("10.96.0.1"));
        // Nobody mirrors or deletes its endpoints.
        assert_eq!(cluster.names(&kind::ENDPOINT_SLICE), ["kubernetes"]);
        let endpoints = cluster.get(&kind::ENDPOINTS, "default", "kubernetes");
        assert_eq!(endpoints.at(&["subsets"]).unwrap()[0]["addresses"], json!([{"ip": "192.168.1.10"}]));
        // The document comes back as it was.
        let stored = cluster.get(&kind::LAB, "", "lab").view::<Lab>().unwrap();
        assert_eq!(stored.networking, Lab::default().networking);
    }
}
