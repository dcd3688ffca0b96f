//! Which fields a configuration has, and in which two objects differ.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::{Set, Step};
use crate::object::shape::Shape;

/// The fields in which two objects differ; none is in two of the sets.
#[derive(Debug, Default)]
pub struct Diff {
    pub removed: Set,
    pub modified: Set,
    pub added: Set,
}

impl Diff {
    fn put(&mut self, step: &Step, below: Diff) {
        self.removed.put(step.clone(), below.removed);
        self.modified.put(step.clone(), below.modified);
        self.added.put(step.clone(), below.added);
    }

    /// Leaves out what is not at one of these top fields.
    pub fn retain_top(&mut self, keep: impl Fn(&str) -> bool) {
        for set in [&mut self.removed, &mut self.modified, &mut self.added] {
            set.retain_top(&keep);
        }
    }
}

/// The fields that `value` has: its leaves, and the elements of lists and the keys of maps with what is in them.
pub fn fields_of(shape: Shape, value: &Value) -> Set {
    if shape.is_leaf(value) {
        return Set::leaf();
    }
    let mut set = Set::default();
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let mut below = fields_of(shape.at(name), value);
                let is_empty = value.as_object().is_some_and(Map::is_empty);
                below.member |= is_empty || !shape.is_field(name);
                set.put(Step::field(name), below);
            }
        }
        Value::Array(list) => {
            for (step, elements) in by_step(shape, list) {
                let mut below = match elements.as_slice() {
                    [one] => fields_of(shape.item(), one),
                    // Twice the same key: nobody can own what is in it.
                    _ => Set::default(),
                };
                below.member = true;
                set.put(step, below);
            }
        }
        _ => {}
    }
    set
}

/// The elements of a list that can be told apart. There may be several with one key, though none should be.
fn by_step(shape: Shape, list: &[Value]) -> BTreeMap<Step, Vec<&Value>> {
    let mut steps = BTreeMap::<Step, Vec<&Value>>::new();
    for element in list {
        if let Some(step) = Step::element(shape, element) {
            steps.entry(step).or_default().push(element);
        }
    }
    steps
}

/// What has to be done to `old` to make `new` of it.
pub fn compare(shape: Shape, old: &Value, new: &Value) -> Diff {
    let mut diff = compare_at(shape, Some(old), Some(new));
    // Nobody owns the object itself.
    for set in [&mut diff.removed, &mut diff.modified, &mut diff.added] {
        set.member = false;
    }
    diff
}

fn compare_at(shape: Shape, old: Option<&Value>, new: Option<&Value>) -> Diff {
    let mut diff = Diff::default();
    let has_none = |value: Option<&Value>| value.is_none_or(|value| value.is_null() || is_empty(value));
    if matches!(shape, Shape::Keyed(_) | Shape::Set) && has_none(old) && has_none(new) {
        // Nobody owns a list that has no elements.
        return diff;
    }
    let whole = is_whole(shape, old, new);
    if !whole {
        match (old, new) {
            (Some(Value::Array(_)), _) | (_, Some(Value::Array(_))) => {
                lists(shape, list_of(old), list_of(new), &mut diff);
            }
            _ => maps(shape, old, new, &mut diff),
        }
    }
    match (old, new) {
        (None, _) => diff.added.member = new.is_some(),
        (_, None) => diff.removed.member = true,
        (Some(old), Some(new)) => diff.modified.member = whole && !same(old, new),
    }
    diff
}

/// Is there nothing inside that can be compared by itself?
fn is_whole(shape: Shape, old: Option<&Value>, new: Option<&Value>) -> bool {
    let there = || [old, new].into_iter().flatten().filter(|value| !value.is_null());
    there().any(|value| shape.is_leaf(value))
        || there().all(is_empty)
        || (there().any(Value::is_array) && there().any(Value::is_object))
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
}

fn list_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn maps(shape: Shape, old: Option<&Value>, new: Option<&Value>, diff: &mut Diff) {
    for (name, value) in old.and_then(Value::as_object).into_iter().flatten() {
        diff.put(&Step::field(name), compare_at(shape.at(name), Some(value), new.and_then(|new| new.get(name))));
    }
    let added = new.and_then(Value::as_object).into_iter().flatten();
    for (name, value) in added.filter(|(name, _)| old.and_then(|old| old.get(*name)).is_none()) {
        diff.put(&Step::field(name), compare_at(shape.at(name), None, Some(value)));
    }
}

fn lists(shape: Shape, old: &[Value], new: &[Value], diff: &mut Diff) {
    let (old, new) = (by_step(shape, old), by_step(shape, new));
    let none = Vec::new();
    for step in old.keys().chain(new.keys().filter(|step| !old.contains_key(*step))) {
        let before = old.get(step).unwrap_or(&none).as_slice();
        let after = new.get(step).unwrap_or(&none).as_slice();
        let mut below = match (before, after) {
            ([] | [_], [] | [_]) => compare_at(shape.item(), before.first().copied(), after.first().copied()),
            // Several with one key are compared as one whole, of which nobody owns the inside.
            ([_, _, ..], [_, _, ..]) => Diff::default(),
            ([_, _, ..], _) => compare_at(shape.item(), None, after.first().copied()),
            (_, [_, _, ..]) => compare_at(shape.item(), before.first().copied(), None),
        };
        match (before.len() > 1, after.len() > 1) {
            (true, true) => below.modified.member = before != after,
            (true, false) => below.removed.member = true,
            (false, true) => below.added.member = true,
            (false, false) => {}
        }
        diff.put(step, below);
    }
}

/// Equal, where 1 and 1.0 are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}
