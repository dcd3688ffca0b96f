//! `exec` and `attach` over WebSockets, with ordinary processes instead of containers.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use nslab::session::{Command, Exit, Family, Pod, Session, SessionError, Sessions, Target};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, UnixStream};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::{PATIENCE, Server, put};

#[derive(Default, Clone)]
pub struct Processes {
    asked: Arc<Mutex<Vec<String>>>,
    sizes: Arc<Mutex<Vec<(u16, u16)>>>,
}

impl Sessions for Processes {
    fn exec(&self, target: &Target, command: Command) -> Result<Session, SessionError> {
        self.asked.lock().unwrap().push(format!("{target:?} {:?}", command.argv));
        let (program, arguments) = command.argv.split_first().unwrap();
        let stdin = if command.stdin { Stdio::piped() } else { Stdio::null() };
        let mut process = Process::new(program);
        let spawned = process.args(arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|_| SessionError::CannotStart(format!("exec: \"{program}\": not found")))?;
        let (sender, exit) = oneshot::channel();
        let sizes = self.sizes.clone();
        let session = Session {
            stdin: child.stdin.take().map(Into::into),
            stdout: child.stdout.take().unwrap().into(),
            stderr: child.stderr.take().map(Into::into),
            resize: Box::new(move |columns, rows| sizes.lock().unwrap().push((columns, rows))),
            exit,
        };
        std::thread::spawn(move || {
            let code = child.wait().unwrap().code().unwrap_or(137);
            let _ = sender.send(Exit { code });
        });
        Ok(session)
    }

    fn attach(&self, target: &Target, stdin: bool) -> Result<Session, SessionError> {
        self.exec(target, Command { argv: ["sh", "-c", "cat; exit 3"].map(String::from).to_vec(), tty: false, stdin })
    }

    /// Pods have this machine's network.
    fn socket(&self, _: &Pod, family: Family) -> Result<OwnedFd, SessionError> {
        let socket = match family {
            Family::Ipv4 => TcpSocket::new_v4(),
            Family::Ipv6 => TcpSocket::new_v6(),
        };
        socket.and_then(|s| s.as_fd().try_clone_to_owned()).map_err(|e| SessionError::NotRunning(e.to_string()))
    }
}

pub fn server(sessions: &Processes) -> Server {
    let server = Server::with(sessions.clone());
    put(
        &server.store,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"nodeName": "w1", "containers": [{"name": "c"}, {"name": "d"}]}}),
    );
    put(
        &server.store,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "free", "namespace": "default"},
        "spec": {"containers": [{"name": "c"}]}}),
    );
    put(&server.store, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1"}}));
    server
}

async fn open(server: &Server, path: &str, protocol: &str) -> WebSocketStream<UnixStream> {
    let mut request = format!("ws://lab{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let (socket, response) = client_async(request, server.connect().await).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    socket
}

/// Everything that arrives, by channel, to the end.
async fn all(socket: &mut WebSocketStream<UnixStream>) -> (String, String, Value) {
    let (mut out, mut err, mut status) = (Vec::new(), Vec::new(), Value::Null);
    while let Some(message) = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the end in time") {
        match message.unwrap() {
            Message::Binary(data) => match data[0] {
                1 => out.extend_from_slice(&data[1..]),
                2 => err.extend_from_slice(&data[1..]),
                3 => status = serde_json::from_slice(&data[1..]).unwrap(),
                other => panic!("channel {other}"),
            },
            Message::Close(_) => {}
            other => panic!("{other:?}"),
        }
    }
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), status)
}

fn to(channel: u8, data: &[u8]) -> Message {
    Message::Binary([&[channel], data].concat().into())
}

const V5: &str = "v5.channel.k8s.io";
const EXEC: &str = "/api/v1/namespaces/default/pods/p/exec?container=c&stdout=true&stderr=true";

#[tokio::test]
async fn output_and_exit_code_arrive_on_their_channels() {
    let sessions = Processes::default();
    let server = server(&sessions);
    let script = "command=sh&command=-c&command=echo%20out;%20echo%20err%20%3E%262;%20exit%203";
    let mut socket = open(&server, &format!("{EXEC}&{script}"), "v4.channel.k8s.io").await;
    let (out, err, status) = all(&mut socket).await;
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    assert_eq!((&status["status"], &status["reason"]), (&json!("Failure"), &json!("NonZeroExitCode")));
    assert_eq!(status["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
    let asked = sessions.asked.lock().unwrap().join("");
    assert!(asked.contains("node: \"w1\"") && asked.contains("container: \"c\""), "{asked}");
}

#[tokio::test]
async fn input_reaches_the_command_and_its_end_too() {
    let server = server(&Processes::default());
    let mut socket = open(&server, &format!("{EXEC}&stdin=true&command=cat"), V5).await;
    let large = "x".repeat(300_000);
    socket.send(to(0, b"hello\n")).await.unwrap();
    socket.send(to(0, large.as_bytes())).await.unwrap();
    socket.send(to(255, &[0])).await.unwrap();
    let (out, _, status) = all(&mut socket).await;
    assert!(out == format!("hello\n{large}"), "{} bytes came back", out.len());
    assert_eq!(status["status"], "Success");
}

#[tokio::test]
async fn sizes_are_handed_on() {
    let sessions = Processes::default();
    let server = server(&sessions);
    let mut socket = open(&server, &format!("{EXEC}&stdin=true&command=cat"), V5).await;
    socket.send(to(4, br#"{"Width":80,"Height":24}"#)).await.unwrap();
    socket.send(to(255, &[0])).await.unwrap();
    all(&mut socket).await;
    assert_eq!(*sessions.sizes.lock().unwrap(), [(80, 24)]);
}

#[tokio::test]
async fn a_command_that_cannot_start_says_so_on_the_error_channel() {
    let server = server(&Processes::default());
    let mut socket = open(&server, &format!("{EXEC}&command=no-such-program"), V5).await;
    let (_, _, status) = all(&mut socket).await;
    assert_eq!(status["reason"], "InternalError");
    assert!(status["message"].as_str().unwrap().ends_with("exec: \"no-such-program\": not found"), "{status}");
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_commands_input() {
    let sessions = Processes::default();
    let server = server(&sessions);
    let file = std::env::temp_dir().join(format!("nslab-left-{}", std::process::id()));
    let script = format!("command=sh&command=-c&command=cat;%20echo%20done%20%3E%20{}", file.display());
    let mut socket = open(&server, &format!("{EXEC}&stdin=true&{script}"), V5).await;
    socket.send(to(0, b"hello\n")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), to(1, b"hello\n"));
    drop(socket);
    let written = async {
        while !std::fs::read_to_string(&file).is_ok_and(|text| text == "done\n") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, written).await;
    let _ = std::fs::remove_file(&file);
    assert!(in_time.is_ok(), "cat did not see the end of its input");
}

#[tokio::test]
async fn nodes_run_commands_and_pods_are_attached_to() {
    let sessions = Processes::default();
    let server = server(&sessions);
    let path = "/apis/nslab.dev/v1alpha1/nodes/w1/exec?command=echo&command=here&stdout=true";
    assert_eq!(all(&mut open(&server, path, V5).await).await.0, "here\n");
    let path = "/api/v1/namespaces/default/pods/p/attach?container=d&stdin=true&stdout=true";
    let mut socket = open(&server, path, V5).await;
    socket.send(to(0, b"ping")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), to(1, b"ping"));
    socket.send(to(255, &[0])).await.unwrap();
    // How a container ended stands in the pod; kubectl takes a code for a stream that broke.
    assert_eq!(all(&mut socket).await.2["status"], "Success");
    let asked = sessions.asked.lock().unwrap().clone();
    assert!(asked[0].starts_with("Node { name: \"w1\" }") && asked[1].contains("container: \"d\""), "{asked:?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_an_ordinary_answer() {
    let server = server(&Processes::default());
    for (path, code, message) in [
        (
            "/api/v1/namespaces/default/pods/p/exec?command=x&stdout=true",
            400,
            "a container name must be specified for pod p, choose one of: [c d]",
        ),
        (
            "/api/v1/namespaces/default/pods/p/exec?command=x&stdout=true&container=z",
            400,
            "container z is not valid for pod p",
        ),
        ("/api/v1/namespaces/default/pods/none/exec?command=x&stdout=true", 404, "pods \"none\" not found"),
        (
            "/api/v1/namespaces/default/pods/free/exec?command=x&stdout=true",
            400,
            "pod free does not have a host assigned",
        ),
        ("/apis/nslab.dev/v1alpha1/nodes/w9/exec?command=x&stdout=true", 404, "nodes \"w9\" not found"),
        (
            "/api/v1/namespaces/default/pods/p/exec?container=c&stdout=true",
            400,
            "you must specify at least one command for the container",
        ),
    ] {
        let answer = server.post(path, json!({})).await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (code, Some(message)), "{path}");
    }
    let plain = server.post(&format!("{EXEC}&command=x"), json!({})).await;
    assert!(plain.body["message"].as_str().unwrap().contains("Upgrade request required"));
}
