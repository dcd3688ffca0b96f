//! Names of the world outside, asked for at the nameservers that this machine's own `/etc/resolv.conf` names.
//!
//! The lab has no way out. Its DNS server hands such questions over to the API, and they are asked here, in the machine's
//! own network: so nothing has to be opened for them, and a resolver on the machine's loopback serves as well.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::base::name::{ToLabelIter, ToName};
use domain::base::{Message, Name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::object::lab::Lab;
use crate::plan;
use crate::store::Store;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// As the C library, which uses no more than these.
const MOST_SERVERS: usize = 3;
/// Questions under way. Each holds a socket.
const MOST_AT_ONCE: usize = 128;
/// For one server to answer. Two of these are less than the five seconds after which clients ask again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a server that did not answer is left alone, so that not every question waits for it.
const PAUSE: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ResolveError {
    #[error("read the question: it is no DNS query with one question")]
    NoQuery,
    #[error("{0} is the lab's own: only its DNS server can know it")]
    Own(String),
    #[error("{RESOLV_CONF} of this machine names no nameserver")]
    NoServer,
    #[error("too many questions are under way ({MOST_AT_ONCE})")]
    Busy,
    #[error("no answer from this machine's resolver ({0})")]
    Silent(String),
}

pub struct Resolver {
    store: Arc<Store>,
    resolv_conf: PathBuf,
    port: u16,
    patience: Duration,
    /// What is known of servers that have been asked.
    known: Mutex<HashMap<SocketAddr, Known>>,
    places: Semaphore,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    heard: Option<Instant>,
    left_alone_until: Option<Instant>,
}

impl Resolver {
    /// For the lab in this store: its own names and addresses are never asked for outside.
    pub fn new(store: Arc<Store>) -> Self {
        Self::with(store, Path::new(RESOLV_CONF), PORT, PATIENCE)
    }

    fn with(store: Arc<Store>, resolv_conf: &Path, port: u16, patience: Duration) -> Self {
        let (resolv_conf, places) = (resolv_conf.to_path_buf(), Semaphore::new(MOST_AT_ONCE));
        Resolver { store, resolv_conf, port, patience, known: Mutex::default(), places }
    }

    /// The reply to a query, both as they are on the wire; over TCP where it is too long for a datagram.
    pub async fn ask(&self, query: &[u8]) -> Result<Vec<u8>, ResolveError> {
        let query = Message::from_octets(query.to_vec()).map_err(|_| ResolveError::NoQuery)?;
        let question = query.sole_question().map_err(|_| ResolveError::NoQuery)?;
        if query.header().qr() {
            return Err(ResolveError::NoQuery);
        }
        let lab = plan::lab_of(&self.store.snapshot()).map(|(lab, _)| lab).unwrap_or_default();
        let name = question.qname().to_vec();
        if is_of(&lab, &name) {
            return Err(ResolveError::Own(name.to_string()));
        }
        let _place = self.places.try_acquire().map_err(|_| ResolveError::Busy)?;
        // Read each time: a machine gets another one with another network.
        let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
        let servers = servers(&text, &lab);
        if servers.is_empty() {
            return Err(ResolveError::NoServer);
        }
        let mut asked = query.clone();
        // Somebody who guesses the id must not be able to answer in the server's place.
        asked.header_mut().set_id(rand::random());
        for server in servers.iter().map(|address| SocketAddr::new(*address, self.port)) {
            if let Some(mut answer) = self.ask_one(server, &asked).await {
                answer.header_mut().set_id(query.header().id());
                return Ok(answer.into_octets());
            }
        }
        Err(ResolveError::Silent(servers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")))
    }

    async fn ask_one(&self, server: SocketAddr, query: &Message<Vec<u8>>) -> Option<Message<Vec<u8>>> {
        let began = Instant::now();
        if self.known(server, |known| known.left_alone_until.is_some_and(|until| began < until)) {
            return None;
        }
        let answer = timeout(self.patience, exchange(server, query)).await.ok().and_then(Result::ok);
        self.known(server, |known| match answer {
            Some(_) => known.heard = Some(Instant::now()),
            // One that has answered others meanwhile only has trouble with this name.
            None if known.heard.is_none_or(|heard| heard < began) => {
                known.left_alone_until = Some(Instant::now() + PAUSE);
            }
            None => {}
        });
        answer
    }

    fn known<T>(&self, server: SocketAddr, look: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // What other files named once is not worth the memory.
        if known.len() > 2 * MOST_SERVERS {
            known.clear();
        }
        look(known.entry(server).or_default())
    }
}

/// As the C library reads them. A server in the lab's own network is none for this purpose: it would ask back.
fn servers(resolv_conf: &str, lab: &Lab) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        address.parse::<IpAddr>().ok().filter(|address| !is_inside(lab, *address))
    };
    resolv_conf.lines().filter_map(address).take(MOST_SERVERS).collect()
}

/// An address of a pod, a Service or a node. Others on the nodes' network may well be the machine's.
fn is_inside(lab: &Lab, address: IpAddr) -> bool {
    let mut subnets = lab.networking.pod_subnet.iter().chain(lab.networking.service_subnet.iter());
    subnets.any(|subnet| subnet.contains(&address))
        || lab.complete_nodes().unwrap_or_default().iter().any(|node| node.addresses.contains(&address))
}

/// A name below `cluster.local`, or what spells an address of the lab.
fn is_of(lab: &Lab, name: &Name<Vec<u8>>) -> bool {
    let labels = name.iter_labels().filter(|label| !label.is_root());
    let labels: Vec<String> = labels.map(|l| String::from_utf8_lossy(l.as_slice()).to_ascii_lowercase()).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    match labels.as_slice() {
        [.., "cluster", "local"] => true,
        [parts @ .., "in-addr", "arpa"] => {
            let mut octets = parts.iter().rev().map(|part| part.parse::<u8>().unwrap_or_default());
            let address = [(); 4].map(|()| octets.next().unwrap_or_default());
            is_inside(lab, IpAddr::from(address))
        }
        [parts @ .., "ip6", "arpa"] => {
            let mut digits = parts.iter().rev().map(|part| u128::from_str_radix(part, 16).unwrap_or_default() & 0xf);
            let address = (0..32).fold(0u128, |address, _| address << 4 | digits.next().unwrap_or_default());
            is_inside(lab, IpAddr::from(address.to_be_bytes()))
        }
        _ => false,
    }
}

async fn exchange(server: SocketAddr, query: &Message<Vec<u8>>) -> io::Result<Message<Vec<u8>>> {
    let answer = over_udp(server, query).await?;
    if answer.header().tc() {
        // A part is better than nothing, where the server does not take connections.
        return Ok(over_tcp(server, query).await.unwrap_or(answer));
    }
    Ok(answer)
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
    let length = u16::try_from(query.as_slice().len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    answer_to(query, &answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn answer_to(query: &Message<Vec<u8>>, bytes: &[u8]) -> Option<Message<Vec<u8>>> {
    let answer = Message::from_octets(bytes.to_vec()).ok()?;
    answer.is_answer(query).then_some(answer)
}

#[cfg(test)]
mod tests;
