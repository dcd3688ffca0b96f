//! What the supervisor and a node's runtime say to each other.
//!
//! Requests are not answered one by one: the supervisor sends as many as it likes, and what became of them comes as
//! [`Event`]s. Only `Exec`, `Attach` and `List` have an answer, found by its `id`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::desired::Program;

/// What a pod's containers have in common. Its network namespace travels with it as a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSpec {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub hostname: String,
    /// The content of `/etc/hosts`.
    pub hosts: String,
    /// The content of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// What its containers find below `/var/run/secrets`, if anything.
    #[serde(default)]
    pub credentials: Option<Credentials>,
}

/// What a program needs to speak to the API in the name of a service account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    pub token: String,
    /// The certificate of the authority that the API's server has its own from, as PEM.
    pub ca: String,
}

/// The token is a secret, and no message is to show it.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

/// One run of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The uid of its pod.
    pub pod: String,
    pub name: String,
    /// 0, then one more with each restart. A request with an attempt that is not higher than the last is ignored, so
    /// that it can be repeated.
    pub attempt: u32,
    pub program: Program,
    pub env: Vec<(String, String)>,
    /// `/` when `None`; made when it does not exist.
    pub working_dir: Option<String>,
    pub stdin: bool,
    pub stdin_once: bool,
    pub tty: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// With the network namespace. A pod that is there already is left alone.
    StartPod(PodSpec),
    StartContainer(ContainerSpec),
    /// A signal to the main process.
    SignalContainer {
        pod: String,
        container: String,
        signal: i32,
    },
    /// SIGTERM to all containers, SIGKILL after the grace period, then the pod is forgotten.
    StopPod {
        uid: String,
        grace_seconds: u64,
    },
    /// With the far ends of stdin (if `stdin`), stdout and stderr, none of them with a terminal.
    Exec {
        id: u64,
        place: Place,
        argv: Vec<String>,
        tty: bool,
        stdin: bool,
    },
    /// With the far ends of stdin (if `stdin`), stdout, stderr.
    Attach {
        id: u64,
        pod: String,
        container: String,
        stdin: bool,
    },
    /// Sets the size of the terminal of the container that session `id` is attached to.
    Resize {
        id: u64,
        columns: u16,
        rows: u16,
    },
    List {
        id: u64,
    },
}

/// Where a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Node,
    Container { pod: String, container: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The program runs; a built-in server listens.
    Started {
        pod: String,
        container: String,
        attempt: u32,
        /// As the node sees it (`lab node exec NODE -- ps`).
        pid: i32,
        time: Timestamp,
    },
    /// The program could not be run. The kubelet calls it `StartError` and gives it the exit code 128.
    StartFailed { pod: String, container: String, attempt: u32, message: String, time: Timestamp },
    Exited {
        pod: String,
        container: String,
        attempt: u32,
        /// 128 + the signal's number when a signal ended it.
        code: i32,
        signal: Option<i32>,
        time: Timestamp,
    },
    /// Nothing of the pod is left. Sent for an unknown pod too, so that a stop can be repeated.
    PodStopped { pod: String, time: Timestamp },
}

/// What runs on a node; a supervisor that takes over asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub pods: Vec<PodState>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodState {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub stopping: bool,
    pub containers: Vec<ContainerState>,
}

/// The last attempt of a container. It stays until the pod is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    pub name: String,
    pub attempt: u32,
    pub status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Not ready yet: the program is being set up, or does not listen yet.
    Starting,
    Running {
        pid: i32,
        started_at: Timestamp,
    },
    StartFailed {
        message: String,
        time: Timestamp,
    },
    Exited {
        code: i32,
        signal: Option<i32>,
        started_at: Timestamp,
        time: Timestamp,
    },
}

/// Why a command or an attach could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    NotRunning(String),
    CannotStart(String),
}

/// What an attached client has joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    pub tty: bool,
    pub stdin: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The first one on each connection: the node is there, or why it is not.
    Hello(Result<(), String>),
    Event(Event),
    /// The answer to `Exec`, with the terminal's master if one was asked for.
    ExecStarted {
        id: u64,
        result: Result<(), Refusal>,
    },
    /// The answer to `Attach`.
    Attached {
        id: u64,
        result: Result<Joined, Refusal>,
    },
    /// The command has ended; the attached container has.
    SessionEnded {
        id: u64,
        code: i32,
    },
    State {
        id: u64,
        state: State,
    },
}
