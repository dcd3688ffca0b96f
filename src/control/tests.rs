//! What the controllers do together.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::testing::{Cluster, deployment, object, service};
use super::{POD_IPS, run_once, settle};
use crate::object::write::{Part, Propagation};
use crate::object::{Object, Write, kind, map_at_mut};

fn web_service() -> Value {
    service(
        "web",
        json!({"selector": {"app": "web"}, "clusterIP": "10.96.3.4",
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}),
    )
}

/// (addresses, notReadyAddresses) of Endpoints `web`.
fn endpoints(cluster: &Cluster, name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let endpoints = cluster.get(&kind::ENDPOINTS, "default", name);
    let subsets = endpoints.json().get("subsets").and_then(Value::as_array).cloned().unwrap_or_default();
    let all = |field| {
        let of = subsets.iter().filter_map(|subset| subset.get(field)?.as_array());
        of.flatten().map(|address| address["ip"].as_str().unwrap().to_string()).collect()
    };
    (all("addresses"), all("notReadyAddresses"))
}

fn slices(cluster: &Cluster, service: &str) -> Vec<std::sync::Arc<Object>> {
    let mut slices = cluster.list(&kind::ENDPOINT_SLICE);
    slices.retain(|slice| slice.label("kubernetes.io/service-name") == Some(service));
    slices
}

/// The addresses in a Service's slices whose condition is set.
fn sliced(cluster: &Cluster, service: &str, condition: &str) -> BTreeSet<String> {
    let all = slices(cluster, service);
    let endpoints = all.iter().flat_map(|slice| slice.json()["endpoints"].as_array().unwrap());
    let chosen = endpoints.filter(|endpoint| endpoint["conditions"][condition] == true);
    chosen.map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_string()).collect()
}

fn pod_addresses(cluster: &Cluster) -> BTreeSet<String> {
    cluster.list(&kind::POD).iter().map(|pod| pod.annotation(POD_IPS).unwrap().to_string()).collect()
}

#[test]
fn endpoints_follow_the_pods() {
    let mut cluster = Cluster::lab([deployment("web", 3), web_service()]);
    cluster.settle();
    // Without pods that have an address there is an empty Endpoints and an empty slice.
    assert_eq!(endpoints(&cluster, "web"), Default::default());
    assert_eq!(slices(&cluster, "web").len(), 1);
    cluster.kubelet(2);
    cluster.settle();
    assert_eq!(endpoints(&cluster, "web").0.len(), 2);
    cluster.run();
    assert_eq!(endpoints(&cluster, "web"), (pod_addresses(&cluster), BTreeSet::new()));
    assert_eq!(sliced(&cluster, "web", "ready"), pod_addresses(&cluster));
    let stored = cluster.get(&kind::ENDPOINTS, "default", "web");
    let subset = &stored.json()["subsets"][0];
    assert_eq!(subset["ports"], json!([{"name": "http", "port": 80, "protocol": "TCP"}]));
    let target = &subset["addresses"][0];
    let pod = cluster.get(&kind::POD, "default", target["targetRef"]["name"].as_str().unwrap());
    assert_eq!(target["targetRef"]["uid"], pod.uid());
    assert_eq!(target["nodeName"].as_str(), pod.str_at(&["spec", "nodeName"]));
    let slice = &slices(&cluster, "web")[0];
    assert!(slice.name().starts_with("web-") && slice.name().len() == 9);
    assert_eq!(slice.label("endpointslice.kubernetes.io/managed-by"), Some("endpointslice-controller.k8s.io"));
    assert_eq!(slice.str_at(&["addressType"]), Some("IPv4"));
    let service = cluster.get(&kind::SERVICE, "default", "web");
    assert_eq!(slice.metadata().unwrap()["ownerReferences"], json!([service.as_controller_reference()]));

    // A pod that is no longer ready, one that ends, one that failed.
    let names = cluster.names(&kind::POD);
    let address = |cluster: &Cluster, name: &str| {
        cluster.get(&kind::POD, "default", name).annotation(POD_IPS).unwrap().to_string()
    };
    let (a, b, c) = (address(&cluster, &names[0]), address(&cluster, &names[1]), address(&cluster, &names[2]));
    let set_status = |cluster: &mut Cluster, name: &str, field: &str, value: Value| {
        cluster.change(&kind::POD, "default", name, |pod| {
            map_at_mut(pod.json_mut(), "status").insert(field.into(), value);
        });
    };
    set_status(&mut cluster, &names[0], "conditions", json!([{"type": "Ready", "status": "False"}]));
    cluster.delete(&kind::POD, "default", &names[1], Propagation::Background);
    set_status(&mut cluster, &names[2], "phase", "Failed".into());
    cluster.settle();
    let (ready, not_ready) = endpoints(&cluster, "web");
    assert_eq!((ready.len(), not_ready), (0, BTreeSet::from([a.clone()])));
    assert!(sliced(&cluster, "web", "ready").is_empty());
    // The ending pod is ready still, and says so to whoever wants to use it.
    assert_eq!(sliced(&cluster, "web", "terminating"), BTreeSet::from([b.clone()]));
    assert_eq!(sliced(&cluster, "web", "serving"), BTreeSet::from([b]));
    let all: BTreeSet<String> = slices(&cluster, "web")[0].json()["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_string())
        .collect();
    assert!(all.contains(&a) && !all.contains(&c));

    cluster.delete(&kind::SERVICE, "default", "web", Propagation::Background);
    cluster.settle();
    assert!(slices(&cluster, "web").is_empty());
    assert_eq!(cluster.names(&kind::ENDPOINTS), ["kubernetes"]);
}

#[test]
fn not_ready_addresses_are_published_on_request() {
    let mut json = web_service();
    json["spec"]["publishNotReadyAddresses"] = true.into();
    json["spec"]["clusterIP"] = "None".into();
    let mut cluster = Cluster::lab([deployment("web", 1), json]);
    cluster.run();
    let name = &cluster.names(&kind::POD)[0];
    cluster.change(&kind::POD, "default", name, |pod| {
        map_at_mut(pod.json_mut(), "status").insert("conditions".into(), json!([]));
    });
    cluster.settle();
    assert_eq!(endpoints(&cluster, "web"), (pod_addresses(&cluster), BTreeSet::new()));
    assert_eq!(sliced(&cluster, "web", "ready"), pod_addresses(&cluster));
    assert!(sliced(&cluster, "web", "serving").is_empty());
    let headless = cluster.get(&kind::ENDPOINTS, "default", "web");
    assert_eq!(headless.label("service.kubernetes.io/headless"), Some(""));
}

#[test]
fn a_port_that_some_pods_do_not_have_splits_the_subsets() {
    let pod = |name: &str, ports: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default",
            "labels": {"app": "web"}}, "spec": {"nodeName": "w1-k8s", "containers": [{"name": "c", "ports": ports}]}})
    };
    let service = service(
        "web",
        json!({"selector": {"app": "web"}, "ports": [
        {"name": "http", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 81, "targetPort": "admin"}]}),
    );
    let http = json!({"name": "http", "containerPort": 8080});
    let mut cluster = Cluster::lab([
        pod("a", json!([http, {"name": "admin", "containerPort": 9000}])),
        pod("b", json!([http])),
        pod("c", json!([])),
        service,
    ]);
    cluster.run();
    let stored = cluster.get(&kind::ENDPOINTS, "default", "web");
    let ports: BTreeSet<Vec<i64>> = stored.json()["subsets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|subset| subset["ports"].as_array().unwrap().iter().map(|p| p["port"].as_i64().unwrap()).collect())
        .collect();
    assert_eq!(ports, BTreeSet::from([vec![8080], vec![9000, 8080]]));
    // Pod c has neither port.
    assert_eq!(endpoints(&cluster, "web").0.len(), 2);
    assert_eq!(slices(&cluster, "web").len(), 2);
}

#[test]
fn many_endpoints_make_many_slices_that_change_little() {
    let mut cluster = Cluster::lab([deployment("web", 230), web_service()]);
    cluster.run();
    let sizes = |cluster: &Cluster| {
        let all = slices(cluster, "web");
        let mut sizes: Vec<_> = all.iter().map(|s| s.json()["endpoints"].as_array().unwrap().len()).collect();
        sizes.sort();
        sizes
    };
    assert_eq!(sizes(&cluster), [30, 100, 100]);
    let before = cluster.store.snapshot().resource_version();
    let gone = cluster.names(&kind::POD)[0].clone();
    cluster.delete(&kind::POD, "default", &gone, Propagation::Background);
    cluster.run();
    let changed: BTreeSet<String> = cluster
        .store
        .events_since(before)
        .unwrap()
        .into_iter()
        .filter(|event| *event.key.kind == kind::ENDPOINT_SLICE)
        .map(|event| event.key.name)
        .collect();
    // The one that lost an endpoint, and the one that the new pod's went to.
    assert!(changed.len() <= 2, "{changed:?}");
    assert_eq!(sizes(&cluster).iter().sum::<usize>(), 230);
    assert_eq!(sliced(&cluster, "web", "ready"), pod_addresses(&cluster));
    cluster.change(&kind::DEPLOYMENT, "default", "web", |web| {
        map_at_mut(web.json_mut(), "spec").insert("replicas".into(), 0.into());
    });
    cluster.run();
    assert_eq!(sizes(&cluster), [0]);
}

#[test]
fn hand_made_endpoints_are_mirrored() {
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "192.168.1.12"}], "notReadyAddresses": [{"ip": "192.168.1.13"}],
            "ports": [{"port": 80}]}]});
    let mut cluster = Cluster::lab([endpoints]);
    cluster.settle();
    // Not before there is a Service.
    assert!(slices(&cluster, "db").is_empty());
    cluster.commit(vec![Write::Create(object(service("db", json!({"ports": [{"port": 80}]}))))]);
    cluster.settle();
    let slice = &slices(&cluster, "db")[0];
    assert_eq!(slice.label("endpointslice.kubernetes.io/managed-by"), Some("endpointslicemirroring-controller.k8s.io"));
    assert_eq!(slice.json()["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
    assert_eq!(sliced(&cluster, "db", "ready"), BTreeSet::from(["192.168.1.12".to_string()]));
    assert_eq!(slice.json()["endpoints"].as_array().unwrap().len(), 2);
    cluster.change(&kind::ENDPOINTS, "default", "db", |endpoints| {
        endpoints.json_mut()["subsets"][0]["addresses"][0]["ip"] = "192.168.1.20".into();
    });
    cluster.settle();
    assert_eq!(sliced(&cluster, "db", "ready"), BTreeSet::from(["192.168.1.20".to_string()]));
    cluster.delete(&kind::SERVICE, "default", "db", Propagation::Background);
    cluster.settle();
    assert!(slices(&cluster, "db").is_empty());
    assert_eq!(cluster.names(&kind::ENDPOINTS), ["kubernetes"]);
}

#[test]
fn what_is_not_mirrored() {
    let address = |n: usize| json!({"ip": format!("10.1.{}.{}", n / 250, n % 250 + 1)});
    let addresses = |from: usize, to: usize| (from..to).map(address).collect::<Vec<_>>();
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "db", "namespace": "default", "labels": {"tier": "data"}, "annotations": {
            "note": "kept", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "subsets": [{"addresses": addresses(0, 700), "notReadyAddresses": addresses(700, 1200),
            "ports": [{"port": 80}]}]});
    let mut cluster = Cluster::lab([endpoints, service("db", json!({"ports": [{"port": 80}]}))]);
    cluster.settle();
    let all = slices(&cluster, "db");
    let [slice] = all.as_slice() else { panic!("{} slices", all.len()) };
    assert_eq!(slice.json()["endpoints"].as_array().unwrap().len(), 1000);
    assert_eq!(sliced(&cluster, "db", "ready").len(), 700);
    assert_eq!(slice.label("tier"), Some("data"));
    assert_eq!(slice.json()["metadata"]["annotations"], json!({"note": "kept"}));
    let events = cluster.list(&kind::EVENT);
    let event = events.iter().find(|event| event.str_at(&["reason"]) == Some("TooManyAddressesToMirror")).unwrap();
    assert_eq!(
        event.str_at(&["message"]).unwrap(),
        "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 200 addresses were skipped"
    );

    let (skip, leader) = ("endpointslice.kubernetes.io/skip-mirror", "control-plane.alpha.kubernetes.io/leader");
    cluster.change(&kind::ENDPOINTS, "default", "db", |endpoints| endpoints.set_label(skip, "true"));
    cluster.settle();
    assert!(slices(&cluster, "db").is_empty());
    cluster.change(&kind::ENDPOINTS, "default", "db", |endpoints| endpoints.set_label(skip, "false"));
    cluster.settle();
    assert_eq!(slices(&cluster, "db").len(), 1);
    cluster.change(&kind::ENDPOINTS, "default", "db", |endpoints| endpoints.set_annotation(leader, "{}"));
    cluster.settle();
    assert!(slices(&cluster, "db").is_empty());
    cluster.change(&kind::ENDPOINTS, "default", "db", |endpoints| {
        endpoints.metadata_mut().remove("labels");
        endpoints.metadata_mut().remove("annotations");
    });
    cluster.settle();
    assert_eq!(slices(&cluster, "db").len(), 1);
    assert_eq!(slices(&cluster, "db")[0].json()["metadata"].get("annotations"), None);
}

#[test]
fn the_same_seed_gives_the_same_names() {
    let names = || {
        let mut cluster = Cluster::lab([deployment("web", 5), web_service()]);
        cluster.run();
        [cluster.names(&kind::POD), cluster.names(&kind::ENDPOINT_SLICE)]
    };
    assert_eq!(names(), names());
}

#[test]
fn settling_ends_and_leaves_nothing_to_do() {
    let mut cluster = Cluster::lab([deployment("web", 20), web_service()]);
    let rounds = settle(&cluster.store, &mut cluster.ctx, 100);
    assert!(rounds < 20, "{rounds} rounds");
    let snapshot = cluster.store.snapshot();
    assert_eq!(run_once(&snapshot, &mut cluster.ctx), []);
    assert_eq!(settle(&cluster.store, &mut cluster.ctx, 100), 0);
}

#[test]
fn someone_who_interferes_at_every_moment_is_got_along_with() {
    let mut cluster = Cluster::lab([deployment("web", 6), web_service()]);
    for step in 0..60 {
        // What was decided on this snapshot meets a store that has changed meanwhile.
        let writes = run_once(&cluster.store.snapshot(), &mut cluster.ctx);
        if let Some(pod) = cluster.list(&kind::POD).get(step % 7).filter(|_| step < 30) {
            let mut touched = Object::clone(pod);
            touched.set_annotation("touched", &step.to_string());
            cluster.commit(vec![Write::Update(touched, Part::All)]);
        }
        if step % 9 == 3 && step < 30 {
            let name = cluster.names(&kind::POD)[0].clone();
            cluster.delete(&kind::POD, "default", &name, Propagation::Background);
        }
        // Conflicts and pods that are gone are expected here, and made good by the next run.
        let _ = cluster.store.commit(writes);
        cluster.kubelet(3);
    }
    cluster.run();
    assert_eq!(cluster.list(&kind::POD).len(), 6);
    assert_eq!(endpoints(&cluster, "web").0, pod_addresses(&cluster));
    assert_eq!(pod_addresses(&cluster).len(), 6);
}

#[test]
fn objects_with_nonsense_in_them_stop_nobody() {
    let nonsense = [json!(null), json!("x"), json!(-1), json!([]), json!({}), json!([{"a": [1]}]), json!(1e300)];
    let kinds = [
        ("v1", "Pod"),
        ("v1", "Service"),
        ("v1", "Endpoints"),
        ("v1", "Node"),
        ("v1", "ReplicationController"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "Deployment"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("v1", "Event"),
    ];
    let mut web = deployment("web", 2);
    // Not onto the nodes that are made of nonsense.
    web["spec"]["template"]["spec"]["nodeSelector"] = json!({"kubernetes.io/os": "linux"});
    let mut cluster = Cluster::lab([web, web_service()]);
    for (api_version, kind) in kinds {
        for (n, value) in nonsense.iter().enumerate() {
            let mut json = json!({"apiVersion": api_version, "kind": kind,
                "metadata": {"name": format!("x{n}"), "namespace": "default", "labels": value,
                    "annotations": value, "ownerReferences": value}});
            for field in ["spec", "status", "subsets", "endpoints", "ports", "lastTimestamp"] {
                json[field] = value.clone();
            }
            cluster.commit(vec![Write::Create(object(json.clone()))]);
            json["metadata"]["name"] = format!("y{n}").into();
            json["spec"] = json!({"replicas": value, "selector": value, "template": value, "ports": value,
                "containers": value, "nodeName": value, "podCIDRs": value, "taints": value, "tolerations": value,
                "ipFamilies": value, "strategy": value});
            json["status"] = json!({"conditions": value, "podIPs": value, "phase": value});
            cluster.commit(vec![Write::Create(object(json))]);
        }
    }
    cluster.run();
    assert_eq!(endpoints(&cluster, "web").0.len(), 2);
}
