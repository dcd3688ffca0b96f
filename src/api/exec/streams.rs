//! A command's streams over SPDY: one for each of them, which the client opens and names in a header `streamType`.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::channel;
use super::stream::{Input, Outlet, Wanted, split};
use crate::session::{Session, SessionError};
use crate::spdy::{self, Sender, Side, Stream};

/// How long a client may take to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// The longest description of a terminal's size.
const MAX_SIZE: usize = 1 << 10;

impl Outlet for Sender {
    async fn send(&self, data: &[u8]) -> bool {
        Sender::send(self, data).await.is_ok()
    }
}

pub async fn carry<S>(io: S, wanted: Wanted, start: impl Future<Output = Result<Session, SessionError>>)
where
    S: AsyncRead + AsyncWrite + Send,
{
    let (source, sink) = spdy::bytes(io);
    let Ok((connection, mut opened, driver)) = spdy::connect(source, sink, Side::Server) else { return };
    let command = async {
        let Ok(Some(mut streams)) = tokio::time::timeout(OPENING, all(&mut opened, wanted)).await else { return };
        let Some(mut error) = streams.remove("error") else { return };
        let status = match start.await {
            Ok(session) => converse(session, wanted, streams).await,
            Err(error) => channel::failed(&error),
        };
        let _ = error.sender.send(status.to_string().as_bytes()).await;
        error.sender.finish().await;
        connection.finish().await;
        // The driver ends when all of it is out.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = driver => {}
        () = command => {}
    }
}

/// The streams that the request promised, by their type.
async fn all(opened: &mut tokio::sync::mpsc::Receiver<Stream>, wanted: Wanted) -> Option<HashMap<String, Stream>> {
    let expected = [("error", true), ("stdin", wanted.stdin), ("stdout", wanted.stdout), ("stderr", wanted.stderr)];
    let mut missing: Vec<&str> =
        expected.into_iter().chain([("resize", wanted.tty)]).filter(|e| e.1).map(|e| e.0).collect();
    let mut streams = HashMap::new();
    while !missing.is_empty() {
        let stream = opened.recv().await?;
        let kind = stream.headers.get("streamType").unwrap_or_default().to_string();
        // Any other is dropped, which resets it.
        if let Some(at) = missing.iter().position(|expected| *expected == kind) {
            missing.remove(at);
            streams.insert(kind, stream);
        }
    }
    Some(streams)
}

/// Until the command has ended; how it did.
async fn converse(session: Session, wanted: Wanted, mut streams: HashMap<String, Stream>) -> Value {
    let (Input { mut stdin, resize }, outputs) = split(session, wanted);
    let (from, sizes) = (streams.remove("stdin"), streams.remove("resize"));
    let (mut out, mut err) = (streams.remove("stdout"), streams.remove("stderr"));
    let input = async {
        if let Some(mut from) = from {
            while let Some(bytes) = from.receiver.receive().await {
                // A command that no longer reads may still write.
                if let Some(to) = &mut stdin
                    && to.write_all(&bytes).await.is_err()
                {
                    stdin = None;
                }
            }
            stdin = None;
        }
    };
    let resizing = async {
        let (Some(mut sizes), mut text) = (sizes, Vec::new()) else { return };
        while let Some(bytes) = sizes.receiver.receive().await {
            text.extend_from_slice(&bytes);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                if let Some((columns, rows)) = channel::size(&line) {
                    resize(columns, rows);
                }
            }
            if text.len() > MAX_SIZE {
                return;
            }
        }
    };
    let exit = {
        let never = async {
            tokio::join!(input, resizing);
            std::future::pending().await
        };
        tokio::select! {
            exit = outputs.copy(out.as_ref().map(|s| &s.sender), err.as_ref().map(|s| &s.sender)) => exit,
            exit = never => exit,
        }
    };
    for stream in [&mut out, &mut err].into_iter().flatten() {
        stream.sender.finish().await;
    }
    wanted.ended(exit)
}
