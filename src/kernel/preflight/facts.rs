//! What the machine is like.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

use super::{Facts, Leftover, Limits, Privilege, probe};
use crate::kernel::net::NetError;
use crate::kernel::teardown;
use crate::layout::{IP_NETNS, Layout, RUN};

/// Bits of the capability sets in /proc/PID/status.
const CAPABILITIES: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];

pub fn gather(layout: &Layout) -> Facts {
    let mut facts =
        Facts { privilege: privilege(), limits: limits(), leftovers: leftovers(layout), ..Facts::default() };
    if facts.privilege == Privilege::Full {
        match probe::missing() {
            Ok(missing) => facts.missing = missing,
            Err(error) => facts.unknown.push(error.to_string()),
        }
    }
    if let Err(error) = used(layout, &mut facts) {
        facts.unknown.push(error);
    }
    facts
}

fn privilege() -> Privilege {
    if !geteuid().is_root() {
        return Privilege::None;
    }
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(u64::MAX);
    let lacking = CAPABILITIES.into_iter().find(|(bit, _)| effective & (1 << bit) == 0);
    lacking.map_or(Privilege::Full, |(_, name)| Privilege::Without(name))
}

/// The subnets of the machine's addresses and routes, but for those on the lab's own link.
fn used(layout: &Layout, facts: &mut Facts) -> Result<(), String> {
    let machine = teardown::machine()?;
    let words = |error: NetError| error.to_string();
    let links = machine.links().map_err(words)?;
    let namespaces = teardown::namespaces(layout, &mut facts.unknown);
    let own = teardown::cables(&namespaces)?;
    let name = |number| links.iter().find(|link| link.number == number).map_or("?", |link| link.name.as_str());
    let is_own = |number: u32| name(number) == "lo" || own.iter().any(|link| link.number == number);
    for found in machine.all_routes().map_err(words)? {
        if found.route.to.prefix_len() > 0 && !is_own(found.link) {
            let via = found.route.via.map(|via| format!(" via {via}")).unwrap_or_default();
            let text = format!("route {}{via} dev {}", found.route.to, name(found.link));
            facts.used.push((found.route.to.trunc(), text));
        }
    }
    for found in machine.all_addresses(0).map_err(words)? {
        let subnet = found.net.trunc();
        // Most addresses have a route of the same subnet, which says it already.
        if !is_own(found.link) && !facts.used.iter().any(|(used, _)| *used == subnet) {
            facts.used.push((subnet, format!("address {} of {}", found.net, name(found.link))));
        }
    }
    Ok(())
}

fn limits() -> Limits {
    let sysctl = |path: &str| fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?.trim().parse().ok();
    Limits {
        // The soft limit is the supervisor's own to raise.
        open_files: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard),
        processes: sysctl("kernel/pid_max"),
        net_namespaces: sysctl("user/max_net_namespaces"),
        inotify_instances: sysctl("fs/inotify/max_user_instances"),
        inotify_watches: sysctl("fs/inotify/max_user_watches"),
        // Shown in the first network namespace of the machine only, and one for all.
        neighbours: sysctl("net/ipv4/neigh/default/gc_thresh3"),
    }
}

fn leftovers(layout: &Layout) -> Vec<Leftover> {
    let names = |directory: &str| {
        let mut names: Vec<_> =
            fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    let labs = names(RUN).into_iter().filter_map(|name| name.into_string().ok()).filter(|lab| {
        let other = Layout::new(lab);
        let locks = [other.lock(), other.supervisor_lock()];
        // The lab itself may be being started: whoever asks holds its lock.
        lab != layout.lab() && other.netns_dir().is_dir() && !locks.iter().any(|lock| is_held(lock))
    });
    let links = names(IP_NETNS)
        .into_iter()
        .map(|name| Path::new(IP_NETNS).join(name))
        .filter(|path| fs::read_link(path).is_ok_and(|target| target.starts_with(RUN)) && fs::metadata(path).is_err());
    labs.map(Leftover::Lab).chain(links.map(Leftover::Symlink)).collect()
}

fn is_held(lock: &Path) -> bool {
    File::open(lock).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
