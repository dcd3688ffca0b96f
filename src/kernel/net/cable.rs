//! Cables: the two ends of a veth, each in its namespace, from creation to routes; and whether one is there already.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::error::NetError;
use super::orders::{Numbers, Orders};
use super::space::{Link, Space};
use crate::desired::{Bridge, End, Veth};

/// What the machine's kernel can do, and what is asked of every link for it.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// IPv6 is there (it can be switched off at boot).
    pub ipv6: bool,
}

impl Kernel {
    /// Lays a cable. One that is there in the same shape is fine; one in another shape, such as one left half made by
    /// a crash, is replaced.
    pub fn lay(&self, outer: &Space, inner: &Space, veth: &Veth) -> Result<(), NetError> {
        let numbers = match create(outer, inner, veth, true) {
            Ok(numbers) => numbers,
            Err(error) if is_taken(&error) => {
                if is_laid(outer, inner, veth)? {
                    return Ok(());
                }
                clear(outer, &veth.outer, inner)?;
                clear(inner, &veth.inner, outer)?;
                // It may have been the number that was taken, and not the name: tunnel modules put links of theirs in
                // every new namespace, and people may, too.
                create(outer, inner, veth, false)?
            }
            Err(error) => return Err(error),
        };
        self.finish(outer, &veth.outer, numbers.outer)?;
        self.finish(inner, &veth.inner, numbers.inner)
    }

    /// From a bare link to one in use.
    fn finish(&self, space: &Space, end: &End, number: u32) -> Result<(), NetError> {
        let mut orders = Orders::new();
        if self.ipv6 {
            orders.no_link_local(number);
        }
        if let Some(bridge) = &end.bridge {
            orders.port(number, number_of(space, bridge)?);
        }
        orders.up(number);
        if let Some(altname) = &end.altname {
            orders.altname(number, altname);
        }
        for address in &end.addresses {
            orders.address(number, *address);
        }
        // Routes by a gateway need the gateway's own route first. Routes of the machine are not to be replaced.
        for by_gateway in [false, true] {
            for route in end.routes.iter().filter(|route| route.via.is_some() == by_gateway) {
                orders.route(number, route, !space.is_machine());
            }
        }
        space.run(orders, &end.name)
    }

    /// Makes the bridges that are not there in the shape that is wanted.
    pub fn add_bridges(&self, space: &Space, bridges: &BTreeMap<String, Bridge>, fresh: bool) -> Result<(), NetError> {
        for (name, bridge) in bridges {
            if !fresh && let Some(link) = space.link(name)? {
                if link.kind == "bridge"
                    && link.up
                    && link.mac == Some(bridge.mac)
                    && space.addresses(link.number)? == bridge.addresses.iter().copied().collect()
                {
                    continue;
                }
                delete(space, &link)?;
            }
            let number = space.next_number();
            let create = |number| {
                let mut orders = Orders::new();
                orders.bridge(name, bridge, number);
                space.run(orders, name)
            };
            let number = match create(number) {
                Ok(()) => number,
                Err(error) if is_taken(&error) => {
                    create(0)?;
                    number_of(space, name)?
                }
                Err(error) => return Err(error),
            };
            let mut orders = Orders::new();
            if self.ipv6 {
                orders.no_link_local(number);
            }
            orders.up(number);
            for address in &bridge.addresses {
                orders.address(number, *address);
            }
            space.run(orders, name)?;
        }
        Ok(())
    }
}

/// Takes a cable away, both ends; nothing happens if it is not there. It costs 20 ms of RCU grace periods: a namespace
/// that goes with all its cables is far cheaper.
pub fn remove(space: &Space, end: &End, other: &Space) -> Result<(), NetError> {
    clear(space, end, other)
}

/// A name or a number is in use. Which of them, the kernel does not say.
fn is_taken(error: &NetError) -> bool {
    matches!(error.errno(), Some(Errno::EEXIST | Errno::EBUSY))
}

/// Both ends of a cable, with numbers of our choice if `numbered` and neither is in the machine's own namespace, where
/// others give out numbers, too.
fn create(outer: &Space, inner: &Space, veth: &Veth, numbered: bool) -> Result<Numbers, NetError> {
    let numbered = numbered && !outer.is_machine() && !inner.is_machine();
    let numbers = numbered.then(|| Numbers { outer: outer.next_number(), inner: inner.next_number() });
    let mut orders = Orders::new();
    orders.veth(veth, inner.fd(), numbers);
    outer.run(orders, &veth.outer.name)?;
    match numbers {
        Some(numbers) => Ok(numbers),
        None => Ok(Numbers { outer: number_of(outer, &veth.outer.name)?, inner: number_of(inner, &veth.inner.name)? }),
    }
}

/// The number of a link that has to be there.
fn number_of(space: &Space, link: &str) -> Result<u32, NetError> {
    match space.link(link)? {
        Some(link) => {
            space.not_before(link.number);
            Ok(link.number)
        }
        None => Err(NetError::other(format!("find {}", space.describe(link)), "there is no such link")),
    }
}

/// Removes what stands where an end of a cable is to be. In the machine's own namespace that must be a veth into the
/// lab: anything else is somebody's.
fn clear(space: &Space, end: &End, other: &Space) -> Result<(), NetError> {
    let Some(link) = space.link(&end.name)? else { return Ok(()) };
    if space.is_machine() && !(link.kind == "veth" && leads_to(&link, space, other)?) {
        let cause = "a link of that name exists and is not this lab's; rename or remove it (`ip link`)";
        return Err(NetError::other(format!("create {}", space.describe(&end.name)), cause));
    }
    delete(space, &link)
}

fn delete(space: &Space, link: &Link) -> Result<(), NetError> {
    let mut orders = Orders::new();
    orders.delete_link(link.number);
    match space.run(orders, &link.name) {
        // It went by itself: its other end's namespace has just been destroyed.
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
        deleted => deleted,
    }
}

/// Whether a link's other end is in that namespace.
fn leads_to(link: &Link, space: &Space, other: &Space) -> Result<bool, NetError> {
    match link.peer_netns {
        Some(number) => Ok(space.number_of(other.fd())? == Some(number)),
        None => Ok(false),
    }
}

/// Whether a cable is there exactly as wanted.
fn is_laid(outer: &Space, inner: &Space, veth: &Veth) -> Result<bool, NetError> {
    let (Some(a), Some(b)) = (outer.link(&veth.outer.name)?, inner.link(&veth.inner.name)?) else { return Ok(false) };
    Ok(a.peer == Some(b.number)
        && b.peer == Some(a.number)
        && leads_to(&a, outer, inner)?
        && leads_to(&b, inner, outer)?
        && is_end(outer, &a, &veth.outer)?
        && is_end(inner, &b, &veth.inner)?)
}

fn is_end(space: &Space, link: &Link, end: &End) -> Result<bool, NetError> {
    let master = end.bridge.as_ref().map(|bridge| number_of(space, bridge)).transpose()?;
    Ok(link.kind == "veth"
        && link.up
        && link.mac == Some(end.mac)
        && link.altnames == end.altname.iter().cloned().collect()
        && link.master == master
        && space.addresses(link.number)? == end.addresses.iter().copied().collect()
        && space.routes()?.remove(&link.number).unwrap_or_default() == end.routes)
}
