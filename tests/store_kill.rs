//! The store against kill -9: a process of its own commits as fast as it can and is killed at a random moment; whatever
//! it said was committed must be there afterwards, and nothing that is half of a commit.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nslab::object::write::Part;
use nslab::object::{Key, Object, Write, kind};
use nslab::store::Store;
use serde_json::json;

/// Set for the process that is to be killed: the store's directory.
const VICTIM: &str = "NSLAB_TEST_STORE";
const OBJECTS: usize = 8;

fn name(n: usize) -> String {
    format!("counter-{n}")
}

/// All counters have this value; `None` in a store without any.
fn value(store: &Store) -> Option<u64> {
    let values: Vec<Option<u64>> = (0..OBJECTS)
        .map(|n| store.get(&Key::new(&kind::CONFIG_MAP, "default", name(n)))?.i64_at(&["value"])?.try_into().ok())
        .collect();
    assert!(values.iter().all(|value| *value == values[0]), "half a commit: {values:?}");
    values[0]
}

/// Raises all counters in one commit, again and again, and says so each time.
fn count_for_ever(dir: &Path) {
    let store = Store::open(dir).unwrap();
    // Large enough for the log to be compacted every few dozen commits.
    let padding = "x".repeat(8 << 10);
    for next in value(&store).map_or(1, |value| value + 1).. {
        let writes = (0..OBJECTS).map(|n| {
            let json = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name(n), "namespace": "default"}, "value": next, "padding": padding});
            let object = Object::from_value(json).unwrap();
            if next == 1 { Write::Create(object) } else { Write::Update(object, Part::All) }
        });
        for result in store.commit(writes.collect()) {
            result.unwrap();
        }
        println!("committed {next}");
    }
}

struct TempDir(PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_a_killed_process_has_committed_is_there() {
    if let Some(dir) = std::env::var_os(VICTIM) {
        count_for_ever(Path::new(&dir));
    }
    let dir = TempDir(std::env::temp_dir().join(format!("nslab-store-kill-{}", std::process::id())));
    let mut last = 0;
    for round in 0..12u64 {
        // Some are killed in the middle of a compaction, and some after one.
        let file = |name| std::fs::metadata(dir.0.join(name)).map(|file| file.ino()).ok();
        let before = file("snapshot");
        let is_time = || match round % 4 {
            1 => file("snapshot") != before,
            3 => file("snapshot.tmp").is_some(),
            _ => true,
        };
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_a_killed_process_has_committed_is_there", "--nocapture"])
            .env(VICTIM, &dir.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut said = |last: &mut u64| -> bool {
            let Some(Ok(line)) = lines.next() else { return false };
            if let Some(number) = line.rsplit_once("committed ").and_then(|(_, number)| number.parse().ok()) {
                *last = number;
            }
            true
        };
        let until = last + 1 + rand::random_range(0..(1 + round * 6));
        while last < until || !is_time() {
            assert!(said(&mut last), "the process ended by itself");
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        // What it had said before the kill reached it.
        while said(&mut last) {}
        let store = Store::open(&dir.0).unwrap();
        let found = value(&store).unwrap();
        assert!(found == last || found == last + 1, "{found} is stored, {last} was committed last");
        assert_eq!(store.snapshot().resource_version(), found * OBJECTS as u64);
        last = found;
    }
    assert!(dir.0.join("snapshot").exists());
}
