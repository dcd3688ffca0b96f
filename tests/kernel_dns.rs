//! Names in a lab: real clients in pods, asking the DNS server in its pod through the Service in front of it. Run by
//! `scripts/test` inside `scripts/sandbox`.

#[path = "kernel_dns/outside.rs"]
mod outside;

mod lab_rig;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lab_rig::{Lab, Out};

/// One question, asked once: a client that has to ask again has met a fault.
const DIG: &str = "dig +tries=1 +time=1";

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

/// The machine's resolver is asked by the lab's server, from the machine's own network: pods have no other way there.
#[test]
fn names_of_the_world_are_the_machines_to_know() {
    let lab = Lab::nothing_yet();
    let outside = outside::Resolver::start();
    lab.lab("up tests/fixtures/dns.yaml").ok();

    assert_eq!(short(&lab, "www.outside.test"), set(&["192.0.2.80"]));
    assert_eq!(short(&lab, "+tcp www.outside.test"), set(&["192.0.2.80"]));
    assert_eq!(short(&lab, "outside.default.svc.cluster.local"), set(&["www.example.org.", "192.0.2.80"]));
    client(&lab, "getent ahostsv4 www.outside.test").ok().has("192.0.2.80");
    client(&lab, "getent ahostsv4 outside").ok().has("192.0.2.80");
    client(&lab, &format!("{DIG} missing.outside.test")).ok().has("status: NXDOMAIN");
    // Too long for a datagram on either way.
    client(&lab, &format!("{DIG} +noedns +ignore many.outside.test")).ok().has("flags: qr tc rd ra");
    let whole = client(&lab, &format!("{DIG} +noedns +short many.outside.test")).ok().stdout;
    assert_eq!(whole.lines().filter(|line| line.starts_with("192.0.2.")).count(), 100, "{whole}");
    // Many at once.
    let many = "for i in $(seq 100); do dig +short +tries=1 n$i.outside.test & done | grep -c 192.0.2.80";
    client(&lab, many).ok().is("100\n");

    for name in ["nothing.default.svc.cluster.local", "-x 10.244.9.9", "-x 10.96.3.3", "db.default.svc.cluster.local"] {
        client(&lab, &format!("{DIG} {name}")).ok();
    }
    for place in ["node exec w1-k8s --", "client exec --"] {
        lab.lab(&format!("{place} getent hosts www.outside.test")).fails();
    }
    let asked = outside.asked();
    let own = asked.iter().find(|name| name.ends_with("cluster.local") || name.ends_with("arpa"));
    assert_eq!(own, None, "the lab's own names went out");
    assert!(asked.contains("www.outside.test"), "{asked:?}");

    // What is not there any more is no reason to wait.
    drop(outside);
    client(&lab, &format!("{DIG} other.outside.test")).ok().has("status: SERVFAIL");
    lab.down();
}

#[test]
fn what_a_pod_is_told_about_names() {
    let lab = Lab::up(&["tests/fixtures/dns.yaml", "tests/fixtures/dns-more.yaml"]);
    let named = |script: &str| lab.kubectl_args("exec named -- sh -c", &[script]).ok().stdout;
    let full = "one.db.default.svc.cluster.local";
    assert_eq!(named("hostname"), format!("{full}\n"));
    assert_eq!(named("getent hosts bar.local").split_whitespace().next(), Some("192.0.2.7"));
    assert!(named("cat /etc/hosts").contains(&format!("\t{full}\tone\n")));
    let resolv_conf = named("cat /etc/resolv.conf");
    assert!(resolv_conf.contains("options ndots:2 timeout:1\n"), "{resolv_conf}");
    assert!(named("getent ahostsv4 front").contains("front.blue.svc.cluster.local"), "a search domain of its own");

    let on_node = |script: &str| lab.kubectl_args("exec on-node -- sh -c", &[script]).ok();
    assert_eq!(on_node("hostname").stdout, "w1-k8s\n");
    on_node("getent ahostsv4 front.blue").has("front.blue.svc.cluster.local");
    on_node("head -1 /etc/hosts").is("# Kubernetes-managed hosts file (host network).\n");

    assert_eq!(short(&lab, "by-hand.default.svc.cluster.local"), set(&["192.0.2.21"]));
    assert_eq!(short(&lab, "first.by-hand.default.svc.cluster.local"), set(&["192.0.2.21"]));
    assert_eq!(short(&lab, "-x 192.0.2.21"), set(&["first.by-hand.default.svc.cluster.local."]));

    // A slip of the finger is told where one looks next.
    client(&lab, "getent ahostsv4 fornt.blue").fails();
    let patience = Instant::now() + Duration::from_secs(20);
    let meant = "fornt.blue.svc.cluster.local was asked for and does not exist; did you mean front?";
    while !lab.kubectl("describe service front -n blue").ok().stdout.contains(meant) {
        assert!(Instant::now() < patience, "nothing was told");
    }

    // It has an address, and is never ready: its container ends at once.
    lab.kubectl_args("run never --labels=app=never --image=busybox --command -- sh -c", &["exit 1"]).ok();
    let patience = Instant::now() + Duration::from_secs(20);
    let address = loop {
        let address = field(&lab, "pod never", ".status.podIP");
        if !address.is_empty() {
            break address;
        }
        assert!(Instant::now() < patience, "the pod has no address");
    };
    until(&lab, &format!("dig +short early.default.svc.cluster.local | grep -q '^{address}$'"));
    client(&lab, &format!("{DIG} late.default.svc.cluster.local")).ok().has("status: NXDOMAIN");

    // 200 endpoints are too many for a datagram of 512 bytes.
    let addresses: Vec<String> = (1..=200).map(|n| format!("{{\"ip\": \"198.51.100.{n}\"}}")).collect();
    let patch =
        format!("{{\"subsets\": [{{\"addresses\": [{}], \"ports\": [{{\"port\": 80}}]}}]}}", addresses.join(","));
    lab.kubectl_args("patch endpoints by-hand --type=merge -p", &[&patch]).ok();
    until(&lab, "dig +short first.by-hand.default.svc.cluster.local | wc -l | grep -qx 0");
    let question = "by-hand.default.svc.cluster.local";
    client(&lab, &format!("{DIG} +noedns +ignore {question}")).ok().has("flags: qr aa tc rd ra");
    assert_eq!(short(&lab, &format!("+noedns {question}")).iter().filter(|line| !line.starts_with(';')).count(), 200);
    assert_eq!(short(&lab, &format!("+bufsize=4096 +ignore {question}")).len(), 200);
    lab.down();
}
