//! What the kernel is asked for, as rtnetlink messages, each with the words for it should the kernel refuse.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::IpNet;
use nix::libc;

use crate::desired::{Bridge, Mac, Route, Veth};
use crate::kernel::netlink::{ACK, Batch, attr};

const RTM_NEWLINKPROP: u16 = 108;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const REPLACE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;

/// One message, in words that follow "cannot".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Create,
    Delete,
    NoLinkLocal,
    Port,
    Up,
    Altname,
    Address(IpNet),
    Route(IpNet),
    Number,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Create => f.write_str("create"),
            Step::Delete => f.write_str("delete"),
            Step::NoLinkLocal => f.write_str("switch off the link-local address of"),
            Step::Port => f.write_str("plug into its bridge"),
            Step::Up => f.write_str("bring up"),
            Step::Altname => f.write_str("give its alternative name to"),
            Step::Address(net) => write!(f, "add the address {net} to"),
            Step::Route(net) => write!(f, "add the route to {net} through"),
            Step::Number => f.write_str("number"),
        }
    }
}

/// A batch of messages about one link.
#[derive(Debug, Default)]
pub struct Orders {
    pub batch: Batch,
    steps: Vec<Step>,
}

impl Orders {
    pub fn new() -> Self {
        Orders::default()
    }

    pub fn step(&self, index: usize) -> Step {
        self.steps.get(index).copied().unwrap_or(Step::Create)
    }

    fn add(&mut self, step: Step, kind: u16, flags: u16, body: impl FnOnce(&mut Vec<u8>)) {
        self.steps.push(step);
        self.batch.message(kind, flags | ACK, body);
    }

    /// Both ends of a cable at once, down and without addresses: the outer one in the socket's namespace, the inner
    /// one where it belongs at once, since moving it later costs 17 ms of RCU grace periods. The kernel takes numbers
    /// (ifindex) for both ends or for none.
    pub fn veth(&mut self, veth: &Veth, inner_netns: BorrowedFd, numbers: Option<Numbers>) {
        self.add(Step::Create, libc::RTM_NEWLINK, CREATE, |out| {
            link_header(out, numbers.map_or(0, |n| n.outer), 0, 0);
            link_basics(out, &veth.outer.name, veth.outer.mac);
            attr::nest(out, libc::IFLA_LINKINFO, |out| {
                attr::string(out, libc::IFLA_INFO_KIND, "veth");
                attr::nest(out, libc::IFLA_INFO_DATA, |out| {
                    attr::nest(out, VETH_INFO_PEER, |out| {
                        link_header(out, numbers.map_or(0, |n| n.inner), 0, 0);
                        link_basics(out, &veth.inner.name, veth.inner.mac);
                        attr::bytes(out, libc::IFLA_NET_NS_FD, &inner_netns.as_raw_fd().to_ne_bytes());
                    });
                });
            });
        });
    }

    /// A switch: no spanning tree (31 s until the first frame passes), no multicast snooping (its queries are noise).
    pub fn bridge(&mut self, name: &str, bridge: &Bridge, number: u32) {
        self.add(Step::Create, libc::RTM_NEWLINK, CREATE, |out| {
            link_header(out, number, 0, 0);
            attr::string(out, libc::IFLA_IFNAME, name);
            attr::bytes(out, libc::IFLA_ADDRESS, &bridge.mac.0);
            attr::nest(out, libc::IFLA_LINKINFO, |out| {
                attr::string(out, libc::IFLA_INFO_KIND, "bridge");
                attr::nest(out, libc::IFLA_INFO_DATA, |out| {
                    attr::bytes(out, IFLA_BR_STP_STATE, &0u32.to_ne_bytes());
                    attr::bytes(out, IFLA_BR_FORWARD_DELAY, &0u32.to_ne_bytes());
                    attr::bytes(out, IFLA_BR_MCAST_SNOOPING, &[0]);
                });
            });
        });
    }

    /// Its end of a cable goes too, whatever namespace that is in.
    pub fn delete_link(&mut self, number: u32) {
        self.add(Step::Delete, libc::RTM_DELLINK, 0, |out| link_header(out, number, 0, 0));
    }

    /// No IPv6 link-local address of the kernel's own making, hence none of the duplicate address detection, multicast
    /// reports and router solicitations that it brings; an end that needs one has it among its addresses. To be asked
    /// for while the link is down; at its creation the kernel refuses it.
    pub fn no_link_local(&mut self, number: u32) {
        self.add(Step::NoLinkLocal, libc::RTM_SETLINK, 0, |out| {
            link_header(out, number, 0, 0);
            attr::nest(out, libc::IFLA_AF_SPEC, |out| {
                attr::nest(out, libc::AF_INET6 as u16, |out| {
                    attr::bytes(out, IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
                });
            });
        });
    }

    pub fn port(&mut self, number: u32, bridge: u32) {
        self.add(Step::Port, libc::RTM_SETLINK, 0, |out| {
            link_header(out, number, 0, 0);
            attr::bytes(out, libc::IFLA_MASTER, &bridge.to_ne_bytes());
        });
    }

    pub fn up(&mut self, number: u32) {
        let up = libc::IFF_UP as u32;
        self.add(Step::Up, libc::RTM_SETLINK, 0, |out| link_header(out, number, up, up));
    }

    pub fn altname(&mut self, number: u32, name: &str) {
        self.add(Step::Altname, RTM_NEWLINKPROP, CREATE, |out| {
            link_header(out, number, 0, 0);
            attr::nest(out, libc::IFLA_PROP_LIST, |out| attr::string(out, libc::IFLA_ALT_IFNAME, name));
        });
    }

    /// Usable at once: no duplicate address detection, which takes IPv6 a second.
    pub fn address(&mut self, number: u32, net: IpNet) {
        self.add(Step::Address(net), libc::RTM_NEWADDR, REPLACE, |out| {
            let flags = libc::IFA_F_NODAD as u8;
            out.extend_from_slice(&[family(net.addr()), net.prefix_len(), flags, libc::RT_SCOPE_UNIVERSE]);
            out.extend_from_slice(&number.to_ne_bytes());
            address(out, libc::IFA_LOCAL, net.addr());
            address(out, libc::IFA_ADDRESS, net.addr());
        });
    }

    /// `replace`: a route to the same place through another link gives way, such as the last one of a pod that is
    /// being taken down; the kernel does that when it gets to it.
    pub fn route(&mut self, number: u32, route: &Route, replace: bool) {
        let flags = if replace { REPLACE } else { CREATE };
        self.add(Step::Route(route.to), libc::RTM_NEWROUTE, flags, |out| {
            let on_link = route.via.is_none() && route.to.addr().is_ipv4();
            let scope = if on_link { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
            route_header(out, route.to, scope);
            if route.to.prefix_len() > 0 {
                address(out, libc::RTA_DST, route.to.network());
            }
            if let Some(via) = route.via {
                address(out, libc::RTA_GATEWAY, via);
            }
            if let Some(source) = route.source {
                address(out, libc::RTA_PREFSRC, source);
            }
            attr::bytes(out, libc::RTA_OIF, &number.to_ne_bytes());
        });
    }
}

/// The interface numbers of a cable's two ends, chosen by us so that no answer has to be awaited to learn them.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    pub outer: u32,
    pub inner: u32,
}

/// `struct ifinfomsg`.
pub fn link_header(out: &mut Vec<u8>, number: u32, flags: u32, change: u32) {
    out.extend_from_slice(&[0; 4]);
    for field in [number, flags, change] {
        out.extend_from_slice(&field.to_ne_bytes());
    }
}

/// What both ends of a cable have. A second queue would cost 50 us a cable and serve nobody.
fn link_basics(out: &mut Vec<u8>, name: &str, mac: Mac) {
    attr::string(out, libc::IFLA_IFNAME, name);
    attr::bytes(out, libc::IFLA_ADDRESS, &mac.0);
    attr::bytes(out, libc::IFLA_NUM_TX_QUEUES, &1u32.to_ne_bytes());
    attr::bytes(out, libc::IFLA_NUM_RX_QUEUES, &1u32.to_ne_bytes());
}

/// `struct rtmsg` of a unicast route of the main table.
pub fn route_header(out: &mut Vec<u8>, to: IpNet, scope: u8) {
    out.extend_from_slice(&[family(to.addr()), to.prefix_len(), 0, 0]);
    out.extend_from_slice(&[libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, scope, libc::RTN_UNICAST]);
    out.extend_from_slice(&[0; 4]);
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn address(out: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => attr::bytes(out, kind, &v4.octets()),
        IpAddr::V6(v6) => attr::bytes(out, kind, &v6.octets()),
    }
}
