//! The files that a catalogue image's root directory has beside the machine's `/usr`: empty directories, the links of a
//! merged `/usr` and devices, which each node makes for itself, and an `/etc` made for pods, which is hundreds of files
//! and made once for all nodes of a lab. Nothing here holds a secret or a user of the machine.

use std::fs::{self, DirBuilder, FileType};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};

use crate::layout::Layout;

/// Links into `/usr` on a machine where it is merged.
const USR_LINKS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

const DIRECTORIES: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("dev/pts", 0o755),
    ("dev/shm", 0o1777),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

const LINKS: &[(&str, &str)] = &[
    ("var/run", "/run"),
    ("var/lock", "/run/lock"),
    ("etc/mtab", "/proc/mounts"),
    ("etc/os-release", "../usr/lib/os-release"),
    ("dev/fd", "/proc/self/fd"),
    ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"),
    ("dev/stderr", "/proc/self/fd/2"),
    ("dev/ptmx", "pts/ptmx"),
];

/// Character devices: name, major, minor.
const DEVICES: &[(&str, u64, u64)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What programs in `/usr` need of the machine's `/etc`: where libraries and alternatives are, which certificates to
/// trust, names of protocols. Only what every user of the machine may read is taken.
const FROM_ETC: &[&str] = &[
    "alternatives",
    "ca-certificates.conf",
    "crypto-policies",
    "ethertypes",
    "gai.conf",
    "host.conf",
    "inputrc",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "magic",
    "mime.types",
    "pki/ca-trust/extracted",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "protocols",
    "rpc",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
];

const NSSWITCH: &str =
    "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n";

/// The first of the machine's directories that should be a link into `/usr` and is not.
pub fn not_merged(host: &Path) -> Option<&'static str> {
    USR_LINKS.into_iter().find(|name| fs::symlink_metadata(host.join(name)).is_ok_and(|found| !found.is_symlink()))
}

/// Makes the links into `/usr` that the machine at `host` has.
pub fn link_usr(host: &Path, root: &Path) -> io::Result<()> {
    for name in USR_LINKS {
        if let Ok(target) = fs::read_link(host.join(name)) {
            match symlink(target, root.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Fills the empty directory `root`, for a machine whose own files are at `host`. The devices need root's privileges.
pub fn build(host: &Path, root: &Path) -> io::Result<()> {
    let outer = umask(Mode::empty());
    let result = fill(host, root).and_then(|()| devices(&root.join("dev")));
    umask(outer);
    result
}

fn fill(host: &Path, root: &Path) -> io::Result<()> {
    for (name, mode) in DIRECTORIES {
        DirBuilder::new().mode(*mode).create(root.join(name))?;
    }
    for (name, target) in LINKS {
        symlink(target, root.join(name))?;
    }
    link_usr(host, root)
}

/// Makes what the nodes of a lab share, if it is not there yet. Put in place as a whole, by its name.
pub fn share(layout: &Layout) -> io::Result<()> {
    /// Nodes are started at once, and the first of them has to do it for the others.
    static AT_WORK: Mutex<()> = Mutex::new(());
    let shared = layout.shared_etc();
    let _others_wait = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.exists() {
        return Ok(());
    }
    let aside = shared.with_extension("new");
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make_directory(&aside)?;
    share_etc(Path::new("/"), &aside)?;
    fs::rename(aside, shared)
}

/// Copies what is for everybody of the `/etc` of the machine whose files are at `host` into the empty directory `root`.
fn share_etc(host: &Path, root: &Path) -> io::Result<()> {
    let (from, to) = (host.join("etc"), root.join("etc"));
    make_directory(&to)?;
    for name in FROM_ETC {
        copy(&from.join(name), &to.join(name))?;
    }
    fs::write(to.join("nsswitch.conf"), NSSWITCH)?;
    fs::write(to.join("passwd"), system_accounts(&fs::read_to_string(from.join("passwd")).unwrap_or_default(), false))?;
    fs::write(to.join("group"), system_accounts(&fs::read_to_string(from.join("group")).unwrap_or_default(), true))?;
    for name in ["nsswitch.conf", "passwd", "group"] {
        fs::set_permissions(to.join(name), fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// For everybody, whatever the umask is: it is the supervisor's, whose threads share it.
fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn devices(dev: &Path) -> io::Result<()> {
    for (name, major, minor) in DEVICES {
        mknod(&dev.join(name), SFlag::S_IFCHR, Mode::from_bits_retain(0o666), makedev(*major, *minor))?;
    }
    Ok(())
}

/// Copies a file, a link or a directory; what is not there, or not for everybody to read, is left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(from) else { return Ok(()) };
    make_parent(to)?;
    copy_as(found.file_type(), from, to)
}

/// Hundreds of links are most of it, so that no call is made that they do not need.
fn copy_as(kind: FileType, from: &Path, to: &Path) -> io::Result<()> {
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    let everybody = if kind.is_dir() { 0o005 } else { 0o004 };
    if fs::symlink_metadata(from)?.permissions().mode() & everybody != everybody {
        return Ok(());
    }
    if kind.is_dir() {
        make_directory(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_as(entry.file_type()?, &entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_file() {
        fs::copy(from, to)?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.exists() => {
            make_parent(parent)?;
            make_directory(parent)
        }
        _ => Ok(()),
    }
}

/// The lines of a `passwd` or `group` file that belong to the system and not to a person: programs look their own
/// accounts up (`www-data`, `mysql`). No member of a group is named.
fn system_accounts(file: &str, groups: bool) -> String {
    let mut out = String::from(if groups { "root:x:0:\n" } else { "root:x:0:0:root:/root:/bin/bash\n" });
    for line in file.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, rest @ ..] = fields.as_slice() else { continue };
        let system = id.parse().is_ok_and(|id: u32| (1..1000).contains(&id) || id == 65534);
        if system && groups {
            out.push_str(&format!("{name}:x:{id}:\n"));
        } else if system {
            out.push_str(&format!("{name}:x:{id}:{}\n", rest.join(":")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_systems_accounts_are_named() {
        let passwd = "root:x:0:0::/root:/bin/zsh\nmysql:secret:105:111:MySQL:/nonexistent:/bin/false\n\
                      ann:x:1000:1000:Ann:/home/ann:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\nbroken\n";
        assert_eq!(
            system_accounts(passwd, false),
            "root:x:0:0:root:/root:/bin/bash\nmysql:x:105:111:MySQL:/nonexistent:/bin/false\n\
             nobody:x:65534:65534::/:/usr/sbin/nologin\n"
        );
        assert_eq!(system_accounts("root:x:0:\nadm:x:4:ann\nann:x:1000:\n", true), "root:x:0:\nadm:x:4:\n");
    }

    #[test]
    fn what_is_not_for_everybody_is_left_out() {
        let base = std::env::temp_dir().join(format!("nslab-skeleton-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        let (host, root) = (base.join("host"), base.join("root"));
        fs::create_dir_all(host.join("etc/ssl/certs")).unwrap();
        fs::create_dir_all(host.join("etc/ssl/private")).unwrap();
        let shared = base.join("shared");
        fs::create_dir_all(&root).unwrap();
        symlink("usr/bin", host.join("bin")).unwrap();
        for (name, mode) in [
            ("etc/shadow", 0o640),
            ("etc/ssl/certs/ca.pem", 0o644),
            ("etc/ssl/certs/key.pem", 0o600),
            ("etc/ssl/private/key.pem", 0o644),
            ("etc/passwd", 0o644),
        ] {
            fs::write(host.join(name), name).unwrap();
            fs::set_permissions(host.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fill(&host, &root).unwrap();
        share_etc(&host, &shared).unwrap();
        assert_eq!(fs::read_link(root.join("bin")).unwrap(), Path::new("usr/bin"));
        assert!(fs::symlink_metadata(root.join("sbin")).is_err());
        assert!(shared.join("etc/ssl/certs/ca.pem").exists());
        for absent in ["etc/shadow", "etc/ssl/private", "etc/ssl/certs/key.pem"] {
            assert!(fs::symlink_metadata(shared.join(absent)).is_err(), "{absent}");
        }
        assert_eq!(not_merged(&host), None);
        fs::create_dir(host.join("sbin")).unwrap();
        assert_eq!(not_merged(&host), Some("sbin"));
        fs::remove_dir_all(&base).unwrap();
    }
}
