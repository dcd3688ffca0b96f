//! What the store promises, above all what it promises to keep.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::log::{COMPACT_FROM, Medium, segment, snapshot_file};
use super::{Event, OpenError, Outcome, Store, WriteError, keeper};
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Key, Object, Snapshot, Write, kind};

/// A directory that goes when the test ends.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("nslab-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // In memory where there is such a place: thousands of flushes to a disk take their time.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let path = parent.join(name);
        fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    fn files(&self) -> BTreeSet<String> {
        fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config_map(name: &str, data: &str) -> Object {
    let json = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": name},
        "data": {"text": data}});
    Object::from_value(json).unwrap()
}

fn key(name: &str) -> Key {
    Key::new(&kind::CONFIG_MAP, "default", name)
}

fn create(name: &str) -> Write {
    Write::Create(config_map(name, ""))
}

fn update(store: &Store, name: &str, data: &str) -> Write {
    let mut object = (*store.get(&key(name)).unwrap()).clone();
    object.json_mut().insert("data".into(), json!({"text": data}));
    Write::Update(object, Part::All)
}

fn delete(name: &str) -> Write {
    let propagation = Propagation::Background;
    Write::Delete(Delete { key: key(name), uid: None, grace_seconds: None, propagation })
}

fn ok(store: &Store, writes: Vec<Write>) {
    for result in store.commit(writes) {
        result.unwrap();
    }
}

fn contents(snapshot: &Snapshot) -> Vec<Value> {
    snapshot.iter().map(|(_, object)| object.to_value()).collect()
}

/// Ends the store as kill -9 does: what is in the files then is all there is.
fn files_as_after_a_kill(from: &Path) -> TempDir {
    let copy = TempDir::new();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.0.join(entry.file_name())).unwrap();
    }
    copy
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_at_once() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    ok(&store, vec![create("a"), create("b"), create("c")]);
    ok(&store, vec![update(&store, "a", "changed"), delete("b")]);
    // Made, changed and taken away again within one commit: nothing of it stays.
    ok(&store, vec![create("d"), delete("d"), delete("c"), create("c")]);
    let copy = files_as_after_a_kill(&dir.0);
    let reopened = Store::open(&copy.0).unwrap();
    assert_eq!(contents(&reopened.snapshot()), contents(&store.snapshot()));
    assert_eq!(reopened.snapshot().resource_version(), store.snapshot().resource_version());
}

#[test]
fn versions_go_on_and_older_watches_are_told_to_list_again() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    ok(&store, vec![create("a"), create("b")]);
    drop(store);
    let store = Store::open(&dir.0).unwrap();
    assert_eq!(store.events_since(1).unwrap_err().oldest, 3);
    let written = store.write(create("c")).unwrap();
    assert_eq!(written.object.resource_version(), 3);
    let events = store.events_since(2).unwrap();
    assert_eq!(events.iter().map(|e| e.resource_version).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_forgotten_history_is_told_and_a_newer_one_is_there() {
    let store = Store::in_memory();
    ok(&store, vec![create("a"), create("b")]);
    assert_eq!(store.forget_history(std::time::Duration::from_secs(3600)), 0);
    assert_eq!(store.events_since(0).unwrap().len(), 2);
    assert_eq!(store.forget_history(std::time::Duration::ZERO), 2);
    assert_eq!(store.events_since(1).unwrap_err().oldest, 3);
    // Who has seen the last change misses nothing.
    assert_eq!(store.events_since(2).unwrap().len(), 0);
    ok(&store, vec![create("c")]);
    assert_eq!(store.events_since(2).unwrap().len(), 1);
    assert_eq!(store.snapshot().len(), 3);
}

/// Events are many, and kept as text: that changes nothing but what they take.
#[test]
fn an_event_is_the_same_at_rest() {
    let event = |name: &str, count: i64| {
        Object::from_value(json!({"apiVersion": "v1", "kind": "Event", "count": count, "message": "\u{e9}\n",
            "metadata": {"name": name, "namespace": "default"}}))
        .unwrap()
    };
    let key = |name: &str| Key::new(&kind::EVENT, "default", name);
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    // Within one commit, one is changed and one is taken away again.
    let gone = Delete { key: key("c"), uid: None, grace_seconds: None, propagation: Propagation::Background };
    let mut writes: Vec<Write> = ["a", "b", "c"].map(|name| Write::Create(event(name, 1))).into();
    writes.extend([Write::Update(event("b", 2), Part::All), Write::Delete(gone)]);
    ok(&store, writes);
    let a = store.get(&key("a")).unwrap();
    assert!(a.text().is_some() && !a.is_disturbed());
    assert_eq!((a.resource_version(), a.is_terminating(), a.is_disturbed()), (1, false, false));
    assert_eq!(a.glance().i64_at(&["count"]), Some(1));
    assert!(!a.is_disturbed(), "a glance leaves it as it is");
    assert_eq!((a.str_at(&["message"]), a.is_disturbed()), (Some("\u{e9}\n"), true));
    assert_eq!(store.get(&key("b")).unwrap().i64_at(&["count"]), Some(2));
    assert!(store.get(&key("c")).is_none());
    let versions = store.events_since(0).unwrap();
    let counts: Vec<_> = versions.iter().map(|event| event.object.object().i64_at(&["count"])).collect();
    assert_eq!(counts, [1, 1, 1, 2, 1].map(Some));
    assert_eq!(store.rest(), 2);
    assert_eq!((store.rest(), store.get(&key("a")).as_deref() == Some(&*a)), (0, true));
    // A change of a copy is a change.
    let mut changed = Object::clone(&a);
    changed.json_mut().insert("count".into(), 7.into());
    ok(&store, vec![Write::Update(changed, Part::All)]);
    keeper::compact(&store.shared).unwrap();
    let expected = contents(&store.snapshot());
    drop(store);
    let store = Store::open(&dir.0).unwrap();
    assert!(store.get(&key("a")).unwrap().text().is_some());
    assert_eq!(store.get(&key("a")).unwrap().i64_at(&["count"]), Some(7));
    assert_eq!(contents(&store.snapshot()), expected);
}

/// Changing one object often fills the history no more than its bytes allow.
#[test]
fn the_history_is_bounded_by_its_bytes() {
    let store = Store::in_memory();
    ok(&store, vec![create("big"), create("small")]);
    for n in 0..100 {
        ok(&store, vec![update(&store, "big", &format!("{n}{}", "x".repeat(100_000)))]);
    }
    let last = store.snapshot().resource_version();
    let oldest = store.events_since(0).unwrap_err().oldest;
    let kept = store.events_since(oldest - 1).unwrap();
    assert_eq!(
        kept.iter().map(|event| event.resource_version).collect::<Vec<_>>(),
        (oldest..=last).collect::<Vec<_>>()
    );
    assert!((30..50).contains(&kept.len()), "{} changes of 100 kB", kept.len());
    // Every version comes back as it was.
    for pair in kept.windows(2) {
        assert_eq!(Some(pair[0].object.object()), pair[1].before.as_ref().map(|before| before.object()));
    }
    assert_eq!(Some(kept.last().unwrap().object.object()), store.get(&key("big")));
    // Room is made again by forgetting.
    store.forget_history(std::time::Duration::ZERO);
    ok(&store, vec![update(&store, "small", "changed")]);
    assert_eq!(store.events_since(last).unwrap().len(), 1);
}

#[test]
fn the_last_commit_is_whole_or_absent_wherever_it_was_cut() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    ok(&store, vec![create("a")]);
    let (before, log) = (contents(&store.snapshot()), segment(&dir.0, 0));
    let start = fs::metadata(&log).unwrap().len();
    ok(&store, vec![create("b"), update(&store, "a", "changed")]);
    let after = contents(&store.snapshot());
    let end = fs::metadata(&log).unwrap().len();
    drop(store);
    let bytes = fs::read(&log).unwrap();
    assert_eq!(bytes.len() as u64, end);
    for cut in start..=end {
        fs::write(&log, &bytes[..cut as usize]).unwrap();
        let store = Store::open(&dir.0).unwrap();
        let expected = if cut == end { &after } else { &before };
        assert_eq!(&contents(&store.snapshot()), expected, "cut at byte {cut}");
        // What comes next stands where the cut was.
        ok(&store, vec![create("next")]);
        drop(store);
        assert!(Store::open(&dir.0).unwrap().get(&key("next")).is_some(), "cut at byte {cut}");
    }
}

#[test]
fn garbage_behind_the_log_is_cut_off() {
    for garbage in [vec![0u8; 4096], b"00000002 00000000 {}\n".to_vec(), vec![0xff; 3], b"\n\n".to_vec()] {
        let dir = TempDir::new();
        let store = Store::open(&dir.0).unwrap();
        ok(&store, vec![create("a")]);
        let expected = contents(&store.snapshot());
        drop(store);
        let log = segment(&dir.0, 0);
        let good = fs::read(&log).unwrap();
        fs::write(&log, [good.clone(), garbage].concat()).unwrap();
        let store = Store::open(&dir.0).unwrap();
        assert_eq!(contents(&store.snapshot()), expected);
        assert_eq!(fs::read(&log).unwrap(), good);
    }
}

#[test]
fn a_change_that_does_not_continue_the_log_ends_it() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    ok(&store, vec![create("a")]);
    drop(store);
    // As after a loss of power that kept a later file and lost the end of the one before it.
    let store = Store::open(&dir.0).unwrap();
    ok(&store, vec![create("b")]);
    drop(store);
    let bytes = fs::read(segment(&dir.0, 0)).unwrap();
    let first = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(1).unwrap().0 + 1;
    fs::write(segment(&dir.0, 0), &bytes[..first / 2]).unwrap();
    fs::write(segment(&dir.0, 1), &bytes[first..]).unwrap();
    let store = Store::open(&dir.0).unwrap();
    assert!(store.snapshot().is_empty());
    ok(&store, vec![create("c")]);
    drop(store);
    assert_eq!(Store::open(&dir.0).unwrap().snapshot().len(), 1);
}

#[test]
fn a_compacted_store_is_the_same_store() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    for n in 0..200 {
        ok(&store, vec![create(&format!("n{n}"))]);
    }
    ok(&store, vec![delete("n7")]);
    keeper::compact(&store.shared).unwrap();
    assert_eq!(dir.files(), ["lock", "log-00000000000000000201", "snapshot"].map(String::from).into());
    ok(&store, vec![create("after")]);
    let expected = contents(&store.snapshot());
    let copy = files_as_after_a_kill(&dir.0);
    let reopened = Store::open(&copy.0).unwrap();
    assert_eq!(contents(&reopened.snapshot()), expected);
    assert_eq!(reopened.snapshot().resource_version(), 202);
    // Twice in a row, with nothing between.
    keeper::compact(&reopened.shared).unwrap();
    keeper::compact(&reopened.shared).unwrap();
    drop(reopened);
    assert_eq!(contents(&Store::open(&copy.0).unwrap().snapshot()), expected);
}

#[test]
fn files_that_a_compaction_had_no_time_to_remove_do_no_harm() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    ok(&store, vec![create("a"), create("b")]);
    ok(&store, vec![delete("a")]);
    let old = fs::read(segment(&dir.0, 0)).unwrap();
    keeper::compact(&store.shared).unwrap();
    ok(&store, vec![create("c")]);
    let expected = contents(&store.snapshot());
    drop(store);
    // Whole, and cut short.
    for length in [old.len(), old.len() - 3] {
        fs::write(segment(&dir.0, 0), &old[..length]).unwrap();
        fs::write(dir.0.join("snapshot.tmp"), "0000").unwrap();
        let store = Store::open(&dir.0).unwrap();
        assert_eq!(contents(&store.snapshot()), expected);
        assert!(!segment(&dir.0, 0).exists() && !dir.0.join("snapshot.tmp").exists());
    }
}

#[test]
fn the_log_is_compacted_when_it_outgrows_the_objects() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    ok(&store, vec![create("big")]);
    let text = "x".repeat(512 << 10);
    for n in 0..(COMPACT_FROM >> 19) + 1 {
        ok(&store, vec![update(&store, "big", &format!("{n}{text}"))]);
    }
    let expected = contents(&store.snapshot());
    let waited = std::time::Instant::now();
    while !snapshot_file(&dir.0).exists() || segment(&dir.0, 0).exists() {
        assert!(waited.elapsed().as_secs() < 60, "not compacted: {:?}", dir.files());
        std::thread::yield_now();
    }
    drop(store);
    assert_eq!(contents(&Store::open(&dir.0).unwrap().snapshot()), expected);
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    ok(&store, (0..100).map(|n| create(&format!("n{n}"))).collect());
    keeper::compact(&store.shared).unwrap();
    drop(store);
    let path = snapshot_file(&dir.0);
    let bytes = fs::read(&path).unwrap();
    let frame_ends = bytes.windows(2).rposition(|w| w[0] == b'\n' && w[1] == b'0').unwrap() + 1;
    for length in [0, 10, frame_ends, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(matches!(Store::open(&dir.0), Err(OpenError::Damaged { .. })), "{length} bytes");
    }
}

#[test]
fn only_one_opens_a_store() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    assert!(matches!(Store::open(&dir.0), Err(OpenError::InUse { .. })));
    drop(store);
    Store::open(&dir.0).unwrap();
}

#[test]
fn an_object_of_a_later_version_is_not_lost() {
    let dir = TempDir::new();
    let mut line = Vec::new();
    let object = json!({"apiVersion": "v9", "kind": "Pod", "metadata": {"name": "a"}});
    let change = json!({"from": 0, "to": 1, "delete": []});
    super::frame::write(&mut line, &change, &[Object::from_value(object).unwrap()]).unwrap();
    fs::write(segment(&dir.0, 0), &line).unwrap();
    let Err(error) = Store::open(&dir.0) else { panic!("it was opened") };
    assert!(error.to_string().contains("Pod of v9"), "{error}");
    assert_eq!(fs::read(segment(&dir.0, 0)).unwrap(), line);
}

/// A disk with so many bytes left.
struct SmallDisk {
    file: Arc<dyn Medium>,
    left: Arc<Mutex<Left>>,
}

struct Left {
    bytes: usize,
    can_truncate: bool,
}

impl Medium for SmallDisk {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = self.left.lock().unwrap();
        if left.bytes == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = left.bytes.min(bytes.len());
        let written = self.file.write(&bytes[..count])?;
        left.bytes -= written;
        Ok(written)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if !self.left.lock().unwrap().can_truncate {
            return Err(io::ErrorKind::Other.into());
        }
        self.file.set_len(length)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.flush()
    }
}

#[test]
fn a_full_disk_refuses_a_commit_and_changes_nothing() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    ok(&store, vec![create("a"), create("b")]);
    let left = Arc::new(Mutex::new(Left { bytes: 0, can_truncate: true }));
    {
        let left = left.clone();
        let mut state = store.shared.lock();
        state.log.as_mut().unwrap().replace_medium(|file| Arc::new(SmallDisk { file, left }));
    }
    let before = (contents(&store.snapshot()), fs::read(segment(&dir.0, 0)).unwrap());
    let batch = || vec![create("c"), update(&store, "a", "changed"), delete("b"), create("a")];
    for (bytes, can_truncate) in [(0, true), (1, true), (100, true), (100, false), (17, false)] {
        *left.lock().unwrap() = Left { bytes, can_truncate };
        for result in store.commit(batch()) {
            assert!(matches!(result, Err(WriteError::Storage(_))), "{result:?}");
        }
        assert_eq!(contents(&store.snapshot()), before.0);
        assert_eq!(store.snapshot().resource_version(), 2);
        assert!(store.events_since(2).unwrap().is_empty());
        let file = fs::read(segment(&dir.0, 0)).unwrap();
        assert!(if can_truncate { file == before.1 } else { file.starts_with(&before.1) });
        // Killed now, nothing that was refused comes back.
        let copy = files_as_after_a_kill(&dir.0);
        assert_eq!(contents(&Store::open(&copy.0).unwrap().snapshot()), before.0);
    }
    // With room again it goes on as if nothing had been.
    *left.lock().unwrap() = Left { bytes: usize::MAX, can_truncate: true };
    let outcomes: Vec<_> = store.commit(batch()).into_iter().map(|r| r.map(|w| w.outcome)).collect();
    assert_eq!(outcomes[..3], [Ok(Outcome::Created), Ok(Outcome::Changed), Ok(Outcome::Deleted)]);
    assert!(matches!(outcomes[3], Err(WriteError::AlreadyExists { .. })));
    let expected = contents(&store.snapshot());
    drop(store);
    assert_eq!(contents(&Store::open(&dir.0).unwrap().snapshot()), expected);
}

#[test]
fn fifty_writers_lose_no_update() {
    let dir = TempDir::new();
    let store = Store::open(&dir.0).unwrap();
    ok(&store, vec![Write::Create(config_map("counter", "0"))]);
    let number = |object: &Object| object.str_at(&["data", "text"]).unwrap().parse::<u64>().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..50 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..10 {
                    store.write(create(&format!("w{writer}-{n}"))).unwrap();
                    loop {
                        let mut counter = (*store.get(&key("counter")).unwrap()).clone();
                        let next = number(&counter) + 1;
                        counter.json_mut().insert("data".into(), json!({"text": next.to_string()}));
                        match store.write(Write::Update(counter, Part::All)) {
                            Ok(_) => break,
                            Err(WriteError::Conflict { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(number(&store.get(&key("counter")).unwrap()), 500);
    // Replaying the history from the beginning gives what is stored.
    let mut replayed = std::collections::BTreeMap::new();
    let events: Vec<Event> = store.events_since(0).unwrap();
    assert!(events.iter().map(|e| e.resource_version).eq(1..=events.len() as u64));
    for event in events {
        assert_eq!(replayed.get(&event.key), event.before.map(|before| before.object()).as_ref());
        replayed.insert(event.key, event.object.object());
    }
    assert!(replayed.iter().eq(store.snapshot().iter()));
    drop(store);
    assert!(replayed.iter().eq(Store::open(&dir.0).unwrap().snapshot().iter()));
}

#[test]
fn a_namespace_stays_until_its_content_is_gone() {
    let store = Store::in_memory();
    let json = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}});
    store.write(Write::Create(Object::from_value(json).unwrap())).unwrap();
    let key = Key::new(&kind::NAMESPACE, "", "web");
    let delete = Delete { key: key.clone(), uid: None, grace_seconds: None, propagation: Propagation::Background };
    assert_eq!(store.write(Write::Delete(delete)).unwrap().outcome, Outcome::Terminating);
    let mut namespace = (*store.get(&key).unwrap()).clone();
    assert_eq!(namespace.str_at(&["status", "phase"]), Some("Terminating"));
    namespace.json_mut().insert("spec".into(), json!({}));
    assert_eq!(store.write(Write::Update(namespace, Part::Spec)).unwrap().outcome, Outcome::Deleted);
}
