//! What the machine is like.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;

use super::{Facts, Leftover, Limits, Privilege, probe};
use crate::kernel::net::NetError;
use crate::kernel::teardown;
use crate::layout::{IP_NETNS, Layout, RUN, STATE};

/// Bits of the capability sets in /proc/PID/status.
const CAPABILITIES: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];

pub fn gather(layout: &Layout) -> Facts {
    let mut facts = Facts { privilege: privilege(), limits: limits(), no_ipv6: no_ipv6(), ..Facts::default() };
    leftovers(&mut facts);
    if facts.privilege == Privilege::Full {
        match probe::missing() {
            Ok(missing) => facts.missing = missing,
            Err(error) => facts.unknown.push(error.to_string()),
        }
    }
    if let Err(error) = used(layout, &mut facts) {
        facts.unknown.push(error);
    }
    if facts.privilege == Privilege::None {
        // Who is not root sees little, which is said once.
        facts.unknown.clear();
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

fn no_ipv6() -> Option<(&'static str, &'static str)> {
    let ipv6 = Path::new("/proc/sys/net/ipv6/conf/default/disable_ipv6");
    match fs::read(ipv6) {
        Err(_) => Some(("its kernel was started without it", "start the kernel without ipv6.disable=1")),
        Ok(disabled) if disabled.starts_with(b"1") => Some((
            "net.ipv6.conf.default.disable_ipv6 is 1, which new links take over",
            "sysctl -w net.ipv6.conf.default.disable_ipv6=0",
        )),
        Ok(_) => None,
    }
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

fn leftovers(facts: &mut Facts) {
    let mut found: Vec<Leftover> = Vec::new();
    let running = names(RUN);
    for lab in &running {
        let layout = Layout::new(lab);
        // Whoever brings it up or takes it down holds the one, its supervisor the other.
        if [layout.lock(), layout.supervisor_lock()].iter().any(|lock| is_held(lock)) {
            continue;
        }
        let left = teardown::left(&layout);
        let lives = !teardown::namespaces(&layout, &mut facts.unknown).is_empty();
        found.push(match (left.is_empty(), lives) {
            (false, _) => Leftover::Held(lab.clone(), left),
            (true, true) => Leftover::Lab(lab.clone()),
            (true, false) => Leftover::Stale(lab.clone()),
        });
    }
    let stopped = names(STATE).into_iter().filter(|lab| !running.contains(lab) && Layout::new(lab).store().exists());
    found.extend(stopped.map(Leftover::Stopped));
    let symlinks = names(IP_NETNS).into_iter().map(|name| Path::new(IP_NETNS).join(name));
    let dangling =
        |path: &PathBuf| fs::read_link(path).is_ok_and(|target| target.starts_with(RUN)) && fs::metadata(path).is_err();
    found.extend(symlinks.filter(dangling).map(Leftover::Symlink));
    match strange_links(&running) {
        Ok(links) => found.extend(links.into_iter().map(Leftover::Link)),
        Err(error) => facts.unknown.push(error),
    }
    facts.leftovers = found;
}

/// The machine's ends of cables that have a lab's name for one and lead into a namespace that no lab here has.
fn strange_links(labs: &[String]) -> Result<Vec<String>, String> {
    let links = teardown::machine()?.links().map_err(|error| error.to_string())?;
    let mut cables =
        links.into_iter().filter(|link| link.peer_netns.is_some() && link.name.starts_with("lan-")).peekable();
    if cables.peek().is_none() {
        return Ok(Vec::new());
    }
    let mut known = Vec::new();
    for lab in labs {
        let layout = Layout::new(lab);
        let namespaces = teardown::namespaces(&layout, &mut Vec::new());
        known.extend(teardown::cables(&namespaces)?.into_iter().map(|link| link.number));
        known.extend(teardown::left_cables(&layout));
    }
    Ok(cables.filter(|link| !known.contains(&link.number)).map(|link| link.name).collect())
}

/// The names in a directory, sorted; none if it is not there.
fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn is_held(lock: &Path) -> bool {
    File::open(lock).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
