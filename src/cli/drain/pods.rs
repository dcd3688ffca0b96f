//! The pods of a node that is drained: which may go, and their leaving.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::client::ClientError;
use super::super::gone::{self, Going};
use super::super::path::{self, Query};
use super::super::{Context, DRY_CLIENT, DRY_SERVER, Failure, hint, pods, print};
use super::DrainArgs;
use crate::object::kind;

/// Between two attempts to evict a pod that a disruption budget protects.
const RETRY: Duration = Duration::from_secs(5);

/// What is to become of a pod, and a word of warning.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Leaves(&'static str),
    Stays(&'static str),
    Forbids(String),
}

pub async fn leave(node: &str, args: &DrainArgs, dry: Option<&str>, cx: &Context) -> Result<(), Failure> {
    let mut leaving = Vec::new();
    let (mut warnings, mut errors) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::<String, Vec<String>>::new());
    for pod in of_node(node, args, cx).await? {
        let name = format!("{}/{}", hint::namespace_of(&pod), hint::name_of(&pod));
        let daemon_set = daemon_set_of(&pod, cx).await?;
        let fate = fate(&pod, daemon_set, args);
        let leaves = matches!(fate, Fate::Leaves(_));
        match fate {
            Fate::Leaves(warning) | Fate::Stays(warning) if !warning.is_empty() => {
                warnings.entry(warning.to_string()).or_default().push(name);
            }
            Fate::Forbids(error) => errors.entry(error).or_default().push(name),
            _ => {}
        }
        if leaves {
            leaving.push(pod);
        }
    }
    let lists = |map: BTreeMap<String, Vec<String>>, prefix: &str| -> Vec<String> {
        map.into_iter().map(|(words, pods)| format!("{prefix}{words}: {}", pods.join(", "))).collect()
    };
    if !errors.is_empty() {
        return Failure::all(lists(errors, "cannot delete ").into_iter().map(Failure::error).collect());
    }
    if !warnings.is_empty() {
        eprintln!("Warning: {}", lists(warnings, "").join("; "));
    }
    evict_all(leaving, args, dry, cx).await
}

async fn of_node(node: &str, args: &DrainArgs, cx: &Context) -> Result<Vec<Value>, Failure> {
    let query = Query::new()
        .with("fieldSelector", format!("spec.nodeName={node}"))
        .with_some("labelSelector", args.pod_selector.as_deref());
    Ok(cx.client.items(&kind::POD, None, &query).await?)
}

fn controller(pod: &Value) -> Option<&Value> {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    owners.iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// Whether the DaemonSet that made a pod is there; `None` of a pod that none made.
async fn daemon_set_of(pod: &Value, cx: &Context) -> Result<Option<bool>, Failure> {
    let text = |owner: &Value, field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default().to_string();
    let Some(owner) = controller(pod).filter(|o| text(o, "kind") == "DaemonSet" && text(o, "apiVersion") == "apps/v1")
    else {
        return Ok(None);
    };
    let found = cx.client.find(&kind::DAEMON_SET, hint::namespace_of(pod), &text(owner, "name")).await?;
    Ok(Some(found.is_some()))
}

/// kubectl's rules, in its order: the last one that has a word to say says it.
fn fate(pod: &Value, daemon_set: Option<bool>, args: &DrainArgs) -> Fate {
    let gone = args.skip_wait_for_delete_timeout;
    if gone > 0 && going_for(pod).is_some_and(|seconds| seconds > gone) {
        return Fate::Stays("");
    }
    let has_ended = ["Succeeded", "Failed"].contains(&pods::phase(pod));
    if let (Some(is_there), false) = (daemon_set, has_ended) {
        let name = controller(pod).and_then(|o| o.get("name")).and_then(Value::as_str).unwrap_or_default();
        match (is_there, args.force, args.ignore_daemonsets) {
            (false, false, _) => return Fate::Forbids(format!("daemonsets.apps \"{name}\" not found")),
            (false, true, _) => {}
            (true, _, false) => {
                return Fate::Forbids("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)".into());
            }
            (true, _, true) => return Fate::Stays("ignoring DaemonSet-managed Pods"),
        }
    }
    if pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some() {
        return Fate::Stays("");
    }
    let mut volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    if !has_ended && !args.delete_emptydir_data && volumes.any(|volume| volume.get("emptyDir").is_some()) {
        return Fate::Forbids("Pods with local storage (use --delete-emptydir-data to override)".into());
    }
    match (has_ended || controller(pod).is_some(), args.force) {
        (true, _) => Fate::Leaves(""),
        (false, true) => Fate::Leaves("deleting Pods that declare no controller"),
        (false, false) => Fate::Forbids("Pods that declare no controller (use --force to override)".into()),
    }
}

fn going_for(pod: &Value) -> Option<i64> {
    let since = pod.pointer("/metadata/deletionTimestamp").and_then(Value::as_str)?;
    let since: jiff::Timestamp = since.parse().ok()?;
    Some(jiff::Timestamp::now().as_second() - since.as_second())
}

async fn evict_all(pods: Vec<Value>, args: &DrainArgs, dry: Option<&str>, cx: &Context) -> Result<(), Failure> {
    if dry == Some(DRY_CLIENT) {
        for pod in &pods {
            print(&format!("evicting pod {}/{} (dry run)\n", hint::namespace_of(pod), hint::name_of(pod)))?;
        }
        return Ok(());
    }
    let timeout = Some(args.timeout).filter(|t| !t.is_zero());
    let until = timeout.map(|t| tokio::time::Instant::now() + t);
    let one = |pod: Value| async move {
        let (namespace, name) = (hint::namespace_of(&pod).to_string(), hint::name_of(&pod).to_string());
        let leaving = evict(&pod, args, dry, cx);
        match until {
            None => leaving.await,
            Some(until) => tokio::time::timeout_at(until, leaving).await.unwrap_or_else(|_| {
                let spent = super::super::duration::text(args.timeout);
                Err(Failure::error(format!(
                    "error when evicting pods/\"{name}\" -n \"{namespace}\": global timeout reached: {spent}"
                )))
            }),
        }
    };
    // All at once: their times to end are not added up.
    let results = futures_util::future::join_all(pods.into_iter().map(one)).await;
    Failure::all(results.into_iter().filter_map(Result::err).collect())
}

async fn evict(pod: &Value, args: &DrainArgs, dry: Option<&str>, cx: &Context) -> Result<(), Failure> {
    let (namespace, name) = (hint::namespace_of(pod), hint::name_of(pod));
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    if args.grace_period >= 0 {
        options["gracePeriodSeconds"] = args.grace_period.into();
    }
    if dry == Some(DRY_SERVER) {
        options["dryRun"] = json!(["All"]);
    }
    loop {
        let answer = if args.disable_eviction {
            cx.client.delete(&kind::POD, namespace, name, &options).await
        } else {
            print(&format!("evicting pod {namespace}/{name}{}\n", dry.unwrap_or_default()))?;
            let path = format!("{}/eviction", path::object(&kind::POD, namespace, name));
            let metadata = json!({"name": name, "namespace": namespace});
            let eviction =
                json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata, "deleteOptions": options});
            cx.client.post_path(&path, &eviction).await
        };
        match answer {
            Ok(_) => break,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(ClientError::Status(status)) if status.code == 429 => {
                let after = super::super::duration::text(RETRY);
                eprintln!(
                    "error when evicting pods/\"{name}\" -n \"{namespace}\" (will retry after {after}): {}",
                    status.message
                );
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => {
                return Err(Failure::error(format!("error when evicting pods/\"{name}\" -n \"{namespace}\": {error}")));
            }
        }
    }
    if dry.is_some() {
        return Ok(());
    }
    let uid = pod.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_string();
    let going = Going { kind: &kind::POD, namespace: namespace.to_string(), name: name.to_string(), uid };
    gone::wait(cx, &[going], None).await?;
    print(&format!("pod/{name} {}\n", if args.disable_eviction { "deleted" } else { "evicted" }))
}
