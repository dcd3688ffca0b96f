//! `rollout pause` and `rollout resume`.

use clap::Args;
use serde_json::Value;

use super::super::change::{Change, ChangeArgs, Target};
use super::super::{Context, Failure, files, scale};
use crate::object::kind;

#[derive(Debug, Args)]
pub struct PauseArgs {
    /// TYPE NAME..., TYPE/NAME..., or TYPE for all of them
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    #[command(flatten)]
    how: ChangeArgs,
}

pub async fn pause(args: PauseArgs, cx: &Context) -> Result<(), Failure> {
    set(args, true, cx).await
}

pub async fn resume(args: PauseArgs, cx: &Context) -> Result<(), Failure> {
    set(args, false, cx).await
}

async fn set(args: PauseArgs, paused: bool, cx: &Context) -> Result<(), Failure> {
    if args.resources.is_empty() && !args.files.is_given() {
        return Err(Failure::error("required resource not specified"));
    }
    let (verb, doing, done, already) = match paused {
        true => ("rollout pause", "pausing", "paused", "is already paused"),
        false => ("rollout resume", "resuming", "resumed", "is not paused"),
    };
    let how = Change::new(&args.how, "kubectl-rollout", cx)?;
    let selector = args.selector.as_deref();
    let targets: Vec<Target> = scale::named(&args.resources, &args.files, true, selector, verb, cx).await?;
    let mut failures = Vec::new();
    for target in &targets {
        let (kind, _, name) = target;
        let refused = |why: &str| Failure::error(format!("{} \"{name}\" {why}", kind.resource()));
        if *kind != &kind::DEPLOYMENT {
            failures.push(refused(&format!("{doing} is not supported")));
            continue;
        }
        let change = |object: &mut Value| {
            if object.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or(false) == paused {
                return Err(refused(already));
            }
            match (object["spec"].as_object_mut(), paused) {
                (Some(spec), true) => drop(spec.insert("paused".into(), true.into())),
                (Some(spec), false) => drop(spec.remove("paused")),
                (None, _) => {}
            }
            Ok(())
        };
        match how.modify(target, change).await {
            Ok((_, object)) => how.tell(&object, done)?,
            Err(failure) => failures.push(failure),
        }
    }
    Failure::all(failures)
}
