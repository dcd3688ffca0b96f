//! Many manifests at once: all or none, each as `kubectl apply` would.

use serde_json::{Value, json};

use crate::harness::{Answer, Server, config_map};

const APPLY: &str = "/apis/nslab.dev/v1alpha1/apply";

fn outcomes(answer: &Answer) -> Vec<String> {
    let items = answer.body["items"].as_array().unwrap_or_else(|| panic!("{}", answer.text));
    items
        .iter()
        .map(|i| {
            format!(
                "{} {} {}",
                i["namespace"].as_str().unwrap(),
                i["name"].as_str().unwrap(),
                i["outcome"].as_str().unwrap()
            )
        })
        .collect()
}

fn service(name: &str, ports: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": "NodePort", "ports": ports}})
}

#[tokio::test]
async fn a_set_is_created_then_unchanged_then_configured() {
    let server = Server::start();
    let mut inside = config_map("inside", json!({}));
    inside["metadata"]["namespace"] = json!("x");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}});
    let set = json!([inside, service("web", json!([{"port": 80, "name": "a"}, {"port": 81, "name": "b"}])), namespace]);
    let first = server.post(APPLY, set.clone()).await;
    assert_eq!(outcomes(&first), ["x inside created", "default web created", " x created"]);
    let path = "/api/v1/namespaces/default/services/web";
    let before = server.get(path).await.body;
    let again = server.post(APPLY, set).await;
    assert_eq!(outcomes(&again), ["x inside unchanged", "default web unchanged", " x unchanged"]);
    assert_eq!(server.get(path).await.body, before);
    assert_eq!(again.body["items"][1].get("changes"), None);

    let one = server.post(APPLY, json!([service("web", json!([{"port": 80, "name": "a"}]))])).await;
    assert_eq!(outcomes(&one), ["default web configured"]);
    let changes = &one.body["items"][0]["changes"];
    assert_eq!(
        (changes.as_array().map(Vec::len), &changes[0]["field"]),
        (Some(1), &json!("spec.ports[81]")),
        "{changes}"
    );
    assert_eq!(changes[0]["from"]["name"], "b", "{changes}");
    let after = server.get(path).await.body;
    assert_eq!(after["spec"]["ports"], json!([before["spec"]["ports"][0]]));
    assert_eq!(after["spec"]["clusterIP"], before["spec"]["clusterIP"]);
}

#[tokio::test]
async fn one_invalid_manifest_stops_all_and_every_error_is_told() {
    let server = Server::start();
    let version = server.store.snapshot().resource_version();
    let set = json!([
        service("good", json!([{"port": 80, "nodePort": 30080}])),
        service("taken", json!([{"port": 80, "nodePort": 30080}])),
        {"apiVersion": "v9", "kind": "Thing", "metadata": {"name": "t"}},
        config_map("fine", json!({})),
    ]);
    let refused = server.post(APPLY, set).await;
    assert_eq!((refused.code, refused.body["kind"].as_str()), (422, Some("Status")));
    let causes = refused.body["details"]["causes"].as_array().unwrap();
    let told: Vec<_> = causes.iter().map(|c| (c["index"].as_u64().unwrap(), c["message"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [
            (
                1,
                "Service \"taken\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
            ),
            (2, "no matches for kind \"Thing\" in version \"v9\""),
        ]
    );
    assert_eq!(causes[0]["details"]["causes"][0]["field"], "spec.ports[0].nodePort");
    assert_eq!(server.store.snapshot().resource_version(), version, "nothing was written");
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_warnings_come_with_their_object() {
    let server = Server::start();
    server.post("/api/v1/namespaces/default/configmaps", config_map("old", json!({}))).await;
    let version = server.store.snapshot().resource_version();
    let mut misspelt = config_map("new", json!({}));
    misspelt["dta"] = json!({"a": "b"});
    let set = json!([misspelt, config_map("old", json!({"x": "y"}))]);
    let tried = server.post(&format!("{APPLY}?dryRun=All"), set).await;
    assert_eq!(outcomes(&tried), ["default new created", "default old configured"]);
    assert_eq!(tried.body["items"][0]["warnings"], json!(["unknown field \"dta\""]));
    assert!(tried.body["items"][1]["warnings"][0].as_str().unwrap().contains("last-applied-configuration"));
    assert_eq!(server.store.snapshot().resource_version(), version);
}

#[tokio::test]
async fn the_same_object_twice_is_applied_twice() {
    let server = Server::start();
    let mut second = config_map("a", json!({}));
    second["data"] = json!({"b": "2"});
    let applied =
        server.post(&format!("{APPLY}?namespace=kube-system"), json!([config_map("a", json!({})), second])).await;
    assert_eq!(outcomes(&applied), ["kube-system a created", "kube-system a configured"]);
    let stored = server.get("/api/v1/namespaces/kube-system/configmaps/a").await.body;
    assert_eq!(stored["data"], json!({"b": "2"}));
}

/// The kubelet writes nulls, which manifests cannot hold: they must not look like a change.
#[tokio::test]
async fn a_pod_that_runs_is_unchanged_whatever_its_status_holds() {
    let server = Server::start();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.post(APPLY, json!([pod])).await;
    let path = "/api/v1/namespaces/default/pods/p";
    let mut live = server.get(path).await.body;
    live["status"] =
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}]});
    server.put(&format!("{path}/status"), live.clone()).await;
    let before = server.get(path).await.body;
    assert!(before["status"]["conditions"][0].as_object().unwrap().contains_key("lastProbeTime"), "{before}");
    let again = server.post(APPLY, json!([pod])).await;
    assert_eq!(outcomes(&again), ["default p unchanged"], "{}", again.text);
    assert_eq!(server.get(path).await.body, before);
}
