//! Built-in servers: they are not executed, they are called, in a fork of the runtime.
//!
//! The runtime is the same program and has one thread, so that a fork of it can go on as the server. Executing it anew
//! would cost more than all the rest of a pod's start: loading, relocating and probing the processor, page by page.

use std::io::Write;
use std::os::fd::RawFd;

use nix::libc;

use super::root::Doing;
use super::sys::{self, MemoryMap};

/// Runs the server that `argv[0]` names, until it ends; the result is the exit code. It writes one byte to the
/// descriptor that the environment variable `NSLAB_READY_FD` names, as soon as it listens.
pub type Builtin = fn(argv: &[String]) -> u8;

/// What it takes to run built-in servers.
#[derive(Clone, Copy)]
pub struct Builtins {
    pub run: Builtin,
    /// The runtime's own.
    pub map: Option<MemoryMap>,
}

/// Where a server finds the end of the pipe on which it says that it is ready.
pub const READY: RawFd = 3;

/// Makes `ps` and `/proc/PID/environ` show the server's own arguments and environment. Where the kernel cannot do it
/// (CONFIG_CHECKPOINT_RESTORE), the server runs under the runtime's name.
pub fn set_title(map: Option<&MemoryMap>, argv: &[String], env: &[(String, String)]) {
    let mut arguments = Vec::new();
    for argument in argv {
        arguments.extend_from_slice(argument.as_bytes());
        arguments.push(0);
    }
    let mut environment = Vec::new();
    for (name, value) in env {
        environment.extend_from_slice(format!("{name}={value}\0").as_bytes());
    }
    let _ = map.map(|map| map.show(arguments, environment));
    let name = argv.first().and_then(|name| std::ffi::CString::new(name.as_str()).ok()).unwrap_or_default();
    let _ = nix::sys::prctl::set_name(&name);
}

/// Becomes the server. `status` is passed on as [`READY`], every other descriptor but the streams is closed.
pub fn run(
    builtin: Builtin,
    argv: &[String],
    env: &[(String, String)],
    status: RawFd,
) -> Result<std::convert::Infallible, String> {
    sys::place(status, READY).doing(|| "pass the status pipe".into())?;
    sys::close_from(READY + 1).doing(|| "close descriptors".into())?;
    sys::replace_environment(env);
    // As in every Rust program.
    sys::ignore_signal(libc::SIGPIPE);
    let code = std::panic::catch_unwind(|| builtin(argv)).unwrap_or(101);
    // Nobody is there to be told when it fails.
    let _ = std::io::stdout().flush();
    sys::exit_now(i32::from(code))
}
