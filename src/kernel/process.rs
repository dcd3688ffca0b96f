//! Processes of the lab that are not containers: leaving a terminal, ending another process for certain.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long the kernel may take to end a killed process.
const DEATH: Duration = Duration::from_secs(10);

/// Becomes the leader of a session of its own, with nothing to read and nobody to print to.
pub fn detach() -> io::Result<()> {
    // EPERM: it leads one already.
    match nix::unistd::setsid() {
        Ok(_) | Err(nix::errno::Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(())
}

/// SIGKILLs `pid` and waits until it has ended. One that has ended already is no error.
pub fn kill_and_wait(pid: i32) -> io::Result<()> {
    let pidfd = match super::runtime::sys::pidfd_open(pid) {
        Ok(pidfd) => pidfd,
        Err(nix::errno::Errno::ESRCH) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    match super::runtime::sys::pidfd_signal(pidfd.as_fd(), nix::libc::SIGKILL) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(DEATH).unwrap_or(PollTimeout::NONE);
    match poll(&mut ended, timeout)? {
        0 => Err(io::Error::new(io::ErrorKind::TimedOut, format!("it has not ended within {DEATH:?} of SIGKILL"))),
        _ => Ok(()),
    }
}
