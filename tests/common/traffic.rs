//! Servers and clients in network namespaces: threads over sockets that were opened there.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::Netns;

/// Long enough for any answer that comes; short enough to wait for one that does not.
const PATIENCE: Duration = Duration::from_millis(800);

/// What a server told its client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The name of the server's namespace.
    pub server: String,
    /// The client as the server saw it.
    pub client: IpAddr,
}

/// How a connection ended that brought no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Refused,
    /// The machine's own rules do not let it out.
    Forbidden,
    /// Nothing came back.
    Silence,
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            ErrorKind::PermissionDenied => Failure::Forbidden,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Failure::Silence,
            _ => Failure::Other(error.to_string()),
        }
    }
}

/// Answers each TCP connection and each UDP datagram to `port` with the namespace's name and the client's address, for
/// as long as the test program runs.
pub fn serve(netns: &Netns, port: u16) {
    let sockets = netns.run(|| {
        let listener = TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, port)).expect("a TCP socket");
        // Datagrams are answered from the address they came to only if the socket is bound to it or has just one.
        let datagrams = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).expect("a UDP socket");
        (listener, datagrams)
    });
    let (listener, datagrams) = sockets;
    let name = netns.name.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(client) = stream.peer_addr() else { continue };
            let _ = (&stream).write_all(format!("{name} {}", client.ip().to_canonical()).as_bytes());
        }
    });
    let name = netns.name.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, client)) = datagrams.recv_from(&mut buffer) {
            let _ = datagrams.send_to(format!("{name} {}", client.ip()).as_bytes(), client);
        }
    });
}

/// One connection from the calling thread's namespace.
pub fn connect(to: SocketAddr) -> Result<Answer, Failure> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse(&text)
}

/// A UDP socket in `netns` that sends to one place.
pub fn dial(netns: &Netns, to: SocketAddr) -> UdpSocket {
    netns.run(|| {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).expect("a UDP socket");
        socket.connect(to).expect("a route");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    })
}

/// One datagram and the answer to it.
pub fn ask(socket: &UdpSocket) -> Result<Answer, Failure> {
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    parse(&String::from_utf8_lossy(&buffer[..length]))
}

fn parse(text: &str) -> Result<Answer, Failure> {
    let answer = text
        .split_once(' ')
        .and_then(|(server, client)| Some(Answer { server: server.to_string(), client: client.parse().ok()? }));
    answer.ok_or_else(|| Failure::Other(format!("answered \"{text}\"")))
}
