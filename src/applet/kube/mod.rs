//! A small client of the lab's API for the programs in pods that a real cluster runs as pods too: found and trusted as
//! every client in a pod does it, by the Service `kubernetes` and the files of the pod's service account.
//!
//! [`list_all`] and then [`follow`] keep a program told of all objects of some kinds for as long as it runs, whatever
//! happens to the API.

mod connect;
mod follow;
#[cfg(test)]
mod tests;

pub use connect::{Api, Connection, Lines};
pub use follow::{Change, Position, follow, list_all};

use std::io;

use crate::object::kind::KindRef;

#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    #[error("find the API: {variable} is not set; a pod has it unless its spec says otherwise")]
    NotInPod { variable: &'static str },
    #[error("read {path}: {reason}; a pod has it unless automountServiceAccountToken is false")]
    Credentials { path: String, reason: String },
    #[error("connect to {address}: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("{asking}: {reason}")]
    Broken { asking: String, reason: String },
    /// What the API answered with.
    #[error("{asking}: {message} ({code})")]
    Refused { asking: String, code: u16, message: String },
}

impl KubeError {
    /// The changes that were asked for are not kept any more: only a new list helps.
    pub fn is_gone(&self) -> bool {
        matches!(self, KubeError::Refused { code: 410, .. })
    }
}

/// The path of all objects of a kind, in all namespaces.
pub fn collection(kind: KindRef) -> String {
    match kind.group {
        "" => format!("/api/{}/{}", kind.version, kind.plural),
        group => format!("/apis/{group}/{}/{}", kind.version, kind.plural),
    }
}
