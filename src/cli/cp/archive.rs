//! Archives on their way: packed from files here, and unpacked into files here, of which an archive's names do not
//! decide where they are.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use hyper::body::Bytes;
use tar::{Archive, Builder, EntryType, Header};
use tokio::sync::mpsc;

const BUFFER: usize = 64 << 10;

/// Without `.`, `..` where something stands before it, and doubled slashes.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(clean.components().next_back(), Some(Component::Normal(_))) => {
                clean.pop();
            }
            Component::ParentDir if clean.has_root() => {}
            part => clean.push(part),
        }
    }
    clean
}

/// The path below the root, as an archive has it.
pub fn inside(path: &Path) -> PathBuf {
    clean(&Path::new("/").join(path)).components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// Packs a file, or what is in a directory, under `name`.
pub fn pack(from: &Path, name: &Path, to: mpsc::Sender<Bytes>) -> Result<(), String> {
    let mut builder = Builder::new(BufWriter::with_capacity(BUFFER, Pieces(to)));
    add(&mut builder, from, name)?;
    let written = builder.into_inner().and_then(|mut writer| writer.flush());
    written.map_err(|error| format!("cannot send {}: {error}", from.display()))
}

fn add<W: Write>(builder: &mut Builder<W>, from: &Path, name: &Path) -> Result<(), String> {
    let cannot = |error: io::Error| format!("cannot copy {}: {error}", from.display());
    let metadata = fs::symlink_metadata(from).map_err(cannot)?;
    let mut header = Header::new_gnu();
    header.set_metadata(&metadata);
    if metadata.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(from).and_then(Iterator::collect::<io::Result<_>>).map_err(cannot)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        if entries.is_empty() {
            return builder.append_data(&mut header, name, io::empty()).map_err(cannot);
        }
        // Directories with something in them are made for it, and keep what they have where they are there.
        return entries.iter().try_for_each(|entry| add(builder, &entry.path(), &name.join(entry.file_name())));
    }
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(cannot)?;
        return builder.append_link(&mut header, name, target).map_err(cannot);
    }
    if !metadata.is_file() {
        eprintln!("warning: skipping {}: it is neither a file, a directory nor a link", from.display());
        return Ok(());
    }
    let file = File::open(from).map_err(cannot)?;
    builder.append_data(&mut header, name, Exactly { file, left: metadata.len() }).map_err(cannot)
}

/// A file of the size that was announced, whatever becomes of it meanwhile.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.file).take(self.left).read(buffer)?;
        self.left -= count as u64;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was truncated while it was read"));
        }
        Ok(count)
    }
}

/// Unpacks what is below `prefix` to `to`. `again` is a command that copies links too.
pub fn unpack(archive: mpsc::Receiver<Bytes>, prefix: &Path, to: &Path, again: &str) -> Result<(), String> {
    let mut archive = Archive::new(Received { pieces: archive, piece: Bytes::new() });
    let broken = |error: io::Error| format!("cannot read the archive from the container: {error}");
    let mut links_told = false;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.into_owned();
        let Ok(below) = name.strip_prefix(prefix) else {
            return Err("tar contents corrupted".into());
        };
        let target = if below.as_os_str().is_empty() { to.to_path_buf() } else { to.join(below) };
        let stays = below.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !stays {
            eprintln!("warning: file {target:?} is outside target destination, skipping");
            continue;
        }
        let cannot = |error: io::Error| format!("cannot write {}: {error}", target.display());
        match entry.header().entry_type() {
            EntryType::Directory => fs::create_dir_all(&target).map_err(cannot)?,
            EntryType::Symlink | EntryType::Link => {
                let link = entry.link_name().ok().flatten().unwrap_or_default().into_owned();
                let hint = if links_told { String::new() } else { format!(" (consider using \"{again}\")") };
                eprintln!("warning: skipping symlink: {target:?} -> {link:?}{hint}");
                links_told = true;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                if let Some(parent) = target.parent() {
                    fs::create_dir_all(parent).map_err(cannot)?;
                }
                let mut file = File::create(&target).map_err(cannot)?;
                io::copy(&mut entry, &mut file).map_err(cannot)?;
            }
            _ => eprintln!("warning: skipping {target:?}: it is neither a file nor a directory"),
        }
    }
    Ok(())
}

/// What is written goes off in pieces.
struct Pieces(mpsc::Sender<Bytes>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What came in pieces is read.
struct Received {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        let taken = self.piece.split_to(count);
        if let Some(buffer) = buffer.get_mut(..count) {
            buffer.copy_from_slice(&taken);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nslab-cp-{test}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn through(bytes: Vec<u8>, prefix: &str, to: &Path) -> Result<(), String> {
        let (sender, receiver) = mpsc::channel(1);
        let sending = std::thread::spawn(move || {
            for piece in bytes.chunks(777) {
                if sender.blocking_send(Bytes::copy_from_slice(piece)).is_err() {
                    return;
                }
            }
        });
        let result = unpack(receiver, Path::new(prefix), to, "again");
        sending.join().unwrap();
        result
    }

    #[test]
    fn a_directory_comes_back_as_it_went_save_for_links() {
        let dir = Directory::new("round");
        let (from, to) = (dir.0.join("from"), dir.0.join("to"));
        fs::create_dir_all(from.join("sub/empty")).unwrap();
        let large: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        fs::write(from.join("sub/large"), &large).unwrap();
        fs::write(from.join("x".repeat(150)), "a long name").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        let (sender, mut receiver) = mpsc::channel(1);
        let packing = std::thread::spawn(move || pack(&from, Path::new("base"), sender));
        let mut bytes = Vec::new();
        while let Some(piece) = receiver.blocking_recv() {
            bytes.extend_from_slice(&piece);
        }
        packing.join().unwrap().unwrap();
        through(bytes, "base", &to).unwrap();
        assert!(fs::read(to.join("sub/large")).unwrap() == large);
        assert_eq!(fs::read(to.join("x".repeat(150))).unwrap(), b"a long name");
        assert!(to.join("sub/empty").is_dir());
        assert!(fs::symlink_metadata(to.join("link")).is_err(), "a link was made");
    }

    #[test]
    fn names_cannot_leave_the_target() {
        let dir = Directory::new("leave");
        let to = dir.0.join("to");
        let archive = |name: &str| {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(4);
            header.set_mode(0o644);
            header.set_cksum();
            [header.as_bytes(), &b"evil"[..], &[0; 508], &[0; 1024]].concat()
        };
        through(archive("base/../../escaped"), "base", &to).unwrap();
        assert!(!dir.0.join("escaped").exists() && !to.exists());
        assert_eq!(through(archive("other/file"), "base", &to), Err("tar contents corrupted".into()));
        through(archive("base/fine"), "base", &to).unwrap();
        assert_eq!(fs::read(to.join("fine")).unwrap(), b"evil");
        let mut cut = archive("base/cut");
        cut.truncate(514);
        assert!(through(cut, "base", &to).unwrap_err().contains("cut"));
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, cleaned, below) in [
            ("/a/./b/../c", "/a/c", "a/c"),
            ("../../x", "../../x", "x"),
            ("/../x", "/x", "x"),
            ("a//b/", "a/b", "a/b"),
            (".", "", ""),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(cleaned), "{path}");
            assert_eq!(inside(Path::new(path)), Path::new(below), "{path}");
        }
    }
}
