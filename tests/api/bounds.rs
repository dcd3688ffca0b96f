//! What a client may not ask for, and how it is told.

use hyper::Method;
use serde_json::json;

use crate::harness::{Server, config_map};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn fields_that_nobody_can_select_by_are_refused() {
    let server = Server::start();
    let refused = [
        ("/api/v1/pods", "spec.foo", "field label not supported: spec.foo"),
        ("/api/v1/nodes", "status.phase", "field label not supported: status.phase"),
        ("/apis/batch/v1/jobs", "spec.a", "field label \"spec.a\" not supported for batchv1.Job"),
        (MAPS, "data.a", "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""),
    ];
    for (path, field, why) in refused {
        for more in ["", "&watch=1"] {
            let answer = server.get(&format!("{path}?fieldSelector={field}%3Dx{more}")).await;
            assert_eq!((answer.code, answer.body["message"].as_str()), (400, Some(why)));
        }
    }
    server.post(MAPS, config_map("kept", json!({}))).await;
    let deleted = server.delete(&format!("{MAPS}?fieldSelector=data.a%3Dx")).await;
    assert_eq!((deleted.code, server.get(&format!("{MAPS}/kept")).await.code), (400, 200));
    let unread = server.get("/api/v1/pods?fieldSelector=a%3Db,c").await;
    assert_eq!(unread.body["message"], "invalid selector: 'a=b,c'; can't understand 'c'");
}

#[tokio::test]
async fn fields_that_are_not_written_have_their_zero() {
    let server = Server::start();
    let name = |n: &str| json!({"metadata": {"name": n}});
    server.post("/api/v1/nodes", name("on")).await;
    let mut off = name("off");
    off["spec"] = json!({"unschedulable": true});
    server.post("/api/v1/nodes", off).await;
    for (wanted, found) in [("false", "on"), ("true", "off")] {
        let list = server.get(&format!("/api/v1/nodes?fieldSelector=spec.unschedulable%3D{wanted}")).await.body;
        assert_eq!((list["items"][0]["metadata"]["name"].as_str(), list["items"][1].is_null()), (Some(found), true));
    }
}

#[tokio::test]
async fn an_unknown_field_validation_is_no_valid_option() {
    let server = Server::start();
    let path = format!("{MAPS}?fieldValidation=Nonsense");
    let answer = server.post(&path, config_map("a", json!({}))).await;
    let why = "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Nonsense\": supported \
               values: \"\", \"Ignore\", \"Strict\", \"Warn\"";
    assert_eq!((answer.code, answer.body["message"].as_str()), (422, Some(why)));
}

#[tokio::test]
async fn headers_have_a_size_that_they_may_have() {
    let server = Server::start();
    let long = "a".repeat(128 << 10);
    let answer = server.send(Method::GET, "/version", &[("x-long", &long)], Vec::new()).await;
    assert_eq!(answer.code, 431);
}
