use serde_json::{Map, Value, json};

use super::{Change, Conflict, apply, migrate, record};
use crate::object::kind::{self, KindRef};
use crate::object::shape::of_kind;

const T0: &str = "2026-01-01T00:00:00Z";

fn by(kind: KindRef, manager: &'static str) -> Change<'static> {
    let version = if kind.group.is_empty() { "v1" } else { "apps/v1" };
    Change { shape: of_kind(kind), version, manager, subresource: "", has_status: true, now: T0 }
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn applied(kind: KindRef, manager: &'static str, live: Option<&Value>, config: Value) -> Result<Value, Vec<String>> {
    apply_with(kind, manager, live, config, false)
}

fn forced(kind: KindRef, manager: &'static str, live: Option<&Value>, config: Value) -> Value {
    apply_with(kind, manager, live, config, true).unwrap()
}

fn apply_with(
    kind: KindRef,
    manager: &'static str,
    live: Option<&Value>,
    config: Value,
    force: bool,
) -> Result<Value, Vec<String>> {
    let live = live.cloned().map(map);
    let text = |c: Conflict| format!("{}: {}", c.manager, c.path);
    apply(&by(kind, manager), live.as_ref(), &map(config), force)
        .map(Value::Object)
        .map_err(|conflicts| conflicts.into_iter().map(text).collect())
}

fn updated(kind: KindRef, manager: &'static str, live: Option<&Value>, new: Value) -> Value {
    let (live, mut new) = (live.cloned().map(map), map(new));
    record(&by(kind, manager), live.as_ref(), &mut new);
    Value::Object(new)
}

/// `manager/operation` with what it owns.
fn owners(object: &Value) -> Vec<(String, Value)> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
    list.iter()
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or("").to_string();
            (format!("{}/{}", text("manager"), text("operation")), entry["fieldsV1"].clone())
        })
        .collect()
}

/// The object without the notes.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    object
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

#[test]
fn who_creates_owns_what_is_there_and_not_what_every_object_has() {
    let made = updated(
        &kind::DEPLOYMENT,
        "kubectl-create",
        None,
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                "template": {"spec": {"containers": [{"name": "c", "args": ["a"], "resources": {},
                    "ports": [{"containerPort": 80}]}]}}}, "status": {"replicas": 0}}),
    );
    assert_eq!(
        made["metadata"]["managedFields"],
        json!([{"manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": T0,
            "fieldsType": "FieldsV1", "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:replicas": {}, "f:selector": {},
                "f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
                "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:args": {},
                    "f:resources": {}, "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}":
                        {".": {}, "f:containerPort": {}}}}}}}}}}])
    );
}

#[test]
fn what_is_applied_is_owned_leaf_by_leaf() {
    let made = applied(
        &kind::POD,
        "me",
        None,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": ["a/b"], "labels": {}},
            "spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "c", "env": [{"name": "E", "value": "1"}]}]}}),
    );
    let made = made.unwrap();
    assert_eq!(
        owners(&made),
        [(
            "me/Apply".to_string(),
            json!({"f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}, "f:labels": {}},
                "f:spec": {"f:nodeSelector": {}, "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {},
                    "f:env": {"k:{\"name\":\"E\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}})
        )]
    );
}

#[test]
fn a_field_of_somebody_else_is_a_conflict_until_it_is_forced() {
    let live = updated(
        &kind::DEPLOYMENT,
        "kubectl-client-side-apply",
        None,
        deployment(json!({"replicas": 1, "paused": true})),
    );
    let conflict = applied(&kind::DEPLOYMENT, "ci", Some(&live), deployment(json!({"replicas": 3})));
    assert_eq!(conflict, Err(vec!["\"kubectl-client-side-apply\" using apps/v1: .spec.replicas".to_string()]));
    // The same value is no conflict: both own it.
    let shared = applied(&kind::DEPLOYMENT, "ci", Some(&live), deployment(json!({"replicas": 1}))).unwrap();
    assert_eq!(owners(&shared).len(), 2);
    let taken = forced(&kind::DEPLOYMENT, "ci", Some(&live), deployment(json!({"replicas": 3})));
    assert_eq!(bare(&taken), deployment(json!({"replicas": 3, "paused": true})));
    assert_eq!(
        owners(&taken),
        [
            ("ci/Apply".to_string(), json!({"f:spec": {"f:replicas": {}}})),
            ("kubectl-client-side-apply/Update".to_string(), json!({"f:spec": {"f:paused": {}}})),
        ]
    );
}

#[test]
fn what_is_given_up_goes_when_nobody_else_has_it() {
    let full = deployment(json!({"replicas": 2, "paused": true, "minReadySeconds": 5}));
    let mine = applied(&kind::DEPLOYMENT, "a", None, full).unwrap();
    let both = applied(&kind::DEPLOYMENT, "b", Some(&mine), deployment(json!({"paused": true}))).unwrap();
    let less = applied(&kind::DEPLOYMENT, "a", Some(&both), deployment(json!({"replicas": 2}))).unwrap();
    assert_eq!(bare(&less), deployment(json!({"replicas": 2, "paused": true})));
    let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
    let none = applied(&kind::DEPLOYMENT, "b", Some(&less), nothing).unwrap();
    assert_eq!(bare(&none), deployment(json!({"replicas": 2})));
    assert_eq!(owners(&none).iter().map(|(who, _)| who.as_str()).collect::<Vec<_>>(), ["a/Apply"]);
}

#[test]
fn elements_of_lists_come_and_go_by_their_keys() {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}});
    let dns = json!([{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
    let live = applied(&kind::SERVICE, "a", None, service(dns)).unwrap();
    // Another's port stands beside mine; protocol TCP may be left out.
    let more = applied(&kind::SERVICE, "b", Some(&live), service(json!([{"port": 80, "targetPort": 8080}]))).unwrap();
    assert_eq!(more["spec"]["ports"].as_array().unwrap().len(), 3);
    let less = applied(&kind::SERVICE, "a", Some(&more), service(json!([{"port": 53, "protocol": "UDP"}]))).unwrap();
    assert_eq!(less["spec"]["ports"], json!([{"port": 53, "protocol": "UDP"}, {"port": 80, "targetPort": 8080}]));
    let conflict =
        applied(&kind::SERVICE, "a", Some(&less), service(json!([{"port": 80, "protocol": "TCP", "targetPort": 1}])));
    assert_eq!(conflict, Err(vec!["\"b\": .spec.ports[port=80,protocol=\"TCP\"].targetPort".to_string()]));
    // Nothing left of a list: the list goes.
    let empty = applied(&kind::SERVICE, "b", Some(&more), service(json!([]))).unwrap();
    let empty = applied(
        &kind::SERVICE,
        "a",
        Some(&empty),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}),
    );
    assert_eq!(empty.unwrap()["spec"].get("ports").filter(|ports| !ports.is_null()), None);
}

#[test]
fn a_set_has_an_owner_for_each_element() {
    let with = |finalizers: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": finalizers}});
    let a = applied(&kind::POD, "a", None, with(json!(["x/1", "x/2"]))).unwrap();
    let b = applied(&kind::POD, "b", Some(&a), with(json!(["x/2", "x/3"]))).unwrap();
    assert_eq!(b["metadata"]["finalizers"], json!(["x/1", "x/2", "x/3"]));
    let less = applied(&kind::POD, "a", Some(&b), with(json!([]))).unwrap();
    assert_eq!(less["metadata"]["finalizers"], json!(["x/2", "x/3"]));
}

#[test]
fn what_is_one_whole_has_one_owner() {
    let live = applied(
        &kind::POD,
        "a",
        None,
        pod(json!({"nodeSelector": {"a": "1"}, "containers": [{"name": "c", "args": ["x"]}]})),
    );
    let live = live.unwrap();
    let conflict = applied(
        &kind::POD,
        "b",
        Some(&live),
        pod(json!({"nodeSelector": {"b": "2"}, "containers": [{"name": "c", "args": ["x", "y"]}]})),
    );
    assert_eq!(
        conflict,
        Err(vec!["\"a\": .spec.nodeSelector".to_string(), "\"a\": .spec.containers[name=\"c\"].args".to_string()])
    );
    // A map that is none has an owner for each key.
    let labels =
        |labels: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": labels}});
    let a = applied(&kind::POD, "a", None, labels(json!({"a": "1"}))).unwrap();
    let b = applied(&kind::POD, "b", Some(&a), labels(json!({"b": "2"}))).unwrap();
    assert_eq!(b["metadata"]["labels"], json!({"a": "1", "b": "2"}));
}

#[test]
fn defaults_within_what_was_applied_go_with_it() {
    let live = applied(
        &kind::POD,
        "a",
        None,
        pod(json!({"containers": [{"name": "c", "livenessProbe": {"periodSeconds": 3}}]})),
    );
    let mut live = live.unwrap();
    live["spec"]["containers"][0]["livenessProbe"]["failureThreshold"] = json!(3);
    live["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let less = applied(&kind::POD, "a", Some(&live), pod(json!({"containers": [{"name": "c"}]}))).unwrap();
    assert_eq!(less["spec"]["containers"], json!([{"name": "c", "imagePullPolicy": "Always"}]));
}

#[test]
fn applied_elements_take_the_order_of_the_configuration() {
    let env = |names: &[&str]| {
        let env: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        pod(json!({"containers": [{"name": "c", "env": env}]}))
    };
    let names = |pod: &Value| -> String {
        pod["spec"]["containers"][0]["env"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect()
    };
    for (live, config, expected) in [
        ("axb", "ba", "xba"),
        ("xa", "na", "xna"),
        ("ab", "ba", "ba"),
        ("abx", "acb", "acbx"),
        ("a", "", "a"),
        ("x", "n", "xn"),
    ] {
        let split = |text: &'static str| text.split("").filter(|s| !s.is_empty()).collect::<Vec<_>>();
        let live = updated(&kind::POD, "u", None, env(&split(live)));
        assert_eq!(names(&forced(&kind::POD, "a", Some(&live), env(&split(config)))), expected, "{config}");
    }
}

#[test]
fn an_object_without_notes_belongs_to_what_was_before() {
    let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "1"}, "spec": {"replicas": 1}});
    let conflict = applied(&kind::DEPLOYMENT, "ci", Some(&live), deployment(json!({"replicas": 2})));
    assert_eq!(conflict, Err(vec!["\"before-first-apply\" using apps/v1: .spec.replicas".to_string()]));
    // An update alone does not begin to note anything.
    let changed = updated(&kind::DEPLOYMENT, "x", Some(&live), deployment(json!({"replicas": 2})));
    assert_eq!(owners(&changed), []);
}

#[test]
fn an_update_takes_what_it_changes_and_gives_up_what_it_removes() {
    let live = applied(
        &kind::DEPLOYMENT,
        "ci",
        None,
        deployment(json!({"replicas": 1, "paused": true, "minReadySeconds": 1})),
    );
    let live = live.unwrap();
    let mut new = live.clone();
    new["spec"] = json!({"replicas": 5, "minReadySeconds": 1});
    let new = updated(&kind::DEPLOYMENT, "kubectl-edit", Some(&live), new);
    assert_eq!(
        owners(&new),
        [
            ("ci/Apply".to_string(), json!({"f:spec": {"f:minReadySeconds": {}}})),
            ("kubectl-edit/Update".to_string(), json!({"f:spec": {"f:replicas": {}}})),
        ]
    );
    // A client that does not send the notes does not take them away; one that empties them does.
    let silent = updated(&kind::DEPLOYMENT, "x", Some(&new), bare(&new));
    assert_eq!(owners(&silent), owners(&new));
    for reset in [json!([]), json!([{}])] {
        let mut cleared = new.clone();
        cleared["metadata"]["managedFields"] = reset;
        assert_eq!(owners(&updated(&kind::DEPLOYMENT, "x", Some(&new), cleared)), []);
    }
    // What cannot be read is as good as not sent.
    let mut broken = new.clone();
    broken["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Bake"}]);
    assert_eq!(owners(&updated(&kind::DEPLOYMENT, "x", Some(&new), broken)), owners(&new));
}

#[test]
fn the_status_is_another_writers() {
    let live = updated(&kind::DEPLOYMENT, "a", None, deployment(json!({"replicas": 1})));
    let mut new = live.clone();
    new["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    let (old, mut new) = (map(live), map(new));
    let change = Change { subresource: "status", ..by(&kind::DEPLOYMENT, "controller") };
    record(&change, Some(&old), &mut new);
    let list = &new["metadata"]["managedFields"];
    assert_eq!(list[1]["subresource"], "status");
    assert_eq!(
        list[1]["fieldsV1"],
        json!({"f:status": {"f:replicas": {}, "f:conditions": {".": {},
            "k:{\"type\":\"Available\"}": {".": {}, "f:status": {}, "f:type": {}}}}})
    );
    let (live, config) = (Value::Object(new), deployment(json!({"replicas": 1})));
    let mut with_status = config.clone();
    with_status["status"] = json!({"replicas": 9});
    assert!(applied(&kind::DEPLOYMENT, "ci", Some(&live), with_status).is_ok(), "not what this path is about");
}

#[test]
fn kubectl_takes_over_from_kubectl_without_the_server() {
    let config = deployment(json!({"replicas": 1, "paused": true}));
    let mut live = config.clone();
    live["metadata"]["annotations"] = json!({crate::object::merge::LAST_APPLIED: config.to_string()});
    let live = updated(&kind::DEPLOYMENT, "kubectl-client-side-apply", None, live);
    let changed = deployment(json!({"replicas": 4, "paused": true}));
    assert!(applied(&kind::DEPLOYMENT, "ci", Some(&live), changed.clone()).is_err());
    let taken = applied(&kind::DEPLOYMENT, "kubectl", Some(&live), changed.clone()).unwrap();
    assert_eq!(taken["spec"]["replicas"], 4);
    let note = taken["metadata"]["annotations"][crate::object::merge::LAST_APPLIED].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(note).unwrap(), changed, "the note is kept up to date");
    // What it owned as an updater it has now as one who applies, and can give up.
    let migrated = migrate(&by(&kind::DEPLOYMENT, "kubectl"), &map(taken)).unwrap();
    let less =
        applied(&kind::DEPLOYMENT, "kubectl", Some(&Value::Object(migrated)), deployment(json!({"replicas": 4})));
    let less = less.unwrap();
    assert_eq!(less["spec"], json!({"replicas": 4}));
    assert_eq!(owners(&less).len(), 1);
}

#[test]
fn too_many_updaters_share_an_entry() {
    let names: Vec<String> = (0..15).map(|n| format!("m{n:02}")).collect();
    let mut live = updated(
        &kind::POD,
        "m00",
        None,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"m00": "1"}}}),
    );
    for name in &names[1..] {
        let mut new = live.clone();
        new["metadata"]["labels"][name] = json!("1");
        let (old, mut new) = (map(live.clone()), map(new));
        let change = Change { manager: name, ..by(&kind::POD, "") };
        record(&change, Some(&old), &mut new);
        live = Value::Object(new);
    }
    let owners = owners(&live);
    assert_eq!(owners.len(), 10);
    let shared = owners.iter().find(|(who, _)| who == "ancient-changes/Update").unwrap();
    assert!(shared.1["f:metadata"]["f:labels"].get("f:m00").is_some());
}

#[test]
fn a_kind_without_a_schema_merges_maps_and_replaces_lists() {
    let lab = |spec: Value| json!({"apiVersion": "nslab.dev/v1alpha1", "kind": "Lab", "metadata": {"name": "l"}, "spec": spec});
    let change = Change { version: "nslab.dev/v1alpha1", ..by(&kind::LAB, "a") };
    let live =
        apply(&change, None, &map(lab(json!({"map": {"a": {"b": 1}}, "list": [{"name": "x"}]}))), false).unwrap();
    let list = live["metadata"]["managedFields"].clone();
    assert_eq!(
        list[0]["fieldsV1"],
        json!({"f:spec": {".": {}, "f:list": {}, "f:map": {".": {}, "f:a": {".": {}, "f:b": {}}}}})
    );
    let other = Change { manager: "b", ..change };
    let config = map(lab(json!({"map": {"c": 1}, "list": [{"name": "y"}]})));
    let conflict = apply(&other, Some(&live), &config, false).unwrap_err();
    assert_eq!(conflict[0].path, ".spec.list");
    let merged = apply(&other, Some(&live), &config, true).unwrap();
    assert_eq!(merged["spec"], json!({"map": {"a": {"b": 1}, "c": 1}, "list": [{"name": "y"}]}));
}

#[test]
fn a_configuration_that_fits_no_shape_is_told_so() {
    use crate::object::{Object, unknown};
    for (spec, expected) in [
        (json!({"foo": 1}), ".spec.foo: field not declared in schema"),
        (
            json!({"containers": [{"name": "a"}, {"name": "a"}]}),
            ".spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            json!({"containers": [{"image": "a"}]}),
            ".spec.containers: element 0: associative list with keys has an element that omits all key fields [\"name\"] \
             (and doesn't have default values for any key fields)",
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"containerPort": "80"}]}]}),
            ".spec.containers[name=\"a\"].ports[containerPort=\"80\",protocol=\"TCP\"].containerPort: expected numeric \
             (int or float), got string",
        ),
        (
            json!({"nodeSelector": {"a": true}}),
            ".spec.nodeSelector.a: expected string, got &value.valueUnstructured{Value:true}",
        ),
    ] {
        let object = Object::from_map(map(pod(spec)));
        let wrong = super::check(of_kind(&kind::POD), object.json(), &unknown::examine(&object));
        assert_eq!(wrong.as_deref(), Some(expected));
    }
}
