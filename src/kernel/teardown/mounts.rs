//! Mounts below a lab's directories, as the kernel lists them.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use super::{Leftover, TeardownReport};
use crate::layout::Layout;

/// Unmounts everything below the lab's directories: first the namespaces, all by one call, then what else there is.
pub fn remove_all(layout: &Layout, report: &mut TeardownReport) {
    let mut unmount = |path: &Path| match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => true,
        // Not there, or not a mount point (any more).
        Err(Errno::EINVAL | Errno::ENOENT) => false,
        Err(errno) => {
            report.errors.push(format!("cannot unmount {}: {}", path.display(), errno.desc()));
            false
        }
    };
    unmount(&layout.netns_dir());
    let below = match below(layout) {
        Ok(below) => below,
        Err(error) => {
            report.errors.push(format!("cannot list mounts: {error}"));
            return;
        }
    };
    // The latest first: it may stand on an earlier one.
    report.removed.mounts += below.iter().rev().filter(|path| unmount(path)).count();
}

/// What still is mounted below the lab's directories.
pub fn prove_gone(layout: &Layout, report: &mut TeardownReport) -> bool {
    match below(layout) {
        Err(error) => {
            report.errors.push(format!("cannot list mounts: {error}"));
            false
        }
        Ok(paths) => {
            let none = paths.is_empty();
            report.left.extend(paths.into_iter().map(|path| Leftover {
                what: format!("the mount at {}", path.display()),
                why: "it could not be unmounted".to_string(),
                fix: format!("run `umount -l {}`, then `lab down` again", path.display()),
            }));
            none
        }
    }
}

/// But for the witness, which goes when it has nothing left to see.
fn below(layout: &Layout) -> io::Result<Vec<PathBuf>> {
    let table = fs::read("/proc/thread-self/mountinfo")?;
    let (run, state, witness) = (layout.run(), layout.state(), layout.witness());
    let mounts = table.split(|&byte| byte == b'\n').filter_map(mount_point);
    let is_ours = |path: &PathBuf| path.starts_with(&run) || path.starts_with(&state);
    Ok(mounts.filter(|path| is_ours(path) && *path != witness).collect())
}

/// The fifth field of a line, in which blanks and backslashes are written as `\040` and `\134`.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let mut rest = line.split(|&byte| byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let octal = after.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..b'8').contains(d)));
        match octal {
            Some(digits) => {
                path.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = after.get(3..).unwrap_or_default();
            }
            None => path.push(byte),
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_the_fifth_field_unescaped() {
        let line = br"612 30 0:53 net:[4026532] /run/nslab/my\040lab/a\134b rw shared:3 - nsfs nsfs rw";
        assert_eq!(mount_point(line).unwrap(), Path::new(r"/run/nslab/my lab/a\b"));
        assert_eq!(mount_point(b"").or(mount_point(b"1 2 3 4")), None);
    }
}
