//! The server on the loopback, asked by `dig`.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::mpsc;

use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::*;
use crate::applet::kube::Change;
use crate::object::{Object, kind};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn object(json: Value) -> Object {
    Object::from_value(json).unwrap()
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    let service = |name, spec| object(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}));
    cluster.change(&kind::NAMESPACE, Change::All(vec![object(json!({"metadata": {"name": "default"}}))]));
    cluster.change(
        &kind::SERVICE,
        Change::All(vec![
            service("web", json!({"clusterIP": "10.96.0.5", "ports": [{"name": "http", "port": 80}]})),
            service("many", json!({"clusterIP": "None"})),
            service("out", json!({"type": "ExternalName", "externalName": "example.org"})),
        ]),
    );
    let endpoint = |n: u8| json!({"addresses": [format!("10.244.1.{n}")]});
    cluster.change(
        &kind::ENDPOINT_SLICE,
        Change::Set(object(json!({"metadata": {"name": "many-x", "namespace": "default",
        "labels": {"kubernetes.io/service-name": "many"}}, "endpoints": (1..=100).map(endpoint).collect::<Vec<_>>()}))),
    );
    cluster
}

/// The port of a server that forwards to `outside`; it ends with the test.
fn start(outside: Option<SocketAddr>) -> u16 {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            // The same number for both, which another process may have taken for one of them.
            let (udp, tcp) = loop {
                let udp = UdpSocket::bind(LOOPBACK).await.unwrap();
                if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                    break (udp, tcp);
                }
            };
            tell.send(udp.local_addr().unwrap().port()).unwrap();
            let server = Rc::new(Server { cluster: RefCell::new(cluster()), forwarder: Forwarder::new(outside) });
            tokio::join!(server.clone().serve_udp(udp), server.serve_tcp(tcp));
        });
    });
    told.recv().unwrap()
}

/// A server that answers any question with one address, or never.
fn outside(answers: bool) -> SocketAddr {
    let socket = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let query = Message::from_octets(&buffer[..length]).unwrap();
            let mut answer = MessageBuilder::new_vec().start_answer(&query, Rcode::NOERROR).unwrap();
            let name = query.sole_question().unwrap().qname().to_vec();
            answer.push((name, 60, domain::rdata::A::new(Ipv4Addr::new(192, 0, 2, 80)))).unwrap();
            if answers {
                socket.send_to(&answer.finish(), client).unwrap();
            }
        }
    });
    address
}

fn dig(port: u16, args: &str) -> String {
    let out = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port.to_string(), "+tries=1", "+time=10"])
        .args(args.split_whitespace())
        .output()
        .expect("run dig");
    assert!(out.status.success(), "dig {args}: {}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn dig_gets_answers() {
    let port = start(None);
    assert_eq!(dig(port, "+short web.default.svc.cluster.local"), "10.96.0.5\n");
    assert_eq!(dig(port, "+short +tcp web.default.svc.cluster.local"), "10.96.0.5\n");
    assert_eq!(dig(port, "+short +noedns web.default.svc.cluster.local"), "10.96.0.5\n");
    assert_eq!(dig(port, "+short -x 10.96.0.5"), "web.default.svc.cluster.local.\n");
    let srv = dig(port, "+short _http._tcp.web.default.svc.cluster.local SRV");
    assert_eq!(srv, "0 100 80 web.default.svc.cluster.local.\n");
    let missing = dig(port, "nothing.default.svc.cluster.local");
    assert!(missing.contains("status: NXDOMAIN") && missing.contains("flags: qr aa rd ra"), "{missing}");
    let soa = "cluster.local.\t\t30\tIN\tSOA\tns.dns.cluster.local. hostmaster.cluster.local. 3 7200 1800 86400 30";
    assert!(missing.contains(soa), "{missing}");
    assert!(dig(port, "+header-only +qr web").contains("status: FORMERR"));
}

#[test]
fn an_answer_that_is_too_long_is_asked_for_again_over_tcp() {
    let port = start(None);
    let cut = dig(port, "+noedns +ignore many.default.svc.cluster.local");
    assert!(cut.contains("flags: qr aa tc rd ra"), "{cut}");
    let whole = dig(port, "+noedns +short many.default.svc.cluster.local");
    // dig says that it changed over.
    let lines: Vec<&str> = whole.lines().filter(|line| !line.starts_with(';')).collect();
    assert_eq!(lines.len(), 100);
    assert!(dig(port, "+bufsize=4096 +ignore many.default.svc.cluster.local").contains("flags: qr aa rd ra"));
}

#[test]
fn other_names_are_asked_for_elsewhere() {
    let port = start(Some(outside(true)));
    assert_eq!(dig(port, "+short www.example.org"), "192.0.2.80\n");
    assert_eq!(dig(port, "+short out.default.svc.cluster.local"), "example.org.\n192.0.2.80\n");
    assert_eq!(dig(port, "+short web.default.svc.cluster.local"), "10.96.0.5\n");
}

/// No server, one whose machine says at once that nobody listens, and one that never answers.
#[test]
fn without_a_way_out_a_client_does_not_hang() {
    let nobody = std::net::UdpSocket::bind(LOOPBACK).unwrap().local_addr().unwrap();
    for outside in [None, Some(nobody), Some(outside(false))] {
        let port = start(outside);
        // The second is not even waited for.
        for _ in 0..2 {
            assert!(dig(port, "www.example.org").contains("status: SERVFAIL"), "{outside:?}");
        }
        let alias = dig(port, "out.default.svc.cluster.local");
        assert!(alias.contains("status: NOERROR") && alias.contains("CNAME\texample.org."), "{alias}");
    }
}

#[test]
fn one_connection_takes_question_after_question() {
    let port = start(None);
    let all = dig(port, "+tcp +keepopen +short web.default.svc.cluster.local web.default.svc.cluster.local");
    assert_eq!(all, "10.96.0.5\n10.96.0.5\n");
}
