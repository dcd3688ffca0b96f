//! A lab's files: all go, save for the data that somebody wrote to its volumes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{TeardownReport, mounts};
use crate::kernel::net::directory::absent_is_fine;
use crate::kernel::process::Process;
use crate::kernel::runtime::{pid_file, tidy_node_root};
use crate::layout::{Layout, RUN, STATE};

/// Removes all of the lab's state directory but volume data. False: something is mounted in the lab's directories yet,
/// and to remove files through it would be to remove what is not the lab's.
pub fn remove_state(layout: &Layout, report: &mut TeardownReport) -> bool {
    if !mounts::prove_gone(layout, report) {
        return false;
    }
    match data(layout) {
        Ok(kept) => report.kept = kept,
        Err(error) => {
            report.errors.push(format!("cannot look for volume data in {}: {error}", layout.state().display()));
            report.kept = vec![layout.state()];
        }
    }
    let kept = report.kept.clone();
    remove(&layout.state(), &kept, report);
    // Most of the run directory's files.
    remove(&layout.shared_etc(), &kept, report);
    true
}

/// Removes the lab's run directory, by which a teardown that was interrupted is found again, but for what the next one
/// has to know. To be called last, and after [`remove_state`].
pub fn remove_run(layout: &Layout, report: &mut TeardownReport) {
    let kept: Vec<PathBuf> = report.kept.iter().cloned().chain(evidence(layout)).collect();
    remove(&layout.run(), &kept, report);
    for shared in [RUN, STATE] {
        // Another lab may be in it.
        let _ = fs::remove_dir(shared);
    }
}

/// What the next teardown has to know of what did not end in this one.
fn evidence(layout: &Layout) -> Vec<PathBuf> {
    let of_namespaces = [layout.witness(), layout.left()].into_iter().filter(|path| path.symlink_metadata().is_ok());
    let nodes = fs::read_dir(layout.run().join("nodes")).into_iter().flatten().flatten();
    let of_nodes = nodes.map(|node| pid_file(layout, &node.file_name().to_string_lossy()));
    let alive = |path: &PathBuf| Process::read(path).is_some_and(|process| process.is_alive());
    of_namespaces.chain(of_nodes.filter(alive)).collect()
}

fn remove(path: &Path, kept: &[PathBuf], report: &mut TeardownReport) {
    if let Err(error) = remove_except(path, kept) {
        report.errors.push(format!("cannot remove {}: {error}", path.display()));
    }
}

/// Removes a lab's volume data for good; returns where it was. To be called after [`super::teardown`].
pub fn remove_volumes(layout: &Layout) -> io::Result<Vec<PathBuf>> {
    let data = data(layout)?;
    remove_except(&layout.state(), &[])?;
    let _ = fs::remove_dir(STATE);
    Ok(data)
}

/// The nodes' root directories that have more in them than empty directories.
fn data(layout: &Layout) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let nodes = match fs::read_dir(layout.state().join("nodes")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        nodes => nodes?,
    };
    for node in nodes {
        let root = layout.node_root(&node?.file_name().to_string_lossy());
        // Links and empty directories of the node's making are nobody's data.
        if root.is_dir() && !tidy_node_root(&root)? && has_files(&root)? {
            found.push(root);
        }
    }
    found.sort();
    Ok(found)
}

fn has_files(path: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || has_files(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a directory with all below it, save for `kept` and what leads there. Another teardown may be at it, too.
fn remove_except(path: &Path, kept: &[PathBuf]) -> io::Result<()> {
    if kept.iter().any(|kept| kept == path) {
        return Ok(());
    }
    if !kept.iter().any(|kept| kept.starts_with(path)) {
        return remove_all(path);
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_except(&entry.path(), kept)?;
        } else if !kept.contains(&entry.path()) {
            absent_is_fine(fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

fn remove_all(path: &Path) -> io::Result<()> {
    // One that finds the other's directories vanish under it starts over; each time there is less.
    for _ in 0..100 {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {}
            removed => return removed,
        }
    }
    fs::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_stays() {
        let base = std::env::temp_dir().join(format!("nslab-files-{}", std::process::id()));
        let kept = base.join("nodes/w1/root");
        fs::create_dir_all(kept.join("data")).unwrap();
        fs::create_dir_all(base.join("nodes/w2/root/empty/too")).unwrap();
        fs::create_dir_all(base.join("logs/a")).unwrap();
        for file in [kept.join("data/file"), base.join("nodes/w1/other"), base.join("store")] {
            fs::write(file, "").unwrap();
        }
        assert!(has_files(&kept).unwrap());
        let evidence = base.join("left");
        fs::write(&evidence, "").unwrap();
        remove_except(&base.join("logs"), &[]).unwrap();
        remove_except(&base, &[kept.clone(), evidence.clone()]).unwrap();
        assert!(evidence.exists() && kept.join("data/file").exists(), "a file is kept as a directory is");
        assert!(!has_files(&base.join("nodes/w2/root")).unwrap());
        remove_except(&base, std::slice::from_ref(&kept)).unwrap();
        assert!(kept.join("data/file").exists());
        for gone in ["nodes/w1/other", "nodes/w2", "logs", "store"] {
            assert!(!base.join(gone).exists(), "{gone}");
        }
        remove_except(&base, &[]).unwrap();
        remove_except(&base, &[]).unwrap();
        assert!(!base.exists());
    }
}
