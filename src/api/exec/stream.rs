//! Carries bytes between a WebSocket and a command until the command ends or the client is gone.

use std::os::fd::OwnedFd;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
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
    /// Who attaches learns that the container has ended; how it has, stands in the pod.
    pub code: bool,
}

impl Wanted {
    /// The last word about a command.
    pub fn ended(self, exit: Exit) -> Value {
        channel::ended(if self.code { exit } else { Exit { code: 0 } })
    }
}

/// How long a command's output may be silent after it has ended, when a process that it left behind holds the pipe open.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a client may take to say good-bye.
const GOODBYE: Duration = Duration::from_secs(2);
const BUFFER: usize = 32 << 10;

/// Where output goes to.
pub trait Outlet: Sync {
    /// False: nobody is there any more.
    fn send(&self, data: &[u8]) -> impl Future<Output = bool> + Send;
}

/// A channel of a WebSocket.
struct Channel(u8, mpsc::Sender<Message>);

impl Outlet for Channel {
    async fn send(&self, data: &[u8]) -> bool {
        self.1.send(channel::message(self.0, data)).await.is_ok()
    }
}

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
    // True when the last message is out, however slowly the client reads.
    let outgoing = async {
        while let Some(message) = messages.recv().await {
            let last = matches!(message, Message::Close(_));
            if sink.send(message).await.is_err() || last {
                return last;
            }
        }
        false
    };
    let command = async {
        let status = match session {
            Ok(session) => {
                let (input, outputs) = split(session, wanted);
                let (out, err) = (Channel(STDOUT, sender.clone()), Channel(STDERR, sender.clone()));
                let (out, err) = (wanted.stdout.then_some(&out), wanted.stderr.then_some(&err));
                tokio::select! {
                    exit = outputs.copy(out, err) => wanted.ended(exit),
                    () = incoming(&mut stream, input, protocol) => return,
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
        std::future::pending().await
    };
    let all_sent = tokio::select! {
        all_sent = outgoing => all_sent,
        () = command => false,
    };
    if all_sent {
        // The client's own close frame, or its end.
        let _ = tokio::time::timeout(GOODBYE, async { while let Some(Ok(_)) = stream.next().await {} }).await;
    }
}

/// What the client's messages go to.
pub struct Input {
    pub stdin: Option<fd::Input>,
    pub resize: Box<dyn Fn(u16, u16) + Send + Sync>,
}

/// What the command writes, and how it ends.
pub struct Outputs {
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    exit: oneshot::Receiver<Exit>,
}

pub fn split(session: Session, wanted: Wanted) -> (Input, Outputs) {
    let Session { stdin, stdout, stderr, resize, exit } = session;
    let stdin = stdin.filter(|_| wanted.stdin).and_then(|fd| fd::Input::new(fd).ok());
    (Input { stdin, resize }, Outputs { stdout, stderr, exit })
}

impl Outputs {
    /// Sends everything that the command writes to its end; what nobody wants is read all the same, so that the command
    /// does not block.
    pub async fn copy<O: Outlet>(self, out: Option<&O>, err: Option<&O>) -> Exit {
        let (over, ended) = watch::channel(false);
        let stdout = output(self.stdout, out, ended.clone());
        let stderr = async {
            if let Some(fd) = self.stderr {
                output(fd, err, ended.clone()).await;
            }
        };
        let exit = async {
            let exit = self.exit.await;
            over.send_replace(true);
            exit
        };
        let (exit, (), ()) = tokio::join!(exit, stdout, stderr);
        // Whoever ran it is gone: as if it had been killed.
        exit.unwrap_or(Exit { code: 137 })
    }
}

async fn output<O: Outlet>(fd: OwnedFd, to: Option<&O>, mut ended: watch::Receiver<bool>) {
    let Ok(mut source) = fd::Output::new(fd) else { return };
    let mut buffer = vec![0; BUFFER];
    loop {
        let silence = async {
            // An error: there is nobody left who could tell of the end.
            let _ = ended.wait_for(|ended| *ended).await;
            tokio::time::sleep(DRAIN).await;
        };
        let read = tokio::select! {
            biased;
            read = source.read(&mut buffer) => read,
            () = silence => return,
        };
        let Ok(count @ 1..) = read else { return };
        if let Some(to) = to
            && !to.send(buffer.get(..count).unwrap_or(&[])).await
        {
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
