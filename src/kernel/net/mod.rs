//! Network namespaces, links, addresses and routes over rtnetlink.
//!
//! What costs time here is the kernel's: 0.3 ms a namespace, 0.2 ms a cable. So cables are created with both ends in
//! place, numbers are chosen instead of asked for, and namespaces are destroyed instead of emptied. Two threads may
//! make pods at once; more gain nothing, the kernel has one lock for links.

pub mod directory;
pub mod space;

mod cable;
mod error;
pub mod orders;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

pub use error::{Cause, NetError};

use crate::desired::{Netns, NetnsRole, Veth};
use crate::kernel::netlink::{Family, Netlink};
use crate::layout::Layout;
use crate::session;
use cable::Kernel;
use directory::Directory;
pub(crate) use error::doing;
use orders::Orders;
use space::Space;

/// The network namespace of the calling thread.
const OWN_NETNS: &str = "/proc/thread-self/ns/net";
/// How many pods may be made before their cables are, at full speed.
const FRESH: usize = 32;
/// The loopback's number in every namespace.
const LOOPBACK: u32 = 1;

/// The network of one lab. Every call is safe from any thread and leaves the calling thread's namespaces alone.
#[derive(Debug)]
pub struct Network {
    directory: Directory,
    kernel: Kernel,
    /// Sockets that are kept: the machine's own namespace (under the empty name), the LAN, the nodes, the client. Pods
    /// get one for the moment only, since a lab may have more pods than a process may have open files.
    spaces: Mutex<BTreeMap<String, Arc<Space>>>,
    /// Pods that were just made and wait for their cable. Their sockets are open anyway; to open them again costs a
    /// tenth of the pod.
    fresh: Mutex<BTreeMap<String, Arc<Space>>>,
    /// Whether namespaces forward packets from birth: they inherit it from the machine's first.
    forwards_from_birth: OnceLock<bool>,
}

impl Network {
    /// Takes over the namespaces that an earlier process left in the lab's directory, or makes the directory. To be
    /// called in the machine's network and mount namespaces.
    pub fn open(layout: &Layout) -> Result<Self, NetError> {
        let directory = Directory::open(layout)?;
        let netlink = Netlink::open(Family::Route).map_err(doing("talk to the kernel about links"))?;
        let fd = fs::File::open(OWN_NETNS).map_err(doing("open this machine's network namespace"))?;
        let machine = Space::new("", fd.into(), netlink, 0);
        Ok(Network {
            directory,
            kernel: Kernel { ipv6: Path::new("/proc/sys/net/ipv6").exists() },
            spaces: Mutex::new(BTreeMap::from([(String::new(), Arc::new(machine))])),
            fresh: Mutex::default(),
            forwards_from_birth: OnceLock::new(),
        })
    }

    /// The names of the lab's namespaces that are there, sorted. Each is complete: it got its name last.
    pub fn existing(&self) -> Result<Vec<String>, NetError> {
        self.directory.names()
    }

    /// A namespace with its loopback up, and its bridges. One that is there is brought into this shape.
    pub fn add_netns(&self, name: &str, netns: &Netns) -> Result<(), NetError> {
        match self.directory.bound(name)? {
            None => self.make(name, netns),
            Some(fd) => self.adopt(name, netns, fd),
        }
    }

    /// A cable between two namespaces that are there. One that is there in the same shape is fine, one in another
    /// shape is replaced.
    pub fn add_veth(&self, veth: &Veth) -> Result<(), NetError> {
        let outer = self.kept(&veth.outer.netns)?;
        let fresh = lock(&self.fresh).remove(&veth.inner.netns);
        let inner = fresh.map_or_else(|| self.space(&veth.inner.netns), Ok)?;
        self.kernel.lay(&outer, &inner, veth)
    }

    /// Takes a cable away. Nothing happens if it, or the namespace that it is in, is not there. Where a namespace goes
    /// as a whole, [`Network::remove_netns`] alone does it, and 20 ms faster a cable.
    pub fn remove_veth(&self, veth: &Veth) -> Result<(), NetError> {
        for (end, other) in [(&veth.outer, &veth.inner), (&veth.inner, &veth.outer)] {
            if self.is_there(&end.netns)? && self.is_there(&other.netns)? {
                cable::remove(&*self.space(&end.netns)?, end, &*self.space(&other.netns)?)?;
            }
        }
        Ok(())
    }

    /// Lets a namespace go. It ends, with all its links, when the last process in it has. Nothing happens if it is not
    /// there.
    pub fn remove_netns(&self, name: &str) -> Result<(), NetError> {
        // An open socket would keep the namespace alive.
        lock(&self.spaces).remove(name);
        lock(&self.fresh).remove(name);
        self.directory.release(name)
    }

    /// Holding it keeps the namespace alive.
    pub fn netns_fd(&self, name: &str) -> Result<OwnedFd, NetError> {
        let found = self.directory.bound(name)?;
        found.ok_or_else(|| NetError::other(format!("open network namespace {name}"), "there is none of that name"))
    }

    /// Listens at all addresses of a namespace, of both families where the machine has both. Not for a thread that
    /// other tasks share: it goes to the namespace and back.
    pub fn listen(&self, name: &str, port: u16) -> Result<TcpListener, NetError> {
        let fd = self.netns_fd(name)?;
        let what = || format!("listen on port {port} in network namespace {name}");
        let _there = away(|| setns(&fd, CloneFlags::CLONE_NEWNET)).map_err(doing(what()))?;
        let any = |address: IpAddr| TcpListener::bind((address, port));
        let no_ipv6 = |error: &io::Error| error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32);
        let bound = match any(Ipv6Addr::UNSPECIFIED.into()) {
            Err(error) if no_ipv6(&error) => any(Ipv4Addr::UNSPECIFIED.into()),
            bound => bound,
        };
        bound.map_err(doing(what()))
    }

    /// A TCP socket of a namespace, which it stays in whoever uses it. As for `listen`, not for a thread that other tasks
    /// share.
    pub fn tcp_socket(&self, name: &str, family: session::Family) -> Result<OwnedFd, NetError> {
        let fd = self.netns_fd(name)?;
        let what = || format!("make a socket in network namespace {name}");
        let _there = away(|| setns(&fd, CloneFlags::CLONE_NEWNET)).map_err(doing(what()))?;
        let family = match family {
            session::Family::Ipv4 => AddressFamily::Inet,
            session::Family::Ipv6 => AddressFamily::Inet6,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(family, SockType::Stream, flags, None).map_err(doing(what()))
    }

    fn is_there(&self, name: &str) -> Result<bool, NetError> {
        Ok(name.is_empty() || self.directory.bound(name)?.is_some())
    }

    /// A namespace with a socket in it: a kept one if there is one.
    fn space(&self, name: &str) -> Result<Arc<Space>, NetError> {
        let kept = lock(&self.spaces).get(name).cloned();
        match kept {
            Some(space) => Ok(space),
            None => Ok(Arc::new(Space::enter(name, self.netns_fd(name)?)?)),
        }
    }

    /// As `space`, but to be kept from now on.
    fn kept(&self, name: &str) -> Result<Arc<Space>, NetError> {
        let space = self.space(name)?;
        let mut spaces = lock(&self.spaces);
        // Two threads may have opened it at once; there must be one only that gives out numbers.
        Ok(spaces.entry(name.to_string()).or_insert(space).clone())
    }

    /// Brings a namespace that is there into the shape that is wanted.
    fn adopt(&self, name: &str, netns: &Netns, fd: OwnedFd) -> Result<(), NetError> {
        let space = if netns.role == NetnsRole::Pod { self.space(name)? } else { self.kept(name)? };
        {
            let going = || setns(&fd, CloneFlags::CLONE_NEWNET);
            let _there = away(going).map_err(doing(format!("enter network namespace {name}")))?;
            self.set_switches(name, netns, false)?;
        }
        let mut orders = Orders::new();
        orders.up(LOOPBACK);
        space.run(orders, "lo")?;
        self.kernel.add_bridges(&space, &netns.bridges, false)
    }

    /// A new namespace. It gets its name last, by which it is there for everybody else.
    fn make(&self, name: &str, netns: &Netns) -> Result<(), NetError> {
        let going = || unshare(CloneFlags::CLONE_NEWNET);
        let there = away(going).map_err(doing(format!("create network namespace {name}")))?;
        let entering = || format!("enter network namespace {name}");
        let fd = fs::File::open(OWN_NETNS).map_err(doing(entering()))?;
        self.set_switches(name, netns, true)?;
        let netlink = Netlink::open(Family::Route).map_err(doing(entering()))?;
        let space = Space::new(name, fd.into(), netlink, LOOPBACK);
        let mut orders = Orders::new();
        orders.up(LOOPBACK);
        space.run(orders, "lo")?;
        self.kernel.add_bridges(&space, &netns.bridges, true)?;
        self.directory.bind(name)?;
        drop(there);
        let space = Arc::new(space);
        if netns.role == NetnsRole::Pod {
            let mut fresh = lock(&self.fresh);
            fresh.insert(name.to_string(), space);
            if fresh.len() > FRESH {
                fresh.pop_first();
            }
        } else {
            lock(&self.spaces).insert(name.to_string(), space);
        }
        Ok(())
    }

    /// Sets the sysctls of the namespace of the calling thread: /proc/sys/net shows each thread its own. One costs as
    /// much as a cable's end, so new pods get only those that differ from what they are born with.
    fn set_switches(&self, name: &str, netns: &Netns, fresh: bool) -> Result<(), NetError> {
        let failed = |path: &str| doing::<io::Error>(format!("set {path} in network namespace {name}"));
        let forward = "/proc/sys/net/ipv4/ip_forward";
        let as_born = || -> Result<bool, NetError> {
            if let Some(&known) = self.forwards_from_birth.get() {
                return Ok(known);
            }
            let now = fs::read(forward).map_err(failed(forward))?.starts_with(b"1");
            Ok(*self.forwards_from_birth.get_or_init(|| now))
        };
        if !(fresh && netns.role == NetnsRole::Pod && as_born()? == netns.forwarding) {
            let value = if netns.forwarding { "1" } else { "0" };
            fs::write(forward, value).map_err(failed(forward))?;
            let forward6 = "/proc/sys/net/ipv6/conf/all/forwarding";
            if self.kernel.ipv6 {
                fs::write(forward6, value).map_err(failed(forward6))?;
            }
        }
        if !netns.bridges.is_empty() {
            // A switch does not look into packets. With br_netfilter it would: 6 us of a connection's 30.
            for table in ["iptables", "ip6tables", "arptables"] {
                let path = format!("/proc/sys/net/bridge/bridge-nf-call-{table}");
                match fs::write(&path, "0") {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    written => written.map_err(failed(&path))?,
                }
            }
        }
        Ok(())
    }
}

/// Takes the calling thread to another network namespace, as `go` does it, until what is returned is dropped. (A thread
/// of its own for each would be the obvious way; starting one and waiting for it costs half of what the kernel's part
/// of the work does.)
fn away(go: impl FnOnce() -> nix::Result<()>) -> Result<Return, Cause> {
    let home = fs::File::open(OWN_NETNS)?;
    go()?;
    Ok(Return(home.into()))
}

/// Brings the thread back when it is dropped, also by a panic; ends the process if it cannot.
struct Return(OwnedFd);

impl Drop for Return {
    fn drop(&mut self) {
        // What got the thread away gets it back; the kernel may at most be short of memory.
        let mut returned = setns(&self.0, CloneFlags::CLONE_NEWNET);
        while returned == Err(Errno::ENOMEM) {
            thread::yield_now();
            returned = setns(&self.0, CloneFlags::CLONE_NEWNET);
        }
        if let Err(errno) = returned {
            // To go on would be to do the machine's work in a pod. What was made stays, and the next `lab up` takes it
            // over.
            eprintln!("cannot return to the thread's own network namespace: {}; ending at once", errno.desc());
            std::process::abort();
        }
    }
}

/// Nothing here is left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
