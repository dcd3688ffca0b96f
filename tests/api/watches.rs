//! Watches lose nothing, repeat nothing, and see only what their selector takes in.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Server, config_map};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let server = Server::start();
    server.post(MAPS, config_map("a", json!({}))).await;
    let mut watch = server.watch(&format!("{MAPS}?watch=true")).await;
    assert_eq!(watch.line().await, "ADDED a");
    server.post(MAPS, config_map("b", json!({}))).await;
    assert_eq!(watch.line().await, "ADDED b");
    server.patch(&format!("{MAPS}/a"), "merge-patch+json", json!({"data": {"x": "y"}})).await;
    assert_eq!(watch.line().await, "MODIFIED a");
    server.delete(&format!("{MAPS}/b")).await;
    assert_eq!(watch.line().await, "DELETED b");
}

#[tokio::test]
async fn a_watch_goes_on_where_a_list_or_a_watch_ended() {
    let server = Server::start();
    server.post(MAPS, config_map("a", json!({}))).await;
    let version = server.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_string();
    server.post(MAPS, config_map("b", json!({}))).await;
    server.delete(&format!("{MAPS}/a")).await;
    let mut watch = server.watch(&format!("{MAPS}?watch=1&resourceVersion={version}")).await;
    assert_eq!(watch.line().await, "ADDED b");
    let deleted = watch.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    let seen = deleted["object"]["metadata"]["resourceVersion"].as_str().unwrap().to_string();
    drop(watch);
    server.post(MAPS, config_map("c", json!({}))).await;
    let mut watch = server.watch(&format!("{MAPS}?watch=1&resourceVersion={seen}")).await;
    assert_eq!(watch.line().await, "ADDED c");
}

#[tokio::test]
async fn a_version_that_is_forgotten_is_gone() {
    let server = Server::start();
    let body = |n: u32| config_map("a", json!({"n": n.to_string()}));
    server.post(MAPS, body(0)).await;
    let version = server.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_string();
    // More changes than the history keeps, made past the API for speed.
    let path = nslab::object::Key::new(&nslab::object::kind::CONFIG_MAP, "default", "a");
    let mut object = (*server.store.get(&path).unwrap()).clone();
    for n in 1..=20_001u32 {
        object.metadata_mut().remove("resourceVersion");
        object.set_label("n", &n.to_string());
        server.store.write(nslab::object::Write::Update(object.clone(), nslab::object::write::Part::All)).unwrap();
    }
    let mut watch = server.watch(&format!("{MAPS}?watch=1&resourceVersion={version}")).await;
    let error = watch.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["reason"]), (&json!("ERROR"), &json!("Expired")));
    assert_eq!(error["object"]["code"], 410);
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn entering_and_leaving_a_selector_is_being_added_and_deleted() {
    let server = Server::start();
    let selected = format!("{MAPS}?watch=1&labelSelector=app%3Dweb");
    let mut watch = server.watch(&selected).await;
    server.post(MAPS, config_map("a", json!({"app": "db"}))).await;
    let label = |app: Value| json!({"metadata": {"labels": {"app": app}}});
    let path = format!("{MAPS}/a");
    server.patch(&path, "merge-patch+json", label(json!("web"))).await;
    assert_eq!(watch.line().await, "ADDED a");
    server.patch(&path, "merge-patch+json", json!({"data": {"x": "y"}})).await;
    assert_eq!(watch.line().await, "MODIFIED a");
    let left = server.patch(&path, "merge-patch+json", label(Value::Null)).await.body;
    let event = watch.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]["labels"]["app"]), (&json!("DELETED"), &json!("web")));
    assert_eq!(event["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
    server.delete(&path).await;
    server.post(MAPS, config_map("b", json!({"app": "web"}))).await;
    assert_eq!(watch.line().await, "ADDED b", "what is out of sight is deleted out of sight");
}

#[tokio::test]
async fn a_watch_of_one_namespace_or_field_sees_no_other() {
    let server = Server::start();
    let mut one = server.watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Db")).await;
    let mut everywhere = server.watch("/api/v1/configmaps?watch=1").await;
    server.post("/api/v1/namespaces/kube-system/configmaps", config_map("b", json!({}))).await;
    server.post(MAPS, config_map("a", json!({}))).await;
    server.post(MAPS, config_map("b", json!({}))).await;
    assert_eq!(one.next().await.unwrap()["object"]["metadata"]["namespace"], "default");
    for expected in ["ADDED b", "ADDED a", "ADDED b"] {
        assert_eq!(everywhere.line().await, expected);
    }
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark_and_time_ends_the_watch() {
    let server = Server::start();
    server.post(MAPS, config_map("a", json!({}))).await;
    let query =
        "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    let mut watch = server.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(watch.line().await, "ADDED a");
    let bookmark = watch.next().await.unwrap();
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let last = watch.next().await.unwrap();
    assert_eq!((&last["type"], last["object"]["metadata"].get("annotations")), (&json!("BOOKMARK"), None));
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn tables_name_their_columns_once() {
    let server = Server::start();
    server.post(MAPS, config_map("a", json!({}))).await;
    server.post(MAPS, config_map("b", json!({}))).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let response = server.open(Method::GET, &format!("{MAPS}?watch=1&timeoutSeconds=1"), &accept, Vec::new()).await;
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let events: Vec<Value> = bytes.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    let columns = |event: &Value| event["object"]["columnDefinitions"].as_array().unwrap().len();
    assert_eq!((columns(&events[0]), columns(&events[1])), (3, 0));
    assert_eq!(events[1]["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn the_end_of_the_server_ends_its_watches() {
    let mut server = Server::start();
    let mut watch = server.watch(&format!("{MAPS}?watch=1")).await;
    server.stop().await;
    assert_eq!(watch.next().await, None);
}
