//! The lines of a log file in the kubelet's format, `TIME stdout|stderr F|P TEXT`: which of them are wanted, and what
//! of them is shown.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use jiff::Timestamp;

/// Turns a file's bytes, in whatever pieces they come, into what a client sees.
pub struct Lines {
    since: Option<Timestamp>,
    timestamps: bool,
    /// How many bytes may still be shown.
    left: usize,
    /// The start of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Lines {
    pub fn new(since: Option<Timestamp>, timestamps: bool, limit: Option<usize>) -> Self {
        Lines { since, timestamps, left: limit.unwrap_or(usize::MAX), rest: Vec::new() }
    }

    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        let rest = std::mem::take(&mut self.rest);
        let mut shown = Vec::with_capacity(rest.len());
        for line in rest.split_inclusive(|b| *b == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => self.show(line, &mut shown),
                None => self.rest = line.to_vec(),
            }
        }
        shown.truncate(self.left);
        self.left -= shown.len();
        shown
    }

    fn show(&self, line: &[u8], shown: &mut Vec<u8>) {
        let mut fields = line.splitn(4, |b| *b == b' ');
        let (Some(time), Some(_stream), Some(tag), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        if let Some(since) = self.since {
            let time = std::str::from_utf8(time).ok().and_then(|t| t.parse::<Timestamp>().ok());
            if time.is_none_or(|time| time < since) {
                return;
            }
        }
        if self.timestamps {
            shown.extend_from_slice(time);
            shown.push(b' ');
        }
        shown.extend_from_slice(text);
        if tag != b"P" {
            shown.push(b'\n');
        }
    }
}

/// Where the last `count` lines of a file begin.
pub fn start_of_last(file: &mut File, count: usize) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut buffer = vec![0u8; 64 << 10];
    let mut at = end;
    let mut found = 0;
    if count == 0 {
        return Ok(end);
    }
    while at > 0 {
        let length = at.min(buffer.len() as u64);
        at -= length;
        let chunk = buffer.get_mut(..usize::try_from(length).unwrap_or(0)).unwrap_or(&mut []);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(chunk)?;
        for (index, byte) in chunk.iter().enumerate().rev() {
            let position = at + index as u64;
            // The newline that ends the last line begins none.
            if *byte == b'\n' && position + 1 < end {
                found += 1;
                if found == count {
                    return Ok(position + 1);
                }
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LOG: &[u8] = b"2026-01-01T00:00:01.5Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n\
        2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F \n";

    #[test]
    fn partial_lines_are_joined_and_pieces_do_not_matter() {
        for size in 1..LOG.len() {
            let mut lines = Lines::new(None, false, None);
            let shown: Vec<u8> = LOG.chunks(size).flat_map(|chunk| lines.take(chunk)).collect();
            assert_eq!(String::from_utf8(shown).unwrap(), "one\ntwo\n\n", "in pieces of {size}");
        }
    }

    #[test]
    fn time_and_size_limit_what_is_shown() {
        let since = "2026-01-01T00:00:02Z".parse().ok();
        assert_eq!(Lines::new(since, false, None).take(LOG), b"two\n\n");
        assert_eq!(
            Lines::new(since, true, None).take(b"2026-01-01T00:00:09Z stdout F x\n"),
            b"2026-01-01T00:00:09Z x\n"
        );
        let mut lines = Lines::new(None, false, Some(5));
        assert_eq!(lines.take(LOG), b"one\nt");
        assert!(lines.is_done());
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let path = std::env::temp_dir().join(format!("nslab-log-{}", std::process::id()));
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(start_of_last(&mut file, 3).unwrap(), 0);
        let long = "x".repeat(100_000);
        write!(file, "{long}\nb\nc\n").unwrap();
        assert_eq!(start_of_last(&mut file, 0).unwrap(), 100_005);
        assert_eq!(start_of_last(&mut file, 1).unwrap(), 100_003);
        assert_eq!(start_of_last(&mut file, 2).unwrap(), 100_001);
        assert_eq!(start_of_last(&mut file, 3).unwrap(), 0);
        assert_eq!(start_of_last(&mut file, 9).unwrap(), 0);
    }
}
