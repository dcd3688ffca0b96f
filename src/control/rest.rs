//! When a controller need not be asked, and what to tell it when it must.

use jiff::Timestamp;

use super::{Context, Controller, Run};
use crate::object::{Snapshot, Write};

/// A controller had nothing to do.
#[derive(Default)]
pub(super) struct Rest {
    /// With these objects.
    snapshot: Snapshot,
    /// It is to be asked again then, whatever happens.
    until: Option<Timestamp>,
}

/// Asks the controller for its writes, unless nothing has changed since it had none.
pub(super) fn run(controller: &Controller, snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    let earlier = ctx.rests.remove(controller.name);
    let is_resting = earlier.is_some();
    let Rest { snapshot: before, until } = earlier.unwrap_or_default();
    let changes = snapshot.changes_since(&before);
    let concerned =
        || controller.reads.is_empty() || changes.iter().any(|(key, ..)| controller.reads.contains(&key.kind));
    let is_due = until.is_some_and(|until| until <= ctx.now);
    if is_resting && !is_due && (changes.is_empty() || !concerned()) {
        until.into_iter().for_each(|until| ctx.wake(until));
        ctx.rests.insert(controller.name, Rest { snapshot: snapshot.clone(), until });
        return Vec::new();
    }
    let others = ctx.wake_at.take();
    let told = ctx.occurrences.len();
    let writes = match controller.run {
        Run::All(run) => run(snapshot, ctx),
        Run::Changes(run) => run(snapshot, &changes, ctx),
    };
    let keeps_changes = is_resting && matches!(controller.run, Run::Changes(_));
    let until = ctx.wake_at;
    others.into_iter().for_each(|at| ctx.wake(at));
    // With something to say it is asked again, until that is said.
    let rest = match writes.is_empty() && ctx.occurrences.len() == told {
        true => Some(Rest { snapshot: snapshot.clone(), until }),
        // What it has looked at is looked at again until nothing is left to do.
        false => keeps_changes.then_some(Rest { snapshot: before, until: Some(ctx.now) }),
    };
    if let Some(rest) = rest {
        ctx.rests.insert(controller.name, rest);
    }
    writes
}
