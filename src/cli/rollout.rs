//! `rollout`: how the replacement of a workload's pods goes on, and the revisions it goes between.

mod history;
mod pause;
mod revisions;
mod undo;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::As;
use super::path::{self, Query};
use super::target::TargetArgs;
use super::{Context, Failure, duration, files, pods, print, scale};
use crate::object::kind::{self, KindRef};

/// Watch, start, stop or take back the replacement of a workload's pods
#[derive(Debug, Args)]
pub struct RolloutArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Wait until all pods are new and available
    Status(StatusArgs),
    /// Replace all pods
    Restart(RestartArgs),
    History(history::HistoryArgs),
    Undo(undo::UndoArgs),
    /// Let changes of a Deployment wait until it is resumed
    Pause(pause::PauseArgs),
    /// Let a paused Deployment go on
    Resume(pause::PauseArgs),
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// TYPE NAME or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// Wait until it is done
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    watch: bool,
    /// How long to wait; 0 is for as long as it takes
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    timeout: Duration,
}

#[derive(Debug, Args)]
struct RestartArgs {
    #[command(flatten)]
    targets: TargetArgs,
}

pub async fn run(args: RolloutArgs, cx: &Context) -> Result<(), Failure> {
    match args.what {
        What::Restart(args) => restart(args, cx).await,
        What::History(args) => history::run(args, cx).await,
        What::Undo(args) => undo::run(args, cx).await,
        What::Pause(args) => pause::pause(args, cx).await,
        What::Resume(args) => pause::resume(args, cx).await,
        What::Status(args) => {
            let timeout = Some(args.timeout).filter(|t| !t.is_zero());
            let all = async {
                for (kind, _, name) in
                    scale::named(&args.resources, &args.files, true, None, "rollout status", cx).await?
                {
                    status(cx, kind, &name, args.watch).await?;
                }
                Ok(())
            };
            match timeout {
                None => all.await,
                Some(timeout) => tokio::time::timeout(timeout, all)
                    .await
                    .unwrap_or_else(|_| Err(Failure::error("timed out waiting for the condition"))),
            }
        }
    }
}

async fn restart(args: RestartArgs, cx: &Context) -> Result<(), Failure> {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut failures = Vec::new();
    let TargetArgs { resources, files, selector } = args.targets;
    for (kind, namespace, name) in
        scale::named(&resources, &files, true, selector.as_deref(), "rollout restart", cx).await?
    {
        if !has_rollouts(kind) {
            failures
                .push(Failure::error(format!("{}.{} \"{name}\" restarting is not supported", kind.plural, kind.group)));
            continue;
        }
        let object = cx.client.find(kind, &namespace, &name).await?;
        if object.is_some_and(|o| o.pointer("/spec/paused").and_then(Value::as_bool) == Some(true)) {
            let why = "can't restart paused deployment (run rollout resume first)";
            failures.push(Failure::error(format!("{} \"{name}\" {why}", kind.resource())));
            continue;
        }
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        match cx.client.merge_patch(&path::object(kind, &namespace, &name), &patch).await {
            Ok(_) => print(&format!("{}/{name} restarted\n", kind.singular_resource()))?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::all(failures)
}

fn has_rollouts(kind: KindRef) -> bool {
    [&kind::DEPLOYMENT, &kind::DAEMON_SET, &kind::STATEFUL_SET].contains(&kind)
}

async fn status(cx: &Context, kind: KindRef, name: &str, watch: bool) -> Result<(), Failure> {
    if !has_rollouts(kind) {
        return Err(Failure::error(format!("no status viewer has been implemented for {}", kind.kind)));
    }
    let mut object = pods::get(cx, kind, name).await?;
    let mut told = String::new();
    loop {
        let (text, done) = progress(kind, name, &object)?;
        if text != told {
            print(&format!("{text}\n"))?;
            told = text;
        }
        if done || !watch {
            return Ok(());
        }
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let since = Query::new().named(name).with_some("resourceVersion", version);
        let mut events = cx.client.watch(kind, Some(&cx.namespace), &since, As::Json).await?;
        object = match events.event().await? {
            Some((event, _)) if event == "DELETED" => return Err(Failure::error("object has been deleted")),
            Some((_, object)) => object,
            None => pods::get(cx, kind, name).await?,
        };
    }
}

/// What to say about a rollout, and whether it is done.
fn progress(kind: KindRef, name: &str, object: &Value) -> Result<(String, bool), Failure> {
    let number = |at: &str| object.pointer(at).and_then(Value::as_i64);
    let status = |field: &str| number(&format!("/status/{field}")).unwrap_or(0);
    let what = kind.singular();
    if number("/metadata/generation").unwrap_or(0) > status("observedGeneration") {
        return Ok((format!("Waiting for {what} spec update to be observed..."), false));
    }
    let waiting = |text: String| Ok((format!("Waiting for {what} \"{name}\" rollout to finish: {text}..."), false));
    if kind == &kind::DAEMON_SET {
        let (wanted, updated) = (status("desiredNumberScheduled"), status("updatedNumberScheduled"));
        if updated < wanted {
            return waiting(format!("{updated} out of {wanted} new pods have been updated"));
        }
        let available = status("numberAvailable");
        if available < wanted {
            return waiting(format!("{available} of {wanted} updated pods are available"));
        }
        return Ok((format!("daemon set \"{name}\" successfully rolled out"), true));
    }
    let wanted = number("/spec/replicas").unwrap_or(1);
    if kind == &kind::STATEFUL_SET {
        let ready = status("readyReplicas");
        if ready < wanted {
            return Ok((format!("Waiting for {} pods to be ready...", wanted - ready), false));
        }
        return Ok((
            format!(
                "statefulset rolling update complete {wanted} pods at revision {}...",
                object.pointer("/status/updateRevision").and_then(Value::as_str).unwrap_or_default()
            ),
            true,
        ));
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let stuck =
        conditions.into_iter().any(|c| c.get("reason").and_then(Value::as_str) == Some("ProgressDeadlineExceeded"));
    if stuck {
        return Err(Failure::error(format!("deployment \"{name}\" exceeded its progress deadline")));
    }
    let (updated, replicas, available) = (status("updatedReplicas"), status("replicas"), status("availableReplicas"));
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    if replicas > updated {
        return waiting(format!("{} old replicas are pending termination", replicas - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Ok((format!("deployment \"{name}\" successfully rolled out"), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_in_kubectls_words() {
        let said = |status: Value| {
            let object = json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": status});
            progress(&kind::DEPLOYMENT, "web", &object).unwrap()
        };
        let waiting = |text: &str| (format!("Waiting for deployment \"web\" rollout to finish: {text}..."), false);
        assert_eq!(
            said(json!({"observedGeneration": 1})),
            ("Waiting for deployment spec update to be observed...".into(), false)
        );
        assert_eq!(
            said(json!({"observedGeneration": 2, "updatedReplicas": 1, "replicas": 3})),
            waiting("1 out of 3 new replicas have been updated")
        );
        assert_eq!(
            said(json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4, "availableReplicas": 3})),
            waiting("1 old replicas are pending termination")
        );
        assert_eq!(
            said(json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2})),
            waiting("2 of 3 updated replicas are available")
        );
        assert_eq!(
            said(json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3})),
            ("deployment \"web\" successfully rolled out".into(), true)
        );
    }
}
