//! Ends the nodes: each is one process whose death takes its pid namespace, and so all its containers, along.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Leftover, TeardownReport};
use crate::layout::Layout;

/// How long the kernel may take to end a node's processes, in milliseconds.
const PATIENCE: u16 = 20_000;

/// The nodes' processes are killed at once and waited for one after the other.
pub fn end_all(layout: &Layout, report: &mut TeardownReport) {
    let mut dying = Vec::new();
    let nodes = layout.run().join("nodes");
    for entry in fs::read_dir(&nodes).into_iter().flatten().flatten() {
        let node = entry.file_name().to_string_lossy().into_owned();
        match find(layout, &node) {
            Ok(None) => {}
            Ok(Some(process)) => match process.kill() {
                Ok(()) => dying.push((node, process)),
                Err(errno) => report.errors.push(format!("cannot end node {node}, process {}: {errno}", process.pid)),
            },
            Err(error) => report.errors.push(format!("cannot find the process of node {node}: {error}")),
        }
    }
    for (node, process) in dying {
        match process.wait() {
            Ok(true) => report.removed.nodes.push(node),
            Ok(false) => report.left.push(Leftover {
                what: format!("process {} of node {node}", process.pid),
                why: "it was killed and has not ended; it or one of its containers waits for a device or a file system"
                    .to_string(),
                fix: "look for processes in state D (`ps ax`), then run `lab down` again".to_string(),
            }),
            Err(errno) => {
                report.errors.push(format!("cannot wait for process {} of node {node}: {errno}", process.pid))
            }
        }
    }
}

/// A process held by a pidfd, which no other process can come to stand behind.
struct Process {
    pid: i32,
    pidfd: OwnedFd,
}

/// The process that the node's runtime recorded, as `PID STARTTIME`, if it is still that one.
fn find(layout: &Layout, node: &str) -> io::Result<Option<Process>> {
    let record = match fs::read_to_string(layout.node_run(node).join("pid")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        record => record?,
    };
    let mut words = record.split_whitespace();
    let (Some(pid), Some(started)) = (words.next().and_then(|w| w.parse().ok()), words.next()) else {
        // Cut short by a crash: the runtime lets no node go on before its record is complete.
        return Ok(None);
    };
    let pidfd = match pidfd_open(pid) {
        Err(Errno::ESRCH) => return Ok(None),
        opened => opened?,
    };
    // The check comes after the opening, so that it is about the process that the pidfd is for.
    let same = start_time(pid)?.is_some_and(|now| now == started);
    Ok(same.then_some(Process { pid, pidfd }))
}

/// Field 22 of /proc/PID/stat; the second may contain blanks and parentheses.
fn start_time(pid: i32) -> io::Result<Option<String>> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return Ok(None),
        stat => stat?,
    };
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest);
    Ok(after_name.and_then(|rest| rest.split_whitespace().nth(19)).map(String::from))
}

impl Process {
    fn kill(&self) -> Result<(), Errno> {
        // SAFETY: plain numbers, and a null pointer where the kernel allows one (no siginfo).
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                libc::SIGKILL,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match Errno::result(result) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Whether it ended in time. The first process of a pid namespace ends after all others in it.
    fn wait(&self) -> Result<bool, Errno> {
        loop {
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::from(PATIENCE)) {
                Err(Errno::EINTR) => continue,
                ended => return Ok(ended? > 0),
            }
        }
    }
}

fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers only.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
