//! `apply`: makes the objects what the files say, and keeps what others wrote.

pub mod merge;

use clap::Args;
use serde_json::Value;

use super::client::ClientError;
use super::output::{self, Output};
use super::{Context, Failure, dry_run, files, print};

/// Where the object keeps what the file said.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How often a write is tried again because somebody else was faster.
const ATTEMPTS: usize = 5;

/// Create or change objects to be what files say
#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    files: files::FileArgs,
    /// client or server: say what would be done, and change nothing
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    dry_run: Option<String>,
    /// yaml, json or name: print the objects, and not a sentence each
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
    /// Only the objects with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "strict")]
    validate: Option<String>,
    #[arg(long, hide = true)]
    server_side: bool,
    #[arg(long, hide = true)]
    force_conflicts: bool,
    #[arg(long, hide = true)]
    field_manager: Option<String>,
}

/// What became of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Created,
    Configured,
    Unchanged,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
        }
    }
}

pub async fn run(args: ApplyArgs, cx: &Context) -> Result<(), Failure> {
    if !args.files.is_given() {
        return Err(Failure::error("must specify one of -f and -k").hint(format!("{} apply -f FILE", super::program())));
    }
    let output = Output::parse(&args.output)?;
    let dry = dry_run(args.dry_run.as_deref())?;
    let mut documents = files::read(&args.files, cx)?.documents;
    if let Some(selector) = &args.selector {
        let selector = crate::object::selector::Selector::parse(selector).map_err(Failure::error)?;
        documents.retain(|d| selector.matches(d.object.pointer("/metadata/labels").and_then(Value::as_object)));
    }
    if documents.is_empty() {
        return Err(Failure::error("no objects passed to apply"));
    }
    let (mut failures, mut objects) = (Vec::new(), Vec::new());
    for document in &documents {
        match apply_one(document, dry, cx).await {
            Ok((object, outcome)) if output.is_table() => {
                print(&format!("{} {}{}\n", output::name_of(&object), outcome.word(), dry.unwrap_or_default()))?;
            }
            Ok((object, _)) => objects.push(object),
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    if !output.is_table() && !objects.is_empty() {
        let one = objects.len() == 1;
        print(&output::objects(&output, objects, one, true)?)?;
    }
    Failure::all(failures)
}

async fn apply_one(
    document: &files::Document,
    dry: Option<&str>,
    cx: &Context,
) -> Result<(Value, Outcome), ClientError> {
    let (kind, namespace, name) = (document.kind, &document.namespace, &document.name);
    let mut modified = document.object.clone();
    remember(&mut modified);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let Some(current) = cx.client.find(kind, namespace, name).await? else {
            if dry == Some(super::DRY_CLIENT) {
                return Ok((modified, Outcome::Created));
            }
            let query = super::path::Query::new().with_some("dryRun", dry.map(|_| "All"));
            let path = query.on(&super::path::collection(kind, Some(namespace)));
            let made = cx.client.post_path(&path, &modified).await;
            return Ok((made.map_err(|e| e.during("creating", &document.source))?, Outcome::Created));
        };
        let merged = merged(document, &modified, &current);
        if merged == current {
            return Ok((current, Outcome::Unchanged));
        }
        if dry == Some(super::DRY_CLIENT) {
            return Ok((merged, Outcome::Configured));
        }
        let query = super::path::Query::new().with_some("dryRun", dry.map(|_| "All"));
        match cx.client.put_path(&query.on(&super::path::object(kind, namespace, name)), &merged).await {
            Ok(object) => return Ok((object, Outcome::Configured)),
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => {}
            Err(error) => return Err(error.during("applying patch to", &document.source)),
        }
    }
}

fn merged(document: &files::Document, modified: &Value, current: &Value) -> Value {
    let last = current.pointer("/metadata/annotations").and_then(|a| a.get(LAST_APPLIED)).and_then(Value::as_str);
    let original = last.and_then(|text| serde_json::from_str::<Value>(text).ok());
    if last.is_none() {
        let resource = document.kind.plural;
        eprintln!(
            "Warning: resource {resource}/{} is missing the {LAST_APPLIED} annotation which is required by {program} \
             apply. {program} apply should only be used on resources created declaratively by either {program} create \
             --save-config or {program} apply. The missing annotation will be patched automatically.",
            document.name,
            program = super::program(),
        );
    }
    merge::three_way(document.kind, original.as_ref(), modified, current)
}

/// Writes the object, as it is, into its own annotation.
pub fn remember(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    let metadata = crate::object::map_at_mut(fields, "metadata");
    let annotations = crate::object::map_at_mut(metadata, "annotations");
    annotations.remove(LAST_APPLIED);
    let text = format!("{}\n", Value::Object(fields.clone()));
    let metadata = crate::object::map_at_mut(fields, "metadata");
    crate::object::map_at_mut(metadata, "annotations").insert(LAST_APPLIED.into(), text.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_annotation_holds_the_file_and_not_itself() {
        let mut object = json!({"kind": "Pod", "metadata": {"name": "a"}});
        remember(&mut object);
        let first = object.clone();
        assert_eq!(
            object["metadata"]["annotations"][LAST_APPLIED],
            "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{},\"name\":\"a\"}}\n"
        );
        remember(&mut object);
        assert_eq!(object, first);
    }
}
