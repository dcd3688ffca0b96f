use serde_json::{Value, json};

use super::*;
use crate::object::kind;

fn at() -> jiff::Timestamp {
    "2026-01-01T00:05:02Z".parse().unwrap()
}

fn cells(object: Value) -> Vec<Value> {
    let mut object = Object::from_value(object).unwrap();
    object.metadata_mut().entry("creationTimestamp").or_insert("2026-01-01T00:00:00Z".into());
    (columns::of(object.kind().unwrap()).cells)(&object, at())
}

/// READY, STATUS and RESTARTS of a pod.
fn pod(spec: Value, status: Value) -> String {
    let pod =
        cells(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec, "status": status}));
    pod[1..4].iter().map(|c| c.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

fn one() -> Value {
    json!({"containers": [{"name": "c"}]})
}

fn running(containers: Value) -> Value {
    json!({"phase": "Running", "containerStatuses": containers})
}

#[test]
fn a_pods_status_comes_from_its_containers() {
    for (state, expected) in [
        (json!({"ready": true, "state": {"running": {}}}), "1/1 Running 0"),
        (json!({"ready": false, "state": {"running": {}}}), "0/1 Running 0"),
        (json!({"state": {"waiting": {"reason": "ContainerCreating"}}}), "0/1 ContainerCreating 0"),
        (json!({"state": {"waiting": {"reason": "ErrImagePull"}}}), "0/1 ErrImagePull 0"),
        (
            json!({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"finishedAt": "2026-01-01T00:00:02Z"}}}),
            "0/1 CrashLoopBackOff 3 (5m ago)",
        ),
        (json!({"state": {"terminated": {"reason": "Completed", "exitCode": 0}}}), "0/1 Completed 0"),
        (json!({"state": {"terminated": {"reason": "Error", "exitCode": 1}}}), "0/1 Error 0"),
        (json!({"state": {"terminated": {"exitCode": 2}}}), "0/1 ExitCode:2 0"),
        (json!({"state": {"terminated": {"signal": 9}}}), "0/1 Signal:9 0"),
    ] {
        assert_eq!(pod(one(), running(json!([state]))), expected, "{state}");
    }
    assert_eq!(pod(one(), json!({"phase": "Pending"})), "0/1 Pending 0");
    assert_eq!(pod(one(), json!({"phase": "Failed", "reason": "Evicted"})), "0/1 Evicted 0");
    assert_eq!(pod(one(), json!({})), "0/1 Unknown 0");
}

#[test]
fn one_container_done_and_one_not() {
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let states = json!([{"name": "a", "state": {"terminated": {"reason": "Completed"}}},
        {"name": "b", "ready": true, "state": {"running": {}}}]);
    assert_eq!(pod(two.clone(), running(states.clone())), "1/2 NotReady 0");
    let mut status = running(states);
    status["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert_eq!(pod(two, status), "1/2 Running 0");
}

#[test]
fn init_containers_come_first_and_sidecars_count() {
    let spec = json!({"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]});
    let status = |states: Value| json!({"phase": "Pending", "initContainerStatuses": states});
    let done = json!({"name": "a", "state": {"terminated": {"exitCode": 0}}});
    for (second, expected) in [
        (json!({"name": "b", "state": {"running": {}}}), "0/1 Init:1/2 0"),
        (json!({"name": "b", "state": {"waiting": {"reason": "PodInitializing"}}}), "0/1 Init:1/2 0"),
        (json!({"name": "b", "state": {"waiting": {"reason": "ErrImagePull"}}}), "0/1 Init:ErrImagePull 0"),
        (json!({"name": "b", "restartCount": 2, "state": {"terminated": {"exitCode": 3}}}), "0/1 Init:ExitCode:3 2"),
    ] {
        assert_eq!(pod(spec.clone(), status(json!([done, second]))), expected, "{second}");
    }
    let spec = json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "c"}]});
    let status = json!({"phase": "Running",
        "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
        "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]});
    assert_eq!(pod(spec, status), "2/2 Running 0");
}

#[test]
fn a_pod_that_is_deleted_is_terminating_until_it_has_ended() {
    let pod = |phase: &str| {
        let row = cells(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "deletionTimestamp": "x"},
            "status": {"phase": phase}}));
        row[2].clone()
    };
    assert_eq!((pod("Running"), pod("Succeeded")), (json!("Terminating"), json!("Succeeded")));
}

fn service(spec: Value, status: Value) -> Vec<Value> {
    cells(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec, "status": status}))
}

#[test]
fn services_show_their_ports_and_outer_addresses() {
    let ports = json!([{"port": 80, "nodePort": 30000}, {"port": 53, "protocol": "UDP"}]);
    let spec = json!({"type": "NodePort", "clusterIP": "10.96.0.7", "ports": ports, "selector": {"a": "b", "c": "d"}});
    assert_eq!(
        service(spec, json!({})),
        [
            json!("s"),
            json!("NodePort"),
            json!("10.96.0.7"),
            json!("<none>"),
            json!("80:30000/TCP,53/UDP"),
            json!("5m2s"),
            json!("a=b,c=d")
        ]
    );
    for (spec, status, cluster, external, ports) in [
        (json!({"clusterIP": "None"}), json!({}), "None", "<none>", "<none>"),
        (json!({"type": "ExternalName", "externalName": "x.org"}), json!({}), "<none>", "x.org", "<none>"),
        (json!({"type": "LoadBalancer"}), json!({}), "<none>", "<pending>", "<none>"),
        (
            json!({"type": "LoadBalancer", "externalIPs": ["9.9.9.9"]}),
            json!({"loadBalancer": {"ingress": [{"ip": "192.168.1.11"}, {"hostname": "h"}]}}),
            "<none>",
            "192.168.1.11,h,9.9.9.9",
            "<none>",
        ),
    ] {
        let row = service(spec, status);
        assert_eq!((&row[2], &row[3], &row[4]), (&json!(cluster), &json!(external), &json!(ports)));
    }
}

#[test]
fn endpoints_show_three_and_how_many_more() {
    let row = |subsets: Value| {
        cells(json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "e"}, "subsets": subsets}))[1]
            .clone()
    };
    assert_eq!(row(json!([])), "<none>");
    let address = |n: u8| json!({"ip": format!("10.244.1.{n}")});
    let two = json!([{"addresses": [address(2), address(3)], "ports": [{"port": 80}]}]);
    assert_eq!(row(two), "10.244.1.2:80,10.244.1.3:80");
    let four = json!([{"addresses": [address(2), address(3)], "ports": [{"port": 80}, {"port": 443}]}]);
    assert_eq!(row(four), "10.244.1.2:80,10.244.1.3:80,10.244.1.2:443 + 1 more...");
    let ipv6 = json!([{"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}]}]);
    assert_eq!(row(ipv6), "[fd00::1]:80");
}

#[test]
fn nodes_show_roles_readiness_and_addresses() {
    let node = cells(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "m-k8s",
        "labels": {"node-role.kubernetes.io/control-plane": ""}}, "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}], "nodeInfo": {"kubeletVersion": "v1.34.0"},
        "addresses": [{"type": "InternalIP", "address": "192.168.1.10"}]}}));
    assert_eq!(
        node[1..7],
        [
            json!("NotReady,SchedulingDisabled"),
            json!("control-plane"),
            json!("5m2s"),
            json!("v1.34.0"),
            json!("192.168.1.10"),
            json!("<none>")
        ]
    );
}

#[test]
fn an_ingress_without_class_host_or_address_is_shown_as_kubectl_shows_it() {
    let ingress = cells(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "ingress-nginx"}, "spec": {"rules": [{"http": {}}]}}));
    let expected = ["ingress-nginx", "<none>", "*", "", "80", "5m2s"];
    assert_eq!(ingress, expected.map(Value::from));
}

#[test]
fn every_row_has_a_cell_a_column() {
    for kind in kind::ALL {
        let object = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "x"}});
        let object = Object::from_value(object).unwrap();
        let table = table(Columns::of(kind, None), std::iter::once(&object), Include::Nothing, true);
        let columns = table["columnDefinitions"].as_array().unwrap().len();
        assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns, "{}", kind.kind);
    }
}
