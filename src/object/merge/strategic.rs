//! Strategic merge patches: merge patches that know which lists merge by key, with directives for what that cannot say.

use serde_json::{Map, Value};

use super::keys::{Field, Place, Strategy};
use super::list;
use crate::object::kind::KindRef;
use crate::object::patch::PatchError;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// `target` with `patch` applied. Knows the directives `$patch: delete|replace|merge`, `$retainKeys`,
/// `$setElementOrder/FIELD` and `$deleteFromPrimitiveList/FIELD`.
pub fn strategic(
    kind: KindRef,
    target: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, PatchError> {
    merge_maps(Place::Object(kind), target.clone(), patch)
}

fn merge_maps(
    place: Place,
    mut target: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(PATCH).map(|v| v.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => target = Map::new(),
        Some("delete") => return Ok(Map::new()),
        Some(other) => return Err(unknown_directive(other)),
    }
    if let Some(kept) = patch.get(RETAIN_KEYS) {
        let kept = kept.as_array().ok_or_else(|| PatchError::new("$retainKeys is no list"))?;
        target.retain(|name, _| kept.iter().any(|k| k.as_str() == Some(name)));
    }
    for (name, value) in patch {
        if name.starts_with('$') {
            continue;
        }
        if value.is_null() {
            target.remove(name);
            continue;
        }
        let field = place.field(name);
        let old = target.remove(name);
        let new = match value {
            // A list that is not there yet merges with an empty one, so that directives never become values.
            Value::Object(patch) => {
                let old = match old {
                    Some(Value::Object(old)) => old,
                    _ => Map::new(),
                };
                Value::Object(merge_maps(field.place, old, patch)?)
            }
            Value::Array(patch) if field.strategy != Strategy::Default => {
                let old = match old {
                    Some(Value::Array(old)) => old,
                    _ => Vec::new(),
                };
                Value::Array(merge_lists(name, field, old, patch)?)
            }
            other => super::without_nulls(other.clone()),
        };
        target.insert(name.clone(), new);
    }
    for (directive, values) in patch {
        if let Some(name) = directive.strip_prefix(DELETE_PRIMITIVES) {
            let gone = values.as_array().ok_or_else(|| PatchError::new(format!("{directive} is no list")))?;
            if let Some(Value::Array(list)) = target.get_mut(name) {
                list.retain(|v| !gone.contains(v));
            }
        }
    }
    for (directive, wanted) in patch {
        if let Some(name) = directive.strip_prefix(ORDER) {
            let wanted = wanted.as_array().ok_or_else(|| PatchError::new(format!("{directive} is no list")))?;
            put_in_order(place.field(name), target.get_mut(name), wanted);
        }
    }
    Ok(target)
}

fn merge_lists(name: &str, field: Field, old: Vec<Value>, patch: &[Value]) -> Result<Vec<Value>, PatchError> {
    let Strategy::ByKey(key) = field.strategy else {
        let mut merged = old;
        let new: Vec<Value> = patch.iter().filter(|v| !merged.contains(v)).cloned().collect();
        merged.extend(new);
        return Ok(merged);
    };
    let directive = |element: &Value| element.get(PATCH).and_then(Value::as_str).map(str::to_string);
    let mut merged = if patch.iter().any(|e| directive(e).as_deref() == Some("replace")) { Vec::new() } else { old };
    for element in patch {
        let element_map = element.as_object().ok_or_else(|| {
            PatchError::new(format!("{name}: an element of the patch's list is no object: {element}"))
        })?;
        let directive = directive(element);
        if directive.as_deref() == Some("replace") && !element_map.contains_key(key) {
            continue;
        }
        if !element_map.contains_key(key) {
            return Err(PatchError::new(format!("map: {element} does not contain declared merge key: {key}")));
        }
        let at = list::find(&merged, key, element_map);
        // Two ports of one number are two elements, when the patch names a protocol that is not there yet.
        let at = at.filter(|at| !is_another_port(key, merged.get(*at), element_map, patch));
        match (directive.as_deref(), at) {
            (Some("delete"), Some(at)) => {
                merged.remove(at);
            }
            (Some("delete"), None) => {}
            (None | Some("merge" | "replace"), found) => {
                let old = match found.and_then(|at| merged.get_mut(at)).map(Value::take) {
                    Some(Value::Object(old)) => old,
                    _ => Map::new(),
                };
                let mut element_map = element_map.clone();
                element_map.remove(PATCH);
                let new = Value::Object(merge_maps(field.place, old, &element_map)?);
                match found.and_then(|at| merged.get_mut(at)) {
                    Some(slot) => *slot = new,
                    None => merged.push(new),
                }
            }
            (Some(other), _) => return Err(unknown_directive(other)),
        }
    }
    Ok(merged)
}

/// True when the patch has the number twice (so it means two ports) and the one found has another protocol.
fn is_another_port(key: &str, found: Option<&Value>, wanted: &Map<String, Value>, patch: &[Value]) -> bool {
    if !matches!(key, "port" | "containerPort") || !wanted.contains_key("protocol") {
        return false;
    }
    let twice = patch.iter().filter(|e| e.get(key) == wanted.get(key)).count() > 1;
    let protocol = |port: Option<&Value>| {
        port.and_then(|p| p.get("protocol")).and_then(Value::as_str).unwrap_or("TCP").to_string()
    };
    twice && protocol(found) != wanted.get("protocol").and_then(Value::as_str).unwrap_or("TCP")
}

fn put_in_order(field: Field, list: Option<&mut Value>, wanted: &[Value]) {
    let Some(Value::Array(list)) = list else { return };
    let live = list.clone();
    let same = |a: &Value, b: &Value| match field.strategy {
        Strategy::ByKey(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        _ => a == b,
    };
    *list = list::order(std::mem::take(list), wanted, &live, same);
}

fn unknown_directive(directive: &str) -> PatchError {
    PatchError::new(format!("unknown patch type found: {directive}"))
}
