//! Carries bytes between a WebSocket and a command until the command ends or the client is gone.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::channel::{self, CLOSE, ERROR, Protocol, RESIZE, STDERR, STDIN, STDOUT};
use super::fd;
use crate::session::{Exit, Session, SessionError};

/// What a client wants of the command's streams.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// How long output may still come after the command has ended: a process it left behind may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a client may take to say good-bye.
const GOODBYE: Duration = Duration::from_secs(2);
const BUFFER: usize = 32 << 10;

pub async fn carry<S>(
    socket: WebSocketStream<S>,
    protocol: Protocol,
    wanted: Wanted,
    session: Result<Session, SessionError>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let (sender, mut messages) = mpsc::channel::<Message>(16);
    let outgoing = async move {
        while let Some(message) = messages.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    };
    let command = async {
        let status = match session {
            Ok(session) => {
                let (stdin, command) = split(session, wanted, &sender);
                tokio::select! {
                    exit = command => channel::ended(exit),
                    () = incoming(&mut stream, stdin, protocol) => return,
                }
            }
            Err(error) => channel::failed(&error),
        };
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        for message in [channel::message(ERROR, status.to_string().as_bytes()), Message::Close(Some(normal))] {
            if sender.send(message).await.is_err() {
                return;
            }
        }
        // The client's own close frame, or its end.
        let _ = tokio::time::timeout(GOODBYE, async { while let Some(Ok(_)) = stream.next().await {} }).await;
    };
    tokio::select! {
        () = outgoing => {}
        () = command => {}
    }
}

/// What the client's messages go to.
struct Input {
    stdin: Option<fd::Input>,
    resize: Box<dyn Fn(u16, u16) + Send + Sync>,
}

fn split(session: Session, wanted: Wanted, sender: &mpsc::Sender<Message>) -> (Input, impl Future<Output = Exit>) {
    let Session { stdin, stdout, stderr, resize, exit } = session;
    let stdin = stdin.filter(|_| wanted.stdin).and_then(|fd| fd::Input::new(fd).ok());
    let out = output(stdout, STDOUT, wanted.stdout, sender.clone());
    let err = stderr.map(|fd| output(fd, STDERR, wanted.stderr, sender.clone()));
    let command = async move {
        let outputs = async {
            match err {
                Some(err) => drop(tokio::join!(out, err)),
                None => out.await,
            }
        };
        tokio::pin!(outputs);
        let mut exit = exit;
        let exit = tokio::select! {
            () = &mut outputs => exit.await,
            exit = &mut exit => {
                let _ = tokio::time::timeout(DRAIN, outputs).await;
                exit
            }
        };
        // Whoever ran it is gone: as if it had been killed.
        exit.unwrap_or(Exit { code: 137 })
    };
    (Input { stdin, resize }, command)
}

/// Sends what the command writes; reads on when nobody wants it, so that the command does not block.
async fn output(fd: OwnedFd, channel: u8, wanted: bool, sender: mpsc::Sender<Message>) {
    let Ok(mut source) = fd::Output::new(fd) else { return };
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = source.read(&mut buffer).await {
        let data = buffer.get(..count).unwrap_or(&[]);
        if wanted && sender.send(channel::message(channel, data)).await.is_err() {
            return;
        }
    }
}

/// Returns when the client is gone.
async fn incoming<S>(stream: &mut S, mut input: Input, protocol: Protocol)
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    while let Some(Ok(message)) = stream.next().await {
        let data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => text.into(),
            Message::Close(_) => return,
            _ => continue,
        };
        match data.split_first() {
            Some((&STDIN, data)) => {
                // A command that no longer reads may still write.
                if let Some(stdin) = &mut input.stdin
                    && stdin.write_all(data).await.is_err()
                {
                    input.stdin = None;
                }
            }
            Some((&RESIZE, data)) => {
                if let Some((columns, rows)) = channel::size(data) {
                    (input.resize)(columns, rows);
                }
            }
            Some((&CLOSE, [STDIN])) if protocol == Protocol::V5 => input.stdin = None,
            _ => {}
        }
    }
}
