//! The only room with system calls: namespaces, links, nftables, mounts, processes.
//!
//! Everything above it speaks to [`Kernel`], which the real one (`host.rs`) and the state fake (`fake.rs`) implement.

pub mod conntrack;
pub mod daemon;
pub mod fake;
pub mod host;
pub mod inherited;
pub mod net;
pub mod netlink;
pub mod nft;
pub mod preflight;
pub mod process;
pub mod runtime;
pub mod teardown;

use jiff::Timestamp;

use crate::desired::{Container, Pod};
use crate::diff::Action;

/// What the agent asks of the system. Called from several threads at once.
pub trait Kernel: Send + Sync {
    /// Makes one step. Making a step again that was made already, or half made, is no error.
    fn apply(&self, action: &Action) -> Result<(), KernelError>;

    /// Starts a container of a pod that was started. What becomes of it comes as an [`Event`].
    fn start_container(&self, pod: &Pod, container: &Container, attempt: u32) -> Result<(), KernelError>;

    /// Removes the logs of a pod that is no more.
    fn remove_logs(&self, namespace: &str, pod: &str, uid: &str) -> Result<(), KernelError>;
}

/// Why a step could not be made: what was being done, to what, why it failed and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KernelError(pub String);

/// What the nodes report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Container {
        pod_uid: String,
        container: String,
        /// 0 for the first start.
        attempt: u32,
        at: Timestamp,
        what: ContainerEvent,
    },
    /// Nothing of the pod runs any more.
    PodStopped { pod_uid: String },
    /// The node's process has ended, and with it all its containers.
    NodeDown { node: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// It runs; a server of the lab's own is listening.
    Started {
        pid: i32,
    },
    /// It could not be run at all; the text is the OCI runtime's.
    StartFailed {
        message: String,
    },
    Exited {
        code: i32,
        signal: Option<i32>,
    },
}

/// What an earlier supervisor left running.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survivors {
    /// Network namespaces that are there, whole.
    pub netns: std::collections::BTreeSet<String>,
    /// Nodes whose process answers, with the pods they have.
    pub nodes: std::collections::BTreeMap<String, Vec<LivePod>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LivePod {
    pub uid: String,
    pub containers: Vec<LiveContainer>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LiveContainer {
    pub name: String,
    pub attempt: u32,
    /// When it started, if it has.
    pub started_at: Option<Timestamp>,
    /// The last thing that happened to it, and when; `None` while it is starting.
    pub last: Option<(Timestamp, ContainerEvent)>,
}
