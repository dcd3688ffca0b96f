//! Reading the store's files when it is opened.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::batch::rests;
use super::frame::{self, Change, SnapshotHeader};
use super::log::{Found, OpenError, snapshot_file};
use crate::object::{Key, KindRef, Object, Objects, custom, kind};

pub(super) struct Recovered {
    pub objects: Objects,
    pub version: u64,
    pub found: Found,
    /// The custom kinds that the definitions so far have made: those that were deleted, too, since their objects may
    /// have been so in the same breath.
    custom: Vec<KindRef>,
}

/// Reads the snapshot and every change since. The log ends at the first frame that is not whole or does not continue
/// where the one before it ended: after the end of the process that is the commit it was just writing, after a loss of
/// power what had not reached the disk. Log files that say nothing new are removed.
pub(super) fn recover(dir: &Path) -> Result<Recovered, OpenError> {
    // A compaction that was not finished.
    let temporary = dir.join("snapshot.tmp");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &temporary)(error)),
        _ => {}
    }
    let mut recovered = read_snapshot(&snapshot_file(dir))?;
    for (path, start) in segments(dir)? {
        let bytes = read(&path)?.unwrap_or_default();
        let covered = recovered.version;
        let length = recovered.replay(&path, &bytes)?;
        if recovered.version > covered {
            recovered.found.segments.push((path, start, length));
        } else {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    recovered.found.version = recovered.version;
    Ok(recovered)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_path_buf();
    move |source| OpenError::Io { action, path, source }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, OpenError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// The log's files by where they begin.
fn segments(dir: &Path) -> Result<Vec<(PathBuf, u64)>, OpenError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let entry = entry.map_err(failed("list", dir))?;
        let name = entry.file_name();
        let start = name.to_str().and_then(|n| n.strip_prefix("log-")).and_then(|n| n.parse().ok());
        if let Some(start) = start {
            found.push((entry.path(), start));
        }
    }
    found.sort_by_key(|(_, start)| *start);
    Ok(found)
}

/// A snapshot took its name only when it was whole, so anything wrong in it is damage.
fn read_snapshot(path: &Path) -> Result<Recovered, OpenError> {
    let mut recovered = Recovered {
        objects: Objects::default(),
        version: 0,
        found: Found { segments: Vec::new(), snapshot_length: 0, version: 0 },
        custom: Vec::new(),
    };
    let Some(bytes) = read(path)? else {
        return Ok(recovered);
    };
    recovered.found.snapshot_length = bytes.len() as u64;
    let damaged = |reason: &str| OpenError::Damaged { path: path.to_path_buf(), reason: reason.to_string() };
    let (header, mut rest) = frame::split(&bytes).ok_or_else(|| damaged("its first line is not whole"))?;
    let (header, _) = decode::<SnapshotHeader>(path, header)?;
    while !rest.is_empty() {
        let (json, after) =
            frame::split(rest).ok_or_else(|| damaged(&format!("at byte {}", bytes.len() - rest.len())))?;
        let (change, put) = decode(path, json)?;
        recovered.apply(path, change, put)?;
        rest = after;
    }
    if recovered.objects.len() != header.objects {
        return Err(damaged(&format!("it has {} of {} objects", recovered.objects.len(), header.objects)));
    }
    recovered.version = header.version;
    Ok(recovered)
}

type Bodies = Vec<Map<String, Value>>;

fn decode<T: DeserializeOwned>(path: &Path, json: &[u8]) -> Result<(T, Bodies), OpenError> {
    frame::decode(json).map_err(|error| OpenError::Damaged { path: path.to_path_buf(), reason: error.to_string() })
}

impl Recovered {
    /// Applies a log file's changes, skipping those that the snapshot has; returns the length of the good part.
    fn replay(&mut self, path: &Path, bytes: &[u8]) -> Result<u64, OpenError> {
        let mut rest = bytes;
        while let Some((json, after)) = frame::split(rest) {
            let (change, put) = decode::<Change>(path, json)?;
            if change.to > self.version {
                if change.from != self.version {
                    break;
                }
                self.version = change.to;
                self.apply(path, change, put)?;
            }
            rest = after;
        }
        Ok((bytes.len() - rest.len()) as u64)
    }

    fn apply(&mut self, path: &Path, change: Change, put: Bodies) -> Result<(), OpenError> {
        let unknown = |kind: String| OpenError::UnknownKind { path: path.to_path_buf(), kind };
        let mut put: Vec<Object> = put.into_iter().map(Object::from_map).collect();
        for definition in &put {
            self.custom.extend(custom::kinds_of(definition));
        }
        for name in change.delete {
            let known = kind::by_resource(&name.group, &name.plural);
            let mut made = self.custom.iter().rev().copied();
            let known = known.or_else(|| made.find(|k| k.group == name.group && k.plural == name.plural));
            // A kind whose definition was made and deleted in one breath left nothing behind.
            let Some(kind) = known else { continue };
            self.objects.remove(&Key::new(kind, name.namespace, name.name));
        }
        for object in put.drain(..) {
            let object = self.of_its_kind(object);
            let key =
                object.key().ok_or_else(|| unknown(format!("{} of {}", object.kind_name(), object.api_version())))?;
            let object = if rests(key.kind) { object.at_rest() } else { object };
            self.objects.insert(key, Arc::new(object));
        }
        Ok(())
    }

    /// The object with its kind, where that is a custom one: the one of its version, or any, for they name the same.
    fn of_its_kind(&self, object: Object) -> Object {
        if object.kind().is_some() {
            return object;
        }
        let api_version = object.api_version();
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let mut known = self.custom.iter().rev().filter(|k| k.kind == object.kind_name() && k.group == group);
        match known.clone().find(|k| k.api_version() == api_version).or_else(|| known.next()) {
            Some(kind) => object.of(kind),
            None => object,
        }
    }
}
