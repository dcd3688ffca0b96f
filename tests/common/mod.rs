//! Network namespaces for tests against the real kernel. They run as root inside `scripts/sandbox`, and fail elsewhere.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::File;
use std::process::Command;
use std::sync::Once;

use nix::sched::{CloneFlags, setns};

/// Fails unless this is the private outer namespace, whose only link is `lo`.
pub fn require_sandbox() {
    static CHECKED: Once = Once::new();
    CHECKED.call_once(|| {
        assert!(nix::unistd::geteuid().is_root(), "tests of the kernel need root: run them in scripts/sandbox");
        let init = std::fs::read_link("/proc/1/ns/net").expect("the first process's network namespace");
        let own = std::fs::read_link("/proc/self/ns/net").expect("the own network namespace");
        let links = sh("ip -o link show");
        let only_lo = links.lines().filter(|line| !line.contains(": lo:")).count() == 0;
        assert!(init == own && only_lo, "not in a private network namespace: run this in scripts/sandbox\n{links}");
    });
}

/// Runs a shell line in the outer namespace and returns what it printed.
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().expect("sh starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "`{line}`: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    text
}

/// A network namespace that `ip netns` knows; deleted with this value.
pub struct Netns {
    pub name: String,
}

impl Netns {
    pub fn new(name: &str) -> Netns {
        require_sandbox();
        sh(&format!("ip netns add {name}; ip -n {name} link set lo up"));
        let netns = Netns { name: name.to_string() };
        // No link waits to find out whether its IPv6 address is taken.
        netns.sh("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
        netns
    }

    pub fn open(&self) -> File {
        File::open(format!("/run/netns/{}", self.name)).expect("the namespace's file")
    }

    /// Runs a shell line in it.
    pub fn sh(&self, line: &str) -> String {
        sh(&format!("ip netns exec {} sh -ec '{line}'", self.name))
    }

    /// Runs `work` on a fresh thread in it. Sockets opened there stay in it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let netns = self.open();
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                setns(netns, CloneFlags::CLONE_NEWNET).expect("the namespace is entered");
                work()
            });
            match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Not `sh`: a failure here must not hide the test's own.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}
