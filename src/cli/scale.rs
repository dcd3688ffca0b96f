//! `scale`: how many pods a workload has.

use clap::Args;
use serde_json::{Value, json};

use super::change::{CHANGE_CAUSE, RecordArgs};
use super::output::{self, Output};
use super::path::{self, Query};
use super::{Context, Failure, dry_run, files, hint, print, resource};
use crate::object::kind::{self, KindRef};

/// Set how many pods a workload has
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// TYPE NAME..., TYPE/NAME..., or TYPE with --all or -l
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// The number of pods that there shall be
    #[arg(long, required = true, allow_negative_numbers = true)]
    replicas: i64,
    /// Only when there are so many now
    #[arg(long)]
    current_replicas: Option<i64>,
    /// All of the type
    #[arg(long)]
    all: bool,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// client or server: change nothing
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    dry_run: Option<String>,
    /// yaml, json, name or jsonpath=TEMPLATE: print the objects, and not a sentence each
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
    #[arg(long, hide = true)]
    timeout: Option<String>,
    #[command(flatten)]
    record: RecordArgs,
}

pub async fn run(args: ScaleArgs, cx: &Context) -> Result<(), Failure> {
    if args.replicas < 0 {
        return Err(Failure::error(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        ));
    }
    let dry = dry_run(args.dry_run.as_deref())?;
    let mut failures = Vec::new();
    for (kind, namespace, name) in
        named(&args.resources, &args.files, args.all, args.selector.as_deref(), "scale", cx).await?
    {
        if let Err(failure) = scale_one(&args, cx, dry, kind, &namespace, &name).await {
            failures.push(failure);
        }
    }
    Failure::all(failures)
}

async fn scale_one(
    args: &ScaleArgs,
    cx: &Context,
    dry: Option<&str>,
    kind: KindRef,
    namespace: &str,
    name: &str,
) -> Result<(), Failure> {
    let scalable =
        [&kind::DEPLOYMENT, &kind::REPLICA_SET, &kind::STATEFUL_SET, &kind::REPLICATION_CONTROLLER].contains(&kind);
    if !scalable {
        let failure = Failure::error(format!("cannot scale {}/{name}: a {} has no replicas", kind.plural, kind.kind));
        return Err(failure.hint("deployments, replicasets, statefulsets and replicationcontrollers can be scaled"));
    }
    if let Some(expected) = args.current_replicas {
        let now = cx.client.get(kind, namespace, name).await?;
        let now = now.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        if now != expected {
            return Err(Failure::error(format!("Expected replicas to be {expected}, was {now}")));
        }
    }
    if dry != Some(super::DRY_CLIENT) {
        let patch = json!({"spec": {"replicas": args.replicas}});
        let query = Query::new().with_some("dryRun", dry.map(|_| "All"));
        let path = query.on(&format!("{}/scale", path::object(kind, namespace, name)));
        if let Err(error) = cx.client.merge_patch(&path, &patch).await {
            if !error.is_not_found() {
                return Err(error.into());
            }
            let failure =
                Failure::error(format!("no objects passed to scale {} \"{name}\" not found", kind.resource()));
            return Err(failure.hints(hint::for_missing(cx, kind, namespace, name).await));
        }
        if let Some(cause) = args.record.cause().filter(|_| dry.is_none()) {
            let patch = json!({"metadata": {"annotations": {CHANGE_CAUSE: cause}}});
            cx.client.merge_patch(&path::object(kind, namespace, name), &patch).await?;
        }
    }
    let output = Output::parse(&args.output)?;
    if output.is_table() {
        return print(&format!("{}/{name} scaled{}\n", kind.singular_resource(), dry.unwrap_or_default()));
    }
    let mut object = cx.client.get(kind, namespace, name).await?;
    if let (Some(spec), Some(_)) = (object.get_mut("spec").and_then(Value::as_object_mut), dry) {
        spec.insert("replicas".into(), args.replicas.into());
    }
    print(&output::objects(&output, vec![object], true, true)?)
}

/// The objects that a verb is to change: named, in files, or found by label; each as kind, namespace and name.
pub async fn named(
    resources: &[String],
    files: &files::FileArgs,
    all: bool,
    selector: Option<&str>,
    command: &str,
    cx: &Context,
) -> Result<Vec<(KindRef, String, String)>, Failure> {
    if files.is_given() {
        let documents = files::read(files, files::Purpose::Name, cx)?.into_iter();
        return Ok(documents.map(|d| (d.kind, d.namespace, d.name)).collect());
    }
    if resources.is_empty() {
        return Err(super::nothing_given());
    }
    let resources = resource::parse(resources, command)?;
    let mut found = Vec::new();
    for asked in resources.asked {
        found.extend(asked.names.iter().map(|name| (asked.kind, cx.namespace.clone(), name.clone())));
        if asked.names.is_empty() {
            if !all && selector.is_none() {
                return Err(Failure::error("resource(s) were provided, but no name was specified"));
            }
            let query = Query::new().with_some("labelSelector", selector);
            let items = cx.client.items(asked.kind, Some(&cx.namespace), &query).await?;
            found.extend(
                items
                    .iter()
                    .map(|item| (asked.kind, hint::namespace_of(item).to_string(), hint::name_of(item).to_string())),
            );
        }
    }
    if found.is_empty() {
        eprintln!("No resources found in {} namespace.", cx.namespace);
    }
    Ok(found)
}
