//! What the kernel holds, as far as we know, and the operations that bring it from there to what is wanted.
//!
//! A Service's endpoints stand in numbered slots, because a chain picks one by a random number. A slot keeps its
//! endpoint for as long as it can: a newcomer takes the slot of one that went, and the last slot moves into a hole. So
//! a change of one endpoint changes a constant number of elements.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::expr::Verdict;
use super::op::{Balancer, Chain, Data, Element, Op, Set, Target};
use super::rules;
use super::value::{Family, Value};
use crate::desired::{Backend, Nat, Protocol, ServiceAddress};

type Endpoint = (IpAddr, u16);

/// What is loaded.
#[derive(Debug, Clone)]
pub struct State {
    nat: Arc<Nat>,
    /// The slots of the fronts whose endpoints do not stand in their natural order.
    moved: BTreeMap<(Front, Pool), Vec<Endpoint>>,
    /// The chains for a number of endpoints. They stay when nothing needs them any more: before Linux 6.2 a chain
    /// cannot be deleted in the transaction that deletes the last element that names it.
    balancers: BTreeSet<(Family, Balancer)>,
    /// Where the sets for session affinity are made.
    with_affinity: BTreeSet<Family>,
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
        let mut state = State {
            nat: Arc::default(),
            moved: BTreeMap::new(),
            balancers: BTreeSet::new(),
            with_affinity: BTreeSet::new(),
        };
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
            if old.and_then(cluster_ip_of) != new.and_then(cluster_ip_of) {
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
        edit.ops(&mut self.balancers, &mut self.with_affinity)
    }

    /// What changes for one address and port.
    fn front<'a>(&mut self, edit: &mut Edit<'a>, front: Front, old: Option<&Backend>, new: Option<&'a Backend>) {
        let old = old.filter(|old| front.lists(old));
        let new = new.filter(|new| front.lists(new));
        let renamed = old.map(|old| &old.service) != new.map(|new| &new.service);
        let comment = new.map(|new| new.service.as_str()).unwrap_or_default();
        let (mut had, mut has) = ([0; 2], [0; 2]);
        for (pool, (had, has)) in Pool::ALL.into_iter().zip(had.iter_mut().zip(&mut has)) {
            let held = old.map(|old| self.slots(front, pool, old)).unwrap_or_default();
            let slots = new.map(|new| reslot(&held, front.endpoints(pool, new))).unwrap_or_default();
            for index in 0..held.len().max(slots.len()) {
                let (old, new) = (held.get(index), slots.get(index));
                if old == new && !renamed {
                    continue;
                }
                let key = front.key().native(index as u32);
                let element = new.map(|(address, port)| {
                    let data = Data::Value(Value::EMPTY.address(*address).port(*port));
                    Element { key, data, comment }
                });
                edit.replace((front.family(), front.endpoints_set(pool)), key, old.is_some(), element);
            }
            let held_known = old.filter(|old| front.affinity(old).is_some()).map_or(&[][..], |_| &held);
            let known = new.filter(|new| front.affinity(new).is_some()).map_or(&[][..], |_| &slots);
            let set = rules::affinity::sets(front.endpoints_set(pool)).1;
            let key = |(address, port): &Endpoint| front.key().address(*address).port(*port);
            for endpoint in held_known.iter().filter(|endpoint| renamed || !known.contains(endpoint)) {
                edit.replace((front.family(), set), key(endpoint), true, None);
            }
            for endpoint in known.iter().filter(|endpoint| renamed || !held_known.contains(endpoint)) {
                let element = Element { key: key(endpoint), data: Data::None, comment };
                edit.replace((front.family(), set), key(endpoint), false, Some(element));
            }
            (*had, *has) = (held.len(), slots.len());
            if slots.is_sorted() {
                self.moved.remove(&(front, pool));
            } else {
                self.moved.insert((front, pool), slots);
            }
        }

        let old_entries = old.map(|old| front.entries(old, had)).unwrap_or_default();
        let new_entries = new.map(|new| front.entries(new, has)).unwrap_or_default();
        let key = front.key();
        for (set, _) in old_entries.iter().flatten().filter(|old| renamed || !new_entries.contains(&Some(**old))) {
            edit.replace((front.family(), *set), key, true, None);
        }
        for (set, data) in new_entries.iter().flatten() {
            if renamed || !old_entries.contains(&Some((*set, *data))) {
                if let Data::Verdict(Verdict::Goto(Chain::Balancer(balancer))) = data {
                    edit.balancers.insert((front.family(), *balancer));
                }
                let element = Element { key, data: *data, comment };
                edit.replace((front.family(), *set), key, false, Some(element));
            }
        }
    }

    /// The endpoints of a front, by slot.
    fn slots(&self, front: Front, pool: Pool, backend: &Backend) -> Vec<Endpoint> {
        let moved = self.moved.get(&(front, pool));
        moved.cloned().unwrap_or_else(|| front.endpoints(pool, backend).collect())
    }
}

/// Where clients connect to, in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Front {
    Service(ServiceAddress),
    NodePort(Family, Protocol, u16),
}

/// The endpoints that a connection is spread over: all, or with policy Local the node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pool {
    All,
    Local,
}

impl Pool {
    const ALL: [Pool; 2] = [Pool::All, Pool::Local];
}

/// What maps have for a front, by the same key.
type Entries = [Option<(Set, Data)>; 4];

impl Front {
    fn family(self) -> Family {
        match self {
            Front::Service(service) => Family::of(&service.address),
            Front::NodePort(family, ..) => family,
        }
    }

    /// An address can only be translated to one of its own family.
    fn endpoints(self, pool: Pool, backend: &Backend) -> impl Iterator<Item = Endpoint> {
        let family = self.family();
        let endpoints = match pool {
            Pool::All => Some(&backend.endpoints),
            Pool::Local => backend.local.as_ref(),
        };
        endpoints.into_iter().flatten().copied().filter(move |(address, _)| Family::of(address) == family)
    }

    /// A NodePort whose endpoints are all of the other family is not in this table; one without any is in both, to be
    /// rejected.
    fn lists(self, backend: &Backend) -> bool {
        match self {
            Front::Service(_) => true,
            Front::NodePort(..) => backend.endpoints.is_empty() || self.endpoints(Pool::All, backend).next().is_some(),
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

    /// What clients are remembered by, and for how long.
    fn affinity(self, backend: &Backend) -> Option<(&ServiceAddress, u32)> {
        let affinity = backend.affinity.as_ref()?;
        let service = affinity.service.iter().find(|service| Family::of(&service.address) == self.family())?;
        Some((service, affinity.seconds))
    }

    /// The maps that have it when it has so many endpoints, and so many of them here, and what they have.
    fn entries(self, backend: &Backend, [all, local]: [usize; 2]) -> Entries {
        let affinity = self.affinity(backend);
        let is_service = matches!(self, Front::Service(_));
        let pick = |service, node_port| if is_service { service } else { node_port };
        let front = pick(Set::ServiceIps, Set::ServiceNodePorts);
        let nowhere = pick(Set::NoEndpointServices, Set::NoEndpointNodePorts);
        let balance = |service, node_port, count: usize| {
            let to = if is_service { service } else { node_port };
            let affinity = affinity.map(|(_, seconds)| seconds);
            Data::Verdict(Verdict::Goto(Chain::Balancer(Balancer { to, count: count as u32, affinity })))
        };
        if all == 0 {
            let verdict = if backend.has_others { Verdict::Drop } else { Verdict::Goto(Chain::Reject) };
            return [Some((nowhere, Data::Verdict(verdict))), None, None, None];
        }
        let remembered = affinity.map(|(service, _)| {
            let service = Value::EMPTY.address(service.address).protocol(service.protocol).port(service.port);
            (pick(Set::AffinityServices, Set::AffinityNodePorts), Data::Value(service))
        });
        if backend.local.is_none() {
            let service = if backend.is_external { Target::External } else { Target::ClusterIp };
            return [Some((front, balance(service, Target::NodePort, all))), remembered, None, None];
        }
        let by_policy = if is_service { Chain::LocalExternals } else { Chain::LocalNodePorts };
        let inside = balance(Target::ClusterIp, Target::NodePortFromInside, all);
        let outside = match local {
            0 => (nowhere, Data::Verdict(Verdict::Drop)),
            _ => {
                let set = pick(Set::LocalExternals, Set::LocalNodePorts);
                (set, balance(Target::LocalExternal, Target::LocalNodePort, local))
            }
        };
        [
            Some((front, Data::Verdict(Verdict::Goto(by_policy)))),
            remembered,
            Some((pick(Set::ClusterExternals, Set::ClusterNodePorts), inside)),
            Some(outside),
        ]
    }

    fn endpoints_set(self, pool: Pool) -> Set {
        match (self, pool) {
            (Front::Service(_), Pool::All) => Set::ServiceEndpoints,
            (Front::Service(_), Pool::Local) => Set::LocalEndpoints,
            (Front::NodePort(..), Pool::All) => Set::NodePortEndpoints,
            (Front::NodePort(..), Pool::Local) => Set::LocalNodePortEndpoints,
        }
    }
}

/// The Service that has `address` for its ClusterIP: its name, without the port's.
fn owner(nat: &Nat, address: IpAddr) -> Option<&str> {
    let first = ServiceAddress { address, protocol: Protocol::Tcp, port: 0 };
    let mut ports = nat.services.from(&first).take_while(|(service, _)| service.address == address);
    let service = ports.find_map(|(_, backend)| cluster_ip_of(backend))?;
    Some(service.rsplit_once(':').map_or(service, |(name, _)| name))
}

fn cluster_ip_of(backend: &Backend) -> Option<&str> {
    (!backend.is_external).then_some(backend.service.as_str())
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
    balancers: BTreeSet<(Family, Balancer)>,
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

    /// Sets and chains come first, for the elements that lead to them; deleting comes before adding, since an element cannot
    /// be overwritten.
    fn ops(self, balancers: &mut BTreeSet<(Family, Balancer)>, with_affinity: &mut BTreeSet<Family>) -> Vec<Op<'a>> {
        let mut ops = Vec::new();
        let of_chains = self.balancers.iter().filter(|(_, balancer)| balancer.affinity.is_some());
        let of_elements = self.added.keys().filter(|(_, set)| Set::AFFINITY.contains(set));
        for family in of_chains.map(|(family, _)| family).chain(of_elements.map(|(family, _)| family)) {
            if with_affinity.insert(*family) {
                ops.extend(Set::AFFINITY.map(|set| Op::AddSet(*family, set)));
            }
        }
        for (family, balancer) in self.balancers {
            if balancers.insert((family, balancer)) {
                ops.extend(rules::balancer(family, balancer));
            }
        }
        ops.extend(self.deleted.into_iter().map(|((family, set), keys)| Op::DeleteElements(family, set, keys)));
        ops.extend(self.added.into_iter().map(|((family, set), elements)| Op::AddElements(family, set, elements)));
        ops
    }
}

#[cfg(test)]
mod tests;
