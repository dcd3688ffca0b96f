//! What this process is: who runs it, and becoming one that nobody waits for.

use std::fs::OpenOptions;
use std::io;

use nix::errno::Errno;

/// Becomes the leader of a session of its own, with nothing to read and nobody to print to.
pub fn detach() -> io::Result<()> {
    match nix::unistd::setsid() {
        // EPERM: it leads one already.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(())
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
