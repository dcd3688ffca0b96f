use serde_json::{Value, json};

use super::apply_defaults;
use crate::object::{Object, kind};

fn defaulted(value: Value) -> Value {
    let mut object = Object::from_value(value).unwrap();
    apply_defaults(&mut object);
    let once = object.to_value();
    apply_defaults(&mut object);
    assert_eq!(object.to_value(), once, "defaulting twice is defaulting once");
    once
}

#[test]
fn a_pod() {
    let pod = defaulted(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": null},
        "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": 1}}, "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 5}}],
            "nodeSelector": {"node-role.kubernetes.io/worker": null},
            "volumes": [{"name": "a"}, {"name": "b", "emptyDir": null}, {"name": "c", "configMap": {"name": "c"}},
                {"name": "d", "hostPath": {"path": "/d"}}]}}));
    let tolerate =
        |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    assert_eq!(
        pod,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "image": "nginx", "imagePullPolicy": "Always",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": 1}, "requests": {"cpu": 1}},
            "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "periodSeconds": 5,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
        "nodeSelector": {"node-role.kubernetes.io/worker": ""},
        "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}},
            {"name": "c", "configMap": {"name": "c", "defaultMode": 420}},
            {"name": "d", "hostPath": {"path": "/d", "type": ""}}],
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
        "securityContext": {}, "terminationGracePeriodSeconds": 30, "enableServiceLinks": true,
        "serviceAccountName": "default", "serviceAccount": "default", "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "tolerations": [tolerate("node.kubernetes.io/not-ready"), tolerate("node.kubernetes.io/unreachable")]}})
    );
}

#[test]
fn a_pod_that_tolerates_all_or_one_gets_no_second_toleration() {
    let tolerations = |given: Value| {
        let pod = defaulted(json!({"apiVersion": "v1", "kind": "Pod", "spec": {"tolerations": given}}));
        pod["spec"]["tolerations"].as_array().unwrap().len()
    };
    assert_eq!(tolerations(json!([{"operator": "Exists"}])), 1);
    assert_eq!(tolerations(json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}])), 2);
    assert_eq!(tolerations(json!([{"key": "other", "effect": "NoSchedule"}])), 3);
}

#[test]
fn a_deployment_and_its_template() {
    let deployment = defaulted(json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}}}));
    let spec = &deployment["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    assert_eq!((&spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]), (&json!(10), &json!(600)));
    let template = &spec["template"]["spec"];
    assert_eq!(template["restartPolicy"], "Always");
    assert_eq!(template["containers"][0]["imagePullPolicy"], "IfNotPresent");
    for of_pods_only in ["tolerations", "serviceAccountName", "enableServiceLinks"] {
        assert!(template.get(of_pods_only).is_none(), "{of_pods_only} comes with the pod");
    }
    let recreate = defaulted(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "spec": {"replicas": 0, "strategy": {"type": "Recreate"}}}));
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(recreate["spec"]["replicas"], 0);
}

#[test]
fn services_of_each_type() {
    let service = |spec: Value| defaulted(json!({"apiVersion": "v1", "kind": "Service", "spec": spec}))["spec"].clone();
    assert_eq!(
        service(json!({"ports": [{"port": 80}, {"port": 81, "targetPort": "web", "protocol": "UDP"}]})),
        json!({
        "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "ports": [
            {"port": 80, "targetPort": 80, "protocol": "TCP"}, {"port": 81, "targetPort": "web", "protocol": "UDP"}]})
    );
    let node_port = service(json!({"type": "NodePort", "sessionAffinity": "ClientIP"}));
    assert_eq!(node_port["externalTrafficPolicy"], "Cluster");
    assert_eq!(node_port["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
    assert_eq!(service(json!({"type": "LoadBalancer"}))["allocateLoadBalancerNodePorts"], true);
    assert_eq!(
        service(json!({"type": "ExternalName", "externalName": "a.b"})),
        json!({"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"})
    );
}

#[test]
fn the_other_kinds() {
    let namespace = defaulted(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}));
    assert_eq!(namespace["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "x"}));
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));

    let secret = defaulted(json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==", "b": "eQ=="},
        "stringData": {"b": "hi"}}));
    assert_eq!(
        secret,
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "data": {"a": "eA==", "b": "aGk="}})
    );

    let job = defaulted(json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"metadata": {
        "labels": {"a": "b"}}}}}));
    assert_eq!((&job["spec"]["completions"], &job["spec"]["parallelism"]), (&json!(1), &json!(1)));
    assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
    let queue = defaulted(json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"parallelism": 2}}));
    assert!(queue["spec"].get("completions").is_none());

    let claim = defaulted(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim"}));
    assert_eq!((&claim["spec"]["volumeMode"], &claim["status"]["phase"]), (&json!("Filesystem"), &json!("Pending")));

    let set = defaulted(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {
        "volumeClaimTemplates": [{"metadata": {"name": "www"}}]}}));
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["kind"], "PersistentVolumeClaim");

    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}});
    assert_eq!(defaulted(config.clone()), config);
}

/// Every kind, with each of its usual fields missing, null, empty, and of each wrong type.
#[test]
fn defaulting_is_idempotent_and_never_panics_whatever_the_shape() {
    let shapes = [json!(null), json!({}), json!([]), json!("x"), json!(0), json!([{}, null, "x"]), json!({"spec": {}})];
    let fields = [
        "spec",
        "metadata",
        "status",
        "template",
        "strategy",
        "ports",
        "containers",
        "volumes",
        "subsets",
        "stringData",
        "data",
        "sessionAffinity",
        "type",
        "rollingUpdate",
        "tolerations",
        "jobTemplate",
        "labels",
    ];
    for kind in kind::ALL {
        for shape in &shapes {
            for field in fields {
                for parents in [&[][..], &["spec"], &["metadata"], &["spec", "template"], &["spec", "template", "spec"]]
                {
                    let inner = json!({ field: shape });
                    let value = parents.iter().rev().fold(inner, |value, parent| json!({ *parent: value }));
                    let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.kind});
                    object.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
                    defaulted(object);
                }
            }
        }
    }
}

#[test]
fn defaults_do_not_touch_what_is_no_known_kind() {
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "spec": null});
    assert_eq!(defaulted(thing.clone()), thing);
}
