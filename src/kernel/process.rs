//! Processes by a name that cannot be reused: a pid together with the time when it started.

use std::fmt;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::runtime::sys;

/// A process of this machine; written as `PID STARTTIME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub start_time: u64,
}

impl Process {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Process> {
        state_and_start(pid).map(|(_, start_time)| Process { pid, start_time })
    }

    /// What a pid file names.
    pub fn read(path: &Path) -> Option<Process> {
        fs::read_to_string(path).ok()?.parse().ok()
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_alive(&self) -> bool {
        state_and_start(self.pid).is_some_and(|(state, start)| start == self.start_time && state != 'Z' && state != 'X')
    }

    /// Sends it a signal. Done already when it is gone.
    pub fn signal(&self, signal: i32) -> nix::Result<()> {
        match self.open() {
            Some(pidfd) => match sys::pidfd_signal(pidfd.as_fd(), signal) {
                Err(Errno::ESRCH) => Ok(()),
                other => other,
            },
            None => Ok(()),
        }
    }

    /// Waits until it has ended; false when it has not within `limit`.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let Some(pidfd) = self.open() else { return true };
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        matches!(poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], limit), Ok(1..))
    }

    fn open(&self) -> Option<std::os::fd::OwnedFd> {
        let pidfd = sys::pidfd_open(self.pid).ok()?;
        // Only now is it certain that the descriptor is not that of a later process with the same pid.
        self.is_alive().then_some(pidfd)
    }
}

fn state_and_start(pid: i32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.start_time)
    }
}

impl FromStr for Process {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (pid, start_time) = text.trim_end().split_once(' ')?;
            Some(Process { pid: pid.parse().ok().filter(|pid| *pid > 0)?, start_time: start_time.parse().ok()? })
        };
        parse().ok_or_else(|| format!("\"{}\" does not name a process: expected PID STARTTIME", text.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_again() {
        let process = Process::of(std::process::id() as i32).unwrap();
        assert_eq!(process.to_string().parse(), Ok(process));
        assert!(process.is_alive());
        for bad in ["", "12", "0 5", "-1 5", "a b", "1 2 3"] {
            assert!(bad.parse::<Process>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let process = Process { start_time: 1, ..Process::of(std::process::id() as i32).unwrap() };
        assert!(!process.is_alive());
        assert!(process.wait_gone(Duration::ZERO));
    }

    #[test]
    fn an_ended_child_is_not_alive() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::of(child.id() as i32).unwrap();
        assert!(!process.wait_gone(Duration::ZERO));
        drop(child.stdin.take());
        assert!(process.wait_gone(Duration::from_secs(10)));
        assert!(!process.is_alive());
        child.wait().unwrap();
    }
}
