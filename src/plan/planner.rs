//! The plan for one snapshot after the other: what has not changed since the one before is taken over.
//!
//! Nobody can tell: a new [`Planner`] and one that has seen any other snapshots give the same value for the same
//! snapshot, at another price.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pods::{self, Links, Planned, Surroundings};
use super::services::Fronts;
use super::tables::Tables;
use super::topology::{self, ETH0};
use super::{Machine, lab_of, names, services};
use crate::desired::{Desired, Netns, NetnsRole};
use crate::object::lab::{Lab, LabError, Node};
use crate::object::snapshot::Difference;
use crate::object::{Key, Object, Snapshot, kind};

pub struct Planner {
    name: String,
    machine: Machine,
    last: Option<Last>,
}

/// The last snapshot, and what came of it.
struct Last {
    snapshot: Snapshot,
    lab: Lab,
    nodes: Vec<Node>,
    desired: Arc<Desired>,
    tables: Tables,
    slices: Slices,
    links: Links,
}

/// The EndpointSlices by namespace and Service.
type Slices = BTreeSet<(String, String, String)>;

/// Namespace and name.
type Name = (String, String);

impl Planner {
    /// For the lab called `name`.
    pub fn new(name: &str, machine: Machine) -> Self {
        Planner { name: name.to_string(), machine, last: None }
    }

    /// Everything that the lab should have.
    pub fn plan(&mut self, snapshot: &Snapshot) -> Result<Arc<Desired>, LabError> {
        let mut last = match self.last.take() {
            Some(last) if !has_another_lab(snapshot, &last) => last,
            _ => self.begin(snapshot)?,
        };
        let before = std::mem::replace(&mut last.snapshot, snapshot.clone());
        let changes = snapshot.changes_since(&before);
        last.plan_services(&self.name, &before, &changes);
        last.plan_pods(&self.name, &self.machine, &changes);
        let desired = last.desired.clone();
        self.last = Some(last);
        Ok(desired)
    }

    /// A lab without pods and Services.
    fn begin(&self, snapshot: &Snapshot) -> Result<Last, LabError> {
        let (lab, object) = lab_of(snapshot)?;
        let nodes = lab.complete_nodes()?;
        let with_host = object.as_ref().is_none_or(|object| object.annotation(kind::NO_HOST) != Some("true"));
        let mut desired = Desired { lab: self.name.clone(), ..Desired::default() };
        topology::add(&mut desired, &lab, &nodes, with_host);
        let tables = Tables::new(services::empty_nat(&lab));
        desired.nat = nodes
            .iter()
            .map(|node| (names::node_netns(&self.name, &node.name), tables.of(&node.name).clone()))
            .collect();
        // All but the document is new to it.
        let document = object.into_iter().filter_map(|object| Some((object.key()?, object))).collect();
        Ok(Last {
            snapshot: Snapshot::new(Arc::new(document), 0),
            lab,
            nodes,
            desired: Arc::new(desired),
            tables,
            slices: Slices::new(),
            links: Links::new(),
        })
    }
}

fn has_another_lab(snapshot: &Snapshot, last: &Last) -> bool {
    snapshot.list(&kind::LAB).next() != last.snapshot.list(&kind::LAB).next()
}

fn name_of(key: &Key) -> Name {
    (key.namespace.clone(), key.name.clone())
}

impl Last {
    /// Takes the old entries of the Services that may have changed out of the tables, and puts their new ones in.
    fn plan_services(&mut self, name: &str, before: &Snapshot, changes: &[Difference]) {
        let mut changed: BTreeSet<Name> = BTreeSet::new();
        for (key, old, new) in changes {
            if *key.kind == kind::SERVICE {
                changed.insert(name_of(key));
            } else if *key.kind == kind::ENDPOINT_SLICE {
                let services = [old, new].into_iter().flatten().filter_map(|slice| services::service_of(slice));
                changed.extend(services.map(|service| (key.namespace.clone(), service.to_string())));
            }
        }
        changed.extend(self.services_of_leaving(changes));
        let olds: Vec<Fronts> = changed.iter().map(|name| fronts(before, &self.slices, name)).collect();
        self.note_slices(changes);
        let news: Vec<Fronts> = changed.iter().map(|name| fronts(&self.snapshot, &self.slices, name)).collect();
        if olds == news {
            return;
        }
        let (snapshot, slices) = (&self.snapshot, &self.slices);
        self.tables.replace(olds, news, || {
            let services = snapshot.list(&kind::SERVICE);
            let names = services.map(|service| (service.namespace().to_string(), service.name().to_string()));
            names.map(|name| fronts(snapshot, slices, &name)).collect()
        });
        let desired = Arc::make_mut(&mut self.desired);
        for node in &self.nodes {
            let netns = names::node_netns(name, &node.name);
            desired.nat.insert(netns, self.tables.of(&node.name).clone());
        }
    }

    /// The Services that have pods which began to end, or have ended, among their endpoints.
    fn services_of_leaving(&self, changes: &[Difference]) -> Vec<Name> {
        let leaving =
            |pod: &Option<&Arc<Object>>| pod.filter(|pod| pod.is_terminating()).map(|pod| pod.uid().to_string());
        let pods = changes.iter().filter(|(key, old, new)| *key.kind == kind::POD && leaving(old) != leaving(new));
        let pods: BTreeSet<(&str, &str)> = pods.map(|(key, ..)| (key.namespace.as_str(), key.name.as_str())).collect();
        if pods.is_empty() {
            return Vec::new();
        }
        let slices = self.snapshot.list(&kind::ENDPOINT_SLICE);
        let concerned = slices.filter(|slice| services::targets(slice).any(|target| pods.contains(&target)));
        let service =
            |slice: &Arc<Object>| Some((slice.namespace().to_string(), services::service_of(slice)?.to_string()));
        concerned.filter_map(service).collect()
    }

    fn note_slices(&mut self, changes: &[Difference]) {
        for (key, old, new) in changes.iter().filter(|(key, ..)| *key.kind == kind::ENDPOINT_SLICE) {
            let entry = |slice: &Arc<Object>| {
                Some((key.namespace.clone(), services::service_of(slice)?.to_string(), key.name.clone()))
            };
            if let Some(entry) = old.and_then(entry) {
                self.slices.remove(&entry);
            }
            self.slices.extend(new.and_then(entry));
        }
    }

    fn plan_pods(&mut self, name: &str, machine: &Machine, changes: &[Difference]) {
        let mut changed: BTreeMap<Name, Option<Arc<Object>>> = BTreeMap::new();
        // `None`: all namespaces.
        let mut namespaces: BTreeSet<Option<&str>> = BTreeSet::new();
        for (key, old, new) in changes {
            if *key.kind == kind::POD {
                changed.insert(name_of(key), new.cloned());
            } else if *key.kind == kind::SERVICE_ACCOUNT {
                namespaces.insert(Some(&key.namespace));
            } else if *key.kind == kind::SERVICE {
                let variables = |service: &Option<&Arc<Object>>| service.map(|service| services::variables(service));
                if variables(old).unwrap_or_default() == variables(new).unwrap_or_default() {
                    continue;
                }
                if services::is_seen_everywhere(key) {
                    self.links.clear();
                    namespaces.insert(None);
                } else {
                    self.links.remove(&(key.namespace.clone(), true));
                    namespaces.insert(Some(&key.namespace));
                }
            }
        }
        for namespace in namespaces {
            let pods =
                self.snapshot.list(&kind::POD).filter(|pod| namespace.is_none_or(|name| name == pod.namespace()));
            changed.extend(pods.map(|pod| ((pod.namespace().into(), pod.name().into()), Some(pod.clone()))));
        }
        if changed.is_empty() {
            return;
        }
        let around = Surroundings { name, lab: &self.lab, nodes: &self.nodes, machine, snapshot: &self.snapshot };
        let desired = Arc::make_mut(&mut self.desired);
        for ((namespace, pod), object) in changed {
            let planned = object.and_then(|object| pods::plan(&object, &around, &mut self.links));
            set_pod(desired, name, &namespace, &pod, planned);
        }
    }
}

/// What is as it was stays the same value, so that it is known without being compared.
fn set_pod(desired: &mut Desired, lab: &str, namespace: &str, name: &str, planned: Option<Planned>) {
    let key = format!("{namespace}/{name}");
    let netns = names::pod_netns(lab, namespace, name);
    let veth = format!("{netns}/{ETH0}");
    let (pod, cable) = planned.map_or((None, None), |planned| (Some(planned.pod), planned.cable));
    match cable {
        Some(cable) => {
            let role = NetnsRole::Pod;
            desired.netns.insert(netns, Netns { role, forwarding: false, bridges: BTreeMap::new() });
            desired.veths.insert(veth, cable);
        }
        None => {
            desired.netns.remove(&netns);
            desired.veths.remove(&veth);
        }
    }
    match pod {
        Some(pod) if desired.pods.get(&key) == Some(&pod) => {}
        Some(pod) => drop(desired.pods.insert(key, pod)),
        None => drop(desired.pods.remove(&key)),
    }
}

fn fronts(snapshot: &Snapshot, slices: &Slices, (namespace, name): &Name) -> Fronts {
    let Some(service) = snapshot.find(&kind::SERVICE, namespace, name) else { return Fronts::default() };
    let from = (namespace.clone(), name.clone(), String::new());
    let of_service = slices.range(from..).take_while(|(ns, service, _)| (ns, service) == (namespace, name));
    let objects = of_service.filter_map(|(_, _, slice)| snapshot.find(&kind::ENDPOINT_SLICE, namespace, slice));
    services::fronts(snapshot, service, objects)
}

#[cfg(test)]
mod tests;
