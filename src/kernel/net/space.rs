//! A network namespace with an rtnetlink socket in it: orders are carried out there, and what is there is read back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::libc;

use super::error::{Cause, NetError};
use super::orders::{Orders, link_header};
use crate::desired::{Mac, Route};
use crate::kernel::netlink::{ACK, Batch, Family, Netlink, NetlinkError, attr};

const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;

#[derive(Debug)]
pub struct Space {
    /// As in `Netns`; empty for the machine's own namespace.
    pub name: String,
    fd: OwnedFd,
    netlink: Mutex<Netlink>,
    /// The next interface number to give away.
    next: AtomicU32,
}

/// A link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub number: u32,
    pub name: String,
    pub kind: String,
    pub up: bool,
    pub mac: Option<Mac>,
    pub altnames: BTreeSet<String>,
    pub master: Option<u32>,
    /// The number of a veth's other end, in the namespace that this one knows by `peer_netns`, or in the same one.
    pub peer: Option<u32>,
    pub peer_netns: Option<u32>,
}

impl Space {
    /// Wraps a namespace that nobody else numbers links in, whose last link so far is `last`.
    pub fn new(name: &str, fd: OwnedFd, netlink: Netlink, last: u32) -> Self {
        Space { name: name.to_string(), fd, netlink: Mutex::new(netlink), next: AtomicU32::new(last + 1) }
    }

    /// Opens a socket in a namespace that may have links already.
    pub fn enter(name: &str, fd: OwnedFd) -> Result<Self, NetError> {
        let entering = |cause: NetlinkError| NetError::new(format!("enter network namespace {name}"), cause);
        let netlink = Netlink::open_in(fd.as_fd(), Family::Route).map_err(entering)?;
        let space = Space::new(name, fd, netlink, 0);
        let last = space.links()?.into_iter().map(|link| link.number).max().unwrap_or(0);
        space.next.store(last + 1, Ordering::Relaxed);
        Ok(space)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn is_machine(&self) -> bool {
        self.name.is_empty()
    }

    pub fn next_number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The kernel has given out this number itself.
    pub fn not_before(&self, number: u32) {
        self.next.fetch_max(number + 1, Ordering::Relaxed);
    }

    /// For messages: `link eth0 in network namespace lab.w1-k8s`.
    pub fn describe(&self, link: &str) -> String {
        match self.name.as_str() {
            "" => format!("link {link} in this machine's own network namespace"),
            name => format!("link {link} in network namespace {name}"),
        }
    }

    fn netlink(&self) -> MutexGuard<'_, Netlink> {
        // A socket has no state that a panic could leave half changed: answers are matched by sequence number.
        self.netlink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out the orders, which are about `link`; the first refusal is the error.
    pub fn run(&self, mut orders: Orders, link: &str) -> Result<(), NetError> {
        if orders.batch.is_empty() {
            return Ok(());
        }
        let refusals = self.netlink().run(&mut orders.batch);
        let refusals = refusals.map_err(|cause| NetError::new(format!("set up {}", self.describe(link)), cause))?;
        match refusals.into_iter().next() {
            None => Ok(()),
            Some(refusal) => Err(NetError::refused(orders.step(refusal.index), &self.describe(link), refusal)),
        }
    }

    pub fn link(&self, name: &str) -> Result<Option<Link>, NetError> {
        let mut found = None;
        let mut batch = Batch::new();
        batch.message(libc::RTM_GETLINK, ACK, |out| {
            link_header(out, 0, 0, 0);
            attr::string(out, libc::IFLA_IFNAME, name);
        });
        let asked = self.netlink().run_with(&mut batch, |_, kind, body| {
            if kind == libc::RTM_NEWLINK {
                found = Link::parse(body);
            }
        });
        let refusals = asked.map_err(|cause| NetError::new(format!("look up {}", self.describe(name)), cause))?;
        match refusals.into_iter().next() {
            None => Ok(found),
            Some(refusal) if refusal.errno == Errno::ENODEV => Ok(None),
            Some(refusal) => Err(NetError::new(format!("look up {}", self.describe(name)), Cause::Refused(refusal))),
        }
    }

    pub fn links(&self) -> Result<Vec<Link>, NetError> {
        self.dump("links", libc::RTM_GETLINK, |out| link_header(out, 0, 0, 0), Link::parse)
    }

    /// The addresses of a link.
    pub fn addresses(&self, number: u32) -> Result<BTreeSet<IpNet>, NetError> {
        let found = self.all_addresses(number)?.into_iter();
        Ok(found.filter(|found| found.link == number).map(|found| found.net).collect())
    }

    /// Every address of the namespace, or of one link if `number` is not 0.
    pub fn all_addresses(&self, number: u32) -> Result<Vec<FoundAddress>, NetError> {
        let header = |out: &mut Vec<u8>| {
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&number.to_ne_bytes());
        };
        let entry = |body: &[u8]| {
            let (&[_, prefix, _, _], rest) = body.split_first_chunk()?;
            let (link, rest) = attr::u32_ne(rest)?;
            let address = attr::find(rest, libc::IFA_LOCAL).or_else(|| attr::find(rest, libc::IFA_ADDRESS))?;
            let net = IpNet::new(ip(address)?, prefix).ok()?;
            Some(FoundAddress { link, net })
        };
        self.dump("addresses", libc::RTM_GETADDR, header, entry)
    }

    /// The unicast routes of the main table by the link that they go out of; without those that the kernel added for
    /// an address.
    pub fn routes(&self) -> Result<BTreeMap<u32, BTreeSet<Route>>, NetError> {
        let mut routes: BTreeMap<u32, BTreeSet<Route>> = BTreeMap::new();
        for found in self.all_routes()? {
            if found.protocol != libc::RTPROT_KERNEL {
                routes.entry(found.link).or_default().insert(found.route);
            }
        }
        Ok(routes)
    }

    /// The unicast routes of the main table.
    pub fn all_routes(&self) -> Result<Vec<FoundRoute>, NetError> {
        let entry = |body: &[u8]| {
            let (&[family, prefix, _, _, table, protocol, _, kind, _, _, _, _], rest) = body.split_first_chunk()?;
            if table != libc::RT_TABLE_MAIN || kind != libc::RTN_UNICAST {
                return None;
            }
            let any = if i32::from(family) == libc::AF_INET6 { IpAddr::from([0; 16]) } else { IpAddr::from([0; 4]) };
            let to = attr::find(rest, libc::RTA_DST).map_or(Some(any), ip)?;
            let (link, _) = attr::u32_ne(attr::find(rest, libc::RTA_OIF)?)?;
            let via = attr::find(rest, libc::RTA_GATEWAY).and_then(ip);
            let source = attr::find(rest, libc::RTA_PREFSRC).and_then(ip);
            let route = Route { to: IpNet::new(to, prefix).ok()?, via, source };
            Some(FoundRoute { link, protocol, route })
        };
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let header = |out: &mut Vec<u8>| {
                out.push(family as u8);
                out.extend_from_slice(&[0; 11]);
            };
            found.extend(self.dump("routes", libc::RTM_GETROUTE, header, entry)?);
        }
        Ok(found)
    }

    /// The number by which this namespace knows another, if it has one for it.
    pub fn number_of(&self, other: BorrowedFd) -> Result<Option<u32>, NetError> {
        let mut found = None;
        let mut batch = Batch::new();
        batch.message(libc::RTM_GETNSID, ACK, |out| {
            out.extend_from_slice(&[0; 4]);
            attr::bytes(out, NETNSA_FD, &other.as_raw_fd().to_ne_bytes());
        });
        let asked = self.netlink().run_with(&mut batch, |_, _, body| {
            let number = body.get(4..).and_then(|rest| attr::find(rest, NETNSA_NSID)).and_then(attr::u32_ne);
            found = number.map(|(number, _)| number);
        });
        let failed = |cause: Cause| NetError::new("number a network namespace", cause);
        match asked.map_err(|cause| failed(cause.into()))?.into_iter().next() {
            Some(refusal) => Err(failed(Cause::Refused(refusal))),
            // The kernel says -1 for none.
            None => Ok(found.filter(|&number| number != u32::MAX)),
        }
    }

    /// Gives another namespace a number here, by which its death can be seen without keeping it alive.
    pub fn give_number(&self, other: BorrowedFd, number: u32) -> Result<(), NetError> {
        let mut batch = Batch::new();
        batch.message(libc::RTM_NEWNSID, ACK, |out| {
            out.extend_from_slice(&[0; 4]);
            attr::bytes(out, NETNSA_NSID, &number.to_ne_bytes());
            attr::bytes(out, NETNSA_FD, &other.as_raw_fd().to_ne_bytes());
        });
        let failed = |cause: Cause| NetError::new("number a network namespace", cause);
        match self.netlink().run(&mut batch).map_err(|cause| failed(cause.into()))?.into_iter().next() {
            Some(refusal) => Err(failed(Cause::Refused(refusal))),
            None => Ok(()),
        }
    }

    /// The numbers of the namespaces that this one knows and that are alive.
    pub fn numbers(&self) -> Result<BTreeSet<u32>, NetError> {
        let entry = |body: &[u8]| Some(attr::u32_ne(attr::find(body.get(4..)?, NETNSA_NSID)?)?.0);
        Ok(self
            .dump("namespaces", libc::RTM_GETNSID, |out| out.extend_from_slice(&[0; 4]), entry)?
            .into_iter()
            .collect())
    }

    /// Asks again while the kernel's table changes under the listing.
    fn dump<T>(
        &self,
        what: &str,
        kind: u16,
        header: impl Fn(&mut Vec<u8>),
        entry: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetError> {
        let failed = |cause: Cause| {
            let place = if self.is_machine() { "this machine's own network namespace" } else { &self.name };
            NetError::new(format!("list the {what} of {place}"), cause)
        };
        loop {
            let mut found = Vec::new();
            match self.netlink().dump(kind, &header, |_, body| found.extend(entry(body))) {
                Err(NetlinkError::Interrupted) => continue,
                Err(cause) => return Err(failed(cause.into())),
                Ok(Some(refusal)) => return Err(failed(Cause::Refused(refusal))),
                Ok(None) => return Ok(found),
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAddress {
    /// The number of the link that has it.
    pub link: u32,
    pub net: IpNet,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRoute {
    /// The number of the link that it goes out of.
    pub link: u32,
    pub protocol: u8,
    pub route: Route,
}

impl Link {
    fn parse(body: &[u8]) -> Option<Self> {
        let (_, rest) = body.split_at_checked(4)?;
        let (number, rest) = attr::u32_ne(rest)?;
        let (flags, rest) = attr::u32_ne(rest)?;
        let (_, rest) = attr::u32_ne(rest)?;
        let number_in = |kind| attr::find(rest, kind).and_then(attr::u32_ne).map(|(value, _)| value);
        let info = attr::find(rest, libc::IFLA_LINKINFO).unwrap_or_default();
        let names = attr::find(rest, libc::IFLA_PROP_LIST).unwrap_or_default();
        let altnames = attr::each(names).filter(|(kind, _)| *kind == libc::IFLA_ALT_IFNAME);
        Some(Link {
            number,
            name: attr::find(rest, libc::IFLA_IFNAME).map(attr::text)?,
            kind: attr::find(info, libc::IFLA_INFO_KIND).map(attr::text).unwrap_or_default(),
            up: flags & libc::IFF_UP as u32 != 0,
            mac: attr::find(rest, libc::IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()).map(Mac),
            altnames: altnames.map(|(_, name)| attr::text(name)).collect(),
            master: number_in(libc::IFLA_MASTER),
            peer: number_in(libc::IFLA_LINK),
            peer_netns: number_in(libc::IFLA_LINK_NETNSID),
        })
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
