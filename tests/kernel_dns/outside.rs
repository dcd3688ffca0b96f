//! A resolver that plays the machine's: on a loopback address, named by the machine's `/etc/resolv.conf` for as long as it
//! lives. For the sandbox, where both are its own.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::name::ToName;
use domain::base::{Message, MessageBuilder};
use domain::rdata::A;

/// Where systemd-resolved listens, for example.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);
const RESOLV_CONF: &str = "/etc/resolv.conf";

pub struct Resolver {
    asked: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    file: PathBuf,
}

impl Resolver {
    pub fn start() -> Resolver {
        let (asked, stop) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicBool::new(false)));
        let udp = UdpSocket::bind((ADDRESS, 53)).unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let tcp = TcpListener::bind((ADDRESS, 53)).unwrap();
        let (known, ended) = (asked.clone(), stop.clone());
        let datagrams = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, client)) = udp.recv_from(&mut buffer) else { continue };
                udp.send_to(&answer(&buffer[..length], true, &known), client).unwrap();
            }
        });
        let (known, ended) = (asked.clone(), stop.clone());
        let streams = std::thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                let answer = answer(&query, false, &known);
                stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        let file = std::env::temp_dir().join(format!("resolver-{}.conf", std::process::id()));
        std::fs::write(&file, format!("nameserver {ADDRESS}\n")).unwrap();
        run("mount", &["--bind", file.to_str().unwrap(), RESOLV_CONF]);
        Resolver { asked, stop, threads: vec![datagrams, streams], file }
    }

    /// All names that it was asked for, in lower case.
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        run("umount", &[RESOLV_CONF]);
        let _ = std::fs::remove_file(&self.file);
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the one that waits for connections.
        let _ = std::net::TcpStream::connect((ADDRESS, 53));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).status().expect("run the program");
    assert!(done.success() || std::thread::panicking(), "{program} {args:?}");
}

fn answer(query: &[u8], is_datagram: bool, asked: &Mutex<BTreeSet<String>>) -> Vec<u8> {
    let query = Message::from_octets(query).unwrap();
    let question = query.sole_question().unwrap();
    let name = question.qname().to_vec();
    let text = name.to_string().trim_end_matches('.').to_ascii_lowercase();
    asked.lock().unwrap().insert(text.clone());
    let rcode = if text.starts_with("missing.") { Rcode::NXDOMAIN } else { Rcode::NOERROR };
    let many = text.starts_with("many.");
    let mut answer = MessageBuilder::new_vec().start_answer(&query, rcode).unwrap();
    answer.header_mut().set_ra(true);
    answer.header_mut().set_tc(many && is_datagram);
    let count = match (rcode, many, is_datagram) {
        (Rcode::NXDOMAIN, ..) => 0,
        (_, true, false) => 100,
        _ => 1,
    };
    if question.qtype() == domain::base::iana::Rtype::A {
        for last in 0..count {
            answer.push((name.clone(), 60, A::new(Ipv4Addr::new(192, 0, 2, 80 + last)))).unwrap();
        }
    }
    answer.finish()
}
