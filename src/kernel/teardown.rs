//! Takes a lab away, whoever made it and however far they got, and proves that it is gone.
//!
//! It needs neither the supervisor nor the lab's objects: what is the lab's is what stands in its run directory, the
//! namespaces bound there, what only exists in those, and the processes whose identity is recorded there. Nothing is
//! found by its name, so nothing that is not the lab's is touched. An error ends only the step that it happened in. What
//! does not go is kept in mind there too, until a later teardown sees it gone.

mod connections;
mod evidence;
mod files;
mod holders;
mod mounts;
mod runtime;
mod witness;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use crate::kernel::net::directory;
use crate::kernel::net::space::{Link, Space};
use crate::kernel::netlink::{Family, Netlink};
use crate::layout::Layout;
use evidence::Cable;
pub use evidence::{left, left_cables};
pub use files::remove_volumes;
pub use witness::Witness;

/// What became of a lab.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeardownReport {
    pub removed: Removed,
    /// Directories with volume data, which only [`remove_volumes`] removes.
    pub kept: Vec<PathBuf>,
    /// What is still there.
    pub left: Vec<Leftover>,
    /// What went wrong on the way; it may have been made up for by a later step.
    pub errors: Vec<String>,
}

impl TeardownReport {
    /// Nothing is left, and nothing went wrong.
    pub fn is_clean(&self) -> bool {
        self.left.is_empty() && self.errors.is_empty()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names of network namespaces.
    pub namespaces: Vec<String>,
    /// Nodes whose processes were running.
    pub nodes: Vec<String>,
    /// How many mounts, those of the namespaces apart.
    pub mounts: usize,
}

/// Something of the lab that could not be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub what: String,
    pub why: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is left: {}; {}", self.what, self.why, self.fix)
    }
}

/// Removes everything of a lab but its volume data. To be called in the machine's network and mount namespaces, with
/// the lab's supervisor ended. It can be repeated, and two may run at once.
pub fn teardown(layout: &Layout) -> TeardownReport {
    let mut report = TeardownReport::default();
    let namespaces = namespaces(layout, &mut report.errors);
    let evidence = evidence::recall(layout);
    let mut cables_of_before = evidence.as_ref().map(|evidence| evidence.cables.clone()).unwrap_or_default();
    let dying = runtime::kill_all(layout, &mut report);
    // Both look at the namespaces, and so have to do it while these are held.
    let witness = Witness::call(&namespaces, evidence).map_err(|error| report.errors.push(error.to_string())).ok();
    let cables = cables(&namespaces).unwrap_or_else(|error| {
        report.errors.push(error);
        Vec::new()
    });
    let mut cables: Vec<Cable> = cables.iter().map(Cable::of).collect();
    cables.append(&mut cables_of_before);

    runtime::see_them_end(dying, &mut report);
    connections::abort_all(&namespaces);
    report.removed.namespaces = namespaces.into_keys().collect();
    remove_symlinks(layout, &mut report);
    mounts::remove_all(layout, &mut report);
    // While the kernel destroys the namespaces, in a thread of its own.
    let nothing_mounted = files::remove_state(layout, &mut report);
    if let Some(witness) = witness {
        witness.see_them_gone(layout, &mut report);
    }
    if let Err(error) = evidence::note_cables(layout, &cables) {
        report.errors.push(format!("cannot keep in mind what is left: {error}"));
    }
    prove_cables_gone(&cables, &mut report);
    if nothing_mounted {
        files::remove_run(layout, &mut report);
    }
    report
}

/// The namespaces that are bound in the lab's directory.
pub(crate) fn namespaces(layout: &Layout, errors: &mut Vec<String>) -> BTreeMap<String, OwnedFd> {
    let mut found = BTreeMap::new();
    // Without the directory there are none.
    let entries = fs::read_dir(layout.netns_dir()).into_iter().flatten().flatten();
    for entry in entries {
        match directory::namespace_at(&entry.path()) {
            Ok(Some(fd)) => {
                found.insert(entry.file_name().to_string_lossy().into_owned(), fd);
            }
            Ok(None) => {}
            Err(error) => errors.push(format!("cannot open {}: {error}", entry.path().display())),
        }
    }
    found
}

/// The machine's own ends of cables into the lab.
pub(crate) fn cables(namespaces: &BTreeMap<String, OwnedFd>) -> Result<Vec<Link>, String> {
    if namespaces.is_empty() {
        return Ok(Vec::new());
    }
    let machine = machine()?;
    let links = machine.links().map_err(|error| error.to_string())?;
    let mut veths: Vec<Link> = links.into_iter().filter(|link| link.peer_netns.is_some()).collect();
    if !veths.is_empty() {
        let numbers = namespaces.values().map(|fd| machine.number_of(fd.as_fd()));
        let numbers: Vec<Option<u32>> = numbers.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        veths.retain(|link| numbers.contains(&link.peer_netns));
    }
    Ok(veths)
}

/// They go with the namespaces at their other ends.
fn prove_cables_gone(cables: &[Cable], report: &mut TeardownReport) {
    if cables.is_empty() {
        return;
    }
    let links = machine().and_then(|machine| machine.links().map_err(|error| error.to_string()));
    match links {
        Err(error) => report.errors.push(error),
        Ok(links) => {
            for cable in cables.iter().filter(|cable| links.iter().any(|link| Cable::of(link) == **cable)) {
                report.left.push(Leftover {
                    what: format!("link {}", cable.name),
                    why: "the namespace at its other end is still there".to_string(),
                    fix: format!("see what keeps that one, or remove it by `ip link delete {}`", cable.name),
                });
            }
        }
    }
}

/// The machine's own network namespace.
pub(crate) fn machine() -> Result<Space, String> {
    let netlink = Netlink::open(Family::Route).map_err(|error| error.to_string())?;
    let fd = File::open("/proc/thread-self/ns/net").map_err(|error| format!("cannot open a namespace: {error}"))?;
    Ok(Space::new("", fd.into(), netlink, 0))
}

fn remove_symlinks(layout: &Layout, report: &mut TeardownReport) {
    match directory::symlinks(layout) {
        Err(error) => report.errors.push(format!("cannot list {}: {error}", crate::layout::IP_NETNS)),
        Ok(links) => {
            for link in links.into_keys() {
                if let Err(error) = directory::absent_is_fine(fs::remove_file(&link)) {
                    report.errors.push(format!("cannot remove {}: {error}", link.display()));
                }
            }
        }
    }
}
