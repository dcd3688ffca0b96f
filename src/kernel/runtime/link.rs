//! The runtime's side of the connection with the supervisor. Sending never waits: what the socket does not take is kept
//! until it does.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;

use super::protocol::{Message, Request};
use super::reactor::{Reactor, Watched};
use super::server::Source;
use super::wire::{self, Decoder, WireError};

/// A supervisor that lets this many bytes pile up is not reading any more.
const MAX_QUEUED: usize = 64 << 20;

pub struct Link {
    socket: Watched,
    decoder: Decoder,
    queue: VecDeque<Frame>,
    queued: usize,
}

/// Bytes to send; the descriptors go with the first of them.
struct Frame {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

impl Link {
    pub fn new(socket: Watched) -> Link {
        Link { socket, decoder: Decoder::default(), queue: VecDeque::new(), queued: 0 }
    }

    pub fn close(self, reactor: &mut Reactor<Source>) {
        reactor.forget(self.socket);
    }

    pub fn queue(&mut self, message: &Message, descriptors: Vec<OwnedFd>) -> Result<(), WireError> {
        let bytes = wire::encode(message, descriptors.len())?;
        self.queued += bytes.len();
        if self.queued > MAX_QUEUED {
            return Err(WireError::Framing("the supervisor does not read"));
        }
        match self.queue.back_mut() {
            Some(last) if descriptors.is_empty() => last.bytes.extend_from_slice(&bytes),
            _ => self.queue.push_back(Frame { bytes, sent: 0, descriptors }),
        }
        Ok(())
    }

    /// Sends what can be sent now.
    pub fn flush(&mut self, reactor: &Reactor<Source>) -> Result<(), WireError> {
        while let Some(frame) = self.queue.front_mut() {
            let descriptors: Vec<RawFd> = frame.descriptors.iter().map(AsRawFd::as_raw_fd).collect();
            let rest = frame.bytes.get(frame.sent..).unwrap_or_default();
            match wire::send(self.socket.as_fd(), rest, &descriptors, false) {
                Ok(sent) => {
                    frame.sent += sent;
                    frame.descriptors.clear();
                    self.queued = self.queued.saturating_sub(sent);
                    if frame.sent >= frame.bytes.len() {
                        self.queue.pop_front();
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let interest =
            if self.queue.is_empty() { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT };
        reactor.set_interest(&mut self.socket, interest);
        Ok(())
    }

    /// Reads once; [`Link::next`] has what came.
    pub fn receive(&mut self) -> Result<(), WireError> {
        self.decoder.receive(self.socket.as_fd(), false).map(drop)
    }

    pub fn next(&mut self) -> Result<Option<(Request, Vec<OwnedFd>)>, WireError> {
        self.decoder.next()
    }
}
