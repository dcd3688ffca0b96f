//! A sandboxed machine with a small lab on it, for tests of the kernel's part: `scripts/sandbox cargo test`.

// Each test program uses a part of this.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recvfrom, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use nslab::desired::{Bridge, End, Mac, Netns, NetnsRole, Route, Veth};
use nslab::kernel::net::Network;
use nslab::kernel::teardown::teardown;
use nslab::layout::{IP_NETNS, Layout};

/// The tests share the sandbox's /run and its first namespace.
static MACHINE: Mutex<()> = Mutex::new(());

/// A lab of its own on the sandboxed machine, taken down at the end whatever happens.
pub struct Bench {
    pub layout: Layout,
    _machine: MutexGuard<'static, ()>,
}

impl Bench {
    pub fn new(lab: &str) -> Self {
        let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let sandboxed = std::fs::read_to_string("/proc/1/cmdline").is_ok_and(|line| line.contains("sandbox"));
        assert!(nix::unistd::geteuid().is_root() && sandboxed, "run it as root by scripts/sandbox");
        Bench { layout: Layout::new(lab), _machine: machine }
    }

    pub fn network(&self) -> Network {
        Network::open(&self.layout).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        teardown(&self.layout);
    }
}

/// Runs a command and returns what it printed; it has to succeed.
pub fn run(line: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(&run(line)).unwrap()
}

pub fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub fn mac(last: u8) -> Mac {
    Mac([0x02, 0, 0, 0, 0, last])
}

pub fn netns(role: NetnsRole) -> Netns {
    Netns { role, forwarding: role == NetnsRole::Node, bridges: BTreeMap::new() }
}

pub fn end(netns: &str, name: &str, last: u8) -> End {
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

pub fn route(to: &str, via: Option<&str>) -> Route {
    Route { to: net(to), via: via.map(|via| via.parse().unwrap()), source: None }
}

/// A machine on the LAN: its cable into the LAN's bridge.
pub fn machine_veth(netns: &str, eth: &str, address: &str, last: u8) -> Veth {
    let mut veth = Veth { inner: end(netns, eth, last), outer: end("t.lan", &format!("port{last}"), last + 100) };
    veth.inner.addresses = vec![net(address)];
    veth.outer.bridge = Some("lan0".into());
    veth.outer.altname = Some(format!("port-of-{netns}-{last}"));
    veth
}

/// A pod's cable into its node.
pub fn pod_veth(pod: &str, node: &str, gateway: &str, address: &str, last: u8) -> Veth {
    let mut veth = Veth { inner: end(pod, "eth0", last), outer: end(node, &format!("pod{last}"), last + 100) };
    veth.inner.addresses = vec![net(&format!("{address}/32"))];
    veth.inner.routes = BTreeSet::from([route(&format!("{gateway}/32"), None), route("0.0.0.0/0", Some(gateway))]);
    veth.outer.addresses = vec![net(&format!("{gateway}/32"))];
    veth.outer.routes = BTreeSet::from([route(&format!("{address}/32"), None)]);
    veth.outer.altname = Some(format!("a-readable-name-of-{pod}"));
    veth
}

pub const PODS: [(&str, &str, &str, &str, u8); 3] = [
    ("t.default.a", "t.w1", "10.244.1.1", "10.244.1.2", 21),
    ("t.default.b", "t.w1", "10.244.1.1", "10.244.1.3", 22),
    ("t.default.c", "t.w2", "10.244.2.1", "10.244.2.2", 23),
];

/// Everything of a small lab: a LAN, two nodes, the client, this machine, three pods.
pub struct Topology {
    pub netns: BTreeMap<String, Netns>,
    pub veths: Vec<Veth>,
    pub pods: Vec<(String, Netns, Veth)>,
}

pub fn topology() -> Topology {
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

pub fn bring_up(network: &Network, topology: &Topology) {
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
pub fn inside<T: Send>(network: &Network, name: &str, work: impl FnOnce() -> T + Send) -> T {
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
pub fn assert_pings(network: &Network, from: &str, to: &str) {
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

pub fn assert_tcp(network: &Network, from: &str, to: &str, address: &str) {
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

pub fn assert_everything_reaches_everything(network: &Network) {
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

/// Takes every capability from the calling thread, and from it only.
pub fn drop_capabilities() {
    let header = [0x2008_0522u32, 0];
    let none = [0u32; 6];
    // SAFETY: capset reads a header of two words and, for version 3, six words of data; both outlive the call.
    let result = unsafe { nix::libc::syscall(nix::libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0);
}

/// What is left of a lab on the machine.
pub fn traces() -> Vec<String> {
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

pub fn wait_until(condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it did not come about within 10 s");
        thread::yield_now();
    }
}
