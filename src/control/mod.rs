//! The controllers: what follows from the objects that are there.
//!
//! Each is a function of a snapshot that returns the next writes towards what its objects ask for, and none once that
//! is reached. Only the objects carry state from one run to the next, so a controller may be stopped and started at
//! any moment; a write that came too late (a conflict) is made again from the next snapshot.

pub mod bootstrap;
mod conditions;
mod context;
mod definition;
mod deployment;
mod disruption;
mod endpoints;
mod endpointslice;
pub mod events;
mod gc;
mod ipam;
mod mirroring;
mod namespace;
mod ownership;
mod pods;
mod ranking;
mod replicaset;
mod root_ca;
mod scheduler;
mod service;
mod service_account;
mod slices;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use bootstrap::bootstrap;
pub use context::Context;
pub use ipam::{LAST_POD_IP, POD_IPS};

use std::collections::HashSet;

use crate::object::{Snapshot, Write, kind};
use crate::store::{Store, WriteError};

type Controller = fn(&Snapshot, &mut Context) -> Vec<Write>;

/// In the order in which a change usually passes through them.
pub static CONTROLLERS: &[(&str, Controller)] = &[
    ("customresourcedefinition", definition::definition),
    ("namespace", namespace::namespace),
    ("gc", gc::gc),
    ("serviceaccount", service_account::service_account),
    ("root-ca-cert-publisher", root_ca::root_ca),
    ("deployment", deployment::deployment),
    ("replicaset", replicaset::replicaset),
    ("replicationcontroller", replicaset::replication_controller),
    ("scheduler", scheduler::scheduler),
    ("ipam", ipam::ipam),
    ("endpoints", endpoints::endpoints),
    ("endpointslice", endpointslice::endpointslice),
    ("endpointslicemirroring", mirroring::mirroring),
    ("disruption", disruption::disruption),
    ("event-expiry", events::expire),
];

/// Runs every controller once over the same snapshot.
pub fn run_once(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    ctx.wake_at = None;
    let mut writes: Vec<Write> = CONTROLLERS.iter().flat_map(|(_, controller)| controller(snapshot, ctx)).collect();
    let occurrences = std::mem::take(&mut ctx.occurrences);
    writes.extend(events::record(snapshot, ctx, occurrences));
    // Two controllers may want the same object gone.
    let mut deleted = HashSet::new();
    writes.retain(|write| !matches!(write, Write::Delete(delete) if !deleted.insert(delete.key.clone())));
    // Nothing new is made in a namespace that is going away.
    let terminating = snapshot.list(&kind::NAMESPACE).filter(|namespace| namespace.is_terminating());
    let terminating: HashSet<&str> = terminating.map(|namespace| namespace.name()).collect();
    if !terminating.is_empty() {
        writes.retain(|write| !matches!(write, Write::Create(object) if terminating.contains(object.namespace())));
    }
    writes
}

/// Runs the controllers until none of them has anything left to do, at most `max_rounds` times. Returns how many
/// rounds had writes. `ctx.wake_at` then says when to come back even if nothing changes.
pub fn settle(store: &Store, ctx: &mut Context, max_rounds: usize) -> usize {
    for round in 0..max_rounds {
        let writes = run_once(&store.snapshot(), ctx);
        if writes.is_empty() {
            return round;
        }
        let results = store.commit(writes);
        // A store that cannot be written will not get better by asking again at once.
        if results.iter().all(|result| matches!(result, Err(WriteError::Storage(_)))) {
            return round;
        }
    }
    max_rounds
}
