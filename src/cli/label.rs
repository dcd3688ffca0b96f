//! `label` and `annotate`: names and values on objects.

use clap::Args;
use serde_json::{Map, Value, json};

use super::change::{CHANGE_CAUSE, RecordArgs};
use super::path::{self, Query};
use super::{Context, Failure, dry_run, files, hint, output, print, scale};

/// Set or remove labels: KEY=VALUE or KEY-
#[derive(Debug, Args)]
pub struct LabelArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

/// Set or remove annotations: KEY=VALUE or KEY-
#[derive(Debug, Args)]
pub struct AnnotateArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
struct ChangeArgs {
    /// TYPE NAME..., TYPE/NAME..., and then KEY=VALUE... or KEY-...
    #[arg(value_name = "TYPE[/NAME] KEY=VALUE", allow_hyphen_values = false)]
    words: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// Change values that are there already
    #[arg(long)]
    overwrite: bool,
    /// All of the type
    #[arg(long)]
    all: bool,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Print what there is
    #[arg(long)]
    list: bool,
    /// client or server: change nothing
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    dry_run: Option<String>,
    #[arg(long, hide = true)]
    field_manager: Option<String>,
    #[command(flatten)]
    record: RecordArgs,
}

/// Which of the two it is, in kubectl's words.
struct Words {
    field: &'static str,
    verb: &'static str,
    noun: &'static str,
    done: &'static str,
}

impl Words {
    /// kubectl says this of labels otherwise than of annotations.
    fn clash(&self, taken: &[String]) -> String {
        match self.field {
            "labels" => taken.join(", and --overwrite is false\n") + ", and --overwrite is false",
            _ => {
                let noun = self.noun;
                format!("--overwrite is false but found the following declared {noun}(s): {}", taken.join("; "))
            }
        }
    }
}

const LABEL: Words = Words { field: "labels", verb: "label", noun: "label", done: "labeled" };
const ANNOTATION: Words = Words { field: "annotations", verb: "annotate", noun: "annotation", done: "annotated" };

pub async fn label(args: LabelArgs, cx: &Context) -> Result<(), Failure> {
    change(args.change, &LABEL, cx).await
}

pub async fn annotate(args: AnnotateArgs, cx: &Context) -> Result<(), Failure> {
    change(args.change, &ANNOTATION, cx).await
}

/// `KEY=VALUE` sets, `KEY-` removes.
fn pair(word: &str) -> Option<(String, Option<String>)> {
    match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Some((key.to_string(), Some(value.to_string()))),
        Some(_) => None,
        None => word.strip_suffix('-').filter(|key| !key.is_empty()).map(|key| (key.to_string(), None)),
    }
}

async fn change(args: ChangeArgs, words: &Words, cx: &Context) -> Result<(), Failure> {
    let (resources, pairs): (Vec<String>, Vec<String>) = args.words.iter().cloned().partition(|w| pair(w).is_none());
    let pairs: Vec<(String, Option<String>)> = pairs.iter().filter_map(|w| pair(w)).collect();
    if resources.is_empty() && !args.files.is_given() {
        return Err(Failure::error(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    if pairs.is_empty() && !args.list {
        return Err(Failure::error(format!("at least one {} update is required", words.noun)));
    }
    let dry = dry_run(args.dry_run.as_deref())?;
    let mut failures = Vec::new();
    let selector = args.selector.as_deref();
    for (kind, namespace, name) in scale::named(&resources, &args.files, args.all, selector, words.verb, cx).await? {
        let object = match cx.client.get(kind, &namespace, &name).await {
            Ok(object) => object,
            Err(error) => {
                let missing = error.is_not_found();
                let hints = if missing { hint::for_missing(cx, kind, &namespace, &name).await } else { Vec::new() };
                failures.push(Failure::from(error).hints(hints));
                continue;
            }
        };
        let empty = Map::new();
        let now = object.get("metadata").and_then(|m| m.get(words.field)).and_then(Value::as_object).unwrap_or(&empty);
        if args.list {
            print(&now.iter().map(|(k, v)| format!("{k}={}\n", v.as_str().unwrap_or_default())).collect::<String>())?;
            continue;
        }
        let taken: Vec<String> = pairs
            .iter()
            .filter_map(|(key, new)| {
                let old = now.get(key)?.as_str()?;
                // The cause of a change is there to be written anew with each.
                let clash = !args.overwrite && key != CHANGE_CAUSE && new.as_deref().is_some_and(|new| new != old);
                clash.then(|| format!("'{key}' already has a value ({old})"))
            })
            .collect();
        if !taken.is_empty() {
            failures.push(Failure::error(words.clash(&taken)).hint("add --overwrite to change it"));
            continue;
        }
        for (key, _) in pairs.iter().filter(|(key, new)| new.is_none() && !now.contains_key(key)) {
            print(&format!("{} \"{key}\" not found.\n", words.noun))?;
        }
        let patch: Map<String, Value> = pairs.iter().map(|(key, new)| (key.clone(), json!(new))).collect();
        let changes = patch.iter().any(|(key, new)| now.get(key).unwrap_or(&Value::Null) != new);
        if changes && dry != Some(super::DRY_CLIENT) {
            let query = Query::new().with_some("dryRun", dry.map(|_| "All"));
            let mut patch = json!({"metadata": {words.field: patch}});
            args.record.note(&mut patch);
            cx.client.merge_patch(&query.on(&path::object(kind, &namespace, &name)), &patch).await?;
        }
        let only_removes = words.done == "labeled" && pairs.iter().all(|(_, new)| new.is_none());
        let word = match (changes, only_removes) {
            (false, _) if words.done == "labeled" => "not labeled",
            (true, true) => "unlabeled",
            _ => words.done,
        };
        print(&format!("{} {word}{}\n", output::name_of(&object), dry.unwrap_or_default()))?;
    }
    Failure::all(failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sets_and_what_removes() {
        assert_eq!(pair("a=b"), Some(("a".into(), Some("b".into()))));
        assert_eq!(pair("x.io/a="), Some(("x.io/a".into(), Some(String::new()))));
        assert_eq!(pair("a-"), Some(("a".into(), None)));
        assert_eq!(pair("web-1"), None);
        assert_eq!(pair("=b"), None);
    }
}
