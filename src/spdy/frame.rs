//! Frames: bytes to events and back. The decoder takes bytes in whatever pieces they come and hands data on at once, so
//! that it never holds more than one control frame.

use hyper::body::Bytes;

use super::SpdyError;
use super::headers::{Headers, Unpacker};

const VERSION: u16 = 3;
const HEAD: usize = 8;
/// The most that a control frame may hold.
const MAX_CONTROL: usize = 32 << 10;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

const FIN: u8 = 1;

/// The codes of a RST_STREAM that are sent.
pub const PROTOCOL_ERROR: u32 = 1;
pub const REFUSED_STREAM: u32 = 3;
pub const CANCEL: u32 = 5;

/// What the other side did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Opened {
        id: u32,
        headers: Headers,
    },
    /// `last`: nothing follows on this stream. May be empty.
    Data {
        id: u32,
        bytes: Bytes,
        last: bool,
    },
    Reset {
        id: u32,
    },
    Ping(u32),
    /// It opens no more streams.
    GoAway,
}

enum State {
    Head(Vec<u8>),
    Control { kind: u16, flags: u8, length: usize, body: Vec<u8> },
    Data { id: u32, fin: bool, left: usize },
}

pub struct Decoder {
    state: State,
    input: Bytes,
    unpacker: Unpacker,
    /// The end of a stream that came with its opening, told after it.
    owed: Option<Event>,
}

impl Decoder {
    pub fn new() -> Self {
        Decoder { state: State::Head(Vec::new()), input: Bytes::new(), unpacker: Unpacker::new(), owed: None }
    }

    /// The next bytes; to be called when `next` has said `None`.
    pub fn push(&mut self, bytes: Bytes) {
        self.input = bytes;
    }

    /// `None`: more bytes are needed. After an error nothing of the connection can be understood any more.
    pub fn next(&mut self) -> Result<Option<Event>, SpdyError> {
        if let Some(event) = self.owed.take() {
            return Ok(Some(event));
        }
        loop {
            match &mut self.state {
                State::Data { id, fin, left } => {
                    let bytes = self.input.split_to(self.input.len().min(*left));
                    *left -= bytes.len();
                    let (id, last, over) = (*id, *fin && *left == 0, *left == 0);
                    if over {
                        self.state = State::Head(Vec::new());
                    }
                    if last || !bytes.is_empty() {
                        return Ok(Some(Event::Data { id, bytes, last }));
                    }
                    if !over {
                        return Ok(None);
                    }
                }
                State::Head(head) => {
                    if !fill(head, HEAD, &mut self.input) {
                        return Ok(None);
                    }
                    self.state = after_head(head)?;
                }
                State::Control { kind, flags, length, body } => {
                    if !fill(body, *length, &mut self.input) {
                        return Ok(None);
                    }
                    let (kind, flags, body) = (*kind, *flags, std::mem::take(body));
                    self.state = State::Head(Vec::new());
                    if let Some(event) = self.control(kind, flags & FIN != 0, &body)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    fn control(&mut self, kind: u16, fin: bool, body: &[u8]) -> Result<Option<Event>, SpdyError> {
        let short = || SpdyError::Protocol("a frame is too short");
        let number = |at: usize| -> Result<u32, SpdyError> {
            let bytes = body.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).ok_or_else(short)?;
            Ok(u32::from_be_bytes(*bytes))
        };
        let end = |id: u32| fin.then(|| Event::Data { id, bytes: Bytes::new(), last: true });
        match kind {
            SYN_STREAM => {
                let id = number(0)? & 0x7fff_ffff;
                let headers = self.unpacker.unpack(body.get(10..).ok_or_else(short)?)?;
                self.owed = end(id);
                Ok(Some(Event::Opened { id, headers }))
            }
            // What they say is of no use, but the compression goes through them.
            SYN_REPLY | HEADERS => {
                let id = number(0)? & 0x7fff_ffff;
                self.unpacker.unpack(body.get(4..).ok_or_else(short)?)?;
                Ok(end(id))
            }
            RST_STREAM => Ok(Some(Event::Reset { id: number(0)? & 0x7fff_ffff })),
            PING => Ok(Some(Event::Ping(number(0)?))),
            GOAWAY => Ok(Some(Event::GoAway)),
            // SETTINGS and WINDOW_UPDATE too: Kubernetes' clients have no flow control but the connection's own.
            _ => Ok(None),
        }
    }
}

/// Moves bytes until there are `length`; are there?
fn fill(held: &mut Vec<u8>, length: usize, input: &mut Bytes) -> bool {
    let missing = length.saturating_sub(held.len());
    held.extend_from_slice(&input.split_to(missing.min(input.len())));
    held.len() >= length
}

fn after_head(head: &[u8]) -> Result<State, SpdyError> {
    let Some(&[a, b, c, d, flags, e, f, g]) = head.first_chunk::<HEAD>() else {
        return Err(SpdyError::Protocol("a frame has no head"));
    };
    let length = usize::from(e) << 16 | usize::from(f) << 8 | usize::from(g);
    let first = u32::from_be_bytes([a, b, c, d]);
    if first >> 31 == 0 {
        return Ok(State::Data { id: first, fin: flags & FIN != 0, left: length });
    }
    if u16::from_be_bytes([a, b]) & 0x7fff != VERSION {
        return Err(SpdyError::Protocol("a frame is not of SPDY/3"));
    }
    if length > MAX_CONTROL {
        return Err(SpdyError::Protocol("a control frame is too long"));
    }
    Ok(State::Control { kind: u16::from_be_bytes([c, d]), flags, length, body: Vec::new() })
}

fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    let [_, e, f, g] = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    let [a, b] = (VERSION | 0x8000).to_be_bytes();
    let [c, d] = kind.to_be_bytes();
    let mut frame = vec![a, b, c, d, flags, e, f, g];
    frame.extend_from_slice(body);
    frame
}

/// `headers` as [`super::headers::Packer`] makes them.
pub fn syn_stream(id: u32, headers: &[u8]) -> Vec<u8> {
    // Associated with no stream, of the highest priority.
    control(SYN_STREAM, 0, &[&id.to_be_bytes()[..], &[0; 6], headers].concat())
}

pub fn syn_reply(id: u32, headers: &[u8]) -> Vec<u8> {
    control(SYN_REPLY, 0, &[&id.to_be_bytes()[..], headers].concat())
}

pub fn reset(id: u32, code: u32) -> Vec<u8> {
    control(RST_STREAM, 0, &[id.to_be_bytes(), code.to_be_bytes()].concat())
}

pub fn ping(number: u32) -> Vec<u8> {
    control(PING, 0, &number.to_be_bytes())
}

pub fn go_away(last: u32) -> Vec<u8> {
    control(GOAWAY, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

/// At most 16 MiB of data.
pub fn data(id: u32, bytes: &[u8], last: bool) -> Vec<u8> {
    let [_, e, f, g] = u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    let [a, b, c, d] = id.to_be_bytes();
    let mut frame = Vec::with_capacity(HEAD + bytes.len());
    frame.extend_from_slice(&[a, b, c, d, if last { FIN } else { 0 }, e, f, g]);
    frame.extend_from_slice(bytes);
    frame
}

#[cfg(test)]
mod tests {
    use super::super::headers::Packer;
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    fn conversation() -> (Vec<u8>, Vec<Event>) {
        let mut packer = Packer::new().unwrap();
        let headers = Headers::new([("streamType", "error"), ("port", "80")]);
        let bytes = [
            syn_stream(1, &packer.pack(&headers).unwrap()),
            data(1, b"hello", false),
            syn_reply(2, &packer.pack(&Headers::default()).unwrap()),
            control(4, 0, &[0; 12]),
            ping(7),
            data(1, b"", false),
            data(1, b"", true),
            syn_stream(3, &packer.pack(&headers).unwrap()),
            reset(3, CANCEL),
            go_away(3),
        ];
        let data = |bytes: &'static [u8], last| Event::Data { id: 1, bytes: Bytes::from_static(bytes), last };
        let events = vec![
            Event::Opened { id: 1, headers: headers.clone() },
            data(b"hello", false),
            Event::Ping(7),
            data(b"", true),
            Event::Opened { id: 3, headers },
            Event::Reset { id: 3 },
            Event::GoAway,
        ];
        (bytes.concat(), events)
    }

    /// All events of `bytes` in pieces of `size`, data joined.
    fn decode(bytes: &[u8], size: usize) -> Result<Vec<Event>, SpdyError> {
        let (mut decoder, mut events) = (Decoder::new(), Vec::new());
        for piece in bytes.chunks(size) {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Some(event) = decoder.next()? {
                match (events.last_mut(), event) {
                    (
                        Some(Event::Data { id, bytes, last: false }),
                        Event::Data { id: same, bytes: more, last: false },
                    ) if *id == same => *bytes = [&bytes[..], &more[..]].concat().into(),
                    (_, event) => events.push(event),
                }
            }
        }
        Ok(events)
    }

    #[test]
    fn what_is_written_is_read_in_whatever_pieces() {
        let (bytes, events) = conversation();
        for size in 1..=bytes.len() {
            assert_eq!(decode(&bytes, size).unwrap(), events, "in pieces of {size}");
        }
    }

    #[test]
    fn an_opening_that_is_an_end_too_is_both() {
        let mut bytes = syn_stream(1, &Packer::new().unwrap().pack(&Headers::default()).unwrap());
        bytes[4] = FIN;
        let events = decode(&bytes, bytes.len()).unwrap();
        assert!(
            matches!(events[..], [Event::Opened { id: 1, .. }, Event::Data { id: 1, last: true, .. }]),
            "{events:?}"
        );
    }

    #[test]
    fn what_is_no_spdy_is_refused() {
        for (bytes, why) in [
            (&b"\x80\x02\0\x01\0\0\0\0"[..], "not of SPDY/3"),
            (b"\x80\x03\0\x01\0\xff\xff\xff", "too long"),
            (b"\x80\x03\0\x06\0\0\0\x01\0", "too short"),
            (b"\x80\x03\0\x01\0\0\0\x0c\0\0\0\x01\0\0\0\0\0\0xx", "decompressed"),
        ] {
            let error = decode(bytes, bytes.len()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn noise_neither_panics_nor_makes_it_hold_much() {
        let (bytes, _) = conversation();
        let mut random = SmallRng::seed_from_u64(20);
        for round in 0..20_000 {
            let mut noise = bytes.clone();
            if round % 4 == 0 {
                noise.fill_with(|| random.random());
            }
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..noise.len());
                noise[at] = random.random();
            }
            noise.truncate(random.random_range(0..=noise.len()));
            let mut decoder = Decoder::new();
            for piece in noise.chunks(random.random_range(1..=64)) {
                decoder.push(Bytes::copy_from_slice(piece));
                while let Ok(Some(_)) = decoder.next() {}
                if let State::Control { body, .. } = &decoder.state {
                    assert!(body.len() <= MAX_CONTROL);
                }
            }
        }
    }
}
