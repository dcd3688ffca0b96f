//! From a name and a type to records: Kubernetes' DNS-based service discovery, in the form that CoreDNS gives it. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use domain::base::iana::{Class, Rtype};
use domain::base::name::{NameBuilder, ToLabelIter};
use domain::base::{Name as AnyName, Record, Serial, Ttl};
use domain::rdata::{A, Aaaa, Cname, Ns, Ptr, Soa, Srv, Txt, ZoneRecordData};
use rand::seq::SliceRandom;

use super::cluster::{Cluster, Endpoint, Port, Service, What};

pub type Name = AnyName<Vec<u8>>;
pub type Data = ZoneRecordData<Vec<u8>, Name>;
pub type Entry = Record<Name, Data>;

/// As in kubeadm's configuration of CoreDNS.
const TTL: Ttl = Ttl::from_secs(30);
/// The version of the specification that the names follow.
const SCHEMA_VERSION: &[u8] = b"1.1.0";
/// Of aliases that point at each other, so many are followed.
const MOST_ALIASES: usize = 8;
/// The Service that this server stands behind.
const OWN_SERVICE: [&str; 2] = ["kube-dns", "kube-system"];
const ZONE: [&str; 2] = ["cluster", "local"];

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub answers: Vec<Entry>,
    /// Addresses of the names in `answers`.
    pub extra: Vec<Entry>,
    pub end: End,
}

/// What is known of the name that the question, or the last alias in `answers`, leads to.
#[derive(Debug, PartialEq)]
pub enum End {
    /// It has such records, and all of them are in the answer.
    Found,
    /// It exists, but has no record of the type. With the zone's SOA.
    NoData(Entry),
    /// It does not exist.
    NoName(Entry),
    /// Another server knows it.
    Elsewhere(Name),
}

/// The records of one name.
enum Found {
    Records { answers: Vec<Entry>, extra: Vec<Entry> },
    Alias(Name),
    NoData,
    NoName,
}

pub fn answer(cluster: &Cluster, question: &Name, qtype: Rtype) -> Answer {
    let mut answers = Vec::new();
    let mut name = question.clone();
    loop {
        let labels = labels(&name);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let Some((apex, found)) = look_up(cluster, &name, &labels, qtype) else {
            return Answer { answers, extra: Vec::new(), end: End::Elsewhere(name) };
        };
        match found {
            Found::Records { answers: found, extra } => {
                answers.extend(found);
                return Answer { answers, extra, end: End::Found };
            }
            Found::Alias(target) => {
                answers.push(entry(&name, ZoneRecordData::Cname(Cname::new(target.clone()))));
                if qtype == Rtype::CNAME || answers.len() >= MOST_ALIASES {
                    return Answer { answers, extra: Vec::new(), end: End::Found };
                }
                name = target;
            }
            Found::NoData => return Answer { answers, extra: Vec::new(), end: End::NoData(soa(cluster, apex)) },
            Found::NoName => return Answer { answers, extra: Vec::new(), end: End::NoName(soa(cluster, apex)) },
        }
    }
}

/// In lower case, the root left out. A label that is no text matches nothing here, whatever it is replaced by.
fn labels(name: &Name) -> Vec<String> {
    let labels = name.iter_labels().filter(|label| !label.is_root());
    labels.map(|label| String::from_utf8_lossy(label.as_slice()).to_ascii_lowercase()).collect()
}

/// With the labels of the zone that the name is in. `None`: no name of ours.
fn look_up<'a>(cluster: &Cluster, name: &Name, labels: &'a [&'a str], qtype: Rtype) -> Option<(&'a [&'a str], Found)> {
    if let Some(rest) = labels.strip_suffix(&ZONE) {
        let apex = labels.get(rest.len()..).unwrap_or_default();
        return Some((apex, in_cluster(cluster, name, rest, qtype)));
    }
    let (apex, address) = reverse(labels)?;
    let found = match address {
        Address::Of(address) => {
            let names = names_of(cluster, address);
            if names.is_empty() && !is_private(address) {
                return None;
            }
            pointers(name, names, qtype)
        }
        // Part of an address of which nothing outside can know.
        Address::Part => Found::NoData,
        Address::None => Found::NoName,
    };
    Some((apex, found))
}

fn in_cluster(cluster: &Cluster, name: &Name, rest: &[&str], qtype: Rtype) -> Found {
    match rest {
        [] => apex(cluster, name, qtype),
        ["dns-version"] => text(name, qtype, SCHEMA_VERSION),
        ["dns"] | ["svc"] | ["pod"] => Found::NoData,
        ["ns", "dns"] => addresses(name, qtype, own_addresses(cluster)),
        [namespace, "svc" | "pod"] => match cluster.has_namespace(namespace) {
            true => Found::NoData,
            false => Found::NoName,
        },
        [address, namespace, "pod"] => match pod_address(address) {
            Some(address) if cluster.has_namespace(namespace) => addresses(name, qtype, [address]),
            _ => Found::NoName,
        },
        [before @ .., service, namespace, "svc"] => match cluster.service(namespace, service) {
            Some(found) => Asked { cluster, name, namespace, service, found }.below(before, qtype),
            None => Found::NoName,
        },
        _ => Found::NoName,
    }
}

fn apex(cluster: &Cluster, name: &Name, qtype: Rtype) -> Found {
    match qtype {
        Rtype::SOA => Found::Records { answers: vec![soa(cluster, &ZONE)], extra: Vec::new() },
        Rtype::NS => {
            let Some(server) = full_name(&[OWN_SERVICE[0], OWN_SERVICE[1], "svc"], &ZONE) else {
                return Found::NoData;
            };
            let extra = own_addresses(cluster).map(|address| entry(&server, address_data(address))).collect();
            Found::Records { answers: vec![entry(name, ZoneRecordData::Ns(Ns::new(server)))], extra }
        }
        _ => Found::NoData,
    }
}

fn own_addresses(cluster: &Cluster) -> impl Iterator<Item = IpAddr> {
    let own = cluster.service(OWN_SERVICE[1], OWN_SERVICE[0]);
    let addresses = own.and_then(|service| match &service.what {
        What::ClusterIps(addresses) => Some(addresses),
        _ => None,
    });
    addresses.into_iter().flatten().copied()
}

fn text(name: &Name, qtype: Rtype, text: &[u8]) -> Found {
    match Txt::build_from_slice(text) {
        Ok(text) if qtype == Rtype::TXT => {
            Found::Records { answers: vec![entry(name, ZoneRecordData::Txt(text))], extra: Vec::new() }
        }
        _ => Found::NoData,
    }
}

/// `10-244-1-2` or, for IPv6, `fd00--12`. Any address will do; a pod with it need not exist.
fn pod_address(label: &str) -> Option<IpAddr> {
    let v4 = || label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    let v6 = || label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let is_written = label.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_written { v4().or_else(v6) } else { None }
}

/// A question about a Service that exists.
struct Asked<'a> {
    cluster: &'a Cluster,
    /// The whole name.
    name: &'a Name,
    namespace: &'a str,
    service: &'a str,
    found: &'a Service,
}

impl Asked<'_> {
    /// `before` are the labels before the Service's name.
    fn below(&self, before: &[&str], qtype: Rtype) -> Found {
        match (before, &self.found.what) {
            ([], What::External(target)) => match external(target) {
                Some(target) => Found::Alias(target),
                None => Found::NoName,
            },
            (_, What::External(_)) => Found::NoName,
            ([], What::ClusterIps(ips)) if qtype != Rtype::SRV => addresses(self.name, qtype, ips.iter().copied()),
            ([], What::ClusterIps(_)) => self.servers(qtype, |_| true),
            ([], What::Headless) => self.all_endpoints(qtype, |_| true),
            ([protocol], _) if protocol.starts_with('_') => {
                // No record has this name, but some have names below it.
                let protocol = protocol.trim_start_matches('_');
                let ports = self.found.ports.iter();
                match ports.into_iter().any(|port| port.protocol == protocol && !port.name.is_empty()) {
                    true => Found::NoData,
                    false => Found::NoName,
                }
            }
            ([label], _) => self.one_endpoint(label, qtype),
            ([port, protocol], what) => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                (Some(name), Some(protocol)) if !name.is_empty() => {
                    let wanted = |port: &Port| port.name == name && port.protocol == protocol;
                    match what {
                        What::Headless => self.all_endpoints(qtype, wanted),
                        _ => self.servers(qtype, wanted),
                    }
                }
                _ => Found::NoName,
            },
            _ => Found::NoName,
        }
    }

    fn full_name(&self, label: Option<&str>) -> Option<Name> {
        let labels: Vec<&str> = label.into_iter().chain([self.service, self.namespace, "svc"]).collect();
        full_name(&labels, &ZONE)
    }

    /// Of a Service with addresses of its own: its name is the one server on each port.
    fn servers(&self, qtype: Rtype, wanted: impl Fn(&Port) -> bool) -> Found {
        let What::ClusterIps(ips) = &self.found.what else { return Found::NoName };
        let ports: Vec<u16> = self.found.ports.iter().filter(|port| wanted(port)).map(|port| port.number).collect();
        let Some(target) = self.full_name(None).filter(|_| !ports.is_empty()) else { return Found::NoName };
        if qtype != Rtype::SRV {
            return addresses(self.name, qtype, ips.iter().copied());
        }
        let weight = weight(ports.len());
        let server = |port| entry(self.name, ZoneRecordData::Srv(Srv::new(0, weight, port, target.clone())));
        Found::Records {
            answers: ports.into_iter().map(server).collect(),
            extra: ips.iter().map(|ip| entry(&target, address_data(*ip))).collect(),
        }
    }

    /// Of a headless Service: its ready endpoints, each under a name of its own. None is NXDOMAIN, says the
    /// specification.
    fn all_endpoints(&self, qtype: Rtype, wanted: impl Fn(&Port) -> bool) -> Found {
        let mut ips = BTreeSet::new();
        let mut servers = BTreeSet::new();
        for slice in self.cluster.slices(self.namespace, self.service) {
            let ports: Vec<u16> = slice.ports.iter().filter(|port| wanted(port)).map(|port| port.number).collect();
            // A Service without ports has addresses all the same.
            if ports.is_empty() && !self.found.ports.is_empty() {
                continue;
            }
            for endpoint in &slice.endpoints {
                ips.insert(endpoint.address);
                servers.extend(ports.iter().map(|port| (endpoint.label(), *port, endpoint.address)));
            }
        }
        if ips.is_empty() {
            return Found::NoName;
        }
        match qtype {
            Rtype::SRV => self.endpoint_servers(servers),
            _ => addresses(self.name, qtype, ips),
        }
    }

    fn one_endpoint(&self, label: &str, qtype: Rtype) -> Found {
        let mut ips = BTreeSet::new();
        let mut servers = BTreeSet::new();
        for slice in self.cluster.slices(self.namespace, self.service) {
            for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.label() == label) {
                ips.insert(endpoint.address);
                servers.extend(slice.ports.iter().map(|port| (endpoint.label(), port.number, endpoint.address)));
            }
        }
        match qtype {
            _ if ips.is_empty() => Found::NoName,
            Rtype::SRV => self.endpoint_servers(servers),
            _ => addresses(self.name, qtype, ips),
        }
    }

    fn endpoint_servers(&self, servers: BTreeSet<(String, u16, IpAddr)>) -> Found {
        // One with an IPv4 and an IPv6 address is one server.
        let targets: BTreeSet<(&String, u16)> = servers.iter().map(|(label, port, _)| (label, *port)).collect();
        let weight = weight(targets.len());
        let server = |(label, port): (&String, u16)| {
            let target = self.full_name(Some(label))?;
            Some(entry(self.name, ZoneRecordData::Srv(Srv::new(0, weight, port, target))))
        };
        let answers: Vec<Entry> = targets.iter().copied().filter_map(server).collect();
        let ips: BTreeSet<(&String, IpAddr)> = servers.iter().map(|(label, _, address)| (label, *address)).collect();
        let address = |(label, ip): (&String, IpAddr)| Some(entry(&self.full_name(Some(label))?, address_data(ip)));
        let extra = ips.into_iter().filter_map(address).collect();
        if answers.is_empty() { Found::NoData } else { Found::Records { answers, extra } }
    }
}

/// Shared evenly, of a hundred.
fn weight(servers: usize) -> u16 {
    let weight = 100_usize.checked_div(servers).unwrap_or(100).max(1);
    u16::try_from(weight).unwrap_or(100)
}

/// What a Service of type ExternalName stands for. An address is no name, whatever it looks like.
fn external(target: &str) -> Option<Name> {
    if target.parse::<IpAddr>().is_ok() {
        return None;
    }
    Name::from_str(target).ok()
}

/// Those of the type's family, in another order each time.
fn addresses(name: &Name, qtype: Rtype, ips: impl IntoIterator<Item = IpAddr>) -> Found {
    let wanted = |ip: &IpAddr| matches!((qtype, ip), (Rtype::A, IpAddr::V4(_)) | (Rtype::AAAA, IpAddr::V6(_)));
    let mut ips: Vec<IpAddr> = ips.into_iter().filter(wanted).collect();
    ips.shuffle(&mut rand::rng());
    match ips.is_empty() {
        true => Found::NoData,
        false => Found::Records {
            answers: ips.into_iter().map(|ip| entry(name, address_data(ip))).collect(),
            extra: Vec::new(),
        },
    }
}

fn address_data(ip: IpAddr) -> Data {
    match ip {
        IpAddr::V4(ip) => ZoneRecordData::A(A::new(ip)),
        IpAddr::V6(ip) => ZoneRecordData::Aaaa(Aaaa::new(ip)),
    }
}

fn entry(owner: &Name, data: Data) -> Entry {
    Record::new(owner.clone(), Class::IN, TTL, data)
}

/// `None` when it would be too long.
fn full_name(labels: &[&str], zone: &[&str]) -> Option<Name> {
    let mut builder = NameBuilder::new_vec();
    for label in labels.iter().chain(zone) {
        builder.append_label(label.as_bytes()).ok()?;
    }
    builder.into_name().ok()
}

fn soa(cluster: &Cluster, apex: &[&str]) -> Entry {
    let name = |labels: &[&str]| full_name(labels, apex).unwrap_or_else(Name::root_vec);
    let times = [7200, 1800, 86400].map(Ttl::from_secs);
    let [refresh, retry, expire] = times;
    let serial = Serial(cluster.serial);
    let soa = Soa::new(name(&["ns", "dns"]), name(&["hostmaster"]), serial, refresh, retry, expire, TTL);
    entry(&name(&[]), ZoneRecordData::Soa(soa))
}

// ---- addresses to names --------------------------------------------------------------------------------------------

/// What a name below `in-addr.arpa` or `ip6.arpa` is.
#[derive(Debug, PartialEq)]
enum Address {
    Of(IpAddr),
    /// The beginning of a private one.
    Part,
    /// It cannot be.
    None,
}

/// The zone's labels, and the address that the others spell backwards. `None` for other zones, and for what may be part
/// of an address that is somebody else's.
fn reverse<'a>(labels: &'a [&'a str]) -> Option<(&'a [&'a str], Address)> {
    let (parts, radix, all) = match labels {
        [parts @ .., "in-addr", "arpa"] => (parts, 10, 4),
        [parts @ .., "ip6", "arpa"] => (parts, 16, 32),
        _ => return None,
    };
    let apex = labels.get(parts.len()..).unwrap_or_default();
    let number = |text: &&str| {
        let plain = text.len() == 1 || (radix == 10 && !text.starts_with('0'));
        let number = u8::from_str_radix(text, radix).ok()?;
        (plain && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(number)
    };
    let Some(mut bytes) = parts.iter().rev().map(number).collect::<Option<Vec<u8>>>() else {
        return Some((apex, Address::None));
    };
    let given = bytes.len();
    if given > all {
        return Some((apex, Address::None));
    }
    bytes.resize(all, 0);
    let address = if all == 4 {
        IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)
    } else {
        let mut whole = [0; 16];
        for (byte, halves) in whole.iter_mut().zip(bytes.chunks(2)) {
            *byte = halves.iter().fold(0, |sum, half| sum << 4 | half);
        }
        IpAddr::from(whole)
    };
    match given == all {
        true => Some((apex, Address::Of(address))),
        false => is_private(address).then_some((apex, Address::Part)),
    }
}

/// Of addresses like the lab's own no server outside knows anything (RFC 6303).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback(),
    }
}

/// The Service with this address; else the pod's names below headless Services.
fn names_of(cluster: &Cluster, address: IpAddr) -> Vec<Name> {
    if let Some((namespace, service)) = cluster.with_cluster_ip(address) {
        return full_name(&[service, namespace, "svc"], &ZONE).into_iter().collect();
    }
    let mut own = BTreeSet::new();
    let mut made = BTreeSet::new();
    for (namespace, service) in cluster.with_endpoint(address) {
        if cluster.service(namespace, service).is_none_or(|found| found.what != What::Headless) {
            continue;
        }
        let endpoints = cluster.slices(namespace, service).flat_map(|slice| &slice.endpoints);
        for endpoint in endpoints.filter(|endpoint: &&Endpoint| endpoint.address == address) {
            let names = if endpoint.hostname.is_some() { &mut own } else { &mut made };
            names.extend(full_name(&[&endpoint.label(), service, namespace, "svc"], &ZONE));
        }
    }
    // A name that the pod asked for is the better one.
    if own.is_empty() { made.into_iter().collect() } else { own.into_iter().collect() }
}

fn pointers(name: &Name, names: Vec<Name>, qtype: Rtype) -> Found {
    match qtype {
        _ if names.is_empty() => Found::NoName,
        Rtype::PTR => Found::Records {
            answers: names.into_iter().map(|target| entry(name, ZoneRecordData::Ptr(Ptr::new(target)))).collect(),
            extra: Vec::new(),
        },
        _ => Found::NoData,
    }
}

#[cfg(test)]
mod tests;
