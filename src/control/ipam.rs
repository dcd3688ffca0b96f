//! Pod addresses: each bound pod gets the next free address of its node's part of the pod subnet.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::Value;

use super::{Context, pods};
use crate::object::write::Part;
use crate::object::{Object, Snapshot, Write, kind};

/// A pod's annotation: its addresses, one of each of the node's subnets, joined by commas.
pub const POD_IPS: &str = "nslab.dev/pod-ips";
/// A node's annotation: the addresses given last, in the order of its subnets, joined by commas. The next ones come
/// after them, so that a pod that is made again does not have the address of the one before.
pub const LAST_POD_IP: &str = "nslab.dev/last-pod-ip";

/// A pod without an address: one that the store has, or one that is being bound to its node.
enum Waiting<'a> {
    Stored(&'a Object),
    Bound(&'a mut Object),
}

impl Waiting<'_> {
    fn pod(&self) -> &Object {
        match self {
            Waiting::Stored(pod) => pod,
            Waiting::Bound(pod) => pod,
        }
    }
}

/// Pods that the `bindings` give a node get their address in the same write.
pub fn ipam(snapshot: &Snapshot, bindings: &mut [Write], ctx: &mut Context) -> Vec<Write> {
    let stored = snapshot.list(&kind::POD).map(|pod| Waiting::Stored(pod));
    let bound = bindings.iter_mut().filter_map(|write| match write {
        Write::Update(pod, Part::All) => Some(Waiting::Bound(pod)),
        _ => None,
    });
    let mut waiting: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
    for one in stored.chain(bound).filter(|one| needs_address(one.pod())) {
        if let Some(node) = pods::node(one.pod()).map(str::to_string) {
            waiting.entry(node).or_default().push(one);
        }
    }
    if waiting.is_empty() {
        return Vec::new();
    }
    let mut taken: HashSet<IpAddr> = HashSet::new();
    for pod in snapshot.list(&kind::POD) {
        taken.extend(listed(pod, POD_IPS));
        taken.extend(pods::addresses(pod));
    }
    let mut writes = Vec::new();
    for (node, pods) in waiting {
        let Some(node) = snapshot.find(&kind::NODE, "", &node) else { continue };
        give(node, pods, &mut taken, ctx, &mut writes);
    }
    writes
}

fn needs_address(pod: &Object) -> bool {
    pods::node(pod).is_some()
        && pods::is_active(pod)
        && pod.annotation(POD_IPS).is_none()
        && pod.at(&["spec", "hostNetwork"]) != Some(&Value::Bool(true))
}

/// The addresses in an annotation.
fn listed<'a>(object: &'a Object, annotation: &str) -> impl Iterator<Item = IpAddr> + use<'a> {
    object.annotation(annotation).unwrap_or_default().split(',').filter_map(|text| text.trim().parse().ok())
}

fn give(node: &Object, pods: Vec<Waiting>, taken: &mut HashSet<IpAddr>, ctx: &mut Context, writes: &mut Vec<Write>) {
    let last: Vec<IpAddr> = listed(node, LAST_POD_IP).collect();
    let mut ranges: Vec<Range> = subnets(node).into_iter().map(|subnet| Range::new(subnet, &last)).collect();
    if ranges.is_empty() {
        return;
    }
    let before = join(ranges.iter().filter_map(|range| range.last));
    for pod in pods {
        let next: Vec<Option<IpAddr>> = ranges.iter_mut().map(|range| range.next(taken)).collect();
        if let Some(full) = ranges.iter().zip(&next).find_map(|(range, next)| next.is_none().then_some(range)) {
            let message = format!(
                "Failed to create pod sandbox: no IP addresses available in range set: {}-{}",
                full.address(full.first),
                full.address(full.end)
            );
            ctx.standing_warning("kubelet", pod.pod(), "FailedCreatePodSandBox", message);
            continue;
        }
        taken.extend(next.iter().flatten());
        let addresses = join(next.into_iter().flatten());
        match pod {
            Waiting::Bound(pod) => pod.set_annotation(POD_IPS, &addresses),
            Waiting::Stored(pod) => {
                let mut addressed = pod.clone();
                addressed.set_annotation(POD_IPS, &addresses);
                writes.push(Write::Update(addressed, Part::Spec));
            }
        }
    }
    let after = join(ranges.iter().filter_map(|range| range.last));
    if after != before {
        let mut node = node.clone();
        node.set_annotation(LAST_POD_IP, &after);
        writes.push(Write::Update(node, Part::Spec));
    }
}

fn join(addresses: impl Iterator<Item = IpAddr>) -> String {
    addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(",")
}

/// `spec.podCIDRs`, or `spec.podCIDR` alone.
fn subnets(node: &Object) -> Vec<IpNet> {
    let list = node.at(&["spec", "podCIDRs"]).and_then(Value::as_array);
    let subnets: Vec<IpNet> = list.into_iter().flatten().filter_map(|cidr| cidr.as_str()?.parse().ok()).collect();
    if !subnets.is_empty() {
        return subnets;
    }
    node.str_at(&["spec", "podCIDR"]).and_then(|cidr| cidr.parse().ok()).into_iter().collect()
}

/// The addresses of a subnet that pods may have, as numbers: not the subnet's own, not the gateway (the first after
/// it), not the broadcast address.
struct Range {
    is_v4: bool,
    first: u128,
    end: u128,
    last: Option<IpAddr>,
}

impl Range {
    fn new(subnet: IpNet, last: &[IpAddr]) -> Self {
        let first = number(subnet.network()).saturating_add(2);
        let end = match subnet {
            IpNet::V4(v4) => number(IpAddr::V4(v4.broadcast())).saturating_sub(1),
            IpNet::V6(v6) => number(IpAddr::V6(v6.broadcast())),
        };
        let last = last.iter().copied().find(|address| subnet.contains(address));
        Range { is_v4: matches!(subnet, IpNet::V4(_)), first, end, last }
    }

    fn address(&self, number: u128) -> IpAddr {
        match u32::try_from(number) {
            Ok(number) if self.is_v4 => IpAddr::V4(Ipv4Addr::from(number)),
            _ => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }

    /// The first free address after the last one, round and round; `None` when all are taken.
    fn next(&mut self, taken: &HashSet<IpAddr>) -> Option<IpAddr> {
        let size = (self.end + 1).checked_sub(self.first).filter(|size| *size > 0)?;
        let offset = self.last.map_or(0, |last| number(last).saturating_add(1).saturating_sub(self.first));
        // More than all taken ones need not be tried.
        let tries = size.min(taken.len() as u128 + 1);
        let free = (0..tries).map(|n| self.address(self.first + (offset + n) % size)).find(|a| !taken.contains(a))?;
        self.last = Some(free);
        Some(free)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Cluster, object};
    use crate::object::write::Propagation;
    use serde_json::json;

    fn node(subnets: Value) -> Object {
        object(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"podCIDRs": subnets}}))
    }

    fn pod(name: &str) -> Object {
        object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "n"}}))
    }

    fn addresses(cluster: &Cluster) -> Vec<String> {
        cluster.list(&kind::POD).iter().filter_map(|pod| pod.annotation(POD_IPS).map(str::to_string)).collect()
    }

    #[test]
    fn addresses_go_round_and_skip_those_that_are_taken() {
        let mut cluster = Cluster::with([node(json!(["10.0.0.0/29"])), pod("a"), pod("b")]);
        cluster.settle();
        assert_eq!(addresses(&cluster), ["10.0.0.2", "10.0.0.3"]);
        let gone = |cluster: &mut Cluster, name: &str| {
            cluster.delete(&kind::POD, "default", name, Propagation::Background);
            cluster.kubelet(usize::MAX);
        };
        gone(&mut cluster, "a");
        for name in ["c", "d"] {
            cluster.commit(vec![Write::Create(pod(name))]);
        }
        cluster.settle();
        // Not .2 again, although it is free.
        assert_eq!(addresses(&cluster), ["10.0.0.3", "10.0.0.4", "10.0.0.5"]);
        cluster.commit(["e", "f", "g"].map(pod).map(Write::Create).into());
        cluster.settle();
        // Neither the broadcast address .7 nor the gateway .1: one pod has to wait.
        assert_eq!(addresses(&cluster), ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"]);
        let event = &cluster.list(&kind::EVENT)[0];
        assert_eq!(event.str_at(&["involvedObject", "name"]), Some("g"));
        assert_eq!(event.str_at(&["reason"]), Some("FailedCreatePodSandBox"));
        assert!(event.str_at(&["message"]).unwrap().ends_with("range set: 10.0.0.2-10.0.0.6"));
        gone(&mut cluster, "d");
        cluster.settle();
        assert_eq!(cluster.get(&kind::POD, "default", "g").annotation(POD_IPS), Some("10.0.0.5"));
        assert_eq!(cluster.get(&kind::NODE, "", "n").annotation(LAST_POD_IP), Some("10.0.0.5"));
    }

    #[test]
    fn one_address_of_each_subnet() {
        let mut cluster = Cluster::with([node(json!(["10.0.0.0/24", "fd00::/64"])), pod("a"), pod("b")]);
        cluster.settle();
        assert_eq!(addresses(&cluster), ["10.0.0.2,fd00::2", "10.0.0.3,fd00::3"]);
        assert_eq!(cluster.get(&kind::NODE, "", "n").annotation(LAST_POD_IP), Some("10.0.0.3,fd00::3"));
    }

    #[test]
    fn a_pod_gets_its_address_in_the_write_that_binds_it() {
        let mut unbound = pod("a");
        crate::object::map_at_mut(unbound.json_mut(), "spec").remove("nodeName");
        // Another is bound by its author: it must not get the same.
        let mut cluster = Cluster::with([node(json!(["10.0.0.0/24"])), unbound, pod("b")]);
        cluster.round();
        assert_eq!(cluster.get(&kind::POD, "default", "a").str_at(&["spec", "nodeName"]), Some("n"));
        assert_eq!(addresses(&cluster), ["10.0.0.3", "10.0.0.2"]);
        assert_eq!(cluster.get(&kind::NODE, "", "n").annotation(LAST_POD_IP), Some("10.0.0.3"));
    }

    #[test]
    fn pods_that_need_none_get_none() {
        let mut host = pod("host");
        crate::object::map_at_mut(host.json_mut(), "spec").insert("hostNetwork".into(), true.into());
        let mut unbound = pod("unbound");
        unbound.json_mut().insert("spec".into(), json!({"schedulerName": "none"}));
        let mut ended = pod("ended");
        ended.json_mut().insert("status".into(), json!({"phase": "Succeeded"}));
        let mut elsewhere = pod("elsewhere");
        elsewhere.json_mut().insert("spec".into(), json!({"nodeName": "gone"}));
        let mut cluster = Cluster::with([node(json!(["10.0.0.0/24"])), host, unbound, ended, elsewhere]);
        cluster.settle();
        assert!(addresses(&cluster).is_empty());
        // Too small a subnet holds nobody.
        let mut cluster = Cluster::with([node(json!(["10.0.0.0/31"])), pod("a")]);
        cluster.settle();
        assert!(addresses(&cluster).is_empty());
    }
}
