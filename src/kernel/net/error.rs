//! Why something about the network could not be done.

use nix::errno::Errno;

use super::orders::Step;
use crate::kernel::netlink::{NetlinkError, Refusal};

/// What was being done to what, why it failed, and what to do next where that is known.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {cause}{}", hint(.cause))]
pub struct NetError {
    /// For example `create link eth0 in network namespace lab.default.web-1`.
    pub doing: String,
    pub cause: Cause,
}

#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error("{0}")]
    Refused(Refusal),
    #[error("{}", .0.desc())]
    Errno(Errno),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("{0}")]
    Other(String),
}

impl Cause {
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Cause::Refused(refusal) => Some(refusal.errno),
            Cause::Errno(errno) => Some(*errno),
            Cause::Netlink(
                NetlinkError::Open { source, .. } | NetlinkError::Send { source, .. } | NetlinkError::Enter(source),
            ) => Some(*source),
            Cause::Netlink(_) | Cause::Other(_) => None,
        }
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Cause::Errno(errno)
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => Cause::Errno(Errno::from_raw(code)),
            None => Cause::Other(error.to_string()),
        }
    }
}

impl NetError {
    pub fn new(doing: impl Into<String>, cause: impl Into<Cause>) -> Self {
        NetError { doing: doing.into(), cause: cause.into() }
    }

    pub fn other(doing: impl Into<String>, cause: impl Into<String>) -> Self {
        NetError { doing: doing.into(), cause: Cause::Other(cause.into()) }
    }

    pub fn refused(step: Step, object: &str, refusal: Refusal) -> Self {
        NetError { doing: format!("{step} {object}"), cause: Cause::Refused(refusal) }
    }

    pub fn errno(&self) -> Option<Errno> {
        self.cause.errno()
    }
}

/// For `map_err`: says what was being done.
pub fn doing<E: Into<Cause>>(what: impl Into<String>) -> impl FnOnce(E) -> NetError {
    move |cause| NetError::new(what, cause)
}

fn hint(cause: &Cause) -> &'static str {
    match cause.errno() {
        Some(Errno::EPERM | Errno::EACCES) => "; run it as root",
        Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => {
            "; this kernel lacks a network feature that a lab needs, `lab doctor` says which"
        }
        Some(Errno::EMFILE) => "; raise the limit of open files (`ulimit -n`)",
        Some(Errno::ENFILE) => "; raise the machine's limit of open files (sysctl fs.file-max)",
        Some(Errno::ENOSPC) => {
            "; a limit on namespaces or mounts is reached (sysctl user.max_net_namespaces, fs.mount-max)"
        }
        Some(Errno::ENOMEM | Errno::ENOBUFS) => "; the kernel is out of memory",
        _ => "",
    }
}
