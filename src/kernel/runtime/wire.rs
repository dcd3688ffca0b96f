//! Messages with descriptors over a unix stream socket: a length, the number of descriptors, then JSON. A stream and not
//! packets, because a node's state can be larger than a packet may be.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest message that is believed, in bytes.
const MAX_MESSAGE: usize = 64 << 20;
/// The most descriptors a message carries: stdin, stdout, stderr.
pub const MAX_DESCRIPTORS: usize = 3;
const HEADER: usize = 5;
const CHUNK: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the connection was closed by the other side")]
    Closed,
    #[error("the connection failed: {0}")]
    System(#[from] Errno),
    #[error("a message could not be understood: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a message could not be understood: {0}")]
    Framing(&'static str),
}

/// A message in its form on the wire.
pub fn encode<T: Serialize>(message: &T, descriptors: usize) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - HEADER).ok().filter(|length| *length as usize <= MAX_MESSAGE);
    let length = length.ok_or(WireError::Framing("it is longer than 64 MiB"))?;
    let count = u8::try_from(descriptors).ok().filter(|count| usize::from(*count) <= MAX_DESCRIPTORS);
    let count = count.ok_or(WireError::Framing("it has more than three descriptors"))?;
    let [a, b, c, d] = length.to_le_bytes();
    for (to, byte) in bytes.iter_mut().zip([a, b, c, d, count]) {
        *to = byte;
    }
    Ok(bytes)
}

/// Sends as much as the socket takes; the descriptors go with the first byte.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[RawFd], wait: bool) -> Result<usize, Errno> {
    let flags = if wait { MsgFlags::MSG_NOSIGNAL } else { MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT };
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    loop {
        match sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Bytes, and the descriptors that came with them.
pub type Packet = (Vec<u8>, Vec<OwnedFd>);

/// What one write has put into a pipe or a `SOCK_SEQPACKET` socket, with its descriptors; empty at the end. `None`:
/// nothing there now.
pub fn receive_packet(socket: BorrowedFd<'_>) -> Result<Option<Packet>, Errno> {
    let mut bytes = vec![0; 4096];
    match receive_into(socket, &mut bytes, MsgFlags::MSG_DONTWAIT) {
        Ok((length, descriptors)) => {
            bytes.truncate(length);
            Ok(Some((bytes, descriptors)))
        }
        Err(Errno::ENOTSOCK) => {
            Ok(super::sys::read_now(&socket, &mut bytes)?.map(|bytes| (bytes.to_vec(), Vec::new())))
        }
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(other) => Err(other),
    }
}

fn receive_into(socket: BorrowedFd<'_>, bytes: &mut [u8], flags: MsgFlags) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut control = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let mut into = [IoSliceMut::new(bytes)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut into, Some(&mut control), flags)?;
    let mut got = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = message {
            // SAFETY: the kernel just made these descriptors for us, nobody else owns them.
            got.extend(descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((received.bytes, got))
}

/// Puts messages together again out of what a socket delivers.
#[derive(Default)]
pub struct Decoder {
    /// Never cleared, so that a read touches no more memory than it fills: each page that is touched after a fork is
    /// copied.
    buffer: Vec<u8>,
    /// The part of `buffer` that has been received and not yet handed out.
    taken: usize,
    filled: usize,
    descriptors: VecDeque<OwnedFd>,
}

impl Decoder {
    /// Reads once. `Ok(false)`: nothing to read now (only when `wait` is not set).
    pub fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> Result<bool, WireError> {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.buffer.len() < self.filled + CHUNK {
            self.buffer.resize(self.filled + CHUNK, 0);
        }
        let flags = if wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        match receive_into(socket, self.buffer.get_mut(self.filled..).unwrap_or_default(), flags) {
            Ok((0, _)) | Err(Errno::ECONNRESET) => Err(WireError::Closed),
            Ok((length, descriptors)) => {
                self.filled += length;
                self.descriptors.extend(descriptors);
                Ok(true)
            }
            Err(Errno::EINTR) => Ok(true),
            Err(Errno::EAGAIN) if !wait => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// The next whole message, if there is one.
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<OwnedFd>)>, WireError> {
        let rest = self.buffer.get(self.taken..self.filled).unwrap_or_default();
        let Some((&[a, b, c, d, count], body)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > MAX_MESSAGE {
            return Err(WireError::Framing("it is longer than 64 MiB"));
        }
        let Some(body) = body.get(..length) else { return Ok(None) };
        let count = usize::from(count);
        if count > self.descriptors.len() {
            return Err(WireError::Framing("descriptors are missing"));
        }
        let descriptors = self.descriptors.drain(..count).collect();
        self.taken += HEADER + length;
        Ok(Some((serde_json::from_slice(body)?, descriptors)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn messages_and_their_descriptors_stay_together() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        for (text, descriptors) in [("one", vec![]), ("two", vec![writer.as_raw_fd()]), ("three", vec![])] {
            let bytes = encode(&text, descriptors.len()).unwrap();
            assert_eq!(send(left.as_fd(), &bytes, &descriptors, true), Ok(bytes.len()));
        }
        drop((left, writer));
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        while decoder.receive(right.as_fd(), true).is_ok() {
            while let Some((text, descriptors)) = decoder.next::<String>().unwrap() {
                for fd in &descriptors {
                    std::fs::File::from(fd.try_clone().unwrap()).write_all(b"hello").unwrap();
                }
                got.push((text, descriptors.len()));
            }
        }
        assert_eq!(got, [("one".to_string(), 0), ("two".to_string(), 1), ("three".to_string(), 0)]);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_message_larger_than_a_read_arrives_whole() {
        let (left, right) = UnixStream::pair().unwrap();
        let long = "x".repeat(3 * CHUNK);
        let bytes = encode(&long, 0).unwrap();
        let sender = std::thread::spawn(move || {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                rest = &rest[send(left.as_fd(), rest, &[], true).unwrap()..];
            }
        });
        let mut decoder = Decoder::default();
        let got = loop {
            decoder.receive(right.as_fd(), true).unwrap();
            if let Some((text, _)) = decoder.next::<String>().unwrap() {
                break text;
            }
        };
        assert!(got == long);
        sender.join().unwrap();
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [&b"\xff\xff\xff\xff\0"[..], b"\x02\0\0\0\x01{}", b"\x02\0\0\0\0{]"] {
            let mut decoder = Decoder { buffer: bytes.to_vec(), filled: bytes.len(), ..Decoder::default() };
            assert!(decoder.next::<String>().is_err());
        }
    }
}
