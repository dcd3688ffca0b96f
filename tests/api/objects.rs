//! Create, read, replace, patch, delete; errors; lists; tables; discovery.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Server, config_map};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx"}]}}}})
}

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let server = Server::start();
    let created = server.post(MAPS, config_map("a", json!({}))).await;
    assert_eq!((created.code, created.body["metadata"]["namespace"].as_str()), (201, Some("default")));
    let path = format!("{MAPS}/a");
    assert_eq!(server.get(&path).await.body, created.body);

    let mut changed = created.body.clone();
    changed["data"]["a"] = json!("2");
    let replaced = server.put(&path, changed.clone()).await;
    assert_eq!((replaced.code, replaced.body["data"]["a"].as_str()), (200, Some("2")));
    assert_eq!(replaced.body["metadata"]["uid"], created.body["metadata"]["uid"]);

    // The one that was read first is out of date now.
    let conflict = server.put(&path, changed).await;
    assert_eq!((conflict.code, conflict.body["reason"].as_str()), (409, Some("Conflict")));
    assert!(conflict.body["message"].as_str().unwrap().contains("the object has been modified"));

    let deleted = server.delete(&path).await;
    assert_eq!((deleted.code, deleted.body["status"].as_str()), (200, Some("Success")));
    assert_eq!(deleted.body["details"]["uid"], created.body["metadata"]["uid"]);
    let gone = server.get(&path).await;
    assert_eq!(gone.body["message"], "configmaps \"a\" not found");
    assert_eq!((gone.code, gone.body["reason"].as_str()), (404, Some("NotFound")));
}

#[tokio::test]
async fn what_cannot_be_created_says_why() {
    let server = Server::start();
    server.post(MAPS, config_map("a", json!({}))).await;
    let elsewhere = "/api/v1/namespaces/nowhere/configmaps";
    let mut other_kind = config_map("b", json!({}));
    other_kind["kind"] = json!("Secret");
    let mut other_namespace = config_map("b", json!({}));
    other_namespace["metadata"]["namespace"] = json!("kube-system");
    for (path, body, code, message) in [
        (MAPS, config_map("a", json!({})), 409, "configmaps \"a\" already exists"),
        (elsewhere, config_map("a", json!({})), 404, "namespaces \"nowhere\" not found"),
        (MAPS, other_kind, 400, "the kind in the data (Secret) does not match the expected kind (ConfigMap)"),
        (
            MAPS,
            other_namespace,
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            MAPS,
            json!({"metadata": {}}),
            422,
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
    ] {
        let answer = server.post(path, body).await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (code, Some(message)));
        assert_eq!((answer.body["kind"].as_str(), answer.body["code"].as_u64()), (Some("Status"), Some(code.into())));
    }
    let nonsense = server.send(Method::POST, MAPS, &[], b"{".to_vec()).await;
    assert_eq!((nonsense.code, nonsense.body["reason"].as_str()), (400, Some("BadRequest")));
    let other = [("content-type", "application/cbor")];
    assert_eq!(server.send(Method::POST, MAPS, &other, b"{}".to_vec()).await.code, 415);
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    assert_eq!(server.send(Method::POST, MAPS, &protobuf, b"k8s\0".to_vec()).await.code, 400);
    let map = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x10\x0a\x06\x0a\x04from\x12\x06\x0a\x01a\x12\x01b";
    let map = server.send(Method::POST, MAPS, &protobuf, map.to_vec()).await;
    assert_eq!((map.code, &map.body["data"]), (201, &json!({"a": "b"})));
    let large = vec![b' '; (3 << 20) + 1];
    let large = server.send(Method::POST, MAPS, &[], large).await;
    assert_eq!((large.code, large.body["reason"].as_str()), (413, Some("RequestEntityTooLarge")));
}

#[tokio::test]
async fn names_are_generated_and_dry_runs_leave_nothing() {
    let server = Server::start();
    let body = json!({"metadata": {"generateName": "web-"}});
    let first = server.post(MAPS, body.clone()).await.body["metadata"]["name"].as_str().unwrap().to_string();
    assert!(first.starts_with("web-") && first.len() == 9, "{first}");
    let tried = server.post(&format!("{MAPS}?dryRun=All"), config_map("dry", json!({}))).await;
    assert_eq!((tried.code, tried.body["metadata"]["name"].as_str()), (201, Some("dry")));
    assert_eq!(server.get(&format!("{MAPS}/dry")).await.code, 404);
    let path = format!("{MAPS}/{first}");
    let before = server.get(&path).await.body;
    let tried = server.patch(&format!("{path}?dryRun=All"), "merge-patch+json", json!({"data": {"x": "y"}})).await;
    assert_eq!(
        (tried.body["data"]["x"].as_str(), &tried.body["metadata"]["uid"]),
        (Some("y"), &before["metadata"]["uid"])
    );
    assert_eq!(server.get(&path).await.body, before);
}

#[tokio::test]
async fn each_kind_of_patch_changes_what_it_says() {
    let server = Server::start();
    server.post(DEPLOYMENTS, deployment()).await;
    let path = format!("{DEPLOYMENTS}/web");
    let strategic = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}});
    let patched = server.patch(&path, "strategic-merge-patch+json", strategic).await;
    let containers = &patched.body["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 2);
    assert_eq!(patched.body["metadata"]["generation"], 2);

    let merge = json!({"spec": {"replicas": 7}, "metadata": {"labels": {"a": "b"}}});
    let patched = server.patch(&path, "merge-patch+json", merge.clone()).await;
    assert_eq!((&patched.body["spec"]["replicas"], &patched.body["metadata"]["labels"]["a"]), (&json!(7), &json!("b")));
    // The same again is no change.
    let again = server.patch(&path, "merge-patch+json", merge).await;
    assert_eq!(again.body["metadata"]["resourceVersion"], patched.body["metadata"]["resourceVersion"]);

    let json_patch =
        json!([{"op": "remove", "path": "/metadata/labels"}, {"op": "replace", "path": "/spec/replicas", "value": 1}]);
    let patched = server.patch(&path, "json-patch+json", json_patch).await;
    assert_eq!((patched.body["metadata"].get("labels"), &patched.body["spec"]["replicas"]), (None, &json!(1)));

    let failing = json!([{"op": "test", "path": "/spec/replicas", "value": 5}]);
    let refused = server.patch(&path, "json-patch+json", failing).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (422, Some("Invalid")));
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}});
    assert_eq!(server.patch(&path, "merge-patch+json", stale).await.code, 409);
    assert_eq!(server.patch(&path, "yaml", json!({})).await.code, 415);
    let renamed = server.patch(&path, "merge-patch+json", json!({"metadata": {"name": "x"}})).await;
    assert_eq!(renamed.body["message"], "the name of the object (x) does not match the name on the URL (web)");
}

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let server = Server::start();
    server.post(DEPLOYMENTS, deployment()).await;
    let path = format!("{DEPLOYMENTS}/web");
    let both = json!({"spec": {"replicas": 9}, "status": {"replicas": 4}});
    let patched = server.patch(&format!("{path}/status"), "merge-patch+json", both.clone()).await.body;
    assert_eq!((&patched["spec"]["replicas"], &patched["status"]["replicas"]), (&json!(2), &json!(4)));
    let patched =
        server.patch(&path, "merge-patch+json", json!({"spec": {"replicas": 9}, "status": {"replicas": 8}})).await;
    assert_eq!((&patched.body["spec"]["replicas"], &patched.body["status"]["replicas"]), (&json!(9), &json!(4)));
}

#[tokio::test]
async fn scale_reads_and_sets_replicas() {
    let server = Server::start();
    server.post(DEPLOYMENTS, deployment()).await;
    let path = format!("{DEPLOYMENTS}/web/scale");
    let scale = server.get(&path).await.body;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    assert_eq!(scale["status"]["selector"], "app=web");
    let mut wanted = scale.clone();
    wanted["spec"]["replicas"] = json!(5);
    assert_eq!(server.put(&path, wanted.clone()).await.body["spec"]["replicas"], 5);
    assert_eq!(server.put(&path, wanted).await.code, 409, "the resourceVersion is out of date");
    server.patch(&path, "merge-patch+json", json!({"spec": {"replicas": 3}})).await;
    assert_eq!(server.get(&format!("{DEPLOYMENTS}/web")).await.body["spec"]["replicas"], 3);
    let refused = server.patch(&path, "merge-patch+json", json!({"spec": {"replicas": -1}})).await;
    assert_eq!(refused.code, 422);
    assert_eq!(server.get(&format!("{MAPS}/a/scale")).await.code, 404);
}

#[tokio::test]
async fn fields_that_stand_twice_are_named_in_the_order_of_the_text() {
    let server = Server::start();
    let text = r#"{"metadata": {"name": "a"}, "kinds": 1, "data": {"x": "1", "x": "2"}, "immutable": false, "bar": 1,
        "immutable": true}"#;
    let json = [("content-type", "application/json")];
    let post =
        async |query: &str| server.send(Method::POST, &format!("{MAPS}?dryRun=All{query}"), &json, text.into()).await;
    let strict = post("&fieldValidation=Strict").await;
    let wrong = [
        "unknown field \"kinds\"",
        "duplicate field \"data.x\"",
        "unknown field \"bar\"",
        "duplicate field \"immutable\"",
    ];
    assert_eq!(
        (strict.code, strict.body["message"].as_str().unwrap().to_string()),
        (
            400,
            format!(
                "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: {}",
                wrong.join(", ")
            )
        )
    );
    // Without a word about it, as with Warn, the last one counts.
    let warned = post("").await;
    let told: Vec<_> = warned.headers.get_all("warning").iter().map(|w| w.to_str().unwrap().to_string()).collect();
    assert_eq!(told, wrong.map(|text| format!("299 - \"{}\"", text.replace('"', "\\\""))));
    assert_eq!((&warned.body["data"]["x"], &warned.body["immutable"]), (&json!("2"), &json!(true)));
    assert!(!post("&fieldValidation=Ignore").await.headers.contains_key("warning"));
}

#[tokio::test]
async fn unknown_fields_warn_or_are_refused() {
    let server = Server::start();
    let mut body = deployment();
    body["spec"]["replica"] = json!(2);
    let strict = server.post(&format!("{DEPLOYMENTS}?fieldValidation=Strict"), body.clone()).await;
    assert_eq!(
        strict.body["message"],
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \
         \"spec.replica\""
    );
    let warned = server.post(DEPLOYMENTS, body).await;
    assert_eq!(warned.code, 201);
    assert_eq!(warned.headers["warning"], "299 - \"unknown field \\\"spec.replica\\\"\"");
    assert_eq!(warned.body["spec"].get("replica"), None, "a server that keeps objects by their types drops it");
    let mut wrong = deployment();
    wrong["spec"]["replicas"] = json!("many");
    let refused = server.post(DEPLOYMENTS, wrong).await;
    assert_eq!(
        (refused.code, refused.body["message"].as_str()),
        (
            400,
            Some(
                "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into \
                 Go struct field DeploymentSpec.spec.replicas of type int32"
            )
        )
    );
}

#[tokio::test]
async fn lists_are_selected_and_paged() {
    let server = Server::start();
    for (name, app) in [("a", "web"), ("b", "db"), ("c", "web"), ("d", "web")] {
        server.post(MAPS, config_map(name, json!({"app": app}))).await;
    }
    server.post("/api/v1/namespaces/kube-system/configmaps", config_map("e", json!({"app": "web"}))).await;
    let names = |body: &Value| -> Vec<String> {
        let items = body["items"].as_array().unwrap();
        items.iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_string()).collect()
    };
    let selected = server.get(&format!("{MAPS}?labelSelector=app%3Dweb")).await.body;
    assert_eq!(names(&selected), ["a", "c", "d"]);
    assert_eq!(selected["kind"], "ConfigMapList");
    let all = server.get("/api/v1/configmaps?labelSelector=app+in+(web)").await.body;
    assert_eq!(names(&all), ["a", "c", "d", "e"]);
    let one = server.get(&format!("{MAPS}?fieldSelector=metadata.name%3Db")).await.body;
    assert_eq!(names(&one), ["b"]);
    assert_eq!(server.get(&format!("{MAPS}?labelSelector=a,,b")).await.code, 400);

    let first = server.get(&format!("{MAPS}?limit=2")).await.body;
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a".into(), "b".into()], &json!(2)));
    let token = first["metadata"]["continue"].as_str().unwrap().to_string();
    // What happens between two pages shows in neither.
    server.delete(&format!("{MAPS}/d")).await;
    let second = server.get(&format!("{MAPS}?limit=2&continue={token}")).await.body;
    assert_eq!((names(&second), second["metadata"].get("continue")), (vec!["c".into(), "d".into()], None));
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(server.get(&format!("{MAPS}?limit=2&continue=nonsense")).await.code, 400);
    let ahead = server.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!((ahead.code, ahead.body["reason"].as_str()), (504, Some("Timeout")));
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let server = Server::start();
    for (name, app) in [("a", "web"), ("b", "db"), ("c", "web")] {
        server.post(MAPS, config_map(name, json!({"app": app}))).await;
    }
    let deleted = server.delete(&format!("{MAPS}?labelSelector=app%3Dweb")).await;
    assert_eq!((deleted.code, deleted.body["items"].as_array().unwrap().len()), (200, 2));
    assert_eq!(server.get(MAPS).await.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn pods_are_bound_evicted_and_end_with_grace() {
    let server = Server::start();
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let created = server.post(pods, pod).await.body;
    assert_eq!(
        (&created["status"]["phase"], &created["status"]["qosClass"]),
        (&json!("Pending"), &json!("BestEffort"))
    );
    let binding = json!({"target": {"kind": "Node", "name": "w1"}});
    assert_eq!(server.post(&format!("{pods}/p/binding"), binding.clone()).await.code, 201);
    assert_eq!(server.get(&format!("{pods}/p")).await.body["spec"]["nodeName"], "w1");
    assert_eq!(server.post(&format!("{pods}/p/binding"), binding).await.code, 409);

    assert_eq!(server.post(&format!("{pods}/p/eviction"), json!({})).await.code, 201);
    let ending = server.get(&format!("{pods}/p")).await.body;
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    let now = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}}).to_string();
    assert_eq!(server.send(Method::DELETE, &format!("{pods}/p"), &[], now.into()).await.code, 409);
    let now = json!({"gracePeriodSeconds": 0}).to_string();
    let deleted = server.send(Method::DELETE, &format!("{pods}/p"), &[], now.into()).await;
    assert_eq!((deleted.code, deleted.body["kind"].as_str()), (200, Some("Pod")));
    assert_eq!(server.get(&format!("{pods}/p")).await.code, 404);
}

#[tokio::test]
async fn protected_namespaces_stay() {
    let server = Server::start();
    let refused = server.delete("/api/v1/namespaces/default").await;
    assert_eq!(refused.body["message"], "namespaces \"default\" is forbidden: this namespace may not be deleted");
    assert_eq!(refused.code, 403);
    let made = server.post("/api/v1/namespaces", json!({"metadata": {"name": "x"}})).await.body;
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "x");
    let finalized = server.put("/api/v1/namespaces/x/finalize", json!({"spec": {"finalizers": []}})).await;
    assert_eq!(finalized.body["spec"]["finalizers"], json!([]));
    assert_eq!(server.delete("/api/v1/namespaces/x").await.code, 200);
}

#[tokio::test]
async fn tables_have_the_columns_that_users_know() {
    let server = Server::start();
    server.post(DEPLOYMENTS, deployment()).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let table = server.send(Method::GET, DEPLOYMENTS, &accept, Vec::new()).await.body;
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let names: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!((&cells[0], &cells[1], &cells[7]), (&json!("web"), &json!("0/2"), &json!("app=web")));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let path = format!("{DEPLOYMENTS}/web?includeObject=Object");
    let whole = server.send(Method::GET, &path, &accept, Vec::new()).await.body;
    assert_eq!(whole["rows"][0]["object"]["spec"]["replicas"], 2);
}

#[tokio::test]
async fn discovery_lists_every_kind_in_both_forms() {
    let server = Server::start();
    let core = server.get("/api/v1").await.body;
    let names: Vec<_> = core["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    for wanted in ["pods", "pods/log", "pods/exec", "pods/eviction", "services", "namespaces/finalize"] {
        assert!(names.contains(&wanted), "{wanted}");
    }
    let apps = server.get("/apis/apps/v1").await.body;
    let scale = apps["resources"].as_array().unwrap().iter().find(|r| r["name"] == "deployments/scale").unwrap();
    assert_eq!((&scale["kind"], &scale["group"]), (&json!("Scale"), &json!("autoscaling")));
    let groups = server.get("/apis").await.body;
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let aggregated = server.send(Method::GET, "/apis", &accept, Vec::new()).await;
    assert_eq!(aggregated.headers["content-type"], accept[0].1);
    assert_eq!(aggregated.body["items"].as_array().unwrap().len(), groups["groups"].as_array().unwrap().len());
    assert_eq!(server.get("/healthz").await.text, "ok");
    assert_eq!(server.get("/version").await.body["major"], "1");
    assert_eq!(server.get("/apis/nslab.dev/v1alpha1/status").await.body, json!({"lab": "of the test"}));
    for nowhere in ["/nothing", "/api/v2", "/api/v1/things", "/apis/none/v1"] {
        assert_eq!(server.get(nowhere).await.code, 404, "{nowhere}");
    }
    assert_eq!(server.post("/version", json!({})).await.code, 405);
}
