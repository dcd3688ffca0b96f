//! Names in a lab: real clients in pods, asking the DNS server in its pod through the Service in front of it. Run by
//! `scripts/test` inside `scripts/sandbox`.

mod lab_rig;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lab_rig::{Lab, Out};

/// One question, asked once: a client that has to ask again has met a fault.
const DIG: &str = "dig +tries=1 +time=4";

/// A shell command in the pod `client`.
fn client(lab: &Lab, script: &str) -> Out {
    lab.kubectl_args("exec client -- sh -c", &[script])
}

fn short(lab: &Lab, question: &str) -> BTreeSet<String> {
    client(lab, &format!("{DIG} +short {question}")).ok().stdout.lines().map(str::to_string).collect()
}

fn set(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(ToString::to_string).collect()
}

fn field(lab: &Lab, object: &str, path: &str) -> String {
    lab.kubectl(&format!("get {object} -o jsonpath={{{path}}}")).ok().stdout
}

/// Waits until the script succeeds, which it must within a generous time.
#[track_caller]
fn until(lab: &Lab, script: &str) {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let out = client(lab, script);
        if out.code == 0 {
            return;
        }
        assert!(Instant::now() < patience, "{out:#?}");
    }
}

/// SEEDS 003-C12 and C13: a Service's name is known in a pod, and neither on a node nor outside.
#[test]
fn only_pods_know_names() {
    let lab = Lab::up(&["tests/fixtures/dns.yaml"]);
    client(&lab, "curl -s front.blue").ok().is("front\n");
    for place in ["node exec m-k8s --", "node exec w1-k8s --", "client exec --"] {
        for name in ["front.blue", "front.blue.svc.cluster.local", "kubernetes.default"] {
            let out = lab.lab(&format!("{place} curl -s -m 5 {name}"));
            assert_eq!(out.code, 6, "{place}: {name} must not resolve: {out:?}");
        }
    }
    lab.down();
}

#[test]
fn every_kind_of_name() {
    let lab = Lab::up(&["tests/fixtures/dns.yaml"]);
    let ip = |pod: &str| field(&lab, &format!("pod {pod}"), ".status.podIP");
    let front = field(&lab, "svc front -n blue", ".spec.clusterIP");

    // By the C library, with search domains: getent, and what everybody calls it through.
    for name in ["front.blue", "front.blue.svc", "FRONT.blue.svc.cluster.local", "alias"] {
        let line = client(&lab, &format!("getent ahostsv4 {name}")).ok().stdout;
        assert!(line.starts_with(&format!("{front} ")), "{name}: {line}");
    }
    client(&lab, "getent hosts front").fails();
    client(&lab, &format!("getent hosts {front}")).ok().has("front.blue.svc.cluster.local");
    client(&lab, "nslookup front.blue").ok().has("Name:\tfront.blue.svc.cluster.local").has(&front);
    client(&lab, "curl -s alias").ok().is("front\n");
    client(&lab, "curl -s db-1.db").ok().is("db-1\n");

    let pods = [ip("db-0"), ip("db-1"), ip("db-2")];
    let all: Vec<&str> = pods.iter().map(String::as_str).collect();
    let dashed = pods[2].replace('.', "-");
    for (question, answer) in [
        ("db.default.svc.cluster.local", &all[..]),
        ("db-0.db.default.svc.cluster.local", &all[..1]),
        ("db-2.db.default.svc.cluster.local", &[]),
        (&format!("{dashed}.db.default.svc.cluster.local"), &all[2..]),
        (&format!("{dashed}.default.pod.cluster.local"), &all[2..]),
        ("alias.default.svc.cluster.local", &["front.blue.svc.cluster.local.", &front]),
        ("outside.default.svc.cluster.local", &["www.example.org."]),
        ("-t SRV _http._tcp.front.blue.svc.cluster.local", &["0 100 80 front.blue.svc.cluster.local."]),
        (
            "-t SRV _http._tcp.db.default.svc.cluster.local",
            &[
                "0 33 80 db-0.db.default.svc.cluster.local.",
                "0 33 80 db-1.db.default.svc.cluster.local.",
                &format!("0 33 80 {dashed}.db.default.svc.cluster.local."),
            ],
        ),
        ("-x 10.96.0.1", &["kubernetes.default.svc.cluster.local."]),
        (&format!("-x {}", pods[0]), &["db-0.db.default.svc.cluster.local."]),
        ("-t TXT dns-version.cluster.local", &["\"1.1.0\""]),
        ("+tcp kubernetes.default.svc.cluster.local", &["10.96.0.1"]),
        ("kube-dns.kube-system.svc.cluster.local", &["10.96.0.10"]),
    ] {
        assert_eq!(short(&lab, question), set(answer), "{question}");
    }

    for (question, status) in [
        ("nothing.default.svc.cluster.local", "NXDOMAIN"),
        ("db.blue.svc.cluster.local", "NXDOMAIN"),
        ("www.example.org.default.svc.cluster.local", "NXDOMAIN"),
        ("-t AAAA front.blue.svc.cluster.local", "NOERROR"),
        // The lab has no way out, which must not keep anybody waiting.
        ("www.example.org", "SERVFAIL"),
    ] {
        client(&lab, &format!("{DIG} {question}")).ok().has(&format!("status: {status}"));
    }

    // A new Service and a new endpoint are known as soon as the lab is ready.
    lab.kubectl("expose pod front -n blue --name=second --port=80").ok();
    lab.kubectl("delete pod db-0 --now").ok();
    lab.wait_ready();
    assert_eq!(short(&lab, "db-0.db.default.svc.cluster.local"), set(&[]));
    until(&lab, "curl -s second.blue");
    lab.down();
}

/// As with a real cluster's DNS: without its pod no name resolves, at once and not after a timeout; with a new one all do.
#[test]
fn the_server_is_a_pod_like_any_other() {
    let lab = Lab::up(&["tests/fixtures/dns.yaml"]);
    let pods = lab.kubectl("get pods -n kube-system -o wide").ok();
    pods.matches_line(&["coredns-", "1/1", "Running", "m-k8s"]);
    lab.kubectl("get svc -n kube-system").ok().matches_line(&["kube-dns", "ClusterIP", "10.96.0.10", "53/UDP,53/TCP"]);

    lab.kubectl("scale deployment coredns -n kube-system --replicas=0").ok();
    lab.wait_ready();
    client(&lab, "getent hosts front.blue").fails();
    lab.kubectl("scale deployment coredns -n kube-system --replicas=2").ok();
    lab.wait_ready();
    // All of them at once, through whichever of the two servers.
    let many = "for i in $(seq 100); do getent hosts front.blue & done | grep -c front.blue.svc.cluster.local";
    client(&lab, many).ok().is("100\n");

    lab.kubectl("scale deployment coredns -n kube-system --replicas=1").ok();
    lab.wait_ready();
    let old = field(&lab, "pods -n kube-system", ".items[0].metadata.name");
    lab.kubectl(&format!("delete pod -n kube-system {old}")).ok();
    lab.wait_ready();
    assert_ne!(field(&lab, "pods -n kube-system", ".items[0].metadata.name"), old);
    client(&lab, "curl -s front.blue").ok().is("front\n");
    lab.down();
}
