//! Which pods go first when there are too many: those whose loss costs least.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::pods;
use crate::object::Object;

/// Ordered as upstream's `ActivePodsWithRanks`: the smallest is deleted first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    is_bound: bool,
    phase: u8,
    is_ready: bool,
    /// Annotation `controller.kubernetes.io/pod-deletion-cost`.
    deletion_cost: i32,
    /// Pods of the same controller on its node: the fuller node gives first.
    neighbours: Reverse<usize>,
    /// The one that became ready last goes first; pods that never did come before those.
    ready_since: Reverse<Option<Timestamp>>,
    restarts: Reverse<i64>,
    created: Reverse<&'a str>,
    name: &'a str,
}

/// The `count` pods of `active` to delete. `related` are the active pods of all the controller's owner's sets, which is
/// what makes a node full.
pub(super) fn to_delete<'a>(
    active: &[&'a Arc<Object>],
    related: &[&Arc<Object>],
    count: usize,
) -> Vec<&'a Arc<Object>> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for node in related.iter().filter_map(|pod| pods::node(pod)) {
        *on_node.entry(node).or_default() += 1;
    }
    let mut ranked: Vec<_> = active.iter().map(|pod| (rank(pod, &on_node), *pod)).collect();
    ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
    ranked.into_iter().take(count).map(|(_, pod)| pod).collect()
}

fn rank<'a>(pod: &'a Object, on_node: &HashMap<&str, usize>) -> Rank<'a> {
    let cost = pod.annotation("controller.kubernetes.io/pod-deletion-cost");
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    let restarts = |status: &Value| status.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
    Rank {
        is_bound: pods::node(pod).is_some(),
        phase: match pod.str_at(&["status", "phase"]) {
            Some("Running") => 2,
            Some("Unknown") => 1,
            _ => 0,
        },
        is_ready: pods::is_ready(pod),
        deletion_cost: cost.and_then(|cost| cost.parse().ok()).unwrap_or(0),
        neighbours: Reverse(pods::node(pod).and_then(|node| on_node.get(node)).copied().unwrap_or(0)),
        ready_since: Reverse(pods::ready_since(pod)),
        restarts: Reverse(statuses.into_iter().flatten().map(restarts).max().unwrap_or(0)),
        created: Reverse(pod.creation_timestamp()),
        name: pod.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::map_at_mut;
    use serde_json::json;

    /// A ready pod on a node of its own, and what makes it different.
    fn pod(name: &str, change: Value) -> Arc<Object> {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {}},
            "spec": {"nodeName": name},
            "status": {"phase": "Running", "containerStatuses": [{"restartCount": 0}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:09Z"}]}});
        for (part, fields) in change.as_object().unwrap() {
            map_at_mut(pod.as_object_mut().unwrap(), part).extend(fields.as_object().unwrap().clone());
        }
        Arc::new(Object::from_value(pod).unwrap())
    }

    fn first(pods: &[&Arc<Object>]) -> String {
        to_delete(pods, pods, 1)[0].name().to_string()
    }

    #[test]
    fn each_rule_in_turn_decides() {
        let not_ready = json!([{"type": "Ready", "status": "False"}]);
        let ready_later = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}]);
        let cost = |cost: &str| {
            json!({"metadata": {"annotations": {
            "controller.kubernetes.io/pod-deletion-cost": cost}}})
        };
        // Each of these goes before all that follow it, and before one with nothing special.
        let by_importance = [
            pod("unbound", json!({"spec": {"nodeName": ""}})),
            pod("pending", json!({"status": {"phase": "Pending"}})),
            pod("unknown", json!({"status": {"phase": "Unknown"}})),
            pod("not-ready", json!({"status": {"conditions": not_ready}})),
            pod("cheap", cost("-5")),
            pod("ready-later", json!({"status": {"conditions": ready_later}})),
            pod("restarted", json!({"status": {"containerStatuses": [{"restartCount": 3}]}})),
            pod("younger", json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:05Z"}})),
            pod("zz-ordinary", json!({})),
            pod("dear", cost("5")),
        ];
        for (at, expected) in by_importance.iter().enumerate() {
            let rest: Vec<&Arc<Object>> = by_importance[at..].iter().rev().collect();
            assert_eq!(first(&rest), expected.name());
        }
    }

    #[test]
    fn the_fuller_node_gives_first() {
        let on = |name: &str, node: &str| pod(name, json!({"spec": {"nodeName": node}}));
        let (a, b, c) = (on("a", "w1"), on("b", "w2"), on("c", "w2"));
        assert_eq!(first(&[&a, &b, &c]), "b");
        // Pods of a sister set count as well.
        let (d, e) = (on("d", "w1"), on("e", "w1"));
        assert_eq!(to_delete(&[&a, &b, &c], &[&a, &b, &c, &d, &e], 1)[0].name(), "a");
    }
}
