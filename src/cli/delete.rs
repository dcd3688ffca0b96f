//! `delete`: by file, name or label, and waits until it is gone.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::ClientError;
use super::gone::{self, Going};
use super::hint;
use super::output::Output;
use super::path::Query;
use super::resource;
use super::target::TargetArgs;
use super::{Context, Failure, duration, files, print};
use crate::object::kind::KindRef;

/// Delete objects
#[derive(Debug, Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    targets: TargetArgs,
    /// All objects with these fields
    #[arg(long)]
    field_selector: Option<String>,
    /// All objects of the type
    #[arg(long)]
    all: bool,
    /// In every namespace, with -l or --all
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// background, orphan or foreground: what becomes of the objects that belong to it
    #[arg(long, default_value = "background", value_parser = ["background", "orphan", "foreground"],
          num_args = 0..=1, require_equals = true, default_missing_value = "background")]
    cascade: String,
    /// Seconds a pod has to end by itself; -1 is what the pod says
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "SECONDS")]
    grace_period: i64,
    /// Do not wait for the pod's node; with --grace-period=0
    #[arg(long)]
    force: bool,
    /// As --grace-period=1
    #[arg(long)]
    now: bool,
    /// Wait until it is gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    wait: bool,
    /// How long to wait; 0 is for as long as it takes
    #[arg(long, default_value = "0s", value_parser = duration::parse, allow_negative_numbers = true)]
    timeout: Duration,
    /// No error when it is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// name: print no more than the names
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
    /// client or server: say what would be deleted, and delete nothing
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    dry_run: Option<String>,
}

struct Target {
    kind: KindRef,
    namespace: String,
    name: String,
    /// The file that named it.
    source: Option<String>,
}

pub async fn run(args: DeleteArgs, cx: &Context) -> Result<(), Failure> {
    let names_only = match Output::parse(&args.output)? {
        Output::Table { wide: false } => false,
        Output::Name => true,
        _ => {
            return Err(Failure::error(format!(
                "unexpected -o output mode: {}. We only support '-o name'",
                args.output
            )));
        }
    };
    let (targets, may_be_gone) = targets(&args, cx).await?;
    let grace = grace_period(&args)?;
    let dry = super::dry_run(args.dry_run.as_deref())?;
    if targets.is_empty() && !names_only {
        print("No resources found\n")?;
    }
    let (mut going, mut failures) = (Vec::new(), Vec::new());
    for target in targets {
        if dry.is_none() {
            match delete_one(&args, cx, &target, grace).await {
                Ok(gone) => going.extend(gone),
                Err(error) if error.is_not_found() && (may_be_gone || args.ignore_not_found) => continue,
                Err(error) => {
                    failures.push(failure_of(error, &target, cx).await);
                    continue;
                }
            }
        }
        let forced = grace == Some(0) && args.force;
        let what = target.kind.singular_resource();
        print(&match names_only {
            true => format!("{what}/{}\n", target.name),
            false => {
                let how = if forced { "force deleted" } else { "deleted" };
                format!("{what} \"{}\" {how}{}\n", target.name, dry.unwrap_or_default())
            }
        })?;
    }
    if args.wait && !args.force {
        let timeout = Some(args.timeout).filter(|t| !t.is_zero());
        gone::wait(cx, &going, timeout).await?;
    }
    Failure::all(failures)
}

fn grace_period(args: &DeleteArgs) -> Result<Option<i64>, Failure> {
    if args.now && args.grace_period >= 0 {
        return Err(Failure::error("--now and --grace-period cannot be specified together"));
    }
    match (args.now, args.grace_period) {
        (true, _) => Ok(Some(1)),
        (_, 0) if !args.force => {
            // kubectl's own way to keep a pod from being lost sight of.
            Ok(Some(1))
        }
        (_, seconds) if seconds > 0 && args.force => {
            Err(Failure::error("--force and --grace-period greater than 0 cannot be specified together"))
        }
        _ if args.force => {
            eprintln!(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been \
                 terminated. The resource may continue to run on the cluster indefinitely."
            );
            Ok(Some(0))
        }
        (_, seconds) if seconds < 0 => Ok(None),
        (_, seconds) => Ok(Some(seconds)),
    }
}

/// What is to be deleted; `true` when it was found by listing, so that it may well be gone by now.
async fn targets(args: &DeleteArgs, cx: &Context) -> Result<(Vec<Target>, bool), Failure> {
    if args.targets.files.is_given() {
        if !args.targets.resources.is_empty() {
            return Err(Failure::error(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
            ));
        }
        let documents = files::read(&args.targets.files, files::Purpose::Name, cx)?.into_iter();
        let target =
            |d: files::Document| Target { kind: d.kind, namespace: d.namespace, name: d.name, source: Some(d.source) };
        return Ok((documents.map(target).collect(), false));
    }
    if args.targets.resources.is_empty() {
        return Err(super::nothing_given());
    }
    let resources = resource::parse(&args.targets.resources, "delete")?;
    let by_list = args.all || args.targets.selector.is_some() || args.field_selector.is_some();
    if resources.names() > 0 {
        if args.all {
            return Err(Failure::error("name cannot be provided when a selector is specified or --all is set"));
        }
        if by_list {
            return Err(Failure::error("name cannot be provided when a selector is specified"));
        }
        let named = resources.asked.into_iter().flat_map(|asked| {
            let target = move |name| Target { kind: asked.kind, namespace: cx.namespace.clone(), name, source: None };
            asked.names.into_iter().map(target)
        });
        return Ok((named.collect(), false));
    }
    if !by_list {
        let first = resources.asked.first().map_or("pod".into(), |a| a.kind.singular());
        let failure = Failure::error("resource(s) were provided, but no name was specified");
        return Err(failure.hint(format!("name it ({first} NAME), or delete all of them with --all")));
    }
    let query = Query::new()
        .with_some("labelSelector", args.targets.selector.as_deref())
        .with_some("fieldSelector", args.field_selector.as_deref());
    let mut targets = Vec::new();
    for asked in &resources.asked {
        let namespace = (!args.all_namespaces).then_some(cx.namespace.as_str());
        for item in cx.client.items(asked.kind, namespace, &query).await? {
            targets.push(Target {
                kind: asked.kind,
                namespace: hint::namespace_of(&item).to_string(),
                name: hint::name_of(&item).to_string(),
                source: None,
            });
        }
    }
    Ok((targets, true))
}

async fn delete_one(
    args: &DeleteArgs,
    cx: &Context,
    target: &Target,
    grace: Option<i64>,
) -> Result<Option<Going>, ClientError> {
    let policy = match args.cascade.as_str() {
        "orphan" => "Orphan",
        "foreground" => "Foreground",
        _ => "Background",
    };
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
    if let (Some(grace), Some(options)) = (grace, options.as_object_mut()) {
        options.insert("gracePeriodSeconds".into(), grace.into());
    }
    let answer = cx.client.delete(target.kind, &target.namespace, &target.name, &options).await?;
    // A pod's answer is the pod, of all else it is a Status whose details have the uid.
    let uid = answer.pointer("/metadata/uid").or_else(|| answer.pointer("/details/uid"));
    Ok(Some(Going {
        kind: target.kind,
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        uid: uid.and_then(Value::as_str).unwrap_or_default().to_string(),
    }))
}

async fn failure_of(error: ClientError, target: &Target, cx: &Context) -> Failure {
    let missing = error.is_not_found();
    match &target.source {
        Some(source) => Failure::from(error.during("deleting", source)),
        None if missing => {
            let hints = hint::for_missing(cx, target.kind, &target.namespace, &target.name).await;
            Failure::from(error).hints(hints)
        }
        None => Failure::from(error),
    }
}
