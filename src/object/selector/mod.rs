//! Label selectors, in the form of objects (`matchLabels`, `matchExpressions`) and of the command line (`a=b,c in (d)`),
//! and field selectors (`metadata.name=web`).

mod parse;

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
    /// A whole number that is greater, or less.
    GreaterThan(i64),
    LessThan(i64),
}

/// Why a selector cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
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

    /// The form of `kubectl get -l`: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a>1`, `a<1`, `a`, `!a`, joined by
    /// commas. The errors are upstream's.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Ok(Selector { requirements: parse::requirements(text)? })
    }

    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let number = |value: Option<&str>| value.and_then(|v| v.parse::<i64>().ok());
        self.requirements.iter().all(|requirement| {
            let value = labels.and_then(|l| l.get(&requirement.key)).and_then(Value::as_str);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|v| values.iter().any(|x| x == v)),
                Operator::NotIn(values) => value.is_none_or(|v| values.iter().all(|x| x != v)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
                Operator::GreaterThan(limit) => number(value).is_some_and(|n| n > *limit),
                Operator::LessThan(limit) => number(value).is_some_and(|n| n < *limit),
            }
        })
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
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")));
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
            // Two fields that are called otherwise in the object, and those that are not written while they are zero.
            let (path, absent) = match path.as_str() {
                "source" if object.kind_name() == "Event" => ("source.component", ""),
                "status.successful" => ("status.succeeded", "0"),
                "status.replicas" => ("status.replicas", "0"),
                "spec.unschedulable" | "spec.hostNetwork" => (path.as_str(), "false"),
                path => (path, ""),
            };
            let path: Vec<&str> = path.split('.').collect();
            let is = match object.at(&path) {
                Some(Value::String(text)) => text == wanted,
                Some(Value::Null) | None => wanted == absent,
                Some(Value::Bool(flag)) => flag.to_string().as_str() == wanted,
                Some(other) => other.to_string().as_str() == wanted,
            };
            is == *equal
        })
    }
}

#[cfg(test)]
mod tests;
