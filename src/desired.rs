//! The whole lab as one plain value: every namespace, link, address, route, NAT entry, process and mount that it
//! should have. Everything before this value is pure; everything after it touches the system.
//!
//! All of it is ordered, comparable and printable, so that two of them can be told apart (`diff.rs`), one can be shown
//! (`lab plan`), and a packet can be walked through it without a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::chunked::{Chunked, ChunkedSet};

/// The name of a network namespace as `ip netns` shows it, e.g. `lab.w1-k8s`, `lab.default.web-1`. The empty name is
/// the machine's own namespace.
pub type NetnsName = String;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// The lab's name.
    pub lab: String,
    pub netns: BTreeMap<NetnsName, Netns>,
    /// By the name of their inner end: `lab.default.web-1/eth0`.
    pub veths: BTreeMap<String, Veth>,
    /// The nodes' runtimes, by node name: the process that is pid 1 of the node and starts its pods' containers.
    pub runtimes: BTreeMap<String, Runtime>,
    /// Service address translation, by the network namespace it is loaded in. Nodes that want the same share it.
    pub nat: BTreeMap<NetnsName, Arc<Nat>>,
    /// The TCP port at which the API is served in a network namespace, at all its addresses.
    #[serde(default)]
    pub api: BTreeMap<NetnsName, u16>,
    /// Pods to run, by `namespace/name`.
    pub pods: BTreeMap<String, Arc<Pod>>,
}

// ---- network -------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netns {
    pub role: NetnsRole,
    /// Forward packets between its links (nodes do).
    pub forwarding: bool,
    /// Bridges by interface name.
    pub bridges: BTreeMap<String, Bridge>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetnsRole {
    /// The switch that the nodes, the outside machine and the VM are plugged into.
    Lan,
    Node,
    /// The outside machine of the notes.
    Client,
    Pod,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    pub mac: Mac,
    pub addresses: Vec<IpNet>,
}

/// A cable: two ends, created together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veth {
    /// A machine's or pod's `eth0`.
    pub inner: End,
    /// Where it is plugged in: a port of the LAN's bridge, or a node's end of a pod's cable.
    pub outer: End,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub netns: NetnsName,
    /// At most 15 bytes.
    pub name: String,
    /// A readable name where `name` is a hash.
    pub altname: Option<String>,
    pub mac: Mac,
    pub addresses: Vec<IpNet>,
    /// The bridge of the same namespace that it is a port of.
    pub bridge: Option<String>,
    /// Routes out of this end; they live and die with it.
    pub routes: BTreeSet<Route>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// `0.0.0.0/0` is the default route.
    pub to: IpNet,
    /// `None`: on the link itself.
    pub via: Option<IpAddr>,
    /// The source address to prefer.
    pub source: Option<IpAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes: Result<Vec<u8>, _> = text.split(':').map(|part| u8::from_str_radix(part, 16)).collect();
        let bytes = bytes.ok().and_then(|b| <[u8; 6]>::try_from(b).ok());
        bytes.map(Mac).ok_or_else(|| format!("\"{text}\" is no MAC address"))
    }
}

// ---- Services ------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// What kube-proxy would load on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// Traffic from outside these to a ClusterIP is masqueraded.
    pub pod_subnets: Vec<IpNet>,
    /// Addresses in here that are no Service's are dropped.
    pub service_subnets: Vec<IpNet>,
    /// ClusterIPs and external addresses, and their ports. A ClusterIP on another port is rejected.
    pub services: Chunked<ServiceAddress, Backend>,
    /// Ports of every local address of the node (127/8 excepted).
    pub node_ports: Chunked<(Protocol, u16), Backend>,
    /// Addresses of endpoints: one that reaches itself through its Service is masqueraded. The same on every node, since
    /// no other node sees such a packet.
    pub hairpin: ChunkedSet<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceAddress {
    pub address: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
}

/// Where connections to one port of a Service go; nowhere means: reject.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// `default/web:http`, for comments.
    pub service: String,
    pub endpoints: BTreeSet<(IpAddr, u16)>,
    /// The address is no ClusterIP, but one of the world outside: its clients are masqueraded as a NodePort's are.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_external: bool,
    /// Where what comes from outside goes, keeping its source, under `externalTrafficPolicy: Local`; nowhere means:
    /// drop. Pods and the node itself go to `endpoints`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<BTreeSet<(IpAddr, u16)>>,
    /// No `endpoints` means drop instead: there are some, on other nodes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_others: bool,
    /// Clients come back to the endpoint that they had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
}

/// `sessionAffinity: ClientIP` of one port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// The port's ClusterIPs, one of each family: clients are remembered by them, whatever address they came to.
    pub service: Vec<ServiceAddress>,
    /// For how long after a client's last connection.
    pub seconds: u32,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

// ---- processes and mounts ------------------------------------------------------------------------------------------

/// A node as a process: pid 1 of a pid namespace that all the node's containers live in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    pub netns: NetnsName,
    pub hostname: String,
    /// Directories of the machine that stand in the node's root, for hostPath.
    pub extra_mounts: Vec<Bind>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On this machine.
    pub source: PathBuf,
    /// In the node or container.
    pub target: PathBuf,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub node: String,
    /// Its own, or its node's (hostNetwork).
    pub netns: NetnsName,
    pub hostname: String,
    pub addresses: Vec<IpAddr>,
    /// The content of its /etc/resolv.conf and /etc/hosts.
    pub resolv_conf: String,
    pub hosts: String,
    /// The ServiceAccount whose token its containers get.
    #[serde(default)]
    pub service_account: Option<String>,
    pub restart_policy: RestartPolicy,
    /// In the order of `spec.containers`.
    pub containers: Vec<Container>,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u64,
    /// `Some`: the pod is being deleted; end it with this many seconds of grace.
    pub stopping: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    pub name: String,
    /// As the manifest has it.
    pub image: String,
    /// What the image name resolved to; an error is the message of `ErrImagePull`.
    pub program: Result<Program, String>,
    /// Complete, in order.
    pub env: Vec<(String, String)>,
    /// `None`: the image's.
    pub working_dir: Option<String>,
    pub stdin: bool,
    /// Close the container's stdin when the first attached client leaves.
    pub stdin_once: bool,
    pub tty: bool,
}

/// A program to run, after the image's entrypoint and the pod's `command` and `args` have been put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A built-in server of this binary: `argv[0]` names it.
    Applet { argv: Vec<String> },
    /// A program of the rootfs, looked up in the container's PATH.
    Command { argv: Vec<String> },
}
