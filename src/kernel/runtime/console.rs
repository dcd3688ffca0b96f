//! A container's streams: what it writes goes to its log and to whoever is attached, what they write goes to it.
//!
//! Nothing is read that cannot be passed on: an attached client that does not read stops the container's output, as it
//! does in life, and memory stays bounded.

use std::os::fd::{AsFd, OwnedFd};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::unistd::write;

use super::log::{Log, Stream};
use super::reactor::{Reactor, Watched};
use super::server::Source;
use super::sys;

/// Bytes read at once from a container.
const CHUNK: usize = 64 << 10;
/// Bytes read at once from a client's input.
const INPUT_CHUNK: usize = 16 << 10;
/// What a container that waits for its client may have said before it comes.
const MAX_UNHEARD: usize = 64 << 10;
/// What an ended container may still have in its pipes: the largest size an unprivileged program can give a pipe.
const MAX_LEFTOVER: usize = 4 << 20;

/// The runtime's ends of a container's streams.
pub struct Ends {
    /// Writes to the container's stdin; with a terminal, its master.
    pub stdin: Option<OwnedFd>,
    /// With a terminal, its master.
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Which of a container's descriptors is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Output(Stream),
    Stdin,
    ClientInput(u64),
    ClientOutput(u64),
}

pub struct Console {
    run: u64,
    stdin: Option<Watched>,
    stdin_once: bool,
    /// Read from a client, not yet taken by the container.
    input: Vec<u8>,
    /// Close stdin once `input` is written.
    closing: bool,
    stdout: Option<Watched>,
    stderr: Option<Watched>,
    log: Log,
    clients: Vec<Client>,
    /// What a container with `stdinOnce` wrote before its one client came: `kubectl run -i` asks for the container first
    /// and attaches then, and must not miss how it begins. `None` once the client has come.
    unheard: Option<Vec<(Stream, Vec<u8>)>>,
    /// The container has ended with this code.
    ended: Option<i32>,
}

struct Client {
    session: u64,
    input: Option<Watched>,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
}

/// A client's end of an output, with what it has not yet taken.
struct Sink {
    fd: Watched,
    pending: Vec<u8>,
}

impl Console {
    pub fn new(run: u64, log: Log, stdin_once: bool) -> Console {
        Console {
            run,
            stdin: None,
            stdin_once,
            input: Vec::new(),
            closing: false,
            stdout: None,
            stderr: None,
            log,
            clients: Vec::new(),
            unheard: stdin_once.then(Vec::new),
            ended: None,
        }
    }

    pub fn open(&mut self, reactor: &mut Reactor<Source>, ends: Ends) -> nix::Result<()> {
        let run = self.run;
        let mut watch = |fd: Option<OwnedFd>, interest, port| {
            fd.map(|fd| reactor.watch(fd, interest, Source::Console(run, port))).transpose()
        };
        self.stdout = watch(ends.stdout, EpollFlags::EPOLLIN, Port::Output(Stream::Stdout))?;
        self.stderr = watch(ends.stderr, EpollFlags::EPOLLIN, Port::Output(Stream::Stderr))?;
        if let Some(stdin) = ends.stdin {
            set_nonblocking(&stdin)?;
            self.stdin = watch(Some(stdin), EpollFlags::empty(), Port::Stdin)?;
        }
        Ok(())
    }

    /// Joins a client; `input` only when the container reads its stdin.
    pub fn attach(
        &mut self,
        reactor: &mut Reactor<Source>,
        session: u64,
        input: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: Option<OwnedFd>,
    ) -> nix::Result<()> {
        let input = match input.filter(|_| self.stdin.is_some()) {
            Some(input) => {
                let source = Source::Console(self.run, Port::ClientInput(session));
                Some(reactor.watch(input, EpollFlags::EPOLLIN, source)?)
            }
            None => None,
        };
        let mut sink = |fd: OwnedFd| {
            set_nonblocking(&fd)?;
            let source = Source::Console(self.run, Port::ClientOutput(session));
            Ok::<_, Errno>(Sink { fd: reactor.watch(fd, EpollFlags::empty(), source)?, pending: Vec::new() })
        };
        let stdout = Some(sink(stdout)?);
        let stderr = stderr.map(sink).transpose()?;
        let mut client = Client { session, input, stdout, stderr };
        for (stream, bytes) in self.unheard.take().into_iter().flatten() {
            client.deliver(reactor, stream, &bytes);
        }
        self.clients.push(client);
        Ok(())
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        if let Some(terminal) = self.stdout.as_ref() {
            // Without a terminal there is nothing to resize.
            let _ = sys::resize_terminal(terminal.as_fd(), columns, rows);
        }
    }

    pub fn is_attached(&self, session: u64) -> bool {
        self.clients.iter().any(|client| client.session == session)
    }

    /// Handles a descriptor that is ready; says which sessions have come to their end.
    pub fn ready(&mut self, reactor: &mut Reactor<Source>, port: Port, buffer: &mut Vec<u8>) -> Vec<(u64, i32)> {
        match port {
            Port::Output(stream) => self.read_output(reactor, stream, buffer),
            Port::Stdin => self.write_input(reactor),
            Port::ClientInput(session) => self.read_input(reactor, session, buffer),
            Port::ClientOutput(session) => {
                if let Some(client) = self.clients.iter_mut().find(|client| client.session == session) {
                    client.flush(reactor);
                }
            }
        }
        self.settle(reactor)
    }

    /// The container has ended: passes on what is left in its streams. No process of it is alive any more, so what can
    /// be read now is all there will ever be.
    pub fn end(&mut self, reactor: &mut Reactor<Source>, code: i32, buffer: &mut Vec<u8>) -> Vec<(u64, i32)> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut left = MAX_LEFTOVER;
            while self.output(stream).is_some() && left > 0 {
                match self.pass_on(reactor, stream, buffer) {
                    0 => break,
                    passed => left = left.saturating_sub(passed),
                }
            }
            if let Some(fd) = self.output(stream).take() {
                reactor.forget(fd);
            }
        }
        self.close_stdin(reactor);
        self.log.finish(Timestamp::now());
        self.ended = Some(code);
        self.settle(reactor)
    }

    /// Nobody needs this any more: the container has ended and its clients have everything.
    pub fn is_done(&self) -> bool {
        self.ended.is_some() && self.clients.is_empty()
    }

    /// Lets go of all clients, as if they had left.
    pub fn detach_all(&mut self, reactor: &mut Reactor<Source>) {
        for client in std::mem::take(&mut self.clients) {
            self.closing |= self.stdin_once && client.input.is_some();
            client.close(reactor);
        }
        self.settle(reactor);
    }

    fn output(&mut self, stream: Stream) -> &mut Option<Watched> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn read_output(&mut self, reactor: &mut Reactor<Source>, stream: Stream, buffer: &mut Vec<u8>) {
        if !self.clients.iter().any(Client::is_behind) {
            self.pass_on(reactor, stream, buffer);
        }
    }

    /// Reads once from the container; the number of bytes read.
    fn pass_on(&mut self, reactor: &mut Reactor<Source>, stream: Stream, buffer: &mut Vec<u8>) -> usize {
        buffer.resize(CHUNK, 0);
        let Some(fd) = self.output(stream) else { return 0 };
        let bytes = match sys::read_now(&fd.as_fd(), buffer) {
            Ok(Some([])) | Err(_) => {
                if let Some(fd) = self.output(stream).take() {
                    reactor.forget(fd);
                }
                return 0;
            }
            Ok(Some(bytes)) => bytes,
            Ok(None) => return 0,
        };
        self.log.write(stream, bytes, Timestamp::now());
        for client in &mut self.clients {
            client.deliver(reactor, stream, bytes);
        }
        if let Some(unheard) = &mut self.unheard {
            let kept: usize = unheard.iter().map(|(_, bytes)| bytes.len()).sum();
            let fits = bytes.len().min(MAX_UNHEARD.saturating_sub(kept));
            unheard.push((stream, bytes.get(..fits).unwrap_or_default().to_vec()));
        }
        bytes.len()
    }

    fn read_input(&mut self, reactor: &mut Reactor<Source>, session: u64, buffer: &mut Vec<u8>) {
        if !self.input.is_empty() {
            return;
        }
        buffer.resize(CHUNK, 0);
        let Some(client) = self.clients.iter_mut().find(|client| client.session == session) else { return };
        let Some(fd) = &client.input else { return };
        match sys::read_now(&fd.as_fd(), buffer.get_mut(..INPUT_CHUNK).unwrap_or_default()) {
            Ok(Some([])) | Err(_) => {
                if let Some(fd) = client.input.take() {
                    reactor.forget(fd);
                }
                self.closing |= self.stdin_once;
            }
            Ok(Some(bytes)) => self.input.extend_from_slice(bytes),
            Ok(None) => {}
        }
        self.write_input(reactor);
    }

    fn write_input(&mut self, reactor: &mut Reactor<Source>) {
        let Some(stdin) = &self.stdin else { return self.input.clear() };
        let taken = match write(stdin.as_fd(), &self.input) {
            _ if self.input.is_empty() && other_side_left(stdin) => Err(Errno::EPIPE),
            result => result,
        };
        match taken {
            Ok(written) => drop(self.input.drain(..written)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The container reads no more.
            Err(_) => self.close_stdin(reactor),
        }
    }

    fn close_stdin(&mut self, reactor: &mut Reactor<Source>) {
        self.input.clear();
        if let Some(stdin) = self.stdin.take() {
            reactor.forget(stdin);
        }
    }

    /// Sets what to wait for next, and ends what has come to its end.
    fn settle(&mut self, reactor: &mut Reactor<Source>) -> Vec<(u64, i32)> {
        let mut over = Vec::new();
        let ended = self.ended;
        for client in std::mem::take(&mut self.clients) {
            match ended {
                Some(code) if !client.is_behind() => over.push((client.close(reactor), code)),
                None if client.is_gone() => {
                    // It went without a word: what it held open for the container goes with it.
                    self.closing |= self.stdin_once && client.input.is_some();
                    client.close(reactor);
                }
                Some(_) | None => self.clients.push(client),
            }
        }
        if self.closing && self.input.is_empty() {
            self.close_stdin(reactor);
        }
        let behind = self.clients.iter().any(Client::is_behind);
        for output in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            if behind { reactor.suspend(output) } else { reactor.set_interest(output, EpollFlags::EPOLLIN) }
        }
        if let Some(stdin) = &mut self.stdin {
            let writing = if self.input.is_empty() { EpollFlags::empty() } else { EpollFlags::EPOLLOUT };
            reactor.set_interest(stdin, writing);
        }
        let full = !self.input.is_empty();
        for input in self.clients.iter_mut().filter_map(|client| client.input.as_mut()) {
            if full { reactor.suspend(input) } else { reactor.set_interest(input, EpollFlags::EPOLLIN) }
        }
        over
    }
}

impl Client {
    fn sinks(&mut self) -> impl Iterator<Item = &mut Option<Sink>> {
        [&mut self.stdout, &mut self.stderr].into_iter()
    }

    fn is_behind(&self) -> bool {
        [&self.stdout, &self.stderr].into_iter().flatten().any(|sink| !sink.pending.is_empty())
    }

    /// It has closed all its outputs.
    fn is_gone(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    fn deliver(&mut self, reactor: &mut Reactor<Source>, stream: Stream, bytes: &[u8]) {
        let sink = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if let Some(open) = sink {
            open.pending.extend_from_slice(bytes);
            self.flush(reactor);
        }
    }

    fn flush(&mut self, reactor: &mut Reactor<Source>) {
        for sink in self.sinks() {
            let Some(open) = sink else { continue };
            let alive = match write(open.fd.as_fd(), &open.pending) {
                Ok(written) => {
                    open.pending.drain(..written);
                    true
                }
                Err(Errno::EAGAIN | Errno::EINTR) => true,
                Err(_) => false,
            };
            if alive && (!open.pending.is_empty() || !other_side_left(&open.fd)) {
                let writing = if open.pending.is_empty() { EpollFlags::empty() } else { EpollFlags::EPOLLOUT };
                reactor.set_interest(&mut open.fd, writing);
            } else if let Some(gone) = sink.take() {
                reactor.forget(gone.fd);
            }
        }
    }

    fn close(self, reactor: &mut Reactor<Source>) -> u64 {
        let sinks = [self.stdout, self.stderr].into_iter().flatten().map(|sink| sink.fd);
        for fd in sinks.chain(self.input) {
            reactor.forget(fd);
        }
        self.session
    }
}

fn other_side_left(pipe: &Watched) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut state = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
    matches!(poll(&mut state, PollTimeout::ZERO), Ok(1..))
}

fn set_nonblocking(fd: &OwnedFd) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}
