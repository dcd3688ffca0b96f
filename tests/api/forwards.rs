//! `portforward` in its three forms, and `exec` over SPDY, against servers of this process.

use futures_util::{SinkExt, StreamExt};
use nslab::object::{Object, Write, write::Part};
use nslab::spdy::{self, Connection, Headers, Side, Stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::{PATIENCE, Server};
use crate::sessions::{Processes, server};

const PATH: &str = "/api/v1/namespaces/default/pods/p/portforward";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Answers with what it was sent, once that has ended; its port.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                stream.write_all(&all).await.unwrap();
            });
        }
    });
    port
}

/// A port of which nobody listens at 127.0.0.1.
async fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn websocket(server: &Server, path: &str, protocol: &str) -> WebSocketStream<UnixStream> {
    let mut request = format!("ws://lab{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let (socket, response) = client_async(request, server.connect().await).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    socket
}

async fn tunnel(server: &Server) -> (Connection, JoinHandle<()>) {
    let (source, sink) = spdy::websocket(websocket(server, PATH, TUNNEL).await);
    let (connection, _, driver) = spdy::connect(source, sink, Side::Client).unwrap();
    (connection, tokio::spawn(async move { drop(driver.await) }))
}

/// SPDY without a WebSocket, as kubectl spoke it before 1.31.
async fn old(server: &Server, path: &str, protocol: &str) -> (Connection, JoinHandle<()>) {
    let mut stream = server.connect().await;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: lab\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\
         X-Stream-Protocol-Version: v9.channel.k8s.io\r\nX-Stream-Protocol-Version: {protocol}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(soon(stream.read_u8()).await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("upgrade: spdy/3.1"), "{answer}");
    assert!(answer.contains(&format!("x-stream-protocol-version: {protocol}").to_lowercase()), "{answer}");
    let (source, sink) = spdy::bytes(stream);
    let (connection, _, driver) = spdy::connect(source, sink, Side::Client).unwrap();
    (connection, tokio::spawn(async move { drop(driver.await) }))
}

/// The data and the error stream of a new connection.
async fn dial(connection: &Connection, port: u16, request: &str) -> (Stream, Stream) {
    let headers = |kind| Headers::new([("streamType", kind), ("port", &port.to_string()), ("requestID", request)]);
    let mut error = connection.open(&headers("error")).await.unwrap();
    error.sender.finish().await;
    (connection.open(&headers("data")).await.unwrap(), error)
}

async fn rest(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = soon(stream.receiver.receive()).await {
        all.extend_from_slice(&bytes);
    }
    all
}

#[tokio::test]
async fn connections_go_through_one_tunnel_side_by_side() {
    let server = server(&Processes::default());
    let port = echo().await;
    let (connection, _driver) = tunnel(&server).await;
    let mut forwards = tokio::task::JoinSet::new();
    for number in 0..20u8 {
        let connection = connection.clone();
        forwards.spawn(async move {
            let (data, mut error) = dial(&connection, port, &number.to_string()).await;
            let sent = vec![number; 200_000 + usize::from(number)];
            let Stream { mut receiver, mut sender, .. } = data;
            sender.send(&sent).await.unwrap();
            // The server answers at the end of what it is sent: it must come through by itself.
            sender.finish().await;
            let mut got = Vec::new();
            while let Some(bytes) = soon(receiver.receive()).await {
                got.extend_from_slice(&bytes);
            }
            assert!(got == sent, "{} of {} bytes came back", got.len(), sent.len());
            assert_eq!(rest(&mut error).await, b"");
        });
    }
    while let Some(done) = soon(forwards.join_next()).await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_refused_connection_is_told_and_the_others_go_on() {
    let server = server(&Processes::default());
    let port = echo().await;
    let closed = nobody().await;
    for way in ["tunnel", "old"] {
        let (connection, _driver) = match way {
            "tunnel" => tunnel(&server).await,
            _ => old(&server, PATH, "portforward.k8s.io").await,
        };
        let (mut data, mut error) = dial(&connection, closed, "0").await;
        let said = String::from_utf8(rest(&mut error).await).unwrap();
        assert!(said.starts_with(&format!("error forwarding port {closed} to pod p_default, uid ")), "{said}");
        assert!(said.contains(&format!("dial tcp4 127.0.0.1:{closed}: connect: connection refused")), "{said}");
        assert_eq!(rest(&mut data).await, b"");
        let (mut data, _error) = dial(&connection, port, "1").await;
        data.sender.send(b"hello").await.unwrap();
        data.sender.finish().await;
        assert_eq!(rest(&mut data).await, b"hello");
    }
}

#[tokio::test]
async fn streams_that_make_no_sense_are_reset() {
    let server = server(&Processes::default());
    let (connection, _driver) = tunnel(&server).await;
    for headers in [
        Headers::new([("streamType", "data")]),
        Headers::new([("streamType", "data"), ("port", "0")]),
        Headers::new([("streamType", "data"), ("port", "70000")]),
        Headers::new([("streamType", "video"), ("port", "80")]),
    ] {
        let mut stream = connection.open(&headers).await.unwrap();
        assert_eq!(soon(stream.receiver.receive()).await, None, "{headers:?}");
        assert!(stream.receiver.was_reset());
    }
}

#[tokio::test]
async fn the_forward_ends_with_the_pod() {
    let server = server(&Processes::default());
    let port = echo().await;
    let (connection, driver) = tunnel(&server).await;
    let (mut data, _error) = dial(&connection, port, "0").await;
    data.sender.send(b"x").await.unwrap();
    let channels = format!("{PATH}?ports={port}");
    let mut channels = websocket(&server, &channels, "v4.channel.k8s.io").await;
    let key = nslab::object::Key::new(&nslab::object::kind::POD, "default", "p");
    let mut pod: Object = (*server.store.get(&key).unwrap()).clone();
    pod.json_mut().insert("status".into(), json!({"phase": "Failed"}));
    server.store.write(Write::Update(pod, Part::All)).unwrap();
    soon(driver).await.unwrap();
    assert_eq!(soon(data.receiver.receive()).await, None);
    while let Some(Ok(_)) = soon(channels.next()).await {}
}

#[tokio::test]
async fn channels_carry_a_connection_a_port() {
    let server = server(&Processes::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, closed) = (listener.local_addr().unwrap().port(), nobody().await);
    let mut socket = websocket(&server, &format!("{PATH}?ports={port},{closed}"), "v4.channel.k8s.io").await;
    let (mut inside, _) = soon(listener.accept()).await.unwrap();
    socket.send(Message::Binary([&[0], &b"ping"[..]].concat().into())).await.unwrap();
    let mut got = [0; 4];
    soon(inside.read_exact(&mut got)).await.unwrap();
    assert_eq!(&got, b"ping");
    inside.write_all(b"pong").await.unwrap();
    drop(inside);
    let mut channels = vec![Vec::new(); 4];
    while let Some(message) = soon(socket.next()).await {
        if let Message::Binary(data) = message.unwrap() {
            channels[usize::from(data[0])].extend_from_slice(&data[1..]);
        }
    }
    let [port, closed] = [port, closed].map(u16::to_le_bytes);
    assert_eq!(channels[0], [&port, &b"pong"[..]].concat());
    assert_eq!((&channels[1][..], &channels[2][..]), (&port[..], &closed[..]));
    assert!(channels[3].starts_with(&closed));
    assert!(String::from_utf8_lossy(&channels[3]).contains("connection refused"));
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_an_ordinary_answer() {
    let server = server(&Processes::default());
    for (path, code, message) in [
        ("none/portforward", 404, "pods \"none\" not found"),
        ("free/portforward", 400, "pod free does not have a host assigned"),
        ("p/portforward", 400, "Upgrade request required"),
    ] {
        let answer = server.post(&format!("/api/v1/namespaces/default/pods/{path}"), json!({})).await;
        let said = answer.body["message"].as_str().unwrap();
        assert!(answer.code == code && said.contains(message), "{path}: {} {said}", answer.code);
    }
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (query, protocol, code, message) in [
        ("", "v4.channel.k8s.io", 400, "query parameter \"ports\" is required"),
        ("?ports=0", "v4.channel.k8s.io", 400, "unable to parse \"0\" as a port"),
        ("?ports=80", "v9.channel.k8s.io", 403, "unable to negotiate protocol"),
    ] {
        let headers = [&upgrade[..], &[("sec-websocket-protocol", protocol)]].concat();
        let answer = server.send(hyper::Method::GET, &format!("{PATH}{query}"), &headers, Vec::new()).await;
        let said = answer.body["message"].as_str().unwrap();
        assert!(answer.code == code && said.contains(message), "{query}: {} {said}", answer.code);
    }
}

#[tokio::test]
async fn commands_run_over_spdy_streams() {
    let sessions = Processes::default();
    let server = server(&sessions);
    let script = "command=sh&command=-c&command=cat;%20echo%20err%20%3E%262;%20exit%203";
    let path =
        format!("/api/v1/namespaces/default/pods/p/exec?container=c&stdin=true&stdout=true&stderr=true&{script}");
    let (connection, driver) = old(&server, &path, "v4.channel.k8s.io").await;
    let mut streams = Vec::new();
    for kind in ["error", "stdin", "stdout", "stderr"] {
        streams.push(connection.open(&Headers::new([("streamType", kind)])).await.unwrap());
    }
    let [error, stdin, out, err] = &mut streams[..] else { panic!() };
    let large = vec![b'x'; 300_000];
    let (sent, got) = tokio::join!(
        async {
            stdin.sender.send(&large).await.unwrap();
            stdin.sender.finish().await;
        },
        rest(out)
    );
    let () = sent;
    assert!(got == large, "{} bytes came back", got.len());
    assert_eq!(rest(err).await, b"err\n");
    let status: Value = serde_json::from_slice(&rest(error).await).unwrap();
    assert_eq!(status["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
    drop(streams);
    soon(driver).await.unwrap();
}
