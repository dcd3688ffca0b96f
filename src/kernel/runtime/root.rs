//! The mounts of a node: a root of its own for the runtime, with little in it because each container begins with a copy
//! of it, and the root that a command on the node sees.
//!
//! The runtime's root is a tmpfs: all that containers write and nobody keeps is in it, and it goes with the node.
//!
//! | path | what |
//! |---|---|
//! | `/usr` | the machine's, read-only |
//! | `/proc` | of the node's pid namespace |
//! | `/ro` | read-only parts of it for containers |
//! | `/skel`, `/shared` | the lower layers of every container's root: the node's own, and the lab's |
//! | `/p/N` | pod N: `l` its layer, `shm`, and a directory per run of a container |
//! | `/m` | where a container's process puts its own root together, in its own mount namespace |
//! | `/node` | the node's root directory on disk, with its extra mounts |
//! | logs | at the path that they have on the machine |

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, pivot_root};

use super::skeleton;
use super::sys;
use crate::desired::Bind;
use crate::layout::Layout;

/// Parts of `/proc` that a container may read but not write: they act on the whole machine.
const READ_ONLY_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Directories and links that the node's root is given for commands on the node; see [`tidy`].
const NODE_DIRECTORIES: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

/// What was being done when it failed.
pub trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, String>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, String> {
        self.map_err(|error| format!("cannot {}: {}", what(), error.into()))
    }
}

pub fn path_string(path: &Path) -> Result<CString, String> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| format!("the path {path:?} holds a zero byte"))
}

const NO: Option<&str> = None;

fn tree(path: &Path, read_only: bool) -> Result<OwnedFd, String> {
    let tree = sys::clone_tree(nix::fcntl::AT_FDCWD, &path_string(path)?)
        .doing(|| format!("copy the mount of {}", path.display()))?;
    if read_only {
        sys::set_read_only(tree.as_fd()).doing(|| format!("make {} read-only", path.display()))?;
    }
    Ok(tree)
}

fn attach(tree: &OwnedFd, at: &Path) -> Result<(), String> {
    let target = File::options().read(true).custom_flags_path().open(at).doing(|| format!("open {}", at.display()))?;
    sys::move_mount(tree.as_fd(), target.as_fd()).doing(|| format!("mount {}", at.display()))
}

trait PathOnly {
    fn custom_flags_path(&mut self) -> &mut Self;
}

impl PathOnly for fs::OpenOptions {
    fn custom_flags_path(&mut self) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt;
        self.custom_flags(libc::O_PATH)
    }
}

fn make(path: &Path, mode: u32) -> Result<(), String> {
    DirBuilder::new().mode(mode).recursive(true).create(path).doing(|| format!("make the directory {}", path.display()))
}

/// Gives this process, which must be in a mount namespace of its own, the runtime's root. Returns what is in `/ro`.
pub fn enter(layout: &Layout, node: &str, extra_mounts: &[Bind]) -> Result<Vec<&'static str>, String> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NO, "/", NO, private, NO).doing(|| "make the mounts private".into())?;

    let logs = layout.state().join("logs");
    let node_root = layout.node_root(node);
    make(&logs, 0o755)?;
    make(&node_root, 0o755)?;
    let usr = tree(Path::new("/usr"), true)?;
    let shared = tree(&layout.shared_etc(), true)?;
    let logs_tree = tree(&logs, false)?;
    let node_tree = tree(&node_root, false)?;
    let extra: Vec<(&Bind, OwnedFd)> = extra_mounts
        .iter()
        .map(|bind| Ok((bind, tree(&bind.source, bind.read_only)?)))
        .collect::<Result<_, String>>()?;

    // Any directory would do to put the new root on; this one is certain to be there.
    let place = layout.node_run(node);
    let flags = MsFlags::MS_NOSUID;
    mount(Some("nslab"), &place, Some("tmpfs"), flags, Some("mode=0755")).doing(|| "mount a tmpfs".into())?;
    chdir(&place).doing(|| format!("enter {}", place.display()))?;
    for name in ["usr", "proc", "ro", "skel", "shared", "p", "m", "node"] {
        make(Path::new(name), 0o755)?;
    }
    let logs_here = logs.strip_prefix("/").unwrap_or(&logs);
    make(logs_here, 0o755)?;
    skeleton::build(Path::new("/"), Path::new("skel")).doing(|| "make the skeleton of a pod's root".into())?;
    attach(&usr, Path::new("usr"))?;
    attach(&shared, Path::new("shared"))?;
    attach(&logs_tree, logs_here)?;
    attach(&node_tree, Path::new("node"))?;
    mount(Some("proc"), "proc", Some("proc"), MsFlags::empty(), NO).doing(|| "mount /proc".into())?;
    let mut read_only = Vec::new();
    for name in READ_ONLY_PROC {
        let (from, to) = (Path::new("proc").join(name), Path::new("ro").join(name));
        // Not every kernel has all of them.
        match fs::metadata(&from) {
            Ok(found) if found.is_dir() => make(&to, 0o755)?,
            Ok(_) => drop(File::create(&to).doing(|| format!("make {}", to.display()))?),
            Err(_) => continue,
        }
        attach(&tree(&from, true)?, &to)?;
        read_only.push(name);
    }
    for (bind, tree) in &extra {
        attach_in_node(tree, &bind.target)?;
    }
    change_root()?;
    Ok(read_only)
}

/// Mounts at a path of the node, which is made where it is missing. No link in the node's files leads out of them.
fn attach_in_node(tree: &OwnedFd, target: &Path) -> Result<(), String> {
    let node = File::open("node").doing(|| "open the node's root".into())?;
    let wanted = path_string(target)?;
    let open = || sys::open_in_root(node.as_fd(), &wanted, libc::O_PATH);
    let found = match open() {
        Err(nix::errno::Errno::ENOENT) => {
            // The same rule for each directory on the way.
            let mut parent = OwnedFd::from(node.try_clone().doing(|| "open the node's root".into())?);
            let mut path = std::path::PathBuf::new();
            for part in target.components().filter(|part| matches!(part, std::path::Component::Normal(_))) {
                let name = Path::new(part.as_os_str());
                match nix::sys::stat::mkdirat(&parent, name, Mode::from_bits_retain(0o755)) {
                    Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                    Err(error) => return Err(error).doing(|| format!("make {} on the node", target.display())),
                }
                path.push(name);
                parent = sys::open_in_root(node.as_fd(), &path_string(&path)?, libc::O_PATH)
                    .doing(|| format!("open {} on the node", path.display()))?;
            }
            Ok(parent)
        }
        other => other,
    };
    let found = found.doing(|| format!("open {} on the node", target.display()))?;
    sys::move_mount(tree.as_fd(), found.as_fd()).doing(|| format!("mount {} on the node", target.display()))
}

/// Makes the current directory the root of this mount namespace and lets go of the old one.
pub fn change_root() -> Result<(), String> {
    pivot_root(".", ".").doing(|| "change the root directory".into())?;
    umount2(".", MntFlags::MNT_DETACH).doing(|| "let go of the old root directory".into())?;
    chdir("/").doing(|| "enter the root directory".into())
}

/// Gives this process, which must be in a copy of the runtime's mount namespace, the root that a command on the node
/// sees: the node's files on disk, the machine's `/usr`, and an `/etc` like the pods'.
pub fn enter_node(hostname: &str) -> Result<(), String> {
    let node = Path::new("/node");
    let outer = umask(Mode::empty());
    for (name, mode) in NODE_DIRECTORIES {
        match DirBuilder::new().mode(*mode).create(node.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).doing(|| format!("make /{name} on the node"));
            }
            _ => {}
        }
    }
    umask(outer);
    match std::os::unix::fs::symlink("/run", node.join("var/run")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).doing(|| "make /var/run on the node".into());
        }
        _ => {}
    }
    // The runtime's root has `/usr` but none of the links into it; the skeleton has the machine's.
    skeleton::link_usr(Path::new("/skel"), node).doing(|| "link /usr on the node".into())?;
    make(Path::new("/n/etc"), 0o755)?;
    make(Path::new("/n/work"), 0o755)?;
    fs::write("/n/etc/hostname", format!("{hostname}\n")).doing(|| "write /etc/hostname".into())?;
    if !Path::new("/n/etc/hosts").exists() {
        let hosts = format!("127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        fs::write("/n/etc/hosts", hosts).doing(|| "write /etc/hosts".into())?;
    }
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_at("/usr", "/node/usr", None, bind, None)?;
    let layers = "lowerdir=/skel/etc:/shared/etc,upperdir=/n/etc,workdir=/n/work";
    mount_at("overlay", "/node/etc", Some("overlay"), MsFlags::empty(), Some(layers))?;
    mount_at("proc", "/node/proc", Some("proc"), safe | MsFlags::MS_NOEXEC, None)?;
    mount_at("sysfs", "/node/sys", Some("sysfs"), safe | MsFlags::MS_NOEXEC, None)?;
    mount_at("/skel/dev", "/node/dev", None, bind, None)?;
    mount_at("devpts", "/node/dev/pts", Some("devpts"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some(DEVPTS))?;
    mount_at("shm", "/node/dev/shm", Some("tmpfs"), safe, Some("mode=1777"))?;
    mount_at("run", "/node/run", Some("tmpfs"), safe, Some("mode=0755"))?;
    mount_at("tmp", "/node/tmp", Some("tmpfs"), safe, Some("mode=1777"))?;
    chdir(node).doing(|| "enter the node's root".into())?;
    change_root()
}

pub const DEVPTS: &str = "newinstance,ptmxmode=0666,mode=0620,gid=5";

pub fn mount_at(
    source: &str,
    target: &str,
    kind: Option<&str>,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<(), String> {
    mount(Some(source), target, kind, flags, options).doing(|| {
        let target = target.strip_prefix("/m").or(target.strip_prefix("/node")).unwrap_or(target);
        format!("mount {}", if target.is_empty() { "/" } else { target })
    })
}

/// Removes from a node's root directory what [`enter_node`] has put there and nobody has put anything into. What is left
/// is the user's. `Ok(true)`: nothing is, and the directory is gone too.
pub fn tidy(node_root: &Path) -> io::Result<bool> {
    let links = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "var/run"];
    for link in links.map(|name| node_root.join(name)) {
        if fs::symlink_metadata(&link).is_ok_and(|found| found.is_symlink()) {
            fs::remove_file(link)?;
        }
    }
    let directories = NODE_DIRECTORIES.iter().rev().map(|(name, _)| node_root.join(name));
    for directory in directories.chain([node_root.to_path_buf()]) {
        match fs::remove_dir(directory) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(!node_root.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tidying_keeps_what_a_user_has_made() {
        let root = std::env::temp_dir().join(format!("nslab-tidy-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("mnt/data")).unwrap();
        fs::create_dir_all(root.join("var/log")).unwrap();
        fs::write(root.join("mnt/data/file"), "kept").unwrap();
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
        assert!(!tidy(&root).unwrap());
        assert!(!root.join("var").exists());
        assert!(fs::symlink_metadata(root.join("bin")).is_err());
        assert_eq!(fs::read_to_string(root.join("mnt/data/file")).unwrap(), "kept");
        fs::remove_dir_all(root.join("mnt/data")).unwrap();
        assert!(tidy(&root).unwrap());
        assert!(tidy(&root).unwrap());
    }
}
