//! Port-forward over SPDY streams: a data and an error stream a connection, which belong together by their request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dial::Dialer;
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
        Ok(connection) => spdy::carry(connection, data).await,
        Err(message) => {
            let _ = error.sender.send(message.as_bytes()).await;
            let mut data = data;
            data.sender.finish().await;
        }
    }
    error.sender.finish().await;
}
