//! The `kind: Lab` document: which nodes a lab has, its addresses and its timings. Where kind's (kind.sigs.k8s.io)
//! cluster configuration has a word for a thing, this uses the same word.

mod networking;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use networking::{IpFamily, Networking, Subnets, nth};

/// The API server's port on the control plane nodes.
pub const API_PORT: u16 = 6443;

/// What a lab is made of. What would be its `spec` stands at the top level of the document, as in kind's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Lab {
    /// `nslab.dev/v1alpha1`
    pub api_version: String,
    /// `Lab`
    pub kind: String,
    /// The lab's name, and what the store says of the document.
    pub metadata: LabMetadata,
    /// The nodes; without this, the course notes' m-k8s and w1-k8s to w3-k8s.
    pub nodes: Vec<LabNode>,
    /// The lab's networks.
    pub networking: Networking,
    /// How long the lab waits for what.
    pub timings: Timings,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabMetadata {
    /// The lab's name, which `--name` overrides: a lower case RFC 1123 label of at most 32 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Set by the store.
    #[serde(flatten)]
    #[schemars(skip)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabNode {
    /// The node's name; m-k8s, w1-k8s, w2-k8s, ... by role and order when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default)]
    pub role: Role,
    /// Its addresses on the LAN; those of a family that are left out are .10 for the control plane and .101 onward for
    /// workers, or ::10 and ::101.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Directories of this machine that the node has at a path of its own, for hostPath volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_mounts: Vec<ExtraMount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    ControlPlane,
    #[default]
    Worker,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraMount {
    /// An absolute path of this machine.
    pub host_path: String,
    /// Where the node sees it.
    pub container_path: String,
    #[serde(default)]
    pub read_only: bool,
}

/// Kubernetes' own periods unless set. Written like `40s`, `500ms`, `5m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timings {
    /// How long a node may be silent before its Ready condition is Unknown (kube-controller-manager
    /// `--node-monitor-grace-period`).
    pub node_monitor_grace_period: Period,
    /// How long a pod stays bound to a node that is not ready (the default `tolerationSeconds`).
    pub pod_eviction_timeout: Period,
    /// The first wait before a container that ended is started again; doubles each time (kubelet).
    pub container_restart_backoff: Period,
    /// The longest such wait.
    pub container_restart_backoff_max: Period,
}

/// A span of time in milliseconds, written `300ms`, `4s`, `5m` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub std::time::Duration);

impl Period {
    pub const fn from_secs(secs: u64) -> Self {
        Period(std::time::Duration::from_secs(secs))
    }
}

impl std::str::FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("\"{text}\" is no period: write a number and a unit, such as 500ms, 4s, 5m or 1h");
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wanted)?;
        let number: u64 = text[..unit_at].parse().map_err(|_| wanted())?;
        let per_unit = match &text[unit_at..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wanted()),
        };
        let millis = number.checked_mul(per_unit).ok_or_else(wanted)?;
        Ok(Period(std::time::Duration::from_millis(millis)))
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            _ if !millis.is_multiple_of(1000) => write!(f, "{millis}ms"),
            _ if millis.is_multiple_of(60_000) && millis > 0 => write!(f, "{}m", millis / 60_000),
            _ => write!(f, "{}s", millis / 1000),
        }
    }
}

impl Serialize for Period {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"})
    }
}

impl Default for Lab {
    fn default() -> Self {
        Lab {
            api_version: format!("{}/v1alpha1", super::kind::LAB_GROUP),
            kind: "Lab".into(),
            metadata: LabMetadata::default(),
            nodes: Vec::new(),
            networking: Networking::default(),
            timings: Timings::default(),
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            node_monitor_grace_period: Period::from_secs(40),
            pod_eviction_timeout: Period::from_secs(300),
            container_restart_backoff: Period::from_secs(10),
            container_restart_backoff_max: Period::from_secs(300),
        }
    }
}

/// A node with everything that the document may leave out filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub role: Role,
    pub addresses: Vec<IpAddr>,
    pub labels: BTreeMap<String, String>,
    pub extra_mounts: Vec<ExtraMount>,
    /// The part of the pod subnet that is this node's.
    pub pod_subnets: Vec<IpNet>,
}

/// What is wrong in a Lab document, and where: a JSON path such as `networking.podSubnet`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct LabError {
    pub path: String,
    pub reason: String,
}

impl Lab {
    /// The lab's nodes, complete: names, addresses, pod subnets. Errors are about what the document says.
    pub fn complete_nodes(&self) -> Result<Vec<Node>, LabError> {
        let error = |path: String, reason: String| LabError { path, reason };
        let notes = [Role::ControlPlane, Role::Worker, Role::Worker, Role::Worker];
        let default: Vec<LabNode> = notes.into_iter().map(LabNode::of_role).collect();
        let asked = if self.nodes.is_empty() { &default } else { &self.nodes };
        self.networking.check()?;
        let lan = &self.networking.lan_subnet;
        let mut pod_subnets = networking::of_nodes(&self.networking.pod_subnet);
        let (mut nodes, mut control_planes, mut workers) = (Vec::<Node>::new(), 0u32, 0u32);
        for (index, node) in asked.iter().enumerate() {
            let (prefix, number, first_host) = match node.role {
                Role::ControlPlane => {
                    control_planes += 1;
                    ("m", control_planes, 9)
                }
                Role::Worker => {
                    workers += 1;
                    ("w", workers, 100)
                }
            };
            let name = node.name.clone().unwrap_or_else(|| match (node.role, number) {
                (Role::ControlPlane, 1) => "m-k8s".to_string(),
                _ => format!("{prefix}{number}-k8s"),
            });
            if let Some(reason) = node_name_error(&name) {
                return Err(error(format!("nodes[{index}].name"), reason));
            }
            if nodes.iter().any(|n| n.name == name) {
                return Err(error(format!("nodes[{index}].name"), format!("two nodes are called \"{name}\"")));
            }
            let addresses = node_addresses(&node.addresses, lan, first_host + number);
            for address in &addresses {
                let subnet = lan.like(*address);
                let is_host = |net: &IpNet| {
                    net.contains(address)
                        && *address != net.network()
                        && (*address != net.broadcast() || !address.is_ipv4())
                };
                if !subnet.as_ref().is_some_and(is_host) {
                    let lan = subnet.map_or_else(|| lan.to_string(), |subnet| subnet.to_string());
                    return Err(error(
                        format!("nodes[{index}].addresses"),
                        format!("{address} of node {name} is no host address of the LAN {lan}"),
                    ));
                }
                if let Some(other) = nodes.iter().find(|n| n.addresses.contains(address)) {
                    let reason = format!("{address} is the address of {} and of {name}", other.name);
                    return Err(error(format!("nodes[{index}].addresses"), reason));
                }
            }
            let pod_subnets = match pod_subnets.next() {
                Some(Ok(subnets)) => subnets,
                Some(Err(full)) => {
                    let size = if full.addr().is_ipv4() { 24 } else { 64 };
                    return Err(error(
                        "networking.podSubnet".into(),
                        format!("{full} has no /{size} left for node {name}"),
                    ));
                }
                None => Vec::new(),
            };
            nodes.push(Node {
                name,
                role: node.role,
                addresses,
                labels: node.labels.clone(),
                extra_mounts: node.extra_mounts.clone(),
                pod_subnets,
            });
        }
        if control_planes == 0 {
            return Err(error("nodes".into(), "no node has the role control-plane".into()));
        }
        Ok(nodes)
    }

    /// The VM's own addresses on the LAN, and the outside machine's; one of each family.
    pub fn host_and_client_addresses(&self) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let of = |number| self.networking.lan_subnet.iter().map(|lan| nth(lan, number)).collect();
        (of(1), of(2))
    }

    /// The address of the Service `kubernetes`, and that of the cluster's DNS. Both are of the lab's first family only,
    /// as kubeadm has it.
    pub fn api_and_dns_cluster_ips(&self) -> (IpAddr, IpAddr) {
        let services = self.networking.service_subnet.first;
        (nth(services, 1), nth(services, 10))
    }
}

/// An address as it stands in a URL before its port.
pub fn in_url(address: &str) -> std::borrow::Cow<'_, str> {
    if address.contains(':') { format!("[{address}]").into() } else { address.into() }
}

/// A node's addresses in the order of the lab's families: those that it was given, and else the one of its number.
fn node_addresses(given: &[IpAddr], lan: &Subnets, number: u32) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for subnet in lan.iter() {
        let own = given.iter().filter(|address| address.is_ipv4() == subnet.addr().is_ipv4());
        let before = addresses.len();
        addresses.extend(own);
        if addresses.len() == before {
            addresses.push(networking::host(subnet, number));
        }
    }
    // Of a family that the lab does not have; to be refused.
    addresses.extend(given.iter().filter(|address| lan.like(**address).is_none()));
    addresses
}

/// Why a lab cannot be called `name`. The name begins the names of its namespaces and of its link on the machine.
pub fn name_error(name: &str) -> Option<String> {
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && name.len() <= 32 && name.chars().all(label) && !name.starts_with('-') && !name.ends_with('-')
    {
        return None;
    }
    Some(format!("\"{name}\" cannot name a lab: use at most 32 of a-z, 0-9 and '-', with no '-' at either end"))
}

/// A node's name is also the name of its namespace and of its port on the LAN's bridge.
fn node_name_error(name: &str) -> Option<String> {
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(label) || name.starts_with('-') || name.ends_with('-') {
        return Some(format!(
            "\"{name}\" is no lower case RFC 1123 label: use at most 63 of a-z, 0-9 and '-', with no '-' at either end"
        ));
    }
    ["lan", "client", "host"].contains(&name).then(|| format!("\"{name}\" is the lab's own name for a part of its LAN"))
}

impl LabNode {
    fn of_role(role: Role) -> Self {
        LabNode { name: None, role, addresses: Vec::new(), labels: BTreeMap::new(), extra_mounts: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_lab_is_the_notes_cluster() {
        let nodes = Lab::default().complete_nodes().unwrap();
        let seen: Vec<_> =
            nodes.iter().map(|n| format!("{} {} {}", n.name, n.addresses[0], n.pod_subnets[0])).collect();
        assert_eq!(
            seen,
            [
                "m-k8s 192.168.1.10 10.244.0.0/24",
                "w1-k8s 192.168.1.101 10.244.1.0/24",
                "w2-k8s 192.168.1.102 10.244.2.0/24",
                "w3-k8s 192.168.1.103 10.244.3.0/24",
            ]
        );
        assert_eq!(Lab::default().api_and_dns_cluster_ips().0.to_string(), "10.96.0.1");
    }

    #[test]
    fn a_dual_stack_lab_has_two_of_each() {
        let lab: Lab = serde_json::from_value(serde_json::json!({"networking": {"ipFamily": "dual"},
            "nodes": [{"role": "control-plane"}, {"addresses": ["fd00:192:168:1::7"]}]}))
        .unwrap();
        let nodes = lab.complete_nodes().unwrap();
        let seen: Vec<_> = nodes.iter().map(|n| format!("{} {:?} {:?}", n.name, n.addresses, n.pod_subnets)).collect();
        assert_eq!(
            seen,
            [
                "m-k8s [192.168.1.10, fd00:192:168:1::10] [10.244.0.0/24, fd00:10:244::/64]",
                "w1-k8s [192.168.1.101, fd00:192:168:1::7] [10.244.1.0/24, fd00:10:244:1::/64]",
            ]
        );
        let ipv6: Lab = serde_json::from_value(serde_json::json!({"networking": {"ipFamily": "ipv6"}})).unwrap();
        let (api, dns) = ipv6.api_and_dns_cluster_ips();
        assert_eq!(format!("{api} {dns}"), "fd00:10:96::1 fd00:10:96::a");
        let (host, client) = ipv6.host_and_client_addresses();
        assert_eq!(format!("{host:?} {client:?}"), "[fd00:192:168:1::1] [fd00:192:168:1::2]");
    }

    #[test]
    fn periods_are_read_and_printed() {
        for text in ["500ms", "4s", "5m", "90s"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
        for bad in ["", "4", "s", "4 s", "-1s", "4days", "99999999999999999999s", "18446744073709551615h"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }
}
