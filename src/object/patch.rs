//! JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386), on plain JSON.

use serde_json::{Map, Value};

/// Why a patch cannot be read or does not fit what it is applied to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatchError(String);

impl PatchError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        PatchError(message.into())
    }
}

/// The most operations that one JSON Patch may hold, as in the API server.
const MAX_OPERATIONS: usize = 10_000;

/// Applies a JSON Merge Patch: maps merge, `null` removes, all else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// The JSON Merge Patch that makes `after` of `before`: `{}` when they are the same.
pub fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return after.clone() };
    let mut patch = Map::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, new) in after {
        match before.get(name) {
            Some(old) if old == new => {}
            // A map that gets fewer or other fields; from anything else the new value replaces the old one.
            Some(old) if old.is_object() && new.is_object() => {
                patch.insert(name.clone(), difference(old, new));
            }
            _ => {
                patch.insert(name.clone(), new.clone());
            }
        }
    }
    Value::Object(patch)
}

/// Applies a JSON Patch: all of its operations, or (on an error) the target is to be thrown away.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let operations = patch.as_array().ok_or_else(|| PatchError::new("a JSON patch is a list of operations"))?;
    if operations.len() > MAX_OPERATIONS {
        let count = operations.len();
        return Err(PatchError::new(format!(
            "the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    operations.iter().try_for_each(|operation| apply(target, operation))
}

fn apply(target: &mut Value, operation: &Value) -> Result<(), PatchError> {
    let text = |field: &str| {
        let text = operation.get(field).and_then(Value::as_str);
        text.ok_or_else(|| PatchError::new(format!("a JSON patch operation lacks \"{field}\": {operation}")))
    };
    let value = || {
        let value = operation.get("value");
        value.cloned().ok_or_else(|| PatchError::new(format!("a JSON patch operation lacks \"value\": {operation}")))
    };
    let path = text("path")?;
    match text("op")? {
        "add" => add(target, path, value()?),
        "remove" => remove(target, path).map(drop),
        "replace" => {
            let slot = pointed(target, path).ok_or_else(|| missing("replace", path))?;
            *slot = value()?;
            Ok(())
        }
        "move" => {
            let from = text("from")?;
            if path.strip_prefix(from).is_some_and(|below| below.starts_with('/')) {
                return Err(PatchError::new(format!("move operation: {from} cannot be moved into itself")));
            }
            let moved = remove(target, from)?;
            add(target, path, moved)
        }
        "copy" => {
            let from = text("from")?;
            let copied = pointed(target, from).ok_or_else(|| missing("copy", from))?.clone();
            add(target, path, copied)
        }
        "test" => {
            let wanted = value()?;
            let found = pointed(target, path).map_or(Value::Null, |v| v.clone());
            if found == wanted { Ok(()) } else { Err(PatchError::new(format!("testing value {path} failed"))) }
        }
        other => Err(PatchError::new(format!("unexpected kind of JSON patch operation: {other}"))),
    }
}

fn missing(operation: &str, path: &str) -> PatchError {
    PatchError::new(format!("{operation} operation does not apply: doc is missing path: {path}: missing value"))
}

/// Splits a JSON pointer into its parent's pointer and the (unescaped) last part.
fn split(path: &str) -> Result<(&str, String), PatchError> {
    let (parent, last) =
        path.rsplit_once('/').ok_or_else(|| PatchError::new(format!("\"{path}\" is no JSON pointer")))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn pointed<'a>(target: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    target.pointer_mut(path)
}

fn index(last: &str, at_most: usize) -> Option<usize> {
    let plain = last == "0" || (!last.starts_with('0') && last.bytes().all(|b| b.is_ascii_digit()));
    last.parse().ok().filter(|index| plain && *index <= at_most)
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (parent, last) = split(path)?;
    match pointed(target, parent) {
        Some(Value::Object(map)) => {
            map.insert(last, value);
            Ok(())
        }
        Some(Value::Array(list)) => {
            let at = if last == "-" { Some(list.len()) } else { index(&last, list.len()) };
            list.insert(at.ok_or_else(|| missing("add", path))?, value);
            Ok(())
        }
        _ => Err(missing("add", path)),
    }
}

fn remove(target: &mut Value, path: &str) -> Result<Value, PatchError> {
    if path.is_empty() {
        return Ok(target.take());
    }
    let (parent, last) = split(path)?;
    match pointed(target, parent) {
        Some(Value::Object(map)) => map.remove(&last).ok_or_else(|| missing("remove", path)),
        Some(Value::Array(list)) => match index(&last, list.len().saturating_sub(1)) {
            Some(at) if at < list.len() => Ok(list.remove(at)),
            _ => Err(missing("remove", path)),
        },
        _ => Err(missing("remove", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(target: Value, patch: Value) -> Result<Value, PatchError> {
        let mut target = target;
        json_patch(&mut target, &patch).map(|()| target)
    }

    #[test]
    fn the_examples_of_rfc_6902() {
        for (target, patch, expected) in [
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "q"}]),
                json!({"foo": "bar", "baz": "q"}),
            ),
            (
                json!({"foo": ["a", "c"]}),
                json!([{"op": "add", "path": "/foo/1", "value": "b"}]),
                json!({"foo": ["a", "b", "c"]}),
            ),
            (
                json!({"foo": ["a"]}),
                json!([{"op": "add", "path": "/foo/-", "value": ["b"]}]),
                json!({"foo": ["a", ["b"]]}),
            ),
            (json!({"foo": ["a", "b"]}), json!([{"op": "remove", "path": "/foo/1"}]), json!({"foo": ["a"]})),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/a", "value": 2}]), json!({"a": 2})),
            (
                json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
                json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
                json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
            ),
            (
                json!({"foo": ["all", "grass", "cows", "eat"]}),
                json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
                json!({"foo": ["all", "cows", "eat", "grass"]}),
            ),
            (
                json!({"a": {"b": 1}}),
                json!([{"op": "copy", "from": "/a", "path": "/c"}]),
                json!({"a": {"b": 1}, "c": {"b": 1}}),
            ),
            (
                json!({"/": 9, "~1": 10}),
                json!([{"op": "test", "path": "/~01", "value": 10}]),
                json!({"/": 9, "~1": 10}),
            ),
            (json!({"a": 1}), json!([{"op": "add", "path": "", "value": {"b": 2}}]), json!({"b": 2})),
        ] {
            assert_eq!(patched(target, patch.clone()).unwrap(), expected, "{patch}");
        }
    }

    #[test]
    fn what_does_not_apply_is_an_error() {
        for patch in [
            json!([{"op": "test", "path": "/a", "value": 2}]),
            json!([{"op": "remove", "path": "/nothing"}]),
            json!([{"op": "replace", "path": "/nothing", "value": 1}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            json!([{"op": "add", "path": "/list/5", "value": 1}]),
            json!([{"op": "add", "path": "/list/01", "value": 1}]),
            json!([{"op": "remove", "path": "/list/-"}]),
            json!([{"op": "remove", "path": "/empty/0"}]),
            json!([{"op": "add", "path": "a", "value": 1}]),
            json!([{"op": "add", "path": "/a"}]),
            json!([{"op": "dance", "path": "/a"}]),
            json!([{"op": "move", "from": "/list", "path": "/list/0"}]),
            json!({"op": "add"}),
            json!([1]),
        ] {
            let target = json!({"a": 1, "list": [1, 2], "empty": []});
            assert!(patched(target, patch.clone()).is_err(), "{patch}");
        }
    }

    #[test]
    fn the_examples_of_rfc_7386() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, expected, "{target} + {patch}");
        }
    }

    #[test]
    fn a_difference_makes_the_one_of_the_other() {
        for (before, after, patch) in [
            (json!({"a": 1}), json!({"a": 1}), json!({})),
            (
                json!({"a": 1, "b": {"c": 2, "d": 3}}),
                json!({"b": {"c": 4}}),
                json!({"a": null, "b": {"c": 4, "d": null}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [2]}), json!({"a": [2]})),
            (json!({"a": {"b": 1}}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"b": {}}}), json!({"a": {"b": {}}})),
        ] {
            assert_eq!(difference(&before, &after), patch);
            let mut patched = before.clone();
            merge(&mut patched, &patch);
            assert_eq!(patched, after);
        }
    }
}
