//! What a runtime knows of its pods: which containers they have, which run of each is the last, and how it went.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Instant;

use jiff::Timestamp;

use super::console::Console;
use super::container::Shared;
use super::protocol::{ContainerSpec, ContainerState, PodSpec, PodState, Status};
use super::reactor::Watched;

/// Where the service account's files are in a pod's layer. Containers know it as `/var/run/...`: `/var/run` is a link.
const ACCOUNT: &str = "l/run/secrets/kubernetes.io/serviceaccount";

pub struct Pod {
    pub spec: PodSpec,
    pub netns: OwnedFd,
    pub shared: Option<Shared>,
    /// In the runtime's root.
    pub dir: PathBuf,
    pub containers: BTreeMap<String, Container>,
    /// Being stopped; what is left is killed then.
    pub deadline: Option<Instant>,
}

/// The last run of a container.
pub struct Container {
    pub attempt: u32,
    /// While its process is there.
    pub run: Option<u64>,
    pub status: Status,
}

/// A container's process.
pub struct Run {
    pub spec: ContainerSpec,
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub created: Timestamp,
    /// Until it has said how its start went.
    pub status: Option<Watched>,
    pub console: Console,
    pub dir: PathBuf,
}

impl Pod {
    pub fn new(spec: PodSpec, netns: OwnedFd, dir: PathBuf) -> io::Result<Pod> {
        let etc = dir.join("l/etc");
        for path in [&dir, &dir.join("l"), &etc, &dir.join("shm")] {
            DirBuilder::new().mode(0o755).create(path)?;
        }
        // The umask would take bits off.
        fs::set_permissions(dir.join("shm"), fs::Permissions::from_mode(0o1777))?;
        fs::write(etc.join("hostname"), format!("{}\n", spec.hostname))?;
        fs::write(etc.join("hosts"), &spec.hosts)?;
        fs::write(etc.join("resolv.conf"), &spec.resolv_conf)?;
        if let Some(credentials) = &spec.credentials {
            let account = dir.join(ACCOUNT);
            DirBuilder::new().mode(0o755).recursive(true).create(&account)?;
            fs::write(account.join("ca.crt"), &credentials.ca)?;
            fs::write(account.join("namespace"), &spec.namespace)?;
            fs::write(account.join("token"), &credentials.token)?;
        }
        Ok(Pod { spec, netns, shared: None, dir, containers: BTreeMap::new(), deadline: None })
    }

    pub fn is_empty(&self) -> bool {
        self.containers.values().all(|container| container.run.is_none())
    }

    pub fn state(&self) -> PodState {
        let containers = self.containers.iter().map(|(name, container)| ContainerState {
            name: name.clone(),
            attempt: container.attempt,
            status: container.status.clone(),
        });
        PodState {
            uid: self.spec.uid.clone(),
            namespace: self.spec.namespace.clone(),
            name: self.spec.name.clone(),
            stopping: self.deadline.is_some(),
            containers: containers.collect(),
        }
    }
}
