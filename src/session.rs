//! A command that runs in a container or on a node, with its input and output: what `exec`, `attach` and `run -it` ask
//! of the node runtimes; and a way into a pod's network for `port-forward`. Plain types, so that the API that serves
//! them needs no kernel code.

use std::os::fd::OwnedFd;

use tokio::sync::oneshot;

/// Where a command is to run, or what is to be attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Container {
        node: String,
        pod_uid: String,
        container: String,
    },
    /// A node, or the outside machine under its name `client`.
    Node {
        name: String,
    },
}

/// A pod whose network is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub argv: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
}

/// The near ends of a command's streams. With a terminal, `stdin` and `stdout` are the same pseudo-terminal.
pub struct Session {
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    /// `None` with a terminal.
    pub stderr: Option<OwnedFd>,
    /// Sets the terminal's size: columns, rows. Does nothing without a terminal.
    pub resize: Box<dyn Fn(u16, u16) + Send + Sync>,
    /// Sent when the command has ended. An attached client learns of its container's end so.
    pub exit: oneshot::Receiver<Exit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// 128 + the signal's number for a command that a signal ended.
    pub code: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The container is not running, the node is down.
    #[error("{0}")]
    NotRunning(String),
    /// The command could not be started; the text is the OCI runtime's: `exec: "foo": executable file not found in
    /// $PATH`.
    #[error("{0}")]
    CannotStart(String),
}

/// Implemented by the agent over the node runtimes. The calls block for as long as a process takes to start.
pub trait Sessions: Send + Sync + 'static {
    fn exec(&self, target: &Target, command: Command) -> Result<Session, SessionError>;

    /// Joins the main process of a container that was made with `stdin` and/or `tty`; without them only its output is
    /// joined.
    fn attach(&self, target: &Target, stdin: bool) -> Result<Session, SessionError>;

    /// A TCP socket in the pod's network namespace that is neither bound nor connected, and does not block.
    fn socket(&self, pod: &Pod, family: Family) -> Result<OwnedFd, SessionError>;
}
