//! What the kernel holds, as far as we know, and the operations that bring it from there to what is wanted.
//!
//! A Service's endpoints stand in numbered slots, because a chain picks one by a random number. A slot keeps its
//! endpoint for as long as it can: a newcomer takes the slot of one that went, and the last slot moves into a hole. So
//! a change of one endpoint changes a constant number of elements.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::expr::Verdict;
use super::op::{Chain, Data, Element, Op, Set};
use super::rules;
use super::value::{Family, Value};
use crate::desired::{Backend, Nat, Protocol, ServiceAddress};

type Endpoint = (IpAddr, u16);

/// What is loaded.
#[derive(Debug, Clone)]
pub struct State {
    nat: Arc<Nat>,
    /// The slots of the fronts whose endpoints do not stand in their natural order.
    moved: BTreeMap<Front, Vec<Endpoint>>,
    /// The chains for a number of endpoints. They stay when nothing needs them any more: before Linux 6.2 a chain
    /// cannot be deleted in the transaction that deletes the last element that names it.
    balancers: BTreeSet<(Family, Chain)>,
}

impl State {
    /// The operations that replace all there is by what `nat` says, and the state after them.
    pub fn load(nat: &Arc<Nat>) -> (Vec<Op<'_>>, State) {
        let mut ops = Vec::new();
        for family in rules::families(nat) {
            // Deleting what is not there is an error, adding what is there is none.
            ops.extend([Op::AddTable(*family), Op::DeleteTable(*family)]);
            ops.extend(rules::table(*family, nat));
        }
        let mut state = State { nat: Arc::default(), moved: BTreeMap::new(), balancers: BTreeSet::new() };
        ops.extend(state.elements(nat));
        state.nat = nat.clone();
        (ops, state)
    }

    /// The operations that change what differs; `None` when the rules themselves would differ, which takes a load.
    /// Afterwards this is the state after them, whether they have been done or not.
    pub fn change<'a>(&mut self, nat: &'a Arc<Nat>) -> Option<Vec<Op<'a>>> {
        if Arc::ptr_eq(&self.nat, nat) {
            return Some(Vec::new());
        }
        let same_rules = self.nat.pod_subnets == nat.pod_subnets
            && self.nat.service_subnets == nat.service_subnets
            && self.families() == rules::families(nat);
        if !same_rules {
            return None;
        }
        let ops = self.elements(nat);
        self.nat = nat.clone();
        Some(ops)
    }

    pub fn families(&self) -> &'static [Family] {
        rules::families(&self.nat)
    }

    fn elements<'a>(&mut self, after: &'a Nat) -> Vec<Op<'a>> {
        let before = self.nat.clone();
        let mut edit = Edit::default();
        let mut addresses = BTreeSet::new();
        for (service, old, new) in before.services.changes(&after.services) {
            self.front(&mut edit, Front::Service(*service), old, new);
            if old.map(|old| &old.service) != new.map(|new| &new.service) {
                addresses.insert(service.address);
            }
        }
        for ((protocol, port), old, new) in before.node_ports.changes(&after.node_ports) {
            for family in rules::families(after) {
                self.front(&mut edit, Front::NodePort(*family, *protocol, *port), old, new);
            }
        }
        for address in addresses {
            let (old, new) = (owner(&before, address), owner(after, address));
            if old != new {
                let (at, key) = ((Family::of(&address), Set::ClusterIps), Value::EMPTY.address(address));
                edit.replace(at, key, old.is_some(), new.map(|comment| Element { key, data: Data::None, comment }));
            }
        }
        for address in before.hairpin.symmetric_difference(&after.hairpin) {
            let (at, key) = ((Family::of(address), Set::Hairpin), Value::EMPTY.address(*address).address(*address));
            let wanted = after.hairpin.contains(address);
            edit.replace(at, key, !wanted, wanted.then_some(Element { key, data: Data::None, comment: "" }));
        }
        edit.ops(&mut self.balancers)
    }

    /// What changes for one address and port.
    fn front<'a>(&mut self, edit: &mut Edit<'a>, front: Front, old: Option<&Backend>, new: Option<&'a Backend>) {
        let old = old.filter(|old| front.lists(old)).map(|old| (old.service.as_str(), self.slots(front, old)));
        let new = new.filter(|new| front.lists(new)).map(|new| {
            let held = old.as_ref().map(|(_, slots)| slots.as_slice()).unwrap_or_default();
            (new.service.as_str(), reslot(held, front.endpoints(new)))
        });
        let renamed = old.as_ref().map(|(name, _)| *name) != new.as_ref().map(|(name, _)| *name);

        let old_entry = old.as_ref().map(|(_, slots)| front.entry(slots.len()));
        let new_entry = new.as_ref().map(|(_, slots)| front.entry(slots.len()));
        if old_entry != new_entry || renamed {
            if let Some((set, _)) = old_entry {
                edit.replace((front.family(), set), front.key(), true, None);
            }
            if let (Some((set, target)), Some((comment, _))) = (new_entry, &new) {
                edit.balancers.insert((front.family(), target));
                let data = Data::Verdict(Verdict::Goto(target));
                edit.replace(
                    (front.family(), set),
                    front.key(),
                    false,
                    Some(Element { key: front.key(), data, comment }),
                );
            }
        }

        let old_slots = old.as_ref().map(|(_, slots)| slots.as_slice()).unwrap_or_default();
        let (comment, new_slots) = new.as_ref().map(|(name, slots)| (*name, slots.as_slice())).unwrap_or_default();
        for index in 0..old_slots.len().max(new_slots.len()) {
            let (old, new) = (old_slots.get(index), new_slots.get(index));
            if old == new && !renamed {
                continue;
            }
            let key = front.key().native(index as u32);
            let element = new.map(|(address, port)| {
                let data = Data::Value(Value::EMPTY.address(*address).port(*port));
                Element { key, data, comment }
            });
            edit.replace((front.family(), front.endpoints_set()), key, old.is_some(), element);
        }
        match new {
            Some((_, slots)) if !slots.is_sorted() => self.moved.insert(front, slots),
            _ => self.moved.remove(&front),
        };
    }

    /// The endpoints of a front, by slot.
    fn slots(&self, front: Front, backend: &Backend) -> Vec<Endpoint> {
        self.moved.get(&front).cloned().unwrap_or_else(|| front.endpoints(backend).collect())
    }
}

/// Where clients connect to, in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Front {
    Service(ServiceAddress),
    NodePort(Family, Protocol, u16),
}

impl Front {
    fn family(self) -> Family {
        match self {
            Front::Service(service) => Family::of(&service.address),
            Front::NodePort(family, ..) => family,
        }
    }

    /// An address can only be translated to one of its own family.
    fn endpoints(self, backend: &Backend) -> impl Iterator<Item = Endpoint> {
        let family = self.family();
        backend.endpoints.iter().copied().filter(move |(address, _)| Family::of(address) == family)
    }

    /// A NodePort whose endpoints are all of the other family is not in this table; one without any is in both, to be
    /// rejected.
    fn lists(self, backend: &Backend) -> bool {
        match self {
            Front::Service(_) => true,
            Front::NodePort(..) => backend.endpoints.is_empty() || self.endpoints(backend).next().is_some(),
        }
    }

    fn key(self) -> Value {
        match self {
            Front::Service(service) => {
                Value::EMPTY.address(service.address).protocol(service.protocol).port(service.port)
            }
            Front::NodePort(_, protocol, port) => Value::EMPTY.protocol(protocol).port(port),
        }
    }

    /// The map that has it when it has `count` endpoints, and the chain that the map leads to.
    fn entry(self, count: usize) -> (Set, Chain) {
        match (self, count) {
            (Front::Service(_), 0) => (Set::NoEndpointServices, Chain::Reject),
            (Front::NodePort(..), 0) => (Set::NoEndpointNodePorts, Chain::Reject),
            (Front::Service(_), count) => (Set::ServiceIps, Chain::Endpoints(count as u32)),
            (Front::NodePort(..), count) => (Set::ServiceNodePorts, Chain::NodePorts(count as u32)),
        }
    }

    fn endpoints_set(self) -> Set {
        match self {
            Front::Service(_) => Set::ServiceEndpoints,
            Front::NodePort(..) => Set::NodePortEndpoints,
        }
    }
}

/// The Service that has `address`: its name, without the port's.
fn owner(nat: &Nat, address: IpAddr) -> Option<&str> {
    let first = ServiceAddress { address, protocol: Protocol::Tcp, port: 0 };
    let (service, backend) = nat.services.from(&first).next()?;
    let name = backend.service.rsplit_once(':').map_or(backend.service.as_str(), |(name, _)| name);
    (service.address == address).then_some(name)
}

/// The slots for `wanted` that differ least from `held`. Equal slices come out in the order of `wanted` when none is
/// held.
fn reslot(held: &[Endpoint], wanted: impl Iterator<Item = Endpoint>) -> Vec<Endpoint> {
    let mut newcomers: BTreeSet<Endpoint> = wanted.collect();
    let mut slots: Vec<Option<Endpoint>> =
        held.iter().map(|endpoint| newcomers.remove(endpoint).then_some(*endpoint)).collect();
    for hole in slots.iter_mut().filter(|slot| slot.is_none()) {
        *hole = newcomers.pop_first();
    }
    slots.extend(newcomers.into_iter().map(Some));
    let mut index = 0;
    while index < slots.len() {
        match slots.get(index) {
            // The last one moves here, and is looked at next: it may be a hole itself.
            Some(None) => drop(slots.swap_remove(index)),
            _ => index += 1,
        }
    }
    slots.into_iter().flatten().collect()
}

/// Elements to delete and to add, by table and set.
#[derive(Default)]
struct Edit<'a> {
    balancers: BTreeSet<(Family, Chain)>,
    deleted: BTreeMap<(Family, Set), Vec<Value>>,
    added: BTreeMap<(Family, Set), Vec<Element<'a>>>,
}

impl<'a> Edit<'a> {
    fn replace(&mut self, at: (Family, Set), key: Value, delete: bool, add: Option<Element<'a>>) {
        if delete {
            self.deleted.entry(at).or_default().push(key);
        }
        if let Some(element) = add {
            self.added.entry(at).or_default().push(element);
        }
    }

    /// Chains come first, for the elements that lead to them; deleting comes before adding, since an element cannot
    /// be overwritten.
    fn ops(self, balancers: &mut BTreeSet<(Family, Chain)>) -> Vec<Op<'a>> {
        let mut ops = Vec::new();
        for (family, chain) in self.balancers {
            if balancers.insert((family, chain)) {
                ops.extend(rules::balancer(family, chain));
            }
        }
        ops.extend(self.deleted.into_iter().map(|((family, set), keys)| Op::DeleteElements(family, set, keys)));
        ops.extend(self.added.into_iter().map(|((family, set), elements)| Op::AddElements(family, set, elements)));
        ops
    }
}

#[cfg(test)]
mod tests;
