//! Whether the kernel has what a lab is made of, by trying it: on a thread in namespaces of its own, which take
//! everything along when the thread ends.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::Missing;
use crate::desired::{Backend, Bridge, End, Mac, Nat, Protocol, ServiceAddress, Veth};
use crate::kernel::net::orders::Orders;
use crate::kernel::net::space::Space;
use crate::kernel::net::{NetError, doing};
use crate::kernel::netlink::{Family, Netlink};
use crate::kernel::nft::NatTable;

const NONE: Option<&str> = None;

/// The features that are missing. An error means that it could not be tried.
///
/// The thread is not waited for: the kernel takes some 10 ms to close what has been tried, and nothing depends on it.
pub fn missing() -> Result<Vec<Missing>, NetError> {
    let (answer, found) = channel();
    let started = thread::Builder::new().name("preflight".to_string()).spawn(move || {
        let mut table = None;
        // Whoever asked waits for it.
        let _ = answer.send(try_all(&mut table));
    });
    started.map_err(doing("start a thread that tries the kernel's features"))?;
    let ended = || NetError::other("try the kernel's features", "the thread that tried them has ended early");
    found.recv().unwrap_or_else(|_| Err(ended()))
}

/// The calling thread is left in namespaces of its own; `table` is for it to drop.
fn try_all(table: &mut Option<NatTable>) -> Result<Vec<Missing>, NetError> {
    let mut missing = Vec::new();
    let lacks = |what, purpose, modules, error: String| Missing { what, purpose, modules, error };
    let kinds = [
        ("net", "network namespaces"),
        ("pid", "pid namespaces"),
        ("uts", "uts namespaces"),
        ("ipc", "ipc namespaces"),
    ];
    for (file, what) in kinds {
        if !Path::new("/proc/thread-self/ns").join(file).exists() {
            missing.push(lacks(what, "nodes and pods", "CONFIG_NAMESPACES", "it is not listed in /proc".to_string()));
        }
    }
    if let Err(errno) = overlay() {
        missing.push(lacks("overlay file system", "the pods' root directories", "overlay", errno.desc().to_string()));
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(doing("create a network namespace to try the kernel's features in"))?;
    let fd = File::open("/proc/thread-self/ns/net").map_err(doing("open a network namespace"))?;
    let netlink = Netlink::open(Family::Route).map_err(doing("talk to the kernel about links"))?;
    let space = Space::new("preflight", fd.try_clone().map_err(doing("open a network namespace"))?.into(), netlink, 1);
    if let Err(error) = veth(&space, fd.as_fd()) {
        missing.push(lacks("veth links", "the cables of nodes and pods", "veth", error.cause.to_string()));
    }
    if let Err(error) = bridge(&space) {
        missing.push(lacks("bridges", "the LAN's switch", "bridge", error.cause.to_string()));
    }
    if let Err(error) = nat(fd.as_fd(), table) {
        let modules = "nf_tables nft_chain_nat nft_nat nft_masq nft_numgen nft_fib_inet nft_ct nft_reject_inet";
        missing.push(lacks("a part of nftables", "Services", modules, error));
    }
    Ok(missing)
}

/// Loads the rules of a Service with two endpoints, which use all that Services ever use.
fn nat(netns: BorrowedFd, table: &mut Option<NatTable>) -> Result<(), String> {
    let address = |last| IpAddr::from([192, 0, 2, last]);
    let endpoints = BTreeSet::from([(address(1), 80), (address(2), 80)]);
    let backend = Backend { service: "preflight".to_string(), endpoints, ..Backend::default() };
    let service = ServiceAddress { address: address(3), protocol: Protocol::Tcp, port: 80 };
    let nat = Nat {
        services: [(service, backend.clone())].into(),
        node_ports: [((Protocol::Tcp, 30000), backend)].into(),
        hairpin: [address(1)].into(),
        ..Nat::default()
    };
    let opened = NatTable::open(netns).map_err(|error| error.to_string())?;
    table.insert(opened).load(&Arc::new(nat)).map_err(|error| error.to_string())
}

fn veth(space: &Space, netns: BorrowedFd) -> Result<(), NetError> {
    let end = |name: &str, last| End {
        netns: String::new(),
        name: name.to_string(),
        altname: None,
        mac: Mac([2, 0, 0, 0, 0, last]),
        addresses: Vec::new(),
        bridge: None,
        routes: BTreeSet::new(),
    };
    let mut orders = Orders::new();
    orders.veth(&Veth { inner: end("try-a", 1), outer: end("try-b", 2) }, netns, None);
    space.run(orders, "try-a")
}

fn bridge(space: &Space) -> Result<(), NetError> {
    let mut orders = Orders::new();
    orders.bridge("try-c", &Bridge { mac: Mac([2, 0, 0, 0, 0, 3]), addresses: Vec::new() }, 0);
    space.run(orders, "try-c")
}

/// Mounts one over a directory of the thread's own mount namespace.
fn overlay() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE)?;
    mount(Some("nslab"), "/run", Some("tmpfs"), MsFlags::empty(), NONE)?;
    for directory in ["lower", "upper", "work", "merged"] {
        let made = fs::create_dir(Path::new("/run").join(directory));
        made.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))?;
    }
    let options = "lowerdir=/run/lower,upperdir=/run/upper,workdir=/run/work";
    mount(Some("overlay"), "/run/merged", Some("overlay"), MsFlags::empty(), Some(options))
}
