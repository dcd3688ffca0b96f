//! Port-forward over the channels of a WebSocket, as the Python client has it: for the n-th port 2n carries data and
//! 2n+1 errors, each begins with the port's number, and there is one connection a port. A direction has no end of its
//! own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::dial::{BUFFER, Dialer};
use crate::api::exec::message;

/// How many messages wait for a port, or for the client.
const WAITING: usize = 4;
/// How long a client may take to say good-bye.
const GOODBYE: Duration = Duration::from_secs(2);

pub async fn serve<S>(socket: WebSocketStream<S>, ports: Vec<u16>, dialer: Arc<Dialer>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut source) = socket.split();
    let (outgoing, mut messages) = mpsc::channel(WAITING);
    let (mut inputs, mut forwards) = (Vec::new(), JoinSet::new());
    for (number, port) in (0u8..).step_by(2).zip(ports) {
        let (input, received) = mpsc::channel(WAITING);
        inputs.push(input);
        forwards.spawn(forward(number, port, received, outgoing.clone(), dialer.clone()));
    }
    drop(outgoing);
    let incoming = async {
        while let Some(Ok(received)) = source.next().await {
            let data = match received {
                Message::Binary(data) => data,
                Message::Close(_) => return,
                _ => continue,
            };
            let Some(channel) = data.first() else { continue };
            // Nothing is to be sent on channels of errors.
            if let Some(input) = inputs.get(usize::from(channel / 2)).filter(|_| channel % 2 == 0) {
                // A connection that has ended takes no more.
                let _ = input.send(data.slice(1..)).await;
            }
        }
    };
    let sending = async {
        // Ends when all connections have.
        while let Some(message) = messages.recv().await {
            if sink.send(message).await.is_err() {
                return false;
            }
        }
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        sink.send(Message::Close(Some(normal))).await.is_ok()
    };
    let all_sent = tokio::select! {
        () = incoming => false,
        all_sent = sending => all_sent,
        () = dialer.pod_ends() => false,
    };
    if all_sent {
        // The client's own close frame, or its end.
        let _ = tokio::time::timeout(GOODBYE, async { while let Some(Ok(_)) = source.next().await {} }).await;
    }
}

async fn forward(
    number: u8,
    port: u16,
    mut received: mpsc::Receiver<hyper::body::Bytes>,
    outgoing: mpsc::Sender<Message>,
    dialer: Arc<Dialer>,
) {
    let send = async |channel, data: &[u8]| outgoing.send(message(channel, data)).await.is_ok();
    for channel in [number, number + 1] {
        send(channel, &port.to_le_bytes()).await;
    }
    let connection = match dialer.connect(port).await {
        Ok(connection) => connection,
        Err(error) => {
            send(number + 1, error.as_bytes()).await;
            return;
        }
    };
    let (mut read, mut write) = connection.into_split();
    let to_pod = async {
        let mut taken = true;
        while let Some(data) = received.recv().await {
            // What is not taken any more is let go, so that it does not hold up the others.
            taken = taken && write.write_all(&data).await.is_ok();
        }
        // What it still says is to arrive.
        std::future::pending::<()>().await;
    };
    let from_pod = async {
        let mut buffer = vec![0; BUFFER];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            if !send(number, buffer.get(..count).unwrap_or_default()).await {
                return;
            }
        }
    };
    tokio::select! {
        () = from_pod => {}
        () = to_pod => {}
    }
}
