//! The whole lab as one value: what each lab of `labs/` comes to, compared with a file; and packets walked through it,
//! without root and without a kernel. `UPDATE_GOLDEN=1 cargo test --test golden` writes the files anew.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nslab::desired::{Desired, NetnsRole, Protocol};
use nslab::kernel::nft::model::Model;
use nslab::kernel::nft::walk::{Fate, Origin, Packet, Surroundings, walk};
use nslab::manifest::{self, Input, Options};
use nslab::object::lab::Lab;
use nslab::plan::Machine;
use nslab::supervisor::dry_run::dry_run;

/// One of `labs/`, or `dual`: a fixture with a Lab document.
fn desired(lab: &str) -> Desired {
    let below = if lab == "dual" { "tests/fixtures/dual.yaml".to_string() } else { format!("labs/{lab}") };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(below);
    let input = Input::from_argument(path.to_str().unwrap());
    let documents = manifest::read(&[input], Options::default()).unwrap();
    let (labs, others): (Vec<_>, Vec<_>) = documents.iter().partition(|document| document.object.kind_name() == "Lab");
    let lab = labs.first().map(|document| (*document.object.view::<Lab>().unwrap()).clone()).unwrap_or_default();
    let manifests: Vec<_> = others.iter().map(|document| document.object.to_value()).collect();
    dry_run("lab", Vec::new(), &lab, true, &manifests, &Machine::default()).unwrap().desired
}

/// The value as text, with what is drawn by lot (ClusterIPs, uids) under names of its own.
fn as_text(desired: &Desired) -> String {
    let mut text = serde_json::to_string_pretty(desired).unwrap();
    let given = ["10.96.0.1", "10.96.0.10", "10.96.7.7", "fd00:10:96::7", "fd00:10:96::6"];
    let given: Vec<IpAddr> = given.iter().map(|address| address.parse().unwrap()).collect();
    let nat = desired.nat.values().next().unwrap();
    for (address, backend) in nat.services.iter().filter(|(address, _)| !given.contains(&address.address)) {
        text = text.replace(&address.address.to_string(), &format!("CLUSTER-IP({})", backend.service));
    }
    for (key, pod) in &desired.pods {
        text = text.replace(&pod.uid, &format!("UID({key})"));
    }
    text + "\n"
}

#[test]
fn each_lab_comes_to_what_its_file_says() {
    for lab in ["nodeport", "clusterip", "dual"] {
        let golden: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{lab}.json"));
        let text = as_text(&desired(lab));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
            std::fs::write(&golden, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        let differing = text.lines().zip(expected.lines()).find(|(now, then)| now != then);
        assert!(text == expected, "labs/{lab} differs from {}: {differing:?}", golden.display());
    }
}

/// A connection from `source` by way of the node, at which it arrives (or on which it begins).
fn fate(desired: &Desired, node: &str, from: Origin, source: &str, destination: &str, port: u16, choice: u32) -> Fate {
    let netns = format!("lab.{node}");
    let model = Model::of(&desired.nat[&netns]).unwrap();
    let local: BTreeSet<IpAddr> = desired
        .veths
        .values()
        .flat_map(|veth| [&veth.inner, &veth.outer])
        .filter(|end| end.netns == netns)
        .flat_map(|end| end.addresses.iter().map(|net| net.addr()))
        .collect();
    let packet = Packet {
        source: source.parse().unwrap(),
        source_port: 40_000,
        destination: destination.parse().unwrap(),
        destination_port: port,
        protocol: Protocol::Tcp,
        from,
    };
    let surroundings =
        Surroundings { is_local: &|address| local.contains(&address), choose: &mut |below| choice.min(below - 1) };
    walk(&model, packet, surroundings).fate
}

#[test]
fn packets_of_the_nodeport_lab() {
    let desired = desired("nodeport");
    let pod = desired.pods.values().find(|pod| pod.namespace == "default").unwrap();
    let to = (pod.addresses[0], 80);
    for node in ["m-k8s", "w1-k8s", "w2-k8s", "w3-k8s"] {
        let address = desired.veths[&format!("lab.{node}/eth0")].inner.addresses[0].addr().to_string();
        let walked = fate(&desired, node, Origin::Link, "192.168.1.2", &address, 30000, 0);
        assert_eq!(walked, Fate::Dnat { to, masquerade: true }, "NodePort of {node}");
        let other = fate(&desired, node, Origin::Link, "192.168.1.2", &address, 30001, 0);
        assert_eq!(other, Fate::Accept { masquerade: false }, "another port of {node}");
    }
}

#[test]
fn packets_of_the_clusterip_lab() {
    let desired = desired("clusterip");
    let nat = &desired.nat["lab.w1-k8s"];
    let service = nat.services.iter().find(|(_, backend)| backend.service.starts_with("default/hostname-svc")).unwrap();
    let ip = service.0.address.to_string();
    let pods: Vec<_> = desired.pods.values().filter(|pod| pod.namespace == "default").collect();
    assert_eq!(pods.len(), 3);
    let reached: BTreeSet<_> = (0..3)
        .map(|choice| match fate(&desired, "w1-k8s", Origin::Node, "192.168.1.101", &ip, 8080, choice) {
            Fate::Dnat { to, .. } => to,
            other => panic!("from the node: {other:?}"),
        })
        .collect();
    assert_eq!(reached, pods.iter().map(|pod| (pod.addresses[0], 80)).collect(), "each pod by one choice");
    // From a pod the source stays as it is, unless the pod reaches itself.
    let on_w1 = pods.iter().find(|pod| pod.node == "w1-k8s").unwrap().addresses[0];
    for choice in 0..3 {
        let walked = fate(&desired, "w1-k8s", Origin::Link, &on_w1.to_string(), &ip, 8080, choice);
        let Fate::Dnat { to, masquerade } = walked else { panic!("from a pod: {walked:?}") };
        assert_eq!(masquerade, to.0 == on_w1, "to {}", to.0);
    }
    assert_eq!(fate(&desired, "w1-k8s", Origin::Link, &on_w1.to_string(), &ip, 8081, 0), Fate::Reject, "wrong port");
    assert_eq!(fate(&desired, "w1-k8s", Origin::Link, &on_w1.to_string(), "10.111.111.111", 80, 0), Fate::Drop);
    let api = fate(&desired, "w1-k8s", Origin::Link, &on_w1.to_string(), "10.96.0.1", 443, 0);
    // A node is no pod: what a pod sends it leaves under the address of the pod's own node.
    assert_eq!(api, Fate::Dnat { to: ("192.168.1.10".parse().unwrap(), 6443), masquerade: true });
}

/// Each family goes its own way, to the pods' addresses of that family.
#[test]
fn packets_of_a_dual_stack_lab() {
    let desired = desired("dual");
    let pods: Vec<_> = desired.pods.values().filter(|pod| pod.namespace == "default").collect();
    assert_eq!(pods.len(), 2);
    for (family, outside, node, service, strange) in [
        (0, "192.168.1.2", "192.168.1.101", "10.96.7.7", "10.96.7.8"),
        (1, "fd00:192:168:1::2", "fd00:192:168:1::101", "fd00:10:96::7", "fd00:10:96::8"),
    ] {
        let ends: BTreeSet<_> = pods.iter().map(|pod| (pod.addresses[family], 80)).collect();
        let walk = |from, source: &str, to, port, choice| fate(&desired, "w1-k8s", from, source, to, port, choice);
        let reached = |from, source: &str, to, port, masqueraded| -> BTreeSet<_> {
            let walked = (0..2).map(|choice| walk(from, source, to, port, choice));
            let to = walked.map(|walked| match walked {
                Fate::Dnat { to, masquerade } if masquerade == masqueraded => to,
                other => panic!("from {source}: {other:?}"),
            });
            to.collect()
        };
        assert_eq!(reached(Origin::Link, outside, node, 30080, true), ends);
        assert_eq!(reached(Origin::Node, node, service, 80, true), ends);
        let elsewhere = pods.iter().find(|pod| pod.node != "w1-k8s").unwrap().addresses[family].to_string();
        for choice in 0..2 {
            let walked = walk(Origin::Link, &elsewhere, service, 80, choice);
            let Fate::Dnat { to, masquerade } = walked else { panic!("from a pod: {walked:?}") };
            assert_eq!((ends.contains(&to), masquerade), (true, to.0.to_string() == elsewhere), "{to:?}");
        }
        assert_eq!(walk(Origin::Link, &elsewhere, strange, 80, 0), Fate::Drop);
        // Out into the world under the node's address.
        assert_eq!(walk(Origin::Link, &elsewhere, outside, 80, 0), Fate::Accept { masquerade: true });
    }
    // A pod's gateway is the first host of its node's subnet: with IPv6, not the subnet itself.
    let cable = &desired.veths[&format!("{}/eth0", pods[0].netns)];
    let gateways = cable.outer.addresses.iter().map(|net| net.addr()).filter(|ip| !ip.to_string().starts_with("fe80:"));
    assert!(gateways.clone().all(|ip| ip.to_string().ends_with(if ip.is_ipv4() { ".1" } else { "::1" })));
    assert_eq!(gateways.count(), 2);
    // A Service of one family stands in that family's table alone.
    let six = desired.nat["lab.w1-k8s"].services.iter().filter(|(_, backend)| backend.service == "default/six");
    assert_eq!(six.map(|(at, _)| at.address.to_string()).collect::<Vec<_>>(), ["fd00:10:96::6"]);
}

/// Every cable has both its namespaces, every name fits the kernel, every pod has a route on its node.
#[test]
fn a_lab_hangs_together() {
    for lab in ["nodeport", "clusterip", "dual"] {
        let desired = desired(lab);
        let mut names = BTreeSet::new();
        for veth in desired.veths.values() {
            for end in [&veth.inner, &veth.outer] {
                assert!(end.netns.is_empty() || desired.netns.contains_key(&end.netns), "{}", end.netns);
                assert!(end.name.len() <= 15, "{}", end.name);
                assert!(names.insert((end.netns.clone(), end.name.clone())), "{} twice in {}", end.name, end.netns);
            }
        }
        for pod in desired.pods.values() {
            assert_eq!(desired.netns[&pod.netns].role, NetnsRole::Pod);
            let cable = &desired.veths[&format!("{}/eth0", pod.netns)];
            for address in &pod.addresses {
                assert!(cable.outer.routes.iter().any(|route| route.to.addr() == *address), "{}: {address}", pod.name);
            }
        }
    }
}
