//! Pipes and pseudo-terminals as asynchronous input and output.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

/// Errno of a read from a pseudo-terminal whose other side everybody has closed.
const EIO: i32 = 5;

/// What a command writes.
pub struct Output(pipe::Receiver);

/// What a command reads.
pub struct Input(pipe::Sender);

impl Output {
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // "Unchecked": a pseudo-terminal is read like a pipe.
        pipe::Receiver::from_owned_fd_unchecked(without_blocking(fd)?).map(Output)
    }

    /// Reads what is there, at least one byte; 0 at the end.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer).await {
            Err(error) if error.raw_os_error() == Some(EIO) => Ok(0),
            result => result,
        }
    }
}

impl Input {
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        pipe::Sender::from_owned_fd_unchecked(without_blocking(fd)?).map(Input)
    }

    pub async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        self.0.write_all(data).await
    }
}

/// Sets O_NONBLOCK. The standard library offers that for sockets alone, but asks for it in the way (FIONBIO) that every
/// file takes.
fn without_blocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    let stream = UnixStream::from(fd);
    stream.set_nonblocking(true)?;
    Ok(stream.into())
}
