//! File descriptors that a parent process leaves to this one, named by an environment variable.

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// An applet writes one byte here, and closes it, as soon as it can answer; when it fails before that, the reader sees
/// the end of the file.
pub const READY_FD: &str = "NSLAB_READY_FD";

/// Takes over the descriptor whose number stands in the environment variable `name`. `None` when there is no such
/// variable, or nothing is open under that number. To be called once, early in `main`.
pub fn take(name: &str) -> Option<File> {
    let number: i32 = std::env::var(name).ok()?.parse().ok()?;
    if number <= 2 {
        return None;
    }
    // SAFETY: the parent opened this descriptor for us and told us its number; `main` calls this before anything else
    // opens files, and nobody else reads the variable, so that nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    if fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).is_err() {
        // Nothing is open there. Closing the number later could close a file that was opened in the meantime.
        std::mem::forget(fd);
        return None;
    }
    Some(File::from(fd))
}
