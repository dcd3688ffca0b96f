//! Service address translation by the real kernel: packets between namespaces, and `nft` and `conntrack` as witnesses.

mod common;
#[path = "common/traffic.rs"]
mod traffic;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::{Netns, sh};
use nslab::chunked::Chunked;
use nslab::desired::{Affinity, Backend, Nat, Protocol, ServiceAddress};
use nslab::kernel::conntrack;
use nslab::kernel::nft::{Changed, NatTable};
use traffic::{Answer, Failure, ask, connect, dial, serve};

const CLIENT: &str = "192.168.1.20";
const NODE: &str = "192.168.1.101";
const GATEWAY: &str = "10.244.1.1";

/// An outside machine, a node, and its pods `.2`, `.3` and so on.
struct Topology {
    client: Netns,
    node: Netns,
    pods: Vec<Netns>,
    table: NatTable,
}

fn topology(name: &str, pods: u8) -> Topology {
    let client = Netns::new(&format!("{name}.client"));
    let node = Netns::new(&format!("{name}.node"));
    sh(&format!("ip link add eth0 netns {} type veth peer name eth0 netns {}", node.name, client.name));
    // Services are routed out of the node's own link, so that the rules see what it sends to them. A redirect to a
    // client that sends them here by the same link would use up the ICMP that the client may get in a second.
    node.sh(&format!(
        "ip addr add {NODE}/24 dev eth0; ip addr add fd00::101/64 dev eth0 nodad; ip link set eth0 up;
         echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects; echo 0 > /proc/sys/net/ipv4/conf/eth0/send_redirects;
         ip route add 10.96.0.0/12 dev eth0; ip -6 route add fd00:10:96::/112 dev eth0;
         echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
    ));
    client.sh(&format!(
        "ip addr add {CLIENT}/24 dev eth0; ip addr add fd00::20/64 dev eth0 nodad; ip link set eth0 up;
         ip route add 10.96.0.0/12 via {NODE}"
    ));
    let pods = (2..2 + pods).map(|last| {
        let pod = Netns::new(&format!("{name}.pod-{last}"));
        sh(&format!("ip link add pod{last} netns {} type veth peer name eth0 netns {}", node.name, pod.name));
        node.sh(&format!(
            "ip addr add {GATEWAY}/32 dev pod{last}; ip addr add fd00:10:244::1/128 dev pod{last} nodad;
             ip link set pod{last} up; ip route add 10.244.1.{last} dev pod{last};
             ip -6 route add fd00:10:244::{last} dev pod{last}"
        ));
        pod.sh(&format!(
            "ip addr add 10.244.1.{last}/32 dev eth0; ip addr add fd00:10:244::{last}/128 dev eth0 nodad;
             ip link set eth0 up; ip route add {GATEWAY} dev eth0; ip route add default via {GATEWAY};
             ip -6 route add fd00:10:244::1 dev eth0; ip -6 route add default via fd00:10:244::1 dev eth0"
        ));
        serve(&pod, 8080);
        pod
    });
    let pods = pods.collect();
    let table = NatTable::open(node.open().as_fd()).unwrap();
    Topology { client, node, pods, table }
}

fn endpoint(text: &str) -> (IpAddr, u16) {
    let address: SocketAddr = text.parse().unwrap();
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

fn empty() -> Nat {
    Nat {
        pod_subnets: vec!["10.244.0.0/16".parse().unwrap()],
        service_subnets: vec!["10.96.0.0/12".parse().unwrap()],
        ..Nat::default()
    }
}

/// `default/web` at 10.96.0.10:80 and NodePort 30080.
fn web(endpoints: &[&str]) -> Nat {
    let web = backend("default/web:http", endpoints);
    let mut nat = empty();
    nat.services.insert(service("10.96.0.10:80", Protocol::Tcp), web.clone());
    nat.node_ports.insert((Protocol::Tcp, 30080), web);
    nat.hairpin = endpoints.iter().map(|text| endpoint(text).0).collect();
    nat
}

fn get(from: &Netns, to: &str) -> Result<Answer, Failure> {
    let to = to.parse().unwrap();
    from.run(|| connect(to))
}

fn answer(server: &Netns, client: &str) -> Result<Answer, Failure> {
    Ok(Answer { server: server.name.clone(), client: client.parse().unwrap() })
}

#[test]
fn services_answer_from_everywhere() {
    let mut lab = topology("reach", 2);
    lab.table.load(&Arc::new(web(&["10.244.1.2:8080"]))).unwrap();
    let [server, other] = lab.pods.as_slice() else { panic!("two pods") };

    let cluster_ip = "10.96.0.10:80";
    assert_eq!(get(other, cluster_ip), answer(server, "10.244.1.3"), "from a pod, with its own address");
    assert_eq!(get(&lab.node, cluster_ip), answer(server, GATEWAY), "from the node, masqueraded");
    assert_eq!(get(&lab.client, cluster_ip), answer(server, GATEWAY), "from outside, masqueraded");
    assert_eq!(get(server, cluster_ip), answer(server, GATEWAY), "from the pod to itself");

    for node_port in ["192.168.1.101:30080", "10.244.1.1:30080"] {
        assert_eq!(get(other, node_port), answer(server, GATEWAY), "{node_port} from a pod");
        assert_eq!(get(&lab.node, node_port), answer(server, GATEWAY), "{node_port} from the node");
        assert_eq!(get(server, node_port), answer(server, GATEWAY), "{node_port} from the pod to itself");
    }
    assert_eq!(get(&lab.client, "192.168.1.101:30080"), answer(server, GATEWAY), "from outside");
    assert_eq!(get(&lab.node, "127.0.0.1:30080"), Err(Failure::Refused), "loopback has no NodePorts");
    assert_eq!(get(other, "10.244.1.2:8080"), answer(server, "10.244.1.3"), "past the Service");
}

#[test]
fn external_addresses_answer_from_everywhere() {
    let mut lab = topology("external", 2);
    let mut nat = web(&["10.244.1.2:8080"]);
    let external = |endpoints: &[&str]| Backend { is_external: true, ..backend("default/web:http", endpoints) };
    nat.services.insert(service("203.0.113.1:80", Protocol::Tcp), external(&["10.244.1.2:8080"]));
    nat.services.insert(service("203.0.113.2:80", Protocol::Tcp), external(&[]));
    nat.services.insert(service("192.168.1.101:80", Protocol::Tcp), external(&["10.244.1.2:8080"]));
    lab.table.load(&Arc::new(nat)).unwrap();
    to_the_node(&lab);
    let [server, other] = lab.pods.as_slice() else { panic!("two pods") };
    for source in [server, other, &lab.node, &lab.client] {
        let from = &source.name;
        assert_eq!(get(source, "203.0.113.1:80"), answer(server, GATEWAY), "from {from}");
        assert_eq!(get(source, "192.168.1.101:80"), answer(server, GATEWAY), "the node's own, from {from}");
        assert_eq!(get(source, "203.0.113.2:80"), Err(Failure::Refused), "no endpoints, from {from}");
    }
}

/// Routes the external addresses there, as a balancer would.
fn to_the_node(lab: &Topology) {
    lab.client.sh(&format!("ip route add 203.0.113.0/24 via {NODE}"));
    lab.node.sh("ip route add 203.0.113.0/24 dev eth0");
}

#[test]
fn policy_local_keeps_the_client_and_stays_on_the_node() {
    let mut lab = topology("local", 3);
    to_the_node(&lab);
    let [here, elsewhere, other] = lab.pods.as_slice() else { panic!("three pods") };
    let outside = |local: &[&str]| {
        let local = Some(local.iter().map(|text| endpoint(text)).collect());
        // To be told apart: the Cluster policy's endpoint is another one than the node's own.
        Backend { is_external: true, local, ..backend("default/web:http", &["10.244.1.3:8080"]) }
    };
    let with = |local: &[&str]| {
        let mut nat = empty();
        nat.services.insert(service("203.0.113.1:80", Protocol::Tcp), outside(local));
        nat.node_ports.insert((Protocol::Tcp, 30080), Backend { is_external: false, ..outside(local) });
        let inside = Backend { has_others: true, ..backend("default/web:http", local) };
        nat.services.insert(service("10.96.0.10:80", Protocol::Tcp), inside);
        Arc::new(nat)
    };
    lab.table.load(&with(&["10.244.1.2:8080"])).unwrap();
    for to in ["203.0.113.1:80", "192.168.1.101:30080"] {
        assert_eq!(get(&lab.client, to), answer(here, CLIENT), "{to} from outside, with its own address");
        assert_eq!(get(other, to), answer(elsewhere, "10.244.1.4"), "{to} from a pod");
        assert_eq!(get(&lab.node, to), answer(elsewhere, GATEWAY), "{to} from the node");
    }
    assert_eq!(get(other, "10.96.0.10:80"), answer(here, "10.244.1.4"));

    lab.table.change(&with(&[])).unwrap();
    for to in ["203.0.113.1:80", "192.168.1.101:30080"] {
        assert_eq!(get(&lab.client, to), Err(Failure::Silence), "{to} from outside, nobody here");
        assert_eq!(get(other, to), answer(elsewhere, "10.244.1.4"), "{to} from a pod");
        assert_eq!(get(&lab.node, to), answer(elsewhere, GATEWAY), "{to} from the node");
    }
    for source in [other, &lab.node, &lab.client] {
        assert_eq!(get(source, "10.96.0.10:80"), Err(Failure::Silence), "from {}", source.name);
    }
}

#[test]
fn clients_come_back_to_their_endpoint() {
    let mut lab = topology("sticky", 4);
    to_the_node(&lab);
    let with = |endpoints: &[&str], seconds: u32| {
        let affinity = Affinity { service: vec![service("10.96.0.10:80", Protocol::Tcp)], seconds };
        let web = Backend { affinity: Some(affinity), ..backend("default/web:http", endpoints) };
        let mut nat = empty();
        nat.node_ports.insert((Protocol::Tcp, 30080), web.clone());
        nat.services.insert(service("203.0.113.1:80", Protocol::Tcp), Backend { is_external: true, ..web.clone() });
        nat.services.insert(service("10.96.0.10:80", Protocol::Tcp), web);
        Arc::new(nat)
    };
    let ends = ["10.244.1.2:8080", "10.244.1.3:8080", "10.244.1.4:8080"];
    let fronts = ["10.96.0.10:80", "203.0.113.1:80", "192.168.1.101:30080"];
    let server = |source: &Netns, to: &str| get(source, to).unwrap().server;
    lab.table.load(&with(&ends, 10800)).unwrap();
    for source in [&lab.client, &lab.node, &lab.pods[3]] {
        let first = server(source, fronts[0]);
        for round in 0..8 {
            // Among them the node, which has another source address for each: that is another client.
            let fronts = if source.name.ends_with("node") { &fronts[..1] } else { &fronts[..] };
            for front in fronts {
                assert_eq!(server(source, front), first, "round {round} from {} to {front}", source.name);
            }
        }
    }
    let elements = |lab: &Topology| lab.node.sh("nft list map ip nslab affinity");
    assert!(elements(&lab).contains("10.96.0.10 . tcp . 80 . 192.168.1.20 timeout 3h"), "{}", elements(&lab));

    // The endpoint goes, and the others do not.
    let had = server(&lab.client, fronts[0]);
    let position = lab.pods.iter().position(|pod| pod.name == had).unwrap();
    let left: Vec<&str> = ends.iter().enumerate().filter(|(at, _)| *at != position).map(|(_, end)| *end).collect();
    lab.table.change(&with(&left, 10800)).unwrap();
    let next = server(&lab.client, fronts[1]);
    assert_ne!(next, had);
    // Nor does the client go back when there is one again.
    lab.table.change(&with(&ends, 10800)).unwrap();
    for front in fronts.iter().cycle().take(12) {
        assert_eq!(server(&lab.client, front), next, "{front}");
    }

    // With affinity off and on again, what was remembered is not in the way of another timeout.
    lab.table.change(&Arc::new(web(&ends))).unwrap();
    let mut seen: Vec<String> = (0..40).map(|_| server(&lab.client, fronts[0])).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "no affinity: all of them");
    lab.table.load(&with(&ends, 1)).unwrap();
    server(&lab.client, fronts[0]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while elements(&lab).contains("192.168.1.20") {
        assert!(Instant::now() < deadline, "the entry outlives its second:\n{}", elements(&lab));
        std::thread::yield_now();
    }
}

/// As the API server, which runs on the network of its node.
#[test]
fn endpoints_on_the_node_itself_answer() {
    let mut lab = topology("host", 1);
    serve(&lab.node, 6443);
    let api = backend("default/kubernetes:https", &["192.168.1.101:6443"]);
    let mut nat = empty();
    nat.services.insert(service("10.96.0.1:443", Protocol::Tcp), api.clone());
    nat.node_ports.insert((Protocol::Tcp, 30443), api);
    lab.table.load(&Arc::new(nat)).unwrap();
    assert_eq!(get(&lab.pods[0], "10.96.0.1:443"), answer(&lab.node, "10.244.1.2"));
    assert_eq!(get(&lab.node, "10.96.0.1:443"), answer(&lab.node, NODE));
    assert_eq!(get(&lab.node, "192.168.1.101:30443"), answer(&lab.node, NODE));
    let seen = get(&lab.client, "192.168.1.101:30443").map(|answer| answer.server);
    assert_eq!(seen, Ok(lab.node.name.clone()));
}

#[test]
fn what_leads_nowhere_is_rejected_or_dropped() {
    let mut lab = topology("nowhere", 1);
    lab.table.load(&Arc::new(web(&[]))).unwrap();
    let sources = [&lab.pods[0], &lab.node, &lab.client];
    for source in sources {
        let from = &source.name;
        assert_eq!(get(source, "10.96.0.10:80"), Err(Failure::Refused), "no endpoints, from {from}");
        assert_eq!(get(source, "10.96.0.10:81"), Err(Failure::Refused), "a wrong port, from {from}");
        assert_eq!(get(source, "192.168.1.101:30080"), Err(Failure::Refused), "no endpoints, from {from}");
        assert_eq!(get(source, "10.96.0.11:80"), Err(Failure::Silence), "no Service's address, from {from}");
        let datagrams = dial(source, "10.96.0.10:53".parse().unwrap());
        // Here Linux says to the sender itself what it tells others by ICMP.
        let refused = if from.ends_with("node") { Failure::Forbidden } else { Failure::Refused };
        assert_eq!(ask(&datagrams), Err(refused), "UDP to a wrong port, from {from}");
    }

    lab.table.change(&Arc::new(web(&["10.244.1.2:8080"]))).unwrap();
    for source in sources {
        assert_eq!(get(source, "10.96.0.10:80"), answer(&lab.pods[0], GATEWAY), "from {}", source.name);
        assert_eq!(get(source, "10.96.0.10:81"), Err(Failure::Refused), "a wrong port, from {}", source.name);
    }
    lab.table.change(&Arc::new(empty())).unwrap();
    for source in sources {
        assert_eq!(get(source, "10.96.0.10:80"), Err(Failure::Silence), "deleted, from {}", source.name);
    }
}

#[test]
fn ipv6_services_answer() {
    let mut lab = topology("six", 2);
    let mut nat = web(&["10.244.1.2:8080"]);
    nat.pod_subnets.push("fd00:10:244::/64".parse().unwrap());
    nat.service_subnets.push("fd00:10:96::/112".parse().unwrap());
    let six = backend("default/six", &["[fd00:10:244::2]:8080"]);
    nat.services.insert(service("[fd00:10:96::1]:80", Protocol::Tcp), six.clone());
    nat.services.insert(service("[fd00:10:96::2]:80", Protocol::Tcp), backend("default/none", &[]));
    nat.node_ports.insert((Protocol::Tcp, 30082), six);
    nat.hairpin.insert("fd00:10:244::2".parse().unwrap());
    lab.table.load(&Arc::new(nat)).unwrap();
    let [server, other] = lab.pods.as_slice() else { panic!("two pods") };

    assert_eq!(get(other, "[fd00:10:96::1]:80"), answer(server, "fd00:10:244::3"));
    assert_eq!(get(&lab.node, "[fd00:10:96::1]:80"), answer(server, "fd00:10:244::1"));
    assert_eq!(get(server, "[fd00:10:96::1]:80"), answer(server, "fd00:10:244::1"));
    assert_eq!(get(&lab.client, "[fd00::101]:30082"), answer(server, "fd00:10:244::1"));
    assert_eq!(get(other, "[fd00:10:96::2]:80"), Err(Failure::Refused));
    assert_eq!(get(other, "[fd00:10:96::1]:81"), Err(Failure::Refused));
    assert_eq!(get(other, "[fd00:10:96::7]:80"), Err(Failure::Silence));
    assert_eq!(get(other, "10.96.0.10:80"), answer(server, "10.244.1.3"), "IPv4 beside it");

    lab.table.change(&Arc::new(web(&["10.244.1.2:8080"]))).unwrap();
    assert_eq!(lab.node.sh("nft list tables"), "table ip nslab\n");
}

#[test]
fn connections_spread_evenly() {
    const CONNECTIONS: usize = 3000;
    let mut lab = topology("even", 4);
    lab.table.load(&Arc::new(web(&["10.244.1.2:8080", "10.244.1.3:8080", "10.244.1.4:8080"]))).unwrap();
    let client = &lab.pods[3];
    let chi_square = || -> f64 {
        let mut counts = BTreeMap::<String, usize>::new();
        client.run(|| {
            for _ in 0..CONNECTIONS {
                *counts.entry(connect("10.96.0.10:80".parse().unwrap()).unwrap().server).or_default() += 1;
            }
        });
        assert_eq!(counts.len(), 3, "{counts:?}");
        let expected = CONNECTIONS as f64 / 3.0;
        counts.values().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
    };
    // The 0.001 quantile for two degrees of freedom. Chance alone exceeds it in one run of a thousand, so that two in
    // a row mean something.
    let first = chi_square();
    assert!(first < 13.816 || chi_square() < 13.816, "chi-square is {first}");
}

#[test]
fn udp_flows_follow_their_endpoints() {
    let mut lab = topology("udp", 3);
    let with = |endpoints: &[&str]| {
        let mut nat = empty();
        nat.services.insert(service("10.96.0.10:53", Protocol::Udp), backend("kube-system/dns", endpoints));
        Arc::new(nat)
    };
    let (one, two, none) = (with(&["10.244.1.2:8080"]), with(&["10.244.1.3:8080"]), with(&[]));
    let from = |pod: usize| answer(&lab.pods[pod], "10.244.1.4");

    lab.table.load(&one).unwrap();
    let flow = dial(&lab.pods[2], "10.96.0.10:53".parse().unwrap());
    assert_eq!(ask(&flow), from(0));
    lab.table.change(&two).unwrap();
    assert_eq!(ask(&flow), from(0), "what this test is about: the old entry holds");
    assert_eq!(conntrack::reconcile(lab.table.socket(), Some(&one), &two).unwrap(), 1);
    assert_eq!(ask(&flow), from(1));
    assert_eq!(conntrack::reconcile(lab.table.socket(), Some(&one), &two).unwrap(), 0, "the new entry stays");

    lab.table.change(&none).unwrap();
    assert_eq!(conntrack::reconcile(lab.table.socket(), Some(&two), &none).unwrap(), 1);
    assert_eq!(ask(&flow), Err(Failure::Refused));
    lab.table.change(&one).unwrap();
    assert_eq!(conntrack::reconcile(lab.table.socket(), Some(&none), &one).unwrap(), 0, "nothing was tracked");
    assert_eq!(ask(&flow), from(0));
    lab.table.change(&two).unwrap();
    assert_eq!(conntrack::reconcile(lab.table.socket(), None, &two).unwrap(), 1, "as after a crash");
    assert_eq!(ask(&flow), from(1));
    lab.table.change(&one).unwrap();
    assert_eq!(conntrack::reconcile(lab.table.socket(), Some(&two), &one).unwrap(), 1);
    assert_eq!(ask(&flow), from(0));

    let gone = Arc::new(empty());
    lab.table.change(&gone).unwrap();
    assert_eq!(conntrack::reconcile(lab.table.socket(), Some(&one), &gone).unwrap(), 1);
    let left = lab.node.sh("conntrack -L -p udp --orig-dst 10.96.0.10 2>/dev/null");
    assert_eq!(left, "", "nothing is left of a deleted Service");
    assert_eq!(ask(&flow), Err(Failure::Silence));
}

#[test]
fn a_new_udp_node_port_takes_over_flows_that_were_there_before_it() {
    let mut lab = topology("udpport", 1);
    let before = Arc::new(empty());
    let mut after = empty();
    after.node_ports.insert((Protocol::Udp, 30053), backend("default/dns", &["10.244.1.2:8080"]));
    let after = Arc::new(after);

    lab.table.load(&before).unwrap();
    let flow = dial(&lab.client, "192.168.1.101:30053".parse().unwrap());
    let bystander = dial(&lab.client, "192.168.1.101:30054".parse().unwrap());
    assert_eq!(ask(&flow), Err(Failure::Refused));
    assert_eq!(ask(&bystander), Err(Failure::Refused));
    lab.table.change(&after).unwrap();
    assert_eq!(ask(&flow), Err(Failure::Refused), "what this test is about: the old entry holds");
    assert_eq!(conntrack::reconcile(lab.table.socket(), Some(&before), &after).unwrap(), 1);
    assert_eq!(ask(&flow), answer(&lab.pods[0], GATEWAY));
    assert_eq!(lab.node.sh("conntrack -L -p udp --orig-port-dst 30054 2>/dev/null").lines().count(), 1);

    lab.table.change(&before).unwrap();
    assert_eq!(conntrack::reconcile(lab.table.socket(), Some(&after), &before).unwrap(), 1);
    assert_eq!(ask(&flow), Err(Failure::Refused));
}

#[test]
fn nft_reads_what_is_loaded() {
    let node = Netns::new("list.node");
    let mut nat = web(&["10.244.1.2:8080", "10.244.1.3:8080"]);
    nat.services.insert(service("10.96.0.11:443", Protocol::Tcp), backend("default/empty:https", &[]));
    nat.pod_subnets.push("fd00:10:244::/56".parse().unwrap());
    nat.services.insert(service("[fd00::1]:53", Protocol::Udp), backend("default/six", &["[fd00:10:244::5]:53"]));
    let local = Backend {
        is_external: true,
        local: Some([endpoint("10.244.1.3:8080")].into()),
        ..backend("default/local", &["10.244.1.2:8080", "10.244.1.3:8080"])
    };
    nat.services.insert(service("203.0.113.1:80", Protocol::Tcp), local.clone());
    nat.node_ports.insert((Protocol::Tcp, 30081), local.clone());
    nat.node_ports.insert((Protocol::Tcp, 30082), Backend { local: Some([].into()), ..local });
    NatTable::open(node.open().as_fd()).unwrap().load(&Arc::new(nat)).unwrap();

    let listed = node.sh("nft list ruleset");
    for expected in [
        r#"10.96.0.10 . tcp . 80 comment "default/web:http" : goto endpoints-2"#,
        r#"10.96.0.10 . tcp . 80 . 1 comment "default/web:http" : 10.244.1.3 . 8080"#,
        r#"tcp . 30080 comment "default/web:http" : goto nodeport-2"#,
        r#"tcp . 30080 . 0 comment "default/web:http" : 10.244.1.2 . 8080"#,
        r#"10.96.0.11 . tcp . 443 comment "default/empty:https" : goto reject-chain"#,
        r#"10.96.0.11 comment "default/empty""#,
        "10.244.1.2 . 10.244.1.2",
        r#"203.0.113.1 . tcp . 80 comment "default/local" : goto external-local"#,
        r#"203.0.113.1 . tcp . 80 comment "default/local" : goto endpoints-2"#,
        r#"203.0.113.1 . tcp . 80 comment "default/local" : goto external-local-1"#,
        r#"203.0.113.1 . tcp . 80 . 0 comment "default/local" : 10.244.1.3 . 8080"#,
        r#"tcp . 30081 comment "default/local" : goto nodeport-local-1"#,
        r#"tcp . 30082 comment "default/local" : drop"#,
        "\tfib saddr type local ip daddr . meta l4proto . th dport vmap @external-cluster-policy",
        "\tip saddr 10.244.0.0/16 meta l4proto . th dport vmap @nodeport-cluster-policy",
        r#"fd00::1 . udp . 53 . 0 comment "default/six" : fd00:10:244::5 . 53"#,
        "\tip daddr . meta l4proto . th dport vmap @service-ips\n",
        "\tfib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports\n",
        "\tdnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @service-endpoints\n",
        "\tdnat ip to meta l4proto . th dport . numgen random mod 2 map @nodeport-endpoints\n",
        "\tdnat ip6 to ip6 daddr . meta l4proto . th dport . numgen random mod 1 map @service-endpoints\n",
        "\tip saddr 10.244.0.0/16 return comment \"pods\"\n",
        "\tip6 saddr fd00:10:244::/56 return comment \"pods\"\n",
        "\tip saddr . ip daddr @hairpin ct status dnat masquerade fully-random ",
    ] {
        assert!(listed.contains(expected), "{expected}\nis not in\n{listed}");
    }
    // Types and lengths are right if nft can build the same from its own listing.
    let again = node.sh("nft list ruleset > /run/listed; nft flush ruleset; nft -f /run/listed; nft list ruleset");
    assert_eq!(again, listed);
}

/// What `nft monitor` prints in `node` while `work` runs.
fn monitored(node: &Netns, work: impl FnOnce()) -> Vec<String> {
    let mut monitor = Command::new("ip")
        .args(["netns", "exec", &node.name, "nft", "monitor"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("nft starts");
    let output = BufReader::new(monitor.stdout.take().expect("its output"));
    let (sender, lines) = mpsc::channel();
    let reader =
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    // It says nothing when it is ready, so it is given something to say until it says it.
    let ready = "nft add table ip ready; nft delete table ip ready";
    while lines.recv_timeout(Duration::from_millis(100)).is_err() {
        node.sh(ready);
    }
    work();
    node.sh("nft add table ip end; nft delete table ip end");
    let seen = lines.iter().take_while(|line| line != "add table ip end");
    let seen = seen.filter(|line| !line.ends_with(" ready") && !line.starts_with('#')).collect();
    monitor.kill().expect("nft is there to be ended");
    monitor.wait().expect("nft ends");
    drop(lines);
    let _ = reader.join();
    seen
}

#[test]
fn change_touches_only_what_differs() {
    let node = Netns::new("touch.node");
    let mut table = NatTable::open(node.open().as_fd()).unwrap();
    let mut nat = web(&["10.244.1.2:8080", "10.244.1.3:8080", "10.244.1.4:8080"]);
    nat.node_ports = Chunked::default();
    for last in 11..250u8 {
        let backend = backend(&format!("default/other-{last}"), &["10.244.1.7:80", "10.244.1.8:80"]);
        nat.services
            .insert(ServiceAddress { address: [10, 96, 0, last].into(), protocol: Protocol::Tcp, port: 80 }, backend);
    }
    table.load(&Arc::new(nat.clone())).unwrap();

    let web = nat.services.get_mut(&service("10.96.0.10:80", Protocol::Tcp)).unwrap();
    web.endpoints.remove(&endpoint("10.244.1.2:8080"));
    let nat = Arc::new(nat);
    let mut seen = monitored(&node, || {
        let changed = table.change(&nat).unwrap();
        assert_eq!(changed, Changed { added: 2, deleted: 3, chains: 0, reloaded: false });
    });
    seen.sort();
    let element = |verb, map, text| format!("{verb} element ip nslab {map} {{ {text} }}");
    let named = r#"comment "default/web:http" :"#;
    let ips =
        |verb, count| element(verb, "service-ips", format!("10.96.0.10 . tcp . 80 {named} goto endpoints-{count}"));
    let slot = |verb, index, to| {
        element(verb, "service-endpoints", format!("10.96.0.10 . tcp . 80 . {index} {named} 10.244.1.{to} . 8080"))
    };
    let expected =
        [slot("create", 0, 4), ips("create", 2), slot("delete", 0, 2), slot("delete", 2, 4), ips("delete", 3)];
    assert_eq!(seen, expected);
    let seen = monitored(&node, || assert_eq!(table.change(&nat).unwrap(), Changed::default()));
    assert!(seen.is_empty(), "nothing differs, but: {seen:?}");
}

#[test]
fn a_ruleset_changed_by_another_hand_is_noticed_and_healed() {
    let mut lab = topology("drift", 1);
    let nat = Arc::new(web(&["10.244.1.2:8080"]));
    lab.table.load(&nat).unwrap();
    lab.node.sh("nft delete element ip nslab service-endpoints { 10.96.0.10 . tcp . 80 . 0 }");
    let error = lab.table.change(&Arc::new(web(&[]))).unwrap_err().to_string();
    assert!(error.contains("delete 1 elements of ip nslab service-endpoints"), "{error}");
    assert_eq!(get(&lab.client, "192.168.1.101:30080"), answer(&lab.pods[0], GATEWAY), "nothing of it took effect");
    lab.table.load(&nat).unwrap();
    assert_eq!(get(&lab.client, "10.96.0.10:80"), answer(&lab.pods[0], GATEWAY));
}

#[test]
fn ten_thousand_services_load_and_change() {
    let mut lab = topology("many", 3);
    let mut nat = empty();
    for number in 0..10_000u16 {
        let [high, low] = number.to_be_bytes();
        let address = [10, 100, high, low].into();
        let endpoints = ["10.244.1.2:8080", "10.244.1.3:8080", "10.244.1.4:8080"];
        let backend = backend(&format!("default/service-{number}:http"), &endpoints);
        nat.services.insert(ServiceAddress { address, protocol: Protocol::Tcp, port: 80 }, backend);
    }
    lab.table.load(&Arc::new(nat.clone())).unwrap();
    let listed = lab.node.sh("nft list map ip nslab service-endpoints | grep -c comment.*default/service-");
    assert_eq!(listed.trim(), "30000");
    let last = "10.100.39.15:80";
    assert_eq!(get(&lab.client, last).map(|answer| answer.client), Ok(GATEWAY.parse().unwrap()));

    let backend = nat.services.get_mut(&service(last, Protocol::Tcp)).unwrap();
    backend.endpoints = [endpoint("10.244.1.3:8080")].into();
    let changed = lab.table.change(&Arc::new(nat)).unwrap();
    assert_eq!(changed, Changed { added: 2, deleted: 4, chains: 1, reloaded: false });
    assert_eq!(get(&lab.pods[0], last), answer(&lab.pods[1], "10.244.1.2"));
}
