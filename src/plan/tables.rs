//! The address translation of all nodes, kept up to date Service by Service. It is the same on all of them but for the
//! Services with a policy Local: nodes that have endpoints of such a one have a table of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::services::Fronts;
use crate::chunked::Chunked;
use crate::desired::{Backend, Nat, Protocol, ServiceAddress};

pub struct Tables {
    /// Without Services.
    empty: Nat,
    shared: Arc<Nat>,
    own: BTreeMap<String, Own>,
    /// Of how many Services each address is an endpoint.
    hairpin: HashMap<IpAddr, usize>,
    /// Two Services have the same address and port. Then the tables are made anew each time, for which of them counts
    /// is a matter of order.
    pub is_contested: bool,
}

struct Own {
    nat: Arc<Nat>,
    /// How many Services are not what they are in the shared table.
    services: usize,
}

impl Tables {
    pub fn new(empty: Nat) -> Self {
        let shared = Arc::new(empty.clone());
        Tables { empty, shared, own: BTreeMap::new(), hairpin: HashMap::new(), is_contested: false }
    }

    pub fn of(&self, node: &str) -> &Arc<Nat> {
        self.own.get(node).map_or(&self.shared, |own| &own.nat)
    }

    /// Puts `news` in the place of `olds`. `all` are the Services as they are now, in order.
    pub fn replace(&mut self, olds: Vec<Fronts>, news: Vec<Fronts>, all: impl FnOnce() -> Vec<Fronts>) {
        for own in self.own.values_mut() {
            olds.iter().for_each(|old| remove(Arc::make_mut(&mut own.nat), old));
        }
        for old in &olds {
            remove(Arc::make_mut(&mut self.shared), old);
            self.count_out(old);
        }
        self.add(news);
        if self.is_contested {
            *Arc::make_mut(&mut self.shared) = self.empty.clone();
            self.hairpin.clear();
            self.own.clear();
            self.is_contested = false;
            self.add(all());
        }
    }

    fn count_out(&mut self, old: &Fronts) {
        for address in &old.hairpin {
            let Some(count) = self.hairpin.get_mut(address) else { continue };
            *count -= 1;
            if *count == 0 {
                self.hairpin.remove(address);
                Arc::make_mut(&mut self.shared).hairpin.remove(address);
            }
        }
        for node in &old.nodes {
            let Some(own) = self.own.get_mut(node) else { continue };
            own.services -= 1;
        }
    }

    fn add(&mut self, news: Vec<Fronts>) {
        self.own.retain(|_, own| own.services > 0);
        let with_endpoints: BTreeSet<&String> = news.iter().flat_map(|new| &new.nodes).collect();
        let begin = with_endpoints.into_iter().filter(|node| !self.own.contains_key(*node));
        let begin: Vec<(String, Entries, usize)> = begin
            .map(|node| {
                let differ = news.iter().filter(|new| new.nodes.contains(node));
                (node.clone(), Entries::of(differ.clone(), node), differ.count())
            })
            .collect();
        for (node, own) in &mut self.own {
            let nat = Arc::make_mut(&mut own.nat);
            for new in &news {
                own.services += usize::from(new.nodes.contains(node));
                put(&mut nat.services, new.services.iter().map(|(key, front)| (*key, front.on(node))));
                put(&mut nat.node_ports, new.node_ports.iter().map(|(key, front)| (*key, front.on(node))));
            }
        }
        let shared = Arc::make_mut(&mut self.shared);
        for new in news {
            let services = new.services.into_iter().map(|(key, front)| (key, front.elsewhere()));
            self.is_contested |= put(&mut shared.services, services);
            let node_ports = new.node_ports.into_iter().map(|(key, front)| (key, front.elsewhere()));
            self.is_contested |= put(&mut shared.node_ports, node_ports);
            for address in new.hairpin {
                let count = self.hairpin.entry(address).or_insert(0);
                *count += 1;
                if *count == 1 {
                    shared.hairpin.insert(address);
                }
            }
        }
        for own in self.own.values_mut() {
            Arc::make_mut(&mut own.nat).hairpin = self.shared.hairpin.clone();
        }
        for (node, entries, services) in begin {
            let mut nat = Nat::clone(&self.shared);
            take_over(&mut nat.services, entries.services);
            take_over(&mut nat.node_ports, entries.node_ports);
            self.own.insert(node, Own { nat: Arc::new(nat), services });
        }
    }
}

/// What some Services are on one node.
struct Entries {
    services: Vec<(ServiceAddress, Backend)>,
    node_ports: Vec<((Protocol, u16), Backend)>,
}

impl Entries {
    fn of<'a>(fronts: impl Iterator<Item = &'a Fronts> + Clone, node: &str) -> Self {
        let services = fronts.clone().flat_map(|fronts| &fronts.services);
        let node_ports = fronts.flat_map(|fronts| &fronts.node_ports);
        Entries {
            services: services.map(|(key, front)| (*key, front.on(node))).collect(),
            node_ports: node_ports.map(|(key, front)| (*key, front.on(node))).collect(),
        }
    }
}

fn remove(nat: &mut Nat, fronts: &Fronts) {
    for (address, _) in &fronts.services {
        nat.services.remove(address);
    }
    for (port, _) in &fronts.node_ports {
        nat.node_ports.remove(port);
    }
}

/// Whether something was in a place. A ClusterIP stays one whoever else asks for the address.
fn put<K: Ord + Clone>(map: &mut Chunked<K, Backend>, entries: impl Iterator<Item = (K, Backend)>) -> bool {
    let mut is_contested = false;
    for (key, backend) in entries {
        let has_owner = backend.is_external && map.get(&key).is_some_and(|held| !held.is_external);
        is_contested |= has_owner || map.insert(key, backend).is_some();
    }
    is_contested
}

/// Puts a node's own entries in the place of the shared ones of the same Services.
fn take_over<K: Ord + Clone>(map: &mut Chunked<K, Backend>, entries: Vec<(K, Backend)>) {
    for (key, backend) in entries {
        if let Some(held) = map.get_mut(&key)
            && (&held.service, held.is_external) == (&backend.service, backend.is_external)
        {
            *held = backend;
        }
    }
}
