//! One row for each of kube-proxy's behaviours, with a packet that shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::desired::{Affinity, Backend, Nat, ServiceAddress};
use crate::kernel::nft::Ruleset;
use crate::kernel::nft::op::{Element, Op, Set};

const NODE: &str = "192.168.1.101";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn endpoint(text: &str) -> (IpAddr, u16) {
    let address: std::net::SocketAddr = text.parse().unwrap();
    (address.ip(), address.port())
}

fn backend(service: &str, endpoints: &[&str]) -> Backend {
    let endpoints = endpoints.iter().map(|text| endpoint(text)).collect();
    Backend { service: service.to_string(), endpoints, ..Backend::default() }
}

fn service(text: &str, protocol: Protocol) -> ServiceAddress {
    let (address, port) = endpoint(text);
    ServiceAddress { address, protocol, port }
}

/// A node with pods .2 and .3; `web` has two endpoints here and one elsewhere, `empty` has none.
fn model() -> Model {
    let web = backend("default/web:http", &["10.244.1.2:8080", "10.244.1.3:8080", "10.244.2.2:8080"]);
    let empty = backend("default/empty", &[]);
    let six = backend("default/six", &["[fd00:10:244::2]:8080"]);
    let external = |backend: &Backend| Backend { is_external: true, ..backend.clone() };
    let local = |endpoints: &[&str]| {
        let local = Some(endpoints.iter().map(|text| endpoint(text)).collect());
        Backend { local, ..external(&web) }
    };
    let affinity = Affinity { service: vec![service("10.96.0.13:80", Protocol::Tcp)], seconds: 10800 };
    let sticky = Backend { affinity: Some(affinity), ..web.clone() };
    let (here, elsewhere) = (local(&["10.244.1.2:8080", "10.244.1.3:8080"]), local(&[]));
    let nat = Nat {
        pod_subnets: vec!["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/56".parse().unwrap()],
        service_subnets: vec!["10.96.0.0/12".parse().unwrap(), "fd00:10:96::/112".parse().unwrap()],
        services: [
            (service("10.96.0.10:80", Protocol::Tcp), web.clone()),
            (service("10.96.0.10:53", Protocol::Udp), backend("default/web:dns", &["10.244.1.2:5353"])),
            (service("10.96.0.11:80", Protocol::Tcp), empty.clone()),
            (service("[fd00:10:96::1]:80", Protocol::Tcp), six.clone()),
            (service("203.0.113.1:80", Protocol::Tcp), external(&web)),
            (service("203.0.113.2:80", Protocol::Tcp), external(&empty)),
            (service("203.0.113.3:80", Protocol::Tcp), here.clone()),
            (service("203.0.113.4:80", Protocol::Tcp), elsewhere.clone()),
            (service("203.0.113.5:80", Protocol::Tcp), Backend { local: Some([].into()), ..external(&empty) }),
            (service("192.168.1.101:88", Protocol::Tcp), external(&web)),
            (service("192.168.1.101:89", Protocol::Tcp), external(&empty)),
            (service("10.96.0.13:80", Protocol::Tcp), sticky.clone()),
            (service("203.0.113.6:80", Protocol::Tcp), external(&sticky)),
            (service("203.0.113.7:80", Protocol::Tcp), Backend { affinity: sticky.affinity.clone(), ..here.clone() }),
            (service("10.96.0.12:80", Protocol::Tcp), Backend { has_others: true, ..empty.clone() }),
        ]
        .into(),
        node_ports: [
            ((Protocol::Tcp, 30080), web),
            ((Protocol::Tcp, 30081), empty),
            ((Protocol::Tcp, 30082), six),
            ((Protocol::Tcp, 30083), here),
            ((Protocol::Tcp, 30084), elsewhere),
            ((Protocol::Tcp, 30085), sticky.clone()),
        ]
        .into(),
        hairpin: ["10.244.1.2", "10.244.1.3", "fd00:10:244::2"].map(address).into(),
    };
    Model::of(&Arc::new(nat)).unwrap()
}

fn run(from: Origin, protocol: Protocol, source: &str, destination: &str, random: u32) -> Walk {
    run_in(&model(), from, protocol, source, destination, random)
}

fn run_in(model: &Model, from: Origin, protocol: Protocol, source: &str, destination: &str, random: u32) -> Walk {
    let (to, port) = endpoint(destination);
    let packet =
        Packet { source: address(source), source_port: 40000, destination: to, destination_port: port, protocol, from };
    let local = [NODE, "127.0.0.1", "10.244.1.1", "fd00::101", "::1"].map(address);
    let surroundings =
        Surroundings { is_local: &|address| local.contains(&address), choose: &mut |modulus| random % modulus };
    walk(model, packet, surroundings)
}

fn tcp(from: Origin, source: &str, destination: &str) -> Fate {
    run(from, Protocol::Tcp, source, destination, 1).fate
}

fn dnat(to: &str, masquerade: bool) -> Fate {
    Fate::Dnat { to: endpoint(to), masquerade }
}

const POD: &str = "10.244.1.9";
const OUTSIDE: &str = "192.168.1.20";
const ACCEPT: Fate = Fate::Accept { masquerade: false };

#[test]
fn cluster_ip() {
    assert_eq!(tcp(Origin::Link, POD, "10.96.0.10:80"), dnat("10.244.1.3:8080", false), "from a pod, with its address");
    assert_eq!(tcp(Origin::Node, NODE, "10.96.0.10:80"), dnat("10.244.1.3:8080", true), "from a node");
    assert_eq!(tcp(Origin::Link, OUTSIDE, "10.96.0.10:80"), dnat("10.244.1.3:8080", true), "from outside");
    let udp = run(Origin::Link, Protocol::Udp, POD, "10.96.0.10:53", 0).fate;
    assert_eq!(udp, dnat("10.244.1.2:5353", false));
}

#[test]
fn each_random_number_has_its_endpoint() {
    let reached = |random| run(Origin::Link, Protocol::Tcp, POD, "10.96.0.10:80", random).fate;
    assert_eq!(reached(0), dnat("10.244.1.2:8080", false));
    assert_eq!(reached(1), dnat("10.244.1.3:8080", false));
    assert_eq!(reached(2), dnat("10.244.2.2:8080", false));
    let node_port = |random| run(Origin::Link, Protocol::Tcp, OUTSIDE, "192.168.1.101:30080", random).fate;
    assert_eq!(node_port(0), dnat("10.244.1.2:8080", true));
    assert_eq!(node_port(2), dnat("10.244.2.2:8080", true));
}

#[test]
fn hairpin() {
    let own = run(Origin::Link, Protocol::Tcp, "10.244.1.3", "10.96.0.10:80", 1);
    assert_eq!(own.fate, dnat("10.244.1.3:8080", true), "to itself");
    let other = run(Origin::Link, Protocol::Tcp, "10.244.1.3", "10.96.0.10:80", 0);
    assert_eq!(other.fate, dnat("10.244.1.2:8080", false), "to another pod");
    assert_eq!(tcp(Origin::Link, "10.244.1.3", "10.244.1.3:8080"), ACCEPT, "without a Service");
}

#[test]
fn node_port() {
    for (from, source) in [(Origin::Link, OUTSIDE), (Origin::Link, POD), (Origin::Node, NODE)] {
        assert_eq!(tcp(from, source, "192.168.1.101:30080"), dnat("10.244.1.3:8080", true), "from {source}");
    }
    assert_eq!(tcp(Origin::Link, POD, "10.244.1.1:30080"), dnat("10.244.1.3:8080", true), "any address of the node");
    assert_eq!(tcp(Origin::Node, "127.0.0.1", "127.0.0.1:30080"), ACCEPT, "but loopback");
    assert_eq!(tcp(Origin::Link, OUTSIDE, "192.168.1.102:30080"), ACCEPT, "another node's");
    let udp = run(Origin::Link, Protocol::Udp, OUTSIDE, "192.168.1.101:30080", 0).fate;
    assert_eq!(udp, ACCEPT, "another protocol");
}

const SOURCES: [(Origin, &str); 3] = [(Origin::Link, OUTSIDE), (Origin::Link, POD), (Origin::Node, NODE)];

#[test]
fn external_addresses() {
    for (from, source) in SOURCES {
        assert_eq!(tcp(from, source, "203.0.113.1:80"), dnat("10.244.1.3:8080", true), "from {source}");
        assert_eq!(tcp(from, source, "192.168.1.101:88"), dnat("10.244.1.3:8080", true), "the node's, from {source}");
        assert_eq!(tcp(from, source, "203.0.113.1:81"), plain(source), "another port is not the Service's");
        assert_eq!(tcp(from, source, "203.0.113.2:80"), Fate::Reject, "no endpoints, from {source}");
        assert_eq!(tcp(from, source, "192.168.1.101:89"), Fate::Reject, "no endpoints at the node's, from {source}");
    }
}

/// Untranslated, to the world outside.
fn plain(source: &str) -> Fate {
    Fate::Accept { masquerade: source == POD }
}

#[test]
fn session_affinity() {
    const TO: [(&str, bool); 3] = [("10.96.0.13:80", true), ("203.0.113.6:80", true), ("192.168.1.101:30085", true)];
    let remembering = |to: &str| Effect::Remember(endpoint(to).0, endpoint(to).1);
    let effects = |walk: &Walk| walk.steps.iter().map(|step| step.effect).collect::<Vec<_>>();
    for (to, masquerade) in TO {
        for (random, reached) in [(0, "10.244.1.2:8080"), (2, "10.244.2.2:8080")] {
            let walk = run(Origin::Link, Protocol::Tcp, OUTSIDE, to, random);
            assert_eq!(walk.fate, dnat(reached, masquerade), "the first time, {to}");
            assert!(effects(&walk).contains(&remembering(reached)), "{to}: {:?}", walk.steps);
        }
    }
    // What the packet path would have put there.
    let remembered = |to: &str| {
        let mut model = model();
        let key = Value::EMPTY.address(address("10.96.0.13")).protocol(Protocol::Tcp).port(80);
        let (ip, port) = endpoint(to);
        let data = Data::Value(Value::EMPTY.address(ip).port(port));
        let element = Element { key: key.address(address(OUTSIDE)), data, comment: "" };
        model.commit(&[Op::AddElements(Family::Ip, Set::Affinity, vec![element])]).unwrap();
        model
    };
    let again = |model: &Model, source, to| run_in(model, Origin::Link, Protocol::Tcp, source, to, 0);
    let back = remembered("10.244.2.2:8080");
    for (to, masquerade) in TO {
        let walk = again(&back, OUTSIDE, to);
        assert_eq!(walk.fate, dnat("10.244.2.2:8080", masquerade), "comes back, {to}");
        assert!(effects(&walk).contains(&remembering("10.244.2.2:8080")), "its time begins anew");
        let other = again(&back, "192.168.1.21", to).fate;
        assert_eq!(other, dnat("10.244.1.2:8080", masquerade), "another client, {to}");
        let gone = again(&remembered("10.244.3.3:8080"), OUTSIDE, to);
        assert_eq!(gone.fate, dnat("10.244.1.2:8080", masquerade), "its endpoint is gone, {to}");
        assert!(effects(&gone).contains(&remembering("10.244.1.2:8080")));
    }
    let elsewhere = again(&back, OUTSIDE, "203.0.113.7:80").fate;
    assert_eq!(elsewhere, dnat("10.244.1.2:8080", false), "policy Local goes before affinity");
}

#[test]
fn policy_local() {
    for (external, node_port) in [("203.0.113.3:80", "203.0.113.4:80"), ("192.168.1.101:30083", "192.168.1.101:30084")]
    {
        let reached = |from, source, to, random| run(from, Protocol::Tcp, source, to, random).fate;
        for (random, here) in [(0, "10.244.1.2:8080"), (1, "10.244.1.3:8080"), (2, "10.244.1.2:8080")] {
            assert_eq!(reached(Origin::Link, OUTSIDE, external, random), dnat(here, false), "with its address");
        }
        assert_eq!(tcp(Origin::Link, OUTSIDE, node_port), Fate::Drop, "no endpoint here");
        for to in [external, node_port] {
            assert_eq!(reached(Origin::Link, POD, to, 2), dnat("10.244.2.2:8080", false), "a pod, to {to}");
            assert_eq!(reached(Origin::Node, NODE, to, 2), dnat("10.244.2.2:8080", true), "the node, to {to}");
        }
    }
    for (from, source) in SOURCES {
        assert_eq!(tcp(from, source, "203.0.113.5:80"), Fate::Reject, "no endpoint anywhere, from {source}");
        assert_eq!(tcp(from, source, "10.96.0.12:80"), Fate::Drop, "internal, no endpoint here, from {source}");
    }
}

#[test]
fn without_endpoints_is_rejected() {
    assert_eq!(tcp(Origin::Link, POD, "10.96.0.11:80"), Fate::Reject);
    assert_eq!(tcp(Origin::Node, NODE, "10.96.0.11:80"), Fate::Reject);
    assert_eq!(tcp(Origin::Link, OUTSIDE, "192.168.1.101:30081"), Fate::Reject);
    assert_eq!(tcp(Origin::Node, NODE, "192.168.1.101:30081"), Fate::Reject);
}

#[test]
fn service_addresses_that_lead_nowhere() {
    for (from, source) in [(Origin::Link, POD), (Origin::Node, NODE)] {
        assert_eq!(tcp(from, source, "10.96.0.10:81"), Fate::Reject, "a wrong port");
        assert_eq!(tcp(from, source, "10.96.0.10:53"), Fate::Reject, "the right port of another protocol");
        assert_eq!(tcp(from, source, "10.96.7.7:80"), Fate::Drop, "an address that no Service has");
        let beyond = Fate::Accept { masquerade: source == POD };
        assert_eq!(tcp(from, source, "10.112.0.1:80"), beyond, "beyond the Services' subnet");
    }
}

#[test]
fn other_traffic_passes_unchanged() {
    assert_eq!(tcp(Origin::Link, POD, "10.244.2.2:80"), ACCEPT);
    assert_eq!(tcp(Origin::Link, OUTSIDE, "192.168.1.101:22"), ACCEPT);
    assert_eq!(tcp(Origin::Node, NODE, "192.168.1.1:53"), ACCEPT);
}

#[test]
fn pods_go_out_under_their_nodes_address() {
    let outside = Fate::Accept { masquerade: true };
    assert_eq!(tcp(Origin::Link, POD, "192.168.1.20:80"), outside, "the LAN has no route to a pod");
    assert_eq!(tcp(Origin::Link, POD, "192.168.1.102:30080"), outside, "another node");
    assert_eq!(tcp(Origin::Link, "fd00:10:244::9", "[fd00::20]:80"), outside);
    assert_eq!(tcp(Origin::Link, POD, "10.244.2.2:80"), ACCEPT, "another node's pod sees the pod itself");
    assert_eq!(tcp(Origin::Link, "fd00:10:244::9", "[fd00:10:244::2]:80"), ACCEPT);
}

#[test]
fn ipv6_is_the_same() {
    assert_eq!(tcp(Origin::Link, "fd00:10:244::9", "[fd00:10:96::1]:80"), dnat("[fd00:10:244::2]:8080", false));
    assert_eq!(tcp(Origin::Link, "fd00:10:244::2", "[fd00:10:96::1]:80"), dnat("[fd00:10:244::2]:8080", true));
    assert_eq!(tcp(Origin::Link, "fd00::20", "[fd00::101]:30082"), dnat("[fd00:10:244::2]:8080", true));
    assert_eq!(tcp(Origin::Link, "fd00::20", "[fd00::101]:30081"), Fate::Reject);
    assert_eq!(tcp(Origin::Node, "::1", "[::1]:30082"), ACCEPT);
    assert_eq!(tcp(Origin::Link, "fd00:10:244::9", "[fd00:10:96::1]:81"), Fate::Reject);
    assert_eq!(tcp(Origin::Link, "fd00:10:244::9", "[fd00:10:96::7]:80"), Fate::Drop);
    assert_eq!(tcp(Origin::Link, OUTSIDE, "192.168.1.101:30082"), ACCEPT, "all its endpoints are IPv6");
}

#[test]
fn steps_name_the_service() {
    let walk = run(Origin::Link, Protocol::Tcp, OUTSIDE, "192.168.1.101:30080", 1);
    let steps: Vec<String> =
        walk.steps.iter().map(|step| format!("{}: {} ({})", step.chain, step.effect, step.comment)).collect();
    let expected = [
        "nat-prerouting: jump services ()",
        "services: goto nodeport-3 (default/web:http)",
        "nodeport-3: jump mark-for-masquerade ()",
        "mark-for-masquerade: mark 0x4000 ()",
        "nodeport-3: dnat to 10.244.1.3:8080 (default/web:http)",
        "filter-forward: jump service-endpoints-check ()",
        "filter-forward: jump cluster-ips-check ()",
        "nat-postrouting: mark 0x0 (clear the mark)",
        "nat-postrouting: masquerade ()",
    ];
    assert_eq!(steps, expected);
}

/// The walk must depend on what is loaded, not on what the rules usually say.
#[test]
fn an_emptied_map_translates_nothing() {
    let mut model = model();
    model.tables.get_mut(&Family::Ip).unwrap().sets.insert(Set::ServiceEndpoints, BTreeMap::new());
    let packet = Packet {
        source: address(POD),
        source_port: 40000,
        destination: address("10.96.0.10"),
        destination_port: 80,
        protocol: Protocol::Tcp,
        from: Origin::Link,
    };
    let surroundings = Surroundings { is_local: &|_| false, choose: &mut |_| 0 };
    assert_eq!(walk(&model, packet, surroundings).fate, Fate::Reject);
}
