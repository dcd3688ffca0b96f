use serde_json::{Value, json};

use super::*;
use crate::applet::kube::Change;
use crate::object::{Object, kind};

fn object(json: Value) -> Object {
    Object::from_value(json).unwrap()
}

fn namespace(name: &str) -> Object {
    object(json!({"metadata": {"name": name}}))
}

fn service(namespace: &str, name: &str, spec: Value) -> Object {
    object(json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec}))
}

fn slice(namespace: &str, service: &str, suffix: &str, endpoints: Value, ports: Value) -> Object {
    object(json!({"metadata": {"namespace": namespace, "name": format!("{service}-{suffix}"),
        "labels": {"kubernetes.io/service-name": service}}, "endpoints": endpoints, "ports": ports}))
}

/// One of everything.
fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.change(&kind::NAMESPACE, Change::All(["default", "blue", "kube-system"].map(namespace).into()));
    let http = json!([{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let dual = json!({"clusterIPs": ["10.96.0.7", "fd00:96::7"], "clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    cluster.change(
        &kind::SERVICE,
        Change::All(vec![
            service("kube-system", "kube-dns", json!({"clusterIP": "10.96.0.10", "ports": http})),
            service("default", "web", json!({"clusterIP": "10.96.0.5", "ports": http})),
            service("blue", "web", json!({"clusterIP": "10.96.0.6", "ports": [{"port": 8080}]})),
            service("blue", "dual", dual),
            service("default", "db", json!({"clusterIP": "None", "ports": [{"name": "mysql", "port": 3306}]})),
            service("default", "bare", json!({"clusterIP": "None"})),
            service("default", "empty", json!({"clusterIP": "None", "ports": [{"port": 1}]})),
            service("default", "pending", json!({"ports": [{"port": 1}]})),
            service("default", "alias", json!({"type": "ExternalName", "externalName": "web.blue.svc.cluster.local"})),
            service("default", "out", json!({"type": "ExternalName", "externalName": "Example.org"})),
            service("default", "address", json!({"type": "ExternalName", "externalName": "192.0.2.1"})),
            service(
                "default",
                "loop",
                json!({"type": "ExternalName", "externalName": "loop.default.svc.cluster.local"}),
            ),
        ]),
    );
    let mysql = json!([{"name": "mysql", "port": 3306, "protocol": "TCP"}]);
    cluster.change(
        &kind::ENDPOINT_SLICE,
        Change::All(vec![
            slice(
                "default",
                "db",
                "a",
                json!([{"addresses": ["10.244.1.2"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.2.2"], "hostname": "db-1"},
                {"addresses": ["10.244.3.2"], "hostname": "db-2", "conditions": {"ready": false}}]),
                mysql.clone(),
            ),
            slice("default", "db", "b", json!([{"addresses": ["10.244.1.9"]}]), mysql.clone()),
            slice("default", "db", "c", json!([{"addresses": ["fd00::1:2"], "hostname": "db-0"}]), mysql),
            slice("default", "bare", "a", json!([{"addresses": ["10.244.1.2"]}]), json!([])),
            slice(
                "default",
                "web",
                "a",
                json!([{"addresses": ["10.244.1.5"]}]),
                json!([{"name": "http", "port": 8080, "protocol": "TCP"}]),
            ),
        ]),
    );
    cluster
}

/// `A 10.96.0.5`, sorted; additional ones after a `+`; then what the end says.
fn ask(cluster: &Cluster, name: &str, qtype: Rtype) -> String {
    let answer = answer(cluster, &Name::from_str(name).unwrap(), qtype);
    let text = |entry: &Entry| {
        let data = entry.data().to_string();
        match entry.data() {
            ZoneRecordData::Soa(_) => "SOA".to_string(),
            _ => format!("{} {}", entry.rtype(), data.trim_end_matches('.')),
        }
    };
    let mut lines: Vec<String> = answer.answers.iter().map(text).collect();
    lines.sort();
    let mut extra: Vec<String> = answer.extra.iter().map(|e| format!("+{} {}", e.owner(), text(e))).collect();
    extra.sort();
    lines.extend(extra);
    match answer.end {
        End::Found => {}
        End::NoData(soa) => lines.push(format!("nodata {}", soa.owner())),
        End::NoName(soa) => lines.push(format!("nxdomain {}", soa.owner())),
        End::Elsewhere(name) => lines.push(format!("elsewhere {name}")),
    }
    lines.join(", ")
}

#[track_caller]
fn check(rows: &[(&str, Rtype, &str)]) {
    let cluster = cluster();
    for (name, qtype, expected) in rows {
        let name = match name.strip_suffix('~') {
            Some(short) => format!("{short}.cluster.local"),
            None => name.to_string(),
        };
        assert_eq!(ask(&cluster, &name, *qtype), *expected, "{name} {qtype}");
    }
}

const NXDOMAIN: &str = "nxdomain cluster.local";
const NODATA: &str = "nodata cluster.local";

#[test]
fn services_with_addresses() {
    check(&[
        ("web.default.svc~", Rtype::A, "A 10.96.0.5"),
        ("WEB.Default.SVC.cluster.LOCAL", Rtype::A, "A 10.96.0.5"),
        ("web.blue.svc~", Rtype::A, "A 10.96.0.6"),
        ("web.default.svc~", Rtype::AAAA, NODATA),
        ("web.default.svc~", Rtype::MX, NODATA),
        ("web.default.svc~", Rtype::ANY, NODATA),
        ("dual.blue.svc~", Rtype::A, "A 10.96.0.7"),
        ("dual.blue.svc~", Rtype::AAAA, "AAAA fd00:96::7"),
        ("pending.default.svc~", Rtype::A, NXDOMAIN),
        ("webb.default.svc~", Rtype::A, NXDOMAIN),
        ("web.red.svc~", Rtype::A, NXDOMAIN),
        // What the search domains make of names.
        ("web.default.svc.cluster.local.default.svc~", Rtype::A, NXDOMAIN),
        ("example.org.default.svc~", Rtype::A, NXDOMAIN),
        ("example.org.svc~", Rtype::A, NXDOMAIN),
        ("example.org~", Rtype::A, NXDOMAIN),
        ("example.org", Rtype::A, "elsewhere example.org"),
        ("web", Rtype::A, "elsewhere web"),
        ("10-244-1-5.web.default.svc~", Rtype::A, "A 10.244.1.5"),
    ]);
}

#[test]
fn headless_services() {
    check(&[
        ("db.default.svc~", Rtype::A, "A 10.244.1.2, A 10.244.1.9, A 10.244.2.2"),
        ("db.default.svc~", Rtype::AAAA, "AAAA fd00::1:2"),
        ("db-0.db.default.svc~", Rtype::A, "A 10.244.1.2"),
        ("db-0.db.default.svc~", Rtype::AAAA, "AAAA fd00::1:2"),
        ("db-1.db.default.svc~", Rtype::AAAA, NODATA),
        ("db-2.db.default.svc~", Rtype::A, NXDOMAIN),
        ("db-0.bare.default.svc~", Rtype::A, NXDOMAIN),
        ("10-244-1-9.db.default.svc~", Rtype::A, "A 10.244.1.9"),
        ("bare.default.svc~", Rtype::A, "A 10.244.1.2"),
        ("bare.default.svc~", Rtype::SRV, NODATA),
        ("empty.default.svc~", Rtype::A, NXDOMAIN),
    ]);
}

#[test]
fn ports() {
    let web = "web.default.svc.cluster.local";
    let db = |n| format!("db-{n}.db.default.svc.cluster.local");
    check(&[
        ("_http._tcp.web.default.svc~", Rtype::SRV, &format!("SRV 0 100 80 {web}, +{web} A 10.96.0.5")),
        ("_dns._udp.web.default.svc~", Rtype::SRV, &format!("SRV 0 100 53 {web}, +{web} A 10.96.0.5")),
        ("web.default.svc~", Rtype::SRV, &format!("SRV 0 50 53 {web}, SRV 0 50 80 {web}, +{web} A 10.96.0.5")),
        ("_http._tcp.web.default.svc~", Rtype::A, "A 10.96.0.5"),
        ("_http._udp.web.default.svc~", Rtype::SRV, NXDOMAIN),
        ("_x._tcp.web.default.svc~", Rtype::SRV, NXDOMAIN),
        ("http.tcp.web.default.svc~", Rtype::SRV, NXDOMAIN),
        ("_._tcp.dual.blue.svc~", Rtype::SRV, NXDOMAIN),
        ("_tcp.web.default.svc~", Rtype::A, NODATA),
        ("_sctp.web.default.svc~", Rtype::A, NXDOMAIN),
        (
            "_mysql._tcp.db.default.svc~",
            Rtype::SRV,
            &format!(
                "SRV 0 33 3306 10-244-1-9.db.default.svc.cluster.local, SRV 0 33 3306 {}, SRV 0 33 3306 {}, \
                 +10-244-1-9.db.default.svc.cluster.local A 10.244.1.9, +{} A 10.244.1.2, +{} AAAA fd00::1:2, \
                 +{} A 10.244.2.2",
                db(0),
                db(1),
                db(0),
                db(0),
                db(1)
            ),
        ),
        ("db-1.db.default.svc~", Rtype::SRV, &format!("SRV 0 100 3306 {}, +{} A 10.244.2.2", db(1), db(1))),
    ]);
}

#[test]
fn aliases() {
    check(&[
        ("alias.default.svc~", Rtype::A, "A 10.96.0.6, CNAME web.blue.svc.cluster.local"),
        ("alias.default.svc~", Rtype::AAAA, "CNAME web.blue.svc.cluster.local, nodata cluster.local"),
        ("alias.default.svc~", Rtype::CNAME, "CNAME web.blue.svc.cluster.local"),
        ("_http._tcp.alias.default.svc~", Rtype::SRV, NXDOMAIN),
        ("out.default.svc~", Rtype::A, "CNAME Example.org, elsewhere Example.org"),
        ("address.default.svc~", Rtype::A, NXDOMAIN),
    ]);
    let rounds = answer(&cluster(), &Name::from_str("loop.default.svc.cluster.local").unwrap(), Rtype::A);
    assert_eq!((rounds.answers.len(), rounds.end), (MOST_ALIASES, End::Found));
}

#[test]
fn pods_and_the_zone_itself() {
    check(&[
        ("10-244-1-2.default.pod~", Rtype::A, "A 10.244.1.2"),
        ("fd00--1-2.default.pod~", Rtype::AAAA, "AAAA fd00::1:2"),
        ("10-244-1-2.default.pod~", Rtype::AAAA, NODATA),
        ("10-244-1.default.pod~", Rtype::A, NXDOMAIN),
        ("10.244.1.2.default.pod~", Rtype::A, NXDOMAIN),
        ("web-1.default.pod~", Rtype::A, NXDOMAIN),
        ("10-244-1-2.red.pod~", Rtype::A, NXDOMAIN),
        ("cluster.local", Rtype::A, NODATA),
        ("cluster.local", Rtype::SOA, "SOA"),
        (
            "cluster.local",
            Rtype::NS,
            "NS kube-dns.kube-system.svc.cluster.local, +kube-dns.kube-system.svc.cluster.local A 10.96.0.10",
        ),
        ("ns.dns~", Rtype::A, "A 10.96.0.10"),
        ("dns-version~", Rtype::TXT, "TXT \"1.1.0\""),
        ("dns-version~", Rtype::A, NODATA),
        ("svc~", Rtype::A, NODATA),
        ("default.svc~", Rtype::A, NODATA),
        ("default.pod~", Rtype::A, NODATA),
        ("red.svc~", Rtype::A, NXDOMAIN),
        ("local", Rtype::A, "elsewhere local"),
        (".", Rtype::NS, "elsewhere ."),
    ]);
}

#[test]
fn names_of_addresses() {
    check(&[
        ("5.0.96.10.in-addr.arpa", Rtype::PTR, "PTR web.default.svc.cluster.local"),
        ("5.0.96.10.IN-ADDR.arpa", Rtype::A, "nodata in-addr.arpa"),
        // The name that the pod asked for, not the one made of its address for the other Service.
        ("2.1.244.10.in-addr.arpa", Rtype::PTR, "PTR db-0.db.default.svc.cluster.local"),
        ("9.1.244.10.in-addr.arpa", Rtype::PTR, "PTR 10-244-1-9.db.default.svc.cluster.local"),
        ("5.1.244.10.in-addr.arpa", Rtype::PTR, "nxdomain in-addr.arpa"),
        ("2.3.244.10.in-addr.arpa", Rtype::PTR, "nxdomain in-addr.arpa"),
        ("101.1.168.192.in-addr.arpa", Rtype::PTR, "nxdomain in-addr.arpa"),
        ("1.96.10.in-addr.arpa", Rtype::PTR, "nodata in-addr.arpa"),
        ("8.8.8.8.in-addr.arpa", Rtype::PTR, "elsewhere 8.8.8.8.in-addr.arpa"),
        ("8.8.in-addr.arpa", Rtype::SOA, "elsewhere 8.8.in-addr.arpa"),
        ("1.256.96.10.in-addr.arpa", Rtype::PTR, "nxdomain in-addr.arpa"),
        ("1.1.1.96.10.in-addr.arpa", Rtype::PTR, "nxdomain in-addr.arpa"),
        ("01.0.96.10.in-addr.arpa", Rtype::PTR, "nxdomain in-addr.arpa"),
        ("+5.0.96.10.in-addr.arpa", Rtype::PTR, "nxdomain in-addr.arpa"),
        (
            "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa",
            Rtype::PTR,
            "PTR dual.blue.svc.cluster.local",
        ),
        ("8.b.d.0.1.0.0.2.ip6.arpa", Rtype::PTR, "elsewhere 8.b.d.0.1.0.0.2.ip6.arpa"),
    ]);
}

#[test]
fn changes_are_followed() {
    let mut cluster = cluster();
    let web = "web.default.svc.cluster.local";
    let changed = || service("default", "web", json!({"clusterIP": "10.96.0.50", "ports": []}));
    cluster.change(&kind::SERVICE, Change::Set(changed()));
    assert_eq!(ask(&cluster, web, Rtype::A), "A 10.96.0.50");
    assert_eq!(ask(&cluster, "5.0.96.10.in-addr.arpa", Rtype::PTR), "nxdomain in-addr.arpa");
    assert_eq!(ask(&cluster, "50.0.96.10.in-addr.arpa", Rtype::PTR), "PTR web.default.svc.cluster.local");
    cluster.change(&kind::SERVICE, Change::Gone(changed()));
    assert_eq!(ask(&cluster, web, Rtype::A), NXDOMAIN);

    // The pod of slice b has gone; those of a have not.
    cluster.change(&kind::ENDPOINT_SLICE, Change::Gone(slice("default", "db", "b", json!([]), json!([]))));
    assert_eq!(ask(&cluster, "db.default.svc.cluster.local", Rtype::A), "A 10.244.1.2, A 10.244.2.2");
    assert_eq!(ask(&cluster, "9.1.244.10.in-addr.arpa", Rtype::PTR), "nxdomain in-addr.arpa");
    // A slice that names another Service leaves the first.
    let mut moved = slice("default", "empty", "x", json!([{"addresses": ["10.244.1.7"]}]), json!([{"port": 1}]));
    cluster.change(&kind::ENDPOINT_SLICE, Change::Set(moved.clone()));
    assert_eq!(ask(&cluster, "empty.default.svc.cluster.local", Rtype::A), "A 10.244.1.7");
    moved.set_label("kubernetes.io/service-name", "bare");
    cluster.change(&kind::ENDPOINT_SLICE, Change::Set(moved));
    assert_eq!(ask(&cluster, "empty.default.svc.cluster.local", Rtype::A), NXDOMAIN);
    assert_eq!(ask(&cluster, "bare.default.svc.cluster.local", Rtype::A), "A 10.244.1.2, A 10.244.1.7");

    cluster.change(&kind::NAMESPACE, Change::Gone(namespace("blue")));
    assert_eq!(ask(&cluster, "blue.svc.cluster.local", Rtype::A), NXDOMAIN);
    // A new list replaces all that was known.
    cluster.change(&kind::ENDPOINT_SLICE, Change::All(Vec::new()));
    cluster.change(&kind::SERVICE, Change::All(vec![changed()]));
    assert_eq!(ask(&cluster, "db.default.svc.cluster.local", Rtype::A), NXDOMAIN);
    assert_eq!(ask(&cluster, web, Rtype::A), "A 10.96.0.50");
}

#[test]
fn addresses_take_turns_in_front() {
    let cluster = cluster();
    let name = Name::from_str("db.default.svc.cluster.local").unwrap();
    let first = || answer(&cluster, &name, Rtype::A).answers[0].data().to_string();
    let firsts: BTreeSet<String> = (0..200).map(|_| first()).collect();
    assert_eq!(firsts.len(), 3);
}

#[test]
fn no_name_is_too_odd() {
    let cluster = cluster();
    let long = format!("{}.default.svc.cluster.local", "a.".repeat(100).trim_end_matches('.'));
    assert_eq!(ask(&cluster, &long, Rtype::A), NXDOMAIN);
    for bytes in [
        b"\x04w\xffeb\x07default\x03svc\x07cluster\x05local\x00".to_vec(),
        b"\x01\x00\x07cluster\x05local\x00".to_vec(),
    ] {
        let name = Name::from_octets(bytes).unwrap();
        assert!(matches!(answer(&cluster, &name, Rtype::A).end, End::NoName(_)));
    }
}
