//! What a connection runs over: a stream of bytes, or the binary messages of a WebSocket, whose borders mean nothing.

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const BUFFER: usize = 32 << 10;

pub trait Source: Send {
    /// `None` at the end, whatever the reason.
    fn receive(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

pub trait Sink: Send {
    /// False: the other side is gone.
    fn send(&mut self, bytes: Vec<u8>) -> impl Future<Output = bool> + Send;

    fn finish(&mut self) -> impl Future<Output = ()> + Send;
}

/// The binary messages of a WebSocket, one after another.
pub struct Messages<S>(S);

pub fn bytes<S: AsyncRead + AsyncWrite>(stream: S) -> (ReadHalf<S>, WriteHalf<S>) {
    tokio::io::split(stream)
}

type Halves<S> = (Messages<SplitStream<WebSocketStream<S>>>, Messages<SplitSink<WebSocketStream<S>, Message>>);

pub fn websocket<S: AsyncRead + AsyncWrite + Unpin>(socket: WebSocketStream<S>) -> Halves<S> {
    let (sink, source) = socket.split();
    (Messages(source), Messages(sink))
}

impl<S: AsyncRead + Send> Source for ReadHalf<S> {
    async fn receive(&mut self) -> Option<Bytes> {
        let mut buffer = vec![0; BUFFER];
        let count = self.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        buffer.truncate(count);
        Some(buffer.into())
    }
}

impl<S: AsyncWrite + Send> Sink for WriteHalf<S> {
    async fn send(&mut self, bytes: Vec<u8>) -> bool {
        // What lies beneath may keep back what is not flushed.
        self.write_all(&bytes).await.is_ok() && self.flush().await.is_ok()
    }

    async fn finish(&mut self) {
        let _ = self.shutdown().await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Source for Messages<SplitStream<WebSocketStream<S>>> {
    async fn receive(&mut self) -> Option<Bytes> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Binary(bytes) => return Some(bytes),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Sink for Messages<SplitSink<WebSocketStream<S>, Message>> {
    async fn send(&mut self, bytes: Vec<u8>) -> bool {
        self.0.send(Message::Binary(bytes.into())).await.is_ok()
    }

    async fn finish(&mut self) {
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = self.0.send(Message::Close(Some(normal))).await;
    }
}
