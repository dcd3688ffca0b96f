//! What holds of all patches, on random documents. A failure names its seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use super::{Change, apply, record};
use crate::object::kind::{self, KindRef};
use crate::object::merge::strategic;
use crate::object::patch::{json_patch, merge};
use crate::object::shape::of_kind;

const ROUNDS: u64 = 100;

/// Runs `check` with another randomness each time.
fn always(check: impl Fn(&mut StdRng)) {
    /// Says with which seed it went wrong.
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("with seed {}", self.0);
            }
        }
    }
    let base: u64 = rand::random();
    for round in 0..ROUNDS {
        let seed = Seed(base.wrapping_add(round));
        check(&mut StdRng::seed_from_u64(seed.0));
    }
}

const NAMES: [&str; 14] = [
    "metadata",
    "labels",
    "finalizers",
    "spec",
    "containers",
    "env",
    "ports",
    "name",
    "value",
    "containerPort",
    "volumes",
    "nodeSelector",
    "$patch",
    "$setElementOrder/containers",
];

/// Any JSON, with names that mean something to patches.
fn any(rng: &mut StdRng, depth: u32) -> Value {
    match rng.random_range(0..if depth == 0 { 5 } else { 9 }) {
        0 => Value::Null,
        1 => rng.random::<bool>().into(),
        2 => rng.random_range(-2..5).into(),
        3 => ["", "a", "delete", "replace", "é/~1"][rng.random_range(0..5)].into(),
        4 => NAMES[rng.random_range(0..NAMES.len())].into(),
        5 | 6 => (0..rng.random_range(0..4)).map(|_| any(rng, depth - 1)).collect(),
        _ => {
            let mut map = Map::new();
            for _ in 0..rng.random_range(0..5) {
                map.insert(NAMES[rng.random_range(0..NAMES.len())].into(), any(rng, depth - 1));
            }
            Value::Object(map)
        }
    }
}

fn any_map(rng: &mut StdRng) -> Map<String, Value> {
    (0..4).map(|_| (NAMES[rng.random_range(0..NAMES.len())].to_string(), any(rng, 4))).collect()
}

/// A configuration of a pod that fits its kind.
fn config(rng: &mut StdRng) -> Map<String, Value> {
    let letters = ["a", "b", "c", "d"];
    let mut some = || -> Vec<&str> { letters.into_iter().filter(|_| rng.random()).collect() };
    let texts =
        |names: Vec<&str>| -> Map<String, Value> { names.iter().map(|n| (n.to_string(), json!("1"))).collect() };
    let named = |names: Vec<&str>| -> Vec<Value> { names.iter().map(|n| json!({"name": n, "value": "1"})).collect() };
    let mut containers = Vec::new();
    for name in some() {
        let mut container = Map::from_iter([("name".to_string(), json!(name))]);
        let (env, args) = (some(), some());
        if args.contains(&"a") {
            container.insert("env".into(), named(env).into());
        }
        if args.contains(&"b") {
            container.insert("args".into(), args.into());
        }
        containers.push(Value::Object(container));
    }
    let mut config = Map::from_iter([
        ("apiVersion".to_string(), json!("v1")),
        ("kind".to_string(), json!("Pod")),
        ("metadata".to_string(), json!({"name": "p"})),
    ]);
    let (labels, finalizers, which) = (some(), some(), some());
    if which.contains(&"a") {
        config["metadata"]["labels"] = texts(labels).into();
    }
    if which.contains(&"b") {
        config["metadata"]["finalizers"] = finalizers.into();
    }
    if which.contains(&"c") {
        config.insert("spec".into(), json!({"containers": containers}));
    }
    config
}

fn by(manager: &'static str) -> Change<'static> {
    let now = "2026-01-01T00:00:00Z";
    Change { shape: of_kind(&kind::POD), version: "v1", manager, subresource: "", has_status: true, now }
}

/// The object without notes, and without what is empty.
fn bare(object: &Map<String, Value>) -> Value {
    fn without_empty(value: Value) -> Value {
        let is_empty = |v: &Value| {
            v.is_null() || v.as_object().is_some_and(Map::is_empty) || v.as_array().is_some_and(Vec::is_empty)
        };
        match value {
            Value::Object(map) => {
                let map = map.into_iter().map(|(name, v)| (name, without_empty(v)));
                Value::Object(map.filter(|(_, v)| !is_empty(v)).collect())
            }
            Value::Array(list) => list.into_iter().map(without_empty).collect(),
            other => other,
        }
    }
    let mut object = object.clone();
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    without_empty(Value::Object(object))
}

#[test]
fn no_patch_of_anything_panics() {
    let kinds: [KindRef; 4] = [&kind::POD, &kind::DEPLOYMENT, &kind::SERVICE, &kind::LAB];
    always(|rng| {
        let (live, patch) = (any_map(rng), any_map(rng));
        for kind in kinds {
            let change = Change { shape: of_kind(kind), ..by("m") };
            let _ = strategic(kind, &live, &patch);
            let _ = apply(&change, Some(&live), &patch, true);
            let _ = super::check(change.shape, &patch, &Default::default());
            let mut new = patch.clone();
            record(&change, Some(&live), &mut new);
        }
        let operations: Vec<Value> = (0..4)
            .map(|_| {
                let op = ["add", "remove", "replace", "move", "copy", "test", "x"][rng.random_range(0..7)];
                let mut path = || {
                    ["", "/metadata", "/spec/containers/0", "/spec/containers/-", "/metadata/labels/a~1b", "x"]
                        [rng.random_range(0..6)]
                };
                json!({"op": op, "path": path(), "from": path(), "value": any(rng, 2)})
            })
            .collect();
        let mut target = Value::Object(live);
        let _ = json_patch(&mut target, &operations);
    });
}

#[test]
fn a_merge_patch_twice_is_a_merge_patch_once() {
    always(|rng| {
        let (live, patch) = (any(rng, 4), any(rng, 4));
        let mut once = live.clone();
        merge(&mut once, &patch);
        let mut twice = once.clone();
        merge(&mut twice, &patch);
        assert_eq!(once, twice);
        // A document without nulls is what it makes of nothing.
        let whole = crate::object::merge::without_nulls(live);
        let mut made = Value::Null;
        merge(&mut made, &whole);
        let has_null_in_list = whole.to_string().contains("null");
        assert!(has_null_in_list || made == whole);
    });
}

#[test]
fn to_apply_twice_is_to_apply_once() {
    always(|rng| {
        let (live, config) = (config(rng), config(rng));
        let live = apply(&by("other"), None, &live, false).unwrap();
        let once = apply(&by("me"), Some(&live), &config, true).unwrap();
        let twice = apply(&by("me"), Some(&once), &config, false).unwrap();
        assert_eq!(Value::Object(twice), Value::Object(once));
    });
}

#[test]
fn to_apply_nothing_takes_away_what_one_alone_applied() {
    let nothing = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    let nothing = nothing.as_object().unwrap();
    always(|rng| {
        let (theirs, mine) = (config(rng), config(rng));
        let before = apply(&by("other"), None, &theirs, false).unwrap();
        // What conflicts is nobody's but the other's; so this is only about what one adds.
        let Ok(both) = apply(&by("me"), Some(&before), &mine, false) else { return };
        let after = apply(&by("me"), Some(&both), nothing, false).unwrap();
        let sorted = |object: &Map<String, Value>| sort_lists(bare(object));
        assert_eq!(sorted(&after), sorted(&before), "{}", Value::Object(mine));
        assert_eq!(
            after["metadata"]["managedFields"].as_array().map(Vec::len),
            before["metadata"]["managedFields"].as_array().map(Vec::len)
        );
    });
}

/// One's configuration may have put the other's elements into another order.
fn sort_lists(value: Value) -> Value {
    match value {
        Value::Array(list) => {
            let mut list: Vec<Value> = list.into_iter().map(sort_lists).collect();
            list.sort_by_key(Value::to_string);
            list.into()
        }
        Value::Object(map) => Value::Object(map.into_iter().map(|(name, v)| (name, sort_lists(v))).collect()),
        other => other,
    }
}

#[test]
fn a_strategic_patch_twice_is_one_once() {
    always(|rng| {
        let (live, patch) = (config(rng), config(rng));
        let once = strategic(&kind::POD, &live, &patch).unwrap();
        let twice = strategic(&kind::POD, &once, &patch).unwrap();
        assert_eq!(Value::Object(twice), Value::Object(once));
    });
}
