//! A Deployment's status: counts, and the conditions Available and Progressing with upstream's reasons and messages.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::Rollout;
use crate::control::{Context, conditions};
use crate::object::Object;

/// How many pods there are of which sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

impl Counts {
    fn of(rollout: &Rollout) -> Self {
        let sum = |field| rollout.sets.iter().map(|set| set.status(field)).sum();
        Counts {
            replicas: sum("replicas"),
            updated: rollout.new_set().map_or(0, |set| set.status("replicas")),
            ready: sum("readyReplicas"),
            available: sum("availableReplicas"),
        }
    }

    fn stored(deployment: &Object) -> Self {
        let count = |field| deployment.i64_at(&["status", field]).unwrap_or(0);
        Counts {
            replicas: count("replicas"),
            updated: count("updatedReplicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
        }
    }
}

/// The rollout has reached what the Deployment asks for.
pub(super) fn is_complete(rollout: &Rollout) -> bool {
    let (counts, wanted) = (Counts::of(rollout), rollout.strategy.replicas);
    counts == Counts { replicas: wanted, updated: wanted, available: wanted, ..counts }
}

/// The whole new status. `progress` is left out while the Deployment is paused or only being scaled.
pub(super) fn compute(rollout: &Rollout, with_progress: bool, ctx: &mut Context) -> Map<String, Value> {
    let (deployment, strategy) = (rollout.deployment, &rollout.strategy);
    let counts = Counts::of(rollout);
    let now = ctx.now_text();
    let mut list = Conditions::of(deployment, &now);
    if counts.available >= strategy.replicas - strategy.max_unavailable {
        list.set("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.");
    } else {
        let message = "Deployment does not have minimum availability.";
        list.set("Available", "False", "MinimumReplicasUnavailable", message);
    }
    progress(rollout, counts, with_progress, &mut list, ctx);
    let mut status = Map::new();
    let collisions = Some(rollout.collisions).filter(|n| *n > 0);
    if let Some(collisions) = collisions {
        status.insert("collisionCount".into(), collisions.into());
    }
    for (field, count) in [
        ("observedGeneration", deployment.generation()),
        ("replicas", counts.replicas),
        ("updatedReplicas", counts.updated),
        ("readyReplicas", counts.ready),
        ("availableReplicas", counts.available),
        ("unavailableReplicas", (rollout.total_replicas() - counts.available).max(0)),
    ] {
        if count > 0 {
            status.insert(field.into(), count.into());
        }
    }
    status.insert("conditions".into(), Value::Array(list.list));
    status
}

fn progress(rollout: &Rollout, counts: Counts, is_rolling: bool, list: &mut Conditions, ctx: &mut Context) {
    const PROGRESSING: &str = "Progressing";
    let Some(deadline) = rollout.strategy.progress_deadline else {
        list.list.retain(|c| c.get("type").and_then(Value::as_str) != Some(PROGRESSING));
        return;
    };
    let reason = list.find(PROGRESSING).map(|c| conditions::text(c, "reason").to_string());
    let is_stuck = reason.as_deref() == Some("ProgressDeadlineExceeded");
    if rollout.strategy.is_paused {
        if !is_stuck {
            list.set(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused");
        }
        return;
    }
    if reason.as_deref() == Some("DeploymentPaused") {
        list.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed");
    }
    if rollout.has_created {
        let message = format!("Created new replica set \"{}\"", rollout.new_name());
        list.set(PROGRESSING, "True", "NewReplicaSetCreated", &message);
    } else if let (None, Some(set)) = (&reason, rollout.new_set()) {
        let message = format!("Found new replica set \"{}\"", set.object.name());
        list.set(PROGRESSING, "True", "FoundNewReplicaSet", &message);
    }
    let was_complete = reason.as_deref() == Some("NewReplicaSetAvailable") && counts.replicas == counts.updated;
    if !is_rolling || was_complete || rollout.has_created {
        return;
    }
    let before = Counts::stored(rollout.deployment);
    let name = match rollout.new_set() {
        Some(set) => format!("ReplicaSet \"{}\"", set.object.name()),
        None => format!("Deployment \"{}\"", rollout.deployment.name()),
    };
    let is_progressing = counts.updated > before.updated
        || counts.replicas - counts.updated < before.replicas - before.updated
        || counts.ready > before.ready
        || counts.available > before.available;
    if is_complete(rollout) {
        list.set(PROGRESSING, "True", "NewReplicaSetAvailable", &format!("{name} has successfully progressed."));
    } else if is_progressing {
        // Progress again sets the clock back.
        list.renew(PROGRESSING, "True", "ReplicaSetUpdated", &format!("{name} is progressing."));
    } else if !is_stuck && let Some(last) = list.find(PROGRESSING) {
        let last = conditions::text(last, "lastUpdateTime").parse::<Timestamp>().ok();
        let due = last.and_then(|last| last.checked_add(SignedDuration::from_secs(deadline)).ok());
        match due {
            Some(due) if due <= ctx.now => {
                let message = format!("{name} has timed out progressing.");
                list.set(PROGRESSING, "False", "ProgressDeadlineExceeded", &message);
            }
            Some(due) => ctx.wake(due),
            None => {}
        }
    }
}

/// Deployment conditions, which have a `lastUpdateTime` besides the time of their last transition.
struct Conditions<'a> {
    list: Vec<Value>,
    now: &'a str,
}

impl<'a> Conditions<'a> {
    fn of(deployment: &Object, now: &'a str) -> Self {
        let list = deployment.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
        Conditions { list, now }
    }

    fn find(&self, condition_type: &str) -> Option<&Map<String, Value>> {
        self.list.iter().filter_map(Value::as_object).find(|c| conditions::text(c, "type") == condition_type)
    }

    /// Does nothing when status and reason are the same already.
    fn set(&mut self, condition_type: &str, status: &str, reason: &str, message: &str) {
        let is_same =
            |c: &Map<_, _>| (conditions::text(c, "status"), conditions::text(c, "reason")) == (status, reason);
        if !self.find(condition_type).is_some_and(is_same) {
            self.renew(condition_type, status, reason, message);
        }
    }

    fn renew(&mut self, condition_type: &str, status: &str, reason: &str, message: &str) {
        let same_status = self.find(condition_type).filter(|c| conditions::text(c, "status") == status);
        let since = same_status.map_or(self.now, |c| conditions::text(c, "lastTransitionTime")).to_string();
        let condition = json!({"type": condition_type, "status": status, "lastUpdateTime": self.now,
            "lastTransitionTime": since, "reason": reason, "message": message});
        let is_it = |c: &Value| c.get("type").and_then(Value::as_str) == Some(condition_type);
        match self.list.iter_mut().find(|c| is_it(c)) {
            Some(slot) => *slot = condition,
            None => self.list.push(condition),
        }
    }
}
