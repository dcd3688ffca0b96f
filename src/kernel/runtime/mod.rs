//! A node as a process: `lab __node` is pid 1 of the node, which starts and watches its containers. Everything on the
//! node dies with it, and it outlives the supervisor. docs/adr/0005-node-runtime.md says why.
//!
//! The supervisor calls [`spawn`], then talks to it through a [`RuntimeClient`].

mod builtin;
mod client;
mod console;
mod container;
mod containers;
mod link;
mod log;
mod node;
mod pod;
mod program;
pub mod protocol;
mod reactor;
mod root;
mod server;
mod sessions;
mod skeleton;
mod spawn;
pub(super) mod sys;
mod wire;

pub use builtin::Builtin;
pub use client::RuntimeClient;
pub use node::node_main;
pub use root::tidy as tidy_node_root;
pub use spawn::{pid_file, preflight, prepare, running, spawn, spawn_program};

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(
        "/{directory} of this machine is not a link into /usr, so that programs in pods would not find their \
         libraries; use a distribution with a merged /usr (on Debian: install the package usrmerge)"
    )]
    NotMergedUsr { directory: &'static str },
    #[error("node {node} runs already, as process {pid}")]
    AlreadyRunning { node: String, pid: i32 },
    #[error("cannot start node {node}: cannot {step}: {source}")]
    Spawn { node: String, step: &'static str, source: std::io::Error },
    #[error("cannot reach node {node}: {source}; its runtime.log may say why")]
    Connect { node: String, source: std::io::Error },
    #[error("node {node} could not set itself up: {message}")]
    Setup { node: String, message: String },
    #[error("node {node} does not answer: {reason}")]
    Lost { node: String, reason: String },
}
