//! Manifests that went wrong at random: whatever becomes of them, nothing panics, and what is refused has a place.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::tests::notes;
use super::*;
use crate::object::convert::convert;
use crate::object::default::apply_defaults;
use crate::object::validate::{validate, validate_update};
use crate::object::{Object, unknown};

/// The bytes that YAML gives a meaning to, and some that it does not expect.
const TOKENS: [&str; 36] = [
    "\n", "  ", "\t", ": ", ":", "- ", "-", "#", "//", "\"", "'", "[", "]", "{", "}", ",", "&a ", "*a", "<<: ",
    "!!int ", "|\n", ">-\n", "---\n", "...\n", "%YAML", "? ", "~", "null", "0x", "1e9", "\u{feff}", "\u{a0}", "한",
    "\r\n", "@", "\\",
];

fn mutate(bytes: &mut Vec<u8>, random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    let end = random.random_range(at..=bytes.len().min(at + 12));
    match random.random_range(0..6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let copy = bytes[at..end].to_vec();
            let to = random.random_range(0..=bytes.len());
            bytes.splice(to..to, copy);
        }
        3 => drop(bytes.splice(at..at, [random.random::<u8>()])),
        _ => drop(bytes.splice(at..end, TOKENS[random.random_range(0..TOKENS.len())].bytes())),
    }
}

/// Reads and checks; a problem of a file's content must be at a line of it.
fn exercise(bytes: &[u8]) {
    let lines = u32::try_from(bytes.split(|byte| *byte == b'\n' || *byte == b'\r').count()).unwrap();
    let input = Input::Bytes { name: "web.yaml".into(), bytes: bytes.to_vec() };
    let problems = match read(&[input], Options::default()) {
        Err(problems) => problems,
        Ok(documents) => match check(&documents, &|_, _| None) {
            Err(problems) => problems,
            Ok(()) => return,
        },
    };
    assert!(!problems.0.is_empty());
    for problem in &problems.0 {
        let position = problem.place.as_ref().and_then(|place| place.position).expect("a place");
        assert!(position.line >= 1 && position.column >= 1, "{problem}");
        assert!(position.line <= lines + 1, "{problem} in {lines} lines");
        assert!(!problem.message.is_empty());
    }
}

#[test]
fn broken_manifests_never_panic_and_have_places() {
    let mut random = StdRng::seed_from_u64(20_260_101);
    for round in 0..150 {
        for (name, text) in notes() {
            let mut bytes = text.replace('\t', "  ").into_bytes();
            for _ in 0..=round % 5 {
                mutate(&mut bytes, &mut random);
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| exercise(&bytes)));
            assert!(outcome.is_ok(), "{name}, round {round}: {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn every_beginning_of_a_manifest_has_an_answer() {
    for (_, text) in notes() {
        for end in 0..text.len() {
            exercise(&text.as_bytes()[..end]);
        }
    }
}

/// Replaces a random value in the tree.
fn distort(value: &mut Value, random: &mut StdRng) {
    let deeper = random.random_range(0..4) != 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let index = random.random_range(0..fields.len());
            if let Some(inner) = fields.values_mut().nth(index) {
                distort(inner, random);
            }
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let index = random.random_range(0..items.len());
            distort(&mut items[index], random);
        }
        _ => {
            let values = serde_json::json!([null, true, -1, 0, 70000, 80.5, 1e300, i64::MIN, "", "x", "25%", "-", [], {}, [null],
                [[]], [{}], {"a": null}, {"matchLabels": {"a": 1}}, {"metadata": {"labels": {"app": "x"}}}, "300.1.1.1"]);
            let index = random.random_range(0..values.as_array().map_or(1, Vec::len));
            *value = values[index].clone();
        }
    }
}

#[test]
fn distorted_objects_never_panic_and_defaults_stay_idempotent() {
    let mut random = StdRng::seed_from_u64(20_260_102);
    let originals: Vec<Object> = notes()
        .iter()
        .filter_map(|(name, text)| {
            let bytes = text.replace('\t', "  ").into_bytes();
            let input = Input::Bytes { name: (*name).into(), bytes };
            read(&[input], Options::default()).ok()
        })
        .flatten()
        .map(|document| document.object)
        .collect();
    assert!(originals.len() >= 12, "nearly all of the notes' manifests are read");
    for round in 0..300 {
        for original in &originals {
            let mut value = original.to_value();
            for _ in 0..=round % 4 {
                distort(&mut value, &mut random);
            }
            let Some(mut object) = Object::from_value(value.clone()) else { continue };
            convert(&mut object);
            apply_defaults(&mut object);
            let once = object.clone();
            apply_defaults(&mut object);
            assert_eq!(object, once, "{value}");
            for error in validate(&object) {
                assert!(!error.to_string().is_empty());
            }
            validate_update(original, &object);
            validate_update(&object, original);
            unknown::unknown_fields(&object);
        }
    }
}
