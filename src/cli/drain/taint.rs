//! `taint`: what keeps pods off nodes.

use clap::Args;
use serde_json::{Value, json};

use super::super::change::{Change, ChangeArgs, Target};
use super::super::path::Query;
use super::super::{Context, Failure, hint, resource};
use crate::object::kind;

/// Set or remove taints of nodes: KEY=VALUE:EFFECT, KEY:EFFECT- or KEY-
#[derive(Debug, Args)]
pub struct TaintArgs {
    /// nodes NAME..., and then KEY=VALUE:EFFECT... or KEY:EFFECT-...
    #[arg(value_name = "NODE TAINT")]
    words: Vec<String>,
    /// Change values that are there already
    #[arg(long)]
    overwrite: bool,
    /// All nodes
    #[arg(long)]
    all: bool,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "strict")]
    validate: Option<String>,
    #[command(flatten)]
    how: ChangeArgs,
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Taint {
    key: String,
    value: String,
    /// Empty for one that is to go with whatever effect.
    effect: String,
}

impl Taint {
    fn parse(text: &str) -> Result<Self, Failure> {
        let invalid = || {
            let failure = Failure::error(format!("invalid taint spec: {text}"));
            failure.hint("KEY=VALUE:EFFECT or KEY:EFFECT, with a - behind it to remove it")
        };
        let (pair, effect) = match text.split_once(':') {
            Some((_, effect)) if effect.contains(':') => return Err(invalid()),
            Some((pair, effect)) if !EFFECTS.contains(&effect) => {
                let failure = Failure::error(format!("invalid taint effect: {effect}, unsupported taint effect"));
                let near = crate::object::nearest::nearest(effect, EFFECTS).filter(|_| !pair.is_empty());
                return Err(match near {
                    Some(near) => failure.hint(format!("did you mean {near}?")),
                    None => failure.hint(format!("one of: {}", EFFECTS.join(", "))),
                });
            }
            Some((pair, effect)) => (pair, effect),
            // A value without an effect is nothing.
            None if text.contains('=') => return Err(invalid()),
            None => (text, ""),
        };
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() || value.contains('=') {
            return Err(invalid());
        }
        Ok(Taint { key: key.into(), value: value.into(), effect: effect.into() })
    }

    fn json(&self) -> Value {
        let mut taint = json!({"effect": self.effect, "key": self.key});
        if !self.value.is_empty() {
            taint["value"] = self.value.as_str().into();
        }
        taint
    }

    /// Is this the one on a node, whatever its value?
    fn is(&self, taint: &Value) -> bool {
        let text = |field: &str| taint.get(field).and_then(Value::as_str).unwrap_or_default();
        text("key") == self.key && (self.effect.is_empty() || text("effect") == self.effect)
    }

    fn text(&self) -> String {
        if self.effect.is_empty() { self.key.clone() } else { format!("{}:{}", self.key, self.effect) }
    }
}

#[derive(Debug)]
struct Wanted {
    add: Vec<Taint>,
    remove: Vec<Taint>,
}

impl Wanted {
    fn parse(words: &[String]) -> Result<Self, Failure> {
        let mut wanted = Wanted { add: Vec::new(), remove: Vec::new() };
        for word in words {
            if let Some(removed) = word.strip_suffix('-') {
                wanted.remove.push(Taint::parse(removed)?);
                continue;
            }
            let taint = Taint::parse(word)?;
            if taint.effect.is_empty() {
                let failure = Failure::error(format!("invalid taint spec: {word}"));
                return Err(failure.hint(format!("add an effect: {word}:NoSchedule")));
            }
            if wanted.add.iter().any(|other| other.is(&taint.json())) {
                return Err(Failure::error(format!("duplicated taints with the same key and effect: {word}")));
            }
            wanted.add.push(taint);
        }
        let both: Vec<String> = wanted
            .remove
            .iter()
            .filter(|gone| wanted.add.iter().any(|new| gone.is(&new.json())))
            .map(|gone| format!("{}={}", gone.key, gone.effect))
            .collect();
        if !both.is_empty() {
            return Err(Failure::error(format!(
                "can not both modify and remove the following taint(s) in the same command: {}",
                both.join(", ")
            )));
        }
        Ok(wanted)
    }

    /// Changes a node's taints; kubectl's word for what was done.
    fn apply(&self, node: &mut Value, overwrite: bool) -> Result<&'static str, Failure> {
        let name = hint::name_of(node).to_string();
        let old = node.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
        let taken: Vec<&str> =
            self.add.iter().filter(|new| old.iter().any(|t| new.is(t))).map(|new| new.key.as_str()).collect();
        if !overwrite && !taken.is_empty() {
            return Err(Failure::error(format!(
                "node {name} already has {} taint(s) with same effect(s) and --overwrite is false",
                taken.join(",")
            )));
        }
        let mut taints: Vec<Value> = self.add.iter().map(Taint::json).collect();
        taints.extend(old.iter().filter(|t| !self.add.iter().any(|new| new.is(t))).cloned());
        let added = taints.len() != old.len();
        let mut failures = Vec::new();
        for gone in &self.remove {
            let before = taints.len();
            taints.retain(|t| !gone.is(t));
            if taints.len() == before {
                failures.push(Failure::error(format!("taint \"{}\" not found", gone.text())));
            }
        }
        Failure::all(failures)?;
        if taints.is_empty() {
            if let Some(spec) = node["spec"].as_object_mut() {
                spec.remove("taints");
            }
        } else {
            node["spec"]["taints"] = Value::Array(taints);
        }
        Ok(match (overwrite || (added && !self.remove.is_empty()), added) {
            (true, _) => "modified",
            (false, true) => "tainted",
            (false, false) => "untainted",
        })
    }
}

pub async fn run(args: TaintArgs, cx: &Context) -> Result<(), Failure> {
    let is_taint = |word: &String| word.contains(['=', ':']) || word.ends_with('-');
    let first = args.words.iter().position(is_taint).unwrap_or(args.words.len());
    let (resources, taints) = args.words.split_at(first);
    if let Some(word) = taints.iter().find(|word| !is_taint(word)) {
        return Err(Failure::error(format!("all resources must be specified before taint changes: {word}")));
    }
    let Some((first, names)) = resources.split_first() else {
        return Err(Failure::error("one or more resources must be specified as <resource> <name>"));
    };
    if taints.is_empty() {
        return Err(Failure::error("at least one taint update is required"));
    }
    let wanted = Wanted::parse(taints)?;
    // `node/w1-k8s` is taken too.
    let (word, names): (&str, Vec<String>) = match first.split_once('/') {
        Some((word, name)) => {
            let rest = names.iter().map(|n| n.split_once('/').map_or(n.as_str(), |(_, name)| name).to_string());
            (word, std::iter::once(name.to_string()).chain(rest).collect())
        }
        None => (first, names.to_vec()),
    };
    if resource::kind_of(word)? != &kind::NODE {
        return Err(Failure::error(format!("invalid resource type {word}, only node types are supported")));
    }
    if args.all && args.selector.is_some() {
        return Err(Failure::error("setting 'all' parameter with a non empty selector is prohibited"));
    }
    let names = if args.all || args.selector.is_some() {
        let query = Query::new().with_some("labelSelector", args.selector.as_deref());
        let nodes = cx.client.items(&kind::NODE, None, &query).await?;
        nodes.iter().map(|node| hint::name_of(node).to_string()).collect()
    } else if names.is_empty() {
        return Err(Failure::error("at least one resource name must be specified since 'all' parameter is not set"));
    } else {
        names
    };
    let how = Change::new(&args.how, "kubectl-taint", cx)?;
    let mut failures = Vec::new();
    for name in names {
        let target: Target = (&kind::NODE, String::new(), name);
        let mut done = "";
        let changed = how.modify(&target, |node| {
            done = wanted.apply(node, args.overwrite)?;
            Ok(())
        });
        match changed.await {
            Ok((_, node)) => how.tell(&node, done)?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::all(failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(taints: Value, words: &[&str], overwrite: bool) -> Result<(Value, &'static str), String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let mut node = json!({"metadata": {"name": "w1"}, "spec": {"taints": taints}});
        let done = Wanted::parse(&words).and_then(|wanted| wanted.apply(&mut node, overwrite));
        done.map(|done| (node["spec"]["taints"].clone(), done)).map_err(|f| f.message)
    }

    #[test]
    fn taints_come_and_go() {
        let a = || json!({"effect": "NoSchedule", "key": "a", "value": "1"});
        assert_eq!(apply(json!([]), &["a=1:NoSchedule"], false), Ok((json!([a()]), "tainted")));
        assert_eq!(apply(json!([a()]), &["a:NoSchedule-"], false), Ok((Value::Null, "untainted")));
        assert_eq!(apply(json!([a()]), &["a-"], false), Ok((Value::Null, "untainted")));
        assert_eq!(apply(json!([a()]), &["a-", "b:NoExecute"], false).map(|(_, done)| done), Ok("modified"));
        let b = json!({"effect": "NoSchedule", "key": "a", "value": "2"});
        assert_eq!(apply(json!([a()]), &["a=2:NoSchedule"], true), Ok((json!([b]), "modified")));
    }

    #[test]
    fn what_is_no_taint() {
        let a = json!([{"effect": "NoSchedule", "key": "a"}]);
        for (words, expected) in [
            (
                &["a=2:NoSchedule"][..],
                "error: node w1 already has a taint(s) with same effect(s) and --overwrite is false",
            ),
            (&["b-"], "error: taint \"b\" not found"),
            (&["b:NoExecute-"], "error: taint \"b:NoExecute\" not found"),
            (&["a=b:noschedule"], "error: invalid taint effect: noschedule, unsupported taint effect"),
            (&["a=b"], "error: invalid taint spec: a=b"),
            (&["a:b:NoSchedule"], "error: invalid taint spec: a:b:NoSchedule"),
            (
                &["x:NoExecute", "x-"],
                "error: can not both modify and remove the following taint(s) in the same command: x=",
            ),
        ] {
            assert_eq!(apply(a.clone(), words, false), Err(expected.to_string()), "{words:?}");
        }
    }
}
