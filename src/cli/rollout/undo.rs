//! `rollout undo`: an earlier revision's template becomes the current one.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::client::ClientError;
use super::super::path::{self, Query};
use super::super::{Context, Failure, dry_run, files, output, pods, print, program, scale};
use super::{has_rollouts, history, revisions};
use crate::object::kind::{self, KindRef};
use crate::object::merge::LAST_APPLIED;

/// Go back to an earlier revision
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// TYPE NAME or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// The revision; 0 is the one before
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    to_revision: i64,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// client or server: change nothing
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    dry_run: Option<String>,
}

/// Annotations that belong to the Deployment and not to its revisions.
const STAY: [&str; 6] = [
    LAST_APPLIED,
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

pub async fn run(args: UndoArgs, cx: &Context) -> Result<(), Failure> {
    if args.resources.is_empty() && !args.files.is_given() {
        return Err(Failure::error("required resource not specified"));
    }
    let dry = dry_run(args.dry_run.as_deref())?;
    let selector = args.selector.as_deref();
    for (kind, _, name) in scale::named(&args.resources, &args.files, true, selector, "rollout undo", cx).await? {
        if !has_rollouts(kind) {
            return Err(Failure::error(format!("no rollbacker has been implemented for \"{}\"", kind.kind)));
        }
        let object = pods::get(cx, kind, &name).await?;
        if object.pointer("/metadata/annotations").is_some_and(|a| a.get(LAST_APPLIED).is_some()) {
            let program = program();
            eprintln!(
                "Warning: resource {}/{name} was previously managed with '{program} apply'. Rolling back will not \
                 update the {LAST_APPLIED} annotation, which may cause unexpected behavior on future '{program} apply' \
                 operations. Consider using '{program} apply' with your previous configuration file instead.",
                kind.plural
            );
        }
        let done = back(&args, dry, kind, &object, cx).await?;
        print(&format!("{} {done}{}\n", output::name_of(&object), dry.unwrap_or_default()))?;
    }
    Ok(())
}

/// What to say of it.
async fn back(
    args: &UndoArgs,
    dry: Option<&str>,
    kind: KindRef,
    object: &Value,
    cx: &Context,
) -> Result<String, Failure> {
    let name = super::super::hint::name_of(object);
    let to = args.to_revision;
    let not_found = || Failure::error(format!("unable to find specified revision {to} in history"));
    let all = revisions::of(kind, object, cx).await?;
    let none_before = || match kind == &kind::DEPLOYMENT {
        true => Failure::error(format!("no rollout history found for deployment \"{name}\"")),
        false => Failure::error("no last revision to roll back to"),
    };
    let revision = match to {
        0 => all.len().checked_sub(2).and_then(|at| all.get(at)).ok_or_else(none_before)?,
        _ => all.iter().find(|revision| revision.number == to).ok_or_else(|| {
            let numbers: Vec<String> = all.iter().map(|revision| revision.number.to_string()).collect();
            not_found().hint(format!("revisions that are kept: {}", numbers.join(", ")))
        })?,
    };
    if dry == Some(super::super::DRY_CLIENT) {
        return Ok(history::shown(&revision.template));
    }
    if object.pointer("/spec/paused").and_then(Value::as_bool) == Some(true) {
        return Err(Failure::error(format!(
            "you cannot rollback a paused deployment; resume it first with '{} rollout resume' and try again",
            program()
        )));
    }
    let template = revision.own_template();
    if object.pointer("/spec/template").is_some_and(|now| without_nulls(now) == without_nulls(&template)) {
        return Ok(format!("skipped rollback (current template already matches revision {to})"));
    }
    let query = Query::new().with_some("dryRun", dry.map(|_| "All")).with("fieldManager", "kubectl-rollout");
    let path = query.on(&path::object(kind, super::super::hint::namespace_of(object), name));
    let patch = if kind == &kind::DEPLOYMENT {
        json!([{"op": "replace", "path": "/spec/template", "value": template},
               {"op": "add", "path": "/metadata/annotations", "value": annotations(object, &revision.kept_by)}])
    } else {
        json!([{"op": "replace", "path": "/spec/template", "value": template}])
    };
    let answer = cx.client.patch(&path, "application/json-patch+json", &patch).await;
    answer.map_err(|error| match error {
        ClientError::Status(status) => Failure::error(format!("failed restoring revision {to}: {}", status.message)),
        error => Failure::from(error),
    })?;
    Ok("rolled back".into())
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// The Deployment's own annotations, and the revision's others.
fn annotations(deployment: &Value, set: &Value) -> Map<String, Value> {
    let of = |object: &Value, own: bool| -> Map<String, Value> {
        let all = object.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default();
        all.into_iter().filter(|(name, _)| STAY.contains(&name.as_str()) == own).collect()
    };
    let mut annotations = of(deployment, true);
    annotations.extend(of(set, false));
    annotations
}
