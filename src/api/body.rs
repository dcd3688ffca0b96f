//! Bodies: whole answers and streams going out, bounded requests coming in.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

use super::status::ApiError;

/// The most that a request may carry, in bytes: what etcd would still take.
pub const MAX_REQUEST: usize = 3 << 20;
/// How long a request's body may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What an answer consists of.
pub enum Body {
    Whole(Option<Bytes>),
    /// A watch or a log: ends when the sender is dropped, and the sender learns when the client is gone.
    Stream(mpsc::Receiver<Bytes>),
}

impl Body {
    pub fn empty() -> Self {
        Body::Whole(None)
    }

    pub fn stream() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(16);
        (sender, Body::Stream(receiver))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Body::Whole(Some(bytes.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Body::Stream(receiver) => receiver.poll_recv(context).map(|b| b.map(|b| Ok(Frame::data(b)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

/// Reads a request's body, within the bounds of size and time.
pub async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(REQUEST_TIMEOUT, Limited::new(body, MAX_REQUEST).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::too_large(MAX_REQUEST)),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body of the request cannot be read: {error}"))),
        Err(_) => Err(ApiError::new(
            hyper::StatusCode::REQUEST_TIMEOUT,
            "Timeout",
            format!("the body of the request did not arrive within {} seconds", REQUEST_TIMEOUT.as_secs()),
        )),
    }
}
