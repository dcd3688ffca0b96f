//! What a teardown that could not end all leaves for the next one, so that this can tell whether it has gone since: the
//! witness, bound to a file in the lab's directory, which knows the namespaces by number and keeps none of them alive.
//!
//! After a reboot nothing is bound there, and nothing of the lab exists any more.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::{Deserialize, Serialize};

use crate::desired::Mac;
use crate::kernel::net::directory::{absent_is_fine, namespace_at};
use crate::kernel::net::space::Link;
use crate::layout::Layout;

pub struct Evidence {
    pub witness: OwnedFd,
    pub held: Vec<Held>,
    pub cables: Vec<Cable>,
}

/// A namespace that something holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The witness's number for it.
    pub number: u32,
    pub name: String,
    pub inode: u64,
    /// Who held it, when that was last looked at.
    pub why: String,
}

/// The machine's end of a cable into the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cable {
    pub number: u32,
    pub name: String,
    pub mac: Option<Mac>,
}

impl Cable {
    pub fn of(link: &Link) -> Cable {
        Cable { number: link.number, name: link.name.clone(), mac: link.mac }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Left {
    held: Vec<Held>,
    cables: Vec<Cable>,
}

fn read(layout: &Layout) -> Left {
    fs::read(layout.left()).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// What the last teardown could not see gone; nothing when it saw all go, or the machine has been restarted since.
pub fn recall(layout: &Layout) -> Option<Evidence> {
    let witness = namespace_at(&layout.witness()).ok()??;
    let Left { held, cables } = read(layout);
    Some(Evidence { witness, held, cables })
}

/// What the last teardown left, each with who held it, in words.
pub fn left(layout: &Layout) -> Vec<String> {
    let there = namespace_at(&layout.witness()).is_ok_and(|witness| witness.is_some());
    let held = read(layout).held.into_iter().filter(|_| there);
    held.map(|held| format!("network namespace {}: {}", held.name, held.why)).collect()
}

/// The numbers of the machine's links that it left.
pub fn left_cables(layout: &Layout) -> Vec<u32> {
    read(layout).cables.into_iter().map(|cable| cable.number).collect()
}

/// Notes the machine's ends of cables, which are looked at only after the namespaces.
pub fn note_cables(layout: &Layout, cables: &[Cable]) -> io::Result<()> {
    let mut left = read(layout);
    if left.held.is_empty() {
        return Ok(());
    }
    left.cables = cables.to_vec();
    fs::write(layout.left(), serde_json::to_vec(&left)?)
}

/// Keeps the witness of what is held; forgets an earlier one when nothing is.
pub fn keep(layout: &Layout, witness: BorrowedFd, held: Vec<Held>) -> io::Result<()> {
    let path = layout.witness();
    if held.is_empty() {
        match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        absent_is_fine(fs::remove_file(&path))?;
        return absent_is_fine(fs::remove_file(layout.left()));
    }
    fs::create_dir_all(layout.run())?;
    fs::write(layout.left(), serde_json::to_vec(&Left { held, cables: read(layout).cables })?)?;
    if namespace_at(&path)?.is_none() {
        File::create(&path)?;
        let namespace = format!("/proc/thread-self/fd/{}", witness.as_raw_fd());
        mount(Some(namespace.as_str()), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    Ok(())
}
