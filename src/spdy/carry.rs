//! A TCP connection at the end of a stream.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Stream;

const BUFFER: usize = 32 << 10;

/// Joins the two until both directions have ended, or one of them in disorder. Each may end on its own.
pub async fn carry(connection: TcpStream, stream: Stream) {
    let (mut read, mut write) = connection.into_split();
    let Stream { mut receiver, mut sender, .. } = stream;
    let read_over = AtomicBool::new(false);
    let mut to_connection = pin!(async {
        let mut taken = true;
        while let Some(bytes) = receiver.receive().await {
            // What is not taken any more is let go, so that it does not hold up other streams: what the connection
            // still says is to arrive.
            taken = taken && write.write_all(&bytes).await.is_ok();
            if !taken && read_over.load(Ordering::Relaxed) {
                return false;
            }
        }
        // kubectl gives a stream up by a reset when the connection on its side is closed.
        !receiver.was_reset() && write.shutdown().await.is_ok()
    });
    let mut from_connection = pin!(async {
        let mut buffer = vec![0; BUFFER];
        loop {
            match read.read(&mut buffer).await {
                Ok(0) => {
                    read_over.store(true, Ordering::Relaxed);
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
        in_order = &mut from_connection => {
            if in_order {
                to_connection.await;
            }
        }
        in_order = &mut to_connection => {
            if in_order {
                from_connection.await;
            }
        }
    }
}
