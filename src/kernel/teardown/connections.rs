//! Connections that outlive their processes: a namespace is not destroyed while the kernel still says goodbye to a peer
//! in it, which may take minutes when the peer can no longer be reached.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use nix::libc::{AF_INET, AF_INET6, IPPROTO_TCP};
use nix::sched::{CloneFlags, setns};

use crate::kernel::netlink::{Batch, Family, Netlink, NetlinkError};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
/// Of `struct inet_diag_msg`: the state of the connection, then what names it.
const IDENTITY: std::ops::Range<usize> = 4..52;
const ALL_STATES: u32 = u32::MAX;

/// Ends every TCP connection in these namespaces, whose processes have ended. What cannot be ended here is seen later,
/// by the namespace that stays; a kernel without `CONFIG_INET_DIAG_DESTROY` can end none.
///
/// Only where there is one: the socket that it takes to end them keeps its namespace for another RCU grace period, in
/// which the kernel cannot begin to destroy it.
pub fn abort_all(namespaces: &BTreeMap<String, OwnedFd>) {
    std::thread::scope(|scope| {
        // A thread of its own, since it goes from namespace to namespace and does not come back.
        let abort = || {
            for netns in namespaces.values() {
                if setns(netns, CloneFlags::CLONE_NEWNET).is_ok() && may_have_connections() {
                    let _ = abort();
                }
            }
        };
        let _ = std::thread::Builder::new().name("abort".to_string()).spawn_scoped(scope, abort);
    });
}

/// What the kernel counts in the calling thread's namespace; yes, if it does not say.
fn may_have_connections() -> bool {
    let none = |family: &str| match fs::read_to_string(format!("/proc/thread-self/net/sockstat{family}")) {
        Ok(text) => tcp_in_use(&text) == Some(0),
        // There is no IPv6.
        Err(error) => !family.is_empty() && error.kind() == io::ErrorKind::NotFound,
    };
    !(none("") && none("6"))
}

/// The sockets of `TCP: inuse 3 orphan 0 tw 0 alloc 4 mem 0`, or `TCP6: inuse 3`. Those in TIME_WAIT are not counted,
/// and hold no namespace.
fn tcp_in_use(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP: ").or(line.strip_prefix("TCP6: ")))?;
    line.strip_prefix("inuse ")?.split(' ').next()?.parse().ok()
}

/// In the calling thread's namespace.
fn abort() -> Result<(), NetlinkError> {
    let mut netlink = Netlink::open(Family::SockDiag)?;
    for family in [AF_INET, AF_INET6] {
        let family = family as u8;
        let request = |identity: &[u8]| {
            let mut request = vec![family, IPPROTO_TCP as u8, 0, 0];
            request.extend(ALL_STATES.to_ne_bytes());
            request.extend(identity);
            request
        };
        let mut found: Vec<Vec<u8>> = Vec::new();
        let any = [0; IDENTITY.end - IDENTITY.start];
        netlink.dump(
            SOCK_DIAG_BY_FAMILY,
            |body| body.extend(request(&any)),
            |_, entry| found.extend(entry.get(IDENTITY).map(<[u8]>::to_vec)),
        )?;
        let mut batch = Batch::new();
        for identity in found {
            batch.message(SOCK_DESTROY, 0, |body| body.extend(request(&identity)));
        }
        netlink.run(&mut batch)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_in_use_are_read_from_what_the_kernel_counts() {
        let four = "sockets: used 9\nTCP: inuse 3 orphan 1 tw 7 alloc 4 mem 0\nUDP: inuse 2 mem 0\n";
        assert_eq!(tcp_in_use(four), Some(3));
        assert_eq!(tcp_in_use("TCP6: inuse 0\nUDP6: inuse 1\n"), Some(0));
        assert_eq!(tcp_in_use("UDP: inuse 2 mem 0\n"), None);
    }
}
