//! What this process is: who runs it, becoming one that nobody waits for, and one that stays small.

use std::fs::OpenOptions;
use std::io;

use nix::errno::Errno;
use nix::libc;

/// Becomes the leader of a session of its own, which no terminal sends signals to.
pub fn leave_terminal() -> io::Result<()> {
    match nix::unistd::setsid() {
        // EPERM: it leads one already.
        Ok(_) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Has nothing to read from now on, and nobody to print to.
pub fn close_streams() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(())
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Has all threads share one heap. With a heap each, which is glibc's way, a process whose threads hand their objects on
/// to each other holds what it needs several times; and those heaps grow by a page at a time, each with a system call.
/// To be called before there are threads.
pub fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: they set numbers of the allocator's. What it does not know it ignores.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TOP_PAD, 1 << 20);
    }
}

/// Gives the system back what the heap has free.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointers.
    unsafe {
        libc::malloc_trim(0);
    }
}
