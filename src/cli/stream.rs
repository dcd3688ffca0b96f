//! A command's input and output over a WebSocket, in Kubernetes' sub-protocols `v5.channel.k8s.io` and, for servers
//! that know no better, `v4.channel.k8s.io`: the first byte of a message says whose it is.

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest as _};

use super::client::{Client, ClientError, Status};
use super::path::Query;
use super::{Failure, tty};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Only in v5: the channel in the next byte has ended.
const CLOSE: u8 = 255;

const V5: &str = "v5.channel.k8s.io";
const PROTOCOLS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";

/// What the user gives to the command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    pub stdin: bool,
    /// A terminal inside, and raw mode outside.
    pub tty: bool,
}

impl Wishes {
    /// As kubectl does: without a terminal at standard input there is none to hand on.
    pub fn new(stdin: bool, tty: bool) -> Self {
        if tty && stdin && !tty::stdin_is_terminal() {
            eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
            return Wishes { stdin, tty: false };
        }
        Wishes { stdin, tty }
    }

    /// The parameters of `exec` and `attach`.
    pub fn on(self, query: Query) -> Query {
        // A terminal mixes both outputs into one.
        let query = if self.tty { query.with("tty", "true") } else { query.with("stderr", "true") };
        let query = query.with("stdout", "true");
        if self.stdin { query.with("stdin", "true") } else { query }
    }
}

/// Opens the stream at `path`.
pub async fn open(client: &Client, path: &str) -> Result<Open, ClientError> {
    let (socket, protocol) = upgrade(client, path, PROTOCOLS, "opening a stream to the command").await?;
    Ok(Open { can_close: protocol == V5, socket, client: client.clone() })
}

/// A WebSocket to `path`, and the one of `protocols` that the API has chosen.
pub async fn upgrade(
    client: &Client,
    path: &str,
    protocols: &'static str,
    doing: &str,
) -> Result<(WebSocketStream<UnixStream>, String), ClientError> {
    let socket = client.connect().await?;
    let mut request = format!("ws://lab{path}").into_client_request().map_err(|e| client.broken(doing, e))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", hyper::header::HeaderValue::from_static(protocols));
    match tokio_tungstenite::client_async(request, socket).await {
        Ok((socket, response)) => {
            let protocol = response.headers().get("Sec-WebSocket-Protocol").and_then(|p| p.to_str().ok());
            let protocol = protocol.unwrap_or_default().to_string();
            Ok((socket, protocol))
        }
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(ClientError::Status(Status::from_body(response.status().as_u16(), body)))
        }
        Err(error) => Err(client.broken(doing, error)),
    }
}

/// A stream that nothing has been sent on yet.
#[derive(Debug)]
pub struct Open {
    socket: WebSocketStream<UnixStream>,
    can_close: bool,
    client: Client,
}

impl Open {
    /// Joins the user's terminal or pipes with the command until it ends; its exit code.
    pub async fn join(self, wishes: Wishes) -> Result<u8, Failure> {
        let raw = if wishes.tty && wishes.stdin { tty::RawMode::enter() } else { None };
        let (mut sink, mut source) = self.socket.split();
        let (client, can_close) = (self.client, self.can_close);
        let send = async {
            let mut resized = signal(SignalKind::window_change()).ok().filter(|_| wishes.tty);
            let mut input = wishes.stdin.then(tokio::io::stdin);
            let mut buffer = vec![0; 32 * 1024];
            if let Some(size) = resize_message(wishes) {
                let _ = sink.send(size).await;
            }
            loop {
                let message = tokio::select! {
                    Some(()) = next_resize(&mut resized) => match resize_message(wishes) {
                        Some(message) => message,
                        None => continue,
                    },
                    read = read_input(&mut input, &mut buffer) => match read {
                        0 => {
                            input = None;
                            if !can_close {
                                continue;
                            }
                            message(CLOSE, &[STDIN])
                        }
                        length => message(STDIN, buffer.get(..length).unwrap_or_default()),
                    },
                };
                // That the other side has gone is found out by whoever reads from it.
                if sink.send(message).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let receive = async {
            let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
            while let Some(frame) = source.next().await {
                let data = match frame {
                    Ok(Message::Binary(data)) => data,
                    Ok(Message::Text(text)) => Bytes::from(text),
                    Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => break,
                    Ok(_) => continue,
                    Err(error) => return Err(client.broken("reading the command's output", error).into()),
                };
                match (data.first(), data.get(1..).unwrap_or_default()) {
                    (Some(&STDOUT), bytes) => write_all(&mut out, bytes).await?,
                    (Some(&STDERR), bytes) => write_all(&mut err, bytes).await?,
                    (Some(&ERROR), bytes) => return exit_code(bytes),
                    _ => {}
                }
            }
            Ok(0)
        };
        let code = tokio::select! {
            code = receive => code,
            never = send => never,
        };
        drop(raw);
        code
    }
}

impl Open {
    /// Hands `input` to the command, which ends with it, and what the command writes to `output`; its errors go to
    /// standard error. The command's exit code.
    pub async fn exchange(
        self,
        mut input: Option<mpsc::Receiver<Bytes>>,
        output: mpsc::Sender<Bytes>,
    ) -> Result<u8, Failure> {
        let (mut sink, mut source) = self.socket.split();
        let client = self.client;
        let send = async {
            while let Some(input) = &mut input {
                let Some(bytes) = input.recv().await else {
                    let _ = sink.send(message(CLOSE, &[STDIN])).await;
                    break;
                };
                if sink.send(message(STDIN, &bytes)).await.is_err() {
                    break;
                }
            }
            std::future::pending().await
        };
        let receive = async {
            let mut err = tokio::io::stderr();
            while let Some(frame) = source.next().await {
                let data = match frame {
                    Ok(Message::Binary(data)) => data,
                    Ok(Message::Close(_)) => break,
                    Ok(_) => continue,
                    Err(error) => return Err(client.broken("reading the command's output", error).into()),
                };
                match (data.first(), data.slice(data.len().min(1)..)) {
                    // Whoever wanted it tells himself why he does not any more.
                    (Some(&STDOUT), bytes) => drop(output.send(bytes).await),
                    (Some(&STDERR), bytes) => write_all(&mut err, &bytes).await?,
                    (Some(&ERROR), bytes) => return exit_code(&bytes),
                    _ => {}
                }
            }
            Err(client.broken("running a command", "it ended without a word").into())
        };
        tokio::select! {
            code = receive => code,
            never = send => never,
        }
    }
}

/// Does not hold up the input when nobody reads the output.
async fn write_all(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Failure> {
    to.write_all(bytes).await?;
    Ok(to.flush().await?)
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut data = Vec::with_capacity(bytes.len() + 1);
    data.push(channel);
    data.extend_from_slice(bytes);
    Message::Binary(data.into())
}

fn resize_message(wishes: Wishes) -> Option<Message> {
    let (width, height) = tty::size().filter(|_| wishes.tty)?;
    Some(message(RESIZE, json!({"Width": width, "Height": height}).to_string().as_bytes()))
}

/// Never, without a terminal.
async fn next_resize(signals: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    match signals {
        Some(signals) => signals.recv().await,
        None => std::future::pending().await,
    }
}

/// 0 at the end of the input, once; then never again. Input that cannot be read has ended.
async fn read_input(input: &mut Option<tokio::io::Stdin>, buffer: &mut [u8]) -> usize {
    match input {
        Some(input) => input.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Reads the `Status` that ends a command: success is 0, `NonZeroExitCode` says which; all else is a failure of ours.
fn exit_code(status: &[u8]) -> Result<u8, Failure> {
    let Ok(json) = serde_json::from_slice::<Value>(status) else {
        let text = String::from_utf8_lossy(status);
        return Err(Failure::error(format!("the command's end cannot be read: {text}")));
    };
    if json.get("status").and_then(Value::as_str) == Some("Success") {
        return Ok(0);
    }
    let causes = json.pointer("/details/causes").and_then(Value::as_array).into_iter().flatten();
    let code = causes
        .filter(|cause| cause.get("reason").and_then(Value::as_str) == Some("ExitCode"))
        .find_map(|cause| cause.get("message").and_then(Value::as_str)?.parse::<i32>().ok());
    match code {
        Some(code) => Ok(u8::try_from(code & 0xff).unwrap_or(1)),
        None => Err(Failure::from(ClientError::Status(Status::from_json(&json)))),
    }
}

/// kubectl's last words about a command that failed, and its exit code as ours.
pub fn terminated(code: u8) -> Result<(), Failure> {
    match code {
        0 => Ok(()),
        code => Err(Failure::verbatim(format!("command terminated with exit code {code}")).code(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_end_is_its_exit_code() {
        assert_eq!(exit_code(br#"{"status": "Success"}"#), Ok(0));
        let failed = br#"{"status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated with non-zero exit code: 7",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}}"#;
        assert_eq!(exit_code(failed), Ok(7));
        let broken = br#"{"status": "Failure", "reason": "InternalError", "message": "exec: \"foo\": executable file not found in $PATH"}"#;
        assert_eq!(
            exit_code(broken).unwrap_err().to_string(),
            "Error from server (InternalError): exec: \"foo\": executable file not found in $PATH"
        );
    }
}
