use serde_json::json;

use super::*;

fn service(selector: Value, ports: Value) -> Object {
    Object::from_value(json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": selector, "ports": ports}}))
    .unwrap()
}

fn pod(name: &str, ports: Value) -> Object {
    Object::from_value(json!({"metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "ports": ports}]}}))
    .unwrap()
}

fn notes(service: &Object, pods: &[Object]) -> Vec<String> {
    service_notes(service, &pods.iter().collect::<Vec<_>>(), |_| None)
}

#[test]
fn a_selector_that_no_pod_has() {
    let pods = [pod("web-1", json!([]))];
    for (selector, end) in [
        (json!({"app": "wbe"}), "selects app=wbe: 0 pods match. Labels in use: app=web. Did you mean app=web?"),
        (json!({"tier": "front"}), "selects tier=front: 0 pods match. Labels in use: app=web."),
        (json!({"app": "web", "tier": "x"}), "selects app=web,tier=x: 0 pods match. Labels in use: app=web."),
    ] {
        assert_eq!(notes(&service(selector, json!([])), &pods), [format!("Service web {end}")]);
    }
    let other = Object::from_value(json!({"metadata": {"name": "x", "labels": {"tier": "x"}}})).unwrap();
    let apart = notes(&service(json!({"app": "web", "tier": "x"}), json!([])), &[pods[0].clone(), other]);
    assert!(apart[0].ends_with("No pod has all that the Service selects."), "{apart:?}");
    let none = notes(&service(json!({"app": "web"}), json!([])), &[]);
    assert!(none[0].ends_with("There are no pods with labels in namespace default."), "{none:?}");
}

#[test]
fn a_port_that_no_container_opens() {
    let http = json!([{"name": "http", "containerPort": 80}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]);
    let with_ports = [pod("web-1", http.clone()), pod("web-2", http)];
    let without = [pod("web-1", json!([]))];
    let known = "Ports that they declare: dns (53/UDP), http (80/TCP).";
    for (port, pods, expected) in [
        (json!({"port": 80}), &with_ports[..], String::new()),
        (json!({"port": 81, "targetPort": "http"}), &with_ports, String::new()),
        (
            json!({"port": 81, "targetPort": "htpp"}),
            &with_ports,
            format!(
                "targetPort htpp of port 81/TCP is the name of no container port in the 2 pods that it selects. {known} \
                 Did you mean http?"
            ),
        ),
        (
            json!({"port": 53, "targetPort": "dns"}),
            &with_ports,
            format!("targetPort dns of port 53/TCP is the name of no container port in the 2 pods that it selects. {known}"),
        ),
        (
            json!({"port": 80, "targetPort": 8080}),
            &with_ports,
            format!("port 80/TCP leads to port 8080, which no container of the 2 pods that it selects declares. {known}"),
        ),
        (json!({"port": 80, "targetPort": 8080}), &without, String::new()),
        (
            json!({"port": 80, "targetPort": "http"}),
            &without,
            "targetPort http of port 80/TCP is the name of no container port in the one pod that it selects. They declare \
             no ports."
                .to_string(),
        ),
    ] {
        let found = notes(&service(json!({"app": "web"}), json!([port])), pods);
        let expected: Vec<String> = Some(expected).filter(|e| !e.is_empty()).into_iter().collect();
        let found: Vec<&str> = found.iter().map(|note| note.trim_start_matches("Service web: ")).collect();
        assert_eq!(found, expected, "{port}");
    }
    // One pod with an undeclared port may well listen there.
    let mixed = [pod("web-1", json!([])), pod("web-2", json!([{"containerPort": 80}]))];
    assert!(notes(&service(json!({"app": "web"}), json!([{"port": 8080}])), &mixed).is_empty());
}

#[test]
fn pods_that_do_not_become_ready() {
    let pods: Vec<Object> = (1..=5).map(|n| pod(&format!("web-{n}"), json!([]))).collect();
    let web = service(json!({"app": "web"}), json!([]));
    let all: Vec<&Object> = pods.iter().collect();
    let stuck = service_notes(&web, &all, |_| Some("ErrImagePull".into()));
    assert_eq!(
        stuck,
        ["Service web has no endpoint: no pod that it selects is ready (web-1: ErrImagePull; web-2: ErrImagePull; \
          web-3: ErrImagePull; and 2 more)."]
    );
    // As long as one may still become ready, nothing is wrong.
    let one = service_notes(&web, &all, |pod| (pod.name() != "web-4").then(|| "ErrImagePull".into()));
    assert!(one.is_empty());
    let without_selector = service(Value::Null, json!([{"port": 80}]));
    assert!(notes(&without_selector, &pods).is_empty());
}

#[test]
fn names_that_were_meant_otherwise() {
    let services = [("hname-svc-default", 0), ("hname-svx-default", 3), ("web-1", 0), ("web-2", 1)];
    assert_eq!(
        slips(&services),
        ["Service hname-svc-default has no endpoints, and its name is nearly that of Service hname-svx-default."]
    );
    let backend = |name: &str| json!({"service": {"name": name, "port": {"number": 80}}});
    let ingress = json!({"metadata": {"name": "ing"}, "spec": {"defaultBackend": backend("web"), "rules": [
        {"http": {"paths": [{"path": "/", "backend": backend("hname-svc-default")}]}}, {"host": "x"}]}});
    let ingress = Object::from_value(ingress).unwrap();
    assert_eq!(
        missing_backends(&ingress, &BTreeSet::from(["hname-svx-default", "web"])),
        ["Ingress ing leads to Service hname-svc-default, which does not exist. Did you mean hname-svx-default?"]
    );
}
