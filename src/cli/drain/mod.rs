//! `cordon`, `uncordon` and `drain`: nodes that are to take no pods, and the pods that are to leave them.

mod pods;
pub mod taint;

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::path::{self, Query};
use super::{Context, Failure, dry_run, duration, hint, print, resource};
use crate::object::kind;

/// Which nodes.
#[derive(Debug, Args)]
struct NodesArgs {
    /// NODE...
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// client or server: change nothing
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    dry_run: Option<String>,
}

/// Let no new pods be placed on a node
#[derive(Debug, Args)]
pub struct CordonArgs {
    #[command(flatten)]
    nodes: NodesArgs,
}

/// Let pods be placed on a node again
#[derive(Debug, Args)]
pub struct UncordonArgs {
    #[command(flatten)]
    nodes: NodesArgs,
}

/// Let no new pods be placed on a node, and evict those that are there
#[derive(Debug, Args)]
pub struct DrainArgs {
    #[command(flatten)]
    nodes: NodesArgs,
    /// Leave the pods of DaemonSets, which would come back
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Also evict pods with emptyDir volumes, whose content is lost
    #[arg(long, alias = "delete-local-data")]
    delete_emptydir_data: bool,
    /// Also delete pods that no controller makes again
    #[arg(long)]
    force: bool,
    /// Seconds for each pod to end; the pod's own if below 0
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    grace_period: i64,
    /// How long to wait for pods to go; 0 is for as long as it takes
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    timeout: Duration,
    /// Only the pods with these labels
    #[arg(long)]
    pod_selector: Option<String>,
    /// Delete pods in place of evicting them
    #[arg(long)]
    disable_eviction: bool,
    /// Do not wait for pods that have been going for longer than so many seconds
    #[arg(long, default_value_t = 0)]
    skip_wait_for_delete_timeout: i64,
    #[arg(long, hide = true)]
    chunk_size: Option<u64>,
}

pub async fn cordon(args: CordonArgs, cx: &Context) -> Result<(), Failure> {
    let (nodes, dry) = args.nodes.find("cordon", cx).await?;
    mark_all(&nodes, true, dry, cx).await
}

pub async fn uncordon(args: UncordonArgs, cx: &Context) -> Result<(), Failure> {
    let (nodes, dry) = args.nodes.find("uncordon", cx).await?;
    mark_all(&nodes, false, dry, cx).await
}

pub async fn drain(args: DrainArgs, cx: &Context) -> Result<(), Failure> {
    let (nodes, dry) = args.nodes.find("drain", cx).await?;
    mark_all(&nodes, true, dry, cx).await?;
    let (mut failures, mut pending) = (Vec::new(), Vec::new());
    for node in &nodes {
        let name = hint::name_of(node);
        match pods::leave(name, &args, dry, cx).await {
            Ok(()) => print(&format!("node/{name} drained{}\n", dry.unwrap_or_default()))?,
            Err(failure) => {
                let reason =
                    failure.message.strip_prefix("error: ").unwrap_or(&failure.message).replace("\nerror: ", ", ");
                let reason = if reason.contains(", ") { format!("[{reason}]") } else { reason };
                eprintln!("error: unable to drain node \"{name}\" due to error: {reason}, continuing command...");
                pending.push(name);
                failures.push(failure);
            }
        }
    }
    if !pending.is_empty() {
        eprintln!("There are pending nodes to be drained:");
        pending.iter().for_each(|name| eprintln!(" {name}"));
    }
    Failure::all(failures)
}

impl NodesArgs {
    /// The nodes, and what to say of changes that are not really made.
    async fn find(&self, verb: &str, cx: &Context) -> Result<(Vec<Value>, Option<&'static str>), Failure> {
        let dry = dry_run(self.dry_run.as_deref())?;
        if self.nodes.is_empty() && self.selector.is_none() {
            return Err(Failure::usage(format!("USAGE: {verb} NODE [flags]"), verb));
        }
        if !self.nodes.is_empty() && self.selector.is_some() {
            return Err(Failure::usage("error: cannot specify both a node name and a --selector option", verb));
        }
        if let Some(selector) = &self.selector {
            let query = Query::new().with("labelSelector", selector.as_str());
            return Ok((cx.client.items(&kind::NODE, None, &query).await?, dry));
        }
        // `drain node w1-k8s` and `drain node/w1-k8s` are what kubectl takes too, or what is often typed.
        let names = match self.nodes.as_slice() {
            [first, rest @ ..] if !rest.is_empty() && ["node", "nodes", "no"].contains(&first.as_str()) => rest,
            all => all,
        };
        let mut nodes = Vec::new();
        for name in names {
            let (found, name) = resource::parse_one(std::slice::from_ref(name), Some(&kind::NODE), verb)?;
            if found != &kind::NODE {
                return Err(Failure::error(format!("expected resource of type node, got \"{}\"", found.plural)));
            }
            nodes.push(super::pods::get(cx, &kind::NODE, &name).await?);
        }
        Ok((nodes, dry))
    }
}

/// Makes all nodes unschedulable, or schedulable again.
async fn mark_all(nodes: &[Value], wanted: bool, dry: Option<&str>, cx: &Context) -> Result<(), Failure> {
    for node in nodes {
        let name = hint::name_of(node);
        let done = if wanted { "cordoned" } else { "uncordoned" };
        let now = node.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or(false);
        if now == wanted {
            print(&format!("node/{name} already {done}{}\n", dry.unwrap_or_default()))?;
            continue;
        }
        if dry != Some(super::DRY_CLIENT) {
            // Null takes the field away, as kubectl does.
            let value = if wanted { json!(true) } else { Value::Null };
            let query = Query::new().with_some("dryRun", dry.map(|_| "All"));
            let patch = json!({"spec": {"unschedulable": value}});
            cx.client.merge_patch(&query.on(&path::object(&kind::NODE, "", name)), &patch).await?;
        }
        print(&format!("node/{name} {done}{}\n", dry.unwrap_or_default()))?;
    }
    Ok(())
}
