//! What stands in the way of a lab on this machine, found before anything is made, each with its fix.
//!
//! `facts` looks at the machine, `probe` tries the kernel's features where it leaves no trace, and `judge`, which is
//! pure, compares what they found with what a lab wants.

mod facts;
mod judge;
mod probe;

use std::path::PathBuf;

use ipnet::IpNet;
use serde::Serialize;

use crate::layout::Layout;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// `the LAN subnet 192.168.1.0/24 is in use on this machine`
    pub what: String,
    pub why: String,
    /// What to do, with the exact command or the lines of a Lab document.
    pub fix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No lab can run, or not this one.
    Error,
    /// It can, and something may go wrong later or look odd.
    Warning,
}

/// What a lab wants of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub subnets: Vec<Subnet>,
    /// The machine joins the LAN. If not, no subnet of the lab's can clash with one of the machine's.
    pub host: bool,
    pub nodes: usize,
    /// As many as can be foreseen.
    pub pods: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    pub net: IpNet,
    /// `LAN`, `pod`, `service`
    pub role: &'static str,
    /// Its field of the Lab document: `lanSubnet`.
    pub field: &'static str,
}

/// Examines the machine for a lab; errors come first. To be called in the machine's network and mount namespaces. What
/// is there of the lab itself, such as its link on a second `lab up`, is in nobody's way.
pub fn check(layout: &Layout, wanted: &Wanted) -> Vec<Finding> {
    let facts = facts::gather(layout);
    let mut findings = judge::judge(&facts, wanted);
    findings.sort_by_key(|finding| finding.level);
    findings
}

/// What was found out about the machine.
#[derive(Debug, Clone, Default)]
struct Facts {
    privilege: Privilege,
    /// Features of the kernel that are missing.
    missing: Vec<Missing>,
    /// Subnets that the machine uses, with the words that show them: `route 10.0.0.0/8 via 10.0.2.2 dev eth0`.
    used: Vec<(IpNet, String)>,
    /// Why there is no IPv6 here, and what brings it.
    no_ipv6: Option<(&'static str, &'static str)>,
    limits: Limits,
    leftovers: Vec<Leftover>,
    /// What could not be found out.
    unknown: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Privilege {
    #[default]
    Full,
    /// Not root.
    None,
    /// Root without the capability of this name, as in a container.
    Without(&'static str),
}

/// A feature that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Missing {
    what: &'static str,
    /// What a lab needs it for.
    purpose: &'static str,
    /// The modules that bring it.
    modules: &'static str,
    error: String,
}

/// `None` for what this kernel does not have, or does not show here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Limits {
    open_files: Option<u64>,
    processes: Option<u64>,
    net_namespaces: Option<u64>,
    inotify_instances: Option<u64>,
    inotify_watches: Option<u64>,
    neighbours: Option<u64>,
}

/// What an earlier lab left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leftover {
    /// A lab that runs and has no supervisor.
    Lab(String),
    /// A lab of which `lab down` could not remove all: what is left, and who held it.
    Held(String, Vec<String>),
    /// A lab with files in its run directory and nothing that runs.
    Stale(String),
    /// A lab with objects and no run directory, as after a restart of the machine.
    Stopped(String),
    /// A symlink of `ip netns` to a namespace that is gone.
    Symlink(PathBuf),
    /// A link with a lab's name for one, into a namespace that is no lab's here.
    Link(String),
}
