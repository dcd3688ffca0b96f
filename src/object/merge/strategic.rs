//! Strategic merge patches: merge patches that know which lists merge by key, with directives for what that cannot say.

use serde_json::{Map, Value};

use super::list;
use crate::object::kind::KindRef;
use crate::object::managed::text;
use crate::object::patch::PatchError;
use crate::object::shape::{Field, Shape, Strategy, of_kind};

type Fields = Map<String, Value>;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// `target` with `patch` applied. Knows the directives `$patch: delete|replace`, `$retainKeys`,
/// `$setElementOrder/FIELD` and `$deleteFromPrimitiveList/FIELD`.
pub fn strategic(
    kind: KindRef,
    target: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, PatchError> {
    merge_maps(of_kind(kind), target.clone(), patch)
}

fn merge_maps(shape: Shape, mut target: Fields, patch: &Fields) -> Result<Fields, PatchError> {
    match patch.get(PATCH) {
        None => {}
        Some(Value::String(text)) if text == "replace" => target = Map::new(),
        Some(Value::String(text)) if text == "delete" => return Ok(Map::new()),
        Some(other) => return Err(unknown_directive(other, patch)),
    }
    if let Some(kept) = patch.get(RETAIN_KEYS) {
        retain_keys(&mut target, patch, kept)?;
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let (field, old) = (shape.field(name), target.remove(name));
        if let Some(new) = merged_value(name, field, old, value)? {
            target.insert(name.clone(), new);
        }
    }
    for (directive, values) in patch {
        if let Some(name) = directive.strip_prefix(DELETE_PRIMITIVES) {
            let bad = || PatchError::malformed("invalid patch format of primitive list");
            let gone = values.as_array().ok_or_else(bad)?;
            if let Some(Value::Array(list)) = target.get_mut(name) {
                list.retain(|v| !gone.contains(v));
            }
        }
    }
    for (directive, wanted) in patch {
        if let Some(name) = directive.strip_prefix(ORDER) {
            let bad = || PatchError::malformed("invalid patch format of setElementOrder list");
            let wanted = wanted.as_array().ok_or_else(bad)?;
            let field = shape.field(name);
            in_order(field, patch.get(name), wanted)?;
            put_in_order(field, target.get_mut(name), wanted);
        }
    }
    Ok(target)
}

/// What a field is after the patch; `None` when it is not there.
fn merged_value(name: &str, field: Field, old: Option<Value>, patch: &Value) -> Result<Option<Value>, PatchError> {
    let new = match patch {
        Value::Null => return Ok(None),
        // A directive has nothing to act on where there is nothing.
        Value::Object(patch) if old.is_none() && patch.contains_key(PATCH) => return Ok(None),
        // A map or list that is not there yet merges with an empty one, so that directives never become values.
        Value::Object(patch) => {
            let old = match old {
                Some(Value::Object(old)) if field.strategy != Strategy::Replace => old,
                _ => Map::new(),
            };
            Value::Object(merge_maps(field.below(), old, patch)?)
        }
        Value::Array(patch) if matches!(field.strategy, Strategy::ByKey(_) | Strategy::Set) => {
            let old = match old {
                Some(Value::Array(old)) => old,
                _ => Vec::new(),
            };
            let live = old.clone();
            let mut merged = Value::Array(merge_lists(name, field, old, patch)?);
            put_in_order_of(field, &mut merged, patch, &live);
            merged
        }
        other => super::without_nulls(other.clone()),
    };
    Ok(Some(new))
}

/// Keeps only the alternatives that the directive names; the patch may set no other.
fn retain_keys(target: &mut Fields, patch: &Fields, kept: &Value) -> Result<(), PatchError> {
    let bad = || PatchError::malformed("invalid patch format of retainKeys");
    let kept = kept.as_array().ok_or_else(bad)?;
    let is_kept = |name: &str| kept.iter().any(|k| k.as_str() == Some(name));
    if patch.iter().any(|(name, value)| !value.is_null() && !name.starts_with('$') && !is_kept(name)) {
        return Err(bad());
    }
    target.retain(|name, _| is_kept(name));
    Ok(())
}

fn merge_lists(name: &str, field: Field, old: Vec<Value>, patch: &[Value]) -> Result<Vec<Value>, PatchError> {
    let Strategy::ByKey(key) = field.strategy else {
        let mut merged = old;
        for value in patch {
            if !merged.contains(value) {
                merged.push(value.clone());
            }
        }
        return Ok(merged);
    };
    let mut merged = if patch.iter().any(|e| e.get(PATCH) == Some(&"replace".into())) { Vec::new() } else { old };
    for element in patch {
        let element = element.as_object().ok_or_else(|| {
            PatchError::new(format!("{name}: an element of the patch's list is no object: {element}"))
        })?;
        let directive = element.get(PATCH);
        match directive.map(|d| d.as_str().unwrap_or_default()) {
            // The others of the list take the place of what was there.
            Some("replace") => continue,
            Some("merge") => return Err(PatchError::new("merging lists cannot yet be specified in the patch")),
            None | Some("delete") => {}
            Some(_) => return Err(unknown_directive(directive.unwrap_or(&Value::Null), element)),
        }
        if !element.contains_key(key) {
            return Err(no_merge_key(element, key));
        }
        let at = list::find(&merged, key, element);
        // Two ports of one number are two elements, when the patch names a protocol that is not there yet.
        let at = at.filter(|at| !is_another_port(key, merged.get(*at), element, patch));
        match (directive, at) {
            (Some(_), Some(at)) => drop(merged.remove(at)),
            (Some(_), None) => {}
            (None, found) => {
                let old = match found.and_then(|at| merged.get_mut(at)).map(Value::take) {
                    Some(Value::Object(old)) => old,
                    _ => Map::new(),
                };
                let new = Value::Object(merge_maps(field.below(), old, element)?);
                match found.and_then(|at| merged.get_mut(at)) {
                    Some(slot) => *slot = new,
                    None => merged.push(new),
                }
            }
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

/// The elements of a patch's list must stand in the order that it asks for.
fn in_order(field: Field, patch: Option<&Value>, wanted: &[Value]) -> Result<(), PatchError> {
    let patch = patch.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut named = patch.iter().filter(|element| element.get(PATCH).is_none()).peekable();
    if wanted.is_empty() {
        return Ok(());
    }
    if let Strategy::ByKey(key) = field.strategy {
        let without_key = patch.iter().chain(wanted).filter_map(Value::as_object).find(|e| !e.contains_key(key));
        if let Some(element) = without_key.filter(|e| !e.contains_key(PATCH)) {
            return Err(no_merge_key(element, key));
        }
    }
    for element in wanted {
        named.next_if(|next| is_same(field, next, element));
    }
    match named.peek() {
        None => Ok(()),
        Some(_) => Err(PatchError::new(format!(
            "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
            text::go(&Value::Array(patch.to_vec())),
            text::go(&Value::Array(wanted.to_vec()))
        ))),
    }
}

fn is_same(field: Field, a: &Value, b: &Value) -> bool {
    match field.strategy {
        Strategy::ByKey(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        _ => a == b,
    }
}

fn put_in_order(field: Field, list: Option<&mut Value>, wanted: &[Value]) {
    if let Some(list) = list {
        let live = list.as_array().cloned().unwrap_or_default();
        put_in_order_of(field, list, wanted, &live);
    }
}

fn put_in_order_of(field: Field, list: &mut Value, wanted: &[Value], live: &[Value]) {
    if let Value::Array(list) = list {
        *list = list::order(std::mem::take(list), wanted, live, |a, b| is_same(field, a, b));
    }
}

fn no_merge_key(element: &Fields, key: &str) -> PatchError {
    let element = text::go(&Value::Object(element.clone()));
    PatchError::new(format!("map: {element} does not contain declared merge key: {key}"))
}

fn unknown_directive(directive: &Value, patch: &Fields) -> PatchError {
    let (directive, patch) = (text::go(directive), text::go(&Value::Object(patch.clone())));
    PatchError::new(format!("unknown patch type: {directive} in map: {patch}"))
}
