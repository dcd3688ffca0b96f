use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::*;

pub fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

pub fn service(name: &str, mut spec: Value) -> Object {
    let fields = spec.as_object_mut().unwrap();
    fields.entry("ports").or_insert_with(|| json!([{"port": 80}]));
    object(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}),
    )
}

fn lab(subnet: &str) -> Object {
    object(json!({"apiVersion": "nslab.dev/v1alpha1", "kind": "Lab", "metadata": {"name": "lab"},
        "networking": {"lanSubnet": "192.168.1.0/24", "podSubnet": "10.244.0.0/16", "serviceSubnet": subnet}}))
}

pub fn with(objects: impl IntoIterator<Item = Object>) -> Snapshot {
    let namespace = |name: &str| object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    objects.into_iter().chain([namespace("default"), namespace("kube-system")]).collect()
}

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(7)
}

fn create(snapshot: &Snapshot, object: Object) -> Result<Object, String> {
    admit_create(snapshot, object, &mut rng()).map_err(|error| error.message)
}

fn update(old: &Object, spec: Value) -> Result<Object, String> {
    let snapshot = with([old.clone()]);
    admit_update(&snapshot, old, service(old.name(), spec), &mut rng()).map_err(|error| error.message)
}

fn port(service: &Object, index: usize) -> u64 {
    service.at(&["spec", "ports"]).unwrap()[index]["nodePort"].as_u64().unwrap_or(0)
}

#[test]
fn an_asked_for_address_must_be_free_and_of_the_subnet() {
    let snapshot = with([service("a", json!({"clusterIP": "10.96.0.50", "clusterIPs": ["10.96.0.50"]}))]);
    for (address, why) in [
        ("10.96.0.50", Some("failed to allocate IP 10.96.0.50: provided IP is already allocated")),
        ("10.96.0.1", Some("failed to allocate IP 10.96.0.1: provided IP is already allocated")),
        ("10.96.0.10", Some("failed to allocate IP 10.96.0.10: provided IP is already allocated")),
        (
            "192.168.1.5",
            Some(
                "failed to allocate IP 192.168.1.5: the provided IP (192.168.1.5) is not in the valid range. The range \
                 of valid IPs is 10.96.0.0/12",
            ),
        ),
        ("10.96.0.51", None),
    ] {
        let result = create(&snapshot, service("b", json!({"clusterIP": address})));
        let expected =
            why.map(|w| format!("Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"{address}\"]: {w}"));
        assert_eq!(result.as_ref().err(), expected.as_ref(), "{address}");
    }
    let own = object(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}}),
    );
    assert!(create(&snapshot, own).is_ok());
    let dns = object(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 53}]}}),
    );
    assert!(create(&snapshot, dns).is_ok());
    let nonsense = create(&snapshot, service("b", json!({"clusterIP": "ten"}))).unwrap_err();
    assert!(nonsense.contains("spec.clusterIPs[0]: Invalid value: \"ten\": must be a valid IP address"), "{nonsense}");
}

#[test]
fn a_small_subnet_is_given_out_to_its_last_address() {
    let mut objects = vec![lab("10.0.0.0/28")];
    // 16 addresses without the first, the last, the API's (.1) and the DNS's (.10).
    for n in 0..12 {
        let next = create(&with(objects.clone()), service(&format!("s{n}"), json!({}))).unwrap();
        objects.push(next);
    }
    let mut given: Vec<_> = objects.iter().flat_map(used::addresses).collect();
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 12);
    let full = create(&with(objects), service("more", json!({}))).unwrap_err();
    assert!(full.contains("no address of 10.0.0.0/28 is free"), "{full}");
}

#[test]
fn addresses_are_random_in_the_upper_part() {
    let given = create(&with([]), service("a", json!({}))).unwrap();
    let address: std::net::Ipv4Addr = given.str_at(&["spec", "clusterIP"]).unwrap().parse().unwrap();
    assert!(u32::from(address) >= u32::from(std::net::Ipv4Addr::new(10, 96, 1, 0)), "{address}");
    assert_eq!(given.at(&["spec", "clusterIPs"]), Some(&json!([address.to_string()])));
    assert_eq!(given.str_at(&["spec", "ipFamilyPolicy"]), Some("SingleStack"));
}

#[test]
fn headless_and_external_services_have_no_address() {
    let headless = create(&with([]), service("a", json!({"clusterIP": "None"}))).unwrap();
    assert_eq!(headless.at(&["spec", "clusterIPs"]), Some(&json!(["None"])));
    let external = create(&with([]), service("a", json!({"type": "ExternalName", "externalName": "x.org"}))).unwrap();
    assert_eq!(external.at(&["spec", "clusterIP"]), None);
    let both = create(&with([]), service("a", json!({"type": "NodePort", "clusterIP": "None"}))).unwrap_err();
    assert!(both.contains("may not be set to 'None' for NodePort services"), "{both}");
    let ipv6 = create(&with([]), service("a", json!({"ipFamilies": ["IPv6"]}))).unwrap_err();
    assert!(ipv6.contains("spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"), "{ipv6}");
}

#[test]
fn node_ports_must_be_free_and_in_range() {
    let ports = |port: Value| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let snapshot = with([service("a", ports(json!(30080)))]);
    for (port, why) in [
        (json!(30080), "Invalid value: 30080: provided port is already allocated"),
        (
            json!(80),
            "Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
        ),
        (
            json!(70000),
            "Invalid value: 70000: provided port is not in the valid range. The range of valid ports is 30000-32767",
        ),
    ] {
        let error = create(&snapshot, service("b", ports(port))).unwrap_err();
        assert_eq!(error, format!("Service \"b\" is invalid: spec.ports[0].nodePort: {why}"));
    }
    let inner = json!({"ports": [{"port": 80, "nodePort": 30081}]});
    let error = create(&snapshot, service("b", inner)).unwrap_err();
    assert!(error.ends_with("Forbidden: may not be used when `type` is 'ClusterIP'"), "{error}");
}

#[test]
fn one_number_serves_both_protocols_of_a_port() {
    let spec = json!({"type": "NodePort", "ports": [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"},
        {"name": "x", "port": 80}]});
    let dns = create(&with([]), service("dns", spec)).unwrap();
    assert_eq!(port(&dns, 0), port(&dns, 1));
    assert_ne!(port(&dns, 0), port(&dns, 2));
    let asked = json!({"type": "NodePort", "ports": [{"name": "t", "port": 53, "nodePort": 30053},
        {"name": "u", "port": 53, "protocol": "UDP", "nodePort": 30053}]});
    assert!(create(&with([]), service("dns", asked)).is_ok());
    let twice = json!({"type": "NodePort", "ports": [{"name": "t", "port": 53, "nodePort": 30053},
        {"name": "u", "port": 54, "nodePort": 30053}]});
    let error = create(&with([]), service("dns", twice)).unwrap_err();
    assert!(error.contains("spec.ports[1].nodePort: Duplicate value: 30053"), "{error}");
}

#[test]
fn an_update_keeps_what_was_given() {
    let spec = json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
    let old = create(&with([]), service("web", spec)).unwrap();
    // The second port alone, without saying which numbers it has.
    let new = update(&old, json!({"type": "NodePort", "ports": [{"name": "b", "port": 81}]})).unwrap();
    assert_eq!((port(&new, 0), new.at(&["spec", "clusterIP"])), (port(&old, 1), old.at(&["spec", "clusterIP"])));
    // A number may move from one port to another.
    let moved = json!({"type": "NodePort", "ports": [{"name": "b", "port": 81, "nodePort": port(&old, 0)}]});
    assert_eq!(port(&update(&old, moved).unwrap(), 0), port(&old, 0));
    let load_balancer = json!({"type": "LoadBalancer", "ports": [{"name": "a", "port": 80}]});
    assert_eq!(port(&update(&old, load_balancer).unwrap(), 0), port(&old, 0));
    let error = update(&old, json!({"type": "NodePort", "clusterIP": "10.96.9.9"})).unwrap_err();
    assert!(
        error.contains("spec.clusterIPs[0]: Invalid value: ") && error.ends_with(": may not change once set"),
        "{error}"
    );
}

#[test]
fn a_changed_type_gives_back_what_it_has_not() {
    let spec = json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}], "externalTrafficPolicy": "Cluster"});
    let old = create(&with([]), service("web", spec)).unwrap();
    // As a patch of the type alone leaves it: with the port's number still there.
    let mut inner = old.at(&["spec"]).unwrap().clone();
    inner["type"] = json!("ClusterIP");
    let inner = update(&old, inner).unwrap();
    assert_eq!((port(&inner, 0), inner.at(&["spec", "externalTrafficPolicy"])), (0, None));
    let mut named = old.at(&["spec"]).unwrap().clone();
    named["type"] = json!("ExternalName");
    named["externalName"] = json!("example.org");
    let named = update(&old, named).unwrap();
    assert_eq!((named.at(&["spec", "clusterIP"]), port(&named, 0)), (None, 0));
    let back = update(&named, json!({"type": "ClusterIP", "ports": [{"port": 80}]})).unwrap();
    assert!(back.str_at(&["spec", "clusterIP"]).is_some());
}

#[test]
fn local_traffic_policy_has_a_port_for_health_checks() {
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let old = create(&with([]), service("web", spec.clone())).unwrap();
    let health = old.i64_at(&["spec", "healthCheckNodePort"]).unwrap();
    assert_ne!(health, i64::try_from(port(&old, 0)).unwrap());
    assert_eq!(update(&old, spec).unwrap().i64_at(&["spec", "healthCheckNodePort"]), Some(health));
}

#[test]
fn nothing_new_goes_into_a_namespace_that_ends() {
    let ending =
        object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "deletionTimestamp": "t"}}));
    let pod = object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "x"}}));
    let error = admit_create(&with([ending]), pod, &mut rng()).unwrap_err();
    assert_eq!(
        error.message,
        "pods \"p\" is forbidden: unable to create new content in namespace x because it is being terminated"
    );
    assert_eq!(error.code, 403);
}

#[test]
fn qos_comes_from_resources() {
    let class = |resources: Value| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": "x", "resources": resources}]}, "status": {"phase": "Running"}});
        let pod = create(&with([]), object(pod)).unwrap();
        assert_eq!(pod.str_at(&["status", "phase"]), Some("Pending"), "a new pod's status is not the client's");
        pod.str_at(&["status", "qosClass"]).unwrap().to_string()
    };
    let both = json!({"cpu": "1", "memory": "1Gi"});
    assert_eq!(class(json!({})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    assert_eq!(class(json!({"limits": both})), "Guaranteed");
    assert_eq!(class(json!({"limits": both, "requests": {"cpu": "500m"}})), "Burstable");
}
