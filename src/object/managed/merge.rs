//! Putting a configuration into an object, and taking fields out of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::{Set, Step};
use crate::object::shape::Shape;

/// `live` with what `config` says: nothing goes away by it.
pub fn merge(shape: Shape, live: &Value, config: &Value) -> Value {
    if shape.is_leaf(config) && !config.is_null() {
        return config.clone();
    }
    match (live, config) {
        // To say null, or nothing, of something that has parts is to say nothing of the parts.
        (Value::Object(live), Value::Null) if !live.is_empty() => Value::Object(live.clone()),
        (Value::Array(live), Value::Null) if !live.is_empty() && !shape.is_leaf(config) => Value::Array(live.clone()),
        (Value::Object(live), Value::Object(config)) => Value::Object(merge_maps(shape, live, config)),
        (Value::Array(live), Value::Array(config)) => Value::Array(merge_lists(shape, live, config)),
        _ => config.clone(),
    }
}

fn merge_maps(shape: Shape, live: &Map<String, Value>, config: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, value) in config {
        let value = match live.get(name) {
            Some(live) => merge(shape.at(name), live, value),
            None => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    merged
}

/// The elements of both, those of the configuration in its order, the others at their places between them.
fn merge_lists(shape: Shape, live: &[Value], config: &[Value]) -> Vec<Value> {
    let step = |element: &Value| Step::element(shape, element);
    let wanted: BTreeMap<Step, &Value> = config.iter().filter_map(|e| Some((step(e)?, e))).collect();
    let mut found = BTreeMap::<Step, Option<&Value>>::new();
    for element in live {
        if let Some(step) = step(element) {
            // Of several with one key none is merged with.
            found.entry(step).and_modify(|one| *one = None).or_insert(Some(element));
        }
    }
    let is_live = |element: &&Value| step(element).is_some_and(|step| found.contains_key(&step));
    let is_wanted = |element: &Value| step(element).is_some_and(|step| wanted.contains_key(&step));
    let put = |element: &Value| {
        let before = step(element).and_then(|step| found.get(&step).copied().flatten());
        before.map_or_else(|| element.clone(), |before| merge(shape.item(), before, element))
    };
    // The live list gives the places. At the place of the next element that both have stands what the configuration has
    // up to it; one that both have at another place has its place where the configuration says.
    let mut merged = Vec::with_capacity(live.len().max(config.len()));
    let mut rest = config.iter();
    let mut shared = config.iter().filter(is_live).filter_map(step).peekable();
    for element in live {
        if !is_wanted(element) {
            merged.push(element.clone());
            continue;
        }
        let here = step(element);
        if here.is_some() && shared.peek() == here.as_ref() {
            shared.next();
            for next in rest.by_ref() {
                merged.push(put(next));
                if step(next) == here {
                    break;
                }
            }
        }
    }
    merged.extend(rest.map(put));
    merged
}

/// `value` without the fields of the set. What has nothing left in it becomes null.
pub fn remove(shape: Shape, value: &Value, gone: &Set) -> Value {
    if shape.is_leaf(value) {
        return value.clone();
    }
    match value {
        Value::Object(map) => {
            let mut kept = Map::new();
            for (name, value) in map {
                let step = Step::field(name);
                match gone.get(&step) {
                    Some(below) if below.member => {}
                    Some(below) => drop(kept.insert(name.clone(), remove(shape.at(name), value, below))),
                    None => drop(kept.insert(name.clone(), value.clone())),
                }
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Value::Array(list) => {
            let kept = list.iter().filter_map(|element| {
                match Step::element(shape, element).as_ref().and_then(|step| gone.get(step)) {
                    Some(below) if below.member => None,
                    Some(below) => Some(remove(shape.item(), element, below)).filter(|element| !element.is_null()),
                    None => Some(element.clone()),
                }
            });
            let kept: Vec<Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        other => other.clone(),
    }
}
