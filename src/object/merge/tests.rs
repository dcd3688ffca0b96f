use serde_json::{Value, json};

use super::{strategic, three_way};
use crate::object::kind::{self, KindRef};

fn patched(kind: KindRef, target: Value, patch: Value) -> Value {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else { panic!("maps are wanted") };
    Value::Object(strategic(kind, &target, &patch).unwrap())
}

fn applied(kind: KindRef, original: Value, modified: Value, current: Value) -> Value {
    let map = |value: Value| value.as_object().unwrap().clone();
    Value::Object(three_way(kind, &map(original), &map(modified), &map(current)))
}

fn pod(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[test]
fn containers_and_env_merge_by_name() {
    let live =
        pod(json!([{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}]},
        {"name": "b", "image": "y"}]));
    let patch = pod(json!([{"name": "a", "env": [{"name": "F", "value": "3"}, {"name": "E", "$patch": "delete"}]},
        {"name": "c", "image": "z"}]));
    // What a patch brings stands before what only the live list has, as in a cluster.
    let expected = pod(json!([{"name": "a", "image": "x", "env": [{"name": "F", "value": "3"}]},
        {"name": "c", "image": "z"}, {"name": "b", "image": "y"}]));
    assert_eq!(patched(&kind::POD, live, patch), expected);
}

#[test]
fn lists_without_a_key_are_replaced() {
    let live = json!({"spec": {"tolerations": [{"key": "a"}], "containers": [{"name": "a", "command": ["x", "y"]}]}});
    let patch = json!({"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "command": ["z"]}]}});
    assert_eq!(patched(&kind::POD, live, patch.clone()), patch);
    let policy = json!({"spec": {"egress": [{"ports": [{"port": 1}]}]}});
    let patch = json!({"spec": {"egress": [{"ports": [{"port": 2}]}]}});
    assert_eq!(patched(&kind::NETWORK_POLICY, policy, patch.clone()), patch);
}

#[test]
fn directives_replace_delete_and_order() {
    let live = pod(json!([{"name": "a"}, {"name": "b"}]));
    let patch = pod(json!([{"$patch": "replace"}, {"name": "c"}]));
    assert_eq!(patched(&kind::POD, live, patch), pod(json!([{"name": "c"}])));

    let live = json!({"data": {"a": "1", "b": "2"}});
    let patch = json!({"data": {"$patch": "replace", "c": "3"}});
    assert_eq!(patched(&kind::CONFIG_MAP, live, patch), json!({"data": {"c": "3"}}));

    let live = pod(json!([{"name": "a"}, {"name": "server"}, {"name": "b"}]));
    let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}],
        "containers": [{"name": "new"}]}});
    let ordered = patched(&kind::POD, live, patch);
    assert_eq!(ordered, pod(json!([{"name": "server"}, {"name": "b"}, {"name": "new"}, {"name": "a"}])));

    let live = json!({"metadata": {"finalizers": ["a", "b"]}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}});
    assert_eq!(patched(&kind::POD, live, patch), json!({"metadata": {"finalizers": ["c", "b"]}}));
}

#[test]
fn retain_keys_drops_the_other_alternative() {
    let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(patched(&kind::DEPLOYMENT, live, patch), json!({"spec": {"strategy": {"type": "Recreate"}}}));
}

#[test]
fn directives_never_become_values() {
    let patch = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}, {"name": "b", "env":
        [{"name": "X", "$patch": "delete"}, {"name": "Y", "value": null}]}]}, "x": {"$patch": "delete"}});
    let expected = json!({"spec": {"containers": [{"name": "b", "env": [{"name": "Y"}]}]}});
    assert_eq!(patched(&kind::POD, json!({}), patch), expected);
}

#[test]
fn the_same_port_with_two_protocols_is_two_ports() {
    let live =
        json!({"spec": {"ports": [{"name": "tcp", "port": 53}, {"name": "udp", "port": 53, "protocol": "UDP"}]}});
    let patch = json!({"spec": {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 30053}]}});
    let expected = json!({"spec": {"ports": [{"name": "tcp", "port": 53},
        {"name": "udp", "port": 53, "protocol": "UDP", "nodePort": 30053}]}});
    assert_eq!(patched(&kind::SERVICE, live, patch), expected);
    // A patch that names the number alone means the only port with that number.
    let live = json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}]}});
    let patch = json!({"spec": {"ports": [{"port": 53, "nodePort": 30053}]}});
    let expected = json!({"spec": {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 30053}]}});
    assert_eq!(patched(&kind::SERVICE, live, patch), expected);
}

#[test]
fn an_element_without_its_key_is_refused() {
    let (Value::Object(live), Value::Object(patch)) = (pod(json!([{"name": "a"}])), pod(json!([{"image": "x"}])))
    else {
        panic!("maps are wanted")
    };
    let error = strategic(&kind::POD, &live, &patch).unwrap_err().to_string();
    assert!(error.ends_with("does not contain declared merge key: name"), "{error}");
}

#[test]
fn apply_removes_what_the_file_no_longer_says_and_keeps_what_others_set() {
    let original = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": "a",
        "env": [{"name": "OLD", "value": "1"}, {"name": "KEPT", "value": "1"}], "ports": [{"containerPort": 80},
        {"containerPort": 81}]}]}}}});
    let modified = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "b",
        "env": [{"name": "KEPT", "value": "2"}], "ports": [{"containerPort": 80}]}]}}}});
    let current = json!({"spec": {"replicas": 2, "paused": true, "template": {"spec": {"dnsPolicy": "ClusterFirst",
        "containers": [
            {"name": "injected", "image": "sidecar"},
            {"name": "web", "image": "a", "imagePullPolicy": "Always", "env": [{"name": "OLD", "value": "1"},
             {"name": "KEPT", "value": "1"}, {"name": "SET", "value": "by hand"}],
             "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81, "protocol": "TCP"}]}]}}},
        "status": {"replicas": 2}});
    let expected = json!({"spec": {"paused": true, "template": {"spec": {"dnsPolicy": "ClusterFirst",
        "containers": [
            {"name": "injected", "image": "sidecar"},
            {"name": "web", "image": "b", "imagePullPolicy": "Always", "env": [{"name": "KEPT", "value": "2"},
             {"name": "SET", "value": "by hand"}], "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}},
        "status": {"replicas": 2}});
    assert_eq!(applied(&kind::DEPLOYMENT, original, modified, current), expected);
}

#[test]
fn apply_twice_changes_nothing() {
    let file = json!({"spec": {"strategy": {"type": "RollingUpdate"}, "ports": [], "template": {"spec": {"volumes":
        [{"name": "v", "emptyDir": {}}], "containers": [{"name": "web"}]}}}});
    let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}, "ports": [],
        "template": {"spec": {"volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{"name": "web", "imagePullPolicy": "Always"}]}}}});
    assert_eq!(applied(&kind::DEPLOYMENT, file.clone(), file, live.clone()), live);
}

#[test]
fn apply_switches_between_alternatives() {
    let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}});
    let file = json!({"spec": {"strategy": {"type": "Recreate"}}});
    let result = applied(&kind::DEPLOYMENT, json!({"spec": {}}), file.clone(), live);
    assert_eq!(result, file);
    let live = json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x", "type": ""}}]}});
    let file = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    assert_eq!(applied(&kind::POD, json!({}), file.clone(), live), file);
}

#[test]
fn apply_tells_ports_of_two_protocols_apart() {
    let both = json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}});
    let udp = json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}]}});
    let live = json!({"spec": {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 30001},
        {"port": 53, "protocol": "TCP", "nodePort": 30001}]}});
    let expected = json!({"spec": {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 30001}]}});
    assert_eq!(applied(&kind::SERVICE, both, udp, live), expected);
}

#[test]
fn a_null_in_the_file_unsets() {
    let live = json!({"spec": {"replicas": 3, "paused": true}});
    let result = applied(&kind::DEPLOYMENT, json!({}), json!({"spec": {"paused": null}}), live);
    assert_eq!(result, json!({"spec": {"replicas": 3}}));
}

fn refused(kind: KindRef, target: Value, patch: Value) -> String {
    let (Value::Object(target), Value::Object(patch)) = (target, patch) else { panic!("maps are wanted") };
    strategic(kind, &target, &patch).unwrap_err().to_string()
}

#[test]
fn a_patch_of_no_known_form_is_refused_in_upstreams_words() {
    let live = pod(json!([{"name": "a", "image": "x"}]));
    for (patch, expected) in [
        (json!({"spec": {"$patch": "merge"}}), "unknown patch type: merge in map: map[$patch:merge]"),
        (pod(json!([{"name": "a", "$patch": "merge"}])), "merging lists cannot yet be specified in the patch"),
        (
            pod(json!([{"image": "y", "tty": true}])),
            "map: map[image:y tty:true] does not contain declared merge key: name",
        ),
        (json!({"spec": {"$retainKeys": ["a"], "b": 1}}), "invalid patch format of retainKeys"),
        (json!({"spec": {"$retainKeys": "a"}}), "invalid patch format of retainKeys"),
        (json!({"spec": {"$setElementOrder/containers": {}}}), "invalid patch format of setElementOrder list"),
        (json!({"metadata": {"$deleteFromPrimitiveList/finalizers": 1}}), "invalid patch format of primitive list"),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "a"}, {"name": "b"}]}}),
            "The order in patch list:\n[map[name:a] map[name:b]]\n doesn't match $setElementOrder list:\n\
             [map[name:b] map[name:a]]\n",
        ),
    ] {
        assert_eq!(refused(&kind::POD, live.clone(), patch.clone()), expected, "{patch}");
    }
}

#[test]
fn what_kubectl_sends_for_a_port_that_left_the_file() {
    let live = json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}, {"port": 443, "protocol": "TCP"}]}});
    let patch =
        json!({"spec": {"$setElementOrder/ports": [{"port": 80}], "ports": [{"$patch": "delete", "port": 443}]}});
    let expected = json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}]}});
    assert_eq!(patched(&kind::SERVICE, live, patch), expected);
}

#[test]
fn alternatives_and_selectors_replace_what_was_there() {
    let live = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    let patch =
        json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}});
    let expected = json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}});
    assert_eq!(patched(&kind::POD, live, patch), expected);
    let live = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}});
    let patch = json!({"spec": {"selector": {"matchLabels": {"c": "d"}}}});
    assert_eq!(patched(&kind::POD_DISRUPTION_BUDGET, live.clone(), patch.clone()), patch);
    let both = json!({"spec": {"selector": {"matchLabels": {"a": "b", "c": "d"}}}});
    assert_eq!(patched(&kind::DEPLOYMENT, live, patch), both);
}
