//! Built-in kinds with something of their own: other versions, budgets, accounts, questions.

use serde_json::{Value, json};

use crate::harness::{Answer, Server, put};

fn message(answer: &Answer) -> &str {
    answer.body["message"].as_str().unwrap_or(&answer.text)
}

#[tokio::test]
async fn an_autoscaler_is_served_in_both_versions() {
    let server = Server::start();
    let (v1, v2) = ("/apis/autoscaling/v1", "/apis/autoscaling/v2");
    let of = |root: &str| format!("{root}/namespaces/default/horizontalpodautoscalers");
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let wanted = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 5, "targetCPUUtilizationPercentage": 50}});
    let strict = format!("{}?fieldValidation=Strict", of(v1));
    let created = server.post(&strict, wanted).await;
    assert_eq!(created.code, 201, "{}", created.text);
    assert_eq!(
        (&created.body["apiVersion"], &created.body["spec"]["targetCPUUtilizationPercentage"]),
        (&json!("autoscaling/v1"), &json!(50))
    );
    let metrics = json!([{"type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]);
    let path = format!("{}/web", of(v2));
    assert_eq!(server.get(&path).await.body["spec"]["metrics"], metrics);
    // What the old version cannot say is not lost by a change through it.
    let memory = json!({"type": "Resource",
        "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
    let add = json!([{"op": "add", "path": "/spec/metrics/-", "value": memory}]);
    assert_eq!(server.patch(&path, "json-patch+json", add).await.code, 200);
    let old = format!("{}/web", of(v1));
    let patched = server.patch(&old, "merge-patch+json", json!({"spec": {"targetCPUUtilizationPercentage": 80}})).await;
    assert_eq!(patched.body["apiVersion"], "autoscaling/v1", "{}", patched.text);
    let metrics = server.get(&path).await.body["spec"]["metrics"].clone();
    assert_eq!((&metrics[0]["resource"]["target"]["averageUtilization"], &metrics[1]), (&json!(80), &memory));
    let group = server.get("/apis/autoscaling").await.body;
    assert_eq!(group["preferredVersion"]["version"], "v2");
    assert_eq!(group["versions"].as_array().unwrap().len(), 2);
}

fn pod(name: &str, ready: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default",
        "labels": {"app": "web"}}, "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "nginx"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
}

#[tokio::test]
async fn an_eviction_asks_the_disruption_budget() {
    let server = Server::start();
    for (name, ready) in [("a", true), ("b", true), ("c", true), ("sick", false)] {
        put(&server.store, pod(name, ready));
    }
    put(
        &server.store,
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web",
            "namespace": "default"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}}),
    );
    let evict = async |name: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        server.post(&format!("/api/v1/namespaces/default/pods/{name}/eviction"), eviction).await
    };
    assert_eq!(evict("a").await.code, 201);
    let refused = evict("b").await;
    assert_eq!(
        (refused.code, message(&refused)),
        (429, "Cannot evict pod as it would violate the pod's disruption budget.")
    );
    assert_eq!(
        refused.body["details"]["causes"],
        json!([{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods and has 2 currently"}])
    );
    // It is no loss to a budget that is met.
    assert_eq!(evict("sick").await.code, 201);
}

#[tokio::test]
async fn a_pod_gets_its_accounts_volume_or_is_refused() {
    let server = Server::start();
    let pods = "/api/v1/namespaces/default/pods";
    let wanted = |account: Option<&str>| {
        let mut spec = json!({"containers": [{"name": "c", "image": "nginx"}]});
        if let Some(account) = account {
            spec["serviceAccountName"] = account.into();
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec})
    };
    let refused = server.post(pods, wanted(Some("robot"))).await;
    assert_eq!(
        (refused.code, message(&refused)),
        (
            403,
            "pods \"web\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not found"
        )
    );
    let created = server.post(pods, wanted(None)).await;
    assert_eq!(created.code, 201, "{}", created.text);
    let volume = created.body["spec"]["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-") && volume.len() == 21, "{volume}");
    assert_eq!(created.body["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);
    // In one file the account may stand after its pod.
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    let mut late = wanted(Some("robot"));
    late["metadata"]["name"] = json!("late");
    let applied = server.post("/apis/nslab.dev/v1alpha1/apply", json!([late.clone(), account])).await;
    assert_eq!(applied.code, 200, "{}", applied.text);
    let again = server.post("/apis/nslab.dev/v1alpha1/apply", json!([late])).await;
    assert_eq!(again.body["items"][0]["outcome"], "unchanged", "{}", again.text);
}

#[tokio::test]
async fn questions_are_in_discovery_and_answered() {
    let server = Server::start();
    let names = async |path: &str| -> Vec<String> {
        let list = server.get(path).await.body;
        let resources = list["resources"].as_array().unwrap().clone();
        resources.iter().map(|r| r["name"].as_str().unwrap().to_string()).collect()
    };
    assert!(names("/api/v1").await.contains(&"pods/eviction".to_string()));
    let expected =
        ["localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"];
    assert_eq!(names("/apis/authorization.k8s.io/v1").await, expected);
    let review = |kind: &str| json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": {}});
    for path in ["selfsubjectaccessreviews", "namespaces/default/localsubjectaccessreviews"] {
        let answer = server.post(&format!("/apis/authorization.k8s.io/v1/{path}"), review("x")).await;
        assert_eq!(answer.body["status"]["allowed"], true, "{}", answer.text);
        assert!(answer.body["status"]["reason"].as_str().unwrap().contains("does not enforce"));
    }
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}});
    let answer = server.post("/apis/authentication.k8s.io/v1/tokenreviews", token).await;
    assert_eq!(answer.body["status"]["error"], "invalid bearer token");
}

/// kubectl compares the text of the annotation.
#[tokio::test]
async fn what_was_applied_is_noted_as_kubectl_notes_it() {
    let server = Server::start();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "<b> && c"}});
    server.post("/apis/nslab.dev/v1alpha1/apply", json!([map])).await;
    let stored = server.get("/api/v1/namespaces/default/configmaps/m").await.body;
    let noted = stored["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
    assert!(noted.contains(r"\u003cb\u003e \u0026\u0026 c"), "{noted}");
}
