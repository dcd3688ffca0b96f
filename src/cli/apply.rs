//! `apply`: makes the objects what the files say, and keeps what others wrote. The server merges, so that all objects of
//! all files are applied, or none.

use clap::Args;
use serde_json::{Value, json};

use super::change::{CHANGE_CAUSE, RecordArgs, annotate};
use super::client::{ClientError, Status};
use super::output::{self, Output};
use super::path::Query;
use super::{Context, Failure, dry_run, files, print};
use crate::object::map_at_mut;
use crate::object::merge::{LAST_APPLIED, last_applied_text};
use crate::object::selector::Selector;

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
    #[command(flatten)]
    record: RecordArgs,
    /// Let the server note who owns which field; what others own is a conflict
    #[arg(long)]
    server_side: bool,
    /// With --server-side: take over the fields that others own
    #[arg(long)]
    force_conflicts: bool,
    /// Who owns what is applied; with --server-side kubectl, else kubectl-client-side-apply
    #[arg(long, value_name = "NAME")]
    field_manager: Option<String>,
}

pub async fn run(args: ApplyArgs, cx: &Context) -> Result<(), Failure> {
    if !args.files.is_given() {
        return Err(Failure::error("must specify one of -f and -k").hint(format!("{} apply -f FILE", super::program())));
    }
    let output = Output::parse(&args.output)?;
    if args.force_conflicts && !args.server_side {
        return Err(Failure::error("--force-conflicts only works with --server-side"));
    }
    if args.server_side && args.dry_run.as_deref() == Some("client") {
        let why = "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)";
        return Err(Failure::error(why));
    }
    let dry = dry_run(args.dry_run.as_deref())?;
    let mut documents = files::read(&args.files, files::Purpose::Send, cx)?;
    if let Some(selector) = &args.selector {
        let selector = Selector::parse(selector).map_err(Failure::error)?;
        documents.retain(|d| selector.matches(d.object.pointer("/metadata/labels").and_then(Value::as_object)));
    }
    if documents.is_empty() {
        return Err(Failure::error("no objects passed to apply"));
    }
    if let Some(cause) = args.record.cause() {
        documents.iter_mut().for_each(|document| annotate(&mut document.object, CHANGE_CAUSE, &cause));
    }
    let applied = post(&documents, &args, dry.is_some(), cx).await?;
    for warning in applied.iter().flat_map(|a| a.get("warnings").and_then(Value::as_array).into_iter().flatten()) {
        eprintln!("Warning: {}", warning.as_str().unwrap_or_default());
    }
    match output {
        Output::Table { .. } => {
            for (document, applied) in documents.iter().zip(&applied) {
                let outcome = applied.get("outcome").and_then(Value::as_str).unwrap_or("configured");
                let outcome = if args.server_side { "serverside-applied" } else { outcome };
                print(&format!("{} {outcome}{}\n", output::name_of(&document.object), dry.unwrap_or_default()))?;
            }
        }
        output => {
            let mut objects = Vec::new();
            for document in documents {
                let found = cx.client.find(document.kind, &document.namespace, &document.name).await?;
                // What is not there after a dry run is what the file says.
                objects.push(found.unwrap_or(document.object));
            }
            let one = objects.len() == 1;
            print(&output::objects(&output, objects, one, true)?)?;
        }
    }
    Ok(())
}

/// Sends all documents; what became of each, in their order.
async fn post(documents: &[files::Document], args: &ApplyArgs, dry: bool, cx: &Context) -> Result<Vec<Value>, Failure> {
    let query = Query::new().with("namespace", cx.namespace.as_str()).with_some("dryRun", dry.then_some("All"));
    let query = query
        .with_some("serverSide", args.server_side.then_some("true"))
        .with_some("force", args.force_conflicts.then_some("true"))
        .with_some("fieldManager", args.field_manager.as_deref());
    let path = query.on(&format!("/apis/{}/v1alpha1/apply", crate::object::kind::LAB_GROUP));
    let manifests = Value::Array(documents.iter().map(|d| d.object.clone()).collect());
    match cx.client.post_path(&path, &manifests).await {
        Ok(answer) => Ok(answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default()),
        Err(ClientError::Status(status)) => Err(refused(&status, documents)),
        Err(error) => Err(error.into()),
    }
}

/// The server's error for each document that it did not take, with the place of what is wrong.
fn refused(status: &Status, documents: &[files::Document]) -> Failure {
    let of_document = |cause: &Value| {
        let index = cause.get("index").and_then(Value::as_u64).and_then(|i| usize::try_from(i).ok())?;
        let document = documents.get(index)?;
        let cause = Status::from_json(cause);
        let places = cause
            .causes
            .iter()
            .filter(|(field, _)| !field.is_empty())
            .map(|(field, _)| format!("{field} is at {}", document.place(field)));
        let places: Vec<String> = places.collect();
        let is_conflict = cause.raw_causes.iter().any(|c| c.get("reason") == Some(&"FieldManagerConflict".into()));
        if is_conflict {
            // The paths are those of owners, which name no place in the file.
            let next = "leave these fields out of the file, give them the values that they have, or take them over with \
                        --force-conflicts";
            return Some(Failure::verbatim(format!("error: {}", cause.message)).hint(next));
        }
        let message = match cause.reason.as_str() {
            "Invalid" => cause.for_people(),
            _ => cause.during("applying", &document.source).for_people(),
        };
        Some(Failure::verbatim(message).hints(places))
    };
    let failures: Vec<Failure> = status.raw_causes.iter().filter_map(of_document).collect();
    match Failure::all(failures) {
        Ok(()) => Failure::from(ClientError::Status(status.clone())),
        Err(failure) if documents.len() > 1 => failure.hint("nothing was applied: it is all of the objects or none"),
        Err(failure) => failure,
    }
}

/// Writes the object, as it is, into its own annotation.
pub fn remember(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    map_at_mut(map_at_mut(fields, "metadata"), "annotations").remove(LAST_APPLIED);
    let text = last_applied_text(&json!(fields));
    map_at_mut(map_at_mut(fields, "metadata"), "annotations").insert(LAST_APPLIED.into(), text.into());
}

#[cfg(test)]
mod tests {
    use super::*;

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
