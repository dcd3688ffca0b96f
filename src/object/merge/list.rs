//! Lists whose elements are told apart by a key: finding an element's counterpart, and the order of the result.

use serde_json::{Map, Value};

/// The element of `list` that is the same thing as `wanted`.
///
/// The key alone decides, but for ports: 53/TCP and 53/UDP are two things with the same number, so that among several
/// elements with one number the protocol decides.
pub(super) fn find(list: &[Value], key: &str, wanted: &Map<String, Value>) -> Option<usize> {
    let value = wanted.get(key)?;
    let mut same = list.iter().enumerate().filter(|(_, element)| element.get(key) == Some(value));
    let first = same.next()?;
    let Some(second) = same.next() else {
        return Some(first.0);
    };
    let protocol = protocol(wanted);
    let exact =
        [first, second].into_iter().chain(same).find(|(_, e)| e.as_object().map(self::protocol) == Some(protocol));
    Some(exact.unwrap_or(first).0)
}

/// As [`find`], for two lists that are both complete: a port of another protocol is never the same port.
pub fn find_exactly(list: &[Value], key: &str, wanted: &Map<String, Value>) -> Option<usize> {
    let value = wanted.get(key)?;
    list.iter().position(|element| {
        element.get(key) == Some(value)
            && (!has_protocol(key) || element.as_object().map(protocol) == Some(protocol(wanted)))
    })
}

fn has_protocol(key: &str) -> bool {
    matches!(key, "port" | "containerPort")
}

fn protocol(port: &Map<String, Value>) -> &str {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")
}

/// Puts a merged list into the order that the patch asks for. What only the live object has keeps its place relative
/// to its neighbours there.
pub(super) fn order(
    merged: Vec<Value>,
    wanted: &[Value],
    live: &[Value],
    same: impl Fn(&Value, &Value) -> bool,
) -> Vec<Value> {
    let position = |list: &[Value], value: &Value| list.iter().position(|other| same(other, value));
    let (mut named, mut rest): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|value| position(wanted, value).is_some());
    named.sort_by_key(|value| position(wanted, value));
    rest.sort_by_key(|value| position(live, value).unwrap_or(usize::MAX));
    let mut ordered = Vec::with_capacity(named.len() + rest.len());
    let mut rest = rest.into_iter().peekable();
    for value in named {
        if let Some(at) = position(live, &value) {
            while let Some(earlier) = rest.next_if(|r| position(live, r).is_some_and(|p| p < at)) {
                ordered.push(earlier);
            }
        }
        ordered.push(value);
    }
    ordered.extend(rest);
    ordered
}
