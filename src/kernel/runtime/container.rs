//! A container's process, from fork to execve: namespaces, root directory, then [`program::finish`].

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, setns};
use nix::unistd::sethostname;

use super::program::{self, Finish, Report};
use super::root::{self, mount_at};
use super::sys::{self, Fork};

/// The namespaces that the containers of a pod share, beside the network's.
pub struct Shared {
    pub uts: OwnedFd,
    pub ipc: OwnedFd,
}

/// What a new container's process needs.
pub struct Launch<'a> {
    /// The pod's directory in the runtime's root.
    pub pod_dir: &'a Path,
    /// The run's directory below it, with `u` and `w`.
    pub run_dir: &'a Path,
    pub read_only_proc: &'a [&'static str],
    pub netns: BorrowedFd<'a>,
    /// `None`: the pod's first container, which makes them.
    pub shared: Option<&'a Shared>,
    pub hostname: &'a str,
    pub finish: Finish<'a>,
}

/// Starts the process. What becomes of it is said over the status socket.
pub fn start(launch: &Launch<'_>) -> nix::Result<(i32, OwnedFd)> {
    let mut namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWNS;
    if launch.shared.is_none() {
        namespaces |= libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
    }
    run_child(namespaces, launch.finish.status, || {
        enter(launch)?;
        program::finish(&launch.finish)
    })
}

/// Forks; the child runs `body`, whose error goes over `status`, and never returns from here.
pub fn run_child(
    namespaces: libc::c_int,
    status: BorrowedFd<'_>,
    body: impl FnOnce() -> Result<std::convert::Infallible, String>,
) -> nix::Result<(i32, OwnedFd)> {
    // SAFETY: the runtime has one thread, so that the child may do whatever the parent may.
    match unsafe { sys::fork(namespaces) }? {
        Fork::Parent { pid, pidfd } => Ok((pid, pidfd)),
        Fork::Child => {
            // A panic must not unwind into the parent's code.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            let message = match result {
                Ok(Err(message)) => message,
                Ok(Ok(never)) => match never {},
                Err(_) => "a defect in the runtime stopped it, see the node's runtime.log".into(),
            };
            Report::send_failure(status, &message);
            sys::exit_now(127)
        }
    }
}

fn enter(launch: &Launch<'_>) -> Result<(), String> {
    use root::Doing;
    setns(launch.netns, CloneFlags::CLONE_NEWNET).doing(|| "enter the pod's network namespace".into())?;
    match launch.shared {
        Some(shared) => {
            setns(&shared.uts, CloneFlags::CLONE_NEWUTS).doing(|| "enter the pod's uts namespace".into())?;
            setns(&shared.ipc, CloneFlags::CLONE_NEWIPC).doing(|| "enter the pod's ipc namespace".into())?;
        }
        None => sethostname(launch.hostname).doing(|| "set the hostname".into())?,
    }
    let mut layers = OsString::from("lowerdir=");
    for part in [launch.pod_dir.as_os_str(), "/l:/skel:/shared,upperdir=".as_ref(), launch.run_dir.as_os_str()] {
        layers.push(part);
    }
    layers.push("/u,workdir=");
    layers.push(launch.run_dir);
    layers.push("/w");
    let layers = layers.to_string_lossy();
    let bind = MsFlags::MS_BIND;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_at("overlay", "/m", Some("overlay"), MsFlags::empty(), Some(&layers))?;
    mount_at("/usr", "/m/usr", None, bind | MsFlags::MS_REC, None)?;
    mount_at("proc", "/m/proc", Some("proc"), safe, None)?;
    for name in launch.read_only_proc {
        mount_at(&format!("/ro/{name}"), &format!("/m/proc/{name}"), None, bind, None)?;
    }
    mount_at("sysfs", "/m/sys", Some("sysfs"), safe | MsFlags::MS_RDONLY, None)?;
    mount_at("devpts", "/m/dev/pts", Some("devpts"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some(root::DEVPTS))?;
    let shm: PathBuf = launch.pod_dir.join("shm");
    mount_at(&shm.to_string_lossy(), "/m/dev/shm", None, bind, None)?;
    nix::unistd::chdir("/m").doing(|| "enter the root directory".into())?;
    root::change_root()
}

/// Keeps the uts and ipc namespaces of a new container for the pod's other ones. `None` when it is gone already: then
/// the next one makes new ones.
pub fn shared_of(pid: i32) -> Option<Shared> {
    let open = |kind: &str| std::fs::File::open(format!("/proc/{pid}/ns/{kind}")).ok().map(OwnedFd::from);
    Some(Shared { uts: open("uts")?, ipc: open("ipc")? })
}

/// Starts a command in the namespaces of a running process.
pub fn join(
    target: BorrowedFd<'_>,
    own_pid_namespace: BorrowedFd<'_>,
    finish: &Finish<'_>,
) -> Result<(i32, OwnedFd), String> {
    use root::Doing;
    // From here on this process's children are born in the container's pid namespace.
    setns(target, CloneFlags::CLONE_NEWPID).doing(|| "enter the container's pid namespace".into())?;
    let child = run_child(0, finish.status, || {
        // Until execve the container's root could else open this program's file through /proc, writable.
        sys::set_dumpable(false).doing(|| "hide from the container".into())?;
        let kinds =
            CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
        setns(target, kinds).doing(|| "enter the container's namespaces".into())?;
        program::finish(finish)
    });
    if setns(own_pid_namespace, CloneFlags::CLONE_NEWPID).is_err() {
        // The next container would be born in the wrong place. Nothing that a request says leads here.
        super::node::complain(format_args!("cannot come back from a container's pid namespace"));
        sys::exit_now(1);
    }
    child.doing(|| "fork".into())
}

/// Starts a command on the node itself, in the mount namespace `mounts`.
pub fn join_node(mounts: &OwnedFd, finish: &Finish<'_>) -> Result<(i32, OwnedFd), String> {
    use root::Doing;
    run_child(0, finish.status, || {
        setns(mounts, CloneFlags::CLONE_NEWNS).doing(|| "enter the node's mount namespace".into())?;
        program::finish(finish)
    })
    .doing(|| "fork".into())
}

/// Makes the mount namespace that commands on the node run in; it lives as long as the descriptor.
pub fn node_mounts(hostname: &str) -> Result<OwnedFd, String> {
    use root::Doing;
    use std::io::{Read, Write};
    let (mut report, status) = std::io::pipe().doing(|| "make a pipe".into())?;
    let (pid, pidfd) = run_child(libc::CLONE_NEWNS, status.as_fd(), || {
        root::enter_node(hostname)?;
        (&status).write_all(b"+").doing(|| "report".into())?;
        loop {
            // Until the namespace has been opened and this process is killed.
            nix::unistd::pause();
        }
    })
    .doing(|| "fork".into())?;
    drop(status);
    let mut said = [0; 4096];
    let length = report.read(&mut said).doing(|| "hear from the node's mount namespace".into())?;
    let result = match said.get(..length) {
        Some(b"+") => {
            let mounts = std::fs::File::open(format!("/proc/{pid}/ns/mnt"));
            mounts.map(OwnedFd::from).doing(|| "open the node's mount namespace".into())
        }
        Some([b'E', text @ ..]) => Err(String::from_utf8_lossy(text).into_owned()),
        _ => Err("cannot make the node's mount namespace".into()),
    };
    // It has ended by itself otherwise.
    let _ = sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
    result
}
