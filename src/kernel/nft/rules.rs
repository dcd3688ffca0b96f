//! The rules that are the same whatever Services there are, and the chains that depend on a number of endpoints only.
//! They are kube-proxy's behaviour in nftables mode, over maps instead of a chain for each Service, and the one rule that
//! network plugins add: pods go out under their node's address.

pub mod affinity;

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::expr::{
    Answer, Comparison, ConntrackKey, Expr, Header, Into, Reg, STATE_NEW, STATUS_DNAT, TYPE_LOCAL, Verdict,
    destination, destination_port, source,
};
use super::op::{Balancer, Chain, ChainSpec, Entry, Hook, Kind, Op, Rule, Set, Target};
use super::value::{Family, Value};
use crate::desired::{Nat, Protocol};

/// The bit of the packet mark that asks for masquerading; kube-proxy's default.
pub const MASQUERADE_MARK: u32 = 0x4000;

const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;
const FILTER: i32 = 0;

/// Where keys begin.
const R0: Reg = Reg(0);

/// The tables that `nat` needs: IPv4's always, IPv6's when there is any IPv6 in the cluster.
pub fn families(nat: &Nat) -> &'static [Family] {
    let mut subnets = nat.pod_subnets.iter().chain(&nat.service_subnets);
    let six = subnets.any(|subnet| matches!(subnet, IpNet::V6(_)))
        // IPv6 sorts last.
        || nat.services.last_key_value().is_some_and(|(service, _)| service.address.is_ipv6())
        || nat.hairpin.last().is_some_and(IpAddr::is_ipv6);
    if six { &Family::ALL } else { &[Family::Ip] }
}

/// Table, sets, chains and rules of one family, without any element.
pub fn table(family: Family, nat: &Nat) -> Vec<Op<'static>> {
    let mut ops = vec![Op::AddTable(family)];
    ops.extend(Set::ALL.map(|set| Op::AddSet(family, set)));

    let mut chain = |name, entry, comment: &'static str| {
        ops.push(Op::AddChain(family, ChainSpec { name, entry, comment: comment.into() }));
    };
    let at = |kind, hook, priority| Some(Entry { kind, hook, priority });
    chain(Chain::MarkForMasquerade, None, "");
    chain(Chain::MarkFromOutside, None, "masquerade what comes from no pod");
    chain(Chain::Reject, None, "");
    chain(Chain::Services, None, "find the Service that a new connection is for");
    chain(Chain::LocalExternals, None, "external addresses with policy Local");
    chain(Chain::LocalNodePorts, None, "NodePorts with policy Local");
    chain(Chain::ServiceEndpointsCheck, None, "");
    chain(Chain::NodePortEndpointsCheck, None, "");
    chain(Chain::ClusterIpsCheck, None, "Service addresses that no rule above has translated");
    chain(Chain::NatPrerouting, at(Kind::Nat, Hook::Prerouting, DSTNAT), "from pods and from outside");
    chain(Chain::NatOutput, at(Kind::Nat, Hook::Output, DSTNAT), "from this node itself");
    chain(Chain::NatPostrouting, at(Kind::Nat, Hook::Postrouting, SRCNAT), "");
    chain(Chain::FilterInput, at(Kind::Filter, Hook::Input, FILTER), "");
    chain(Chain::FilterForward, at(Kind::Filter, Hook::Forward, FILTER), "");
    chain(Chain::FilterOutput, at(Kind::Filter, Hook::Output, FILTER), "");

    let mut rule = |chain, exprs, comment| ops.push(Op::AddRule(family, Rule { chain, exprs, comment }));
    rule(Chain::MarkForMasquerade, mark(!MASQUERADE_MARK, MASQUERADE_MARK), "");
    for subnet in of_family(family, &nat.pod_subnets) {
        let mut exprs = within(source(family, R0), Comparison::Equal, subnet);
        exprs.push(Expr::Verdict(Verdict::Return));
        rule(Chain::MarkFromOutside, exprs, "pods");
    }
    rule(Chain::MarkFromOutside, mark(!MASQUERADE_MARK, MASQUERADE_MARK), "");
    // A reset where there can be one. kube-proxy answers all with ICMP, but here client and node share a machine: the
    // ICMP then arrives while the client is still inside `connect`, where IPv6 ignores it and waits a second.
    let mut reset = vec![Expr::Transport { to: R0 }];
    reset.push(compare(R0, Comparison::Equal, Value::EMPTY.protocol(Protocol::Tcp), 1));
    reset.push(Expr::Reject(Answer::TcpReset));
    rule(Chain::Reject, reset, "");
    rule(Chain::Reject, vec![Expr::Reject(Answer::PortUnreachable)], "");

    rule(Chain::Services, service_verdict(family, Set::ServiceIps), "");
    rule(Chain::Services, node_port_verdict(family, Set::ServiceNodePorts), "");
    // Pods and the node do not go out and come back in: policy Local is not for them.
    let mut by_policy = |chain, cluster: Vec<Expr>, local| {
        for subnet in of_family(family, &nat.pod_subnets) {
            let mut exprs = within(source(family, R0), Comparison::Equal, subnet);
            exprs.extend_from_slice(&cluster);
            rule(chain, exprs, "pods");
        }
        let mut exprs = vec![Expr::SourceType { to: R0 }];
        exprs.push(compare(R0, Comparison::Equal, Value::EMPTY.native(TYPE_LOCAL), 4));
        exprs.extend(cluster);
        rule(chain, exprs, "this node");
        rule(chain, local, "from outside");
    };
    let verdict = |set| service_verdict(family, set);
    by_policy(Chain::LocalExternals, verdict(Set::ClusterExternals), verdict(Set::LocalExternals));
    by_policy(Chain::LocalNodePorts, port_verdict(Set::ClusterNodePorts), port_verdict(Set::LocalNodePorts));
    rule(Chain::ServiceEndpointsCheck, service_verdict(family, Set::NoEndpointServices), "");
    rule(Chain::NodePortEndpointsCheck, node_port_verdict(family, Set::NoEndpointNodePorts), "");
    let known = vec![
        destination(family, R0),
        Expr::Lookup { set: Set::ClusterIps, key: R0, to: Into::Nothing },
        Expr::Verdict(Verdict::Goto(Chain::Reject)),
    ];
    rule(Chain::ClusterIpsCheck, known, "a port that the Service does not have");
    for subnet in of_family(family, &nat.service_subnets) {
        let mut exprs = within(destination(family, R0), Comparison::Equal, subnet);
        exprs.push(Expr::Verdict(Verdict::Drop));
        rule(Chain::ClusterIpsCheck, exprs, "no Service has this address");
    }

    rule(Chain::NatPrerouting, jump(Chain::Services), "");
    rule(Chain::NatOutput, jump(Chain::Services), "");

    let next = Reg(family.address_len() as u8 / 4);
    let mut hairpin = vec![
        source(family, R0),
        destination(family, next),
        Expr::Lookup { set: Set::Hairpin, key: R0, to: Into::Nothing },
    ];
    hairpin.extend(has_bit(ConntrackKey::Status, STATUS_DNAT));
    hairpin.push(Expr::Masquerade);
    rule(Chain::NatPostrouting, hairpin, "a pod that calls itself through its Service");
    for pods in of_family(family, &nat.pod_subnets) {
        let mut exprs = within(source(family, R0), Comparison::Equal, pods);
        for pods in of_family(family, &nat.pod_subnets) {
            exprs.extend(within(destination(family, R0), Comparison::NotEqual, pods));
        }
        exprs.push(Expr::Masquerade);
        rule(Chain::NatPostrouting, exprs, "pods to the world outside, which knows no way back to a pod");
    }
    let unmarked = vec![
        Expr::Mark { to: R0 },
        Expr::Bitwise { register: R0, mask: Value::EMPTY.native(MASQUERADE_MARK), xor: Value::EMPTY.native(0) },
        compare(R0, Comparison::Equal, Value::EMPTY.native(0), 4),
        Expr::Verdict(Verdict::Return),
    ];
    rule(Chain::NatPostrouting, unmarked, "");
    rule(Chain::NatPostrouting, mark(u32::MAX, MASQUERADE_MARK), "clear the mark");
    rule(Chain::NatPostrouting, vec![Expr::Masquerade], "");

    let mut check = |chain, target| {
        let mut exprs = has_bit(ConntrackKey::State, STATE_NEW);
        exprs.extend(jump(target));
        rule(chain, exprs, "");
    };
    // An external address may be one of the node's own.
    check(Chain::FilterInput, Chain::ServiceEndpointsCheck);
    check(Chain::FilterInput, Chain::NodePortEndpointsCheck);
    for chain in [Chain::FilterForward, Chain::FilterOutput] {
        check(chain, Chain::ServiceEndpointsCheck);
        check(chain, Chain::ClusterIpsCheck);
    }
    ops
}

/// A chain that translates to one of `count` endpoints, with its rules.
pub fn balancer(family: Family, balancer: Balancer) -> Vec<Op<'static>> {
    let (map, marking, what) = match balancer.to {
        Target::ClusterIp => (Set::ServiceEndpoints, Some(Chain::MarkFromOutside), "ClusterIPs"),
        Target::External => (Set::ServiceEndpoints, Some(Chain::MarkForMasquerade), "external addresses"),
        Target::LocalExternal => (Set::LocalEndpoints, None, "external addresses, here,"),
        Target::NodePort => (Set::NodePortEndpoints, Some(Chain::MarkForMasquerade), "NodePorts"),
        Target::NodePortFromInside => (Set::NodePortEndpoints, Some(Chain::MarkFromOutside), "NodePorts"),
        Target::LocalNodePort => (Set::LocalNodePortEndpoints, None, "NodePorts, here,"),
    };
    let (chain, count) = (Chain::Balancer(balancer), balancer.count);
    let plural = if count == 1 { "" } else { "s" };
    let comment = format!("{what} with {count} endpoint{plural}").into();
    let mut ops = vec![Op::AddChain(family, ChainSpec { name: chain, entry: None, comment })];
    let mut rule = |exprs, comment| ops.push(Op::AddRule(family, Rule { chain, exprs, comment }));
    if let Some(marking) = marking {
        rule(jump(marking), "");
    }
    if let Some(seconds) = balancer.affinity {
        let affinity = affinity::Affinity { family, map, count, seconds };
        rule(affinity.come_back(), "clients that were here before");
        rule(affinity.choose(), "clients that come first, or whose endpoint is gone");
    }
    let next = Reg(family.address_len() as u8 / 4);
    let mut exprs = pick(family, map, count, R0);
    exprs.push(Expr::Dnat { address: R0, port: next });
    rule(exprs, if balancer.affinity.is_some() { "no more clients can be remembered" } else { "" });
    ops
}

/// Loads one of `count` endpoints of the packet's destination from `map`.
fn pick(family: Family, map: Set, count: u32, to: Reg) -> Vec<Expr> {
    let (mut exprs, next) = front(family, map, R0);
    exprs.push(Expr::Random { modulus: count.max(1), to: next });
    exprs.push(Expr::Lookup { set: map, key: R0, to: Into::Register(to) });
    exprs
}

/// The packet's destination as the keys of an endpoint map begin with it, and the register after it.
fn front(family: Family, map: Set, Reg(at): Reg) -> (Vec<Expr>, Reg) {
    let mut exprs = Vec::new();
    let mut next = at;
    if matches!(map, Set::ServiceEndpoints | Set::LocalEndpoints) {
        exprs.push(destination(family, Reg(at)));
        next += family.address_len() as u8 / 4;
    }
    exprs.push(Expr::Transport { to: Reg(next) });
    exprs.push(destination_port(Reg(next + 1)));
    (exprs, Reg(next + 2))
}

/// `ip daddr . meta l4proto . th dport vmap @set`
fn service_verdict(family: Family, set: Set) -> Vec<Expr> {
    let Reg(next) = Reg(family.address_len() as u8 / 4);
    vec![
        destination(family, R0),
        Expr::Transport { to: Reg(next) },
        destination_port(Reg(next + 1)),
        Expr::Lookup { set, key: R0, to: Into::Verdict },
    ]
}

/// `fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @set`
fn node_port_verdict(family: Family, set: Set) -> Vec<Expr> {
    let mut exprs =
        vec![Expr::DestinationType { to: R0 }, compare(R0, Comparison::Equal, Value::EMPTY.native(TYPE_LOCAL), 4)];
    match family {
        Family::Ip => {
            exprs.push(Expr::Payload { header: Header::Network, offset: 16, len: 1, to: R0 });
            exprs.push(compare(R0, Comparison::NotEqual, Value::EMPTY.field(&[127]), 1));
        }
        Family::Ip6 => {
            exprs.push(destination(family, R0));
            let loopback = Value::EMPTY.address(Ipv6Addr::LOCALHOST.into());
            exprs.push(compare(R0, Comparison::NotEqual, loopback, 16));
        }
    }
    exprs.extend(port_verdict(set));
    exprs
}

/// `meta l4proto . th dport vmap @set`
fn port_verdict(set: Set) -> Vec<Expr> {
    vec![Expr::Transport { to: R0 }, destination_port(Reg(1)), Expr::Lookup { set, key: R0, to: Into::Verdict }]
}

fn of_family(family: Family, subnets: &[IpNet]) -> impl Iterator<Item = &IpNet> {
    subnets.iter().filter(move |subnet| Family::of(&subnet.addr()) == family)
}

/// The address that `load` puts into the first register is in `subnet`, or with `NotEqual` is not.
fn within(load: Expr, op: Comparison, subnet: &IpNet) -> Vec<Expr> {
    let zero = match subnet {
        IpNet::V4(_) => Value::EMPTY.field(&[0; 4]),
        IpNet::V6(_) => Value::EMPTY.field(&[0; 16]),
    };
    vec![
        load,
        Expr::Bitwise { register: R0, mask: Value::EMPTY.address(subnet.netmask()), xor: zero },
        compare(R0, op, Value::EMPTY.address(subnet.network()), Family::of(&subnet.network()).address_len()),
    ]
}

/// `meta mark set (meta mark & mask) ^ xor`
fn mark(mask: u32, xor: u32) -> Vec<Expr> {
    vec![
        Expr::Mark { to: R0 },
        Expr::Bitwise { register: R0, mask: Value::EMPTY.native(mask), xor: Value::EMPTY.native(xor) },
        Expr::SetMark { from: R0 },
    ]
}

fn has_bit(key: ConntrackKey, bit: u32) -> Vec<Expr> {
    vec![
        Expr::Conntrack { key, to: R0 },
        Expr::Bitwise { register: R0, mask: Value::EMPTY.native(bit), xor: Value::EMPTY.native(0) },
        compare(R0, Comparison::NotEqual, Value::EMPTY.native(0), 4),
    ]
}

/// Compares the first `len` bytes.
fn compare(register: Reg, op: Comparison, with: Value, len: u32) -> Expr {
    Expr::Compare { register, op, with, len }
}

fn jump(chain: Chain) -> Vec<Expr> {
    vec![Expr::Verdict(Verdict::Jump(chain))]
}
