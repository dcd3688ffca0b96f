//! Against a server of the test's own, on the loopback.

use std::io::{Read, Write as _};
use std::net::{TcpListener, UdpSocket as StdUdpSocket};
use std::str::FromStr;

use domain::base::MessageBuilder;
use domain::base::iana::{Rcode, Rtype};
use domain::rdata::A;

use super::*;

/// A directory with a `resolv.conf`, gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(test: &str, resolv_conf: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nslab-resolver-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("resolv.conf"), resolv_conf).unwrap();
        Place(path)
    }

    fn resolver(&self, port: u16) -> Resolver {
        Resolver::with(Arc::new(Store::in_memory()), &self.0.join("resolv.conf"), port, PATIENCE)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn query(name: &str) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(7);
    let mut builder = builder.question();
    builder.push((Name::<Vec<u8>>::from_str(name).unwrap(), Rtype::A)).unwrap();
    builder.finish()
}

fn answer(query: &[u8], addresses: u8, cut: bool) -> Vec<u8> {
    let query = Message::from_octets(query).unwrap();
    let mut answer = MessageBuilder::new_vec().start_answer(&query, Rcode::NOERROR).unwrap();
    answer.header_mut().set_tc(cut);
    let name = query.sole_question().unwrap().qname().to_vec();
    for last in 0..addresses {
        answer.push((name.clone(), 60, A::new(Ipv4Addr::new(192, 0, 2, last)))).unwrap();
    }
    answer.finish()
}

/// Answers with two addresses, over UDP only with one and that there is more.
fn server() -> u16 {
    let (udp, tcp) = loop {
        let udp = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let port = udp.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = udp.recv_from(&mut buffer) {
            udp.send_to(&answer(&buffer[..length], 1, true), client).unwrap();
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let answer = answer(&query, 2, false);
            stream.write_all(&[&u16::try_from(answer.len()).unwrap().to_be_bytes(), &answer[..]].concat()).unwrap();
        }
    });
    port
}

#[tokio::test]
async fn what_is_too_long_for_a_datagram_comes_whole() {
    let place = Place::new("long", "nameserver 127.0.0.1\n");
    let reply = place.resolver(server()).ask(&query("www.example.org")).await.unwrap();
    let reply = Message::from_octets(reply).unwrap();
    assert_eq!((reply.header().id(), reply.header().tc(), reply.header_counts().ancount()), (7, false, 2));
}

#[tokio::test]
async fn a_server_that_is_not_there_gives_way_to_the_next() {
    // Nothing listens on the first address, which the kernel says at once.
    let place = Place::new("next", "search example.org\nnameserver 127.0.0.2\nnameserver 127.0.0.1\n");
    let resolver = place.resolver(server());
    for _ in 0..2 {
        assert!(resolver.ask(&query("www.example.org")).await.is_ok());
    }
}

#[tokio::test]
async fn nobody_to_ask_and_nobody_who_answers() {
    let none = Place::new("none", "# nothing\n");
    assert_eq!(none.resolver(53).ask(&query("www.example.org")).await, Err(ResolveError::NoServer));
    let silent = Place::new("silent", "nameserver 127.0.0.1\n");
    let socket = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    let mut resolver = silent.resolver(socket.local_addr().unwrap().port());
    resolver.patience = Duration::from_millis(50);
    for _ in 0..3 {
        let error = resolver.ask(&query("www.example.org")).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer from this machine's resolver (127.0.0.1)");
    }
    // Only the first one waited.
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 512];
    assert!(socket.recv(&mut buffer).is_ok() && socket.recv(&mut buffer).is_err());
}

#[tokio::test]
async fn the_labs_own_names_stay_in_it() {
    let place = Place::new("own", "nameserver 127.0.0.1\n");
    let resolver = place.resolver(server());
    for name in
        ["web.default.svc.Cluster.Local", "cluster.local", "1.0.96.10.in-addr.arpa", "10.1.168.192.in-addr.arpa"]
    {
        assert_eq!(resolver.ask(&query(name)).await, Err(ResolveError::Own(name.to_string())), "{name}");
    }
    for name in ["cluster.local.example.org", "1.2.0.192.in-addr.arpa"] {
        assert!(resolver.ask(&query(name)).await.is_ok(), "{name}");
    }
    assert_eq!(resolver.ask(b"no message").await, Err(ResolveError::NoQuery));
    assert_eq!(resolver.ask(&answer(&query("www.example.org"), 1, false)).await, Err(ResolveError::NoQuery));
}

#[test]
fn servers_are_read_as_the_c_library_reads_them_save_for_the_labs() {
    let text = "# made\nnameserver 10.96.0.10\nnameserver 127.0.0.53\nsearch nameserver 192.0.2.9\n\
                nameserver\t2001:db8::1 # two\nnameserver x\nnameserver\n;nameserver 192.0.2.8\n\
                nameserver 192.168.1.10\nnameserver 192.168.1.1\nnameserver 192.0.2.3\n";
    let servers: Vec<String> = servers(text, &Lab::default()).iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["127.0.0.53", "2001:db8::1", "192.168.1.1"]);
}
