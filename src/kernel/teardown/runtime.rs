//! Ends the nodes: each is one process whose death takes its pid namespace, and so all its containers, along.

use std::fs;
use std::time::Duration;

use nix::libc::SIGKILL;

use super::{Leftover, TeardownReport};
use crate::kernel::process::Process;
use crate::kernel::runtime::pid_file;
use crate::layout::Layout;

/// How long the kernel may take to end a node's processes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nodes that were killed and have not been seen to end yet.
pub struct Dying(Vec<(String, Process)>);

/// Kills all of the nodes' processes.
pub fn kill_all(layout: &Layout, report: &mut TeardownReport) -> Dying {
    let mut dying = Vec::new();
    for entry in fs::read_dir(layout.run().join("nodes")).into_iter().flatten().flatten() {
        let node = entry.file_name().to_string_lossy().into_owned();
        // A record that was cut short is of a node that never went on: its runtime waits for the record.
        let Some(process) = Process::read(&pid_file(layout, &node)).filter(Process::is_alive) else { continue };
        match process.signal(SIGKILL) {
            Ok(()) => dying.push((node, process)),
            Err(errno) => {
                let error = errno.desc();
                report.errors.push(format!("cannot end node {node}, process {}: {error}", process.pid));
            }
        }
    }
    Dying(dying)
}

/// Waits for them, one after the other.
pub fn see_them_end(dying: Dying, report: &mut TeardownReport) {
    for (node, process) in dying.0 {
        // The first process of a pid namespace ends after all others in it.
        if process.wait_gone(PATIENCE) {
            report.removed.nodes.push(node);
        } else {
            report.left.push(Leftover {
                what: format!("process {} of node {node}", process.pid),
                why: "it was killed and has not ended; it or one of its containers waits for a device or a file system"
                    .to_string(),
                fix: "look for processes in state D (`ps ax`), then run `lab down` again".to_string(),
            });
        }
    }
}
