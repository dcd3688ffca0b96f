//! The runtime's loop: one thread that waits for the supervisor, for its children, and for their streams.
//!
//! What it does for pods is in `containers.rs`, what it does for commands and attached clients in `sessions.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::builtin::Builtins;
use super::console::Port;
use super::link::Link;
use super::node::complain;
use super::pod::{Pod, Run};
use super::protocol::{Event, Message, Request};
use super::reactor::{Reactor, Watched};
use super::sessions::Command;
use super::sys;
use crate::layout::Layout;

/// What a descriptor that is waited for stands for.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    Listener,
    Supervisor,
    Children,
    /// A run says how its start went.
    RunStatus(u64),
    Console(u64, Port),
    CommandStatus(u64),
}

/// Whose process it is.
#[derive(Debug, Clone, Copy)]
pub enum Owner {
    Run(u64),
    Command(u64),
}

/// What the node has made for itself before it serves.
pub struct Place {
    pub layout: Layout,
    pub hostname: String,
    pub builtins: Builtins,
    /// What is in `/ro`.
    pub read_only_proc: Vec<&'static str>,
}

pub struct Server {
    pub place: Place,
    pub own_pid_namespace: OwnedFd,
    pub node_mounts: Option<OwnedFd>,
    pub reactor: Reactor<Source>,
    listener: UnixListener,
    children: Watched,
    link: Option<Link>,
    pub pods: BTreeMap<String, Pod>,
    pub runs: HashMap<u64, Run>,
    pub commands: HashMap<u64, Command>,
    pub processes: HashMap<i32, Owner>,
    /// When the grace of a pod that is being stopped ends.
    pub deadlines: BTreeSet<(Instant, String)>,
    pub last_number: u64,
    /// Shared by all reads from streams.
    pub buffer: Vec<u8>,
}

impl Server {
    pub fn new(place: Place, listener: UnixListener) -> std::io::Result<Server> {
        let mut reactor = Reactor::new()?;
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        let children = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
        let children = reactor.watch(children.into(), EpollFlags::EPOLLIN, Source::Children)?;
        reactor.watch(listener.try_clone()?.into(), EpollFlags::EPOLLIN, Source::Listener)?;
        Ok(Server {
            place,
            own_pid_namespace: std::fs::File::open("/proc/self/ns/pid")?.into(),
            node_mounts: None,
            reactor,
            listener,
            children,
            link: None,
            pods: BTreeMap::new(),
            runs: HashMap::new(),
            commands: HashMap::new(),
            processes: HashMap::new(),
            deadlines: BTreeSet::new(),
            last_number: 0,
            buffer: Vec::new(),
        })
    }

    pub fn run(mut self) -> ! {
        loop {
            let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
            for (token, ready) in self.reactor.wait(deadline) {
                let Some(source) = self.reactor.source(token) else { continue };
                match source {
                    Source::Listener => self.accept(),
                    Source::Supervisor => self.hear_supervisor(ready),
                    Source::Children => {
                        let _ = sys::read_now(&self.children, &mut [0; 4096]);
                        while let Some(ended) = sys::reap() {
                            self.child_ended(ended);
                        }
                    }
                    Source::RunStatus(run) => self.hear_run(run),
                    Source::Console(run, port) => self.console_ready(run, port),
                    Source::CommandStatus(command) => self.hear_command(command),
                }
            }
            self.check_deadlines();
            self.flush();
        }
    }

    pub fn new_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub fn send(&mut self, message: &Message, descriptors: Vec<OwnedFd>) {
        if let Some(link) = &mut self.link
            && let Err(error) = link.queue(message, descriptors)
        {
            self.disconnect(&error);
        }
    }

    pub fn event(&mut self, event: Event) {
        self.send(&Message::Event(event), Vec::new());
    }

    fn accept(&mut self) {
        let Ok((socket, _)) = self.listener.accept() else { return };
        match self.reactor.watch(socket.into(), EpollFlags::EPOLLIN, Source::Supervisor) {
            Ok(socket) => {
                // The last one to come is the supervisor; an older one is dead, or about to be.
                if let Some(old) = self.link.take() {
                    old.close(&mut self.reactor);
                }
                self.drop_sessions();
                self.link = Some(Link::new(socket));
                self.send(&Message::Hello(Ok(())), Vec::new());
            }
            Err(error) => complain(format_args!("cannot accept a connection: {error}")),
        }
    }

    fn hear_supervisor(&mut self, ready: EpollFlags) {
        if !ready.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return;
        }
        let Some(link) = &mut self.link else { return };
        if let Err(error) = link.receive() {
            return self.disconnect(&error);
        }
        loop {
            let Some(link) = &mut self.link else { return };
            match link.next() {
                Ok(Some((request, descriptors))) => self.handle(request, descriptors),
                Ok(None) => return,
                Err(error) => return self.disconnect(&error),
            }
        }
    }

    fn handle(&mut self, request: Request, descriptors: Vec<OwnedFd>) {
        match request {
            Request::StartPod(spec) => self.start_pod(spec, descriptors),
            Request::StartContainer(spec) => self.start_container(spec),
            Request::SignalContainer { pod, container, signal } => self.signal_container(&pod, &container, signal),
            Request::StopPod { uid, grace_seconds } => self.stop_pod(&uid, grace_seconds),
            Request::Exec { id, place, argv, tty, stdin } => self.exec(id, &place, argv, tty, stdin, descriptors),
            Request::Attach { id, pod, container, stdin } => self.attach(id, &pod, &container, stdin, descriptors),
            Request::Resize { id, columns, rows } => self.resize(id, columns, rows),
            Request::List { id } => {
                let state = super::protocol::State { pods: self.pods.values().map(Pod::state).collect() };
                self.send(&Message::State { id, state }, Vec::new());
            }
        }
    }

    fn flush(&mut self) {
        if let Some(link) = &mut self.link
            && let Err(error) = link.flush(&self.reactor)
        {
            self.disconnect(&error);
        }
    }

    fn disconnect(&mut self, reason: &super::wire::WireError) {
        if !matches!(reason, super::wire::WireError::Closed) {
            complain(format_args!("lost the supervisor: {reason}"));
        }
        if let Some(link) = self.link.take() {
            link.close(&mut self.reactor);
        }
        self.drop_sessions();
    }

    /// Two ends for [`super::program::Report`]s. A pipe, because a program can open its end of one anew by its number in
    /// `/proc/self/fd`; only a terminal's master needs a socket.
    pub fn status_channel(terminal: bool) -> nix::Result<(OwnedFd, OwnedFd)> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
        match terminal {
            true => socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC),
            false => nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC),
        }
    }
}
