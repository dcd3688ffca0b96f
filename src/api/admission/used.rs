//! The addresses and ports that Services have, and those that can be given.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;
use rand::{Rng, RngExt};
use serde_json::Value;

use crate::object::lab::{Lab, Subnets, nth};
use crate::object::{Object, Snapshot, kind};

/// The ports that NodePort Services may have.
pub const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;
/// Below this, ports are for those who ask for one: given at random only when the rest is taken.
const FIRST_RANDOM_PORT: u16 = 30086;

/// What is taken. Counted, so that two who were somehow given the same thing do not free each other's.
#[derive(Debug, Clone)]
pub struct Used {
    subnets: Subnets,
    dns: IpAddr,
    api: IpAddr,
    addresses: HashMap<IpAddr, usize>,
    ports: HashMap<u16, usize>,
}

/// Why an asked-for address cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("provided IP is already allocated")]
    Taken,
    #[error("the provided IP ({0}) is not in the valid range. The range of valid IPs is {1}")]
    OutOfRange(IpAddr, IpNet),
}

impl Used {
    pub fn of(snapshot: &Snapshot) -> Self {
        let lab = snapshot.list(&kind::LAB).next().and_then(|object| object.view::<Lab>().ok()).unwrap_or_default();
        let (api, dns) = lab.api_and_dns_cluster_ips();
        let subnets = lab.networking.service_subnet.clone();
        let mut used = Used { subnets, dns, api, addresses: HashMap::new(), ports: HashMap::new() };
        snapshot.list(&kind::SERVICE).for_each(|service| used.add(service));
        used
    }

    pub fn add(&mut self, service: &Object) {
        addresses(service).for_each(|address| *self.addresses.entry(address).or_default() += 1);
        ports(service).into_iter().for_each(|port| *self.ports.entry(port).or_default() += 1);
    }

    pub fn remove(&mut self, service: &Object) {
        addresses(service).for_each(|address| take_one(&mut self.addresses, address));
        ports(service).into_iter().for_each(|port| take_one(&mut self.ports, port));
    }

    pub fn check_address(&self, address: IpAddr, service: &Object) -> Result<(), Refused> {
        let subnet = self.subnets.like(address).unwrap_or(self.subnets.first);
        let is_broadcast = address.is_ipv4() && address == subnet.broadcast();
        if !subnet.contains(&address) || address == subnet.network() || is_broadcast {
            return Err(Refused::OutOfRange(address, subnet));
        }
        // The addresses that everything else relies on are for those that they are for.
        let own = match service.namespace() {
            "default" => service.name() == "kubernetes" || address != self.api,
            _ => address != self.api,
        };
        let own = own && (address != self.dns || service.namespace() == "kube-system");
        if own && !self.addresses.contains_key(&address) { Ok(()) } else { Err(Refused::Taken) }
    }

    /// A free address of one of the subnets, at random: of the upper part of it first, for the lower one is for those
    /// who ask.
    pub fn free_address(&self, subnet: IpNet, rng: &mut dyn Rng) -> Option<IpAddr> {
        let hosts = 1u64 << (subnet.max_prefix_len() - subnet.prefix_len()).min(32);
        let below = (hosts / 16).clamp(16, 256).min(hosts);
        let free = |host: u64| {
            let last = hosts.saturating_sub(1);
            let address = nth(subnet, u32::try_from(host).ok()?);
            let given = address == self.api || address == self.dns || self.addresses.contains_key(&address);
            (host > 0 && host < last && !given).then_some(address)
        };
        from_random_start(below..hosts, rng, free).or_else(|| from_random_start(0..below, rng, free))
    }

    pub fn is_port_free(&self, port: u16) -> bool {
        !self.ports.contains_key(&port)
    }

    /// A free port that `also_taken` does not hold.
    pub fn free_port(&self, also_taken: &[u16], rng: &mut dyn Rng) -> Option<u16> {
        let free = |port: u64| {
            let port = u16::try_from(port).ok()?;
            (self.is_port_free(port) && !also_taken.contains(&port)).then_some(port)
        };
        let (first, last) = (u64::from(*NODE_PORTS.start()), u64::from(*NODE_PORTS.end()) + 1);
        let split = u64::from(FIRST_RANDOM_PORT);
        from_random_start(split..last, rng, free).or_else(|| from_random_start(first..split, rng, free))
    }

    pub fn subnets(&self) -> &Subnets {
        &self.subnets
    }
}

/// The first that is free from a random place on, all the way round.
fn from_random_start<T>(range: std::ops::Range<u64>, rng: &mut dyn Rng, free: impl Fn(u64) -> Option<T>) -> Option<T> {
    if range.is_empty() {
        return None;
    }
    let start = rng.random_range(range.clone());
    (start..range.end).chain(range.start..start).find_map(free)
}

fn take_one<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// A Service's ClusterIPs.
pub fn addresses(service: &Object) -> impl Iterator<Item = IpAddr> {
    let list = service.at(&["spec", "clusterIPs"]).and_then(Value::as_array);
    let list = list.filter(|l| !l.is_empty()).map_or(&[][..], Vec::as_slice);
    let single = service.str_at(&["spec", "clusterIP"]).filter(|_| list.is_empty());
    list.iter().filter_map(Value::as_str).chain(single).filter_map(|text| text.parse().ok())
}

/// A Service's node ports, the one for health checks too; each once.
pub fn ports(service: &Object) -> Vec<u16> {
    let list = service.at(&["spec", "ports"]).and_then(Value::as_array);
    let node_ports = list.into_iter().flatten().filter_map(|port| port.get("nodePort")?.as_u64());
    let health = service.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_u64);
    let mut ports: Vec<u16> =
        node_ports.chain(health).filter_map(|port| u16::try_from(port).ok()).filter(|port| *port != 0).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
