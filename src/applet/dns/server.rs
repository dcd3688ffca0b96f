//! Questions in, replies out, over UDP and TCP. What the cluster's data answers is answered at once; what has to be
//! asked for elsewhere holds nothing else up.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::name::ToName;
use domain::base::{Message, MessageBuilder, ParsedName, Record};
use domain::rdata::{AllRecordData, Cname, ZoneRecordData};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::{Answer, End, Entry, Name, answer};
use super::cluster::Cluster;
use super::forward::Forwarder;
use super::message::{self, Incoming, Reply, Request, Transport};
use super::missing::Missing;

/// More clients over TCP than this wait in the backlog.
const MOST_CONNECTIONS: usize = 256;
/// How long a connection may be silent, and a client may take to read.
const IDLE: Duration = Duration::from_secs(10);

pub struct Server {
    pub cluster: RefCell<Cluster>,
    pub forwarder: Forwarder,
    pub missing: Rc<Missing>,
}

/// What is to be done about a request.
enum Step {
    Reply(Vec<u8>),
    /// The rest of the answer is elsewhere.
    Ask(Box<Request>, Vec<Entry>, Name),
    Nothing,
}

impl Server {
    fn step(&self, bytes: &[u8], transport: Transport) -> Step {
        let request = match message::read(bytes, transport) {
            Incoming::Question(request) => request,
            Incoming::Refused(reply) => return Step::Reply(reply),
            Incoming::Nothing => return Step::Nothing,
        };
        let Answer { answers, extra, end } = answer(&self.cluster.borrow(), &request.name, request.qtype);
        let (rcode, authority) = match end {
            End::Found => (Rcode::NOERROR, None),
            End::NoData(soa) => (Rcode::NOERROR, Some(soa)),
            End::NoName(soa) => {
                self.missing.note(&self.cluster.borrow(), &request.name);
                (Rcode::NXDOMAIN, Some(soa))
            }
            End::Elsewhere(name) => return Step::Ask(Box::new(request), answers, name),
        };
        let authority = authority.as_slice();
        let reply = Reply { rcode, authoritative: true, answers: &answers, authority, extra: &extra };
        Step::Reply(message::reply(&request, &reply))
    }

    /// The reply to a request whose name, or whose last alias, leads to `name`.
    async fn elsewhere(&self, request: &Request, mut answers: Vec<Entry>, name: &Name) -> Vec<u8> {
        if answers.is_empty() {
            return match self.forwarder.ask(&request.message).await {
                Some(answer) => message::cut(request, answer),
                None => message::reply(request, &Reply::failure(Rcode::SERVFAIL)),
            };
        }
        // The alias is an answer even where its target cannot be found out.
        let mut rcode = Rcode::NOERROR;
        if let Some(query) = question(name, request.qtype)
            && let Some(answer) = self.forwarder.ask(&query).await
        {
            if answer.header().rcode() == Rcode::NXDOMAIN {
                rcode = Rcode::NXDOMAIN;
            }
            answers.extend(addresses_in(&answer));
        }
        let reply = Reply { rcode, authoritative: true, answers: &answers, authority: &[], extra: &[] };
        message::reply(request, &reply)
    }

    pub async fn serve_udp(self: Rc<Self>, socket: UdpSocket) {
        let socket = Rc::new(socket);
        let mut buffer = vec![0; 65535];
        loop {
            let (length, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // An earlier reply's client is gone: no reason not to go on, but not without a pause either.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
            };
            match self.step(buffer.get(..length).unwrap_or_default(), Transport::Udp) {
                Step::Reply(reply) => drop(socket.send_to(&reply, client).await),
                Step::Ask(request, answers, name) => {
                    let (server, socket) = (self.clone(), socket.clone());
                    tokio::task::spawn_local(async move {
                        let reply = server.elsewhere(&request, answers, &name).await;
                        let _ = socket.send_to(&reply, client).await;
                    });
                }
                Step::Nothing => {}
            }
        }
    }

    pub async fn serve_tcp(self: Rc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::task::spawn_local(async move {
                        // Whatever ends it is the client's doing.
                        let _ = server.connection(stream).await;
                        drop(place);
                    });
                }
                // Out of files or memory: trying again at once would only burn the CPU.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        let _ = stream.set_nodelay(true);
        loop {
            let length = timeout(IDLE, stream.read_u16()).await??;
            let mut bytes = vec![0; usize::from(length)];
            timeout(IDLE, stream.read_exact(&mut bytes)).await??;
            let reply = match self.step(&bytes, Transport::Tcp) {
                Step::Reply(reply) => reply,
                Step::Ask(request, answers, name) => self.elsewhere(&request, answers, &name).await,
                Step::Nothing => return Ok(()),
            };
            timeout(IDLE, stream.write_all(&framed(&reply)?)).await??;
        }
    }
}

/// With its length before it, as it is sent over TCP.
fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok([&length.to_be_bytes(), message].concat())
}

fn question(name: &Name, qtype: Rtype) -> Option<Message<Vec<u8>>> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((name, qtype)).ok()?;
    Some(builder.into_message())
}

/// What a client that follows an alias is after: addresses, and further aliases on the way to them.
fn addresses_in(message: &Message<Vec<u8>>) -> Vec<Entry> {
    let Ok(section) = message.answer() else { return Vec::new() };
    let mut entries = Vec::new();
    for record in section.limit_to::<AllRecordData<_, ParsedName<_>>>().flatten() {
        let (owner, ttl) = (record.owner().to_vec(), record.ttl());
        let data = match record.into_data() {
            AllRecordData::A(address) => ZoneRecordData::A(address),
            AllRecordData::Aaaa(address) => ZoneRecordData::Aaaa(address),
            AllRecordData::Cname(alias) => ZoneRecordData::Cname(Cname::new(alias.cname().to_vec())),
            _ => continue,
        };
        entries.push(Record::new(owner, Class::IN, ttl, data));
    }
    entries
}

#[cfg(test)]
mod tests;
