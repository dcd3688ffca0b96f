//! `status.conditions`, which every kind keeps in the same way.

use serde_json::{Map, Value, json};

use crate::object::Object;

pub(super) fn find<'a>(object: &'a Object, condition_type: &str) -> Option<&'a Map<String, Value>> {
    let list = object.at(&["status", "conditions"])?.as_array()?;
    list.iter().filter_map(Value::as_object).find(|c| text(c, "type") == condition_type)
}

pub(super) fn text<'a>(condition: &'a Map<String, Value>, field: &str) -> &'a str {
    condition.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Is this condition there, with this status?
pub(super) fn is(object: &Object, condition_type: &str, status: &str) -> bool {
    find(object, condition_type).is_some_and(|c| text(c, "status") == status)
}

/// Sets a pod's or node's condition in its list; the time of the last transition stays when the status does.
pub(super) fn set(
    conditions: &mut Vec<Value>,
    condition_type: &str,
    status: &str,
    reason_and_message: Option<(&str, &str)>,
    now: &str,
) {
    let is_it = |c: &Value| c.get("type").and_then(Value::as_str) == Some(condition_type);
    let before = conditions.iter().position(is_it);
    let since = before
        .and_then(|at| conditions.get(at))
        .filter(|c| c.get("status").and_then(Value::as_str) == Some(status))
        .and_then(|c| c.get("lastTransitionTime").cloned())
        .unwrap_or_else(|| now.into());
    let mut condition = json!({"type": condition_type, "status": status, "lastProbeTime": null});
    if let Some(condition) = condition.as_object_mut() {
        condition.insert("lastTransitionTime".into(), since);
        if let Some((reason, message)) = reason_and_message {
            condition.insert("reason".into(), reason.into());
            condition.insert("message".into(), message.into());
        }
    }
    match before.and_then(|at| conditions.get_mut(at)) {
        Some(slot) => *slot = condition,
        None => conditions.push(condition),
    }
}
