//! A blocking netlink socket: one batch of messages goes in, the kernel's acknowledgements and errors come out.
//!
//! Netlink's kernel side works inside the `sendmsg` call: when that returns, every answer is in the socket's receive
//! queue already. So nothing here waits, polls or needs a thread. A socket belongs to the network namespace it was
//! opened in for as long as it lives, whatever its thread does later; [`Netlink::open_in`] makes use of that.

pub mod attr;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};

/// Ask for an acknowledgement (`NLM_F_ACK`); errors come back with or without it.
pub const ACK: u16 = libc::NLM_F_ACK as u16;
/// The bytes of a message's header; the lengths in it count these too.
const HEADER: usize = 16;
/// Independent messages are sent in pieces of about this many bytes, so that their answers fit the receive queue.
const PIECE: usize = 64 * 1024;
/// What the kernel may hold for us, in each direction. It is a limit, not an allocation.
const QUEUE: usize = 64 * 1024 * 1024;
/// The kernel fills at most 32 KiB at a time when it dumps.
const RECEIVE: usize = 64 * 1024;

/// Which family of the kernel the socket speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes.
    Route,
    /// nftables and connection tracking.
    Netfilter,
    /// The sockets of a namespace.
    SockDiag,
}

#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("cannot open a {family:?} netlink socket: {source}")]
    Open { family: Family, source: Errno },
    #[error("cannot enter the network namespace to open a netlink socket in it: {0}")]
    Enter(Errno),
    #[error("cannot start a thread to open a netlink socket: {0}")]
    Thread(io::Error),
    #[error("cannot send {bytes} bytes over netlink: {source}")]
    Send { bytes: usize, source: Errno },
    #[error("cannot receive the kernel's answers over netlink: {0}")]
    Receive(Errno),
    #[error("the kernel sent a netlink message that is malformed")]
    Malformed,
    #[error("the kernel acknowledged {acks} of {wanted} netlink messages and refused none")]
    Unanswered { acks: usize, wanted: usize },
    #[error("the kernel's table changed while it was listed over netlink; list it again")]
    Interrupted,
}

/// A message of a batch that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{errno}{}", .text.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
pub struct Refusal {
    /// Which message of the batch, counted from 0.
    pub index: usize,
    pub errno: Errno,
    /// The kernel's own words, where it has some (extended acknowledgement).
    pub text: Option<String>,
}

/// Messages to send, encoded one after another.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Batch {
    pub fn new() -> Self {
        Batch::default()
    }

    /// Appends one message: `kind` is its `nlmsg_type`, `flags` is added to `NLM_F_REQUEST`, and `body` writes what
    /// follows the netlink header. Its number in the batch is returned; the sequence number is set when it is sent.
    pub fn message(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        body(&mut self.bytes);
        let length = (self.bytes.len() - start) as u32;
        put(&mut self.bytes, start, length);
        attr::pad(&mut self.bytes);
        self.starts.push(start);
        self.starts.len() - 1
    }

    /// How many messages it holds.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Overwrites four bytes at `at`, which are there: both callers have just written or measured them.
fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(slot) = bytes.get_mut(at..at + 4) {
        slot.copy_from_slice(&value.to_ne_bytes());
    }
}

/// A netlink socket in one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open(family: Family) -> Result<Self, NetlinkError> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
            Family::SockDiag => SockProtocol::NetlinkSockDiag,
        };
        let refused = |source| NetlinkError::Open { family, source };
        // Not blocking: an empty queue means that the kernel has said all it will say.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).map_err(refused)?;
        setsockopt(&socket, sockopt::SndBufForce, &QUEUE).map_err(refused)?;
        setsockopt(&socket, sockopt::RcvBufForce, &QUEUE).map_err(refused)?;
        // An error then carries the kernel's explanation, and not a copy of the request, which may be megabytes.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
            switch_on(socket.as_fd(), option).map_err(refused)?;
        }
        Ok(Netlink { socket, sequence: 0, buffer: vec![0; RECEIVE] })
    }

    /// Opens a socket in the network namespace behind `netns`. The caller's thread stays where it is.
    pub fn open_in(netns: BorrowedFd, family: Family) -> Result<Self, NetlinkError> {
        std::thread::scope(|scope| {
            let opener = std::thread::Builder::new().name("netlink-open".to_string()).spawn_scoped(scope, || {
                setns(netns, CloneFlags::CLONE_NEWNET).map_err(NetlinkError::Enter)?;
                Netlink::open(family)
            });
            let panicked = |_| NetlinkError::Thread(io::Error::other("the thread panicked"));
            opener.map_err(NetlinkError::Thread)?.join().map_err(panicked)?
        })
    }

    /// Sends messages that stand each for itself (the Route family). What the kernel refused is returned, the others
    /// have taken effect.
    pub fn run(&mut self, batch: &mut Batch) -> Result<Vec<Refusal>, NetlinkError> {
        self.run_with(batch, |_, _, _| {})
    }

    /// As [`Netlink::run`]; `answer` gets what the kernel sends besides acknowledgements: the number of the message
    /// in the batch that it answers, its `nlmsg_type` and its body.
    pub fn run_with(
        &mut self,
        batch: &mut Batch,
        mut answer: impl FnMut(usize, u16, &[u8]),
    ) -> Result<Vec<Refusal>, NetlinkError> {
        let mut refusals = Vec::new();
        let mut first = 0;
        while first < batch.len() {
            let start = batch.starts.get(first).copied().unwrap_or_default();
            // At least one message, however long; then as many as fit.
            let fit = batch.starts.partition_point(|&next| next < start + PIECE);
            let last = fit.max(first + 1);
            refusals.extend(self.send(batch, first, last, &mut answer)?);
            first = last;
        }
        Ok(refusals)
    }

    /// Sends all messages in one piece, which is what makes an nftables batch one transaction.
    pub fn transact(&mut self, batch: &mut Batch) -> Result<Vec<Refusal>, NetlinkError> {
        let all = batch.len();
        self.send(batch, 0, all, &mut |_, _, _| {})
    }

    /// Sends one dump request and hands each entry of the answer (its `nlmsg_type` and body) to `entry`.
    /// [`NetlinkError::Interrupted`] says that the table changed meanwhile and entries may be missing or twice there.
    pub fn dump(
        &mut self,
        kind: u16,
        body: impl FnOnce(&mut Vec<u8>),
        mut entry: impl FnMut(u16, &[u8]),
    ) -> Result<Option<Refusal>, NetlinkError> {
        let mut batch = Batch::new();
        batch.message(kind, libc::NLM_F_DUMP as u16, body);
        let refusals = self.send(&mut batch, 0, 1, &mut |_, kind, body| entry(kind, body))?;
        Ok(refusals.into_iter().next())
    }

    /// Sends the messages numbered `first` to before `last` in one piece and collects the answers to them.
    fn send(
        &mut self,
        batch: &mut Batch,
        first: usize,
        last: usize,
        answer: &mut dyn FnMut(usize, u16, &[u8]),
    ) -> Result<Vec<Refusal>, NetlinkError> {
        let base = self.sequence;
        let mut wanted = 0;
        for (offset, &start) in batch.starts.get(first..last).unwrap_or_default().iter().enumerate() {
            put(&mut batch.bytes, start + 8, base.wrapping_add(offset as u32));
            let flags = batch.bytes.get(start + 6..start + 8).and_then(|f| f.try_into().ok()).map(u16::from_ne_bytes);
            let flags = flags.unwrap_or_default();
            let dump = libc::NLM_F_DUMP as u16;
            if flags & ACK != 0 || flags & dump == dump {
                wanted += 1;
            }
        }
        self.sequence = base.wrapping_add((last - first) as u32);

        let from = batch.starts.get(first).copied().unwrap_or_default();
        let to = batch.starts.get(last).copied().unwrap_or(batch.bytes.len());
        let piece = batch.bytes.get(from..to).unwrap_or_default();
        let sent = nix::sys::socket::send(self.socket.as_raw_fd(), piece, MsgFlags::empty());
        sent.map_err(|source| NetlinkError::Send { bytes: piece.len(), source })?;

        let mut refusals: Vec<Refusal> = Vec::new();
        let (mut acks, mut interrupted) = (0, false);
        while let Some(length) = self.receive()? {
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((message, after)) = Message::split(rest)? {
                rest = after;
                let offset = message.sequence.wrapping_sub(base) as usize;
                if offset >= last - first {
                    // Left over from a call that failed half-way.
                    continue;
                }
                let index = first + offset;
                interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => match message.status()? {
                        None => acks += 1,
                        Some((errno, text)) => refusals.push(Refusal { index, errno, text }),
                    },
                    libc::NLMSG_NOOP => {}
                    _ => answer(index, message.kind, message.body),
                }
            }
        }
        if refusals.is_empty() && acks < wanted {
            return Err(NetlinkError::Unanswered { acks, wanted });
        }
        if interrupted {
            return Err(NetlinkError::Interrupted);
        }
        Ok(refusals)
    }

    /// One datagram from the kernel; `None` when there is none left.
    fn receive(&mut self) -> Result<Option<usize>, NetlinkError> {
        loop {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut self.buffer) {
                // Any process may write to a netlink socket; only the kernel's port is 0.
                Ok((_, sender)) if sender.is_some_and(|sender| sender.pid() != 0) => continue,
                Ok((length, _)) => return Ok(Some(length)),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(NetlinkError::Receive(errno)),
            }
        }
    }
}

/// One message of what was received.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message of `bytes` and what comes after it; `None` at the end.
    fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, NetlinkError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let split = || {
            let (length, after) = attr::u32_ne(bytes)?;
            let (kind, after) = attr::u16_ne(after)?;
            let (flags, after) = attr::u16_ne(after)?;
            let (sequence, _) = attr::u32_ne(after)?;
            let length = length as usize;
            let body = bytes.get(HEADER..length)?;
            let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((Message { kind, flags, sequence, body }, next))
        };
        split().map(Some).ok_or(NetlinkError::Malformed)
    }

    /// What an acknowledgement, an error or the end of a dump says: `None` is success.
    fn status(&self) -> Result<Option<(Errno, Option<String>)>, NetlinkError> {
        let (code, mut rest) = attr::u32_ne(self.body).ok_or(NetlinkError::Malformed)?;
        let code = code as i32;
        if code >= 0 {
            return Ok(None);
        }
        if i32::from(self.kind) == libc::NLMSG_ERROR {
            // A copy of the request comes next; capped, it is only its header.
            let (length, _) = attr::u32_ne(rest).ok_or(NetlinkError::Malformed)?;
            let capped = self.flags & libc::NLM_F_CAPPED as u16 != 0;
            let copied = if capped { HEADER } else { (length as usize).next_multiple_of(4) };
            rest = rest.get(copied..).unwrap_or_default();
        }
        let explained = self.flags & libc::NLM_F_ACK_TLVS as u16 != 0;
        let text = explained.then(|| attr::find(rest, NLMSGERR_ATTR_MSG).map(attr::text)).flatten();
        Ok(Some((Errno::from_raw(-code), text)))
    }
}

const NLMSGERR_ATTR_MSG: u16 = 1;

/// Sets a boolean option of the netlink level; nix knows none of them.
fn switch_on(socket: BorrowedFd, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length describe `on`, which outlives the call; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests;
