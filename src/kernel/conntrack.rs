//! Connection tracking remembers, for each flow, which endpoint the first packet was sent to, and sends the rest there
//! without asking the rules again. A TCP client learns of a dead endpoint and connects anew; a UDP client that goes on
//! sending from one port keeps its entry alive for ever. So the entries that no longer agree with the rules are
//! deleted whenever the endpoints of a UDP or SCTP port change, as kube-proxy does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use nix::errno::Errno;
use nix::libc;

use crate::desired::{Backend, Nat, Protocol, ServiceAddress};
use crate::kernel::netlink::{ACK, Batch, Netlink, NetlinkError, Refusal, attr};
use crate::kernel::nft::value::{Family, protocol_number};

#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    #[error("cannot speak to connection tracking: {0}")]
    Netlink(#[from] NetlinkError),
    #[error("the kernel refused to list tracked {protocol:?} connections: {refusal}")]
    List { protocol: Protocol, refusal: Refusal },
    #[error("the kernel refused to forget a tracked {protocol:?} connection: {refusal}")]
    Delete { protocol: Protocol, refusal: Refusal },
}

/// Deletes the UDP and SCTP entries that agree with `before` and not with `after`, in the network namespace of
/// `socket`; returns how many. The rules must have been changed already, or new entries like the old ones appear.
///
/// `None` says that it is not known what came before, as after a crash: then all ports of `after` are looked at. With
/// a known `before`, nothing is listed unless a port lost an endpoint or a NodePort is new. That matters, because the
/// kernel takes milliseconds to go through its table, which all network namespaces share. A Service address that gets
/// its first endpoint needs no look: until then the rules stop what is sent to it, and what is stopped is not tracked.
pub fn reconcile(socket: &mut Netlink, before: Option<&Nat>, after: &Nat) -> Result<usize, ConntrackError> {
    let changes = Changes::between(before, after);
    let mut deleted = 0;
    for protocol in [Protocol::Udp, Protocol::Sctp] {
        for family in Family::ALL {
            if changes.concern(protocol, family) {
                deleted += forget(socket, protocol, family, &changes)?;
            }
        }
    }
    Ok(deleted)
}

type Endpoints = BTreeSet<(IpAddr, u16)>;

/// The UDP and SCTP ports that may have entries that must go.
#[derive(Debug, Default)]
struct Changes<'a> {
    services: BTreeMap<ServiceAddress, Change<'a>>,
    node_ports: BTreeMap<(Protocol, u16), Change<'a>>,
}

#[derive(Debug)]
struct Change<'a> {
    before: Before<'a>,
    /// `None`: there is no such port any more.
    after: Option<&'a Endpoints>,
}

#[derive(Debug, Clone, Copy)]
enum Before<'a> {
    Unknown,
    /// There was no such port, and what was sent to it was not stopped.
    Open,
    Endpoints(&'a Endpoints),
}

impl<'a> Changes<'a> {
    fn between(before: Option<&'a Nat>, after: &'a Nat) -> Self {
        let nothing = Nat::default();
        let old = before.unwrap_or(&nothing);
        let stopped = |address: IpAddr| old.service_subnets.iter().any(|subnet| subnet.contains(&address));
        let mut changes = Changes::default();
        for (service, old, new) in old.services.changes(&after.services) {
            let old = match (before, old) {
                (None, _) => Before::Unknown,
                (Some(_), None) if stopped(service.address) => continue,
                (Some(before), _) => Before::of(before.services.get(service)),
            };
            let change = Change { before: old, after: new.map(|new| &new.endpoints) };
            if service.protocol != Protocol::Tcp && change.may_refute() {
                changes.services.insert(*service, change);
            }
        }
        for (port, _, new) in old.node_ports.changes(&after.node_ports) {
            let old = before.map_or(Before::Unknown, |before| Before::of(before.node_ports.get(port)));
            let change = Change { before: old, after: new.map(|new| &new.endpoints) };
            if port.0 != Protocol::Tcp && change.may_refute() {
                changes.node_ports.insert(*port, change);
            }
        }
        changes
    }

    fn concern(&self, protocol: Protocol, family: Family) -> bool {
        let service = |service: &ServiceAddress| service.protocol == protocol && Family::of(&service.address) == family;
        let node_port = |((port, _), change): (&(Protocol, u16), &Change)| {
            *port == protocol && change.endpoints().any(|(address, _)| Family::of(address) == family)
        };
        self.services.keys().any(service) || self.node_ports.iter().any(node_port)
    }

    /// Whether an entry must go.
    fn refute(&self, entry: &Entry) -> bool {
        let ServiceAddress { address, protocol, port } = entry.to;
        if let Some(change) = self.services.get(&entry.to) {
            return !change.agrees_with(entry);
        }
        let Some(change) = self.node_ports.get(&(protocol, port)) else { return false };
        // Any address may have this port: only what we translated is ours, or what we would translate from now on.
        let translated = entry.answered_by != (address, port);
        let passing = !translated && entry.source_translated;
        let ours = match change.before {
            Before::Unknown => !passing,
            Before::Open => !translated && !passing,
            Before::Endpoints(endpoints) => endpoints.contains(&entry.answered_by),
        };
        ours && !change.agrees_with(entry)
    }
}

impl<'a> Before<'a> {
    fn of(backend: Option<&'a Backend>) -> Self {
        backend.map_or(Before::Open, |backend| Before::Endpoints(&backend.endpoints))
    }
}

impl Change<'_> {
    fn may_refute(&self) -> bool {
        match (self.before, self.after) {
            (Before::Endpoints(before), Some(after)) => !before.is_subset(after),
            (Before::Endpoints(before), None) => !before.is_empty(),
            (Before::Unknown | Before::Open, _) => true,
        }
    }

    fn agrees_with(&self, entry: &Entry) -> bool {
        self.after.is_some_and(|endpoints| endpoints.contains(&entry.answered_by))
    }

    fn endpoints(&self) -> impl Iterator<Item = &(IpAddr, u16)> {
        let before = match self.before {
            Before::Endpoints(endpoints) => Some(endpoints),
            Before::Unknown | Before::Open => None,
        };
        before.into_iter().chain(self.after).flatten()
    }
}

/// A tracked connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Where the client sends to.
    to: ServiceAddress,
    /// Where the answers really come from.
    answered_by: (IpAddr, u16),
    /// The client's address is translated too.
    source_translated: bool,
}

// Attribute numbers of <linux/netfilter/nfnetlink_conntrack.h>.
const CT_GET: u16 = 1;
const CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// In a filter: compare the protocol's number.
const FILTER_PROTOCOL: u32 = 1 << 3;
const STATUS_SOURCE_TRANSLATED: u32 = 1 << 4;

/// The family header that each message begins with.
const HEADER: usize = 4;

fn kind(message: u16) -> u16 {
    ((libc::NFNL_SUBSYS_CTNETLINK as u16) << 8) | message
}

fn header(out: &mut Vec<u8>, family: Family) {
    let family = match family {
        Family::Ip => libc::AF_INET,
        Family::Ip6 => libc::AF_INET6,
    };
    out.extend_from_slice(&[family as u8, 0, 0, 0]);
}

/// Lists one protocol's entries, with the kernel leaving out the others, and deletes those that must go.
fn forget(
    socket: &mut Netlink,
    protocol: Protocol,
    family: Family,
    changes: &Changes,
) -> Result<usize, ConntrackError> {
    let mut deletions = Batch::new();
    let request = |out: &mut Vec<u8>| {
        header(out, family);
        attr::nest(out, CTA_TUPLE_ORIG, |out| {
            attr::nest(out, CTA_TUPLE_PROTO, |out| attr::bytes(out, CTA_PROTO_NUM, &[protocol_number(protocol)]));
        });
        attr::nest(out, CTA_FILTER, |out| {
            attr::bytes(out, CTA_FILTER_ORIG_FLAGS, &FILTER_PROTOCOL.to_ne_bytes());
            attr::bytes(out, CTA_FILTER_REPLY_FLAGS, &0u32.to_ne_bytes());
        });
    };
    let refusal = socket.dump(kind(CT_GET), request, |_, body| {
        let attributes = body.get(HEADER..).unwrap_or_default();
        if entry(attributes, protocol).is_some_and(|entry| changes.refute(&entry)) {
            deletions.message(kind(CT_DELETE), ACK, |out| {
                header(out, family);
                // The same flow may be back under another id by then, and rightly so.
                for (kind, value) in attr::each(attributes) {
                    match kind {
                        CTA_TUPLE_ORIG => attr::nest(out, kind, |out| out.extend_from_slice(value)),
                        CTA_ID | CTA_ZONE => attr::bytes(out, kind, value),
                        _ => {}
                    }
                }
            });
        }
    })?;
    if let Some(refusal) = refusal {
        return Err(ConntrackError::List { protocol, refusal });
    }
    let refusals = socket.run(&mut deletions)?;
    let gone = refusals.iter().filter(|refusal| refusal.errno == Errno::ENOENT).count();
    match refusals.into_iter().find(|refusal| refusal.errno != Errno::ENOENT) {
        Some(refusal) => Err(ConntrackError::Delete { protocol, refusal }),
        None => Ok(deletions.len() - gone),
    }
}

/// Reads what a listing has for one connection; `None` when it is not understood.
fn entry(attributes: &[u8], protocol: Protocol) -> Option<Entry> {
    let original = attr::find(attributes, CTA_TUPLE_ORIG)?;
    let reply = attr::find(attributes, CTA_TUPLE_REPLY)?;
    let status = attr::find(attributes, CTA_STATUS).and_then(|status| status.try_into().ok()).map(u32::from_be_bytes);
    Some(Entry {
        to: ServiceAddress {
            address: address(original, Side::Destination)?,
            protocol,
            port: port(original, CTA_PROTO_DST_PORT)?,
        },
        answered_by: (address(reply, Side::Source)?, port(reply, CTA_PROTO_SRC_PORT)?),
        source_translated: status? & STATUS_SOURCE_TRANSLATED != 0,
    })
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

fn address(tuple: &[u8], side: Side) -> Option<IpAddr> {
    let addresses = attr::find(tuple, CTA_TUPLE_IP)?;
    // CTA_IP_V4_SRC, _V4_DST, _V6_SRC, _V6_DST
    let (four, six) = match side {
        Side::Source => (1, 3),
        Side::Destination => (2, 4),
    };
    if let Some(address) = attr::find(addresses, four) {
        return <[u8; 4]>::try_from(address).ok().map(IpAddr::from);
    }
    <[u8; 16]>::try_from(attr::find(addresses, six)?).ok().map(IpAddr::from)
}

fn port(tuple: &[u8], kind: u16) -> Option<u16> {
    let port = attr::find(attr::find(tuple, CTA_TUPLE_PROTO)?, kind)?;
    port.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests;
