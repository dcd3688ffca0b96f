//! Names of the world outside: asked for at the servers in the pod's `/etc/resolv.conf`, which are the machine's.
//!
//! A lab often has no way out. Then the answer is SERVFAIL at once, or after one wait when packets vanish on the way:
//! a server that cannot be reached is left alone for a while.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use domain::base::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::message::Transport;

const PORT: u16 = 53;
/// As the C library, which uses no more than these.
const MOST_SERVERS: usize = 3;
const MOST_AT_ONCE: usize = 512;
/// For one server to answer. Two of these are less than the five seconds after which clients ask again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a server that cannot be reached is left alone. Asking it all the time would make the routers on the way,
/// which say so at most once a second, fall silent, and every client wait.
const PAUSE: Duration = Duration::from_secs(3);

pub struct Forwarder {
    servers: Vec<Server>,
    places: Semaphore,
}

struct Server {
    address: SocketAddr,
    left_alone_until: Cell<Option<Instant>>,
    /// When it last answered.
    heard: Cell<Option<Instant>>,
}

impl Forwarder {
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        let server = |address| Server { address, left_alone_until: Cell::default(), heard: Cell::default() };
        Forwarder {
            servers: servers.into_iter().take(MOST_SERVERS).map(server).collect(),
            places: Semaphore::new(MOST_AT_ONCE),
        }
    }

    /// The servers that `/etc/resolv.conf` names, save for those on the pod's own loopback: that would be this one.
    pub fn of_resolv_conf(text: &str) -> Self {
        let address = |line: &str| {
            let mut words = line.split_whitespace();
            let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
            address.parse::<IpAddr>().ok().filter(|address| !address.is_loopback() && !address.is_unspecified())
        };
        Self::new(text.lines().filter_map(address).map(|address| SocketAddr::new(address, PORT)))
    }

    /// The reply to `query`, with its id. `None`: nobody answered.
    pub async fn ask(&self, query: &Message<Vec<u8>>, transport: Transport) -> Option<Message<Vec<u8>>> {
        let _place = self.places.try_acquire().ok()?;
        let mut asked = query.clone();
        // Somebody who guesses the id must not be able to answer in the server's place.
        asked.header_mut().set_id(rand::random());
        for server in self.servers.iter().filter(|server| !server.is_left_alone()) {
            if let Some(mut answer) = server.ask(&asked, transport).await {
                answer.header_mut().set_id(query.header().id());
                return Some(answer);
            }
        }
        None
    }
}

impl Server {
    fn is_left_alone(&self) -> bool {
        self.left_alone_until.get().is_some_and(|until| Instant::now() < until)
    }

    async fn ask(&self, query: &Message<Vec<u8>>, transport: Transport) -> Option<Message<Vec<u8>>> {
        let began = Instant::now();
        let exchange = async {
            match transport {
                Transport::Udp => over_udp(self.address, query).await.ok(),
                Transport::Tcp => over_tcp(self.address, query).await.ok(),
            }
        };
        let first_contact = self.heard.get().is_none();
        let answer = timeout(PATIENCE, async {
            tokio::select! {
                answer = exchange => answer,
                () = unreachable(self.address), if first_contact => None,
            }
        });
        let answer = answer.await.ok().flatten();
        if answer.is_some() {
            self.heard.set(Some(Instant::now()));
        } else if self.heard.get().is_none_or(|heard| heard < began) {
            // One that has answered others meanwhile only has trouble with this name.
            self.left_alone_until.set(Some(Instant::now() + PAUSE));
        }
        answer
    }
}

/// Returns when it is known that no packet gets to `server`. A datagram's sender is not told so, who connects is.
async fn unreachable(server: SocketAddr) {
    match TcpStream::connect(server).await.map_err(|error| error.kind()) {
        Err(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {}
        // It is there, whether or not it takes connections.
        _ => std::future::pending().await,
    }
}

async fn over_udp(server: SocketAddr, query: &Message<Vec<u8>>) -> io::Result<Message<Vec<u8>>> {
    let local: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(server).await?;
    socket.send(query.as_slice()).await?;
    let mut buffer = vec![0; 65535];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Anything else is no answer, and may be forged.
        if let Some(answer) = answer_to(query, buffer.get(..length).unwrap_or_default()) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &Message<Vec<u8>>) -> io::Result<Message<Vec<u8>>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&framed(query.as_slice())?).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    answer_to(query, &answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn answer_to(query: &Message<Vec<u8>>, bytes: &[u8]) -> Option<Message<Vec<u8>>> {
    let answer = Message::from_octets(bytes.to_vec()).ok()?;
    answer.is_answer(query).then_some(answer)
}

/// With its length before it, as it is sent over TCP.
pub fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok([&length.to_be_bytes(), message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_c_library_reads_them() {
        let text = "# made\nnameserver 192.0.2.1\nnameserver 127.0.0.53\nsearch nameserver 192.0.2.9\n\
                    nameserver\t2001:db8::1 # two\nnameserver x\nnameserver\n;nameserver 192.0.2.8\n\
                    nameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let forwarder = Forwarder::of_resolv_conf(text);
        let servers: Vec<String> = forwarder.servers.iter().map(|server| server.address.to_string()).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
    }
}
