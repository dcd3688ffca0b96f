//! Who may change a lab: one `up` or `down` at a time, and one supervisor.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Held until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another process (pid {pid}) is at work on this lab: wait until it has ended")]
    Held { pid: String },
    #[error("lock {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

impl Lock {
    /// Takes the lock at `path`, whose directory is made if it is missing.
    pub fn take(path: &Path) -> Result<Lock, LockError> {
        let io = |source| LockError::Io { path: path.to_path_buf(), source };
        loop {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(io)?;
            }
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
            let mut file = match opened {
                // The directory went away in between: a `down` just ended.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(io)?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held { pid: read(&mut file) }),
                Err(TryLockError::Error(error)) => return Err(io(error)),
            }
            // A `down` removes the file while it holds it: what was locked may be nobody's any more.
            let same = |there: std::fs::Metadata, ours: std::fs::Metadata| {
                (there.dev(), there.ino()) == (ours.dev(), ours.ino())
            };
            if !std::fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|ours| same(there, ours))) {
                continue;
            }
            file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(io)?;
            return Ok(Lock { _file: file });
        }
    }

    /// The pid of the process that holds the lock at `path`, if one does.
    pub fn holder(path: &Path) -> Option<i32> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => read(&mut file).trim().parse().ok(),
            _ => None,
        }
    }
}

fn read(file: &mut File) -> String {
    let mut text = String::new();
    // Only for a message: an unreadable pid is no reason to fail.
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_a_removed_file_is_no_lock() {
        let dir = std::env::temp_dir().join(format!("nslab-lock-{}", std::process::id()));
        let path = dir.join("lock");
        let first = Lock::take(&path).unwrap();
        assert!(matches!(Lock::take(&path), Err(LockError::Held { .. })));
        assert_eq!(Lock::holder(&path), Some(std::process::id() as i32));
        std::fs::remove_file(&path).unwrap();
        let second = Lock::take(&path).unwrap();
        drop((first, second));
        assert_eq!(Lock::holder(&path), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
