//! Does a configuration fit the shape of its kind? Lists that are told apart by keys must have them, each once.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::set::Step;
use super::text;
use crate::object::shape::Shape;
use crate::object::unknown::{Findings, split_path};

/// What is wrong with a configuration that is to be applied, in upstream's words; `None` if nothing is. `findings`: what
/// there is to say about its fields and their types.
pub fn check(shape: Shape, config: &Map<String, Value>, findings: &Findings) -> Option<String> {
    let config = Value::Object(config.clone());
    let at = |path: &str| in_words(shape, &config, path);
    let mut errors: Vec<String> =
        findings.unknown.iter().map(|field| format!("{}: field not declared in schema", at(&field.path))).collect();
    let wrong =
        findings.wrong.iter().map(|wrong| format!("{}: {}", at(&wrong.path), misfit(&wrong.expected, &wrong.value)));
    errors.extend(wrong);
    lists(shape, &config, "", &mut errors);
    match errors.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("errors:\n  {}", many.join("\n  "))),
    }
}

fn misfit(expected: &str, value: &Value) -> String {
    let go = text::go(value);
    match expected {
        "i32" | "i64" | "f64" | "u32" | "u16" => {
            format!("expected numeric (int or float), got {}", text::go_type(value))
        }
        "a string" => format!("expected string, got &value.valueUnstructured{{Value:{value}}}"),
        "a boolean" => format!("expected boolean, got &{{{go}}}"),
        "a sequence" => format!("expected list, got &{{{go}}}"),
        "IntOrString" | "Quantity" => format!("expected any scalar, got &{{{go}}}"),
        _ => format!("expected map, got &{{{go}}}"),
    }
}

/// A path with indexes (`spec.ports[0].port`) as one with keys (`.spec.ports[port=80,protocol="TCP"].port`).
fn in_words(shape: Shape, object: &Value, path: &str) -> String {
    let (mut shape, mut value, mut words) = (shape, Some(object), String::new());
    split_path(path, &mut |step| {
        let parent = value;
        match (parent, step.parse::<usize>()) {
            (Some(Value::Array(list)), Ok(index)) => {
                value = list.get(index);
                match value.and_then(|element| Step::element(shape, element)) {
                    Some(step) => words.push_str(&step.to_string()),
                    None => words.push_str(&format!("[{index}]")),
                }
                shape = shape.item();
            }
            _ => {
                value = parent.and_then(|parent| parent.get(step));
                words.push_str(&Step::field(step).to_string());
                shape = shape.at(step);
            }
        }
    });
    words
}

fn lists(shape: Shape, value: &Value, path: &str, errors: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                lists(shape.at(name), value, &format!("{path}.{name}"), errors);
            }
        }
        Value::Array(list) => {
            let mut seen = BTreeSet::new();
            for (index, element) in list.iter().enumerate() {
                let step = match Step::element(shape, element) {
                    Some(step) => step,
                    None if matches!(shape, Shape::Keyed(_) | Shape::Set) => {
                        errors.push(format!("{path}: element {index}: {}", no_step(shape, element)));
                        return;
                    }
                    None => continue,
                };
                lists(shape.item(), element, &format!("{path}{step}"), errors);
                let words = step.to_string();
                if !seen.insert(step) {
                    errors.push(format!("{path}: duplicate entries for key {words}"));
                }
            }
        }
        _ => {}
    }
}

/// Why an element cannot be told apart.
fn no_step(shape: Shape, element: &Value) -> String {
    match (shape, element) {
        (Shape::Keyed(_), Value::Null) => "associative list with keys may not have a null element".into(),
        (Shape::Keyed(keyed), Value::Object(_)) => {
            let keys: Vec<String> = keyed.keys.iter().map(|key| format!("{key:?}")).collect();
            format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default \
                 values for any key fields)",
                keys.join(" ")
            )
        }
        (Shape::Keyed(_), _) => "associative list with keys may not have non-map elements".into(),
        (_, Value::Object(_)) => "associative list without keys has an element that's a map type".into(),
        (_, Value::Array(_)) => "not supported: associative list with lists as elements".into(),
        _ => "associative list without keys has an element that's an explicit null".into(),
    }
}
