mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::Arc;

use common::Netns;
use nslab::desired::{Backend, Nat, Protocol, ServiceAddress};
use nslab::kernel::nft::NatTable;

#[test]
fn smoke() {
    let node = Netns::new("smoke");
    let mut table = NatTable::open(node.open().as_fd()).unwrap();
    let mut nat = Nat {
        pod_subnets: vec!["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/56".parse().unwrap()],
        service_subnets: vec!["10.96.0.0/12".parse().unwrap()],
        ..Nat::default()
    };
    let ep = |s: &str| -> (std::net::IpAddr, u16) {
        let a: std::net::SocketAddr = s.parse().unwrap();
        (a.ip(), a.port())
    };
    nat.services.insert(
        ServiceAddress { address: "10.96.0.10".parse().unwrap(), protocol: Protocol::Tcp, port: 80 },
        Backend {
            service: "default/web:http".into(),
            endpoints: BTreeSet::from([ep("10.244.1.2:8080"), ep("10.244.1.3:8080")]),
        },
    );
    nat.services.insert(
        ServiceAddress { address: "10.96.0.10".parse().unwrap(), protocol: Protocol::Udp, port: 53 },
        Backend { service: "default/web:dns".into(), endpoints: BTreeSet::from([]) },
    );
    nat.services.insert(
        ServiceAddress { address: "fd00:96::10".parse().unwrap(), protocol: Protocol::Udp, port: 53 },
        Backend { service: "default/web:dns".into(), endpoints: BTreeSet::from([ep("[fd00:10:244::5]:80")]) },
    );
    nat.node_ports.insert((Protocol::Tcp, 30080), nat.services.values().next().unwrap().clone());
    nat.node_ports.insert((Protocol::Tcp, 30081), Backend { service: "default/x".into(), endpoints: BTreeSet::new() });
    nat.hairpin.insert("10.244.1.2".parse().unwrap());
    nat.hairpin.insert("fd00:10:244::5".parse().unwrap());
    table.load(&Arc::new(nat.clone())).unwrap();
    println!("{}", node.sh("nft list ruleset"));
    table.load(&Arc::new(nat)).unwrap();
    let _ = BTreeMap::<u8, u8>::new();
}
