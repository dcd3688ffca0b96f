//! Clients in other languages, with nothing but the kubeconfig: kube for Rust, and Kubernetes' own for Python, which
//! `scripts/clients` brings.

mod lab_rig;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::{FutureExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, AttachParams, DeleteParams, DynamicObject, EvictParams, ListParams, LogParams, Patch,
    PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::{Discovery, Scope};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config};
use lab_rig::Lab;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KUBECONFIG: &str = "/run/kubeconfig-of-a-test";
/// Long enough for any machine; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

fn lab() -> Lab {
    let lab = Lab::up(&["labs/nodeport"]);
    std::fs::write(KUBECONFIG, lab.lab("kubeconfig").ok().stdout.as_bytes()).unwrap();
    lab
}

async fn client() -> Client {
    let file = Kubeconfig::read_from(KUBECONFIG).unwrap();
    Client::try_from(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap()).unwrap()
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[test]
fn kube_for_rust_works_as_against_a_cluster() {
    let lab = lab();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = client().await;
        for (what, step) in [
            ("discovery", discovery(&client).boxed_local()),
            ("workloads", workloads(&client).boxed_local()),
            ("sessions", sessions(&client).boxed_local()),
            ("applying", applying(&client).boxed_local()),
            ("custom resources", custom_resources(&client).boxed_local()),
        ] {
            tokio::time::timeout(PATIENCE, step).await.unwrap_or_else(|_| panic!("{what}: not done in time"));
        }
    });
    lab.down();
}

async fn discovery(client: &Client) {
    assert_eq!(client.apiserver_version().await.unwrap().major, "1");
    let found = Discovery::new(client.clone()).run_aggregated().await.unwrap();
    let (deployment, capabilities) = found.resolve_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment")).unwrap();
    assert_eq!((deployment.plural.as_str(), capabilities.scope), ("deployments", Scope::Namespaced));
    assert!(capabilities.subresources.iter().any(|(name, _)| name.plural == "scale"));
    let nodes: Vec<String> = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await
        .unwrap()
        .into_iter()
        .filter_map(|node| node.metadata.name)
        .collect();
    assert_eq!(nodes, ["m-k8s", "w1-k8s", "w2-k8s", "w3-k8s"]);
}

async fn workloads(client: &Client) {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let web =
        from(json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "nginx", "image": "sysnet4admin/echo-hname"}]}}}}));
    deployments.create(&PostParams::default(), &web).await.unwrap();
    let again = deployments.create(&PostParams::default(), &web).await.unwrap_err();
    assert!(
        matches!(&again, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists"),
        "{again}"
    );
    eprintln!("until the deployment is complete");
    await_condition(deployments.clone(), "web", conditions::is_deployment_completed()).await.unwrap();

    eprintln!("until the informer knows its pods");
    // An informer: what was there, then what changes.
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let of_web = watcher::Config::default().labels("app=web");
    let mut applied = std::pin::pin!(watcher(pods.clone(), of_web).applied_objects());
    let mut seen = BTreeMap::new();
    while seen.len() < 2 {
        let pod = applied.try_next().await.unwrap().unwrap();
        seen.insert(pod.metadata.name, pod.status.and_then(|status| status.pod_ip));
    }
    assert!(seen.values().all(Option::is_some), "{seen:?}");
    let mut scale = deployments.get_scale("web").await.unwrap();
    scale.spec.as_mut().unwrap().replicas = Some(3);
    deployments.replace_scale("web", &PostParams::default(), &scale).await.unwrap();
    eprintln!("until the informer learns of the third pod");
    while seen.len() < 3 {
        let pod = applied.try_next().await.unwrap().unwrap();
        seen.insert(pod.metadata.name, None);
    }

    // A page at a time.
    let page = pods.list(&ListParams::default().labels("app=web").limit(2)).await.unwrap();
    let next = page.metadata.continue_.unwrap();
    let rest = pods.list(&ListParams::default().labels("app=web").limit(2).continue_token(&next)).await.unwrap();
    assert_eq!((page.items.len(), rest.items.len()), (2, 1));

    let name = seen.keys().next().cloned().flatten().unwrap();
    let uid = pods.get(&name).await.unwrap().metadata.uid.unwrap();
    eprintln!("until {name} is evicted");
    pods.evict(&name, &EvictParams::default()).await.unwrap();
    await_condition(pods, &name, conditions::is_deleted(&uid)).await.unwrap();
}

async fn sessions(client: &Client) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let shell = from(json!({"metadata": {"name": "shell"}, "spec": {"containers": [
        {"name": "c", "image": "busybox", "command": ["sh", "-c", "echo begun; sleep 100000"]},
        {"name": "web", "image": "sysnet4admin/echo-hname"}]}}));
    pods.create(&PostParams::default(), &shell).await.unwrap();
    await_condition(pods.clone(), "shell", conditions::is_pod_running()).await.unwrap();

    let logs = LogParams { container: Some("c".into()), ..LogParams::default() };
    // It runs before it has said anything.
    while pods.logs("shell", &logs).await.unwrap() != "begun\n" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let attached = AttachParams::default().container("c").stdin(true).stderr(false);
    let mut process = pods.exec("shell", ["sh", "-c", "read line; echo got $line; exit 3"], &attached).await.unwrap();
    process.stdin().unwrap().write_all(b"a line\n").await.unwrap();
    let mut said = String::new();
    process.stdout().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "got a line\n");
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));

    let mut forwarded = pods.portforward("shell", &[80]).await.unwrap();
    let mut stream = forwarded.take_stream(80).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.") && answer.ends_with("shell\n"), "{answer}");

    pods.delete("shell", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await.unwrap();
}

async fn applying(client: &Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let map = |data: Value| Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data}));
    let (a, b) = (PatchParams::apply("a"), PatchParams::apply("b"));
    maps.patch("shared", &a, &map(json!({"x": "1", "y": "1"}))).await.unwrap();
    maps.patch("shared", &b, &map(json!({"z": "1"}))).await.unwrap();
    let refused = maps.patch("shared", &b, &map(json!({"x": "2", "z": "1"}))).await.unwrap_err();
    assert!(refused.to_string().contains("conflict with \"a\": .data.x"), "{refused}");
    maps.patch("shared", &b.clone().force(), &map(json!({"x": "2", "z": "1"}))).await.unwrap();
    // What only one has said, and says no more, is gone.
    let map = maps.patch("shared", &a, &map(json!({}))).await.unwrap();
    assert_eq!(map.data.unwrap(), BTreeMap::from([("x".into(), "2".into()), ("z".into(), "1".into())]));
    maps.patch("shared", &PatchParams::default(), &Patch::Merge(json!({"data": {"x": null}}))).await.unwrap();
    assert_eq!(maps.get("shared").await.unwrap().data.unwrap().into_keys().collect::<Vec<_>>(), ["z"]);
}

async fn custom_resources(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = from(json!({"metadata": {"name": "crontabs.stable.example.com"}, "spec": {
        "group": "stable.example.com", "scope": "Namespaced",
        "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"]},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}}}}]}}));
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    await_condition(definitions, "crontabs.stable.example.com", conditions::is_crd_established()).await.unwrap();

    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("stable.example.com", "v1", "CronTab"));
    let tabs: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &kind);
    let tab = |replicas: Value| DynamicObject::new("mine", &kind).data(json!({"spec": {"replicas": replicas}}));
    let refused = tabs.create(&PostParams::default(), &tab(json!("three"))).await.unwrap_err();
    assert!(refused.to_string().contains("spec.replicas"), "{refused}");
    let mut changes = std::pin::pin!(watcher(tabs.clone(), watcher::Config::default()).applied_objects());
    tabs.create(&PostParams::default(), &tab(json!(3))).await.unwrap();
    assert_eq!(changes.try_next().await.unwrap().unwrap().data["spec"]["replicas"], 3);
}

#[test]
fn the_python_client_works_as_against_a_cluster() {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/python");
    assert!(packages.is_dir(), "{} is not there: run scripts/clients", packages.display());
    let lab = lab();
    let mut python = Command::new("python3");
    python.arg("tests/clients/client.py").env("PYTHONPATH", packages).env("KUBECONFIG", KUBECONFIG);
    // No files of its own in the repository; what it writes for a while goes with the sandbox.
    let out = python.env("PYTHONDONTWRITEBYTECODE", "1").env("TMPDIR", "/run").output().expect("run python3");
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    lab.down();
}
