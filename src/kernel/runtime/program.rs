//! The last steps of a process that becomes a container's program or a command in it: streams, session, working
//! directory, capabilities, execve. Runs in the forked child; every failure is a text for the user.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, setgroups, setsid};

use super::builtin::{self, Builtins, READY};
use super::root::Doing;
use super::{sys, wire};
use crate::desired::Program;

pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// containerd's default set, by capability number, without CAP_MKNOD (27): there is no device cgroup here that would
/// stop a container from making itself a node for the machine's disk.
const CAPABILITIES: u64 = {
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT,
    // AUDIT_WRITE, SETFCAP.
    let numbers = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31];
    let mut set = 0;
    let mut i = 0;
    while i < numbers.len() {
        set |= 1 << numbers[i];
        i += 1;
    }
    set
};

/// The streams that the program is to have.
pub enum Streams<'a> {
    /// `None`: `/dev/null`.
    Given { stdin: Option<BorrowedFd<'a>>, stdout: BorrowedFd<'a>, stderr: BorrowedFd<'a> },
    /// A new terminal, from the `/dev/pts` of the place; its master is sent over `status`.
    Terminal,
}

/// How a process ends its preparation.
pub struct Finish<'a> {
    pub program: &'a Program,
    pub env: &'a [(String, String)],
    pub working_dir: &'a str,
    pub make_working_dir: bool,
    pub streams: Streams<'a>,
    /// A container's rights, and not all of them.
    pub confined: bool,
    pub builtins: Builtins,
    /// A pipe to the runtime, with a terminal a socket; see [`Report`].
    pub status: BorrowedFd<'a>,
}

/// What comes over the status pipe: nothing but its end when execve worked, one byte from a built-in server that is
/// ready, else a letter and a text.
#[derive(Debug)]
pub enum Report {
    Ready,
    /// With the master.
    Terminal,
    Failed(String),
}

impl Report {
    pub fn parse(bytes: &[u8]) -> Report {
        match bytes {
            [b'E', text @ ..] if !text.is_empty() => Report::Failed(String::from_utf8_lossy(text).into_owned()),
            b"TTY" => Report::Terminal,
            _ => Report::Ready,
        }
    }

    pub fn send_failure(status: BorrowedFd<'_>, text: &str) {
        // When the runtime is not there to read it, this process is not long either.
        let _ = nix::unistd::write(status, format!("E{text}").as_bytes());
    }
}

/// Runs the program; returns only when that failed.
pub fn finish(plan: &Finish<'_>) -> Result<std::convert::Infallible, String> {
    let _ = setsid();
    umask(Mode::from_bits_retain(0o022));
    enter_working_dir(plan)?;
    let env = environment(plan);
    set_streams(plan)?;
    if let Program::Applet { argv } = plan.program {
        builtin::set_title(plan.builtins.map.as_ref(), argv, &env);
    }
    if plan.confined {
        setgroups(&[]).doing(|| "leave the machine's groups".into())?;
        sys::limit_capabilities(CAPABILITIES).doing(|| "drop capabilities".into())?;
    }
    // Only the mask: the runtime, whose fork this is, has every signal's default action.
    SigSet::empty().thread_set_mask().doing(|| "let all signals through".into())?;
    match plan.program {
        Program::Applet { argv } => builtin::run(plan.builtins.run, argv, &env, plan.status.as_raw_fd()),
        Program::Command { argv } => {
            sys::close_on_exec_from(READY).doing(|| "close descriptors".into())?;
            let name = argv.first().ok_or("exec: no command given")?;
            let path = env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
            let file = string(find(name, path)?)?;
            let strings = |texts: Vec<String>| texts.into_iter().map(string).collect::<Result<Vec<CString>, String>>();
            let argv = strings(argv.clone())?;
            let env = strings(env.iter().map(|(name, value)| format!("{name}={value}")).collect())?;
            let error = sys::exec(&file, &sys::ExecStrings::new(&argv), &sys::ExecStrings::new(&env));
            Err(format!("exec: {name:?}: {}", reason(error)))
        }
    }
}

/// The container's environment with what the kind of process adds to it.
fn environment(plan: &Finish<'_>) -> Vec<(String, String)> {
    let mut env = plan.env.to_vec();
    let mut add = |name: &str, value: &str| {
        if !env.iter().any(|(set, _)| set == name) {
            env.push((name.into(), value.into()));
        }
    };
    add("PATH", DEFAULT_PATH);
    add("HOME", "/root");
    if matches!(plan.streams, Streams::Terminal) {
        add("TERM", "xterm");
    }
    if matches!(plan.program, Program::Applet { .. }) {
        add("NSLAB_READY_FD", &READY.to_string());
    }
    env
}

fn enter_working_dir(plan: &Finish<'_>) -> Result<(), String> {
    let dir = plan.working_dir;
    match chdir(dir) {
        Err(Errno::ENOENT) if plan.make_working_dir => {
            fs::create_dir_all(dir).doing(|| format!("make the working directory {dir}"))?;
            chdir(dir)
        }
        other => other,
    }
    .doing(|| format!("enter the working directory {dir}"))
}

fn set_streams(plan: &Finish<'_>) -> Result<(), String> {
    let place = |from: RawFd, to| sys::place(from, to).doing(|| "set up the streams".into());
    match &plan.streams {
        Streams::Given { stdin, stdout, stderr } => {
            match stdin {
                Some(stdin) => place(stdin.as_raw_fd(), 0)?,
                None => place(fs::File::open("/dev/null").doing(|| "open /dev/null".into())?.as_raw_fd(), 0)?,
            }
            place(stdout.as_raw_fd(), 1)?;
            place(stderr.as_raw_fd(), 2)
        }
        Streams::Terminal => {
            let options = fs::File::options().read(true).write(true).open("/dev/pts/ptmx");
            let master = OwnedFd::from(options.doing(|| "open a terminal".into())?);
            let terminal = sys::open_terminal(master.as_fd()).doing(|| "open a terminal".into())?;
            sys::take_terminal(terminal.as_fd()).doing(|| "take the terminal".into())?;
            for to in 0..=2 {
                place(terminal.as_raw_fd(), to)?;
            }
            wire::send(plan.status, b"TTY", &[master.as_raw_fd()], true)
                .doing(|| "hand over the terminal".into())
                .map(drop)
        }
    }
}

fn string(text: String) -> Result<CString, String> {
    CString::new(text)
        .map_err(|error| format!("exec: {:?} holds a zero byte", String::from_utf8_lossy(&error.into_vec())))
}

/// Where the program is, by the rules and in the words of the OCI runtimes.
fn find(name: &str, path: &str) -> Result<String, String> {
    if name.contains('/') {
        return match fs::metadata(name) {
            Err(error) => Err(format!("exec: {name:?}: stat {name}: {}", reason(errno(&error)))),
            Ok(found) if found.is_dir() => Err(format!("exec: {name:?}: is a directory")),
            Ok(found) if found.permissions().mode() & 0o111 == 0 => Err(format!("exec: {name:?}: permission denied")),
            Ok(_) => Ok(name.to_string()),
        };
    }
    let candidates =
        path.split(':').map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(OsStr::new(name)));
    for candidate in candidates {
        if fs::metadata(&candidate).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0) {
            return Ok(candidate.to_string_lossy().into_owned());
        }
    }
    Err(format!("exec: {name:?}: executable file not found in $PATH"))
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// The kernel's reason as Go programs, and so the OCI runtimes, spell it.
fn reason(error: Errno) -> String {
    error.desc().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_an_oci_runtime_finds_them() {
        let path = "/nonexistent:/usr/bin";
        assert_eq!(find("env", path).unwrap(), "/usr/bin/env");
        assert_eq!(find("/usr/bin/env", "").unwrap(), "/usr/bin/env");
        assert_eq!(find("foo", path).unwrap_err(), "exec: \"foo\": executable file not found in $PATH");
        assert_eq!(find("/foo", path).unwrap_err(), "exec: \"/foo\": stat /foo: no such file or directory");
        assert_eq!(find("/usr", path).unwrap_err(), "exec: \"/usr\": is a directory");
        assert_eq!(find("/etc/passwd", path).unwrap_err(), "exec: \"/etc/passwd\": permission denied");
    }

    #[test]
    fn reports_are_told_apart() {
        assert!(matches!(Report::parse(b"\n"), Report::Ready));
        assert!(matches!(Report::parse(b"E"), Report::Ready));
        assert!(matches!(Report::parse(b"TTY"), Report::Terminal));
        assert!(matches!(Report::parse(b"Eno"), Report::Failed(text) if text == "no"));
    }
}
