//! Sets of fields, and how they are written down (`fieldsV1`).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::text;
use crate::object::shape::Shape;

/// One step of a path, as it stands in `fieldsV1`: `f:NAME` a field, `k:{...}` the list's element with these keys,
/// `v:VALUE` this element of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(String);

impl Step {
    pub fn field(name: &str) -> Self {
        Step(format!("f:{name}"))
    }

    /// The step to an element of a list, if it can be told apart: by its keys, or as a plain value.
    pub fn element(list: Shape, element: &Value) -> Option<Self> {
        match (list, element) {
            (Shape::Keyed(keyed), Value::Object(element)) => {
                let keys = keyed.keys_of(element);
                let keys: Map<String, Value> =
                    keys.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
                (!keys.is_empty()).then(|| Step(format!("k:{}", Value::Object(keys))))
            }
            (Shape::Set, Value::String(_) | Value::Number(_) | Value::Bool(_)) => Some(Step(format!("v:{element}"))),
            _ => None,
        }
    }

    /// A step as a client wrote it. What is of no known sort is to be left out.
    fn parse(text: &str) -> Option<Self> {
        let (sort, rest) = text.split_at_checked(2)?;
        match sort {
            "f:" | "i:" => Some(Step(text.to_string())),
            // Written anew, so that the same step is the same text.
            "k:" => Some(Step(format!("k:{}", Value::Object(serde_json::from_str(rest).ok()?)))),
            "v:" => Some(Step(format!("v:{}", serde_json::from_str::<Value>(rest).ok()?))),
            _ => None,
        }
    }

    pub fn field_name(&self) -> Option<&str> {
        self.0.strip_prefix("f:")
    }

    /// The shape of what the step leads to, from a place of `shape`.
    fn leads_to(&self, shape: Shape) -> Shape {
        self.field_name().map_or_else(|| shape.item(), |name| shape.at(name))
    }
}

/// As people read it: `.spec`, `[name="web"]`, `[="a.io/finalizer"]`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step(step) = self;
        match step.split_at_checked(2) {
            Some(("f:", name)) => write!(f, ".{name}"),
            Some(("k:", keys)) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> =
                    keys.iter().map(|(name, value)| format!("{name}={}", text::key(value))).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Some(("v:", value)) => {
                let value = serde_json::from_str(value).unwrap_or_default();
                write!(f, "[={}]", text::key(&value))
            }
            Some((_, rest)) => write!(f, "[{rest}]"),
            None => Ok(()),
        }
    }
}

/// Some of the fields of an object: a tree whose nodes may be members themselves. The root is never one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    pub member: bool,
    children: BTreeMap<Step, Set>,
}

impl Set {
    pub fn leaf() -> Self {
        Set { member: true, children: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    pub fn get(&self, step: &Step) -> Option<&Set> {
        self.children.get(step)
    }

    /// Puts what is below `step`; an empty set is not kept.
    pub fn put(&mut self, step: Step, below: Set) {
        if !below.is_empty() {
            self.children.insert(step, below);
        }
    }

    /// A set with the one field at a path of names.
    pub fn of_fields(path: &[&str]) -> Self {
        match path.split_first() {
            None => Set::leaf(),
            Some((first, rest)) => {
                Set { member: false, children: BTreeMap::from([(Step::field(first), Set::of_fields(rest))]) }
            }
        }
    }

    pub fn union(&self, other: &Set) -> Set {
        let mut all = self.clone();
        all.member |= other.member;
        for (step, below) in &other.children {
            let merged = all.children.get(step).map_or_else(|| below.clone(), |mine| mine.union(below));
            all.children.insert(step.clone(), merged);
        }
        all
    }

    pub fn intersection(&self, other: &Set) -> Set {
        let mut both = Set { member: self.member && other.member, children: BTreeMap::new() };
        for (step, below) in &self.children {
            if let Some(others) = other.children.get(step) {
                both.put(step.clone(), below.intersection(others));
            }
        }
        both
    }

    /// What is in this set and not in the other; of a member that is gone the fields below stay.
    pub fn difference(&self, other: &Set) -> Set {
        let mut rest = Set { member: self.member && !other.member, children: BTreeMap::new() };
        for (step, below) in &self.children {
            let others = other.children.get(step);
            rest.put(step.clone(), others.map_or_else(|| below.clone(), |others| below.difference(others)));
        }
        rest
    }

    /// Keeps at the root only the fields that `keep` says yes to.
    pub fn retain_top(&mut self, keep: impl Fn(&str) -> bool) {
        self.children.retain(|step, _| step.field_name().is_none_or(&keep));
    }

    /// With the named fields above each member as members too.
    pub fn with_named_fields(&self, shape: Shape) -> Set {
        let mut all = Set { member: self.member, children: BTreeMap::new() };
        for (step, below) in &self.children {
            let mut below = below.with_named_fields(step.leads_to(shape));
            // A key of a map is no named field; an element of a list has no name.
            let is_field = step.field_name().is_some_and(|name| shape.is_field(name));
            below.member |= is_field && !below.children.is_empty();
            all.put(step.clone(), below);
        }
        all
    }

    /// The members' paths, each as people read it.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.add_paths("", &mut paths);
        paths
    }

    fn add_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        let steps = || self.children.iter().map(|(step, below)| (format!("{prefix}{step}"), below));
        paths.extend(steps().filter(|(_, below)| below.member).map(|(path, _)| path));
        for (path, below) in steps() {
            below.add_paths(&path, paths);
        }
    }

    /// The set as `fieldsV1` has it.
    pub fn to_json(&self) -> Value {
        let mut json: Map<String, Value> =
            self.children.iter().map(|(step, below)| (step.0.clone(), below.to_json())).collect();
        if self.member && !json.is_empty() {
            json.insert(".".into(), Value::Object(Map::new()));
        }
        Value::Object(json)
    }

    /// Reads `fieldsV1`.
    pub fn from_json(json: &Map<String, Value>) -> Set {
        let mut set = Set { member: json.contains_key("."), children: BTreeMap::new() };
        for (step, below) in json {
            if let (Some(step), Some(below)) = (Step::parse(step), below.as_object()) {
                let mut below = Set::from_json(below);
                below.member |= below.children.is_empty();
                set.put(step, below);
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(json: Value) -> Set {
        Set::from_json(json.as_object().unwrap())
    }

    #[test]
    fn a_set_is_read_and_written() {
        let json = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {"v:\"a.io/x\"": {}}},
            "f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}});
        assert_eq!(set(json.clone()).to_json(), json);
        assert_eq!(
            set(json).paths(),
            [
                ".metadata.labels",
                ".metadata.finalizers[=\"a.io/x\"]",
                ".metadata.labels.app",
                ".spec.ports[containerPort=80,protocol=\"TCP\"]",
                ".spec.ports[containerPort=80,protocol=\"TCP\"].containerPort"
            ]
        );
        // The same step in another writing, and what nobody knows.
        let odd = json!({"k:{\"b\": 1, \"a\": 2}": {}, "x:y": {}, "f": {}, "k:nothing": {}, "f:no-object": 1});
        assert_eq!(set(odd).to_json(), json!({"k:{\"a\":2,\"b\":1}": {}}));
    }

    #[test]
    fn sets_are_joined_and_taken_apart() {
        let a = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
        let b = set(json!({"f:a": {"f:b": {}}, "f:e": {}}));
        assert_eq!(a.union(&b).to_json(), json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}, "f:e": {}}));
        assert_eq!(a.intersection(&b).to_json(), json!({"f:a": {"f:b": {}}}));
        assert_eq!(a.difference(&b).to_json(), json!({"f:a": {".": {}, "f:c": {}}, "f:d": {}}));
        assert!(a.difference(&a).is_empty());
    }
}
