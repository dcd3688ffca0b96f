//! Selectors mean what upstream's mean, and no text breaks their parsers.

use super::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

fn matches(selector: &str, labels: Value) -> bool {
    Selector::parse(selector).unwrap().matches(labels.as_object())
}

#[test]
fn each_operator_of_the_command_line() {
    let web = json!({"app": "web", "tier": "front"});
    for (selector, expected) in [
        ("app=web", true),
        ("app==web,tier!=back", true),
        ("app in (db, web)", true),
        ("app notin (db)", true),
        ("app notin (web)", false),
        ("tier", true),
        ("!tier", false),
        ("!x,app", true),
        ("x!=y", true),
        ("x=y", false),
        ("", true),
    ] {
        assert_eq!(matches(selector, web.clone()), expected, "{selector}");
    }
}

#[test]
fn what_is_no_selector_is_refused() {
    for bad in [
        "=web",
        "app in web)",
        "app in (web",
        "a b",
        "a,,b",
        "app foo (x)",
        "a.b/c/d",
        "a=b c",
        "a>x",
        "a=b,",
        "a in (b c)",
    ] {
        assert!(Selector::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn match_expressions_join_match_labels() {
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
        {"key": "tier", "operator": "In", "values": ["front", "edge"]}, {"key": "old", "operator": "DoesNotExist"}]});
    let selector = Selector::from_label_selector(&selector).unwrap();
    assert!(selector.matches(json!({"app": "web", "tier": "edge"}).as_object()));
    assert!(!selector.matches(json!({"app": "web", "tier": "edge", "old": ""}).as_object()));
    assert!(!selector.matches(json!({"app": "web"}).as_object()));
}

#[test]
fn words_and_blanks_are_told_apart_as_upstream_does() {
    for (selector, labels, expected) in [
        ("app in(db,web)", json!({"app": "web"}), true),
        ("in in (in,notin)", json!({"in": "notin"}), true),
        ("app=", json!({"app": ""}), true),
        ("app in ()", json!({"app": ""}), true),
        ("app in (,web)", json!({"app": ""}), true),
        ("cpus>3, cpus<10", json!({"cpus": "4"}), true),
        ("cpus>3", json!({"cpus": "3"}), false),
        ("cpus>3", json!({"cpus": "many"}), false),
        ("\tapp =\nweb ", json!({"app": "web"}), true),
    ] {
        assert_eq!(matches(selector, labels), expected, "{selector}");
    }
}

#[test]
fn errors_are_upstreams() {
    for (selector, message) in [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b', expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
    ] {
        assert_eq!(Selector::parse(selector).unwrap_err().to_string(), message, "{selector}");
    }
}

/// What a selector means, said another way.
fn model(requirement: &(String, &str, Vec<String>), labels: &Map<String, Value>) -> bool {
    let (key, operator, values) = requirement;
    let value = labels.get(key).and_then(Value::as_str);
    let listed = value.is_some_and(|value| values.iter().any(|v| v == value));
    match *operator {
        "in" | "=" | "==" => listed,
        "notin" | "!=" => !listed,
        "" => value.is_some(),
        _ => value.is_none(),
    }
}

#[test]
fn random_selectors_mean_what_their_parts_say() {
    let mut random = SmallRng::seed_from_u64(3);
    let keys = ["a", "b", "in", "notin", "example.com/c"];
    let values = ["", "x", "y", "in", "1"];
    let operators = ["in", "notin", "=", "==", "!=", "", "!"];
    let blanks = ["", " ", "\t", "  "];
    for round in 0..2000 {
        let labels = keys.iter().filter(|_| random.random_bool(0.5)).copied().collect::<Vec<_>>();
        let labels: Map<String, Value> =
            labels.into_iter().map(|key| (key.to_string(), json!(values[random.random_range(0..5)]))).collect();
        let mut text = Vec::new();
        let mut expected = true;
        for _ in 0..random.random_range(1..4) {
            let key = keys[random.random_range(0..5)].to_string();
            let operator = operators[random.random_range(0..7)];
            let count = if operator.ends_with('n') { random.random_range(1..4) } else { 1 };
            let chosen: Vec<String> = (0..count).map(|_| values[random.random_range(0..5)].to_string()).collect();
            let mut blank = || blanks[random.random_range(0..4)];
            let (list, before, after) = (chosen.join(","), blank(), blank());
            text.push(match operator {
                "in" | "notin" => format!("{before}{key} {operator}{after}({list})"),
                "!" => format!("{before}!{after}{key}"),
                _ if operator.is_empty() => format!("{before}{key}{after}"),
                _ => format!("{before}{key}{after}{operator}{before}{list}"),
            });
            expected &= model(&(key, operator, chosen), &labels);
        }
        let text = text.join(",");
        let parsed = Selector::parse(&text).unwrap_or_else(|error| panic!("round {round}: {text:?}: {error}"));
        assert_eq!(parsed.matches(Some(&labels)), expected, "round {round}: {text:?} of {labels:?}");
    }
}

#[test]
fn no_text_makes_a_parser_panic() {
    let mut random = SmallRng::seed_from_u64(4);
    let parts = [
        "a", "b/c", "=", "==", "!=", "!", "(", ")", ",", " ", "in", "notin", ">", "<", "1", "\u{e9}", "\0", ".", "-",
        "/",
    ];
    let mut taken = 0;
    for _ in 0..20_000 {
        let text: String = (0..random.random_range(0..9)).map(|_| parts[random.random_range(0..parts.len())]).collect();
        taken += usize::from(Selector::parse(&text).is_ok());
        let _ = FieldSelector::parse(&text);
    }
    assert!(taken > 500, "only {taken} are selectors");
}
