//! `exec` and `attach`: a command in a container, or the container's own.

use clap::Args;
use serde_json::Value;

use super::path::{self, Query};
use super::stream::{self, Wishes};
use super::{Context, Failure, hint, pods};
use crate::object::kind;

/// Which container's streams, and how they are joined with the user's.
#[derive(Debug, Args)]
struct StreamArgs {
    /// The container; the pod's first if not given
    #[arg(short, long)]
    container: Option<String>,
    /// Hand on standard input
    #[arg(short = 'i', long)]
    stdin: bool,
    /// A terminal
    #[arg(short, long)]
    tty: bool,
    /// No messages beside the command's own
    #[arg(short, long)]
    quiet: bool,
}

/// Run a command in a container
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// POD, or TYPE/NAME for one of its pods
    #[arg(value_name = "POD")]
    pod: Vec<String>,
    #[command(flatten)]
    streams: StreamArgs,
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Join the command that a container runs
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// POD, or TYPE/NAME for one of its pods
    #[arg(value_name = "POD", required = true)]
    pod: Vec<String>,
    #[command(flatten)]
    streams: StreamArgs,
}

pub async fn run(args: ExecArgs, cx: &Context) -> Result<(), Failure> {
    let Some(first) = args.pod.first() else {
        return Err(Failure::error("pod, type/name or --filename must be specified"));
    };
    if args.command.is_empty() {
        if args.pod.len() > 1 {
            let failure = Failure::usage(
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead",
                "exec",
            );
            let (program, command) = (super::program(), args.pod.get(1..).unwrap_or_default().join(" "));
            return Err(failure.hint(format!("{program} exec {first} -- {command}")));
        }
        return Err(Failure::error("you must specify at least one command for the container"));
    }
    let pod = pods::find_one(cx, &args.pod, "exec").await?;
    refuse_completed(&pod, "exec into")?;
    let container = pods::container(&pod, args.streams.container.as_deref(), args.streams.quiet)?;
    let wishes = Wishes::new(args.streams.stdin, args.streams.tty);
    let mut query = Query::new();
    for word in args.command {
        query = query.with("command", word);
    }
    let query = wishes.on(query.with("container", container));
    let path = format!("{}/exec", path::object(&kind::POD, hint::namespace_of(&pod), hint::name_of(&pod)));
    let code = stream::open(&cx.client, &query.on(&path)).await?.join(wishes).await?;
    stream::terminated(code)
}

pub async fn attach(args: AttachArgs, cx: &Context) -> Result<(), Failure> {
    let pod = pods::find_one(cx, &args.pod, "attach").await?;
    refuse_completed(&pod, "attach a container in")?;
    let container = pods::container(&pod, args.streams.container.as_deref(), args.streams.quiet)?;
    // A container that was made without a terminal has none to join.
    let tty = args.streams.tty && has_tty(&pod, &container);
    if args.streams.tty && !tty && !args.streams.quiet {
        eprintln!("error: Unable to use a TTY - container {container} did not allocate one");
    }
    let code = join(cx, &pod, &container, Wishes::new(args.streams.stdin, tty), args.streams.quiet).await?;
    stream::terminated(code)
}

/// Attaches to a container until it ends; its exit code.
pub async fn join(cx: &Context, pod: &Value, container: &str, wishes: Wishes, quiet: bool) -> Result<u8, Failure> {
    let query = wishes.on(Query::new().with("container", container));
    let path = format!("{}/attach", path::object(&kind::POD, hint::namespace_of(pod), hint::name_of(pod)));
    let open = stream::open(&cx.client, &query.on(&path)).await?;
    if !quiet {
        eprintln!("If you don't see a command prompt, try pressing enter.");
    }
    open.join(wishes).await
}

fn has_tty(pod: &Value, container: &str) -> bool {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let is_it = |c: &&Value| c.get("name").and_then(Value::as_str) == Some(container);
    containers.filter(is_it).any(|c| c.get("tty") == Some(&Value::Bool(true)))
}

fn refuse_completed(pod: &Value, what: &str) -> Result<(), Failure> {
    match pods::phase(pod) {
        phase @ ("Succeeded" | "Failed") => {
            let target = if what == "exec into" { "a container in a completed pod" } else { "a completed pod" };
            Err(Failure::error(format!("cannot {what} {target}; current phase is {phase}")))
        }
        _ => Ok(()),
    }
}
