//! Who owns which field: server-side apply, and the notes that all writes leave.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Server, config_map};

const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn web(replicas: u32) -> Value {
    deployment(json!({"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}]}}}))
}

async fn apply(server: &Server, path: &str, query: &str, config: &Value) -> Answer {
    server.patch(&format!("{path}?{query}"), "apply-patch+yaml", config.clone()).await
}

fn managers(object: &Value) -> Vec<String> {
    let list = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or("").to_string();
    list.iter()
        .map(|e| {
            format!("{} {} {}", text(e, "manager"), text(e, "operation"), text(e, "subresource")).trim().to_string()
        })
        .collect()
}

#[tokio::test]
async fn an_apply_creates_changes_and_conflicts() {
    let server = Server::start();
    let made = apply(&server, WEB, "fieldManager=ci", &web(1)).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(managers(&made.body), ["ci Apply"]);
    assert_eq!(made.body["spec"]["strategy"]["type"], "RollingUpdate", "defaults are filled in, and nobody's");
    let again = apply(&server, WEB, "fieldManager=ci", &web(1)).await;
    assert_eq!((again.code, &again.body), (200, &made.body), "the same again changes nothing");

    let scale = json!({"spec": {"replicas": 5}});
    let scaled = server.patch(&format!("{WEB}/scale?fieldManager=hpa"), "merge-patch+json", scale).await;
    assert_eq!(scaled.code, 200);
    let refused = apply(&server, WEB, "fieldManager=ci", &web(2)).await;
    assert_eq!(refused.code, 409);
    let message =
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas";
    assert_eq!((refused.body["message"].as_str(), refused.body["reason"].as_str()), (Some(message), Some("Conflict")));
    assert_eq!(
        refused.body["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "field": ".spec.replicas",
            "message": "conflict with \"hpa\" with subresource \"scale\" using apps/v1"}])
    );
    let forced = apply(&server, WEB, "fieldManager=ci&force=true", &web(2)).await;
    assert_eq!(forced.body["spec"]["replicas"], 2);
    assert_eq!(managers(&forced.body), ["ci Apply"]);
    // Without replicas in the file they are the default's again.
    let mut config = web(2);
    config["spec"].as_object_mut().unwrap().remove("replicas");
    let given_up = apply(&server, WEB, "fieldManager=ci", &config).await;
    assert_eq!(given_up.body["spec"]["replicas"], 1);
}

#[tokio::test]
async fn several_conflicts_are_listed_by_manager() {
    let server = Server::start();
    apply(&server, WEB, "fieldManager=a", &web(1)).await;
    let label = json!({"metadata": {"labels": {"x": "1"}}});
    server.patch(&format!("{WEB}?fieldManager=b"), "merge-patch+json", label).await;
    let mut config = web(3);
    config["metadata"]["labels"] = json!({"x": "2"});
    config["spec"]["template"]["spec"]["containers"][0]["image"] = json!("httpd");
    let refused = apply(&server, WEB, "fieldManager=c", &config).await;
    assert_eq!(
        refused.body["message"],
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.replicas\n- \
         .spec.template.spec.containers[name=\"web\"].image\nconflicts with \"b\" using apps/v1:\n- .metadata.labels.x"
    );
}

#[tokio::test]
async fn what_cannot_be_applied_is_told_in_upstreams_words() {
    let server = Server::start();
    apply(&server, WEB, "fieldManager=ci", &web(1)).await;
    let mut unknown = web(1);
    unknown["spec"]["foo"] = json!(1);
    let mut twice = web(1);
    twice["spec"]["template"]["spec"]["containers"] = json!([{"name": "a"}, {"name": "a"}]);
    let mut noted = web(1);
    noted["metadata"]["managedFields"] = json!([]);
    let mut stale = web(1);
    stale["metadata"]["resourceVersion"] = json!("1");
    for (query, config, code, message) in [
        (
            "",
            &web(1),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        (
            "fieldManager=ci",
            &unknown,
            500,
            "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema",
        ),
        (
            "fieldManager=ci",
            &twice,
            500,
            "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: \
             duplicate entries for key [name=\"a\"]",
        ),
        ("fieldManager=ci", &noted, 400, "metadata.managedFields must be nil"),
        ("fieldManager=ci", &json!({"spec": {}}), 400, "invalid object type: /, Kind="),
        (
            "fieldManager=ci",
            &stale,
            409,
            "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your \
             changes to the latest version and try again",
        ),
    ] {
        let refused = apply(&server, WEB, query, config).await;
        assert_eq!((refused.code, refused.body["message"].as_str()), (code, Some(message)), "{config}");
    }
    let mut gone = web(1);
    gone["metadata"] = json!({"name": "gone", "uid": "1-2-3"});
    let refused = apply(&server, &WEB.replace("web", "gone"), "fieldManager=ci", &gone).await;
    assert_eq!(
        (refused.code, refused.body["message"].as_str()),
        (
            409,
            Some(
                "Operation cannot be fulfilled on deployments.apps \"gone\": uid mismatch: the provided object \
            specified uid 1-2-3, and no existing object was found"
            )
        )
    );
    let forced = server.patch(&format!("{WEB}?force=true"), "merge-patch+json", json!({})).await;
    assert_eq!(
        forced.body["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
    let long = "x".repeat(129);
    let path = format!("/api/v1/namespaces/default/configmaps?fieldManager={long}");
    let refused = server.post(&path, config_map("a", json!({}))).await;
    assert_eq!(
        refused.body["message"],
        "CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes"
    );
}

#[tokio::test]
async fn every_write_leaves_its_writers_name() {
    let server = Server::start();
    let headers = [("content-type", "application/json"), ("user-agent", "curl/8.1 (x)")];
    let body = config_map("a", json!({}));
    let made =
        server.send(Method::POST, "/api/v1/namespaces/default/configmaps", &headers, body.to_string().into()).await;
    assert_eq!(managers(&made.body), ["curl Update"]);
    let path = "/api/v1/namespaces/default/configmaps/a";
    let mut changed = made.body.clone();
    changed["data"]["b"] = json!("2");
    changed["metadata"].as_object_mut().unwrap().remove("managedFields");
    let changed = server.put(&format!("{path}?fieldManager=editor"), changed).await;
    assert_eq!(managers(&changed.body), ["curl Update", "editor Update"]);
    // A dry run says what would be, and leaves nothing.
    let data = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"c": "3"}});
    let tried = apply(&server, path, "fieldManager=ci&dryRun=All", &data).await;
    assert_eq!(tried.body["data"], json!({"a": "1", "b": "2", "c": "3"}));
    assert_eq!(server.get(path).await.body, changed.body);
    // Clients may reset the list; then nothing is noted until the first apply.
    let reset = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    let reset = server.patch(path, "json-patch+json", reset).await;
    assert_eq!(managers(&reset.body), [""; 0]);
    let first = apply(&server, path, "fieldManager=ci", &data).await;
    assert_eq!(managers(&first.body), ["ci Apply", "before-first-apply Update"]);
}

#[tokio::test]
async fn the_status_is_applied_at_its_own_path() {
    let server = Server::start();
    apply(&server, WEB, "fieldManager=ci", &web(1)).await;
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 9}, "status": {"conditions": [{"type": "Available", "status": "True"}]}});
    let applied = apply(&server, &format!("{WEB}/status"), "fieldManager=controller", &status).await;
    assert_eq!(applied.code, 200, "{}", applied.text);
    assert_eq!(managers(&applied.body), ["ci Apply", "controller Apply status"]);
    assert_eq!(applied.body["spec"]["replicas"], 1, "the status alone");
    assert_eq!(applied.body["status"]["conditions"][0]["status"], "True");
    let generation = applied.body["metadata"]["generation"].clone();
    assert_eq!(generation, 1, "a status is no new generation");
    let other = server.patch(&format!("{WEB}/status"), "merge-patch+json", json!({"status": {"replicas": 1}})).await;
    assert_eq!(managers(&other.body), ["ci Apply", "controller Apply status", "unknown Update status"]);
}

#[tokio::test]
async fn a_scale_is_applied() {
    let server = Server::start();
    apply(&server, WEB, "fieldManager=ci", &web(1)).await;
    let scale =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 4}});
    let path = format!("{WEB}/scale");
    let refused = apply(&server, &path, "fieldManager=hpa", &scale).await;
    assert_eq!(refused.body["message"], "Apply failed with 1 conflict: conflict with \"ci\": .spec.replicas");
    let forced = apply(&server, &path, "fieldManager=hpa&force=true", &scale).await;
    assert_eq!(forced.body["spec"]["replicas"], 4, "{}", forced.text);
    assert_eq!(managers(&server.get(WEB).await.body), ["ci Apply", "hpa Apply scale"]);
}

#[tokio::test]
async fn a_configuration_may_be_yaml() {
    let server = Server::start();
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: 'y'\n";
    let path = "/api/v1/namespaces/default/configmaps/a?fieldManager=me";
    let headers = [("content-type", "application/apply-patch+yaml")];
    let made = server.send(Method::PATCH, path, &headers, yaml.into()).await;
    assert_eq!((made.code, &made.body["data"]), (201, &json!({"x": "y"})), "{}", made.text);
    let broken = server.send(Method::PATCH, path, &headers, "a: [".into()).await;
    assert_eq!(broken.code, 400);
    assert!(broken.body["message"].as_str().unwrap().starts_with("error decoding patch: "), "{}", broken.text);
}

#[tokio::test]
async fn a_patch_whose_result_does_not_fit_is_refused_as_a_patch() {
    let server = Server::start();
    apply(&server, WEB, "fieldManager=ci", &web(1)).await;
    let path = format!("{WEB}?fieldValidation=Strict");
    let refused = server.patch(&path, "strategic-merge-patch+json", json!({"spec": {"foo": "bar"}})).await;
    assert_eq!(
        (refused.code, refused.body["message"].as_str()),
        (
            422,
            Some(
                " \"\" is invalid: patch: Invalid value: \"map[spec:map[foo:bar]]\": strict decoding error: unknown field \"spec.foo\""
            )
        )
    );
    let refused =
        server.patch(WEB, "json-patch+json", json!([{"op": "test", "path": "/spec/replicas", "value": 7}])).await;
    assert_eq!(
        (refused.code, refused.body["message"].as_str()),
        (
            422,
            Some("the server rejected our request due to an error in our request: testing value /spec/replicas failed")
        )
    );
    let no_key = json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}});
    let refused = server.patch(WEB, "strategic-merge-patch+json", no_key).await;
    assert_eq!(
        (refused.code, refused.body["message"].as_str(), refused.body.get("reason")),
        (500, Some("map: map[image:x] does not contain declared merge key: name"), None)
    );
}

#[tokio::test]
async fn many_manifests_are_applied_on_the_server() {
    const APPLY: &str = "/apis/nslab.dev/v1alpha1/apply";
    let server = Server::start();
    server.post(APPLY, json!([web(1)])).await;
    assert_eq!(managers(&server.get(WEB).await.body), ["kubectl-client-side-apply Update"]);
    let mut without_ports = web(2);
    without_ports["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("ports");
    let refused = server.post(&format!("{APPLY}?serverSide=true&fieldManager=ci"), json!([without_ports])).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (409, Some("Conflict")), "{}", refused.text);
    // kubectl takes over from itself: what left the file goes.
    let applied = server.post(&format!("{APPLY}?serverSide=true"), json!([without_ports])).await;
    assert_eq!(applied.body["items"][0]["outcome"], "configured", "{}", applied.text);
    let web = server.get(WEB).await.body;
    assert_eq!(managers(&web), ["kubectl Apply"]);
    assert_eq!(web["spec"]["replicas"], 2);
    assert_eq!(web["spec"]["template"]["spec"]["containers"][0].get("ports"), None);
    let again = server.post(&format!("{APPLY}?serverSide=true"), json!([without_ports])).await;
    assert_eq!(again.body["items"][0]["outcome"], "unchanged");
}
