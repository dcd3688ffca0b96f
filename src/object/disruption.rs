//! How many pods a PodDisruptionBudget lets go.

use std::collections::BTreeMap;

use serde_json::Value;

use super::selector::Selector;
use super::{Object, Snapshot, custom, kind};

/// What a budget comes to with the pods that there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Budget {
    pub expected: i64,
    pub healthy: i64,
    pub desired: i64,
    pub allowed: i64,
    /// Why nothing can be said, and so nothing is allowed.
    pub failure: Option<String>,
}

/// Neither ended nor ending, and ready.
pub fn is_healthy(pod: &Object) -> bool {
    let conditions = pod.at(&["status", "conditions"]).and_then(Value::as_array);
    let is_ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
    !pod.is_terminating() && conditions.is_some_and(|all| all.iter().any(is_ready))
}

fn is_finished(pod: &Object) -> bool {
    matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

/// Does the budget speak of this pod?
pub fn is_about(budget: &Object, pod: &Object) -> bool {
    let selector = budget.at(&["spec", "selector"]).filter(|selector| !selector.is_null());
    let selector = selector.and_then(|selector| Selector::from_label_selector(selector).ok());
    budget.namespace() == pod.namespace() && selector.is_some_and(|selector| selector.matches(pod.labels()))
}

pub fn budget(snapshot: &Snapshot, budget: &Object) -> Budget {
    let pods: Vec<&Object> = snapshot
        .list_in(&kind::POD, budget.namespace())
        .map(|pod| &**pod)
        .filter(|pod| is_about(budget, pod) && !is_finished(pod))
        .collect();
    let healthy = count(pods.iter().filter(|pod| is_healthy(pod)).count());
    let least = budget.at(&["spec", "minAvailable"]).filter(|value| !value.is_null());
    let most = budget.at(&["spec", "maxUnavailable"]).filter(|value| !value.is_null());
    let wanted = match (most, least) {
        // A plain number needs no word from whoever made the pods.
        (None, Some(Value::Number(least))) => Ok((count(pods.len()), least.as_i64().unwrap_or(0))),
        (None, None) => Ok((count(pods.len()), 0)),
        (Some(most), _) => expected(snapshot, &pods).map(|expected| (expected, expected - scaled(most, expected))),
        (None, Some(least)) => expected(snapshot, &pods).map(|expected| (expected, scaled(least, expected))),
    };
    match wanted {
        Ok((expected, desired)) => {
            let desired = desired.max(0);
            let allowed = if expected == 0 { 0 } else { (healthy - desired).max(0) };
            Budget { expected, healthy, desired, allowed, failure: None }
        }
        Err(failure) => Budget { healthy, failure: Some(failure), ..Budget::default() },
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// `2` or `50%` of `all`; parts of a pod count as a whole one.
fn scaled(value: &Value, all: i64) -> i64 {
    match value {
        Value::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            (percent.saturating_mul(all).saturating_add(99)) / 100
        }
        other => other.as_i64().unwrap_or(0),
    }
}

/// How many pods the controllers of these want.
fn expected(snapshot: &Snapshot, pods: &[&Object]) -> Result<i64, String> {
    let mut controllers: BTreeMap<&str, i64> = BTreeMap::new();
    for pod in pods {
        let Some(owner) = pod.owner_references().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
        else {
            return Err(format!("found no controller ref for pod \"{}\"", pod.name()));
        };
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or("");
        if controllers.contains_key(text("uid")) {
            continue;
        }
        let (version, name) = (text("apiVersion"), text("kind"));
        let known = kind::by_api_version_kind(version, name);
        let owner_kind = known.or_else(|| custom::by_api_version_kind(snapshot, version, name));
        let found = owner_kind.and_then(|kind| snapshot.find(kind, pod.namespace(), text("name")));
        let replicas = found.and_then(|owner| owner.i64_at(&["spec", "replicas"]));
        let Some(replicas) = replicas else {
            return Err(format!(
                "found no scale for {name} \"{}\", which controls pod \"{}\"",
                text("name"),
                pod.name()
            ));
        };
        controllers.insert(text("uid"), replicas);
    }
    Ok(controllers.values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, ready: bool, owner: Option<&str>) -> Value {
        let owners: Vec<Value> = owner
            .into_iter()
            .map(|uid| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": uid, "uid": uid, "controller": true}))
            .collect();
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default",
            "labels": {"app": "web"}, "ownerReferences": owners},
            "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
    }

    fn of(spec: Value, pods: &[Value]) -> Budget {
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "set",
            "namespace": "default", "uid": "set"}, "spec": {"replicas": 4}});
        let objects = pods.iter().cloned().chain([set]).map(|value| Object::from_value(value).unwrap());
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"app": "web"}});
        let pdb = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "b", "namespace": "default"}, "spec": spec});
        budget(&objects.collect(), &Object::from_value(pdb).unwrap())
    }

    #[test]
    fn a_budget_counts_what_is_ready_against_what_is_wanted() {
        let three = [pod("a", true, Some("set")), pod("b", true, Some("set")), pod("c", true, Some("set"))];
        for (spec, expected) in [
            (json!({"minAvailable": 2}), (3, 3, 2, 1)),
            (json!({"minAvailable": 3}), (3, 3, 3, 0)),
            (json!({"minAvailable": "50%"}), (4, 3, 2, 1)),
            (json!({"maxUnavailable": 1}), (4, 3, 3, 0)),
            (json!({"maxUnavailable": "50%"}), (4, 3, 2, 1)),
            (json!({"maxUnavailable": "10%"}), (4, 3, 3, 0)),
        ] {
            let is = of(spec.clone(), &three);
            assert_eq!((is.expected, is.healthy, is.desired, is.allowed), expected, "{spec}");
        }
        let unready = [pod("a", true, None), pod("b", false, None)];
        assert_eq!(of(json!({"minAvailable": 1}), &unready).allowed, 0);
        let nobodys = of(json!({"maxUnavailable": 1}), &unready);
        assert_eq!((nobodys.allowed, nobodys.failure.as_deref()), (0, Some("found no controller ref for pod \"a\"")));
    }
}
