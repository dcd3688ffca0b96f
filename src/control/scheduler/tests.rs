use std::collections::BTreeMap;

use super::*;
use crate::control::testing::{Cluster, deployment, object};

fn pod(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec,
        "status": {"phase": "Pending"}})
}

fn node_of(cluster: &Cluster, pod: &str) -> Option<String> {
    pods::node(&cluster.get(&kind::POD, "default", pod)).map(str::to_string)
}

fn why_not(cluster: &Cluster, pod: &str) -> String {
    let pod = cluster.get(&kind::POD, "default", pod);
    let condition = conditions::find(&pod, "PodScheduled").unwrap();
    assert_eq!(
        (conditions::text(condition, "status"), conditions::text(condition, "reason")),
        ("False", "Unschedulable")
    );
    conditions::text(condition, "message").to_string()
}

#[test]
fn pods_are_spread_over_the_workers() {
    let mut cluster = Cluster::lab([deployment("web", 6), deployment("db", 4)]);
    cluster.run();
    for (app, expected) in [("web", [2, 2, 2]), ("db", [2, 1, 1])] {
        let mut on: BTreeMap<String, usize> = BTreeMap::new();
        for pod in cluster.list(&kind::POD).iter().filter(|pod| pod.label("app") == Some(app)) {
            *on.entry(pods::node(pod).unwrap().to_string()).or_default() += 1;
        }
        assert_eq!(on.keys().collect::<Vec<_>>(), ["w1-k8s", "w2-k8s", "w3-k8s"]);
        let mut counts: Vec<_> = on.into_values().collect();
        counts.sort_by_key(|count| std::cmp::Reverse(*count));
        assert_eq!(counts, expected);
    }
}

#[test]
fn a_bound_pod_says_so() {
    let mut cluster = Cluster::lab([pod("web", json!({}))]);
    cluster.settle();
    assert_eq!(node_of(&cluster, "web").as_deref(), Some("w1-k8s"));
    assert!(conditions::is(&cluster.get(&kind::POD, "default", "web"), "PodScheduled", "True"));
    let event = &cluster.list(&kind::EVENT)[0];
    assert_eq!(event.str_at(&["reason"]), Some("Scheduled"));
    assert_eq!(event.str_at(&["message"]), Some("Successfully assigned default/web to w1-k8s"));
    assert_eq!(event.str_at(&["source", "component"]), Some("default-scheduler"));
}

#[test]
fn what_a_pod_asks_of_its_node_holds() {
    let affinity = |term: Value| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [term]}}}})
    };
    let mut cluster = Cluster::lab([]);
    for (name, spec, expected) in [
        ("named", json!({"nodeName": "m-k8s"}), Some("m-k8s")),
        ("selected", json!({"nodeSelector": {"kubernetes.io/hostname": "w3-k8s"}}), Some("w3-k8s")),
        ("no-such-node", json!({"nodeSelector": {"disk": "ssd"}}), None),
        ("control-plane", json!({"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}}), None),
        (
            "tolerant",
            json!({"nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
            "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists",
                "effect": "NoSchedule"}]}),
            Some("m-k8s"),
        ),
        (
            "wrong-effect",
            json!({"nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
            "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoExecute"}]}),
            None,
        ),
        (
            "labels",
            affinity(json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In",
            "values": ["w2-k8s"]}]})),
            Some("w2-k8s"),
        ),
        (
            "fields",
            affinity(json!({"matchFields": [{"key": "metadata.name", "operator": "In",
            "values": ["w3-k8s"]}]})),
            Some("w3-k8s"),
        ),
        ("empty-term", affinity(json!({})), None),
        ("other-scheduler", json!({"schedulerName": "mine"}), None),
        ("gated", json!({"schedulingGates": [{"name": "wait"}]}), None),
    ] {
        cluster.commit(vec![Write::Create(object(pod(name, spec)))]);
        cluster.settle();
        assert_eq!(node_of(&cluster, name).as_deref(), expected, "{name}");
    }
    assert_eq!(
        why_not(&cluster, "no-such-node"),
        "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 3 node(s) \
         didn't match Pod's node affinity/selector."
    );
}

#[test]
fn a_port_of_a_node_is_one_pods_alone() {
    let asking = |port: Value| {
        let mut port = port;
        port["containerPort"] = 80.into();
        json!({"nodeSelector": {"kubernetes.io/hostname": "w1-k8s"}, "containers": [{"name": "c", "ports": [port]}]})
    };
    let mut cluster = Cluster::lab([]);
    for (name, port, fits) in [
        ("first", json!({"hostPort": 8080}), true),
        ("second", json!({"hostPort": 8080, "protocol": "TCP"}), false),
        ("udp", json!({"hostPort": 8080, "protocol": "UDP"}), true),
        ("other", json!({"hostPort": 8081, "hostIP": "192.168.1.101"}), true),
        ("beside", json!({"hostPort": 8081, "hostIP": "127.0.0.1"}), true),
        ("all", json!({"hostPort": 8081}), false),
        ("none", json!({}), true),
    ] {
        cluster.commit(vec![Write::Create(object(pod(name, asking(port))))]);
        cluster.settle();
        assert_eq!(node_of(&cluster, name).is_some(), fits, "{name}");
    }
    let free = "1 node(s) didn't have free ports for the requested pod ports";
    assert!(why_not(&cluster, "second").contains(free), "{}", why_not(&cluster, "second"));
    // Two at once do not get the same, and a pod that has finished gives back.
    let any = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 9090}]}]});
    cluster.commit((0..4).map(|n| Write::Create(object(pod(&format!("any-{n}"), any.clone())))).collect());
    cluster.settle();
    let nodes: Vec<Option<String>> = (0..4).map(|n| node_of(&cluster, &format!("any-{n}"))).collect();
    let placed: std::collections::BTreeSet<_> = nodes.iter().flatten().collect();
    assert_eq!((placed.len(), nodes.iter().flatten().count()), (3, 3), "{nodes:?}");
    cluster.change(&kind::POD, "default", "first", |pod| {
        map_at_mut(pod.json_mut(), "status").insert("phase".into(), "Succeeded".into());
    });
    cluster.settle();
    assert_eq!(node_of(&cluster, "second").as_deref(), Some("w1-k8s"));
}

#[test]
fn a_waiting_pod_is_told_why_once_and_goes_when_it_can() {
    let mut cluster = Cluster::lab([pod("web", json!({}))]);
    for (name, change) in [
        ("w1-k8s", json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})),
        ("w2-k8s", json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})),
        ("w3-k8s", json!({"spec": {"unschedulable": true}})),
    ] {
        cluster.change(&kind::NODE, "", name, |node| {
            for (part, fields) in change.as_object().unwrap() {
                map_at_mut(node.json_mut(), part).extend(fields.as_object().unwrap().clone());
            }
        });
    }
    cluster.settle();
    let expected = "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, \
                    1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, \
                    1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, \
                    1 node(s) were unschedulable.";
    assert_eq!(why_not(&cluster, "web"), expected);
    let failed: Vec<_> = cluster.list(&kind::EVENT);
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].str_at(&["reason"]), failed[0].i64_at(&["count"])), (Some("FailedScheduling"), Some(1)));
    cluster.change(&kind::NODE, "", "w3-k8s", |node| {
        map_at_mut(node.json_mut(), "spec").insert("unschedulable".into(), false.into());
    });
    cluster.settle();
    assert_eq!(node_of(&cluster, "web").as_deref(), Some("w3-k8s"));
}

#[test]
fn a_full_node_takes_no_more() {
    let mut cluster = Cluster::lab([deployment("web", 4)]);
    for name in ["w1-k8s", "w2-k8s", "w3-k8s"] {
        cluster.change(&kind::NODE, "", name, |node| {
            map_at_mut(node.json_mut(), "status").insert("allocatable".into(), json!({"pods": "1"}));
        });
    }
    cluster.settle();
    let left: Vec<_> = cluster.list(&kind::POD).into_iter().filter(|pod| pods::node(pod).is_none()).collect();
    assert_eq!(left.len(), 1);
    assert!(why_not(&cluster, left[0].name()).contains("3 Too many pods"));
}

#[test]
fn without_nodes_nothing_is_scheduled() {
    let mut cluster = Cluster::with([object(pod("web", json!({})))]);
    cluster.settle();
    assert_eq!(why_not(&cluster, "web"), "no nodes available to schedule pods");
}
