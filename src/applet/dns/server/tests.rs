//! The server on the loopback, asked by `dig`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::*;
use crate::api;
use crate::applet::kube::{Api, Change};
use crate::layout::Layout;
use crate::object::{Object, kind};
use crate::session::{self, Session, SessionError, Sessions, Target};

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

/// Answers in the API's place, which asks the machine's resolver.
type Outside = fn(Vec<u8>) -> Result<Vec<u8>, String>;

struct NoSessions;

impl Sessions for NoSessions {
    fn exec(&self, _: &Target, _: session::Command) -> Result<Session, SessionError> {
        Err(SessionError::NotRunning("nothing runs here".into()))
    }
    fn attach(&self, _: &Target, _: bool) -> Result<Session, SessionError> {
        Err(SessionError::NotRunning("nothing runs here".into()))
    }
    fn socket(&self, _: &session::Pod, _: session::Family) -> Result<std::os::fd::OwnedFd, SessionError> {
        Err(SessionError::NotRunning("nothing runs here".into()))
    }
}

/// An API at a socket of its own, which is no file: it goes with the test.
fn serve_api(outside: Outside) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let socket = PathBuf::from(format!("\0nslab-dns-{}-{number}", std::process::id()));
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let store = Arc::new(crate::store::Store::in_memory());
    let api = api::Api::new(store, Arc::new(NoSessions), Layout::new("test"))
        .with_resolver(move |query| async move { outside(query) });
    tokio::spawn(api::serve(listener, Arc::new(api), std::future::pending::<()>()));
    socket
}

/// The port of a server whose API asks `outside`; it ends with the test.
fn start(outside: Outside) -> u16 {
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
            let socket = serve_api(outside);
            let api = Api::at_socket(socket);
            let (forwarder, missing) = (Forwarder::new(api.clone()), Rc::new(Missing::new(api)));
            tell.send(udp.local_addr().unwrap().port()).unwrap();
            let server = Rc::new(Server { cluster: RefCell::new(cluster()), forwarder, missing });
            tokio::join!(server.clone().serve_udp(udp), server.serve_tcp(tcp));
        });
    });
    told.recv().unwrap()
}

/// So many addresses for any question.
fn addresses(query: &[u8], count: u8) -> Vec<u8> {
    let query = Message::from_octets(query).unwrap();
    let mut answer = MessageBuilder::new_vec().start_answer(&query, Rcode::NOERROR).unwrap();
    let name = query.sole_question().unwrap().qname().to_vec();
    for last in 0..count {
        answer.push((name.clone(), 60, domain::rdata::A::new(Ipv4Addr::new(192, 0, 2, 80 + last)))).unwrap();
    }
    answer.finish()
}

fn nobody(_: Vec<u8>) -> Result<Vec<u8>, String> {
    Err("no nameserver".to_string())
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
    let port = start(nobody);
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
    let port = start(nobody);
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
    let port = start(|query| Ok(addresses(&query, 1)));
    assert_eq!(dig(port, "+short www.example.org"), "192.0.2.80\n");
    assert_eq!(dig(port, "+short out.default.svc.cluster.local"), "example.org.\n192.0.2.80\n");
    assert_eq!(dig(port, "+short web.default.svc.cluster.local"), "10.96.0.5\n");
}

#[test]
fn what_the_client_cannot_take_from_elsewhere_comes_over_tcp() {
    let port = start(|query| Ok(addresses(&query, 100)));
    assert!(dig(port, "+noedns +ignore www.example.org").contains("flags: qr tc rd ra; QUERY: 1, ANSWER: 0"));
    let whole = dig(port, "+noedns +short www.example.org");
    assert_eq!(whole.lines().filter(|line| !line.starts_with(';')).count(), 100);
    assert!(dig(port, "+bufsize=4096 +ignore www.example.org").contains("ANSWER: 100"));
}

/// Nobody to ask, somebody who answers another question, and rubbish.
#[test]
fn without_an_answer_a_client_is_told_so() {
    let other: Outside = |_| {
        let query = super::question(&"other.example.org".parse().unwrap(), Rtype::A).unwrap();
        Ok(addresses(query.as_slice(), 1))
    };
    for outside in [nobody as Outside, other, |_| Ok(vec![1, 2, 3])] {
        let port = start(outside);
        for _ in 0..2 {
            assert!(dig(port, "www.example.org").contains("status: SERVFAIL"));
        }
        let alias = dig(port, "out.default.svc.cluster.local");
        assert!(alias.contains("status: NOERROR") && alias.contains("CNAME\texample.org."), "{alias}");
    }
}

#[test]
fn one_connection_takes_question_after_question() {
    let port = start(nobody);
    let all = dig(port, "+tcp +keepopen +short web.default.svc.cluster.local web.default.svc.cluster.local");
    assert_eq!(all, "10.96.0.5\n10.96.0.5\n");
}
