//! What a Deployment asks for, with its percentages worked out.

use serde_json::Value;

use crate::object::Object;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Strategy {
    pub replicas: i64,
    pub is_recreate: bool,
    /// Pods beyond `replicas` that may exist during an update.
    pub max_surge: i64,
    /// Pods of `replicas` that may be unavailable during an update.
    pub max_unavailable: i64,
    pub is_paused: bool,
    pub min_ready_seconds: i64,
    /// Seconds without progress after which the rollout counts as stuck.
    pub progress_deadline: Option<i64>,
    /// Old ReplicaSets to keep.
    pub history_limit: Option<i64>,
}

/// Beyond this a deadline is "never" (kubectl writes i32::MAX for none).
const NO_DEADLINE: i64 = i32::MAX as i64;

impl Strategy {
    pub fn of(deployment: &Object) -> Self {
        let number = |path: &[&str]| deployment.i64_at(path);
        let replicas = number(&["spec", "replicas"]).unwrap_or(1).max(0);
        let is_recreate = deployment.str_at(&["spec", "strategy", "type"]) == Some("Recreate");
        let part = |field| {
            let value = deployment.at(&["spec", "strategy", "rollingUpdate", field]);
            value.and_then(Part::read).unwrap_or(Part::Percent(25))
        };
        let surge = part("maxSurge").of(replicas, Rounding::Up);
        let unavailable = match part("maxUnavailable").of(replicas, Rounding::Down) {
            // With neither room above nor below nothing could ever be replaced.
            0 if surge == 0 => 1,
            unavailable => unavailable,
        };
        let (max_surge, max_unavailable) =
            if is_recreate || replicas == 0 { (0, 0) } else { (surge, unavailable.min(replicas)) };
        Strategy {
            replicas,
            is_recreate,
            max_surge,
            max_unavailable,
            is_paused: deployment.at(&["spec", "paused"]) == Some(&Value::Bool(true)),
            min_ready_seconds: number(&["spec", "minReadySeconds"]).unwrap_or(0),
            progress_deadline: number(&["spec", "progressDeadlineSeconds"]).filter(|d| *d < NO_DEADLINE),
            history_limit: number(&["spec", "revisionHistoryLimit"]),
        }
    }
}

/// `2` or `"25%"`.
enum Part {
    Number(i64),
    Percent(i64),
}

enum Rounding {
    Up,
    Down,
}

impl Part {
    fn read(value: &Value) -> Option<Self> {
        if let Some(number) = value.as_i64() {
            return Some(Part::Number(number.max(0)));
        }
        let text = value.as_str()?;
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|p| *p >= 0).map(Part::Percent),
            None => text.parse().ok().filter(|n| *n >= 0).map(Part::Number),
        }
    }

    fn of(&self, whole: i64, rounding: Rounding) -> i64 {
        match (self, rounding) {
            (Part::Number(number), _) => *number,
            (Part::Percent(percent), Rounding::Down) => whole.saturating_mul(*percent) / 100,
            (Part::Percent(percent), Rounding::Up) => whole.saturating_mul(*percent).saturating_add(99) / 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{deployment, object};
    use serde_json::json;

    #[test]
    fn percentages_round_in_favour_of_availability() {
        // replicas, maxSurge, maxUnavailable -> surge, unavailable
        for (replicas, surge, unavailable, expected) in [
            (3, json!("25%"), json!("25%"), (1, 0)),
            (4, json!("25%"), json!("25%"), (1, 1)),
            (10, json!("25%"), json!("25%"), (3, 2)),
            (10, json!("30%"), json!(0), (3, 0)),
            (3, json!(0), json!("10%"), (0, 1)),
            (3, json!(0), json!(0), (0, 1)),
            (2, json!(5), json!(5), (5, 2)),
            (3, Value::Null, Value::Null, (1, 0)),
        ] {
            let mut json = deployment("web", replicas);
            json["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": surge, "maxUnavailable": unavailable});
            let strategy = Strategy::of(&object(json));
            assert_eq!((strategy.max_surge, strategy.max_unavailable), expected, "{replicas} {surge} {unavailable}");
        }
    }
}
