//! The store on disk: a snapshot of all objects and the changes since.
//!
//! ```text
//! lock                       held while the store is open
//! snapshot                   all objects at some resourceVersion
//! log-00000000000000000041   the changes after that resourceVersion, one frame a commit
//! ```
//!
//! A commit is acknowledged after one write(2) of its frame, so the end of the process loses nothing that was
//! acknowledged, and a commit is found again whole or not at all. The files are flushed to the disk by the keeper
//! thread, not by commits: see [`super::keeper::FLUSH_AFTER`] for what a loss of power can cost.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, ChangeRef, NameRef, SnapshotHeader};
use super::watch::{EventType, Made};
use crate::object::{Key, Object, Snapshot, kind};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store in {} is in use by another process: is the lab's supervisor running?", dir.display())]
    InUse { dir: PathBuf },
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is damaged ({reason}): restore it, or remove its directory to begin with an empty lab", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("{} holds a {kind}, which this version of lab does not know: use the version that wrote it", path.display())]
    UnknownKind { path: PathBuf, kind: String },
}

/// What the log needs of the file that it appends to; tests put a full disk in its place.
pub(super) trait Medium: Send + Sync {
    /// Appends; may write less than all, as write(2).
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    fn set_len(&self, length: u64) -> io::Result<()>;
    fn flush(&self) -> io::Result<()>;
}

impl Medium for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        io::Write::write(&mut file, bytes)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.sync_data()
    }
}

pub(super) struct Log {
    dir: PathBuf,
    /// Locked until the log is dropped.
    _lock: File,
    file: Arc<dyn Medium>,
    path: PathBuf,
    /// The resourceVersion that the file's changes begin after.
    start: u64,
    /// The bytes of whole frames in the file.
    length: u64,
    /// Part of a failed write may stand behind them.
    torn: bool,
    /// Files before this one that the snapshot does not cover yet.
    older: Vec<PathBuf>,
    /// The bytes in them.
    older_length: u64,
    /// Compaction is due when the log has grown to this many bytes.
    limit: u64,
    pub unflushed: bool,
    buffer: Vec<u8>,
}

/// A log smaller than this is never compacted.
pub(super) const COMPACT_FROM: u64 = 4 << 20;

/// So many objects stand in one frame of a snapshot.
const FRAME_OBJECTS: usize = 64;

/// Beyond this the buffer of a commit is given back.
const BUFFER_KEPT: usize = 1 << 20;

pub(super) fn segment(dir: &Path, start: u64) -> PathBuf {
    dir.join(format!("log-{start:020}"))
}

pub(super) fn snapshot_file(dir: &Path) -> PathBuf {
    dir.join("snapshot")
}

/// Makes the directory when it is missing, and takes its lock.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    let io = |action, path: &Path| {
        let path = path.to_path_buf();
        move |source| OpenError::Io { action, path, source }
    };
    // Secrets are among the objects.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("make the directory", dir))?;
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(io("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(io("lock", &path)(source)),
    }
}

fn open_segment(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// What [`super::recover`] found, for the log to go on from.
pub(super) struct Found {
    /// Oldest first, with the length of their whole frames; the last one is appended to.
    pub segments: Vec<(PathBuf, u64, u64)>,
    pub snapshot_length: u64,
    pub version: u64,
}

impl Log {
    pub fn resume(dir: &Path, lock: File, mut found: Found) -> Result<Self, OpenError> {
        let (path, start, length) =
            found.segments.pop().unwrap_or_else(|| (segment(dir, found.version), found.version, 0));
        let io = |action| {
            let path = path.clone();
            move |source| OpenError::Io { action, path, source }
        };
        let file = open_segment(&path).map_err(io("open the log"))?;
        let on_disk = file.metadata().map_err(io("look at the log"))?.len();
        if on_disk != length {
            file.set_len(length).map_err(io("cut the unfinished end off the log"))?;
        }
        let older_length = found.segments.iter().map(|(_, _, length)| length).sum();
        Ok(Log {
            dir: dir.to_path_buf(),
            _lock: lock,
            file: Arc::new(file),
            path,
            start,
            length,
            torn: false,
            older: found.segments.into_iter().map(|(path, _, _)| path).collect(),
            older_length,
            limit: limit(found.snapshot_length),
            unflushed: false,
            buffer: Vec::new(),
        })
    }

    /// Writes what the events changed as one frame. After an error the file is as it was before.
    pub fn append(&mut self, from: u64, events: &[Made]) -> io::Result<()> {
        self.try_append(from, events).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space and try again",
                _ => "",
            };
            io::Error::new(error.kind(), format!("{}: {error}{hint}", self.path.display()))
        })
    }

    fn try_append(&mut self, from: u64, events: &[Made]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        self.buffer.clear();
        let (change, objects) = net_change(from, events);
        frame::write(&mut self.buffer, &change, objects)?;
        if let Err(error) = write_all(&*self.file, &self.buffer) {
            self.torn = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += self.buffer.len() as u64;
        self.unflushed = true;
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// The file, to be flushed without holding up commits.
    pub fn file(&self) -> Arc<dyn Medium> {
        self.file.clone()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn is_outgrown(&self) -> bool {
        self.older_length + self.length > self.limit
    }

    /// Begins a new file for the changes after `version`, which must be the store's; a [`Compaction`] of the objects at
    /// `version` then replaces what was before.
    pub fn rotate(&mut self, version: u64) -> io::Result<Compaction> {
        if self.start != version {
            let path = segment(&self.dir, version);
            let file = open_segment(&path)?;
            // Left behind by an attempt to rotate that failed: nothing in it was ever acknowledged.
            file.set_len(0)?;
            self.older.push(std::mem::replace(&mut self.path, path));
            self.older_length += self.length;
            (self.file, self.start, self.length, self.torn) = (Arc::new(file), version, 0, false);
        }
        Ok(Compaction { dir: self.dir.clone(), replaces: self.older.clone() })
    }

    /// To be told how a compaction went.
    pub fn compacted(&mut self, result: &io::Result<(Compaction, u64)>) {
        match result {
            Ok((compaction, snapshot_length)) => {
                self.older.retain(|path| !compaction.replaces.contains(path));
                self.older_length = 0;
                self.limit = limit(*snapshot_length);
            }
            // Most likely the disk is full: leave it in peace until the log has grown as much again.
            Err(_) => self.limit = (self.older_length + self.length).max(COMPACT_FROM) * 2,
        }
    }

    #[cfg(test)]
    pub fn replace_medium(&mut self, wrap: impl FnOnce(Arc<dyn Medium>) -> Arc<dyn Medium>) {
        self.file = wrap(self.file.clone());
    }
}

fn limit(snapshot_length: u64) -> u64 {
    (2 * snapshot_length).max(COMPACT_FROM)
}

/// Like [`io::Write::write_all`]; one write(2) unless the file takes less.
fn write_all(file: &dyn Medium, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is left to say of the events when only the last of each object counts: the change, and the objects it puts.
fn net_change(from: u64, events: &[Made]) -> (ChangeRef<'_>, Vec<&Object>) {
    let to = events.iter().map(|event| event.resource_version).max().unwrap_or(from);
    let (mut delete, mut put) = (Vec::new(), Vec::with_capacity(events.len()));
    let mut seen = HashSet::with_capacity(events.len());
    for event in events.iter().rev() {
        if !seen.insert(&event.key) {
            continue;
        }
        match event.event_type {
            EventType::Added | EventType::Modified => put.push(&*event.object),
            EventType::Deleted => delete.push(NameRef::from(&event.key)),
        }
    }
    (ChangeRef { from, to, delete }, put)
}

/// A snapshot that is to take the place of log files.
pub(super) struct Compaction {
    dir: PathBuf,
    replaces: Vec<PathBuf>,
}

impl Compaction {
    /// Writes the snapshot beside the old one, puts it in its place in one step, and removes the log files that it
    /// covers. At every moment the directory holds everything that was acknowledged. Returns the snapshot's size.
    pub fn run(self, objects: &Snapshot) -> io::Result<(Self, u64)> {
        let temporary = self.dir.join("snapshot.tmp");
        let written = write_snapshot(&temporary, objects);
        if written.is_err() {
            // The next attempt overwrites what cannot be removed now.
            let _ = fs::remove_file(&temporary);
        }
        let length = written?;
        fs::rename(&temporary, snapshot_file(&self.dir))?;
        flush_dir(&self.dir)?;
        for path in &self.replaces {
            // What stays is skipped when the store is opened, and removed then.
            let _ = fs::remove_file(path);
        }
        Ok((self, length))
    }
}

fn write_snapshot(path: &Path, objects: &Snapshot) -> io::Result<u64> {
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    let version = objects.resource_version();
    let (mut buffer, mut length) = (Vec::new(), 0);
    frame::write(&mut buffer, &SnapshotHeader { version, objects: objects.len() }, [])?;
    // Definitions first: what they define can be read only once they are known.
    let is_definition = |key: &Key| *key.kind == kind::CUSTOM_RESOURCE_DEFINITION;
    let first = objects.iter().filter(|(key, _)| is_definition(key));
    let others = objects.iter().filter(|(key, _)| !is_definition(key));
    let mut all = first.chain(others).map(|(_, object)| &**object).peekable();
    while all.peek().is_some() {
        let change = ChangeRef { from: version, to: version, delete: Vec::new() };
        frame::write(&mut buffer, &change, all.by_ref().take(FRAME_OBJECTS))?;
        file.write_all(&buffer)?;
        length += buffer.len() as u64;
        buffer.clear();
    }
    file.write_all(&buffer)?;
    length += buffer.len() as u64;
    file.sync_all()?;
    Ok(length)
}

/// Makes new and renamed files of a directory survive a loss of power.
pub(super) fn flush_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
