//! SPDY/3.1 as Kubernetes speaks it: streams with headers, in both directions, over one connection. kubectl's
//! port-forward tunnels it through a WebSocket; clients older than 1.31 upgrade a connection to it for everything.
//!
//! There is no flow control but that of the connection below, since Kubernetes' clients have none: whoever does not read
//! a stream holds up the others, and memory stays bounded.

mod carry;
mod frame;
mod headers;
mod io;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc;

pub use carry::carry;
use frame::{Decoder, Event};
pub use headers::Headers;
use headers::Packer;
pub use io::{Messages, Sink, Source, bytes, websocket};

/// How many streams a connection may have at once; a forwarded connection has two.
const MAX_STREAMS: usize = 1024;
/// How many pieces of data wait for whoever reads a stream.
const UNREAD: usize = 4;
/// How many frames of data wait to be sent.
const UNSENT: usize = 16;
/// How many answers (to pings, to new streams) may wait for a client that does not read them.
const ANSWERS: usize = 4 * MAX_STREAMS;
/// How long the other side may take to go, once everything was said.
const GOODBYE: Duration = Duration::from_secs(2);
/// Larger data is sent in pieces of this size.
const PIECE: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpdyError {
    #[error("the other side does not speak SPDY/3.1: {0}")]
    Protocol(&'static str),
    #[error("the connection has ended")]
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Its streams have odd numbers.
    Client,
    Server,
}

/// A handle on a connection; it ends when its driver does.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Mutex<Shared>>,
    answers: mpsc::Sender<Vec<u8>>,
    data: mpsc::Sender<Out>,
}

/// What goes out in order.
enum Out {
    Frame(Vec<u8>),
    /// Say good-bye and end.
    Finish,
}

struct Shared {
    side: Side,
    streams: HashMap<u32, Entry>,
    packer: Packer,
    next_id: u32,
    /// The last stream that the other side opened.
    last_id: u32,
    over: bool,
}

struct Entry {
    /// `None` once the other side has ended it.
    unread: Option<mpsc::Sender<Bytes>>,
    reset: Arc<AtomicBool>,
    /// This side has sent its end.
    finished: bool,
}

/// A connection, the streams that the other side opens on it, and its driver, which must be polled for anything to
/// happen, and ends with the connection.
pub type Connected<D> = (Connection, mpsc::Receiver<Stream>, D);

/// Begins to speak over a connection.
pub fn connect<R: Source, W: Sink>(
    source: R,
    sink: W,
    side: Side,
) -> Result<Connected<impl Future<Output = Result<(), SpdyError>> + Send>, SpdyError> {
    let (answers, answers_out) = mpsc::channel(ANSWERS);
    let (data, data_out) = mpsc::channel(UNSENT);
    let (opened, streams) = mpsc::channel(UNREAD);
    let shared = Shared {
        side,
        streams: HashMap::new(),
        packer: Packer::new()?,
        next_id: if side == Side::Client { 1 } else { 2 },
        last_id: 0,
        over: false,
    };
    let connection = Connection { shared: Arc::new(Mutex::new(shared)), answers, data };
    let end = End(Arc::clone(&connection.shared));
    let reader = read(source, connection.clone(), opened);
    let driver = async move {
        let _end = end;
        let mut reader = pin!(reader);
        let finished = tokio::select! {
            finished = write(sink, answers_out, data_out) => finished,
            result = &mut reader => return result,
        };
        if finished {
            // What is closed while it has something to read is cut off, and what was sent last may be lost.
            let _ = tokio::time::timeout(GOODBYE, reader).await;
        }
        Ok(())
    };
    Ok((connection, streams, driver))
}

/// Ends all streams when the driver is dropped.
struct End(Arc<Mutex<Shared>>);

impl Drop for End {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.over = true;
        for (_, entry) in shared.streams.drain() {
            entry.reset.store(true, Ordering::Release);
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// True: all that was to be said has been said.
async fn write<W: Sink>(mut sink: W, mut answers: mpsc::Receiver<Vec<u8>>, mut data: mpsc::Receiver<Out>) -> bool {
    loop {
        let frame = tokio::select! {
            // The answer to an opening goes before the data on it.
            biased;
            Some(answer) = answers.recv() => answer,
            Some(out) = data.recv() => match out {
                Out::Frame(frame) => frame,
                Out::Finish => break,
            },
            else => return false,
        };
        if !sink.send(frame).await {
            return false;
        }
    }
    while let Ok(answer) = answers.try_recv() {
        if !sink.send(answer).await {
            return false;
        }
    }
    sink.send(frame::go_away(0)).await;
    sink.finish().await;
    true
}

async fn read<R: Source>(mut source: R, connection: Connection, opened: mpsc::Sender<Stream>) -> Result<(), SpdyError> {
    let mut decoder = Decoder::new();
    while let Some(bytes) = source.receive().await {
        decoder.push(bytes);
        while let Some(event) = decoder.next()? {
            match event {
                Event::Opened { id, headers } => {
                    if let Some(stream) = connection.accept(id, headers)? {
                        // Nobody wants it: it is dropped, and so refused.
                        let _ = opened.send(stream).await;
                    }
                }
                Event::Data { id, bytes, last } => {
                    if let Some(unread) = connection.unread(id, last)
                        && !bytes.is_empty()
                    {
                        // A reader that is gone needs no data.
                        let _ = unread.send(bytes).await;
                    }
                }
                Event::Reset { id } => {
                    if let Some(entry) = lock(&connection.shared).streams.remove(&id) {
                        entry.reset.store(true, Ordering::Release);
                    }
                }
                Event::Ping(number) => {
                    // Ours are never sent, so that an answer to one is nobody's.
                    let from_client = number % 2 == 1;
                    if from_client == (lock(&connection.shared).side == Side::Server) {
                        connection.answer(frame::ping(number))?;
                    }
                }
                Event::GoAway => {}
            }
        }
    }
    Ok(())
}

impl Connection {
    /// Opens a stream.
    pub async fn open(&self, headers: &Headers) -> Result<Stream, SpdyError> {
        // Reserved first: the openings must leave in the order in which they were compressed.
        let permit = self.answers.reserve().await.map_err(|_| SpdyError::Ended)?;
        let mut shared = lock(&self.shared);
        if shared.over {
            return Err(SpdyError::Ended);
        }
        let id = shared.next_id;
        shared.next_id += 2;
        let packed = shared.packer.pack(headers)?;
        permit.send(frame::syn_stream(id, &packed));
        Ok(self.add(&mut shared, id, headers.clone()))
    }

    /// Sends what is waiting, says good-bye and ends the connection.
    pub async fn finish(&self) {
        // One that has ended is as good.
        let _ = self.data.send(Out::Finish).await;
    }

    fn add(&self, shared: &mut Shared, id: u32, headers: Headers) -> Stream {
        let (unread, receiver) = mpsc::channel(UNREAD);
        let reset = Arc::new(AtomicBool::new(false));
        shared.streams.insert(id, Entry { unread: Some(unread), reset: Arc::clone(&reset), finished: false });
        Stream {
            id,
            headers,
            receiver: Receiver { unread: receiver, reset: Arc::clone(&reset) },
            sender: Sender { id, connection: self.clone(), reset, finished: false },
        }
    }

    fn accept(&self, id: u32, headers: Headers) -> Result<Option<Stream>, SpdyError> {
        let mut shared = lock(&self.shared);
        let theirs = (id % 2 == 1) == (shared.side == Side::Server);
        if !theirs || id <= shared.last_id {
            self.answer(frame::reset(id, frame::PROTOCOL_ERROR))?;
            return Ok(None);
        }
        shared.last_id = id;
        if shared.streams.len() >= MAX_STREAMS {
            self.answer(frame::reset(id, frame::REFUSED_STREAM))?;
            return Ok(None);
        }
        let packed = shared.packer.pack(&Headers::default())?;
        self.answer(frame::syn_reply(id, &packed))?;
        Ok(Some(self.add(&mut shared, id, headers)))
    }

    /// Where data of a stream goes; `last`: it is the last of it.
    fn unread(&self, id: u32, last: bool) -> Option<mpsc::Sender<Bytes>> {
        let mut shared = lock(&self.shared);
        let entry = shared.streams.get_mut(&id)?;
        if !last {
            return entry.unread.clone();
        }
        let unread = entry.unread.take();
        if entry.finished {
            shared.streams.remove(&id);
        }
        unread
    }

    /// A client that asks and asks and never reads is cut off.
    fn answer(&self, frame: Vec<u8>) -> Result<(), SpdyError> {
        self.answers.try_send(frame).map_err(|_| SpdyError::Protocol("it does not read its answers"))
    }
}

/// One stream of a connection. Dropped before its end, it is reset.
pub struct Stream {
    pub id: u32,
    pub headers: Headers,
    pub receiver: Receiver,
    pub sender: Sender,
}

pub struct Receiver {
    unread: mpsc::Receiver<Bytes>,
    reset: Arc<AtomicBool>,
}

impl Receiver {
    /// What the other side sends; `None` at the end.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.unread.recv().await
    }

    /// Was the end no orderly one?
    pub fn was_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }
}

pub struct Sender {
    id: u32,
    connection: Connection,
    reset: Arc<AtomicBool>,
    finished: bool,
}

impl Sender {
    pub async fn send(&self, bytes: &[u8]) -> Result<(), SpdyError> {
        for piece in bytes.chunks(PIECE) {
            if self.reset.load(Ordering::Acquire) || self.finished {
                return Err(SpdyError::Ended);
            }
            let frame = Out::Frame(frame::data(self.id, piece, false));
            self.connection.data.send(frame).await.map_err(|_| SpdyError::Ended)?;
        }
        Ok(())
    }

    /// Says that nothing follows.
    pub async fn finish(&mut self) {
        if self.finished || self.reset.load(Ordering::Acquire) {
            return;
        }
        self.finished = true;
        let _ = self.connection.data.send(Out::Frame(frame::data(self.id, &[], true))).await;
        let mut shared = lock(&self.connection.shared);
        if let Some(entry) = shared.streams.get_mut(&self.id) {
            entry.finished = true;
            if entry.unread.as_ref().is_none_or(mpsc::Sender::is_closed) {
                shared.streams.remove(&self.id);
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut shared = lock(&self.connection.shared);
        // What was ended on both sides is not known any more.
        let Some(entry) = shared.streams.get(&self.id) else { return };
        let unheard = entry.unread.as_ref().is_none_or(mpsc::Sender::is_closed);
        if unheard || !self.finished {
            shared.streams.remove(&self.id);
        }
        if !self.finished {
            let _ = self.connection.answer(frame::reset(self.id, frame::CANCEL));
        }
    }
}

#[cfg(test)]
mod tests;
