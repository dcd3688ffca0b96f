//! Who holds a network namespace: a process or thread in it, an open file of it, a mount of it in whichever mount
//! namespace. Only looked for when one does not end, since it means to look at every process of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::witness::Subject;

/// What holds each of the namespaces, in words; those that nothing was found for are left out.
pub fn find<'a>(subjects: &[&'a Subject]) -> BTreeMap<&'a Subject, Vec<String>> {
    let by_link: BTreeMap<String, &Subject> =
        subjects.iter().map(|subject| (format!("net:[{}]", subject.inode), *subject)).collect();
    let mut found: BTreeMap<&Subject, BTreeSet<String>> = BTreeMap::new();
    let mut seen_mounts = BTreeSet::new();
    for process in numbered(Path::new("/proc")) {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        let pid = process.file_name().unwrap_or_default().to_string_lossy();
        let who = format!("process {pid} ({})", name.trim_end());
        let mut note = |link: &Path, how: &str| {
            let target = fs::read_link(link).unwrap_or_default();
            if let Some(subject) = by_link.get(target.to_string_lossy().as_ref()) {
                found.entry(subject).or_default().insert(format!("{who}, {how}"));
            }
        };
        let tasks = numbered(&process.join("task"));
        for task in &tasks {
            note(&task.join("ns/net"), "which runs in it");
        }
        for fd in numbered(&process.join("fd")) {
            note(&fd, "which has it open");
        }
        for task in &tasks {
            let mounts = fs::read_link(task.join("ns/mnt")).unwrap_or_default();
            if seen_mounts.insert(mounts) {
                let table = fs::read_to_string(task.join("mountinfo")).unwrap_or_default();
                for root in table.lines().filter_map(|line| line.split(' ').nth(3)) {
                    if let Some(subject) = by_link.get(root) {
                        let holder = format!("a mount in the mount namespace of {who}");
                        found.entry(subject).or_default().insert(holder);
                    }
                }
            }
        }
    }
    found.into_iter().map(|(subject, holders)| (subject, holders.into_iter().collect())).collect()
}

/// The entries of a directory whose names are numbers; those of a process that has ended are none.
fn numbered(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let numbered =
        entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    numbered.map(|entry| entry.path()).collect()
}
