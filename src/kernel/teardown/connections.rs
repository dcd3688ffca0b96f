//! Connections that outlive their processes: a namespace is not destroyed while the kernel still says goodbye to a peer
//! in it, which may take minutes when the peer can no longer be reached.

use std::collections::BTreeMap;
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
pub fn abort_all(namespaces: &BTreeMap<String, OwnedFd>) {
    std::thread::scope(|scope| {
        // A thread of its own, since it goes from namespace to namespace and does not come back.
        let abort = || {
            for netns in namespaces.values() {
                if setns(netns, CloneFlags::CLONE_NEWNET).is_ok() {
                    let _ = abort();
                }
            }
        };
        let _ = std::thread::Builder::new().name("abort".to_string()).spawn_scoped(scope, abort);
    });
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
