//! The lab's network in the real kernel. To be run as root by `scripts/sandbox cargo test --test kernel_net`, which
//! plays the machine; iproute2 is the witness that nobody here wrote.

mod net_rig;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use nslab::desired::{Bridge, NetnsRole, Route, Veth};
use nslab::layout::IP_NETNS;

use net_rig::*;

#[test]
fn the_lab_is_one_network_and_iproute2_sees_it() {
    let bench = Bench::new("t");
    let network = bench.network();
    let topology = topology();
    bring_up(&network, &topology);
    assert_everything_reaches_everything(&network);

    let names: BTreeSet<String> =
        json("ip -j netns list").as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap().into()).collect();
    let wanted: BTreeSet<String> =
        topology.netns.keys().cloned().chain(topology.pods.iter().map(|(name, ..)| name.clone())).collect();
    assert_eq!(names, wanted);
    assert_eq!(network.existing().unwrap(), wanted.into_iter().collect::<Vec<_>>());

    let link = &json("ip -j -d -n t.w1 link show pod21")[0];
    assert_eq!(link["address"], "02:00:00:00:00:79");
    assert_eq!(link["altnames"], serde_json::json!(["a-readable-name-of-t.default.a"]));
    assert_eq!((&link["num_tx_queues"], &link["num_rx_queues"]), (&1.into(), &1.into()));
    assert_eq!(link["inet6_addr_gen_mode"], "none");
    let link = &json("ip -j -d -n t.default.a link show eth0")[0];
    assert_eq!((&link["address"], &link["ifindex"]), (&"02:00:00:00:00:15".into(), &2.into()));
    assert_eq!(link["operstate"], "UP");

    let bridge = &json("ip -j -d -n t.lan link show lan0")[0];
    assert_eq!(bridge["address"], "02:00:00:00:00:09");
    let data = &bridge["linkinfo"]["info_data"];
    assert_eq!((&data["stp_state"], &data["mcast_snooping"]), (&0.into(), &0.into()));
    let ports = json("ip -j -n t.lan link show master lan0");
    assert_eq!(ports.as_array().unwrap().len(), topology.veths.len());

    let routes = json("ip -j -n t.default.a route");
    assert_eq!(
        routes.as_array().unwrap().iter().map(|r| (&r["dst"], &r["gateway"], &r["scope"])).collect::<Vec<_>>(),
        [
            (&"default".into(), &"10.244.1.1".into(), &serde_json::Value::Null),
            (&"10.244.1.1".into(), &serde_json::Value::Null, &"link".into()),
        ]
    );
    // The first namespace's pid 1 has no part in it.
    let pids = run("ip netns exec t.default.b sh -c 'echo $$; ip netns identify $$'");
    assert_eq!(pids.lines().nth(1), Some("t.default.b"));
}

#[test]
fn a_switch_that_looks_into_packets_makes_no_difference() {
    let bench = Bench::new("t");
    let network = bench.network();
    bring_up(&network, &topology());
    let switch = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    for value in ["0", "1"] {
        for name in ["t.lan", "t.w1", "t.w2"] {
            inside(&network, name, || {
                if Path::new(switch).exists() {
                    std::fs::write(switch, value).unwrap();
                }
            });
        }
        assert_everything_reaches_everything(&network);
    }
}

/// What the kernel has, in a form that is equal if and only if nothing was made anew. A carrier is left out: the kernel
/// notices it some time after a link has come up.
fn snapshot() -> String {
    run("(for n in $(ls /run/netns); do echo $n; ip -n $n -o link; ip -n $n -o addr; ip -n $n route; \
         ip -n $n -6 route; done; ls -Li /run/netns; ip -o link; ip -o addr; ip route) \
         | sed -E 's/<[^>]*>|state [A-Z]+|qdisc [a-z]+|linkdown//g'")
}

#[test]
fn adding_what_is_there_changes_nothing() {
    let bench = Bench::new("t");
    let topology = topology();
    let network = bench.network();
    bring_up(&network, &topology);
    let before = snapshot();
    bring_up(&network, &topology);
    assert_eq!(before, snapshot());
    // The same after a crash: a new process, which knows nothing.
    drop(network);
    let network = bench.network();
    bring_up(&network, &topology);
    assert_eq!(before, snapshot());
    assert_everything_reaches_everything(&network);
}

/// The same with IPv6 at its side: 10.244.1.2 is also fd00:10:244:1::2.
fn dual() -> Topology {
    let six = |net: &IpNet| -> IpNet {
        let address = net.addr().to_string();
        let [a, b, c, d] = address.split('.').collect::<Vec<_>>()[..] else { panic!("{net}") };
        match net.prefix_len() {
            0 => "::/0".parse().unwrap(),
            len => format!("fd00:{a}:{b}:{c}::{d}/{}", if len == 32 { 128 } else { 64 }).parse().unwrap(),
        }
    };
    let mut topology = topology();
    let pods = topology.pods.iter_mut().map(|(_, _, veth)| veth);
    for veth in topology.veths.iter_mut().chain(pods) {
        for end in [&mut veth.inner, &mut veth.outer] {
            end.addresses.extend(end.addresses.iter().map(six).collect::<Vec<_>>());
            let via = |via: std::net::IpAddr| six(&IpNet::from(via)).addr();
            let routes = end.routes.iter().map(|r| Route { to: six(&r.to), via: r.via.map(via), source: None });
            end.routes.extend(routes.collect::<Vec<_>>());
            if end.netns.starts_with("t.w") {
                end.addresses.push(format!("fe80::{}/64", end.mac.0[5]).parse().unwrap());
            }
        }
    }
    topology
}

#[test]
fn ipv6_works_at_once_and_is_made_once() {
    let bench = Bench::new("t");
    let topology = dual();
    let network = bench.network();
    bring_up(&network, &topology);
    // Between pods of one node and of two, from a node, from outside: at once, before the kernel has tried anything out.
    for (server, address) in [("t.default.a", "fd00:10:244:1::2"), ("t.default.c", "fd00:10:244:2::2")] {
        let listening = inside(&network, server, || TcpListener::bind((address, 8080)).unwrap());
        for client in ["t.default.b", "t.default.c", "t.default.a", "t.w1", "t.w2", "t.client"] {
            let to = SocketAddr::new(address.parse().unwrap(), 8080);
            let connect = || TcpStream::connect_timeout(&to, Duration::from_millis(900));
            inside(&network, client, connect).unwrap_or_else(|error| panic!("{client} to {server}: {error}"));
            listening.accept().unwrap();
        }
    }
    assert_everything_reaches_everything(&network);
    // Only routers have a link-local address, and nobody has one that the kernel made.
    assert_eq!(run("ip -n t.default.a -6 -o addr show dev eth0 scope link"), "");
    assert_eq!(run("ip -n t.w1 -6 -o addr show scope link").lines().count(), 3);
    let before = snapshot();
    bring_up(&network, &topology);
    assert_eq!(before, snapshot());
    drop(network);
    bring_up(&bench.network(), &topology);
    assert_eq!(before, snapshot());
}

#[test]
fn what_a_crash_left_half_made_is_completed() {
    let bench = Bench::new("t");
    let topology = topology();
    let network = bench.network();
    bring_up(&network, &topology);
    drop(network);

    // A namespace's file without a namespace, a cable without addresses, a route less, a link down, a symlink less.
    std::fs::write(bench.layout.netns("t.half"), "").unwrap();
    run("ip -n t.default.a addr flush dev eth0");
    run("ip -n t.default.b link set eth0 down");
    run("ip -n t.w2 route del 10.244.1.0/24");
    run("ip -n t.client link set lo down");
    std::fs::remove_file(Path::new(IP_NETNS).join("t.default.c")).unwrap();
    run("umount /run/nslab/t/netns/t.client");

    let network = bench.network();
    let existing = network.existing().unwrap();
    assert!(!existing.contains(&"t.half".to_string()) && !existing.contains(&"t.client".to_string()), "{existing:?}");
    bring_up(&network, &topology);
    assert_everything_reaches_everything(&network);
    assert_pings(&network, "t.client", "127.0.0.1");
    assert_eq!(run("ls /run/nslab/t/netns").lines().count(), 7);
}

#[test]
fn another_shape_replaces_the_old_one() {
    let bench = Bench::new("t");
    let mut topology = topology();
    let network = bench.network();
    bring_up(&network, &topology);

    let veth = &mut topology.pods[0].2;
    veth.inner.addresses = vec![net("10.244.1.77/32")];
    veth.outer.routes = BTreeSet::from([route("10.244.1.77/32", None)]);
    topology
        .netns
        .get_mut("t.lan")
        .unwrap()
        .bridges
        .insert("lan1".into(), Bridge { mac: mac(8), addresses: vec![net("172.16.0.1/24")] });
    bring_up(&network, &topology);
    assert_pings(&network, "t.w1", "10.244.1.77");
    assert_eq!(json("ip -j -n t.lan addr show lan1")[0]["addr_info"][0]["local"], "172.16.0.1");
    assert_eq!(run("ip -n t.w1 route show 10.244.1.2"), "");
}

#[test]
fn a_taken_interface_number_is_no_obstacle() {
    let bench = Bench::new("t");
    let topology = topology();
    let network = bench.network();
    bring_up(&network, &topology);
    // As tunnel modules do: the number that the next cable would get is taken.
    let taken = json("ip -j -n t.w1 link").as_array().unwrap().iter().map(|l| l["ifindex"].as_u64().unwrap()).max();
    run(&format!("ip -n t.w1 link add taken index {} type bridge", taken.unwrap() + 1));
    let veth = pod_veth("t.default.d", "t.w1", "10.244.1.1", "10.244.1.9", 29);
    network.add_netns("t.default.d", &netns(NetnsRole::Pod)).unwrap();
    network.add_veth(&veth).unwrap();
    assert_pings(&network, "t.default.d", "10.244.1.2");
    assert_eq!(run("ip -n t.w1 -o addr show dev taken"), "");
}

#[test]
fn two_threads_make_pods_at_once_and_removed_ones_come_back() {
    let bench = Bench::new("t");
    let network = bench.network();
    bring_up(&network, &topology());
    let pods: Vec<(String, Veth)> = (0..40)
        .map(|n| {
            let name = format!("t.many.p{n}");
            let veth = pod_veth(&name, "t.w1", "10.244.1.1", &format!("10.244.1.{}", n + 100), n + 40);
            (name, veth)
        })
        .collect();
    for _ in 0..3 {
        let network = &network;
        thread::scope(|scope| {
            for half in pods.chunks(20) {
                scope.spawn(move || {
                    for (name, veth) in half {
                        network.add_netns(name, &netns(NetnsRole::Pod)).unwrap();
                        network.add_veth(veth).unwrap();
                    }
                });
            }
        });
        for (_, veth) in &pods {
            assert_pings(network, "t.client", &veth.inner.addresses[0].addr().to_string());
        }
        // The kernel destroys them later; making them again must not wait for that, nor stumble over it.
        for (name, _) in &pods {
            network.remove_netns(name).unwrap();
            network.remove_netns(name).unwrap();
        }
    }
}

#[test]
fn a_cable_can_be_pulled() {
    let bench = Bench::new("t");
    let topology = topology();
    let network = bench.network();
    bring_up(&network, &topology);
    for veth in &topology.veths {
        network.remove_veth(veth).unwrap();
        network.remove_veth(veth).unwrap();
    }
    assert_eq!(json("ip -j -n t.lan link show master lan0").as_array().unwrap().len(), 0);
    assert_eq!(run("ip -o link | wc -l").trim(), "1");
}

#[test]
fn the_caller_stays_in_its_namespace() {
    let bench = Bench::new("t");
    let before = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let network = bench.network();
    bring_up(&network, &topology());
    assert_eq!(std::fs::read_link("/proc/thread-self/ns/net").unwrap(), before);
}

#[test]
fn errors_name_the_object_and_the_next_step() {
    let bench = Bench::new("t");
    let topology = topology();
    run("ip link add nslab-t type bridge");
    run("ip netns add t.w2");
    let network = bench.network();
    network.add_netns("t.lan", &topology.netns["t.lan"]).unwrap();
    let error = network.add_veth(&topology.veths[3]).unwrap_err().to_string();
    assert!(
        error.contains("nslab-t in this machine's own network namespace") && error.contains("`ip link`"),
        "{error}"
    );
    let error = network.add_netns("t.w2", &topology.netns["t.w2"]).unwrap_err().to_string();
    assert!(error.contains("/run/netns/t.w2") && error.contains("--name"), "{error}");
    assert_eq!(network.existing().unwrap(), ["t.lan"]);
    let error = network.add_veth(&topology.veths[0]).unwrap_err().to_string();
    assert!(error.contains("t.w1") && error.contains("none of that name"), "{error}");

    // Without privilege: the errno, and what to do about it.
    let denied = thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        drop_capabilities();
        network.add_netns("t.w1", &netns(NetnsRole::Node)).unwrap_err().to_string()
    });
    let denied = denied.join().unwrap();
    assert!(denied.contains("create network namespace t.w1") && denied.contains("root"), "{denied}");
    run("ip link del nslab-t; ip netns del t.w2");
}
