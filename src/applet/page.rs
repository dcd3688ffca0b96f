//! Answers: short texts, and files that are read as they are sent.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

pub type Reply = Response<Either<Full<Bytes>, FileBody>>;

pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(body.into())));
    *reply.status_mut() = status;
    if !content_type.is_empty() {
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    reply
}

/// For texts of a size that is known when they are sent; 0 for what is not.
pub fn length(reply: &Reply) -> u64 {
    reply.body().size_hint().exact().unwrap_or(0)
}

/// `&`, `<`, `>` and `"` made harmless.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A regular file, read in pieces while it is sent, so that its size does not matter.
pub struct FileBody {
    file: File,
    left: u64,
}

impl FileBody {
    /// The largest piece that is read at once, in bytes.
    const PIECE: u64 = 64 * 1024;

    pub fn new(file: File, length: u64) -> Self {
        FileBody { file, left: length }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let wanted = self.left.min(Self::PIECE);
        let mut piece = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        let frame = (&mut self.file).take(wanted).read_to_end(&mut piece).and_then(|read| match read {
            // The length has been promised in the header: a file that shrank ends the connection.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(Frame::data(Bytes::from(piece))),
        });
        match &frame {
            Ok(frame) => self.left -= frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(_) => self.left = 0,
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
