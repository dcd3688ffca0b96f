//! Deployments: a ReplicaSet for each version of the template, and the way from one to the next.

mod rollout;
mod sets;
mod status;
mod strategy;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use self::sets::{REVISION, Set, same_template, template_hash};
use self::strategy::Strategy;
use super::ownership::Claims;
use super::{Context, pods};
use crate::object::selector::Selector;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Object, Snapshot, Write, kind};

const COMPONENT: &str = "deployment-controller";

pub fn deployment(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    let mut claims = Claims::of(snapshot.list(&kind::REPLICA_SET));
    let mut writes = Vec::new();
    for deployment in snapshot.list(&kind::DEPLOYMENT) {
        let selector = Selector::from_label_selector(deployment.at(&["spec", "selector"]).unwrap_or(&Value::Null));
        match selector {
            Ok(selector) if selector.is_empty() => {
                let message = "This deployment is selecting all pods. A non-empty selector is required.";
                ctx.standing_warning(COMPONENT, deployment, "SelectingAll", message.into());
            }
            Ok(selector) => {
                let before = writes.len();
                let sets = claims.claim(deployment, &selector, &mut writes);
                // ReplicaSets that are just changing hands are looked at when they have.
                if writes.len() == before {
                    reconcile(snapshot, deployment, &sets, ctx, &mut writes);
                }
            }
            Err(error) => ctx.standing_warning(COMPONENT, deployment, "InvalidSelector", error.to_string()),
        }
    }
    writes
}

/// A Deployment with its ReplicaSets, on the way to where it is going.
struct Rollout<'a> {
    snapshot: &'a Snapshot,
    deployment: &'a Arc<Object>,
    strategy: Strategy,
    /// Oldest first.
    sets: Vec<Set>,
    /// The one that has the Deployment's template.
    new: Option<usize>,
    /// The new one is made in this run.
    has_created: bool,
    /// How often the hash of a template was found taken by another.
    collisions: i64,
}

fn reconcile(
    snapshot: &Snapshot,
    deployment: &Arc<Object>,
    sets: &[&Arc<Object>],
    ctx: &mut Context,
    writes: &mut Vec<Write>,
) {
    let mut sets: Vec<Set> = sets.iter().map(|set| Set::stored(set)).collect();
    sets.sort_by(|a, b| {
        let age = |set: &Set| (set.object.creation_timestamp().to_string(), set.object.name().to_string());
        age(a).cmp(&age(b))
    });
    let new = sets.iter().position(|set| same_template(&set.object, deployment));
    let strategy = Strategy::of(deployment);
    let collisions = deployment.i64_at(&["status", "collisionCount"]).unwrap_or(0);
    let mut rollout = Rollout { snapshot, deployment, strategy, sets, new, has_created: false, collisions };
    let mut is_rolling = false;
    if !deployment.is_terminating() {
        rollout.sync_new();
        if strategy.is_paused || rollout.is_rescaled() {
            rollout.rescale(ctx);
        } else {
            is_rolling = true;
            if strategy.is_recreate {
                rollout.recreate(ctx, has_old_pods);
            } else {
                rollout.create_new(ctx);
                rollout.roll(ctx);
            }
        }
        if strategy.is_paused || (is_rolling && status::is_complete(&rollout)) {
            rollout.forget_oldest(writes);
        }
    }
    let status = status::compute(&rollout, is_rolling, ctx);
    rollout.finish(status, writes);
}

impl Rollout<'_> {
    fn new_set(&self) -> Option<&Set> {
        self.sets.get(self.new?)
    }

    fn new_name(&self) -> &str {
        self.new_set().map_or("", |set| set.object.name())
    }

    /// All but the new one, oldest first.
    fn old_by_age(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|at| Some(*at) != self.new).collect()
    }

    /// One more than the highest revision of the old ones.
    fn next_revision(&self) -> i64 {
        let old = self.old_by_age().into_iter().filter_map(|at| self.sets.get(at));
        old.map(Set::revision).max().unwrap_or(0) + 1
    }

    /// A ReplicaSet that has the template again, after a rollback, becomes the latest revision.
    fn sync_new(&mut self) {
        let revision = self.next_revision();
        if let Some(set) = self.new.and_then(|at| self.sets.get_mut(at)) {
            set.take_over(self.deployment, &self.strategy, revision);
        }
    }

    /// Makes the ReplicaSet for the template if there is none, with as many replicas as there is room for.
    fn create_new(&mut self, ctx: &mut Context) {
        if self.new.is_some() {
            return;
        }
        let hash = template_hash(self.deployment, self.collisions);
        let mut set = sets::new(self.deployment, &self.strategy, &hash, self.next_revision());
        if self.snapshot.find(&kind::REPLICA_SET, self.deployment.namespace(), set.object.name()).is_some() {
            // Another template has this hash, or somebody else's ReplicaSet this name.
            self.collisions += 1;
            return;
        }
        let size = self.replicas_for_new(0);
        set.set_replicas(size);
        if size > 0 {
            self.tell_scaled(ctx, set.object.name(), 0, size);
        }
        self.new = Some(self.sets.len());
        self.sets.push(set);
        self.has_created = true;
    }

    /// `spec.replicas` is not what the ReplicaSets were last scaled for.
    fn is_rescaled(&self) -> bool {
        let differs = |set: &Set| set.desired_replicas().is_some_and(|desired| desired != self.strategy.replicas);
        self.sets.iter().any(|set| set.replicas() > 0 && differs(set))
    }

    /// Returns whether the size changed.
    fn scale(&mut self, at: usize, size: i64, ctx: &mut Context) -> bool {
        let strategy = self.strategy;
        let Some(set) = self.sets.get_mut(at) else { return false };
        let before = set.replicas();
        set.note_scale(&strategy);
        if before == size {
            return false;
        }
        set.set_replicas(size);
        let name = set.object.name().to_string();
        self.tell_scaled(ctx, &name, before, size);
        true
    }

    fn tell_scaled(&self, ctx: &mut Context, name: &str, from: i64, to: i64) {
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        ctx.normal(COMPONENT, self.deployment, "ScalingReplicaSet", message);
    }

    /// Deletes the oldest ReplicaSets that nothing runs of any more, beyond those kept for a rollback.
    fn forget_oldest(&self, writes: &mut Vec<Write>) {
        let Some(limit) = self.strategy.history_limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
        let mut old: Vec<&Set> = self.old_by_age().into_iter().filter_map(|at| self.sets.get(at)).collect();
        old.retain(|set| !set.object.is_terminating());
        old.sort_by_key(|set| set.revision());
        let excess = old.len().saturating_sub(limit);
        for set in old.into_iter().take(excess) {
            let is_seen = set.object.generation() <= set.status("observedGeneration");
            if let (0, 0, true, Some(key)) = (set.replicas(), set.status("replicas"), is_seen, set.object.key()) {
                let (uid, propagation) = (Some(set.object.uid().to_string()), Propagation::Background);
                writes.push(Write::Delete(Delete { key, uid, grace_seconds: None, propagation }));
            }
        }
    }

    /// The writes for the ReplicaSets, and one for the Deployment.
    fn finish(self, status: serde_json::Map<String, Value>, writes: &mut Vec<Write>) {
        let revision = self.new_set().and_then(|set| set.object.annotation(REVISION)).map(str::to_string);
        let deleted: Vec<_> = writes.iter().filter_map(Write::key).collect();
        let mut changed = Object::clone(self.deployment);
        let mut part = Part::Status;
        if let Some(revision) = revision
            && changed.annotation(REVISION) != Some(revision.as_str())
        {
            changed.set_annotation(REVISION, &revision);
            part = Part::All;
        }
        changed.json_mut().insert("status".into(), Value::Object(status));
        let sets = self.sets.into_iter().filter_map(Set::into_write);
        writes.extend(sets.filter(|write| !write.key().is_some_and(|key| deleted.contains(&key))));
        if changed != **self.deployment {
            writes.push(Write::Update(changed, part));
        }
    }
}

/// Pods of old ReplicaSets are still running, or still ending.
fn has_old_pods(rollout: &Rollout) -> bool {
    let old: HashMap<&str, &Set> = rollout
        .old_by_age()
        .into_iter()
        .filter_map(|at| rollout.sets.get(at))
        .map(|set| (set.object.uid(), set))
        .collect();
    if old.is_empty() {
        return false;
    }
    let in_namespace = rollout.snapshot.list_in(&kind::POD, rollout.deployment.namespace());
    let mut unfinished = in_namespace.filter(|pod| !pods::is_finished(pod));
    old.values().any(|set| set.status("replicas") > 0)
        || unfinished.any(|pod| pod.controller_uid().is_some_and(|uid| old.contains_key(uid)))
}
