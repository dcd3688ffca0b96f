//! The directory that holds a lab's network namespaces: a mount of its own, with one bind mount a namespace, and the
//! symlinks by which `ip netns` finds them.
//!
//! A namespace is bound here as the last step of its making. Until then it lives only by the thread that makes it, so
//! a crash half way takes it along, and what stands here is complete.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use super::error::{NetError, doing};
use crate::layout::{IP_NETNS, Layout};

const NONE: Option<&str> = None;

#[derive(Debug)]
pub struct Directory {
    layout: Layout,
}

impl Directory {
    /// Makes the directory if it is not there yet. What stands in it stays, save for files that no namespace was bound
    /// to: those are from a crash.
    pub fn open(layout: &Layout) -> Result<Self, NetError> {
        let directory = Directory { layout: layout.clone() };
        directory.make().map_err(doing(format!("make {}", layout.netns_dir().display())))?;
        for name in directory.files()? {
            match directory.bound(&name)? {
                Some(_) => directory.link(&name)?,
                None => directory.discard(&name)?,
            }
        }
        Ok(directory)
    }

    fn make(&self) -> io::Result<()> {
        let path = self.layout.netns_dir();
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
        if !is_mount_point(&path)? {
            mount(Some("nslab"), &path, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0755"))?;
            // Whatever copies the machine's mounts after this (a service that systemd starts in a mount namespace of
            // its own) holds on to the lab's network namespaces by its copies of the bind mounts. A peer group of our
            // own, apart from that of /run, is what makes a later unmount reach them.
            mount(NONE, &path, NONE, MsFlags::MS_PRIVATE, NONE)?;
            mount(NONE, &path, NONE, MsFlags::MS_SHARED, NONE)?;
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<String>, NetError> {
        let path = self.layout.netns_dir();
        let read = || -> io::Result<Vec<String>> {
            let names = fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect()
        };
        read().map_err(doing(format!("list {}", path.display())))
    }

    /// The names of the namespaces that are there.
    pub fn names(&self) -> Result<Vec<String>, NetError> {
        let mut names = Vec::new();
        for name in self.files()? {
            if self.bound(&name)?.is_some() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The namespace, if it is there. Holding it keeps it alive.
    pub fn bound(&self, name: &str) -> Result<Option<OwnedFd>, NetError> {
        namespace_at(&self.layout.netns(name)).map_err(doing(format!("open network namespace {name}")))
    }

    /// Binds the network namespace of the calling thread.
    pub fn bind(&self, name: &str) -> Result<(), NetError> {
        let path = self.layout.netns(name);
        let bind = || -> io::Result<()> {
            File::create(&path)?;
            mount(Some("/proc/thread-self/ns/net"), &path, NONE, MsFlags::MS_BIND, NONE)?;
            Ok(())
        };
        let bound = bind().map_err(doing(format!("bind network namespace {name} to {}", path.display())));
        bound.and_then(|()| self.link(name)).inspect_err(|_| {
            // The error to tell is the first one.
            let _ = self.discard(name);
        })
    }

    /// Lets go of a namespace; the kernel destroys it once nobody uses it. Nothing happens if it is not there.
    pub fn release(&self, name: &str) -> Result<(), NetError> {
        unlink_ours(&self.layout, name).map_err(doing(format!("remove {IP_NETNS}/{name}")))?;
        self.discard(name)
    }

    fn discard(&self, name: &str) -> Result<(), NetError> {
        let path = self.layout.netns(name);
        let discard = || -> io::Result<()> {
            match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                // EINVAL: it is there and no mount point.
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
            absent_is_fine(fs::remove_file(&path))
        };
        discard().map_err(doing(format!("release network namespace {name}")))
    }

    /// Makes `ip netns` see it.
    fn link(&self, name: &str) -> Result<(), NetError> {
        let target = self.layout.netns(name);
        let link = Path::new(IP_NETNS).join(name);
        let make = || -> io::Result<()> {
            match symlink(&target, &link) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::DirBuilder::new().recursive(true).mode(0o755).create(IP_NETNS)?;
                    symlink(&target, &link)
                }
                made => made,
            }
        };
        match make() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read_link(&link).is_ok_and(|there| there == target) {
                    return Ok(());
                }
                let cause = "a network namespace of that name exists and is not this lab's; \
                             give the lab another name (--name) or remove that one (`ip netns delete`)";
                Err(NetError::other(format!("make {}", link.display()), cause))
            }
            made => made.map_err(doing(format!("make {}", link.display()))),
        }
    }
}

/// Removes `/run/netns/NAME` if it points at this lab's namespace of that name.
fn unlink_ours(layout: &Layout, name: &str) -> io::Result<()> {
    let link = Path::new(IP_NETNS).join(name);
    if fs::read_link(&link).is_ok_and(|target| target == layout.netns(name)) {
        return absent_is_fine(fs::remove_file(&link));
    }
    Ok(())
}

/// The symlinks in `/run/netns` that point into this lab's directory, and where they point.
pub fn symlinks(layout: &Layout) -> io::Result<BTreeMap<PathBuf, PathBuf>> {
    let mut found = BTreeMap::new();
    let entries = match fs::read_dir(IP_NETNS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if let Ok(target) = fs::read_link(&path)
            && target.parent() == Some(&layout.netns_dir())
        {
            found.insert(path, target);
        }
    }
    Ok(found)
}

/// The network namespace that is bound to a path; `None` if there is nothing, or a file that none was bound to.
pub fn namespace_at(path: &Path) -> io::Result<Option<OwnedFd>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    Ok((fstatfs(&file)?.filesystem_type() == NSFS_MAGIC).then(|| file.into()))
}

pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let device = fs::metadata(path)?.dev();
    let parent = path.parent().map(fs::metadata).transpose()?;
    Ok(parent.is_none_or(|parent| parent.dev() != device))
}

pub fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
