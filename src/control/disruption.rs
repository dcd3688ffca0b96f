//! PodDisruptionBudgets: how many pods each lets go at the moment. Evictions ask anew, and do not trust this status.

use serde_json::{Value, json};

use super::Context;
use crate::object::disruption::budget;
use crate::object::write::Part;
use crate::object::{Object, Snapshot, Write, kind, map_at_mut};

pub fn disruption(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    snapshot.list(&kind::POD_DISRUPTION_BUDGET).filter_map(|pdb| status(snapshot, pdb, ctx)).collect()
}

fn status(snapshot: &Snapshot, pdb: &Object, ctx: &Context) -> Option<Write> {
    let is = budget(snapshot, pdb);
    let (state, reason, message) = match (&is.failure, is.allowed) {
        (Some(failure), _) => ("False", "SyncFailed", failure.as_str()),
        (None, 0) => ("False", "InsufficientPods", ""),
        (None, _) => ("True", "SufficientPods", ""),
    };
    let conditions = pdb.at(&["status", "conditions"]).and_then(Value::as_array);
    let before = conditions.and_then(|all| all.iter().find(|one| one["type"] == "DisruptionAllowed"));
    let since = before.filter(|one| one["status"] == state).and_then(|one| one.get("lastTransitionTime")).cloned();
    let condition = json!({"type": "DisruptionAllowed", "status": state, "reason": reason, "message": message,
        "lastTransitionTime": since.unwrap_or_else(|| ctx.now_text().into()), "observedGeneration": pdb.generation()});
    let mut changed = pdb.clone();
    let status = map_at_mut(changed.json_mut(), "status");
    for (field, value) in [
        ("conditions", json!([condition])),
        ("currentHealthy", is.healthy.into()),
        ("desiredHealthy", is.desired.into()),
        ("disruptionsAllowed", is.allowed.into()),
        ("expectedPods", is.expected.into()),
        ("observedGeneration", pdb.generation().into()),
    ] {
        status.insert(field.into(), value);
    }
    (changed != *pdb).then_some(Write::Update(changed, Part::Status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Cluster, deployment};

    #[test]
    fn the_status_follows_the_pods() {
        let pdb = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}});
        let mut cluster = Cluster::lab([deployment("web", 3), pdb]);
        let allowed = |cluster: &Cluster| {
            let pdb = cluster.get(&kind::POD_DISRUPTION_BUDGET, "default", "web");
            (pdb.i64_at(&["status", "disruptionsAllowed"]), pdb.i64_at(&["status", "currentHealthy"]))
        };
        cluster.settle();
        assert_eq!(allowed(&cluster), (Some(0), Some(0)));
        cluster.run();
        assert_eq!(allowed(&cluster), (Some(1), Some(3)));
    }
}
