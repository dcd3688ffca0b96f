//! How fast a lab's bare network can be: N pods on three of the machines of a lab of the notes, made by nothing but
//! batched rtnetlink messages. Only the machine's own cable to the LAN, and what nodes set of IPv6, are left out.
//!
//! `floor PODS [THREADS]` makes it and prints the milliseconds as JSON; `floor PODS [THREADS] --product` makes the same by
//! what the product uses; `floor PODS --ip-batch` prints shell commands that make the same by iproute2. To be run by
//! `scripts/sandbox`, whose end takes everything away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use ipnet::IpNet;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nslab::desired::{Bridge, End, Mac, Netns, NetnsRole, Route, Veth};
use nslab::kernel::net::Network;
use nslab::kernel::net::orders::{Numbers, Orders};
use nslab::kernel::netlink::{Family, Netlink};
use nslab::kernel::teardown::{TeardownReport, Witness, teardown};
use nslab::layout::Layout;

/// The nodes that have pods come first, the outside machine, which forwards nothing, last.
const MACHINES: [(&str, u8); 5] = [("w1-k8s", 101), ("w2-k8s", 102), ("w3-k8s", 103), ("m-k8s", 10), (CLIENT, 250)];
const CLIENT: &str = "client";
const WORKERS: usize = 3;
const SERVICES: &str = "10.96.0.0/12";
const DIRECTORY: &str = "/run/floor";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse::<usize>().ok());
    let Some(pods) = numbers.next() else {
        eprintln!("usage: floor PODS [THREADS] [--product | --ip-batch]");
        return ExitCode::FAILURE;
    };
    let threads = numbers.next().unwrap_or(1).max(1);
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let topology = Topology::new(pods);
    let result = if has("--ip-batch") {
        topology.print_ip_commands();
        Ok(())
    } else if has("--product") {
        product(&topology, threads)
    } else {
        floor(&topology, threads)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be made, the same for all three ways.
struct Topology {
    lan: String,
    nodes: Vec<(String, Veth)>,
    pods: Vec<(usize, String, Veth)>,
}

impl Topology {
    fn new(pods: usize) -> Self {
        let lan = "floor.lan".to_string();
        let nodes = MACHINES.iter().map(|&(machine, last)| {
            let name = format!("floor.{machine}");
            let mut inner = end(&name, "eth0", [1, 0, last]);
            inner.addresses = vec![format!("192.168.1.{last}/24").parse().unwrap_or_default()];
            if machine != CLIENT {
                let others = MACHINES.iter().filter(|(other, _)| *other != machine && *other != CLIENT);
                inner.routes =
                    others.map(|(_, other)| route(&subnet(*other).to_string(), Some([192, 168, 1, *other]))).collect();
                inner.routes.insert(route(SERVICES, None));
            }
            let mut outer = end(&lan, &format!("port{last}"), [2, 0, last]);
            outer.bridge = Some("lan0".into());
            (name, Veth { inner, outer })
        });
        let pods = (0..pods).map(|p| {
            let (node, host) = (p % WORKERS, p / WORKERS + 2);
            let machine = MACHINES.get(node).map_or(0, |(_, last)| *last);
            let address = format!("10.{machine}.{}.{}/32", host / 256, host % 256);
            let (gateway, gateway_net) = ([10, machine, 0, 1], format!("10.{machine}.0.1/32"));
            let name = format!("floor.default.web-{p}");
            let mut inner = end(&name, "eth0", [3, (p / 256) as u8, (p % 256) as u8]);
            inner.addresses = vec![address.parse().unwrap_or_default()];
            inner.routes = BTreeSet::from([route(&gateway_net, None), route("0.0.0.0/0", Some(gateway))]);
            let mut outer =
                end(&format!("floor.w{}-k8s", node + 1), &format!("pod{p}"), [4, (p / 256) as u8, (p % 256) as u8]);
            outer.addresses = vec![gateway_net.parse().unwrap_or_default()];
            outer.routes = BTreeSet::from([route(&address, None)]);
            outer.altname = Some(format!("pod-default-web-{p}"));
            (node, name, Veth { inner, outer })
        });
        Topology { nodes: nodes.collect(), pods: pods.collect(), lan }
    }

    /// For `sh`: one `ip -batch` a namespace, and one for all namespaces.
    fn print_ip_commands(&self) {
        let veths = || self.nodes.iter().map(|node| &node.1).chain(self.pods.iter().map(|pod| &pod.2));
        let nodes = || self.nodes.iter().map(|node| node.0.as_str());
        let pods = || self.pods.iter().map(|pod| pod.1.as_str());
        let lan = self.lan.as_str();
        println!("ip -batch - <<'END'");
        [lan].into_iter().chain(nodes()).chain(pods()).for_each(|name| println!("netns add {name}"));
        println!("END");
        let forwarding = nodes().filter(|node| forwards(node));
        forwarding.for_each(|node| println!("ip netns exec {node} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'"));
        // Outer ends first: a cable is made from there, both ends in place.
        for netns in [lan].into_iter().chain(nodes()) {
            println!("ip -n {netns} -batch - <<'END'\nlink set lo up");
            if netns == lan {
                println!("link add lan0 type bridge stp_state 0 forward_delay 0");
                println!("link set lan0 addrgenmode none\nlink set lan0 up");
            }
            for veth in veths().filter(|veth| veth.outer.netns == netns) {
                let half = |end: &End| format!("name {} address {} numtxqueues 1 numrxqueues 1", end.name, end.mac);
                println!(
                    "link add {} type veth peer {} netns {}",
                    half(&veth.outer),
                    half(&veth.inner),
                    veth.inner.netns
                );
                println!("{}", finish(&veth.outer));
            }
            println!("END");
        }
        for veth in veths() {
            println!("ip -n {} -batch - <<'END'\nlink set lo up\n{}\nEND", veth.inner.netns, finish(&veth.inner));
        }
    }
}

/// The lines of an `ip -batch` that put an end of a cable to use.
fn finish(end: &End) -> String {
    let mut lines = vec![format!("link set {} addrgenmode none", end.name)];
    lines.extend(end.bridge.iter().map(|bridge| format!("link set {} master {bridge}", end.name)));
    lines.push(format!("link set {} up", end.name));
    lines.extend(end.altname.iter().map(|name| format!("link property add dev {} altname {name}", end.name)));
    lines.extend(end.addresses.iter().map(|net| format!("addr add {net} dev {}", end.name)));
    for by_gateway in [false, true] {
        for route in end.routes.iter().filter(|route| route.via.is_some() == by_gateway) {
            let via = route.via.map(|via| format!("via {via} ")).unwrap_or_default();
            lines.push(format!("route add {} {via}dev {}", route.to, end.name));
        }
    }
    lines.join("\n")
}

fn end(netns: &str, name: &str, [a, b, c]: [u8; 3]) -> End {
    End {
        netns: netns.to_string(),
        name: name.to_string(),
        altname: None,
        mac: Mac([2, 0, 0, a, b, c]),
        addresses: Vec::new(),
        bridge: None,
        routes: BTreeSet::new(),
    }
}

/// The pods of the machine with this last byte of its address.
fn subnet(machine: u8) -> IpNet {
    format!("10.{machine}.0.0/16").parse().unwrap_or_default()
}

fn forwards(netns: &str) -> bool {
    !netns.ends_with(CLIENT)
}

fn route(to: &str, via: Option<[u8; 4]>) -> Route {
    Route { to: to.parse().unwrap_or_default(), via: via.map(Into::into), source: None }
}

// ---- raw -----------------------------------------------------------------------------------------------------------

struct Raw {
    fd: OwnedFd,
    netlink: Mutex<(Netlink, u32)>,
}

fn floor(topology: &Topology, threads: usize) -> anyhow::Result<()> {
    std::fs::create_dir_all(DIRECTORY)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)?;
    mount(Some("floor"), DIRECTORY, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let begin = Instant::now();
    thread::scope(|scope| scope.spawn(|| raw_up(topology, threads)).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let up = begin.elapsed();
    let mut namespaces = BTreeMap::new();
    for entry in std::fs::read_dir(DIRECTORY)? {
        let entry = entry?;
        namespaces.insert(entry.file_name().to_string_lossy().into_owned(), File::open(entry.path())?.into());
    }
    let mut report = TeardownReport::default();
    let begin = Instant::now();
    let witness = Witness::call(&namespaces, None)?;
    drop(namespaces);
    umount2(DIRECTORY, MntFlags::MNT_DETACH)?;
    witness.see_them_gone(&Layout::new("bare"), &mut report);
    print(topology, threads, "floor", up, begin.elapsed());
    check(&report)
}

fn raw_up(topology: &Topology, threads: usize) -> anyhow::Result<()> {
    let lan = raw_netns(&topology.lan)?;
    let mut orders = Orders::new();
    orders.bridge("lan0", &Bridge { mac: Mac([2, 0, 0, 0, 0, 1]), addresses: Vec::new() }, 2);
    orders.no_link_local(2);
    orders.up(2);
    raw_run(&lan, orders)?;
    let mut nodes = Vec::new();
    for (name, veth) in &topology.nodes {
        let node = raw_netns(name)?;
        if forwards(name) {
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        }
        raw_cable(&lan, &node, veth)?;
        nodes.push(node);
    }
    let share = topology.pods.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = topology.pods.chunks(share).map(|pods| scope.spawn(|| raw_pods(&nodes, pods))).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn raw_pods(nodes: &[Raw], pods: &[(usize, String, Veth)]) -> anyhow::Result<()> {
    for (node, name, veth) in pods {
        let pod = raw_netns(name)?;
        raw_cable(nodes.get(*node).context("a node")?, &pod, veth)?;
    }
    Ok(())
}

/// Leaves the calling thread in the new namespace.
fn raw_netns(name: &str) -> anyhow::Result<Raw> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let path = format!("{DIRECTORY}/{name}");
    File::create(&path)?;
    mount(Some("/proc/thread-self/ns/net"), path.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let fd = File::open("/proc/thread-self/ns/net")?.into();
    let raw = Raw { fd, netlink: Mutex::new((Netlink::open(Family::Route)?, 10)) };
    let mut orders = Orders::new();
    orders.up(1);
    raw_run(&raw, orders)?;
    Ok(raw)
}

fn raw_cable(outer: &Raw, inner: &Raw, veth: &Veth) -> anyhow::Result<()> {
    let numbers = {
        let mut outer = outer.netlink.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        outer.1 += 1;
        Numbers { outer: outer.1, inner: 2 }
    };
    let mut orders = Orders::new();
    orders.veth(veth, inner.fd.as_fd(), Some(numbers));
    raw_end(&mut orders, &veth.outer, numbers.outer);
    raw_run(outer, orders)?;
    let mut orders = Orders::new();
    raw_end(&mut orders, &veth.inner, numbers.inner);
    raw_run(inner, orders)
}

fn raw_end(orders: &mut Orders, end: &End, number: u32) {
    orders.no_link_local(number);
    if end.bridge.is_some() {
        orders.port(number, 2);
    }
    orders.up(number);
    if let Some(name) = &end.altname {
        orders.altname(number, name);
    }
    for net in &end.addresses {
        orders.address(number, *net);
    }
    for by_gateway in [false, true] {
        for route in end.routes.iter().filter(|route| route.via.is_some() == by_gateway) {
            orders.route(number, route, true);
        }
    }
}

fn raw_run(raw: &Raw, mut orders: Orders) -> anyhow::Result<()> {
    let refusals = raw.netlink.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).0.run(&mut orders.batch)?;
    match refusals.first() {
        None => Ok(()),
        Some(refusal) => bail!("message {}: {refusal}", refusal.index),
    }
}

// ---- the product's -------------------------------------------------------------------------------------------------

fn product(topology: &Topology, threads: usize) -> anyhow::Result<()> {
    let layout = Layout::new("floor");
    let netns = |role, bridges| Netns { role, forwarding: role == NetnsRole::Node, bridges };
    let none = BTreeMap::new;
    let begin = Instant::now();
    let network = Network::open(&layout)?;
    let bridge = Bridge { mac: Mac([2, 0, 0, 0, 0, 1]), addresses: Vec::new() };
    network.add_netns(&topology.lan, &netns(NetnsRole::Lan, BTreeMap::from([("lan0".to_string(), bridge)])))?;
    for (name, veth) in &topology.nodes {
        let role = if forwards(name) { NetnsRole::Node } else { NetnsRole::Client };
        network.add_netns(name, &netns(role, none()))?;
        network.add_veth(veth)?;
    }
    let share = topology.pods.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let work = |pods: &[(usize, String, Veth)]| -> anyhow::Result<()> {
            for (_, name, veth) in pods {
                network.add_netns(name, &netns(NetnsRole::Pod, none()))?;
                network.add_veth(veth)?;
            }
            Ok(())
        };
        let workers: Vec<_> = topology.pods.chunks(share).map(|pods| scope.spawn(move || work(pods))).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let up = begin.elapsed();
    drop(network);
    let begin = Instant::now();
    let report = teardown(&layout);
    print(topology, threads, "product", up, begin.elapsed());
    check(&report)
}

fn check(report: &TeardownReport) -> anyhow::Result<()> {
    if !report.is_clean() {
        bail!("not clean: {report:?}");
    }
    Ok(())
}

fn print(topology: &Topology, threads: usize, by: &str, up: std::time::Duration, down: std::time::Duration) {
    let ms = |time: std::time::Duration| (time.as_secs_f64() * 100_000.0).round() / 100.0;
    let result = serde_json::json!({
        "by": by, "pods": topology.pods.len(), "threads": threads, "up_ms": ms(up), "down_ms": ms(down),
    });
    println!("{result}");
}
