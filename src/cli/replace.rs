//! `replace`: objects with what files say, whole.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::apply::remember;
use super::change::{Change, ChangeArgs};
use super::gone::{self, Going};
use super::{Context, Failure, duration, files, path, print};

/// Replace objects with what files say
#[derive(Debug, Args)]
pub struct ReplaceArgs {
    #[command(flatten)]
    files: files::FileArgs,
    /// Delete the objects and create them again
    #[arg(long)]
    force: bool,
    /// Seconds for each object to end, with --force
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    grace_period: i64,
    /// How long to wait for objects to go, with --force; 0 is for as long as it takes
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    timeout: Duration,
    /// background, orphan or foreground, with --force
    #[arg(long, default_value = "background", num_args = 0..=1, require_equals = true,
          default_missing_value = "background")]
    cascade: String,
    /// status, scale, ...: replace this part of the object
    #[arg(long)]
    subresource: Option<String>,
    /// Keep the object as given in an annotation, for a later apply
    #[arg(long)]
    save_config: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "strict")]
    validate: Option<String>,
    #[command(flatten)]
    how: ChangeArgs,
}

pub async fn run(args: ReplaceArgs, cx: &Context) -> Result<(), Failure> {
    let how = Change::new(&args.how, "kubectl-replace", cx)?;
    if args.grace_period >= 0 && !args.force {
        return Err(Failure::error("--grace-period must have --force specified"));
    }
    if !args.timeout.is_zero() && !args.force {
        return Err(Failure::error("--timeout must have --force specified"));
    }
    if args.force && how.dry.is_some() {
        return Err(Failure::error("--dry-run can not be used when --force is set"));
    }
    if !args.files.is_given() {
        return Err(Failure::error("must specify one of -f and -k"));
    }
    let mut documents = files::read(&args.files, files::Purpose::Send, cx)?;
    for document in &mut documents {
        how.note_cause(&mut document.object);
        if args.save_config || document.object.pointer(LAST_APPLIED).is_some() {
            remember(&mut document.object);
        }
    }
    if args.force {
        delete(&args, &documents, cx).await?;
    }
    let mut failures = Vec::new();
    for document in &documents {
        failures.extend(one(&args, &how, document, cx).await.err());
    }
    Failure::all(failures)
}

const LAST_APPLIED: &str = "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration";

async fn one(args: &ReplaceArgs, how: &Change<'_>, document: &files::Document, cx: &Context) -> Result<(), Failure> {
    let files::Document { kind, namespace, name, object, source, .. } = document;
    if how.is_client_dry() {
        return how.tell(object, "replaced");
    }
    if args.force {
        let made = cx.client.create(kind, namespace, object).await.map_err(|e| e.during("replacing", source))?;
        return how.tell(&made, "replaced");
    }
    let mut at = path::object(kind, namespace, name);
    if let Some(part) = &args.subresource {
        at = format!("{at}/{}", path::escape(part));
    }
    let replaced = cx.client.put(&how.query().on(&at), object).await;
    let replaced = replaced.map_err(|e| e.during("replacing", source))?;
    how.tell(&replaced, "replaced")
}

/// What is not there need not go.
async fn delete(args: &ReplaceArgs, documents: &[files::Document], cx: &Context) -> Result<(), Failure> {
    let policy = match args.cascade.as_str() {
        "orphan" => "Orphan",
        "foreground" => "Foreground",
        _ => "Background",
    };
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
    match args.grace_period {
        seconds if seconds < 0 => {}
        // kubectl's own way to keep a pod from being lost sight of.
        0 => options["gracePeriodSeconds"] = 1.into(),
        seconds => options["gracePeriodSeconds"] = seconds.into(),
    }
    let mut going = Vec::new();
    for document in documents {
        let answer = match cx.client.delete(document.kind, &document.namespace, &document.name, &options).await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error.during("deleting", &document.source).into()),
        };
        let uid = answer.pointer("/metadata/uid").or_else(|| answer.pointer("/details/uid"));
        going.push(Going {
            kind: document.kind,
            namespace: document.namespace.clone(),
            name: document.name.clone(),
            uid: uid.and_then(Value::as_str).unwrap_or_default().to_string(),
        });
        print(&format!("{} \"{}\" deleted\n", document.kind.singular_resource(), document.name))?;
    }
    gone::wait(cx, &going, Some(args.timeout).filter(|t| !t.is_zero())).await
}
