//! Merging a manifest into a live object, and strategic merge patches.
//!
//! [`three_way`] is what `kubectl apply` does with the configuration applied last, the one applied now and the live
//! object; [`strategic`] is what the API server does with a patch of type `application/strategic-merge-patch+json`.
//! Both look up in [`shape`](super::shape) which lists merge and by what.

pub(super) mod list;
mod strategic;

pub use strategic::strategic;

use serde_json::{Map, Value};

use super::kind::KindRef;
use super::shape::{Field, Shape, Strategy, of_kind};

/// Where `kubectl apply` keeps the configuration that was applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What kubectl writes into [`LAST_APPLIED`] for a manifest: JSON as Go makes it, for kubectl takes any other text of the
/// same manifest for a change.
pub fn last_applied_text(manifest: &Value) -> String {
    let mut text = String::new();
    // These stand in strings alone.
    for c in manifest.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            other => text.push(other),
        }
    }
    text.push('\n');
    text
}

/// The live object with the changes from `original` (applied last) to `modified` (applied now) made to it: what
/// `modified` says holds, what it no longer says goes, and what others set stays.
pub fn three_way(
    kind: KindRef,
    original: &Map<String, Value>,
    modified: &Map<String, Value>,
    current: &Map<String, Value>,
) -> Map<String, Value> {
    merge_maps(of_kind(kind), original, modified, current)
}

fn merge_maps(
    shape: Shape,
    original: &Map<String, Value>,
    modified: &Map<String, Value>,
    current: &Map<String, Value>,
) -> Map<String, Value> {
    let mut result = current.clone();
    for gone in original.keys().filter(|name| !modified.contains_key(*name)) {
        result.remove(gone);
    }
    for (name, wanted) in modified {
        let field = shape.field(name);
        if wanted.is_null() {
            result.remove(name);
            continue;
        }
        let merged = match (wanted, current.get(name)) {
            (_, None) => without_nulls(wanted.clone()),
            (Value::Object(wanted), Some(Value::Object(live))) if field.strategy != Strategy::Replace => {
                let merged = merge_maps(field.below(), map_of(original.get(name)), wanted, live);
                Value::Object(retained(field, merged, wanted, live))
            }
            (Value::Array(wanted), Some(Value::Array(live))) => {
                Value::Array(merge_lists(field, list_of(original.get(name)), wanted, live))
            }
            (_, Some(_)) => without_nulls(wanted.clone()),
        };
        result.insert(name.clone(), merged);
    }
    result
}

/// Of a union of alternatives only those stay that the manifest names, once it changes anything.
fn retained(
    field: Field,
    mut merged: Map<String, Value>,
    wanted: &Map<String, Value>,
    live: &Map<String, Value>,
) -> Map<String, Value> {
    if field.retain_keys && merged != *live {
        merged.retain(|name, _| wanted.contains_key(name));
    }
    merged
}

fn merge_lists(field: Field, original: &[Value], modified: &[Value], current: &[Value]) -> Vec<Value> {
    match field.strategy {
        Strategy::Default | Strategy::Replace => modified.to_vec(),
        Strategy::Set => {
            let mut merged: Vec<Value> =
                current.iter().filter(|v| modified.contains(v) || !original.contains(v)).cloned().collect();
            let new: Vec<Value> = modified.iter().filter(|v| !merged.contains(v)).cloned().collect();
            merged.extend(new);
            list::order(merged, modified, current, |a, b| a == b)
        }
        Strategy::ByKey(key) => merge_keyed(field, key, original, modified, current),
    }
}

fn merge_keyed(field: Field, key: &str, original: &[Value], modified: &[Value], current: &[Value]) -> Vec<Value> {
    let element_of =
        |list: &'_ [Value], wanted: &Value| wanted.as_object().and_then(|wanted| list::find_exactly(list, key, wanted));
    let mut merged = Vec::with_capacity(modified.len());
    for wanted in modified {
        let (Some(map), Some(live)) =
            (wanted.as_object(), element_of(current, wanted).and_then(|at| current.get(at)).and_then(Value::as_object))
        else {
            merged.push(without_nulls(wanted.clone()));
            continue;
        };
        let before = map_of(element_of(original, wanted).and_then(|at| original.get(at)));
        let element = merge_maps(field.below(), before, map, live);
        merged.push(Value::Object(retained(field, element, map, live)));
    }
    let others = current
        .iter()
        .filter(|live| element_of(modified, live).is_none() && element_of(original, live).is_none())
        .cloned();
    merged.extend(others);
    list::order(merged, modified, current, |a, b| {
        b.as_object().is_some_and(|b| list::find_exactly(std::slice::from_ref(a), key, b).is_some())
    })
}

fn map_of(value: Option<&Value>) -> &Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.and_then(Value::as_object).unwrap_or(&EMPTY)
}

fn list_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A `null` in a manifest means "not set".
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| (name, without_nulls(v)));
            Value::Object(kept.collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
