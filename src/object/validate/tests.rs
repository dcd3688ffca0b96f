use serde_json::{Value, json};

use super::{FieldError, suggestion, validate, validate_update};
use crate::object::default::apply_defaults;
use crate::object::{Object, kind};

fn object(value: Value) -> Object {
    let mut object = Object::from_value(value).unwrap();
    apply_defaults(&mut object);
    object
}

fn errors(value: Value) -> Vec<String> {
    validate(&object(value)).iter().map(FieldError::to_string).collect()
}

/// An object of a kind with a name and a spec.
fn of(api_version: &str, kind: &str, spec: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec})
}

fn pod(spec: Value) -> Value {
    of("v1", "Pod", spec)
}

fn container(more: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

fn service(spec: Value) -> Value {
    of("v1", "Service", spec)
}

fn workload(kind: &str, more: Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": "x"}}, "template": {
        "metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container(json!({}))]}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    of("apps/v1", kind, spec)
}

fn same(cases: impl IntoIterator<Item = (Value, &'static [&'static str])>) {
    for (value, expected) in cases {
        assert_eq!(errors(value.clone()), expected, "{value}");
    }
}

#[test]
fn names_and_labels_of_every_kind() {
    let named = |kind: &'static kind::Kind, name: &str| {
        let mut value = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name}});
        if kind.kind == "ConfigMap" {
            value["metadata"]["labels"] = json!({"a b": "ok", "ok": "-"});
        }
        let errors = validate(&object(value));
        errors.into_iter().filter(|e| e.path.starts_with("metadata")).collect::<Vec<_>>()
    };
    for kind in kind::ALL {
        let takes_dots = !matches!(kind.kind, "Service" | "Namespace" | "Lab");
        let takes_all = kind.group == "rbac.authorization.k8s.io" || kind.kind == "APIService";
        let refused = |name: &str| named(kind, name).iter().any(|e| e.path == "metadata.name");
        assert!(!refused("good-name"), "{}", kind.kind);
        assert_eq!(refused("a.b"), !takes_dots, "{}", kind.kind);
        assert_eq!(refused("Bad"), !takes_all, "{}", kind.kind);
        assert!(refused("a/b"), "{}", kind.kind);
        assert_eq!(refused(""), kind.kind != "Lab", "{}", kind.kind);
    }
    let labels = named(&kind::CONFIG_MAP, "c");
    let shown: Vec<_> = labels.iter().map(|e| (e.path.as_str(), e.blamed(), e.value.clone())).collect();
    assert_eq!(
        shown,
        [
            ("metadata.labels", "metadata.labels[a b]", json!("a b")),
            ("metadata.labels", "metadata.labels[ok]", json!("-")),
        ]
    );
    assert_eq!(
        errors(json!({"apiVersion": "v1", "kind": "ConfigMap"})),
        ["metadata.name: Required value: name or generateName is required"]
    );
    assert_eq!(errors(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-"}})), [""; 0]);
}

#[test]
fn pods() {
    same([
        (pod(json!({"containers": [container(json!({}))]})), &[] as &[_]),
        (pod(json!({})), &["spec.containers: Required value"]),
        (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}), &["spec.containers: Required value"]),
        (
            pod(json!({"containers": [{"name": "c"}, {"image": "i"}, container(json!({})), container(json!({}))]})),
            &[
                "spec.containers[0].image: Required value",
                "spec.containers[1].name: Required value",
                "spec.containers[2].name: Duplicate value: \"c\"",
                "spec.containers[3].name: Duplicate value: \"c\"",
            ],
        ),
        (
            pod(
                json!({"restartPolicy": "Sometimes", "containers": [container(json!({"imagePullPolicy": "never", "ports": [
                {"containerPort": 70000}, {"containerPort": 80, "protocol": "tcp"}, {"name": "HTTP", "containerPort": 1},
                {"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2, "hostPort": 99999}, {}]}))]}),
            ),
            &[
                "spec.containers[0].imagePullPolicy: Unsupported value: \"never\": supported values: \"Always\", \
                 \"IfNotPresent\", \"Never\"",
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                "spec.containers[0].ports[1].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \
                 \"UDP\"",
                "spec.containers[0].ports[2].name: Invalid value: \"HTTP\": must contain only alpha-numeric characters \
                 (a-z, 0-9), and hyphens (-)",
                "spec.containers[0].ports[2].name: Invalid value: \"HTTP\": must contain at least one letter (a-z)",
                "spec.containers[0].ports[4].name: Duplicate value: \"a\"",
                "spec.containers[0].ports[4].hostPort: Invalid value: 99999: must be between 1 and 65535, inclusive",
                "spec.containers[0].ports[5].containerPort: Required value",
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \
                 \"OnFailure\"",
            ],
        ),
        (
            pod(
                json!({"volumes": [{"name": "data"}, {"name": "data"}, {"name": "two", "emptyDir": {}, "hostPath": {"path": "/x"}},
                {"name": "h", "hostPath": {"path": "/a/../b", "type": "Dir"}}],
                "containers": [container(json!({"volumeMounts": [{"name": "dat", "mountPath": "/a"},
                    {"name": "data", "mountPath": "/a"}, {"name": "data"}], "env": [{"name": "A=B"},
                    {"name": "C", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "y"}}}]}))]}),
            ),
            &[
                "spec.volumes[1].name: Duplicate value: \"data\"",
                "spec.volumes[2].hostPath: Forbidden: may not specify more than 1 volume type",
                "spec.volumes[3].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                "spec.volumes[3].hostPath.type: Unsupported value: \"Dir\": supported values: \"\", \"BlockDevice\", \
                 \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
                "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist \
                 only of printable ASCII characters other than '='",
                "spec.containers[0].env[1].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
                "spec.containers[0].volumeMounts[0].name: Not found: \"dat\"",
                "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
                "spec.containers[0].volumeMounts[2].mountPath: Required value",
            ],
        ),
        (
            pod(
                json!({"containers": [container(json!({"resources": {"limits": {"memory": "64MB"}, "requests": {"cpu": "2"}},
                "livenessProbe": {"httpGet": {"port": 0}, "exec": {"command": ["x"]}}, "readinessProbe": {}})),
                {"name": "d", "image": "i", "resources": {"limits": {"cpu": 1}, "requests": {"cpu": "1500m"}}}]}),
            ),
            &[
                "spec.containers[0].resources.limits.memory: Invalid value: \"64MB\": quantities must match the regular \
                 expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                "spec.containers[0].resources.requests.memory: Invalid value: \"64MB\": quantities must match the regular \
                 expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                "spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
                "spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.containers[0].readinessProbe: Required value: must specify a handler type",
                "spec.containers[1].resources.requests: Invalid value: \"1500m\": must be less than or equal to cpu limit of 1",
            ],
        ),
    ]);
}

#[test]
fn workloads() {
    for kind in ["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"] {
        assert_eq!(errors(workload(kind, json!({}))), [""; 0], "{kind}");
        let no_selector = errors(workload(kind, json!({"selector": null})));
        assert_eq!(no_selector, ["spec.selector: Required value"], "{kind}");
        let other = json!({"selector": {"matchLabels": {"app": "y"}}});
        assert_eq!(
            errors(workload(kind, other)),
            [
                "spec.template.metadata.labels: Invalid value: map[string]string{\"app\":\"x\"}: `selector` does not match \
              template `labels`"
            ],
            "{kind}"
        );
        let template = json!({"template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"restartPolicy": "Never", "containers": [container(json!({}))]}}});
        assert_eq!(
            errors(workload(kind, template)),
            ["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""],
            "{kind}"
        );
    }
    same([
        (
            workload(
                "Deployment",
                json!({"replicas": -1, "selector": {}, "strategy": {"type": "Recreate",
                "rollingUpdate": {}}}),
            ),
            &[
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), \
                 MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for deployment",
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ] as &[_],
        ),
        (
            workload("Deployment", json!({"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}})),
            &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
        ),
        (
            workload(
                "Deployment",
                json!({"strategy": {"rollingUpdate": {"maxUnavailable": "lots", "maxSurge": "101%"}}}),
            ),
            &[
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"lots\": must be an integer or percentage (e.g \
               '5%')",
            ],
        ),
        (
            workload(
                "ReplicaSet",
                json!({"selector": {"matchLabels": {"app": "x"}, "matchExpressions": [
                {"key": "app", "operator": "In"}, {"key": "b", "operator": "Is", "values": ["c"]}]}}),
            ),
            &[
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or \
                 'NotIn'",
                "spec.selector.matchExpressions[1].operator: Invalid value: \"Is\": not a valid selector operator",
            ],
        ),
        (
            of("batch/v1", "Job", json!({"template": {"spec": {"containers": [container(json!({}))]}}})),
            &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
        ),
        (
            of(
                "batch/v1",
                "CronJob",
                json!({"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never",
                "containers": [container(json!({}))]}}}}}),
            ),
            &["spec.schedule: Required value"],
        ),
    ]);
    let claims = json!({"volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}], "template": {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [container(json!({"volumeMounts": [{"name": "www", "mountPath": "/w"}]}))]}}});
    assert_eq!(errors(workload("StatefulSet", claims.clone())), [""; 0], "a claim template is a volume");
    assert!(errors(workload("Deployment", claims))[0].contains("Not found: \"www\""));
}

#[test]
fn labels_of_a_template_are_called_as_the_api_server_calls_them() {
    let bad = json!({"template": {"metadata": {"labels": {"app": "x", "a b": ""}},
        "spec": {"containers": [container(json!({}))]}}});
    let errors = validate(&object(workload("Deployment", bad)));
    assert_eq!(errors[0].path, "spec.template.labels");
    assert_eq!(errors[0].blamed(), "spec.template.metadata.labels[a b]");
}

#[test]
fn services() {
    let ports = json!([{"port": 80}]);
    same([
        (service(json!({"ports": ports})), &[] as &[_]),
        (service(json!({"clusterIP": "None"})), &[]),
        (service(json!({"type": "ExternalName", "externalName": "example.com."})), &[]),
        (service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]})), &[]),
        (service(json!({})), &["spec.ports: Required value"]),
        (
            service(
                json!({"ports": [{"port": 80}, {"port": 80, "name": "a"}, {"port": 0, "name": "a", "targetPort": 65536},
                {"name": "Web", "targetPort": "Web_"}]}),
            ),
            &[
                "spec.ports[0].name: Required value",
                "spec.ports[1]: Duplicate value: core.ServicePort{Name:\"\", Protocol:\"TCP\", AppProtocol:(*string)(nil), \
                 Port:80, TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}, NodePort:0}",
                "spec.ports[2].name: Duplicate value: \"a\"",
                "spec.ports[2].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[2].targetPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
                "spec.ports[3].name: Invalid value: \"Web\": a lowercase RFC 1123 label must consist of lower case \
                 alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  \
                 or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "spec.ports[3].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[3].targetPort: Invalid value: \"Web_\": must contain only alpha-numeric characters (a-z, 0-9), \
                 and hyphens (-)",
            ],
        ),
        (
            service(json!({"ports": [{"port": 80, "nodePort": 30080}], "clusterIP": "300.1.1.1",
                "externalTrafficPolicy": "Local", "sessionAffinity": "Client"})),
            &[
                "spec.clusterIPs[0]: Invalid value: \"300.1.1.1\": must be a valid IP address, (e.g. 10.9.8.7 or \
                 2001:db8::ffff)",
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
                "spec.sessionAffinity: Unsupported value: \"Client\": supported values: \"ClientIP\", \"None\"",
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        ),
        (
            service(
                json!({"type": "NodePort", "clusterIP": "None", "ports": [{"name": "a", "port": 80, "nodePort": 30080},
                {"name": "b", "port": 81, "nodePort": 30080}, {"name": "c", "port": 82, "nodePort": 80}]}),
            ),
            &[
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
                "spec.ports[1].nodePort: Duplicate value: 30080",
                "spec.ports[2].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid \
                 ports is 30000-32767",
            ],
        ),
        (
            service(json!({"type": "ExternalName", "clusterIP": "10.96.0.7"})),
            &[
                "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
                "spec.externalName: Required value",
            ],
        ),
    ]);
    same([(
        service(
            json!({"ports": ports, "loadBalancerSourceRanges": ["10.0.0.0/8", "10/8"], "externalIPs": ["127.0.0.1"]}),
        ),
        &[
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.LoadBalancerSourceRanges[1]: Invalid value: \"10/8\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or \
             2001:db8::/64)",
        ] as &[_],
    )]);
    let port_twice = json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]);
    assert_eq!(errors(service(json!({"ports": port_twice}))), [""; 0], "the same port of two protocols");
}

#[test]
fn endpoints_and_slices() {
    let subset = |subset: Value| json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "x"}, "subsets": [subset]});
    let slice = |kind: &str, address: &str| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "x"},
            "addressType": kind, "endpoints": [{"addresses": [address]}], "ports": [{"port": 80}]})
    };
    same([
        (subset(json!({"addresses": [{"ip": "192.168.1.12"}], "ports": [{"port": 80}]})), &[] as &[_]),
        (
            subset(json!({"ports": [{"port": 80}]})),
            &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
        ),
        (
            subset(
                json!({"addresses": [{"ip": "127.0.0.1"}, {"ip": "x"}], "ports": [{"port": 80}, {"port": 0, "name": "b"}]}),
            ),
            &[
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, \
                 ::1/128)",
                "subsets[0].addresses[1].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
                 2001:db8::ffff)",
                "subsets[0].ports[0].name: Required value",
                "subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (slice("IPv4", "10.0.0.1"), &[]),
        (slice("IPv4", "fd00::1"), &["endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address"]),
        (
            slice("IPv6", "10.0.0.1"),
            &["endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be an IPv6 address"],
        ),
        (slice("", "10.0.0.1"), &["addressType: Required value"]),
    ]);
}

#[test]
fn ingresses() {
    let ingress = |spec: Value| of("networking.k8s.io/v1", "Ingress", spec);
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let path = |path: Value| ingress(json!({"rules": [{"host": "foo.bar.com", "http": {"paths": [path]}}]}));
    same([
        (path(json!({"path": "/", "pathType": "Prefix", "backend": backend})), &[] as &[_]),
        (ingress(json!({"defaultBackend": backend})), &[]),
        (
            path(json!({"path": "x", "backend": backend})),
            &["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
        ),
        (
            path(json!({"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "web"}}})),
            &[
                "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
                "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
            ],
        ),
        (
            path(json!({"path": "/", "pathType": "Prefix"})),
            &["spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required"],
        ),
        (
            path(
                json!({"path": "/a//b", "pathType": "Exact", "backend": {"service": {"name": "W", "port": {"number": 80,
                "name": "http"}}}}),
            ),
            &[
                "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b\": must not contain '//'",
                "spec.rules[0].http.paths[0].backend.service.name: Invalid value: \"W\": a DNS-1035 label must consist of \
                 lower case alphanumeric characters or '-', start with an alphabetic character, and end with an \
                 alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
                 '[a-z]([-a-z0-9]*[a-z0-9])?')",
                "spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both port name & port \
                 number",
            ],
        ),
        (
            ingress(json!({"rules": [{"host": "10.0.0.1"}]})),
            &["spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address"],
        ),
    ]);
    assert!(errors(ingress(json!({})))[0].ends_with("either `defaultBackend` or `rules` must be specified"));
}

#[test]
fn volumes_claims_and_data() {
    same([
        (
            of(
                "v1",
                "PersistentVolume",
                json!({"hostPath": {"path": ""}, "nfs": {"server": "s", "path": "/"},
                "accessModes": ["ReadWrite"], "capacity": {"storage": "0"}}),
            ),
            &[
                "spec.accessModes[0]: Unsupported value: \"ReadWrite\": supported values: \"ReadOnlyMany\", \
                 \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                "spec.capacity.storage: Invalid value: \"0\": must be greater than zero",
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
                "spec.hostPath.path: Required value",
            ] as &[_],
        ),
        (
            of("v1", "PersistentVolume", json!({})),
            &[
                "spec.accessModes: Required value",
                "spec.capacity: Required value",
                "spec: Required value: must specify a volume type",
            ],
        ),
        (
            of("v1", "PersistentVolumeClaim", json!({})),
            &[
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ],
        ),
        (
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a b": "c", "ok.txt": "d"}}),
            &[
                "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or \
               '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            ],
        ),
    ]);
}

#[test]
fn a_lab() {
    let lab = |more: Value| {
        let mut value = json!({"apiVersion": "nslab.dev/v1alpha1", "kind": "Lab"});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        errors(value)
    };
    assert_eq!(lab(json!({})), [""; 0]);
    assert_eq!(lab(json!({"metadata": {"name": "a".repeat(33)}})).len(), 1);
    assert_eq!(
        lab(json!({"nodes": [{"role": "control-plane", "extraMounts": [{"hostPath": "a", "containerPath": "/b"}]}]})),
        ["nodes[0].extraMounts[0].hostPath: Invalid value: \"a\": must be an absolute path"]
    );
    assert_eq!(lab(json!({"nodes": [{}]})).len(), 1, "no control plane");
}

#[test]
fn suggestions() {
    let first = |value: Value| suggestion(&validate(&object(value))[0]);
    assert_eq!(
        first(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hogehogeService"},
            "spec": {"ports": [{"port": 1}]}})),
        Some("try \"hogehoge-service\"".into())
    );
    assert_eq!(first(service(json!({"type": "nodeport", "ports": [{"port": 1}]}))), Some("try \"NodePort\"".into()));
    assert_eq!(first(service(json!({"ports": [{"port": "80"}]}))), Some("write it without quotes: 80".into()));
    assert_eq!(
        first(pod(json!({"containers": [container(json!({"resources": {"limits": {"memory": "64MB"}}}))]}))),
        Some("try \"64M\"".into())
    );
    assert_eq!(first(service(json!({}))), None);
}

// ---- updates ---------------------------------------------------------------------------------------------------

fn update_errors(old: Value, new: Value) -> Vec<String> {
    validate_update(&object(old), &object(new)).iter().map(FieldError::to_string).collect()
}

#[test]
fn what_may_not_change() {
    let immutable_selector = "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"app\":\"y\"}, \
                              MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable";
    for kind in ["Deployment", "ReplicaSet", "DaemonSet"] {
        let other = workload(kind, json!({"selector": {"matchLabels": {"app": "y"}}}));
        assert_eq!(update_errors(workload(kind, json!({})), other), [immutable_selector]);
        let scaled = workload(kind, json!({"replicas": 5, "minReadySeconds": 3}));
        assert_eq!(update_errors(workload(kind, json!({})), scaled), [""; 0], "{kind}");
    }
    let stateful = |more| workload("StatefulSet", more);
    assert_eq!(update_errors(stateful(json!({})), stateful(json!({"replicas": 3}))), [""; 0]);
    let renamed = update_errors(stateful(json!({})), stateful(json!({"serviceName": "other"})));
    assert!(renamed[0].starts_with("spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"));
}

#[test]
fn a_pod_keeps_nearly_everything() {
    let with = |more: Value, spec: Value| {
        let mut value = pod(json!({"containers": [container(more)]}));
        value["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        value
    };
    let plain = || with(json!({}), json!({}));
    for allowed in [
        with(json!({"image": "other", "imagePullPolicy": "Always"}), json!({})),
        with(json!({}), json!({"activeDeadlineSeconds": 5})),
        with(json!({}), json!({"tolerations": [{"key": "a", "operator": "Exists"}]})),
    ] {
        assert_eq!(update_errors(plain(), allowed.clone()), [""; 0], "{allowed}");
    }
    let refused = update_errors(plain(), with(json!({"env": [{"name": "A"}]}), json!({})));
    assert!(
        refused[0]
            .starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`")
    );
    let errors = validate_update(&object(plain()), &object(with(json!({}), json!({"hostname": "h"}))));
    assert_eq!(errors[0].blamed(), "spec.hostname");
    let two = pod(json!({"containers": [container(json!({})), {"name": "d", "image": "i"}]}));
    assert_eq!(
        update_errors(plain(), two),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
    let tolerating = with(json!({}), json!({"tolerations": [{"key": "a", "operator": "Exists"}]}));
    assert_eq!(
        update_errors(tolerating, plain()),
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
    );
}

#[test]
fn a_service_keeps_its_address_unless_it_has_none() {
    let at = |ip: &str| service(json!({"clusterIP": ip, "ports": [{"port": 80}]}));
    assert_eq!(
        update_errors(at("10.96.0.5"), at("10.96.0.6")),
        ["spec.clusterIPs[0]: Invalid value: []string{\"10.96.0.6\"}: may not change once set"]
    );
    assert_eq!(update_errors(at("10.96.0.5"), service(json!({"ports": [{"port": 81}]}))), [""; 0]);
    let external = service(json!({"type": "ExternalName", "externalName": "a.b"}));
    assert_eq!(update_errors(at("10.96.0.5"), external.clone()), [""; 0]);
    assert_eq!(update_errors(external, at("10.96.0.5")), [""; 0]);
}

#[test]
fn claims_and_data() {
    let claim = |size: &str, volume: &str| {
        of(
            "v1",
            "PersistentVolumeClaim",
            json!({"volumeName": volume, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}}}),
        )
    };
    assert_eq!(update_errors(claim("1Gi", ""), claim("2Gi", "pv")), [""; 0], "binding and growing");
    assert_eq!(
        update_errors(claim("1Gi", "pv"), claim("1Mi", "pv")),
        ["spec.resources.requests.storage: Forbidden: field can not be less than previous value"]
    );
    assert!(
        update_errors(claim("1Gi", "pv"), claim("1Gi", "other"))[0].starts_with("spec: Forbidden: spec is immutable")
    );
    let secret = |kind: &str, data: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "type": kind, "immutable": true,
            "data": {"a": data}})
    };
    assert_eq!(
        update_errors(secret("a", "eA=="), secret("b", "eQ==")),
        [
            "type: Invalid value: \"b\": field is immutable",
            "data: Forbidden: field is immutable when `immutable` is set",
        ]
    );
}
