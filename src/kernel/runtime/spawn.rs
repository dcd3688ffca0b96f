//! Starting a node's runtime, from the supervisor.
//!
//! The supervisor has many threads, so that between fork and execve only plain system calls are made. The runtime's
//! parent is not the supervisor but whoever takes orphans in: it outlives the supervisor, and leaves it no zombie.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sched::{CloneFlags, setns};

use super::node::{CONFIG, Config, LISTENER};
use super::sys::{self, ExecStrings, Fork};
use super::{RuntimeError, skeleton};
use crate::desired;
use crate::kernel::process::Process;
use crate::layout::Layout;

/// Numbers below this are where the child puts the descriptors that it passes on.
const HIGH: RawFd = 10;

/// Where the pid file of a node's runtime is: `PID STARTTIME`, as this machine sees them.
pub fn pid_file(layout: &Layout, node: &str) -> PathBuf {
    layout.node_run(node).join("pid")
}

/// The node's runtime, if it runs.
pub fn running(layout: &Layout, node: &str) -> Option<Process> {
    Process::read(&pid_file(layout, node)).filter(Process::is_alive)
}

/// What this machine lacks for nodes to run on it.
pub fn preflight() -> Result<(), RuntimeError> {
    match skeleton::not_merged(Path::new("/")) {
        Some(directory) => Err(RuntimeError::NotMergedUsr { directory }),
        None => Ok(()),
    }
}

/// Makes what all nodes share. The first that is started does it otherwise, and the others wait.
pub fn prepare(layout: &Layout) -> io::Result<()> {
    skeleton::share(layout)
}

/// Starts a node in its network namespace. Returns as soon as the process has been made: what goes wrong later,
/// [`super::RuntimeClient::connect`] reports, which can be called at once.
pub fn spawn(
    layout: &Layout,
    node: &str,
    runtime: &desired::Runtime,
    netns: BorrowedFd<'_>,
) -> Result<(), RuntimeError> {
    // Not /proc/self/exe: that leads to the file by a mount of this namespace, and the node needs one of its own to copy.
    let program = std::env::current_exe().and_then(fs::canonicalize);
    let program = program.map_err(|source| RuntimeError::Spawn {
        node: node.into(),
        step: "find the file of this program (was it replaced while the lab ran?)",
        source,
    })?;
    spawn_program(&program, layout, node, runtime, netns)
}

/// As [`spawn`], with another file than this program's own to run as `lab __node`.
pub fn spawn_program(
    program: &Path,
    layout: &Layout,
    node: &str,
    runtime: &desired::Runtime,
    netns: BorrowedFd<'_>,
) -> Result<(), RuntimeError> {
    if let Some(process) = running(layout, node) {
        return Err(RuntimeError::AlreadyRunning { node: node.into(), pid: process.pid });
    }
    start(program, layout, node, runtime, netns).map_err(|(step, source)| RuntimeError::Spawn {
        node: node.into(),
        step,
        source,
    })
}

type Step<T> = Result<T, (&'static str, io::Error)>;

trait At<T> {
    fn at(self, step: &'static str) -> Step<T>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: &'static str) -> Step<T> {
        self.map_err(|error| (step, error.into()))
    }
}

fn start(program: &Path, layout: &Layout, node: &str, runtime: &desired::Runtime, netns: BorrowedFd<'_>) -> Step<()> {
    let config = Config { lab: layout.lab().into(), node: node.into(), runtime: runtime.clone() };
    let config = serde_json::to_vec(&config).at("describe the node")?;
    skeleton::share(layout).at("copy what is for everybody of /etc")?;
    let directory = layout.node_run(node);
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).at("make its directory")?;
    let listener = high(listen(&layout.runtime_socket(node)).at("make its socket")?)?;
    let null = high(File::open("/dev/null").at("open /dev/null")?.into())?;
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(directory.join("runtime.log"));
    let log = high(log.at("open its log")?.into())?;
    let (config_end, mut config_pipe) = io::pipe().at("make a pipe")?;
    let config_end = high(config_end.into())?;
    let (status, status_end) = io::pipe().at("make a pipe")?;
    let status_end = high(status_end.into())?;

    let strings = |texts: &[&str]| texts.iter().map(|text| CString::new(*text)).collect::<Result<Vec<_>, _>>();
    let argv = strings(&["lab", "__node", layout.lab(), node]).at("name the node")?;
    let env = strings(&["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]).at("name the node")?;
    let path = CString::new(program.as_os_str().as_bytes()).at("name the program")?;
    let child = Child {
        path: &path,
        argv: ExecStrings::new(&argv),
        env: ExecStrings::new(&env),
        netns,
        status: status_end.as_fd(),
        place: [
            (null.as_raw_fd(), 0),
            (log.as_raw_fd(), 1),
            (log.as_raw_fd(), 2),
            (config_end.as_raw_fd(), CONFIG),
            (listener.as_raw_fd(), LISTENER),
        ],
    };
    // SAFETY: the child calls nothing but `Child::run`, which makes only plain system calls.
    let middle = match unsafe { sys::fork(0) }.at("fork")? {
        Fork::Child => child.run(config_pipe.as_raw_fd()),
        Fork::Parent { pidfd, .. } => pidfd,
    };
    drop((null, log, config_end, status_end, listener));
    wait(middle.as_fd()).at("wait for the process between")?;
    let mut status = Status(status);
    let pid = status.pid()?;
    // Written down before the node may do anything: it waits for its configuration. If this process dies here, the node
    // reads an end instead, and ends.
    let process = Process::of(pid).ok_or_else(|| io::Error::other("it ended at once")).at("find its process")?;
    fs::write(pid_file(layout, node), format!("{process}\n")).at("write its pid file")?;
    config_pipe.write_all(&config).at("tell it what it is")?;
    status.end()
}

/// A socket that nobody listens on yet; connections wait in its queue.
fn listen(path: &Path) -> io::Result<OwnedFd> {
    // Through a descriptor, since the name of a socket must be shorter than 108 bytes.
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(short)?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

fn high(fd: OwnedFd) -> Step<OwnedFd> {
    let high = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(HIGH)).at("copy a descriptor")?;
    // SAFETY: fcntl just made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(high) })
}

fn wait(pidfd: BorrowedFd<'_>) -> nix::Result<()> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    loop {
        match waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Steps of the child, as they go over the status pipe with an error number.
const STEPS: [&str; 5] =
    ["fork into its namespaces", "enter its network namespace", "leave the session", "pass descriptors on", "run lab"];

/// What comes back from the children: the pid once, then an error or the end, which is execve's.
struct Status(PipeReader);

impl Status {
    /// The next pair of numbers; `None` at the end.
    fn next(&mut self) -> Step<Option<(u32, i32)>> {
        let mut bytes = [0; 8];
        match self.0.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error).at("hear from its process"),
        }
        let [a, b, c, d, e, f, g, h] = bytes;
        Ok(Some((u32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]))))
    }

    fn pid(&mut self) -> Step<i32> {
        match self.next()? {
            Some((PID, pid)) => Ok(pid),
            Some((step, errno)) => Err((step_name(step), io::Error::from_raw_os_error(errno))),
            None => Err(io::Error::other("it ended at once")).at("fork"),
        }
    }

    fn end(&mut self) -> Step<()> {
        match self.next()? {
            None => Ok(()),
            Some((step, errno)) => Err((step_name(step), io::Error::from_raw_os_error(errno))),
        }
    }
}

const PID: u32 = u32::MAX;

fn step_name(step: u32) -> &'static str {
    STEPS.get(step as usize).copied().unwrap_or("start")
}

/// All that the children use, made before the fork.
struct Child<'a> {
    path: &'a CString,
    argv: ExecStrings<'a>,
    env: ExecStrings<'a>,
    netns: BorrowedFd<'a>,
    status: BorrowedFd<'a>,
    place: [(RawFd, RawFd); 5],
}

impl Child<'_> {
    /// The process between: makes the node's and ends.
    fn run(&self, config_pipe: RawFd) -> ! {
        let kinds = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
        // SAFETY: `exec` makes only plain system calls.
        match unsafe { sys::fork(kinds) } {
            Ok(Fork::Parent { pid, pidfd }) => {
                self.report(PID, pid);
                // Not dropped: this process holds copies of all the supervisor's descriptors, and they go together.
                std::mem::forget(pidfd);
            }
            Ok(Fork::Child) => match self.exec(config_pipe) {
                Err((step, error)) => self.report(step, error as i32),
                Ok(never) => match never {},
            },
            Err(error) => self.report(0, error as i32),
        }
        sys::exit_now(0)
    }

    fn exec(&self, config_pipe: RawFd) -> Result<std::convert::Infallible, (u32, Errno)> {
        // SAFETY: a number; the descriptor is this process's own copy. Left open, the end of the pipe would never come.
        unsafe { libc::close(config_pipe) };
        setns(self.netns, CloneFlags::CLONE_NEWNET).map_err(|error| (1, error))?;
        nix::unistd::setsid().map_err(|error| (2, error))?;
        for (from, to) in self.place {
            sys::place(from, to).map_err(|error| (3, error))?;
        }
        sys::close_on_exec_from(LISTENER + 1).map_err(|error| (3, error))?;
        // Through a mount that cannot be written: the built-in servers in containers are forks of this process, and
        // /proc/1/exe leads to its file.
        let program = sys::clone_tree(nix::fcntl::AT_FDCWD, self.path).map_err(|error| (4, error))?;
        sys::set_read_only(program.as_fd()).map_err(|error| (4, error))?;
        Err((4, sys::exec_file(program.as_fd(), &self.argv, &self.env)))
    }

    fn report(&self, step: u32, value: i32) {
        let mut bytes = [0; 8];
        let (head, tail) = bytes.split_at_mut(4);
        head.copy_from_slice(&step.to_ne_bytes());
        tail.copy_from_slice(&value.to_ne_bytes());
        // Less than a page goes into a pipe at once. Without a reader there is nobody to tell.
        let _ = nix::unistd::write(self.status, &bytes);
    }
}
