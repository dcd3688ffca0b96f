//! The lab's network in the real kernel. To be run as root by `scripts/sandbox cargo test --test kernel_net`, which
//! plays the machine; iproute2 is the witness that nobody here wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recvfrom, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use nslab::desired::{Bridge, End, Mac, Netns, NetnsRole, Route, Veth};
use nslab::kernel::net::Network;
use nslab::kernel::preflight::{self, Finding, Level, Subnet, Wanted};
use nslab::kernel::teardown::teardown;
use nslab::layout::{IP_NETNS, Layout};

/// The tests share the sandbox's /run and its first namespace.
static MACHINE: Mutex<()> = Mutex::new(());

/// A lab of its own on the sandboxed machine, taken down at the end whatever happens.
struct Bench {
    layout: Layout,
    _machine: MutexGuard<'static, ()>,
}

impl Bench {
    fn new(lab: &str) -> Self {
        let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let sandboxed = std::fs::read_to_string("/proc/1/cmdline").is_ok_and(|line| line.contains("sandbox"));
        assert!(nix::unistd::geteuid().is_root() && sandboxed, "run it as root by scripts/sandbox");
        Bench { layout: Layout::new(lab), _machine: machine }
    }

    fn network(&self) -> Network {
        Network::open(&self.layout).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        teardown(&self.layout);
    }
}

/// Runs a command and returns what it printed; it has to succeed.
fn run(line: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(&run(line)).unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn mac(last: u8) -> Mac {
    Mac([0x02, 0, 0, 0, 0, last])
}

fn netns(role: NetnsRole) -> Netns {
    Netns { role, forwarding: role == NetnsRole::Node, bridges: BTreeMap::new() }
}

fn end(netns: &str, name: &str, last: u8) -> End {
    End {
        netns: netns.into(),
        name: name.into(),
        altname: None,
        mac: mac(last),
        addresses: Vec::new(),
        bridge: None,
        routes: BTreeSet::new(),
    }
}

fn route(to: &str, via: Option<&str>) -> Route {
    Route { to: net(to), via: via.map(|via| via.parse().unwrap()), source: None }
}

/// A machine on the LAN: its cable into the LAN's bridge.
fn machine_veth(netns: &str, eth: &str, address: &str, last: u8) -> Veth {
    let mut veth = Veth { inner: end(netns, eth, last), outer: end("t.lan", &format!("port{last}"), last + 100) };
    veth.inner.addresses = vec![net(address)];
    veth.outer.bridge = Some("lan0".into());
    veth.outer.altname = Some(format!("port-of-{netns}-{last}"));
    veth
}

/// A pod's cable into its node.
fn pod_veth(pod: &str, node: &str, gateway: &str, address: &str, last: u8) -> Veth {
    let mut veth = Veth { inner: end(pod, "eth0", last), outer: end(node, &format!("pod{last}"), last + 100) };
    veth.inner.addresses = vec![net(&format!("{address}/32"))];
    veth.inner.routes = BTreeSet::from([route(&format!("{gateway}/32"), None), route("0.0.0.0/0", Some(gateway))]);
    veth.outer.addresses = vec![net(&format!("{gateway}/32"))];
    veth.outer.routes = BTreeSet::from([route(&format!("{address}/32"), None)]);
    veth.outer.altname = Some(format!("a-readable-name-of-{pod}"));
    veth
}

const PODS: [(&str, &str, &str, &str, u8); 3] = [
    ("t.default.a", "t.w1", "10.244.1.1", "10.244.1.2", 21),
    ("t.default.b", "t.w1", "10.244.1.1", "10.244.1.3", 22),
    ("t.default.c", "t.w2", "10.244.2.1", "10.244.2.2", 23),
];

/// Everything of a small lab: a LAN, two nodes, the client, this machine, three pods.
struct Topology {
    netns: BTreeMap<String, Netns>,
    veths: Vec<Veth>,
    pods: Vec<(String, Netns, Veth)>,
}

fn topology() -> Topology {
    let mut lan = netns(NetnsRole::Lan);
    lan.bridges.insert("lan0".into(), Bridge { mac: mac(9), addresses: Vec::new() });
    let mut w1 = machine_veth("t.w1", "eth0", "192.168.1.101/24", 1);
    w1.inner.routes = BTreeSet::from([route("10.244.2.0/24", Some("192.168.1.102"))]);
    let mut w2 = machine_veth("t.w2", "eth0", "192.168.1.102/24", 2);
    w2.inner.routes = BTreeSet::from([route("10.244.1.0/24", Some("192.168.1.101"))]);
    let mut client = machine_veth("t.client", "eth0", "192.168.1.2/24", 3);
    client.inner.routes =
        BTreeSet::from([route("10.244.1.0/24", Some("192.168.1.101")), route("10.244.2.0/24", Some("192.168.1.102"))]);
    let machine = machine_veth("", "nslab-t", "192.168.1.1/24", 4);
    Topology {
        netns: BTreeMap::from([
            ("t.lan".to_string(), lan),
            ("t.w1".to_string(), netns(NetnsRole::Node)),
            ("t.w2".to_string(), netns(NetnsRole::Node)),
            ("t.client".to_string(), netns(NetnsRole::Client)),
        ]),
        veths: vec![w1, w2, client, machine],
        pods: PODS
            .map(|(pod, node, gateway, address, last)| {
                (pod.to_string(), netns(NetnsRole::Pod), pod_veth(pod, node, gateway, address, last))
            })
            .to_vec(),
    }
}

fn bring_up(network: &Network, topology: &Topology) {
    for (name, netns) in &topology.netns {
        network.add_netns(name, netns).unwrap();
    }
    for veth in &topology.veths {
        network.add_veth(veth).unwrap();
    }
    for (name, netns, veth) in &topology.pods {
        network.add_netns(name, netns).unwrap();
        network.add_veth(veth).unwrap();
    }
}

/// Runs something in a namespace of the lab, on a thread of its own.
fn inside<T: Send>(network: &Network, name: &str, work: impl FnOnce() -> T + Send) -> T {
    let fd = network.netns_fd(name).unwrap();
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(fd, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// One echo request and its reply. (Not every machine has `ping`.)
fn assert_pings(network: &Network, from: &str, to: &str) {
    let to: Ipv4Addr = to.parse().unwrap();
    let ping = || {
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp).unwrap();
        setsockopt(&raw, sockopt::ReceiveTimeout, &TimeVal::new(2, 0)).unwrap();
        // Type 8, code 0, checksum, identifier "ns", sequence 1.
        let request = [8, 0, 0x89, 0x8b, b'n', b's', 0, 1];
        sendto(raw.as_raw_fd(), &request, &SockaddrIn::from(SocketAddrV4::new(to, 0)), MsgFlags::empty())?;
        loop {
            let mut packet = [0; 256];
            let (length, sender) = recvfrom::<SockaddrIn>(raw.as_raw_fd(), &mut packet)?;
            // An IPv4 header of 20 bytes, then type 0: the reply.
            if sender.is_some_and(|s| s.ip() == to) && packet[20..length].starts_with(&[0, 0]) && length >= 28 {
                return Ok::<_, nix::Error>(());
            }
        }
    };
    let answer = if from.is_empty() { ping() } else { inside(network, from, ping) };
    answer.unwrap_or_else(|errno| panic!("no answer to {from} from {to}: {errno}"));
}

fn assert_tcp(network: &Network, from: &str, to: &str, address: &str) {
    let address: IpAddr = address.parse().unwrap();
    let listener = inside(network, to, || TcpListener::bind((address, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let mut client =
        inside(network, from, || TcpStream::connect_timeout(&(address, port).into(), Duration::from_secs(2)).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    let sent = vec![7u8; 1 << 20];
    let received = thread::scope(|scope| {
        scope.spawn(|| {
            client.write_all(&sent).unwrap();
            drop(client);
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        received
    });
    assert!(received == sent, "{from} -> {to}");
}

fn assert_everything_reaches_everything(network: &Network) {
    let addresses: Vec<(&str, &str)> = PODS
        .iter()
        .map(|(pod, _, _, address, _)| (*pod, *address))
        .chain([("t.w1", "192.168.1.101"), ("t.w2", "192.168.1.102"), ("t.client", "192.168.1.2")])
        .collect();
    for (from, _) in &addresses {
        for (to, address) in addresses.iter().filter(|(to, _)| to != from) {
            // A pod's way to the client is masqueraded in life; without NAT the client's routes must do.
            assert_pings(network, from, address);
            assert_tcp(network, from, to, address);
        }
    }
    for node in ["192.168.1.101", "192.168.1.102", "192.168.1.2"] {
        assert_pings(network, "", node);
    }
}

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

/// Takes every capability from the calling thread, and from it only.
fn drop_capabilities() {
    let header = [0x2008_0522u32, 0];
    let none = [0u32; 6];
    // SAFETY: capset reads a header of two words and, for version 3, six words of data; both outlive the call.
    let result = unsafe { nix::libc::syscall(nix::libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0);
}

fn preflight(bench: &Bench, host: bool) -> Vec<Finding> {
    let subnet = |role, field, text: &str| Subnet { net: net(text), role, field };
    let subnets = vec![subnet("LAN", "lanSubnet", "192.168.1.0/24"), subnet("pod", "podSubnet", "10.244.0.0/16")];
    preflight::check(&bench.layout, &Wanted { subnets, host, nodes: 2, pods: 3 })
}

#[test]
fn preflight_finds_nothing_on_a_machine_that_is_fit_even_with_the_lab_up() {
    let bench = Bench::new("t");
    assert_eq!(preflight(&bench, true), []);
    bring_up(&bench.network(), &topology());
    assert_eq!(preflight(&bench, true), []);
    // Another lab would want the same subnet of the same machine.
    let other = Layout::new("t2");
    let subnets = vec![Subnet { net: net("192.168.1.0/24"), role: "LAN", field: "lanSubnet" }];
    let findings = preflight::check(&other, &Wanted { subnets, host: true, nodes: 2, pods: 3 });
    assert!(findings[0].why.contains("nslab-t") && findings[0].level == Level::Error, "{findings:?}");
    // Nobody holds the lock that this lab's supervisor would.
    assert!(findings[1].what.contains("\"t\"") && findings[1].fix.contains("lab down --name t"), "{findings:?}");
    assert_eq!(findings.len(), 2);
}

#[test]
fn preflight_finds_clashes_and_leftovers() {
    let bench = Bench::new("t");
    run("ip link add up0 type bridge; ip link set up0 up; ip addr add 10.244.7.1/32 dev up0");
    run(
        "ip route add 192.168.0.0/16 via 10.244.7.2 dev up0 onlink; ip route add default via 10.244.7.2 dev up0 onlink",
    );
    run("ln -s /run/nslab/gone/netns/gone.w1 /run/netns/gone.w1");
    let findings = preflight(&bench, true);
    let found: Vec<(&str, &str)> = findings.iter().map(|f| (f.what.as_str(), f.why.as_str())).collect();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].1.contains("route 192.168.0.0/16 via 10.244.7.2 dev up0"), "{found:?}");
    assert!(found[1].1.contains("address 10.244.7.1/32 of up0"), "{found:?}");
    assert!(found[2].0.contains("/run/netns/gone.w1"), "{found:?}");
    let apart = preflight(&bench, false);
    assert_eq!(apart.len(), 1, "{apart:?}");
    run("ip link del up0; rm /run/netns/gone.w1");

    let denied = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            drop_capabilities();
            preflight(&bench, true)
        });
        thread.join().unwrap()
    });
    assert!(denied[0].what.contains("CAP_NET_ADMIN") && denied[0].level == Level::Error, "{denied:?}");
}

/// What is left of a lab on the machine.
fn traces() -> Vec<String> {
    let mut traces: Vec<String> = Vec::new();
    for dir in [IP_NETNS, "/run/nslab", "/var/lib/nslab"] {
        let entries = std::fs::read_dir(dir).into_iter().flatten();
        traces.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    traces.extend(mounts.lines().filter(|line| line.contains("/run/nslab/")).map(String::from));
    let links = run("ip -o link");
    traces.extend(links.lines().filter(|line| !line.contains(" lo: ")).map(String::from));
    traces
}

#[test]
fn teardown_leaves_nothing_and_can_be_repeated() {
    let bench = Bench::new("t");
    let network = bench.network();
    bring_up(&network, &topology());
    drop(network);
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.removed.namespaces.len(), 7);
    assert_eq!(traces(), Vec::<String>::new());
    let again = teardown(&bench.layout);
    assert!(again.is_clean() && again.removed.namespaces.is_empty(), "{again:?}");
}

#[test]
fn two_teardowns_at_once_are_as_good_as_one() {
    let bench = Bench::new("t");
    let network = bench.network();
    bring_up(&network, &topology());
    drop(network);
    let layout = &bench.layout;
    let reports = thread::scope(|scope| {
        let threads = [scope.spawn(|| teardown(layout)), scope.spawn(|| teardown(layout))];
        threads.map(|thread| thread.join().unwrap())
    });
    for report in reports {
        assert!(report.is_clean(), "{report:?}");
    }
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
fn teardown_leaves_alone_what_is_not_the_labs() {
    let bench = Bench::new("t");
    run("ip netns add t.foreign; ip link add t-foreign type bridge; echo mine > /run/netns/t.file");
    run("ln -s /run/nslab/other/netns/t.x /run/netns/t.link");
    let other = Layout::new("t2");
    let network = Network::open(&other).unwrap();
    network.add_netns("t2.w1", &netns(NetnsRole::Node)).unwrap();
    bring_up(&bench.network(), &topology());

    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    let left = run("ls /run/netns");
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["t.file", "t.foreign", "t.link", "t2.w1"]);
    run("ip netns exec t.foreign true; ip netns exec t2.w1 true; ip link show t-foreign");
    assert_eq!(network.existing().unwrap(), ["t2.w1"]);
    drop(network);
    assert!(teardown(&other).is_clean());
    run("rm /run/netns/t.file /run/netns/t.link; ip netns del t.foreign; ip link del t-foreign");
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
fn teardown_says_who_keeps_a_namespace() {
    let bench = Bench::new("t");
    bring_up(&bench.network(), &topology());
    let mut keeper = Command::new("ip").args(["netns", "exec", "t.w1", "sleep", "1000"]).spawn().unwrap();
    wait_until(|| {
        let there = std::fs::read_link(format!("/proc/{}/exe", keeper.id()));
        there.is_ok_and(|exe| !exe.ends_with("ip"))
    });
    let report = teardown(&bench.layout);
    assert!(!report.is_clean());
    let left = format!("{:?}", report.left);
    assert!(left.contains("t.w1") && left.contains(&keeper.id().to_string()), "{left}");
    assert!(keeper.try_wait().unwrap().is_none(), "it is not the lab's to kill");
    keeper.kill().unwrap();
    keeper.wait().unwrap();
}

#[test]
fn a_copy_of_the_machines_mounts_holds_nothing_back() {
    let bench = Bench::new("t");
    run("mount --make-shared /run");
    bring_up(&bench.network(), &topology());
    // As systemd does for a service with PrivateTmp.
    let copier = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        run("mount --make-rslave /");
        thread::park();
        std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
    });
    wait_until(|| {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let copies = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("mountinfo")).ok());
        copies.filter(|mounts| mounts.contains("/run/nslab/t/netns") && mounts.contains("master:")).count() >= 1
    });
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    copier.thread().unpark();
    let mounts = copier.join().unwrap();
    assert!(!mounts.contains("/run/nslab/t/netns"), "{mounts}");
    run("mount --make-private /run");
}

#[test]
fn teardown_keeps_volume_data_and_says_where() {
    let bench = Bench::new("t");
    bring_up(&bench.network(), &topology());
    let root: PathBuf = bench.layout.node_root("w1");
    std::fs::create_dir_all(root.join("data")).unwrap();
    std::fs::write(root.join("data/file"), "mine").unwrap();
    std::fs::create_dir_all(bench.layout.node_root("w2").join("empty")).unwrap();
    std::fs::create_dir_all(bench.layout.pod_logs("default", "a", "1")).unwrap();
    std::fs::write(bench.layout.store(), "log").unwrap();
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.kept, std::slice::from_ref(&root));
    assert_eq!(std::fs::read_to_string(root.join("data/file")).unwrap(), "mine");
    assert_eq!(run("cd /var/lib/nslab && find . -type f"), "./t/nodes/w1/root/data/file\n");
    nslab::kernel::teardown::remove_volumes(&bench.layout).unwrap();
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
fn teardown_ends_the_nodes_that_are_still_the_recorded_ones() {
    let bench = Bench::new("t");
    bring_up(&bench.network(), &topology());
    // A node as its runtime would make it: the first process of a pid namespace, with another one in it.
    let node = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "sh", "-c", "sleep 1000 & wait"])
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", node.id());
    let child = |of: &str| {
        std::fs::read_to_string(of).ok().and_then(|pids| pids.split_whitespace().next()?.parse::<u32>().ok())
    };
    wait_until(|| child(&children).is_some_and(|init| child(&format!("/proc/{init}/task/{init}/children")).is_some()));
    let init = child(&children).unwrap();
    let sleeper = child(&format!("/proc/{init}/task/{init}/children")).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{init}/stat")).unwrap();
    let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_string();
    // Another process that has come to the number of a node that ended long ago.
    let mut innocent = Command::new("sleep").arg("1000").spawn().unwrap();
    for (name, record) in [
        ("w1", format!("{init} {started}\n")),
        ("w2", format!("{} 1\n", innocent.id())),
        ("w3", format!("{init}")),
        ("w4", "4194304 7\n".to_string()),
    ] {
        let directory = bench.layout.node_run(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("pid"), record).unwrap();
    }
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.removed.nodes, ["w1"]);
    assert!(!Path::new(&format!("/proc/{sleeper}")).exists());
    assert!(innocent.try_wait().unwrap().is_none(), "it is not the lab's to kill");
    for mut process in [node, innocent] {
        let _ = process.kill();
        process.wait().unwrap();
    }
    assert_eq!(traces(), Vec::<String>::new());
}

#[test]
fn teardown_unmounts_what_stands_in_the_labs_directories_and_nothing_behind_it() {
    let bench = Bench::new("t");
    bring_up(&bench.network(), &topology());
    std::fs::create_dir_all("/run/precious").unwrap();
    std::fs::write("/run/precious/file", "mine").unwrap();
    let target = bench.layout.node_root("w1").join("with blank");
    std::fs::create_dir_all(&target).unwrap();
    run(&format!("mount --bind /run/precious '{}'", target.display()));
    run(
        "mkdir /run/nslab/t/x && mount -t tmpfs x /run/nslab/t/x && mkdir /run/nslab/t/x/y && mount -t tmpfs y /run/nslab/t/x/y",
    );
    let report = teardown(&bench.layout);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.removed.mounts, 3);
    assert_eq!(std::fs::read_to_string("/run/precious/file").unwrap(), "mine");
    run("rm -r /run/precious");
    assert_eq!(traces(), Vec::<String>::new());
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it did not come about within 10 s");
        thread::yield_now();
    }
}
