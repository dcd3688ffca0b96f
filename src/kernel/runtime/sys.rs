//! System calls that `nix` has no wrapper for, each as a safe function over one call.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const MOUNT_ATTR_RDONLY: u64 = 1;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

fn owned(result: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = Errno::result(result)?;
    // SAFETY: the kernel just returned this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// A detached copy of the mount at `path` below `dir` (`dir` itself when `path` is empty), with what is mounted in it.
/// It can be attached anywhere with [`move_mount`]; until then it is in no mount namespace.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &CStr) -> nix::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE
        | OPEN_TREE_CLOEXEC
        | libc::AT_RECURSIVE as libc::c_uint
        | if path.is_empty() { libc::AT_EMPTY_PATH as libc::c_uint } else { 0 };
    // SAFETY: `path` is a terminated string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// Attaches a detached mount to the directory or file that `target` is open on.
pub fn move_mount(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let empty = c"".as_ptr();
    // SAFETY: both paths are the static empty string.
    let result =
        unsafe { libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), empty, target.as_raw_fd(), empty, flags) };
    Errno::result(result).map(drop)
}

/// Makes a mount, and all mounts in it, read-only.
pub fn set_read_only(tree: BorrowedFd<'_>) -> nix::Result<()> {
    let attributes = MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the structure has the layout of `struct mount_attr` and the size given with it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Opens `path` as if `root` were the root directory: neither `..` nor a symlink leads out of it.
pub fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: libc::c_int) -> nix::Result<OwnedFd> {
    // SAFETY: all zeroes is a valid open_how.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    let size = size_of::<libc::open_how>();
    // SAFETY: `path` is terminated, `how` has the size given with it; both outlive the call.
    owned(unsafe { libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path.as_ptr(), &raw const how, size) })
}

/// Which side of a [`fork`] this is.
pub enum Fork {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

/// Forks into new namespaces of the kinds in `namespaces`.
///
/// # Safety
/// As fork(2): in a process with several threads the child may only make async-signal-safe calls until it runs execve.
pub unsafe fn fork(namespaces: libc::c_int) -> nix::Result<Fork> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: all zeroes is a valid clone_args: it asks for a plain fork.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = namespaces as u64 | libc::CLONE_PIDFD as u64;
    arguments.pidfd = &raw mut pidfd as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    let size = size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM the child has a copy of this stack, as after fork; `pidfd` outlives the call. The rest
    // is the caller's promise.
    let pid = Errno::result(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) })?;
    if pid == 0 {
        return Ok(Fork::Child);
    }
    // SAFETY: the kernel stored a new descriptor there that nobody else owns.
    Ok(Fork::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

pub fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for the one that kill(2) would make.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) };
    Errno::result(result).map(drop)
}

/// A child that has ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub pid: i32,
    /// 128 + the signal's number when a signal ended it.
    pub code: i32,
    pub signal: Option<i32>,
}

/// The next child that has ended, if there is one.
pub fn reap() -> Option<Ended> {
    let mut status: libc::c_int = 0;
    // SAFETY: `status` outlives the call. Not nix's waitpid, which has an error for real-time signals.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    if pid <= 0 {
        return None;
    }
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    Some(Ended { pid, code: signal.map_or_else(|| libc::WEXITSTATUS(status), |signal| 128 + signal), signal })
}

/// Puts a copy of `fd` at the number `to`, to be kept over execve.
pub fn place(fd: RawFd, to: RawFd) -> nix::Result<()> {
    if fd == to {
        // SAFETY: no pointers are passed.
        return Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: no pointers are passed; `to` is a number that this process keeps for the purpose.
    Errno::result(unsafe { libc::dup2(fd, to) }).map(drop)
}

/// Has every descriptor from `first` on closed by execve.
pub fn close_on_exec_from(first: RawFd) -> nix::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: no pointers are passed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, flags) };
    Errno::result(result).map(drop)
}

/// Closes every descriptor from `first` on, whoever in this process thinks to own it: for a child that goes on with
/// nothing of its parent's.
pub fn close_from(first: RawFd) -> nix::Result<()> {
    // SAFETY: no pointers are passed; the caller ends this process without dropping what owned the descriptors.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, 0) };
    Errno::result(result).map(drop)
}

/// `struct prctl_mm_map` of the kernel.
#[derive(Clone, Copy)]
#[repr(C)]
struct PrctlMmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: *mut u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Where the kernel has this program's code, data, arguments and environment. The same in every fork.
#[derive(Clone, Copy)]
pub struct MemoryMap(PrctlMmMap);

impl MemoryMap {
    /// This process's own.
    pub fn own() -> Option<MemoryMap> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // From field 3 on; the second may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(MemoryMap(PrctlMmMap {
            start_code: field(26)?,
            end_code: field(27)?,
            start_data: field(45)?,
            end_data: field(46)?,
            start_brk: field(47)?,
            brk: 0,
            start_stack: field(28)?,
            arg_start: field(48)?,
            arg_end: field(49)?,
            env_start: field(50)?,
            env_end: field(51)?,
            auxv: std::ptr::null_mut(),
            auxv_size: 0,
            exe_fd: u32::MAX,
        }))
    }

    /// Has `/proc` show other memory as this process's arguments and environment. It is never freed.
    pub fn show(&self, arguments: Vec<u8>, environment: Vec<u8>) -> nix::Result<()> {
        let (arguments, environment) = (arguments.leak().as_ptr_range(), environment.leak().as_ptr_range());
        // SAFETY: brk with 0 only says where it is.
        let brk = Errno::result(unsafe { libc::syscall(libc::SYS_brk, 0) })?;
        let map = PrctlMmMap {
            brk: brk as u64,
            arg_start: arguments.start as u64,
            arg_end: arguments.end as u64,
            env_start: environment.start as u64,
            env_end: environment.end as u64,
            ..self.0
        };
        // Field by field it would take CAP_SYS_RESOURCE.
        let what = libc::PR_SET_MM_MAP as libc::c_ulong;
        let size = size_of::<PrctlMmMap>() as libc::c_ulong;
        // SAFETY: `map` has the size given with it. What it says of code, data and heap is what the kernel said.
        let result = unsafe { libc::prctl(libc::PR_SET_MM, what, &raw const map, size, 0 as libc::c_ulong) };
        Errno::result(result).map(drop)
    }
}

/// Sets the environment of this process, which must have one thread, to exactly `env`.
pub fn replace_environment(env: &[(String, String)]) {
    let old: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in old {
        // SAFETY: a fork has one thread, so that nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in env {
        // What the environment cannot hold, the kernel would not have passed on either.
        if !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0') {
            // SAFETY: as above.
            unsafe { std::env::set_var(name, value) };
        }
    }
}

pub fn ignore_signal(signal: libc::c_int) {
    // SAFETY: SIG_IGN is a valid action.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Strings as execve wants them: an array of pointers that ends with a null.
pub struct ExecStrings<'a> {
    pointers: Vec<*const libc::c_char>,
    strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> ExecStrings<'a> {
    pub fn new<S: AsRef<CStr>>(strings: &'a [S]) -> Self {
        let pointers = strings.iter().map(|s| s.as_ref().as_ptr()).chain([std::ptr::null()]).collect();
        ExecStrings { pointers, strings: std::marker::PhantomData }
    }
}

/// Runs the program at `path`; returns only when that failed.
pub fn exec(path: &CStr, argv: &ExecStrings<'_>, env: &ExecStrings<'_>) -> Errno {
    // SAFETY: both arrays end with a null and hold pointers to terminated strings that they borrow.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    Errno::last()
}

/// Runs the program that `file` is open on; returns only when that failed.
pub fn exec_file(file: BorrowedFd<'_>, argv: &ExecStrings<'_>, env: &ExecStrings<'_>) -> Errno {
    let (file, argv, env) = (file.as_raw_fd(), argv.pointers.as_ptr(), env.pointers.as_ptr());
    // SAFETY: as for `exec`; the empty path is static.
    unsafe { libc::syscall(libc::SYS_execveat, file, c"".as_ptr(), argv, env, libc::AT_EMPTY_PATH) };
    Errno::last()
}

/// Ends this process at once: no destructors, no buffers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: takes a plain number and does not return.
    unsafe { libc::_exit(code) }
}

/// Makes exactly the capabilities in `keep` (bit per capability number) available to this process and to what it runs.
pub fn limit_capabilities(keep: u64) -> nix::Result<()> {
    for capability in 0..64 {
        if keep & (1 << capability) == 0 {
            // SAFETY: no pointers are passed.
            let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            if result < 0 {
                match Errno::last() {
                    // Numbers that this kernel does not know.
                    Errno::EINVAL => break,
                    other => return Err(other),
                }
            }
        }
    }
    let header: [u32; 2] = [CAPABILITY_VERSION_3, 0];
    let (low, high) = (keep as u32, (keep >> 32) as u32);
    // Effective, permitted and inheritable, first the low words, then the high ones.
    let data: [[u32; 3]; 2] = [[low, low, 0], [high, high, 0]];
    // SAFETY: header and data have the layout of version 3 of the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// Whether other processes may look into this one (its memory, its `/proc/PID/exe`); execve sets it back to yes.
pub fn set_dumpable(dumpable: bool) -> nix::Result<()> {
    // SAFETY: no pointers are passed.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(dumpable), 0, 0, 0) }).map(drop)
}

/// Gives every signal its default action and lets all of them through.
pub fn reset_signals(blocked: &nix::sys::signal::SigSet) -> nix::Result<()> {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid action; signals that cannot be set (KILL, STOP, glibc's own) are left as they are.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    blocked.thread_set_mask()
}

/// Makes a terminal this session's controlling one.
pub fn take_terminal(terminal: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: the argument 0 is a number: do not steal it from another session.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// The other side of a pseudo-terminal's master.
pub fn open_terminal(master: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags by value.
    owned(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) } as libc::c_long)
}

/// Sets a terminal's size in characters.
pub fn resize_terminal(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Reads without waiting: `None` when there is nothing to read now, an empty answer at the end.
pub fn read_now<'a>(fd: &impl AsFd, buffer: &'a mut [u8]) -> nix::Result<Option<&'a [u8]>> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    // The descriptors read here may be shared with a container's program, so that O_NONBLOCK is not ours to set.
    if poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? == 0 {
        return Ok(None);
    }
    match nix::unistd::read(fd, buffer) {
        Ok(length) => Ok(Some(buffer.get(..length).unwrap_or_default())),
        // A terminal whose last user is gone.
        Err(Errno::EIO) => Ok(Some(&[])),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(other) => Err(other),
    }
}
