//! `logs`: what containers have written.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::path::{self, Query};
use super::{Context, Failure, duration, hint, pods, print, resource};
use crate::object::kind;

/// Print what a container has written
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// POD, or TYPE/NAME for one of its pods
    #[arg(value_name = "POD")]
    pod: Vec<String>,
    /// The container; the pod's first if not given
    #[arg(short, long)]
    container: Option<String>,
    /// All containers of the pod
    #[arg(long)]
    all_containers: bool,
    /// All pods of the TYPE/NAME
    #[arg(long)]
    all_pods: bool,
    /// All pods with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Go on as more is written
    #[arg(short, long)]
    follow: bool,
    /// Of the container before its last restart
    #[arg(short, long)]
    previous: bool,
    /// Only the last lines; -1 is all
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, value_name = "LINES")]
    tail: i64,
    /// Only what is newer than this: 5s, 2m, 3h
    #[arg(long, value_parser = duration::parse)]
    since: Option<Duration>,
    /// Only what is newer than this time (RFC 3339)
    #[arg(long)]
    since_time: Option<String>,
    /// The time before each line
    #[arg(long)]
    timestamps: bool,
    /// At most so many bytes
    #[arg(long)]
    limit_bytes: Option<u64>,
    /// The pod and container before each line
    #[arg(long)]
    prefix: bool,
    /// Go on with other containers when one cannot be read
    #[arg(long)]
    ignore_errors: bool,
    #[arg(long, hide = true)]
    max_log_requests: Option<u32>,
}

/// The log of one container, and what to put before its lines.
#[derive(Debug, Clone)]
struct Source {
    path: String,
    prefix: String,
}

pub async fn run(args: LogsArgs, cx: &Context) -> Result<(), Failure> {
    let pods = pods_of(&args, cx).await?;
    let mut sources = Vec::new();
    for pod in &pods {
        sources.extend(sources_in(&args, pod, pods.len() > 1)?);
    }
    match sources.as_slice() {
        [] => {
            eprintln!("No resources found in {} namespace.", cx.namespace);
            Ok(())
        }
        [one] if one.prefix.is_empty() => Ok(copy(&cx.client, &one.path).await?),
        _ if args.follow => follow_all(&cx.client, sources, args.ignore_errors).await,
        _ => {
            for source in sources {
                match copy_lines(&cx.client, source).await {
                    Err(failure) if args.ignore_errors => eprintln!("{failure}"),
                    result => result?,
                }
            }
            Ok(())
        }
    }
}

async fn pods_of(args: &LogsArgs, cx: &Context) -> Result<Vec<Value>, Failure> {
    if let Some(selector) = &args.selector {
        if !args.pod.is_empty() {
            return Err(Failure::usage("only a selector (-l) or a POD name is allowed", "logs"));
        }
        let query = Query::new().with("labelSelector", selector.as_str());
        return Ok(cx.client.items(&kind::POD, Some(&cx.namespace), &query).await?);
    }
    if args.pod.is_empty() {
        let words = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required \
                     argument for the logs command";
        return Err(Failure::usage(words, "logs"));
    }
    // kubectl takes a container's name behind the pod's, too.
    let named = args.pod.get(..1).unwrap_or_default();
    if args.all_pods {
        let (kind, name) = resource::parse_one(named, Some(&kind::POD), "logs")?;
        let object = pods::get(cx, kind, &name).await?;
        return if kind == &kind::POD { Ok(vec![object]) } else { pods::selected_by(cx, kind, &object).await };
    }
    if named.first().is_some_and(|n| n.contains('/')) {
        let (kind, name) = resource::parse_one(named, None, "logs")?;
        if kind != &kind::POD {
            let object = pods::get(cx, kind, &name).await?;
            let all = pods::selected_by(cx, kind, &object).await?;
            let pod = pods::find_one(cx, named, "logs").await?;
            if all.len() > 1 {
                eprintln!("Found {} pods, using pod/{}", all.len(), hint::name_of(&pod));
            }
            return Ok(vec![pod]);
        }
    }
    pods::find_one(cx, named, "logs").await.map(|pod| vec![pod])
}

fn sources_in(args: &LogsArgs, pod: &Value, several: bool) -> Result<Vec<Source>, Failure> {
    let containers: Vec<String> = if args.all_containers {
        ["initContainers", "containers", "ephemeralContainers"]
            .iter()
            .flat_map(|field| pods::containers(pod, field))
            .map(str::to_string)
            .collect()
    } else {
        let asked = args.container.as_deref().or(args.pod.get(1).map(String::as_str));
        vec![pods::container(pod, asked, several)?]
    };
    let name = hint::name_of(pod);
    let path = format!("{}/log", path::object(&kind::POD, hint::namespace_of(pod), name));
    let source = |container: String| {
        let prefix = if args.prefix { format!("[pod/{name}/{container}] ") } else { String::new() };
        Source { path: query(args, &container).on(&path), prefix }
    };
    Ok(containers.into_iter().map(source).collect())
}

fn query(args: &LogsArgs, container: &str) -> Query {
    let flag = |on: bool| on.then_some("true");
    // With labels kubectl shows the last ten lines of each.
    let tail = if args.tail < 0 && args.selector.is_some() && !args.follow { 10 } else { args.tail };
    let number = |n: Option<u64>| n.map(|n| n.to_string());
    Query::new()
        .with("container", container)
        .with_some("follow", flag(args.follow))
        .with_some("previous", flag(args.previous))
        .with_some("timestamps", flag(args.timestamps))
        .with_some("tailLines", number(u64::try_from(tail).ok()).as_deref())
        .with_some("sinceSeconds", number(args.since.map(|s| s.as_secs().max(1))).as_deref())
        .with_some("sinceTime", args.since_time.as_deref())
        .with_some("limitBytes", number(args.limit_bytes).as_deref())
}

/// Byte by byte as it comes.
pub async fn copy(client: &Client, path: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut log = client.lines(path, "*/*").await?;
    while let Some(bytes) = log.chunk().await? {
        let mut out = std::io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()?;
    }
    Ok(())
}

async fn copy_lines(client: &Client, source: Source) -> Result<(), Failure> {
    let mut log = client.lines(&source.path, "*/*").await?;
    while let Some(line) = log.line().await? {
        print(&format!("{}{}\n", source.prefix, String::from_utf8_lossy(&line)))?;
    }
    Ok(())
}

/// All at once, line by line.
async fn follow_all(client: &Client, sources: Vec<Source>, ignore_errors: bool) -> Result<(), Failure> {
    let mut logs = tokio::task::JoinSet::new();
    for source in sources {
        let client = client.clone();
        logs.spawn(async move { copy_lines(&client, source).await });
    }
    while let Some(ended) = logs.join_next().await {
        match ended {
            Ok(Err(failure)) if ignore_errors => eprintln!("{failure}"),
            Ok(result) => result?,
            Err(error) => return Err(Failure::error(format!("following a log ended early: {error}"))),
        }
    }
    Ok(())
}
