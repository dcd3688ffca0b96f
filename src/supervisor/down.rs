//! `lab down`: takes a lab away, whatever state it is in, and proves that nothing is left.

use std::path::PathBuf;
use std::time::Duration;

use crate::kernel::daemon::is_root;
use crate::kernel::process::Process;
use crate::kernel::teardown::{remove_volumes, teardown};
use crate::layout::{GOING_DOWN, Layout, RUN, STATE};

use super::lock::{Lock, LockError};

/// SIGKILL: the supervisor is made to be killed, and has nothing to put in order.
const KILL: i32 = 9;
/// How long the kernel may take to end a killed process.
const DEATH: Duration = Duration::from_secs(10);

/// What became of one lab.
#[derive(Debug, Default)]
pub struct Down {
    pub lab: String,
    /// There was nothing to take down.
    pub was_absent: bool,
    /// Directories with data that pods wrote to hostPath volumes.
    pub kept: Vec<PathBuf>,
    /// What went wrong on the way; the rest was done all the same.
    pub errors: Vec<String>,
    /// What is still there, against all efforts.
    pub left: Vec<String>,
}

impl Down {
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.left.is_empty()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DownError {
    #[error("take down lab \"{lab}\": {source}")]
    Locked { lab: String, source: LockError },
    #[error("take down lab \"{lab}\": it ends processes and unmounts, which only root may; run it with sudo")]
    Privilege { lab: String },
}

/// Every lab that has a process, a namespace or a file on this machine.
pub fn labs() -> Vec<String> {
    let names = |dir: &str| std::fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir());
    let mut labs: Vec<String> =
        [RUN, STATE].iter().flat_map(|dir| names(dir)).filter_map(|e| e.file_name().into_string().ok()).collect();
    labs.sort();
    labs.dedup();
    labs
}

/// Takes one lab down. Safe to repeat; needs neither a supervisor nor the manifests.
pub fn down(lab: &str, volumes: bool) -> Result<Down, DownError> {
    let layout = Layout::new(lab);
    let mut result = Down { lab: lab.to_string(), ..Down::default() };
    if !layout.run().exists() && !layout.state().exists() {
        result.was_absent = true;
        return Ok(result);
    }
    if !is_root() {
        return Err(DownError::Privilege { lab: lab.to_string() });
    }
    let lock = Lock::take(&layout.lock()).map_err(|source| DownError::Locked { lab: lab.to_string(), source })?;
    // Best effort: without it clients say that the connection broke.
    let _ = std::fs::write(layout.run().join(GOING_DOWN), "");
    if let Some(process) = Lock::holder(&layout.supervisor_lock()).and_then(Process::of) {
        let pid = process.pid;
        match process.signal(KILL) {
            Ok(()) if process.wait_gone(DEATH) => {}
            Ok(()) => result.errors.push(format!("the supervisor (pid {pid}) has not ended {DEATH:?} after SIGKILL")),
            Err(error) => result.errors.push(format!("end the supervisor (pid {pid}): {error}")),
        }
    }
    let report = teardown(&layout);
    result.errors.extend(report.errors);
    result.left.extend(report.left.iter().map(ToString::to_string));
    result.kept = report.kept;
    if volumes {
        match remove_volumes(&layout) {
            Ok(_) => result.kept.clear(),
            Err(error) => result.errors.push(error.to_string()),
        }
    }
    drop(lock);
    for parent in [RUN, STATE] {
        // Only when no other lab has anything there.
        let _ = std::fs::remove_dir(parent);
    }
    Ok(result)
}

/// What `lab down` prints for one lab.
pub fn render(down: &Down) -> String {
    let lab = &down.lab;
    if down.was_absent {
        return format!("There is no lab \"{lab}\": nothing to take down.\n");
    }
    let mut text = String::new();
    for error in &down.errors {
        text.push_str(&format!("error: {error}\n"));
    }
    for left in &down.left {
        text.push_str(&format!("still there: {left}\n"));
    }
    if down.is_clean() {
        text.push_str(&format!(
            "Lab \"{lab}\" is down: no namespace, link, nftables object, mount, process or file of it is left.\n"
        ));
    } else {
        text.push_str(&format!("Lab \"{lab}\" is not wholly down; run lab down again.\n"));
    }
    for dir in &down.kept {
        text.push_str(&format!("Volume data is kept in {}\n", dir.display()));
    }
    if !down.kept.is_empty() {
        text.push_str(&format!("Remove it with: sudo lab down --name {lab} --volumes\n"));
    }
    text
}
