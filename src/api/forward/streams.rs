//! Port-forward over SPDY streams: a data and an error stream a connection, which belong together by their request.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dial::{BUFFER, Dialer};
use crate::spdy::{self, Side, Sink, Source, Stream};

/// How long a stream may wait for the other of its pair.
const PAIRING: Duration = Duration::from_secs(30);

pub async fn serve<R: Source, W: Sink>(source: R, sink: W, dialer: Arc<Dialer>) {
    let Ok((connection, mut opened, driver)) = spdy::connect(source, sink, Side::Server) else { return };
    let mut waiting: HashMap<String, (Instant, Stream)> = HashMap::new();
    // They end with this function.
    let mut forwards = JoinSet::new();
    let pairing = async {
        loop {
            tokio::select! {
                stream = opened.recv() => match stream {
                    Some(stream) => {
                        waiting.retain(|_, (since, _)| since.elapsed() < PAIRING);
                        if let Some((port, data, error)) = pair(&mut waiting, stream) {
                            forwards.spawn(forward(dialer.clone(), port, data, error));
                        }
                    }
                    None => return,
                },
                Some(_) = forwards.join_next() => {}
            }
        }
    };
    let pod_ends = async {
        dialer.pod_ends().await;
        connection.finish().await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = driver => {}
        () = pairing => {}
        () = pod_ends => {}
    }
}

/// A connection's port, data and error stream, once both are there. A stream that is not as it should be is reset.
fn pair(waiting: &mut HashMap<String, (Instant, Stream)>, stream: Stream) -> Option<(u16, Stream, Stream)> {
    let port: u16 = stream.headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
    let is_data = match stream.headers.get("streamType") {
        Some("data") => true,
        Some("error") => false,
        _ => return None,
    };
    // Old clients give no number, but open the data stream right after the error stream.
    let of_old = || if is_data { stream.id.saturating_sub(2) } else { stream.id }.to_string();
    let request = stream.headers.get("requestID").map_or_else(of_old, str::to_string);
    let Some((_, other)) = waiting.remove(&request) else {
        waiting.insert(request, (Instant::now(), stream));
        return None;
    };
    match (is_data, other.headers.get("streamType")) {
        (true, Some("error")) => Some((port, stream, other)),
        (false, Some("data")) => Some((port, other, stream)),
        _ => None,
    }
}

async fn forward(dialer: Arc<Dialer>, port: u16, data: Stream, mut error: Stream) {
    match dialer.connect(port).await {
        Ok(connection) => carry(connection, data).await,
        Err(message) => {
            let _ = error.sender.send(message.as_bytes()).await;
            let mut data = data;
            data.sender.finish().await;
        }
    }
    error.sender.finish().await;
}

/// Until both directions have ended, or one of them in disorder.
async fn carry(connection: TcpStream, data: Stream) {
    let (mut read, mut write) = connection.into_split();
    let Stream { mut receiver, mut sender, .. } = data;
    let mut to_pod = pin!(async {
        let mut taken = true;
        while let Some(bytes) = receiver.receive().await {
            // What is not taken any more is let go, so that it does not hold up the others.
            taken = taken && write.write_all(&bytes).await.is_ok();
        }
        // kubectl gives a stream up so when its own side is closed.
        !receiver.was_reset() && write.shutdown().await.is_ok()
    });
    let mut from_pod = pin!(async {
        let mut buffer = vec![0; BUFFER];
        loop {
            match read.read(&mut buffer).await {
                Ok(0) => {
                    sender.finish().await;
                    return true;
                }
                Ok(count) if sender.send(buffer.get(..count).unwrap_or_default()).await.is_ok() => {}
                // The stream is reset when it is dropped.
                _ => return false,
            }
        }
    });
    tokio::select! {
        in_order = &mut from_pod => if in_order { to_pod.await; },
        in_order = &mut to_pod => if in_order { from_pod.await; },
    }
}
