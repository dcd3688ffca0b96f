//! Where a lab keeps its files. `/run` holds what must not survive a reboot, `/var/lib` what must.

use std::path::PathBuf;

/// The paths of one lab; pure, nothing here is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    lab: String,
}

/// The directory with one folder a running lab.
pub const RUN: &str = "/run/nslab";
/// The directory with one folder a lab that has objects or volume data.
pub const STATE: &str = "/var/lib/nslab";
/// Where `ip netns` looks.
pub const IP_NETNS: &str = "/run/netns";

/// In [`Layout::run`]: `lab down` is at work, so that clients whose connection ends know why.
pub const GOING_DOWN: &str = "going-down";

/// In [`Layout::pki`]: the certificate authority's certificate, and the administrator's with its key.
pub const CA_CERT: &str = "ca.crt";
pub const ADMIN_CERT: &str = "admin.crt";
pub const ADMIN_KEY: &str = "admin.key";

impl Layout {
    pub fn new(lab: &str) -> Self {
        Layout { lab: lab.to_string() }
    }

    pub fn lab(&self) -> &str {
        &self.lab
    }

    pub fn run(&self) -> PathBuf {
        PathBuf::from(RUN).join(&self.lab)
    }

    pub fn state(&self) -> PathBuf {
        PathBuf::from(STATE).join(&self.lab)
    }

    /// Held by whoever is changing which processes the lab has: `up`, `down`.
    pub fn lock(&self) -> PathBuf {
        self.run().join("lock")
    }

    /// Held by the supervisor for its life, with its pid in it.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.run().join("supervisor.lock")
    }

    pub fn api_socket(&self) -> PathBuf {
        self.run().join("api.sock")
    }

    pub fn supervisor_log(&self) -> PathBuf {
        self.run().join("supervisor.log")
    }

    /// What has been made in the kernel: one `Desired` as JSON, for the next supervisor.
    pub fn record(&self) -> PathBuf {
        self.run().join("record")
    }

    /// Where `down` keeps what it needs to know whether what it could not remove has gone since: a network namespace
    /// that knows the lab's by number, and what stands behind the numbers.
    pub fn witness(&self) -> PathBuf {
        self.run().join("witness")
    }

    pub fn left(&self) -> PathBuf {
        self.run().join("left")
    }

    /// A tmpfs of its own, in which each network namespace is a bind mount; `/run/netns` holds symlinks to them.
    pub fn netns_dir(&self) -> PathBuf {
        self.run().join("netns")
    }

    pub fn netns(&self, name: &str) -> PathBuf {
        self.netns_dir().join(name)
    }

    /// A node's runtime listens here.
    pub fn runtime_socket(&self, node: &str) -> PathBuf {
        self.run().join("nodes").join(node).join("runtime.sock")
    }

    /// What a node's pods need while they run: root directories, generated files.
    pub fn node_run(&self, node: &str) -> PathBuf {
        self.run().join("nodes").join(node)
    }

    /// What of this machine's `/etc` the lab's pods and nodes see beside what is theirs, below an `etc` of its own.
    pub fn shared_etc(&self) -> PathBuf {
        self.run().join("shared-etc")
    }

    /// The node's own filesystem, where its hostPath volumes are: the data that `down` keeps.
    pub fn node_root(&self, node: &str) -> PathBuf {
        self.state().join("nodes").join(node).join("root")
    }

    /// The lab's certificate authority and the administrator's credentials.
    pub fn pki(&self) -> PathBuf {
        self.state().join("pki")
    }

    /// The store's log.
    pub fn store(&self) -> PathBuf {
        self.state().join("store")
    }

    /// `<container>/<attempt>.log` below it, in the kubelet's format: `TIME stdout|stderr F|P TEXT`.
    pub fn pod_logs(&self, namespace: &str, pod: &str, uid: &str) -> PathBuf {
        // A directory for each, since the three together may be longer than a file's name.
        self.state().join("logs").join(namespace).join(pod).join(uid)
    }
}
