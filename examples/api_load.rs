//! How fast a lab's API is: what `scripts/bench --api` runs, inside `scripts/sandbox`.
//!
//! The lab is a real one, asked over TLS as any client asks it. The pods are objects that no scheduler places, so that
//! what is measured is the API and its store, which flushes each write to disk before it answers.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

const LAB: &str = "bench";
const CONFIG: &str = "/run/bench-kubeconfig";
const PODS: usize = 1000;
const WRITES: usize = 2000;
/// Timed so often.
const REPEATS: usize = 15;

/// `api_load [KUBECTL]...`
fn main() -> anyhow::Result<()> {
    let lab = std::env::current_exe()?.ancestors().nth(2).context("a directory")?.join("lab");
    let kubectls: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    run(Command::new(&lab).args(["--name", LAB, "up"]))?;
    let measured = measure(&lab, &kubectls);
    // Also when something went wrong.
    run(Command::new(&lab).args(["--name", LAB, "down", "--volumes"]))?;
    println!("{:#}", measured?);
    Ok(())
}

fn measure(lab: &PathBuf, kubectls: &[PathBuf]) -> anyhow::Result<Value> {
    std::fs::write(CONFIG, run(Command::new(lab).args(["--name", LAB, "kubeconfig"]))?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found =
        json!({"unit": "ms, medians; writes a second", "pods": PODS, "writes": runtime.block_on(writes())?});

    let mut commands = vec![("lab".to_string(), Command::new(lab))];
    commands[0].1.args(["--name", LAB]);
    for kubectl in kubectls {
        let mut command = Command::new(kubectl);
        command.args(["--kubeconfig", CONFIG]);
        let name = kubectl.file_name().unwrap_or_default().to_string_lossy().into_owned();
        commands.push((name, command));
    }
    for (name, command) in commands {
        let again = || {
            let mut again = Command::new(command.get_program());
            again.args(command.get_args());
            again
        };
        // What the program itself takes, whatever it asks for: it reads the discovery documents once before.
        run(again().args(["get", "pods"]))?;
        let empty = median(|| run(again().args(["get", "pods", "nobody", "--ignore-not-found"])).map(drop))?;
        let table = median(|| run(again().args(["get", "pods"])).map(drop))?;
        let json = median(|| run(again().args(["get", "pods", "-o", "json"])).map(drop))?;
        found[name] = json!({"get one pod that is not there": empty, "get pods": table, "get pods -o json": json});
    }
    found["list of all pods, one client"] = runtime.block_on(lists())?.into();
    Ok(found)
}

async fn client() -> anyhow::Result<Client> {
    let file = Kubeconfig::read_from(CONFIG)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)?)
}

/// Writes a second: creating the pods, and changing small objects by one, 16 and 50 clients at once.
async fn writes() -> anyhow::Result<Value> {
    let pod: Pod = serde_json::from_value(json!({"metadata": {"labels": {"app": "web"}}, "spec": {
        "schedulerName": "nobody", "containers": [{"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}]}}))?;
    let pods: Api<Pod> = Api::default_namespaced(client().await?);
    let create = |n: usize| {
        let (pods, mut pod) = (pods.clone(), pod.clone());
        pod.metadata.name = Some(format!("web-{n}"));
        async move { pods.create(&PostParams::default(), &pod).await.map(drop) }
    };
    let mut rates = json!({"create pods, 16 at once": per_second(16, PODS, create).await?});
    let maps: Api<ConfigMap> = Api::default_namespaced(client().await?);
    for writers in [1, 16, 50] {
        for n in 0..writers {
            let map = serde_json::from_value(json!({"metadata": {"name": format!("m-{writers}-{n}")}}))?;
            maps.create(&PostParams::default(), &map).await?;
        }
        let change = |n: usize| {
            let (maps, name) = (maps.clone(), format!("m-{writers}-{}", n % writers));
            let patch = Patch::Merge(json!({"data": {"n": n.to_string()}}));
            async move { maps.patch(&name, &PatchParams::default(), &patch).await.map(drop) }
        };
        rates[format!("patch, {writers} at once")] = per_second(writers, WRITES, change).await?.into();
    }
    Ok(rates)
}

async fn per_second<F>(at_once: usize, count: usize, work: impl Fn(usize) -> F + Clone) -> anyhow::Result<f64>
where
    F: Future<Output = Result<(), kube::Error>>,
{
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let workers = (0..at_once).map(|_| async {
        while let n = next.fetch_add(1, Ordering::Relaxed)
            && n < count
        {
            work(n).await?;
        }
        Ok::<(), kube::Error>(())
    });
    futures_util::future::try_join_all(workers).await?;
    Ok(rounded(count as f64 / begin.elapsed().as_secs_f64()))
}

async fn lists() -> anyhow::Result<f64> {
    let pods: Api<Pod> = Api::default_namespaced(client().await?);
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let begin = Instant::now();
        let found = pods.list(&ListParams::default()).await?.items.len();
        times.push(begin.elapsed());
        if found != PODS {
            bail!("{found} pods are listed, and not {PODS}");
        }
    }
    Ok(middle(times))
}

fn median(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let begin = Instant::now();
        work()?;
        times.push(begin.elapsed());
    }
    Ok(middle(times))
}

fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |time| rounded(time.as_secs_f64() * 1000.0))
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// What a program prints; an error, with what it said, when it fails.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    if !out.status.success() {
        bail!("{command:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8(out.stdout)?)
}
