//! Labs with IPv6, alone and beside IPv4: each kind of source to each kind of address, by packets. Run by `scripts/test`
//! inside `scripts/sandbox`.

mod lab_rig;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use lab_rig::Lab;

const DUAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dual.yaml");
const CA: &str = "/var/lib/nslab/lab/pki/ca.crt";
const NODES: [(&str, &str); 3] = [("m-k8s", "10"), ("w1-k8s", "101"), ("w2-k8s", "102")];

/// What `curl` says at a place.
fn curl(lab: &Lab, place: &str, url: &str) -> lab_rig::Out {
    lab.lab(&format!("{place} curl -gsS -m 5 {url}"))
}

#[track_caller]
fn answers(lab: &Lab, place: &str, url: &str) {
    let page = curl(lab, place, url).ok();
    assert!(page.stdout.starts_with("web-"), "{page:?}");
}

fn words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    words.sort_unstable();
    words
}

#[test]
fn both_families_reach_everything() {
    let lab = Lab::nothing_yet();
    lab.lab(&format!("up {DUAL}")).ok();
    let get = |what: &str| lab.kubectl(&format!("get {what}")).ok().stdout;

    let pods = get("pods -o name").replace("pod/", "");
    let pods: Vec<&str> = pods.lines().collect();
    assert_eq!(pods.len(), 2);
    let mut addresses = Vec::new();
    for pod in &pods {
        let ips = get(&format!("pod {pod} -o jsonpath={{.status.podIPs[*].ip}}"));
        let [four, six] = words(&ips)[..] else { panic!("{ips}") };
        assert!(four.starts_with("10.244.") && six.starts_with("fd00:10:244:"), "{ips}");
        let hosts = get(&format!("pod {pod} -o jsonpath={{.status.hostIPs[*].ip}}"));
        assert!(hosts.starts_with("192.168.1.10") && hosts.contains(" fd00:192:168:1::10"), "{hosts}");
        addresses.push((four.to_string(), six.to_string()));
    }
    // Any place can reach any pod but from outside, which knows no way.
    let mut places: Vec<String> = NODES.iter().map(|(node, _)| format!("node exec {node} --")).collect();
    places.extend(pods.iter().map(|pod| format!("exec {pod} --")));
    for place in &places {
        for (four, six) in &addresses {
            answers(&lab, place, &format!("http://{four}"));
            answers(&lab, place, &format!("http://[{six}]"));
        }
        answers(&lab, place, "http://10.96.7.7");
        for _ in 0..4 {
            answers(&lab, place, "http://[fd00:10:96::7]");
        }
        answers(&lab, place, "http://[fd00:10:96::6]");
    }
    let outside = "client exec --";
    for (_, host) in NODES {
        for place in [outside, places[0].as_str(), places[4].as_str()] {
            answers(&lab, place, &format!("http://192.168.1.{host}:30080"));
            answers(&lab, place, &format!("http://[fd00:192:168:1::{host}]:30080"));
        }
    }
    curl(&lab, outside, "-m 1 http://[fd00:10:96::7]").fails();
    // Nobody outside has a route to pods: what they send arrives in their node's name.
    for (own, node) in [("192.168.1.1", "192.168.1.10"), ("fd00:192:168:1::1", "fd00:192:168:1::10")] {
        let listener = TcpListener::bind((own, 0)).expect("this machine is on the LAN");
        let port = listener.local_addr().expect("its address").port();
        let visitor = std::thread::spawn(move || {
            let (mut stream, peer) = listener.accept().expect("a visitor");
            assert_ne!(stream.read(&mut [0; 1024]).expect("its request"), 0);
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nweb-outside").expect("an answer");
            peer.ip().to_string()
        });
        let url = if own.contains(':') { format!("http://[{own}]:{port}") } else { format!("http://{own}:{port}") };
        answers(&lab, &places[4], &url);
        let visitor = visitor.join().expect("the visitor");
        assert!(visitor.starts_with(node), "{visitor}");
    }

    // Names.
    let dig = |line: &str| lab.lab(&format!("{} dig +short +search {line}", places[3])).ok().stdout;
    assert_eq!((dig("web A").as_str(), dig("web AAAA").as_str()), ("10.96.7.7\n", "fd00:10:96::7\n"));
    assert_eq!((dig("six A").as_str(), dig("six AAAA").as_str()), ("", "fd00:10:96::6\n"));
    let mut sixes: Vec<&str> = addresses.iter().map(|(_, six)| six.as_str()).collect();
    sixes.sort_unstable();
    assert_eq!(words(&dig("pods AAAA")), sixes);

    // Endpoints are of the first family, slices of each.
    let endpoints = get("endpoints web -o jsonpath={.subsets[*].addresses[*].ip}");
    assert!(
        words(&endpoints).iter().all(|ip| ip.starts_with("10.244.")) && words(&endpoints).len() == 2,
        "{endpoints}"
    );
    let slices = get("endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].addressType}");
    assert_eq!(words(&slices), ["IPv4", "IPv6"]);

    // A second address, and back.
    let patch = |policy: &str| {
        let patch = format!("{{\"spec\":{{\"ipFamilyPolicy\":\"{policy}\"}}}}");
        lab.kubectl_args("patch service six -p", &[&patch]).ok();
        lab.wait_ready();
        get("service six -o jsonpath={.spec.clusterIPs[*]}")
    };
    let both = patch("PreferDualStack");
    let [six, four] = both.split(' ').collect::<Vec<_>>()[..] else { panic!("{both}") };
    assert_eq!(six, "fd00:10:96::6");
    answers(&lab, &places[1], &format!("http://{four}"));
    assert_eq!(patch("SingleStack"), six);
    // What is no Service any more is dropped.
    curl(&lab, &places[1], &format!("-m 1 http://{four}")).fails();
    answers(&lab, &places[1], "http://[fd00:10:96::6]");

    // The API has all its addresses in its certificate.
    for host in ["192.168.1.10", "[fd00:192:168:1::10]"] {
        let url = format!("https://{host}:6443/version");
        let out = Command::new("curl").args(["-gsS", "-m", "5", "--cacert", CA, &url]).output().expect("curl runs");
        assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("gitVersion"), "{out:?}");
    }
    lab.down();
}

#[test]
fn ipv6_alone() {
    let lab = Lab::nothing_yet();
    let file = std::env::temp_dir().join(format!("nslab-ipv6-{}.yaml", std::process::id()));
    let dual = std::fs::read_to_string(DUAL).expect("the fixture");
    let alone = dual
        .replace("ipFamily: dual", "ipFamily: ipv6")
        .replace("[10.96.7.7, \"fd00:10:96::7\"]", "[\"fd00:10:96::7\"]");
    let alone = alone.replace("clusterIP: 10.96.7.7", "clusterIP: \"fd00:10:96::7\"");
    std::fs::write(&file, alone.replace("RequireDualStack", "PreferDualStack")).expect("the manifest is written");
    let up = lab.lab(&format!("up {}", file.display()));
    std::fs::remove_file(&file).expect("it is removed");
    up.ok().has("http://[fd00:192:168:1::101]:30080");
    let config = lab.lab("kubeconfig").ok();
    config.has("https://[fd00:192:168:1::10]:6443");
    for (_, host) in NODES {
        answers(&lab, "client exec --", &format!("http://[fd00:192:168:1::{host}]:30080"));
    }
    let pod = lab.kubectl("get pods -o name").ok().stdout;
    let pod = format!("exec {} --", pod.lines().next().unwrap_or_default().replace("pod/", ""));
    for place in [pod.as_str(), "node exec m-k8s --"] {
        answers(&lab, place, "http://[fd00:10:96::7]");
    }
    // By name, asked of the DNS at its IPv6 address.
    answers(&lab, &pod, "http://web");
    let ips = lab.kubectl("get pods -A -o jsonpath={.items[*].status.podIPs[*].ip}").ok().stdout;
    assert!(ips.split(' ').all(|ip| ip.starts_with("fd00:10:244:")), "{ips}");
    assert_eq!(lab.lab(&format!("{pod} ip -4 -o addr show dev eth0")).ok().stdout, "");
    lab.down();
}
