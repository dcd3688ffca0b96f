use super::*;
use crate::desired::Backend;

fn endpoint(text: &str) -> (IpAddr, u16) {
    let address: std::net::SocketAddr = text.parse().unwrap();
    (address.ip(), address.port())
}

fn backend(endpoints: &[&str]) -> Backend {
    let endpoints = endpoints.iter().map(|text| endpoint(text)).collect();
    Backend { service: "default/dns".to_string(), endpoints, ..Backend::default() }
}

fn service(text: &str, protocol: Protocol) -> ServiceAddress {
    let (address, port) = endpoint(text);
    ServiceAddress { address, protocol, port }
}

/// A client's entry: where it sends to and who answers.
fn flow(to: &str, answered_by: &str) -> Entry {
    Entry { to: service(to, Protocol::Udp), answered_by: endpoint(answered_by), source_translated: false }
}

fn nat(services: &[(&str, Protocol, &[&str])], node_ports: &[(u16, &[&str])]) -> Nat {
    let services = services.iter().map(|(to, protocol, endpoints)| (service(to, *protocol), backend(endpoints)));
    let node_ports = node_ports.iter().map(|(port, endpoints)| ((Protocol::Udp, *port), backend(endpoints)));
    Nat { services: services.collect(), node_ports: node_ports.collect(), ..Nat::default() }
}

const DNS: &str = "10.96.0.10:53";

#[test]
fn services_keep_what_agrees_with_their_endpoints() {
    let before = nat(&[(DNS, Protocol::Udp, &["10.244.1.2:53", "10.244.1.3:53"])], &[]);
    let after = nat(&[(DNS, Protocol::Udp, &["10.244.1.3:53"])], &[]);
    for before in [Some(&before), None] {
        let changes = Changes::between(before, &after);
        assert!(changes.refute(&flow(DNS, "10.244.1.2:53")), "its endpoint is gone");
        assert!(!changes.refute(&flow(DNS, "10.244.1.3:53")), "its endpoint stays");
        assert!(changes.refute(&flow(DNS, DNS)), "it was never translated");
        assert!(!changes.refute(&flow("10.96.0.11:53", "10.244.1.2:53")), "another Service's");
        assert!(!changes.refute(&flow("10.96.0.10:54", "10.244.1.2:53")), "another port's");
    }
    let deleted = nat(&[], &[]);
    assert!(Changes::between(Some(&before), &deleted).refute(&flow(DNS, "10.244.1.3:53")), "the Service is gone");
}

#[test]
fn node_ports_touch_only_what_is_theirs() {
    let none = nat(&[], &[]);
    let before = nat(&[], &[(30053, &["10.244.1.2:53"])]);
    let after = nat(&[], &[(30053, &["10.244.1.3:53"])]);
    let node = "192.168.1.101:30053";
    let passing = Entry { source_translated: true, ..flow(node, node) };

    let replaced = Changes::between(Some(&before), &after);
    assert!(replaced.refute(&flow(node, "10.244.1.2:53")), "its endpoint is gone");
    assert!(!replaced.refute(&flow(node, "10.244.1.3:53")), "its endpoint stays");
    assert!(!replaced.refute(&flow(node, "10.244.9.9:53")), "nobody of ours translated it");
    assert!(!replaced.refute(&flow(node, node)), "the node port was there, so this one was not for it");

    let new = Changes::between(Some(&none), &after);
    assert!(new.refute(&flow(node, node)), "from now on it is translated");
    assert!(!new.refute(&passing), "it passes through this node to another");

    let deleted = Changes::between(Some(&before), &none);
    assert!(deleted.refute(&flow(node, "10.244.1.2:53")));
    assert!(!deleted.refute(&flow(node, node)));

    let unknown = Changes::between(None, &after);
    assert!(unknown.refute(&flow(node, "10.244.9.9:53")), "who else would have translated it");
    assert!(unknown.refute(&flow(node, node)));
    assert!(!unknown.refute(&passing));
    assert!(!unknown.refute(&flow(node, "10.244.1.3:53")));
}

/// Each look costs milliseconds, so what cannot leave anything behind must not take one.
#[test]
fn looks_only_where_something_may_be_left() {
    let concerns = |before: &Nat, after: &Nat| {
        let changes = Changes::between(Some(before), after);
        let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter();
        let all = all.flat_map(|protocol| Family::ALL.map(|family| (protocol, family)));
        all.filter(|(protocol, family)| changes.concern(*protocol, *family)).collect::<Vec<_>>()
    };
    let service = |protocol, endpoints: &[&str]| {
        let mut nat = nat(&[(DNS, protocol, endpoints)], &[]);
        nat.service_subnets.push("10.96.0.0/12".parse().unwrap());
        nat
    };
    let mut none = nat(&[], &[]);
    none.service_subnets.push("10.96.0.0/12".parse().unwrap());
    let (two, one) = (&["10.244.1.2:53", "10.244.1.3:53"][..], &["10.244.1.2:53"][..]);
    let udp = [(Protocol::Udp, Family::Ip)];

    assert_eq!(concerns(&service(Protocol::Udp, two), &service(Protocol::Udp, one)), udp, "an endpoint went");
    assert_eq!(concerns(&service(Protocol::Udp, one), &none), udp, "the Service went");
    assert_eq!(concerns(&service(Protocol::Udp, one), &service(Protocol::Udp, two)), [], "an endpoint came");
    assert_eq!(concerns(&none, &service(Protocol::Udp, one)), [], "a Service came");
    assert_eq!(concerns(&service(Protocol::Udp, &[]), &service(Protocol::Udp, one)), [], "the first endpoint came");
    assert_eq!(concerns(&service(Protocol::Udp, &[]), &none), [], "it had none");
    assert_eq!(concerns(&service(Protocol::Tcp, two), &none), [], "TCP clients notice by themselves");
    assert_eq!(concerns(&none, &nat(&[], &[(30053, one)])), udp, "a NodePort came");
    assert_eq!(concerns(&nat(&[], &[(30053, one)]), &nat(&[], &[(30053, two)])), []);
    let six = nat(&[("[fd00::1]:53", Protocol::Sctp, &["[fd01::1]:53"])], &[]);
    assert_eq!(concerns(&six, &none), [(Protocol::Sctp, Family::Ip6)]);

    let mut renamed = service(Protocol::Udp, one);
    let rename = |backend: &Backend| Backend { service: "default/renamed".to_string(), ..backend.clone() };
    renamed.services = renamed.services.iter().map(|(address, backend)| (*address, rename(backend))).collect();
    assert_eq!(concerns(&service(Protocol::Udp, one), &renamed), [], "a name is not an endpoint");
}

#[test]
fn reads_an_entry() {
    let mut out = Vec::new();
    let tuple = |out: &mut Vec<u8>, kind, source: [u8; 4], destination: [u8; 4], ports: [u16; 2]| {
        attr::nest(out, kind, |out| {
            attr::nest(out, CTA_TUPLE_IP, |out| {
                attr::bytes(out, 1, &source);
                attr::bytes(out, 2, &destination);
            });
            attr::nest(out, CTA_TUPLE_PROTO, |out| {
                attr::bytes(out, CTA_PROTO_NUM, &[17]);
                attr::bytes(out, CTA_PROTO_SRC_PORT, &ports[0].to_be_bytes());
                attr::bytes(out, CTA_PROTO_DST_PORT, &ports[1].to_be_bytes());
            });
        });
    };
    tuple(&mut out, CTA_TUPLE_ORIG, [10, 244, 1, 9], [10, 96, 0, 10], [4000, 53]);
    tuple(&mut out, CTA_TUPLE_REPLY, [10, 244, 1, 2], [192, 168, 1, 101], [5353, 4000]);
    attr::be32(&mut out, CTA_STATUS, 0x1b8 | STATUS_SOURCE_TRANSLATED);
    let expected =
        Entry { to: service(DNS, Protocol::Udp), answered_by: endpoint("10.244.1.2:5353"), source_translated: true };
    assert_eq!(entry(&out, Protocol::Udp), Some(expected));
    assert_eq!(entry(&out[4..], Protocol::Udp), None);
}
