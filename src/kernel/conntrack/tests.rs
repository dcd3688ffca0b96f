use super::*;
use crate::desired::Backend;

fn endpoint(text: &str) -> (IpAddr, u16) {
    let address: std::net::SocketAddr = text.parse().unwrap();
    (address.ip(), address.port())
}

fn backend(endpoints: &[&str]) -> Backend {
    Backend { service: "default/dns".to_string(), endpoints: endpoints.iter().map(|text| endpoint(text)).collect() }
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
    let changes = Changes::between(&before, &after);
    assert!(changes.refute(&flow(DNS, "10.244.1.2:53")), "its endpoint is gone");
    assert!(!changes.refute(&flow(DNS, "10.244.1.3:53")), "its endpoint stays");
    assert!(changes.refute(&flow(DNS, DNS)), "it was never translated");
    assert!(!changes.refute(&flow("10.96.0.11:53", "10.244.1.2:53")), "another Service's");
    assert!(!changes.refute(&flow("10.96.0.10:54", "10.244.1.2:53")), "another port's");
}

#[test]
fn services_that_come_and_go_leave_nothing() {
    let empty = nat(&[], &[]);
    let one = nat(&[(DNS, Protocol::Udp, &["10.244.1.2:53"])], &[]);
    let gone = Changes::between(&one, &empty);
    assert!(gone.refute(&flow(DNS, "10.244.1.2:53")));
    let new = Changes::between(&empty, &one);
    assert!(new.refute(&flow(DNS, DNS)));
    assert!(!new.refute(&flow(DNS, "10.244.1.2:53")));
}

#[test]
fn node_ports_touch_only_what_is_theirs() {
    let before = nat(&[], &[(30053, &["10.244.1.2:53"])]);
    let after = nat(&[], &[(30053, &["10.244.1.3:53"])]);
    let changes = Changes::between(&before, &after);
    let node = "192.168.1.101:30053";
    assert!(changes.refute(&flow(node, "10.244.1.2:53")), "its endpoint is gone");
    assert!(!changes.refute(&flow(node, "10.244.1.3:53")), "its endpoint stays");
    assert!(!changes.refute(&flow(node, "10.244.9.9:53")), "nobody of ours translated it");
    assert!(!changes.refute(&flow(node, node)), "the node port was there, so this one was not for it");

    let came = nat(&[], &[(30053, &[])]);
    let changes = Changes::between(&came, &after);
    assert!(changes.refute(&flow(node, node)), "from now on it is translated");
    let masqueraded = Entry { source_translated: true, ..flow(node, node) };
    assert!(!changes.refute(&masqueraded), "it passes through this node to another");
    let changes = Changes::between(&before, &came);
    assert!(changes.refute(&flow(node, "10.244.1.2:53")));
    assert!(!changes.refute(&flow(node, node)));
}

#[test]
fn only_changed_datagram_ports_concern() {
    let before = nat(&[(DNS, Protocol::Tcp, &["10.244.1.2:53"]), ("[fd00::1]:53", Protocol::Sctp, &[])], &[]);
    let mut after = nat(&[("[fd00::1]:53", Protocol::Sctp, &["[fd01::1]:53"])], &[]);
    let changes = Changes::between(&before, &after);
    assert!(!changes.concern(Protocol::Udp, Family::Ip), "TCP clients notice by themselves");
    assert!(changes.concern(Protocol::Sctp, Family::Ip6));
    assert!(!changes.concern(Protocol::Sctp, Family::Ip));

    after.services = before.services.clone();
    for backend in after.services.values_mut() {
        backend.service = "default/renamed".to_string();
    }
    let changes = Changes::between(&before, &after);
    assert!(!changes.concern(Protocol::Sctp, Family::Ip6), "a name is not an endpoint");
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
