//! A container's log file, in the format that kubelets and containerd agreed on:
//! `2026-11-21T05:00:00.123456789Z stdout F text`. A line longer than 16 KiB comes in parts marked `P`, the last `F`.
//!
//! The file is made with the first byte that is written. At 10 MiB it becomes `N.log.1`, replacing an older one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// The longest part of a line, in bytes.
const MAX_LINE: usize = 16 << 10;
/// The size in bytes at which a file is put aside.
const MAX_FILE: u64 = 10 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

pub struct Log {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    limit: u64,
    /// Begun lines of stdout and stderr, shorter than [`MAX_LINE`].
    begun: [Vec<u8>; 2],
    /// The last failure, said once.
    failed: bool,
}

impl Log {
    /// `path` ends in `.log`.
    pub fn new(path: PathBuf) -> Log {
        Log { path, file: None, size: 0, limit: MAX_FILE, begun: [Vec::new(), Vec::new()], failed: false }
    }

    /// Adds what a container has written, at this moment.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], time: Timestamp) {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let begun = &mut self.begun[stream as usize];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (mut piece, ended) = match piece.split_last() {
                Some((b'\n', line)) => (line, true),
                _ => (piece, false),
            };
            while begun.len() + piece.len() > MAX_LINE {
                let (head, tail) = piece.split_at(MAX_LINE - begun.len());
                entry(&mut out, time, stream, 'P', begun, head);
                piece = tail;
            }
            if ended {
                entry(&mut out, time, stream, 'F', begun, piece);
            } else {
                begun.extend_from_slice(piece);
            }
        }
        self.append(&out);
    }

    /// Writes the lines that were begun and never ended.
    pub fn finish(&mut self, time: Timestamp) {
        let mut out = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let begun = &mut self.begun[stream as usize];
            if !begun.is_empty() {
                entry(&mut out, time, stream, 'F', begun, b"");
            }
        }
        self.append(&out);
        self.file = None;
    }

    fn append(&mut self, out: &[u8]) {
        if out.is_empty() {
            return;
        }
        match self.try_append(out) {
            Ok(()) => self.failed = false,
            // A full disk must not stop the container, nor fill the runtime's own log.
            Err(error) if !self.failed => {
                self.failed = true;
                super::node::complain(format_args!("cannot write {}: {error}", self.path.display()));
            }
            Err(_) => {}
        }
    }

    fn try_append(&mut self, out: &[u8]) -> std::io::Result<()> {
        if self.size > 0 && self.size + out.len() as u64 > self.limit {
            self.file = None;
            self.size = 0;
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = open(&self.path)?;
                self.size = file.metadata()?.len();
                none.insert(file)
            }
        };
        file.write_all(out)?;
        self.size += out.len() as u64;
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    match options.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            options.open(path)
        }
        other => other,
    }
}

fn entry(out: &mut Vec<u8>, time: Timestamp, stream: Stream, tag: char, begun: &mut Vec<u8>, rest: &[u8]) {
    let name = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    // Writing to a vector does not fail.
    let _ = write!(out, "{time:.9} {name} {tag} ");
    out.append(begun);
    out.extend_from_slice(rest);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("nslab-log-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir.join("app/0.log")
    }

    fn time() -> Timestamp {
        "2026-11-21T05:00:00.12Z".parse().unwrap()
    }

    #[test]
    fn lines_are_put_together() {
        let path = temporary("lines");
        let mut log = Log::new(path.clone());
        log.write(Stream::Stdout, b"one\ntw", time());
        log.write(Stream::Stderr, b"bad\r\n", time());
        log.write(Stream::Stdout, b"o\n\nrest", time());
        log.finish(time());
        let t = "2026-11-21T05:00:00.120000000Z";
        let expected =
            format!("{t} stdout F one\n{t} stderr F bad\r\n{t} stdout F two\n{t} stdout F \n{t} stdout F rest\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        fs::remove_dir_all(path.ancestors().nth(2).unwrap()).unwrap();
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let path = temporary("long");
        let mut log = Log::new(path.clone());
        let long = vec![b'x'; 2 * MAX_LINE + 5];
        log.write(Stream::Stdout, &long[..100], time());
        log.write(Stream::Stdout, &long[100..], time());
        log.write(Stream::Stdout, b"\n", time());
        let text = fs::read_to_string(&path).unwrap();
        let parts: Vec<(&str, usize)> = text
            .lines()
            .map(|line| line.split_once("stdout ").unwrap().1.split_once(' ').unwrap())
            .map(|(tag, rest)| (tag, rest.len()))
            .collect();
        assert_eq!(parts, [("P", MAX_LINE), ("P", MAX_LINE), ("F", 5)]);
        fs::remove_dir_all(path.ancestors().nth(2).unwrap()).unwrap();
    }

    #[test]
    fn a_full_file_is_put_aside() {
        let path = temporary("full");
        let mut log = Log::new(path.clone());
        log.limit = 100;
        for text in [&b"first\n"[..], b"second\n", b"third\n"] {
            log.write(Stream::Stdout, text, time());
        }
        let old = fs::read_to_string(path.with_extension("log.1")).unwrap();
        let new = fs::read_to_string(&path).unwrap();
        assert!(old.contains("first") && old.contains("second") && !old.contains("third"), "{old}");
        assert!(new.contains("third") && !new.contains("second"), "{new}");
        fs::remove_dir_all(path.ancestors().nth(2).unwrap()).unwrap();
    }
}
