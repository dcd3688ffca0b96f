//! What `lab __node` runs: reads what it is to be, sets up its namespaces, and serves.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use jiff::Timestamp;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use super::builtin::{Builtin, Builtins};
use super::protocol::Message;
use super::server::{Place, Server};
use super::{root, sys, wire};
use crate::desired;
use crate::layout::Layout;

/// The pipe from which the node reads its [`Config`].
pub const CONFIG: RawFd = 3;
/// The socket on which it listens.
pub const LISTENER: RawFd = 4;
/// Low numbers that containers' processes put their own descriptors at.
const RESERVED: RawFd = 10;

#[derive(Debug, Serialize, Deserialize)]
pub struct Config {
    pub lab: String,
    pub node: String,
    pub runtime: desired::Runtime,
}

/// Says something in the node's `runtime.log`.
pub fn complain(what: fmt::Arguments<'_>) {
    // Not eprintln, which panics when it cannot write.
    let _ = writeln!(std::io::stderr(), "{} {what}", Timestamp::now());
}

/// The node's first process, in which `builtin` runs the built-in servers. Returns only when it cannot serve; the result
/// is the exit code. This process must not have used threads, nor random numbers that its forks should not share.
pub fn node_main(builtin: Builtin) -> u8 {
    match setup(builtin) {
        Ok(server) => server.run(),
        Err(Failure { message, listener }) => {
            complain(format_args!("{message}"));
            if let Some(listener) = listener {
                refuse(&listener, message);
            }
            1
        }
    }
}

struct Failure {
    message: String,
    listener: Option<UnixListener>,
}

fn setup(builtin: Builtin) -> Result<Server, Failure> {
    let own = |fd: RawFd| {
        // SAFETY: `spawn` has put these descriptors there for this process alone; when somebody else has run this, the
        // check has told.
        fcntl(unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }, FcntlArg::F_GETFD)
            .map(|_| unsafe { OwnedFd::from_raw_fd(fd) })
            .map_err(|_| Failure { message: "this is for the supervisor to run".into(), listener: None })
    };
    let mut text = String::new();
    let config = own(CONFIG).and_then(|pipe| {
        let read = File::from(pipe).read_to_string(&mut text).map_err(|error| error.to_string());
        // Nothing: the supervisor died before it had written down that this process is there.
        let parsed = read.and_then(|_| serde_json::from_str::<Config>(&text).map_err(|error| error.to_string()));
        parsed.map_err(|error| Failure { message: format!("no configuration came: {error}"), listener: None })
    })?;
    let listener = own(LISTENER)?;
    let fail = |message| Failure { message, listener: None };
    let high = fcntl(&listener, FcntlArg::F_DUPFD_CLOEXEC(RESERVED)).map_err(|error| fail(error.to_string()))?;
    // SAFETY: fcntl just made this descriptor, nobody else owns it.
    let high = UnixListener::from(unsafe { OwnedFd::from_raw_fd(high) });
    drop(listener);
    match prepare(config, builtin, &high) {
        Ok(server) => Ok(server),
        Err(message) => Err(Failure { message, listener: Some(high) }),
    }
}

fn prepare(config: Config, builtin: Builtin, listener: &UnixListener) -> Result<Server, String> {
    use root::Doing;
    let layout = Layout::new(&config.lab);
    reserve_low_descriptors()?;
    umask(Mode::from_bits_retain(0o022));
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGCHLD);
    // Blocked and not ignored, since an ignored signal stays ignored in containers.
    blocked.add(Signal::SIGPIPE);
    sys::reset_signals(&blocked).doing(|| "set up the signals".into())?;
    // Executed by descriptor, it would be called by the descriptor's number.
    nix::sys::prctl::set_name(c"lab").doing(|| "set the process's name".into())?;
    nix::unistd::sethostname(&config.runtime.hostname).doing(|| "set the hostname".into())?;
    let read_only_proc = root::enter(&layout, &config.node, &config.runtime.extra_mounts)?;
    let listener = listener.try_clone().doing(|| "copy a descriptor".into())?;
    let builtins = Builtins { run: builtin, map: sys::MemoryMap::own() };
    let place = Place { layout, hostname: config.runtime.hostname, builtins, read_only_proc };
    Server::new(place, listener).doing(|| "set up the server".into())
}

/// Takes the numbers below [`RESERVED`] out of use, so that no descriptor of the runtime's is overwritten in a child
/// that puts its streams there.
fn reserve_low_descriptors() -> Result<(), String> {
    use root::Doing;
    let null = File::open("/dev/null").doing(|| "open /dev/null".into())?;
    loop {
        let fd = null.as_fd().try_clone_to_owned().doing(|| "copy a descriptor".into())?;
        if fd.as_raw_fd() >= RESERVED {
            break;
        }
        std::mem::forget(fd);
    }
    std::mem::forget(null);
    Ok(())
}

/// Tells the supervisor why there is no node.
fn refuse(listener: &UnixListener, message: String) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let patience = PollTimeout::from(10_000u16);
    if let Ok(1..) = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], patience)
        && let Ok((socket, _)) = listener.accept()
        && let Ok(bytes) = wire::encode(&Message::Hello(Err(message)), 0)
    {
        // The log has it too.
        let _ = wire::send(socket.as_fd(), &bytes, &[], true);
    }
}
