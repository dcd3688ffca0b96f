//! The controllers: what follows from the objects that are there.
//!
//! Each is a function of a snapshot that returns the next writes towards what its objects ask for, and none once that
//! is reached. Only the objects carry state from one run to the next, so a controller may be stopped and started at
//! any moment; a write that came too late (a conflict) is made again from the next snapshot.
//!
//! A controller is not asked again while nothing that it reads has changed since it had nothing to do ([`rest`]), and
//! those that have many objects to look at are told which have changed. That spares work and decides nothing.

pub mod bootstrap;
mod concerned;
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
mod rest;
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

use crate::object::snapshot::Difference;
use crate::object::{KindRef, Snapshot, Write, kind};
use crate::store::{Store, WriteError};

struct Controller {
    name: &'static str,
    /// The kinds that what it does follows from; empty: all.
    reads: &'static [KindRef],
    run: Run,
}

enum Run {
    /// Looks at all its objects.
    All(fn(&Snapshot, &mut Context) -> Vec<Write>),
    /// Looks at what has changed since it last had nothing to do, and at what that concerns.
    Changes(fn(&Snapshot, &[Difference], &mut Context) -> Vec<Write>),
}

const fn controller(name: &'static str, reads: &'static [KindRef], run: Run) -> Controller {
    Controller { name, reads, run }
}

/// In the order in which a change usually passes through them.
static CONTROLLERS: &[Controller] = &[
    // Of every kind there may be objects of a definition's.
    controller("customresourcedefinition", &[], Run::Changes(definition::definition)),
    controller("namespace", &[], Run::All(namespace::namespace)),
    controller("gc", &[], Run::Changes(gc::gc)),
    controller(
        "serviceaccount",
        &[&kind::NAMESPACE, &kind::SERVICE_ACCOUNT],
        Run::All(service_account::service_account),
    ),
    controller("root-ca-cert-publisher", &[&kind::NAMESPACE, &kind::CONFIG_MAP], Run::All(root_ca::root_ca)),
    controller("deployment", &[&kind::DEPLOYMENT, &kind::REPLICA_SET, &kind::POD], Run::All(deployment::deployment)),
    controller(
        "replicaset",
        &[&kind::REPLICA_SET, &kind::POD, &kind::SERVICE_ACCOUNT],
        Run::All(replicaset::replicaset),
    ),
    controller(
        "replicationcontroller",
        &[&kind::REPLICATION_CONTROLLER, &kind::POD, &kind::SERVICE_ACCOUNT],
        Run::All(replicaset::replication_controller),
    ),
    controller("placement", &[&kind::POD, &kind::NODE], Run::All(placement)),
    controller("endpoints", concerned::READS, Run::Changes(endpoints::endpoints)),
    controller("endpointslice", concerned::READS, Run::Changes(endpointslice::endpointslice)),
    controller("endpointslicemirroring", concerned::READS, Run::Changes(mirroring::mirroring)),
    // A budget is about pods and about whatever owns them.
    controller("disruption", &[], Run::All(disruption::disruption)),
    controller("event-expiry", &[&kind::EVENT], Run::All(events::expire)),
];

/// The scheduler and ipam: a pod gets its node and its address in one write, which is one plan less for every pod.
fn placement(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    let mut writes = scheduler::scheduler(snapshot, ctx);
    let addresses = ipam::ipam(snapshot, &mut writes, ctx);
    writes.extend(addresses);
    writes
}

/// Runs every controller once over the same snapshot.
pub fn run_once(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    ctx.wake_at = None;
    let mut writes: Vec<Write> =
        CONTROLLERS.iter().flat_map(|controller| rest::run(controller, snapshot, ctx)).collect();
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
