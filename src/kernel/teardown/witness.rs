//! Sees network namespaces end.
//!
//! The kernel destroys them later, in its own thread. The witness is a namespace that knows each of them by a number,
//! which keeps none of them alive; a number that vanishes says that nothing holds that namespace any more and that the
//! kernel has begun to destroy it. That it is done is told by the canary: one end of a cable is in the witness, the
//! other in a namespace that is let go of together with the lab's. The kernel destroys namespaces in order, links last,
//! so when the canary's link vanishes after the last number, all is gone.
//!
//! The witness of a teardown that could not end all is kept in the lab's directory (`evidence`), and the next teardown
//! calls the same one.
//!
//! The kernel takes what it finds let go of, destroys that, and then looks again, each time with a few RCU grace periods
//! that are most of a small lab's end. So the canary is to be let go of with the last of the others, and not before.
//! Sockets of processes that have just ended keep their namespaces for one grace period more; so does one of ours that
//! is closed after them, and this is what keeps the canary's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

use super::evidence::{Evidence, Held};
use super::{Leftover, TeardownReport, holders};
use crate::desired::{End, Mac, Veth};
use crate::kernel::net::orders::{Numbers, Orders};
use crate::kernel::net::space::Space;
use crate::kernel::net::{NetError, doing};
use crate::kernel::netlink::{Family, Netlink};
use crate::layout::Layout;

/// How long to wait while nothing ends at all. The kernel takes 1 ms a namespace, and longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait for namespaces that neither a process nor a mount holds. Connections that are being closed do, the
/// longest of which take the kernel two minutes to give up.
const PATIENCE_WITH_SOCKETS: Duration = Duration::from_secs(5);
/// A node that was being started when its supervisor was killed is in no record, and ends by itself when it finds that
/// nobody tells it what it is to be.
const PATIENCE_WITH_PROCESSES: Duration = Duration::from_secs(2);
/// The end of a process rings no bell as long as another one holds the namespace.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub struct Witness {
    space: Space,
    /// Readable when a link or a number has vanished from the space.
    bell: OwnedFd,
    canary: Option<Canary>,
    subjects: BTreeMap<u32, Subject>,
}

/// A namespace that ends a grace period after this is dropped.
struct Canary {
    netns: OwnedFd,
    _socket: Netlink,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub name: String,
    pub inode: u64,
}

impl Witness {
    /// To be called while the namespaces are there. `kept`: what an earlier witness could not see gone.
    pub fn call(namespaces: &BTreeMap<String, OwnedFd>, kept: Option<Evidence>) -> Result<Witness, NetError> {
        let (seat, held) = kept.map_or((None, Vec::new()), |kept| (Some(kept.witness), kept.held));
        let seated = thread::scope(|scope| {
            let thread = thread::Builder::new().name("witness".to_string()).spawn_scoped(scope, || Witness::seat(seat));
            let joined = thread.map_err(doing("start a thread for the witness"))?.join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let mut witness = seated?;
        for Held { number, name, inode, .. } in held {
            witness.subjects.insert(number, Subject { name, inode });
        }
        let free = witness.subjects.last_key_value().map_or(FIRST_NUMBER, |(last, _)| last + 1);
        for (number, (name, fd)) in (free..).zip(namespaces) {
            let file = fd.try_clone().map(File::from).and_then(|file| file.metadata());
            let inode = file.map_err(doing(format!("look at network namespace {name}")))?.ino();
            witness.space.give_number(fd.as_fd(), number)?;
            witness.subjects.insert(number, Subject { name: name.clone(), inode });
        }
        Ok(witness)
    }

    /// The witness's own namespace, a new one if there is none, with the canary. The calling thread is left in it.
    fn seat(kept: Option<OwnedFd>) -> Result<Witness, NetError> {
        let failed = |cause: Errno| NetError::new("enter a network namespace that sees the lab's end", cause);
        match kept {
            None => unshare(CloneFlags::CLONE_NEWNET).map_err(failed)?,
            Some(kept) => setns(kept, CloneFlags::CLONE_NEWNET).map_err(failed)?,
        }
        let mut witness = Witness {
            space: Space::enter("witness", own_namespace()?)?,
            bell: bell().map_err(failed)?,
            canary: None,
            subjects: BTreeMap::new(),
        };
        witness.hang_canary()?;
        Ok(witness)
    }

    /// A namespace that the canary's cable leads to, and whose end will be seen.
    fn hang_canary(&mut self) -> Result<(), NetError> {
        let canary = thread::scope(|scope| {
            let started = thread::Builder::new().name("canary".to_string()).spawn_scoped(scope, || {
                unshare(CloneFlags::CLONE_NEWNET).map_err(doing("create a network namespace"))?;
                let socket = Netlink::open(Family::Route).map_err(doing("talk to the kernel about links"))?;
                Ok::<_, NetError>(Canary { netns: own_namespace()?, _socket: socket })
            });
            let joined = started.map_err(doing("start a thread for the canary"))?.join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let end = |last| End {
            netns: String::new(),
            name: CANARY.to_string(),
            altname: None,
            mac: Mac([2, 0, 0, 0, 0, last]),
            addresses: Vec::new(),
            bridge: None,
            routes: BTreeSet::new(),
        };
        let numbers = Numbers { outer: self.space.next_number(), inner: 1000 };
        let mut orders = Orders::new();
        orders.veth(&Veth { inner: end(1), outer: end(2) }, canary.netns.as_fd(), Some(numbers));
        self.space.run(orders, CANARY)?;
        self.canary = Some(canary);
        Ok(())
    }

    /// Waits for the end of all, and reports what does not end. To be called when all has been let go of. What is still
    /// there is kept in mind in the lab's directory.
    pub fn see_them_gone(mut self, layout: &Layout, report: &mut TeardownReport) {
        let before = report.left.len();
        if let Err(error) = self.watch(report) {
            report.errors.push(error.to_string());
        }
        let why = report.left.get(before..).unwrap_or_default();
        let held = self.held(why).unwrap_or_else(|error| {
            report.errors.push(error.to_string());
            Vec::new()
        });
        if let Err(error) = super::evidence::keep(layout, self.space.fd(), held) {
            report.errors.push(format!("cannot keep in mind what is left: {error}"));
        }
    }

    fn held(&self, left: &[Leftover]) -> Result<Vec<Held>, NetError> {
        let alive = self.alive()?;
        let alive = self.subjects.iter().filter(|(number, _)| alive.contains(number));
        let held = alive.map(|(number, Subject { name, inode })| {
            let why = left.iter().find(|left| left.what == described(name)).map(|left| left.why.clone());
            Held { number: *number, name: name.clone(), inode: *inode, why: why.unwrap_or_default() }
        });
        Ok(held.collect())
    }

    fn watch(&mut self, report: &mut TeardownReport) -> Result<(), NetError> {
        loop {
            // Let go of now, it is destroyed after, or together with, what was let go of before.
            self.canary = None;
            let (mut alive_before, mut progress) = (self.alive()?, Instant::now());
            let all_ended_before_canary = loop {
                let alive = self.alive()?;
                let canary_there = self.space.link(CANARY)?.is_some();
                if !canary_there {
                    break alive_before.is_empty();
                }
                if alive != alive_before {
                    progress = Instant::now();
                }
                alive_before = alive;
                if progress.elapsed() > PATIENCE {
                    report.left.push(Leftover {
                        what: "network namespaces in the kernel's queue".to_string(),
                        why: format!("it has destroyed none for {} s", PATIENCE.as_secs()),
                        fix: "see the kernel's log (`dmesg`) for what it waits for".to_string(),
                    });
                    return Ok(());
                }
                self.wait_for_bell(PATIENCE.saturating_sub(progress.elapsed()))?;
            };
            if all_ended_before_canary {
                return Ok(());
            }
            // Some were let go of later than the canary, or not at all.
            if !self.await_the_held(report)? {
                return Ok(());
            }
            self.hang_canary()?;
        }
    }

    /// Whether all have ended; if not, and nothing promises that they will, it is reported.
    fn await_the_held(&self, report: &mut TeardownReport) -> Result<bool, NetError> {
        let since = Instant::now();
        loop {
            let alive = self.alive()?;
            if alive.is_empty() {
                return Ok(true);
            }
            let subjects: Vec<&Subject> = alive.iter().filter_map(|number| self.subjects.get(number)).collect();
            let held = holders::find(&subjects);
            // The scan takes time, in which a process may have ended.
            let alive = self.alive()?;
            let held_now = held.iter().any(|(subject, _)| {
                self.subjects.iter().any(|(number, known)| known == *subject && alive.contains(number))
            });
            let patience = if held_now { PATIENCE_WITH_PROCESSES } else { PATIENCE_WITH_SOCKETS };
            if since.elapsed() > patience {
                let alive = alive.iter().filter_map(|number| self.subjects.get(number));
                report.left.extend(alive.map(|subject| leftover(subject, held.get(subject))));
                return Ok(false);
            }
            let left = patience.saturating_sub(since.elapsed());
            self.wait_for_bell(if held_now { left.min(LOOK_AGAIN) } else { left })?;
        }
    }

    /// The numbers of the lab's namespaces that somebody still holds.
    fn alive(&self) -> Result<BTreeSet<u32>, NetError> {
        Ok(self.space.numbers()?.into_iter().filter(|number| self.subjects.contains_key(number)).collect())
    }

    fn wait_for_bell(&self, at_most: Duration) -> Result<(), NetError> {
        let failed = doing::<Errno>("wait for network namespaces to end");
        let timeout = u16::try_from(at_most.as_millis()).unwrap_or(u16::MAX).max(1);
        let mut fds = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(timeout)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        // What rang is not looked at, so a message that was cut short or lost does no harm.
        let mut ring = [0; 64];
        while matches!(recv(self.bell.as_raw_fd(), &mut ring, MsgFlags::empty()), Ok(_) | Err(Errno::ENOBUFS)) {}
        Ok(())
    }
}

const CANARY: &str = "canary";
/// The kernel gives out numbers from 0 on, as it did to the canary's namespace.
const FIRST_NUMBER: u32 = 1 << 20;

fn described(name: &str) -> String {
    format!("network namespace {name}")
}

fn leftover(subject: &Subject, holders: Option<&Vec<String>>) -> Leftover {
    let what = described(&subject.name);
    match holders {
        Some(holders) => Leftover {
            what,
            why: format!("it is held by {}", holders.join(", ")),
            fix: "end that, and run `lab down` again".to_string(),
        },
        None => Leftover {
            what,
            why: "no process and no mount holds it, so connections that are being closed do".to_string(),
            fix: "it ends when the kernel has given them up, within two minutes; run `lab down` again then".to_string(),
        },
    }
}

fn own_namespace() -> Result<OwnedFd, NetError> {
    let file = File::open("/proc/thread-self/ns/net").map_err(doing("open a network namespace"))?;
    Ok(file.into())
}

/// A socket that gets a message when something happens to the links or numbers of the calling thread's namespace.
fn bell() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let groups = (1 << (libc::RTNLGRP_LINK - 1)) | (1 << (libc::RTNLGRP_NSID - 1));
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}
