//! Custom kinds: what a CustomResourceDefinition brings is served like what is built in.

use nslab::store::Store;
use serde_json::{Value, json};

use crate::harness::{Answer, Server};

const APPLY: &str = "/apis/nslab.dev/v1alpha1/apply";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

/// The example of Kubernetes' documentation, with more to check.
fn crontabs() -> Value {
    let spec = json!({"type": "object", "required": ["cronSpec"], "properties": {
        "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "image": {"type": "string", "default": "cron:1"},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "policy": {"type": "string", "enum": ["Allow", "Forbid"]},
        "port": {"x-kubernetes-int-or-string": true},
        "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "hosts": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "set", "items": {"type": "string"}}}});
    let status = json!({"type": "object", "properties": {
        "replicas": {"type": "integer"}, "labelSelector": {"type": "string"}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"],
                "categories": ["all"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema,
                    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.labelSelector"}},
                    "selectableFields": [{"jsonPath": ".spec.image"}],
                    "additionalPrinterColumns": [
                        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
                        {"name": "Replicas", "type": "integer", "priority": 1, "jsonPath": ".spec.replicas"},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]},
                {"name": "v1beta1", "served": true, "storage": false, "schema": schema, "deprecated": true},
                {"name": "v1alpha1", "served": false, "storage": false, "schema": schema}]}})
}

fn tab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec})
}

async fn with_crontabs() -> Server {
    let server = Server::start();
    let created = server.post(CRDS, crontabs()).await;
    assert_eq!(created.code, 201, "{}", created.text);
    server
}

fn conditions(crd: &Value) -> Vec<String> {
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_string();
    let all = crd["status"]["conditions"].as_array().unwrap();
    all.iter().map(|one| format!("{}={} {}", text(one, "type"), text(one, "status"), text(one, "reason"))).collect()
}

fn message(answer: &Answer) -> &str {
    answer.body["message"].as_str().unwrap_or(&answer.text)
}

#[tokio::test]
async fn a_definition_is_established_and_discovered() {
    let server = with_crontabs().await;
    let crd = server.get(&format!("{CRDS}/crontabs.stable.example.com")).await.body;
    assert_eq!(conditions(&crd), ["NamesAccepted=True NoConflicts", "Established=True InitialNamesAccepted"]);
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(crd["status"]["acceptedNames"]["listKind"], "CronTabList");
    let group = server.get("/apis/stable.example.com").await.body;
    let versions: Vec<&str> =
        group["versions"].as_array().unwrap().iter().map(|v| v["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["v1", "v1beta1"]);
    let list = server.get("/apis/stable.example.com/v1").await.body;
    let names: Vec<&str> = list["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["crontabs", "crontabs/scale", "crontabs/status"]);
    assert_eq!(list["resources"][0]["shortNames"], json!(["ct"]));
    assert_eq!(list["resources"][0]["categories"], json!(["all"]));
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let aggregated = server.send(hyper::Method::GET, "/apis", &accept, Vec::new()).await.body;
    let found = aggregated["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "stable.example.com");
    assert_eq!(found.unwrap()["versions"][0]["resources"][0]["responseKind"]["kind"], "CronTab");
    assert_eq!(server.get("/apis/stable.example.com/v1alpha1").await.code, 404);
    assert_eq!(server.get("/apis/stable.example.com/v1alpha1/namespaces/default/crontabs").await.code, 404);
    let openapi = server.get("/openapi/v3/apis/stable.example.com/v1").await.body.to_string();
    assert!(openapi.contains("cronSpec"), "{openapi}");
}

#[tokio::test]
async fn objects_are_defaulted_pruned_and_held_against_the_schema() {
    let server = with_crontabs().await;
    let spec = json!({"cronSpec": "* * * * */5", "colour": "red", "extra": {"any": {"thing": 1}}, "port": "http"});
    let mut wanted = tab("one", spec);
    wanted["status"] = json!({"replicas": 7});
    let created = server.post(TABS, wanted).await;
    assert_eq!(created.code, 201, "{}", created.text);
    assert!(created.headers["warning"].to_str().unwrap().contains("unknown field \\\"spec.colour\\\""));
    let spec = json!({"cronSpec": "* * * * */5", "extra": {"any": {"thing": 1}}, "port": "http", "image": "cron:1",
        "replicas": 1});
    assert_eq!(created.body["spec"], spec);
    assert_eq!(created.body["metadata"]["generation"], 1);
    assert!(created.body.get("status").is_none());

    let strict = server.post(&format!("{TABS}?fieldValidation=Strict"), tab("two", json!({"cron": 1}))).await;
    assert_eq!(strict.code, 400);
    assert!(message(&strict).ends_with("strict decoding error: unknown field \"spec.cron\""), "{}", strict.text);

    for (spec, expected) in [
        (json!({}), "spec.cronSpec: Required value"),
        (
            json!({"cronSpec": "* * * * */5", "replicas": "many"}),
            "spec.replicas: Invalid value: \"many\": spec.replicas in body must be of type integer: \"string\"",
        ),
        (
            json!({"cronSpec": "* * * * */5", "replicas": 11}),
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ),
        (
            json!({"cronSpec": "daily"}),
            r#"spec.cronSpec: Invalid value: "daily": spec.cronSpec in body should match '^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$'"#,
        ),
        (
            json!({"cronSpec": "* * * * */5", "policy": "Deny"}),
            "spec.policy: Unsupported value: \"Deny\": supported values: \"Allow\", \"Forbid\"",
        ),
        (json!({"cronSpec": "* * * * */5", "hosts": ["a", "a"]}), "spec.hosts[1]: Duplicate value: \"a\""),
        (
            json!({"cronSpec": "* * * * */5", "hosts": ["a", "b", "c"]}),
            "spec.hosts: Too many: 3: must have at most 2 items",
        ),
        (
            json!({"cronSpec": "* * * * */5", "port": true}),
            "spec.port: Invalid value: true: spec.port in body must be of type integer,string: \"boolean\"",
        ),
    ] {
        let refused = server.post(TABS, tab("bad", spec.clone())).await;
        assert_eq!(refused.code, 422, "{spec}: {}", refused.text);
        let expected = format!("CronTab.stable.example.com \"bad\" is invalid: {expected}");
        assert_eq!(message(&refused), expected, "{spec}");
    }
}

#[tokio::test]
async fn every_verb_works_on_custom_objects() {
    let server = with_crontabs().await;
    let mut watch = server.watch(&format!("{TABS}?watch=true")).await;
    for name in ["a", "b"] {
        server.post(TABS, tab(name, json!({"cronSpec": "* * * * *"}))).await;
    }
    let one = format!("{TABS}/a");
    let patched = server.patch(&one, "merge-patch+json", json!({"spec": {"replicas": 3}})).await;
    assert_eq!(
        (patched.body["spec"]["replicas"].as_i64(), patched.body["metadata"]["generation"].as_i64()),
        (Some(3), Some(2))
    );
    let json_patch = json!([{"op": "replace", "path": "/spec/image", "value": "cron:2"}]);
    assert_eq!(server.patch(&one, "json-patch+json", json_patch).await.body["spec"]["image"], "cron:2");
    let refused = server.patch(&one, "strategic-merge-patch+json", json!({"spec": {"replicas": 4}})).await;
    assert_eq!(refused.code, 415);
    // The status is a part of its own.
    let mut status = patched.body.clone();
    status["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    status["status"] = json!({"replicas": 2, "labelSelector": "app=x", "unknown": 1});
    status["spec"]["replicas"] = json!(9);
    let answer = server.put(&format!("{one}/status"), status).await;
    assert_eq!(answer.body["status"], json!({"replicas": 2, "labelSelector": "app=x"}), "{}", answer.text);
    assert_eq!(
        (answer.body["spec"]["replicas"].as_i64(), answer.body["metadata"]["generation"].as_i64()),
        (Some(3), Some(3))
    );
    let bad = server.patch(&format!("{one}/status"), "merge-patch+json", json!({"status": {"replicas": "x"}})).await;
    assert_eq!(bad.code, 422, "{}", bad.text);
    let scale = server.get(&format!("{one}/scale")).await.body;
    assert_eq!(
        (scale["spec"]["replicas"].as_i64(), &scale["status"]),
        (Some(3), &json!({"replicas": 2, "selector": "app=x"}))
    );
    let scaled = server.patch(&format!("{one}/scale"), "merge-patch+json", json!({"spec": {"replicas": 5}})).await;
    assert_eq!(scaled.body["spec"]["replicas"], 5);
    assert_eq!(server.get(&one).await.body["spec"]["replicas"], 5);

    let list = server.get("/apis/stable.example.com/v1/crontabs").await.body;
    assert_eq!((list["kind"].as_str(), list["items"].as_array().unwrap().len()), (Some("CronTabList"), 2));
    let selected = server.get(&format!("{TABS}?fieldSelector=spec.image%3Dcron:2")).await.body;
    assert_eq!(selected["items"][0]["metadata"]["name"], "a");
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    let unselectable = server.get(&format!("{TABS}?fieldSelector=spec.replicas%3D1")).await;
    assert_eq!((unselectable.code, message(&unselectable)), (400, "field label not supported: spec.replicas"));

    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = server.send(hyper::Method::GET, TABS, &accept, Vec::new()).await.body;
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Spec", "Replicas", "Age"]);
    assert_eq!(table["columnDefinitions"][2]["priority"], 1);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..3], [json!("a"), json!("* * * * *"), json!(5)]);
    assert!(cells[3].as_str().unwrap().ends_with('s'));

    assert_eq!(server.delete(TABS).await.code, 200);
    assert_eq!(server.get(&one).await.code, 404);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line| line != "DELETED b") {
        seen.push(watch.line().await);
    }
    assert_eq!(seen[..2], ["ADDED a", "ADDED b"]);
    assert_eq!(seen[seen.len() - 2..], ["DELETED a", "DELETED b"]);
}

#[tokio::test]
async fn each_served_version_shows_the_same_objects() {
    let server = with_crontabs().await;
    let beta = "/apis/stable.example.com/v1beta1/namespaces/default/crontabs";
    let mut wanted = tab("one", json!({"cronSpec": "* * * * *"}));
    wanted["apiVersion"] = json!("stable.example.com/v1beta1");
    let created = server.post(beta, wanted).await;
    assert_eq!(created.body["apiVersion"], "stable.example.com/v1beta1", "{}", created.text);
    assert!(created.headers["warning"].to_str().unwrap().contains("stable.example.com/v1beta1 CronTab is deprecated"));
    assert_eq!(server.get(&format!("{TABS}/one")).await.body["apiVersion"], "stable.example.com/v1");
    let list = server.get(beta).await.body;
    assert_eq!(list["items"][0]["apiVersion"], "stable.example.com/v1beta1");
    let patched = server.patch(&format!("{beta}/one"), "merge-patch+json", json!({"spec": {"replicas": 2}})).await;
    assert_eq!(patched.body["apiVersion"], "stable.example.com/v1beta1");
    assert_eq!(server.get(&format!("{TABS}/one")).await.body["spec"]["replicas"], 2);
}

#[tokio::test]
async fn names_that_are_taken_are_not_accepted() {
    let server = with_crontabs().await;
    let mut other = crontabs();
    other["metadata"]["name"] = json!("tabs.stable.example.com");
    other["spec"]["names"] = json!({"plural": "tabs", "kind": "Tab", "shortNames": ["ct"]});
    let refused = server.post(CRDS, other).await.body;
    assert_eq!(conditions(&refused), ["NamesAccepted=False ShortNamesConflict", "Established=False NotAccepted"]);
    assert_eq!(refused["status"]["conditions"][0]["message"], "\"ct\" is already in use");
    assert_eq!(server.get("/apis/stable.example.com/v1/tabs").await.code, 404);
}

#[tokio::test]
async fn what_is_no_definition_is_refused() {
    let server = Server::start();
    let refuse = |change: fn(&mut Value), expected: &'static str| {
        let mut crd = crontabs();
        change(&mut crd);
        let server = &server;
        async move {
            let answer = server.post(CRDS, crd).await;
            assert_eq!(answer.code, 422, "{}", answer.text);
            assert!(message(&answer).contains(expected), "{} has no {expected}", message(&answer));
        }
    };
    refuse(
        |crd| crd["metadata"]["name"] = json!("tabs.example.com"),
        "metadata.name: Invalid value: \"tabs.example.com\": must be spec.names.plural+\".\"+spec.group",
    )
    .await;
    refuse(|crd| crd["spec"]["scope"] = json!("World"), "spec.scope: Unsupported value: \"World\"").await;
    refuse(
        |crd| crd["spec"]["versions"][1]["storage"] = json!(true),
        "must have exactly one version marked as storage version",
    )
    .await;
    refuse(
        |crd| drop(crd["spec"]["versions"][0].as_object_mut().unwrap().remove("schema")),
        "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
    )
    .await;
    refuse(
        |crd| {
            crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["image"] =
                json!({"pattern": "("});
        },
        "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[image].type: Required value",
    )
    .await;
}

#[tokio::test]
async fn a_file_may_bring_definitions_and_objects_in_any_order() {
    let server = Server::start();
    let set = json!([tab("one", json!({"cronSpec": "* * * * *"})), crontabs()]);
    let applied = server.post(APPLY, set.clone()).await;
    assert_eq!(applied.code, 200, "{}", applied.text);
    let outcome = |answer: &Answer, index: usize| answer.body["items"][index]["outcome"].as_str().unwrap().to_string();
    assert_eq!([outcome(&applied, 0), outcome(&applied, 1)], ["created", "created"]);
    let again = server.post(APPLY, set).await;
    assert_eq!([outcome(&again, 0), outcome(&again, 1)], ["unchanged", "unchanged"], "{}", again.text);
    let changed = server.post(APPLY, json!([tab("one", json!({"cronSpec": "1 * * * *"}))])).await;
    assert_eq!(outcome(&changed, 0), "configured");

    let bad = server.post(APPLY, json!([tab("two", json!({"replicas": 0}))])).await;
    assert_eq!(bad.code, 422);
    let causes = bad.body["details"]["causes"][0]["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.cronSpec", "spec.replicas"]);

    let other = json!({"apiVersion": "none.example.com/v1", "kind": "Thing", "metadata": {"name": "x"}});
    let unknown = server.post(APPLY, json!([other])).await;
    assert_eq!(message(&unknown), "no matches for kind \"Thing\" in version \"none.example.com/v1\"");
}

/// A definition that was there before the process, and its objects, in the log and in a snapshot.
#[test]
fn objects_are_read_again_whatever_their_group_is_called() {
    let directory = std::env::temp_dir().join(format!("nslab-custom-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
    // Before "apiextensions.k8s.io" in every order.
    let mut crd: Value = serde_json::from_str(&crontabs().to_string().replace("stable.example.com", "a.b")).unwrap();
    crd["metadata"]["name"] = json!("crontabs.a.b");
    let object = |name: &str| {
        let mut object = tab(name, json!({"cronSpec": "* * * * *"}));
        object["apiVersion"] = json!("a.b/v1");
        object
    };
    let names = |store: &Store| -> Vec<String> {
        let snapshot = store.snapshot();
        snapshot.iter().filter(|(key, _)| key.kind.group == "a.b").map(|(key, _)| key.name.clone()).collect()
    };
    for round in 0..3 {
        let store = Store::open(&directory).unwrap();
        if round == 0 {
            nslab::api::apply_all(&store, &[namespace.clone(), object("one"), crd.clone()]).unwrap();
        } else {
            assert_eq!(names(&store), ["one", "two"][..round]);
            assert_eq!(store.snapshot().iter().find(|(key, _)| key.name == "one").unwrap().1.api_version(), "a.b/v1");
        }
        if round == 1 {
            nslab::api::apply_all(&store, &[object("two")]).unwrap();
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
