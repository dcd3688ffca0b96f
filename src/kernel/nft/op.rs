//! The operations that a change of the kernel's ruleset is made of, as plain values: what is sent, what a test
//! records, and what a packet can be walked through.

use std::borrow::Cow;
use std::fmt;

use super::expr::{Expr, Verdict};
use super::value::{Family, Value};

/// The name of our table, in each family.
pub const TABLE: &str = "nslab";

/// One step. A list of them takes effect as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<'a> {
    /// Makes the table, or leaves the one that is there as it is.
    AddTable(Family),
    /// Deletes the table with all that is in it.
    DeleteTable(Family),
    AddChain(Family, ChainSpec),
    /// Appends a rule to its chain.
    AddRule(Family, Rule),
    AddSet(Family, Set),
    /// Refused when one of the elements is there.
    AddElements(Family, Set, Vec<Element<'a>>),
    /// Refused when one of the keys is not there.
    DeleteElements(Family, Set, Vec<Value>),
}

impl fmt::Display for Op<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::AddTable(family) => write!(f, "add table {family} {TABLE}"),
            Op::DeleteTable(family) => write!(f, "delete table {family} {TABLE}"),
            Op::AddChain(family, chain) => write!(f, "add chain {family} {TABLE} {}", chain.name),
            Op::AddRule(family, rule) => write!(f, "add rule {family} {TABLE} {}", rule.chain),
            Op::AddSet(family, set) => write!(f, "add set {family} {TABLE} {set}"),
            Op::AddElements(family, set, elements) => {
                write!(f, "add {} elements to {family} {TABLE} {set}", elements.len())
            }
            Op::DeleteElements(family, set, keys) => {
                write!(f, "delete {} elements of {family} {TABLE} {set}", keys.len())
            }
        }
    }
}

/// The chains. Where kube-proxy has a chain for the same purpose, it has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chain {
    NatPrerouting,
    NatOutput,
    NatPostrouting,
    FilterInput,
    FilterForward,
    FilterOutput,
    /// Finds the Service that a packet is for.
    Services,
    /// Tells clients of an external address with policy Local apart.
    LocalExternals,
    /// The same for NodePorts.
    LocalNodePorts,
    /// Translates to an endpoint.
    Balancer(Balancer),
    MarkFromOutside,
    MarkForMasquerade,
    ServiceEndpointsCheck,
    NodePortEndpointsCheck,
    ClusterIpsCheck,
    Reject,
}

impl Chain {
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Chain::NatPrerouting => "nat-prerouting",
            Chain::NatOutput => "nat-output",
            Chain::NatPostrouting => "nat-postrouting",
            Chain::FilterInput => "filter-input",
            Chain::FilterForward => "filter-forward",
            Chain::FilterOutput => "filter-output",
            Chain::Services => "services",
            Chain::LocalExternals => "external-local",
            Chain::LocalNodePorts => "nodeport-local",
            Chain::Balancer(Balancer { to, count, affinity: None }) => {
                return Cow::Owned(format!("{}-{count}", to.name()));
            }
            Chain::Balancer(Balancer { to, count, affinity: Some(seconds) }) => {
                return Cow::Owned(format!("{}-{count}-affinity-{seconds}", to.name()));
            }
            Chain::MarkFromOutside => "mark-from-outside",
            Chain::MarkForMasquerade => "mark-for-masquerade",
            Chain::ServiceEndpointsCheck => "service-endpoints-check",
            Chain::NodePortEndpointsCheck => "nodeport-endpoints-check",
            Chain::ClusterIpsCheck => "cluster-ips-check",
            Chain::Reject => "reject-chain",
        })
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A choice among as many endpoints, for everything of its kind that has so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Balancer {
    pub to: Target,
    pub count: u32,
    /// For how many seconds clients come back to the endpoint that they had.
    pub affinity: Option<u32>,
}

/// What a connection is made to, and by whom, as far as that makes a difference to how it is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A ClusterIP; or an external address with policy Local, by a pod or the node.
    ClusterIp,
    External,
    /// An external address with policy Local, from outside.
    LocalExternal,
    NodePort,
    /// A NodePort with policy Local, by a pod or the node.
    NodePortFromInside,
    /// A NodePort with policy Local, from outside.
    LocalNodePort,
}

impl Target {
    /// What its chains' names begin with.
    pub fn name(self) -> &'static str {
        match self {
            Target::ClusterIp => "endpoints",
            Target::External => "external",
            Target::LocalExternal => "external-local",
            Target::NodePort => "nodeport",
            Target::NodePortFromInside => "nodeport-inside",
            Target::LocalNodePort => "nodeport-local",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainSpec {
    pub name: Chain,
    /// Where the kernel enters it; the others are entered by jump and goto only.
    pub entry: Option<Entry>,
    pub comment: Cow<'static, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub hook: Hook,
    /// Lower comes first.
    pub priority: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Filter,
    Nat,
}

/// Where a packet is on its way through the machine. The numbers are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub chain: Chain,
    pub exprs: Vec<Expr>,
    /// Empty: none.
    pub comment: &'static str,
}

/// The sets and maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Set {
    ServiceIps,
    ServiceEndpoints,
    ServiceNodePorts,
    NodePortEndpoints,
    NoEndpointServices,
    NoEndpointNodePorts,
    ClusterIps,
    Hairpin,
    ClusterExternals,
    LocalExternals,
    LocalEndpoints,
    ClusterNodePorts,
    LocalNodePorts,
    LocalNodePortEndpoints,
    Affinity,
    AffinityServices,
    AffinityNodePorts,
    AffinityServiceEndpoints,
    AffinityLocalEndpoints,
    AffinityNodePortEndpoints,
    AffinityLocalNodePortEndpoints,
}

/// What a part of a key or of a map's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Address,
    Protocol,
    Port,
    /// What `numgen random` gives: the number of an endpoint.
    Index,
}

/// What a set has for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSpec {
    /// It is no map.
    None,
    Verdict,
    Fields(&'static [Field]),
}

impl Set {
    /// What is there from the start.
    pub const ALL: [Set; 14] = [
        Set::ServiceIps,
        Set::ServiceEndpoints,
        Set::ServiceNodePorts,
        Set::NodePortEndpoints,
        Set::NoEndpointServices,
        Set::NoEndpointNodePorts,
        Set::ClusterIps,
        Set::Hairpin,
        Set::ClusterExternals,
        Set::LocalExternals,
        Set::LocalEndpoints,
        Set::ClusterNodePorts,
        Set::LocalNodePorts,
        Set::LocalNodePortEndpoints,
    ];

    /// What is made when the first Service wants session affinity.
    pub const AFFINITY: [Set; 7] = [
        Set::Affinity,
        Set::AffinityServices,
        Set::AffinityNodePorts,
        Set::AffinityServiceEndpoints,
        Set::AffinityLocalEndpoints,
        Set::AffinityNodePortEndpoints,
        Set::AffinityLocalNodePortEndpoints,
    ];

    /// Rules put elements into it, and time takes them out.
    pub fn is_dynamic(self) -> bool {
        self == Set::Affinity
    }

    pub fn name(self) -> &'static str {
        match self {
            Set::ServiceIps => "service-ips",
            Set::ServiceEndpoints => "service-endpoints",
            Set::ServiceNodePorts => "service-nodeports",
            Set::NodePortEndpoints => "nodeport-endpoints",
            Set::NoEndpointServices => "no-endpoint-services",
            Set::NoEndpointNodePorts => "no-endpoint-nodeports",
            Set::ClusterIps => "cluster-ips",
            Set::Hairpin => "hairpin",
            Set::ClusterExternals => "external-cluster-policy",
            Set::LocalExternals => "external-local-policy",
            Set::LocalEndpoints => "local-endpoints",
            Set::ClusterNodePorts => "nodeport-cluster-policy",
            Set::LocalNodePorts => "nodeport-local-policy",
            Set::LocalNodePortEndpoints => "nodeport-local-endpoints",
            Set::Affinity => "affinity",
            Set::AffinityServices => "affinity-services",
            Set::AffinityNodePorts => "affinity-nodeports",
            Set::AffinityServiceEndpoints => "affinity-service-endpoints",
            Set::AffinityLocalEndpoints => "affinity-local-endpoints",
            Set::AffinityNodePortEndpoints => "affinity-nodeport-endpoints",
            Set::AffinityLocalNodePortEndpoints => "affinity-nodeport-local-endpoints",
        }
    }

    pub fn comment(self) -> &'static str {
        match self {
            Set::ServiceIps => "ClusterIPs, external addresses and ports, by their number of endpoints",
            Set::ServiceEndpoints => "the endpoints of ClusterIPs",
            Set::ServiceNodePorts => "NodePorts, by their number of endpoints",
            Set::NodePortEndpoints => "the endpoints of NodePorts",
            Set::NoEndpointServices => "ClusterIPs, external addresses and ports without endpoints",
            Set::NoEndpointNodePorts => "NodePorts without endpoints",
            Set::ClusterIps => "ClusterIPs that a Service has",
            Set::Hairpin => "endpoints, each from itself to itself",
            Set::ClusterExternals => "external addresses with policy Local, for pods and this node",
            Set::LocalExternals => "external addresses with policy Local, for clients outside",
            Set::LocalEndpoints => "the endpoints on this node of external addresses with policy Local",
            Set::ClusterNodePorts => "NodePorts with policy Local, for pods and this node",
            Set::LocalNodePorts => "NodePorts with policy Local, for clients outside",
            Set::LocalNodePortEndpoints => "the endpoints on this node of NodePorts with policy Local",
            Set::Affinity => "the endpoint that a client had of a Service",
            Set::AffinityServices => "addresses of Services with affinity, by the ClusterIP",
            Set::AffinityNodePorts => "NodePorts of Services with affinity, by the ClusterIP",
            Set::AffinityServiceEndpoints => "endpoints that a client may come back to",
            Set::AffinityLocalEndpoints => "endpoints on this node that a client may come back to",
            Set::AffinityNodePortEndpoints => "endpoints that a client of a NodePort may come back to",
            Set::AffinityLocalNodePortEndpoints => {
                "endpoints on this node that a client of a NodePort may come back to"
            }
        }
    }

    pub fn key(self) -> &'static [Field] {
        use Field::{Address, Index, Port, Protocol};
        match self {
            Set::ServiceIps | Set::NoEndpointServices | Set::ClusterExternals | Set::LocalExternals => {
                &[Address, Protocol, Port]
            }
            Set::ServiceEndpoints | Set::LocalEndpoints => &[Address, Protocol, Port, Index],
            Set::ServiceNodePorts | Set::NoEndpointNodePorts | Set::ClusterNodePorts | Set::LocalNodePorts => {
                &[Protocol, Port]
            }
            Set::NodePortEndpoints | Set::LocalNodePortEndpoints => &[Protocol, Port, Index],
            Set::Affinity => &[Address, Protocol, Port, Address],
            Set::AffinityServices => &[Address, Protocol, Port],
            Set::AffinityNodePorts => &[Protocol, Port],
            Set::AffinityServiceEndpoints | Set::AffinityLocalEndpoints => &[Address, Protocol, Port, Address, Port],
            Set::AffinityNodePortEndpoints | Set::AffinityLocalNodePortEndpoints => &[Protocol, Port, Address, Port],
            Set::ClusterIps => &[Address],
            Set::Hairpin => &[Address, Address],
        }
    }

    pub fn data(self) -> DataSpec {
        match self {
            Set::ServiceIps
            | Set::ServiceNodePorts
            | Set::NoEndpointServices
            | Set::NoEndpointNodePorts
            | Set::ClusterExternals
            | Set::LocalExternals
            | Set::ClusterNodePorts
            | Set::LocalNodePorts => DataSpec::Verdict,
            Set::ServiceEndpoints | Set::NodePortEndpoints | Set::LocalEndpoints | Set::LocalNodePortEndpoints => {
                DataSpec::Fields(&[Field::Address, Field::Port])
            }
            Set::Affinity => DataSpec::Fields(&[Field::Address, Field::Port]),
            Set::AffinityServices | Set::AffinityNodePorts => {
                DataSpec::Fields(&[Field::Address, Field::Protocol, Field::Port])
            }
            Set::ClusterIps
            | Set::Hairpin
            | Set::AffinityServiceEndpoints
            | Set::AffinityLocalEndpoints
            | Set::AffinityNodePortEndpoints
            | Set::AffinityLocalNodePortEndpoints => DataSpec::None,
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element<'a> {
    pub key: Value,
    pub data: Data,
    /// Whose it is: a Service's name. Empty: no comment.
    pub comment: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    None,
    Verdict(Verdict),
    Value(Value),
}
