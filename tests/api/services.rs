//! Services get addresses and ports, keep them, and give them back.

use serde_json::{Value, json};

use crate::harness::Server;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_taken_node_port_is_refused_in_the_words_that_users_know() {
    let server = Server::start();
    let spec = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    let first = server.post(SERVICES, service("web", spec.clone())).await.body;
    assert_eq!(
        (&first["spec"]["clusterIPs"][0], &first["spec"]["ipFamilies"]),
        (&first["spec"]["clusterIP"], &json!(["IPv4"]))
    );
    let second = server.post(SERVICES, service("web-dup", spec)).await;
    assert_eq!(
        second.body["message"],
        "Service \"web-dup\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    assert_eq!((second.code, second.body["reason"].as_str()), (422, Some("Invalid")));
    server.delete(&format!("{SERVICES}/web")).await;
    let spec = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    assert_eq!(server.post(SERVICES, service("web-dup", spec)).await.code, 201, "a deleted Service's port is free");
}

#[tokio::test]
async fn many_at_once_never_share_a_port_or_an_address() {
    let server = std::rc::Rc::new(Server::start());
    let local = tokio::task::LocalSet::new();
    let all = local
        .run_until(async {
            let mut tasks = Vec::new();
            for n in 0..60 {
                let server = server.clone();
                tasks.push(tokio::task::spawn_local(async move {
                    let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
                    server.post(SERVICES, service(&format!("s{n}"), spec)).await.body
                }));
            }
            let mut all = Vec::new();
            for task in tasks {
                all.push(task.await.unwrap());
            }
            all
        })
        .await;
    for path in ["/spec/clusterIP", "/spec/ports/0/nodePort"] {
        let mut seen: Vec<String> = all.iter().map(|s| s.pointer(path).unwrap().to_string()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 60, "{path}");
    }
}

#[tokio::test]
async fn what_was_given_stays_through_replacement_and_goes_with_the_type() {
    let server = Server::start();
    let path = format!("{SERVICES}/web");
    let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let before = server.post(SERVICES, service("web", spec.clone())).await.body;
    let replaced = server.put(&path, service("web", spec)).await.body;
    assert_eq!(replaced["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    assert_eq!(replaced["spec"]["ports"], before["spec"]["ports"]);
    let moved = server.patch(&path, "merge-patch+json", json!({"spec": {"clusterIP": "10.96.7.7"}})).await;
    assert!(moved.body["message"].as_str().unwrap().ends_with("may not change once set"), "{}", moved.body["message"]);
    let inner = server.patch(&path, "merge-patch+json", json!({"spec": {"type": "ClusterIP"}})).await.body;
    assert_eq!(
        (inner["spec"]["ports"][0].get("nodePort"), &inner["spec"]["clusterIP"]),
        (None, &before["spec"]["clusterIP"])
    );
    let name = json!({"spec": {"type": "ExternalName", "externalName": "example.org"}});
    let outer = server.patch(&path, "merge-patch+json", name).await.body;
    assert_eq!(outer["spec"].get("clusterIP"), None);
}
