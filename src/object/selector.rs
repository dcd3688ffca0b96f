//! Label selectors, in the form of objects (`matchLabels`, `matchExpressions`) and of the command line (`a=b,c in (d)`),
//! and field selectors (`metadata.name=web`).

use serde_json::{Map, Value};

use super::Object;

/// A conjunction of requirements on labels; the empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

/// Why a selector cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0}")]
pub struct SelectorError(pub String);

impl Selector {
    /// Requires each of these labels with its value: a Service's `spec.selector`, a ReplicationController's.
    pub fn from_map(labels: &Map<String, Value>) -> Self {
        let equals = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::In(vec![value.as_str().unwrap_or_default().to_string()]),
        };
        Selector { requirements: labels.iter().map(equals).collect() }
    }

    /// A `LabelSelector`: `{matchLabels, matchExpressions}`.
    pub fn from_label_selector(selector: &Value) -> Result<Self, SelectorError> {
        let mut all = selector.get("matchLabels").and_then(Value::as_object).map(Self::from_map).unwrap_or_default();
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let text = |field| expression.get(field).and_then(Value::as_str).unwrap_or_default();
            let values = || -> Vec<String> {
                let list = expression.get("values").and_then(Value::as_array);
                list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_string)).collect()
            };
            let operator = match text("operator") {
                "In" => Operator::In(values()),
                "NotIn" => Operator::NotIn(values()),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(SelectorError(format!("\"{other}\" is not a valid label selector operator"))),
            };
            all.requirements.push(Requirement { key: text("key").to_string(), operator });
        }
        Ok(all)
    }

    /// The form of `kubectl get -l`: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`, joined by commas.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                if text.trim().is_empty() {
                    continue;
                }
                return Err(SelectorError(format!("found '', expected: identifier in \"{text}\"")));
            }
            requirements.push(parse_requirement(part)?);
        }
        Ok(Selector { requirements })
    }

    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.and_then(|l| l.get(&requirement.key)).and_then(Value::as_str);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|v| values.iter().any(|x| x == v)),
                Operator::NotIn(values) => value.is_none_or(|v| values.iter().all(|x| x != v)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_requirement(part: &str) -> Result<Requirement, SelectorError> {
    let requirement = |key: &str, operator| {
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) || key.contains(['(', ')', '=', '!']) {
            return Err(SelectorError(format!("\"{part}\" has no valid label name")));
        }
        Ok(Requirement { key: key.to_string(), operator })
    };
    let one = |value: &str| vec![value.trim().to_string()];
    if let Some((key, value)) = part.split_once("!=") {
        return requirement(key, Operator::NotIn(one(value)));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return requirement(key, Operator::In(one(value)));
    }
    if let Some(open) = part.find('(') {
        let Some(list) = part[open..].strip_prefix('(').and_then(|l| l.strip_suffix(')')) else {
            return Err(SelectorError(format!("\"{part}\" lacks a closing parenthesis")));
        };
        let values = list.split(',').map(|v| v.trim().to_string()).collect();
        return match part[..open].trim_end().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => requirement(key, Operator::In(values)),
            Some((key, "notin")) => requirement(key, Operator::NotIn(values)),
            _ => Err(SelectorError(format!("\"{part}\": expected \"in\" or \"notin\" before the parenthesis"))),
        };
    }
    match part.strip_prefix('!') {
        Some(key) => requirement(key, Operator::DoesNotExist),
        None => requirement(part, Operator::Exists),
    }
}

/// A field selector: `metadata.name=web,status.phase!=Running`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// Path, wanted value, and whether it must (or must not) be that.
    terms: Vec<(String, String, bool)>,
}

impl FieldSelector {
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in text.split(',').filter(|p| !p.trim().is_empty()) {
            let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
                (path, value, false)
            } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (path, value, true)
            } else {
                return Err(SelectorError(format!("invalid field selector \"{part}\": wanted FIELD=VALUE")));
            };
            terms.push((path.trim().to_string(), value.trim().to_string(), equal));
        }
        Ok(FieldSelector { terms })
    }

    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The fields that it names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|(path, _, _)| path.as_str())
    }

    /// `metadata.name=NAME`, if that is (part of) the selector.
    pub fn name(&self) -> Option<&str> {
        self.terms.iter().find(|(path, _, equal)| path == "metadata.name" && *equal).map(|(_, value, _)| value.as_str())
    }

    pub fn matches(&self, object: &Object) -> bool {
        self.terms.iter().all(|(path, wanted, equal)| {
            let path: Vec<&str> = path.split('.').collect();
            let is = match object.at(&path) {
                Some(Value::String(text)) => text == wanted,
                Some(Value::Null) | None => wanted.is_empty(),
                Some(Value::Bool(flag)) => flag.to_string().as_str() == wanted,
                Some(other) => other.to_string().as_str() == wanted,
            };
            is == *equal
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        for bad in ["=web", "app in web)", "app in (web", "a b", "a,,b", "app foo (x)"] {
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
}
