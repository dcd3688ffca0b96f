//! OpenAPI as clients ask for it: by the index, with hashes, in both versions.

use http_body_util::BodyExt;
use hyper::Method;
use serde_json::Value;

use crate::harness::Server;

const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[tokio::test]
async fn the_index_leads_to_documents_that_never_change() {
    let server = Server::start();
    let index = server.get("/openapi/v3").await;
    let apps = index.body["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap().to_string();
    assert!(apps.starts_with("/openapi/v3/apis/apps/v1?hash="), "{apps}");
    let document = server.get(&apps).await;
    assert_eq!((document.code, document.body["openapi"].as_str()), (200, Some("3.0.0")));
    assert_eq!(document.headers["cache-control"], "public, immutable");
    assert!(document.headers.contains_key("expires"));
    let etag = document.headers["etag"].to_str().unwrap().to_string();
    let again = server.send(Method::GET, &apps, &[("if-none-match", &etag)], Vec::new()).await;
    assert_eq!((again.code, again.text.as_str()), (304, ""));
    let old = server.get("/openapi/v3/apis/apps/v1?hash=0").await;
    assert_eq!(old.code, 301);
    assert_eq!(old.headers["location"], *apps);
    let unhashed = server.get("/openapi/v3/apis/apps/v1").await;
    assert_eq!((unhashed.code, unhashed.text), (200, document.text));
    assert_eq!(unhashed.headers["cache-control"], "no-cache, private");
    for nowhere in ["/openapi", "/openapi/v3/apis/apps/v1beta1", "/openapi/v3/apis/nothing/v1", "/openapi/v4"] {
        assert_eq!(server.get(nowhere).await.code, 404, "{nowhere}");
    }
}

#[tokio::test]
async fn every_resource_of_discovery_has_its_paths_and_kind() {
    let server = Server::start();
    let index = server.get("/openapi/v3").await;
    for (path, _) in index.body["paths"].as_object().unwrap() {
        let document = server.get(&format!("/openapi/v3/{path}")).await.body;
        let resources = server.get(&format!("/{path}")).await.body;
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for resource in resources["resources"].as_array().unwrap() {
            let (name, part) = match resource["name"].as_str().unwrap().split_once('/') {
                Some((name, part)) => (name.to_string(), format!("/{part}")),
                None => (resource["name"].as_str().unwrap().to_string(), String::new()),
            };
            let within = if resource["namespaced"] == true { "/namespaces/{namespace}" } else { "" };
            let at = format!("/{path}{within}/{name}/{{name}}{part}");
            let item = &document["paths"][&at];
            let operations = ["get", "put", "post", "patch"].map(|method| &item[method]);
            let operation = operations.into_iter().find(|operation| !operation.is_null());
            let of = &operation.unwrap_or_else(|| panic!("{at}"))["x-kubernetes-group-version-kind"];
            assert_eq!(of["kind"], resource["kind"], "{at}");
            if part.is_empty() {
                let has_it = |schema: &Value| schema["x-kubernetes-group-version-kind"][0] == *of;
                assert!(schemas.values().any(has_it), "{at}");
            }
        }
    }
}

#[tokio::test]
async fn version_two_comes_in_json_and_in_protobuf() {
    let server = Server::start();
    let json = server.get("/openapi/v2").await;
    assert_eq!((json.code, json.body["swagger"].as_str()), (200, Some("2.0")));
    assert!(json.body["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
    let response = server.open(Method::GET, "/openapi/v2", &[("accept", V2_PROTOBUF)], Vec::new()).await;
    assert_eq!(response.headers()["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(bytes.get(..5), Some(&b"\n\x032.0"[..]));
    let description = b"Pod is a collection of containers";
    assert!(bytes.windows(description.len()).any(|window| window == description));
}
