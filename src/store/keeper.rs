//! The thread that flushes the log to the disk and compacts it, off the path of commits.

use std::io;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Shared;
use super::log;
use crate::object::Snapshot;

/// A commit is flushed this long after it was made, and when the store is dropped. A loss of power (or a crash of the
/// kernel) loses at most the commits of this time and of the flush itself, and leaves those before them whole; the end
/// of the process, however it comes, loses nothing.
pub const FLUSH_AFTER: Duration = Duration::from_millis(500);

pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name("store-keeper".into()).spawn(move || run(&of_thread))?;
        Ok(Keeper { shared, thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.unflushed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there is no reason for another here.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared) {
    // The names of the files are to last, too.
    let mut new_files = true;
    loop {
        let mut state = shared.lock();
        while !state.closing && !state.log.as_ref().is_some_and(|log| log.unflushed) {
            state = shared.unflushed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let wait = shared.unflushed.wait_timeout_while(state, FLUSH_AFTER, |state| !state.closing);
        let mut state = wait.unwrap_or_else(PoisonError::into_inner).0;
        let closing = state.closing;
        let Some(log) = state.log.as_mut() else { return };
        let flush_now = std::mem::take(&mut log.unflushed);
        let (file, dir, outgrown) = (log.file(), log.dir().to_path_buf(), log.is_outgrown());
        drop(state);
        let mut failed = false;
        if flush_now {
            failed = file.flush().is_err() || (new_files && log::flush_dir(&dir).is_err());
            new_files = failed;
        }
        // After a failed flush the kernel may have forgotten what it could not write: all of it is in memory, so a
        // snapshot makes it good.
        if (outgrown || failed) && !closing && compact(shared).is_err() {
            // Commits may have been added to the file before a new one took its place.
            failed |= file.flush().is_err();
            if let Some(log) = shared.lock().log.as_mut() {
                log.unflushed |= failed;
            }
        }
        if closing {
            return;
        }
    }
}

/// Puts all objects into a new snapshot and begins a new log.
pub(super) fn compact(shared: &Shared) -> io::Result<()> {
    let mut state = shared.lock();
    let objects = Snapshot::new(state.objects.clone(), state.resource_version);
    let Some(log) = state.log.as_mut() else { return Ok(()) };
    let rotated = log.rotate(objects.resource_version());
    drop(state);
    let result = rotated.and_then(|compaction| compaction.run(&objects));
    if let Some(log) = shared.lock().log.as_mut() {
        log.compacted(&result);
    }
    result.map(|_| ())
}
