//! `run`: a pod from the command line, perhaps with the user's terminal in it.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::{As, ClientError};
use super::create::{self, HowArgs};
use super::gone::{self, Going};
use super::path::{self, Query};
use super::stream::Wishes;
use super::{Context, Failure, duration, exec, hint, logs, pods, print};
use crate::object::kind;

/// Run an image in a pod
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The pod's name, and behind it (best after --) the container's arguments
    #[arg(value_name = "NAME", required = true)]
    name: Vec<String>,
    /// The container's image
    #[arg(long, required = true)]
    image: String,
    /// The port that the container listens on
    #[arg(long)]
    port: Option<u16>,
    /// NAME=VALUE for the container's environment
    #[arg(short, long)]
    env: Vec<String>,
    /// Labels of the pod; run=NAME if not given
    #[arg(short = 'l', long)]
    labels: Option<String>,
    /// Annotations of the pod
    #[arg(long)]
    annotations: Vec<String>,
    /// What stands behind -- replaces the image's command, and not only its arguments
    #[arg(long)]
    command: bool,
    /// Always, OnFailure or Never
    #[arg(long, default_value = "Always")]
    restart: String,
    /// Hand on standard input
    #[arg(short = 'i', long)]
    stdin: bool,
    /// A terminal
    #[arg(short, long)]
    tty: bool,
    /// Join the container; so with -i
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    attach: Option<bool>,
    /// Delete the pod when its container has ended
    #[arg(long)]
    rm: bool,
    /// Also make a Service for --port
    #[arg(long)]
    expose: bool,
    /// Always, IfNotPresent or Never
    #[arg(long)]
    image_pull_policy: Option<String>,
    /// Let standard input stay open after the first join
    #[arg(long)]
    leave_stdin_open: bool,
    /// No messages beside the container's own
    #[arg(short, long)]
    quiet: bool,
    /// How long to wait for the pod to run
    #[arg(long, default_value = "1m0s", value_parser = duration::parse)]
    pod_running_timeout: Duration,
    /// Run with all rights
    #[arg(long)]
    privileged: bool,
    #[command(flatten)]
    how: HowArgs,
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

pub async fn run(args: RunArgs, cx: &Context) -> Result<(), Failure> {
    let attach = args.attach.unwrap_or(args.stdin || args.tty);
    check(&args, attach)?;
    let pod = pod(&args)?;
    let dry = super::dry_run(args.how.dry_run.as_deref())?.is_some();
    if dry || !attach {
        create::submit(pod.clone(), &kind::POD, &args.how, cx).await?;
        return if args.expose { expose(&args, &pod, cx).await } else { Ok(()) };
    }
    let sent = create::without_status(pod.clone());
    let made = cx.client.create(&kind::POD, &cx.namespace, &sent).await?;
    if args.expose {
        expose(&args, &pod, cx).await?;
    }
    let name = hint::name_of(&made).to_string();
    let code = tokio::select! {
        code = attend(&args, cx, &made) => code,
        // The pod goes away with --rm even if the user has lost patience.
        _ = tokio::signal::ctrl_c() => Err(Failure::silent(130)),
    };
    if args.rm {
        remove(&args, cx, &made, &name).await?;
    }
    match code? {
        0 => Ok(()),
        code => Err(Failure::silent(code)),
    }
}

fn check(args: &RunArgs, attach: bool) -> Result<(), Failure> {
    if !["Always", "OnFailure", "Never"].contains(&args.restart.as_str()) {
        let failure = Failure::error(format!("invalid restart policy: {}", args.restart));
        return Err(failure.hint("one of: Always, OnFailure, Never"));
    }
    if args.rm && !attach {
        return Err(Failure::error("--rm should only be used for attached containers").hint("add -i or --attach"));
    }
    if args.tty && !args.stdin {
        return Err(Failure::error("-i/--stdin is required for containers with -t/--tty=true"));
    }
    if args.expose && args.port.is_none() {
        return Err(Failure::error("--port must be set when exposing a service"));
    }
    Ok(())
}

/// The pod, as kubectl makes it.
fn pod(args: &RunArgs) -> Result<Value, Failure> {
    let name = args.name.first().map(String::as_str).unwrap_or_default();
    let mut container = json!({"image": args.image, "name": name, "resources": {}});
    let words: Vec<&String> = args.name.iter().skip(1).chain(&args.args).collect();
    if !words.is_empty() {
        container[if args.command { "command" } else { "args" }] = json!(words);
    }
    if !args.env.is_empty() {
        let variable = |text: &String| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
            _ => Err(Failure::error(format!("invalid env: {text}: write NAME=VALUE"))),
        };
        container["env"] = Value::Array(args.env.iter().map(variable).collect::<Result<_, _>>()?);
    }
    if let Some(port) = args.port {
        container["ports"] = json!([{ "containerPort": port }]);
    }
    if let Some(policy) = &args.image_pull_policy {
        container["imagePullPolicy"] = policy.as_str().into();
    }
    if args.stdin {
        container["stdin"] = true.into();
        if !args.leave_stdin_open && args.restart == "Never" {
            container["stdinOnce"] = true.into();
        }
    }
    if args.tty {
        container["tty"] = true.into();
    }
    if args.privileged {
        container["securityContext"] = json!({"privileged": true});
    }
    let labels = match &args.labels {
        Some(text) => pairs(text.split(','), "labels")?,
        None => json!({"run": name}),
    };
    let mut metadata = create::metadata(name, labels);
    if !args.annotations.is_empty() {
        metadata["annotations"] = pairs(args.annotations.iter().map(String::as_str), "annotations")?;
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": args.restart},
        "status": {},
    }))
}

fn pairs<'a>(texts: impl Iterator<Item = &'a str>, what: &str) -> Result<Value, Failure> {
    let mut map = serde_json::Map::new();
    for text in texts.filter(|t| !t.is_empty()) {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::error(format!("unexpected {what} spec: {text}: write KEY=VALUE")))?;
        map.insert(key.to_string(), value.into());
    }
    Ok(Value::Object(map))
}

async fn expose(args: &RunArgs, pod: &Value, cx: &Context) -> Result<(), Failure> {
    let labels = pod.pointer("/metadata/labels").cloned().unwrap_or_default();
    let port = args.port.unwrap_or_default();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": create::metadata(hint::name_of(pod), json!({})),
        "spec": {"ports": [{"port": port, "protocol": "TCP", "targetPort": port}], "selector": labels},
        "status": {"loadBalancer": {}},
    });
    create::submit(service, &kind::SERVICE, &args.how, cx).await.map(|_| ())
}

/// Waits for the container, joins it, and waits for its end; its exit code.
async fn attend(args: &RunArgs, cx: &Context, made: &Value) -> Result<u8, Failure> {
    let name = hint::name_of(made);
    let has_started = |pod: &Value| matches!(pods::phase(pod), "Running" | "Succeeded" | "Failed");
    let started = tokio::time::timeout(args.pod_running_timeout, wait_for(cx, name, has_started)).await;
    let pod = match started {
        Ok(pod) => pod?,
        Err(_) => {
            let why = cx.client.get(&kind::POD, &cx.namespace, name).await.ok().and_then(|pod| waiting_reason(&pod));
            let failure = Failure::error("timed out waiting for the condition");
            return Err(failure.hints(why));
        }
    };
    let container = pods::container(&pod, None, true)?;
    let log = format!("{}/log?follow=true", path::object(&kind::POD, hint::namespace_of(&pod), name));
    if pods::phase(&pod) != "Running" {
        logs::copy(&cx.client, &log).await?;
    } else {
        let wishes = Wishes::new(args.stdin, args.tty);
        match exec::join(cx, &pod, &container, wishes, args.quiet).await {
            // How it ended stands in the pod.
            Ok(_) => {}
            Err(failure) => {
                // A command that was faster than its reader has left its words in the log.
                let now = cx.client.get(&kind::POD, &cx.namespace, name).await?;
                if pods::phase(&now) == "Running" && !failure.message.contains("container not found") {
                    let why = &failure.message;
                    eprintln!("warning: couldn't attach to pod/{name}, falling back to streaming logs: {why}");
                }
                logs::copy(&cx.client, &log).await?;
            }
        }
    }
    if args.restart == "Always" {
        return Ok(0);
    }
    let has_ended = |pod: &Value| matches!(pods::phase(pod), "Succeeded" | "Failed");
    let pod = wait_for(cx, name, has_ended).await?;
    Ok(exit_code(&pod))
}

/// The pod, as soon as `condition` holds.
async fn wait_for(cx: &Context, name: &str, condition: impl Fn(&Value) -> bool) -> Result<Value, ClientError> {
    loop {
        let pod = cx.client.get(&kind::POD, &cx.namespace, name).await?;
        if condition(&pod) {
            return Ok(pod);
        }
        let version = pod.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let since = Query::new().named(name).with_some("resourceVersion", version);
        let mut events = cx.client.watch(&kind::POD, Some(&cx.namespace), &since, As::Json).await?;
        while let Some((event, pod)) = events.event().await? {
            if event == "DELETED" || condition(&pod) {
                return if event == "DELETED" { cx.client.get(&kind::POD, &cx.namespace, name).await } else { Ok(pod) };
            }
        }
    }
}

/// Why the pod's container does not run, as its status tells it.
fn waiting_reason(pod: &Value) -> Option<String> {
    let text = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let waiting = "/status/containerStatuses/0/state/waiting";
    let (reason, message) = (text(&format!("{waiting}/reason")), text(&format!("{waiting}/message")));
    (!reason.is_empty()).then(|| {
        format!("pod {} is waiting: {reason}: {message}", hint::name_of(pod)).trim_end_matches([' ', ':']).to_string()
    })
}

fn exit_code(pod: &Value) -> u8 {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
    let codes = statuses.filter_map(|s| s.pointer("/state/terminated/exitCode").and_then(Value::as_i64));
    let code = codes.max_by_key(|code| i64::from(*code != 0)).unwrap_or(i64::from(pods::phase(pod) == "Failed"));
    u8::try_from(code & 0xff).unwrap_or(1)
}

async fn remove(args: &RunArgs, cx: &Context, pod: &Value, name: &str) -> Result<(), Failure> {
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    match cx.client.delete(&kind::POD, &cx.namespace, name, &options).await {
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    if !args.quiet {
        print(&format!("pod \"{name}\" deleted\n"))?;
    }
    let uid = pod.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_string();
    let going = Going { kind: &kind::POD, namespace: cx.namespace.clone(), name: name.to_string(), uid };
    gone::wait(cx, &[going], None).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        args: RunArgs,
    }

    fn read(line: &str) -> RunArgs {
        Only::parse_from(line.split(' ')).args
    }

    #[test]
    fn the_notes_debug_pod() {
        let args = read("x -i --tty --rm debug --image=jonum12312/curl --restart=Never -- sh");
        let made = pod(&args).unwrap();
        assert_eq!(
            made["spec"],
            json!({"containers": [{"args": ["sh"], "image": "jonum12312/curl", "name": "debug", "resources": {},
                    "stdin": true, "stdinOnce": true, "tty": true}], "dnsPolicy": "ClusterFirst", "restartPolicy": "Never"})
        );
        assert_eq!(made["metadata"]["labels"], json!({"run": "debug"}));
        assert_eq!(check(&args, true), Ok(()));
    }

    #[test]
    fn flags_behind_values_and_arguments_without_dashes() {
        let args = read("x test-node-app --image hello-world --port=3002");
        assert_eq!(pod(&args).unwrap()["spec"]["containers"][0]["ports"], json!([{"containerPort": 3002}]));
        let args = read("x b --image=busybox -e A=1 --env=B=2 --command -- sleep 60");
        let made = pod(&args).unwrap();
        assert_eq!(made["spec"]["containers"][0]["command"], json!(["sleep", "60"]));
        assert_eq!(
            made["spec"]["containers"][0]["env"],
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
        );
        assert_eq!(pod(&read("x b --image=busybox date")).unwrap()["spec"]["containers"][0]["args"], json!(["date"]));
    }

    #[test]
    fn what_does_not_go_together() {
        let said = |line: &str, attach| check(&read(line), attach).unwrap_err().to_string();
        assert!(said("x a --image=b --rm", false).contains("--rm should only be used for attached containers"));
        assert!(said("x a --image=b -t", true).contains("-i/--stdin is required"));
        assert!(said("x a --image=b --restart=never", false).contains("invalid restart policy: never"));
    }

    #[test]
    fn the_exit_code_is_the_containers() {
        let ended = |code: i64| json!({"status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": code}}}]}});
        assert_eq!(exit_code(&ended(3)), 3);
        assert_eq!(exit_code(&ended(137)), 137);
        assert_eq!(exit_code(&json!({"status": {"phase": "Succeeded"}})), 0);
    }
}
