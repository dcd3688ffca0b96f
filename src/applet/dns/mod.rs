//! The cluster's DNS server, as CoreDNS is one in a real cluster: it knows Services and their endpoints from the API,
//! and answers for `cluster.local` and for the addresses of Services and pods.

mod answer;
mod cluster;
mod forward;
mod message;
mod server;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::sync::Notify;

use self::cluster::Cluster;
use self::forward::Forwarder;
use self::server::Server;
use super::kube::{Api, Change, follow};
use super::{AppletError, Ready, serve};
use crate::object::{KindRef, kind};

const PROGRAM: &str = "coredns";
const PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";

type ChangeCluster = fn(&mut Cluster, Change);

/// The kinds of which the answers are made, and what a change to an object of one does.
const KINDS: [(KindRef, ChangeCluster); 3] = [
    (&kind::NAMESPACE, Cluster::change_namespaces),
    (&kind::SERVICE, Cluster::change_services),
    (&kind::ENDPOINT_SLICE, Cluster::change_slices),
];

struct Options {
    port: u16,
    /// `None`: what `/etc/resolv.conf` names.
    forward: Option<SocketAddr>,
}

impl Options {
    /// `-dns.port` as in the real program; `-forward ADDRESS:PORT` says where to ask for other names.
    fn read(args: &[String]) -> Result<Self, AppletError> {
        let mut options = Options { port: PORT, forward: None };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let usage = |what: &str| AppletError::Usage(format!("{word}: {what}"));
            let value = || words.clone().next().ok_or_else(|| usage("needs a value"));
            match word.as_str() {
                "-dns.port" => options.port = value()?.parse().map_err(|_| usage("needs a port"))?,
                "-forward" => options.forward = Some(value()?.parse().map_err(|_| usage("needs ADDRESS:PORT"))?),
                // The lab has no Corefile; the manifests that people copy name one.
                "-conf" => drop(value()?),
                _ => return Err(usage("no such option")),
            }
            words.next();
        }
        Ok(options)
    }
}

pub fn run(args: &[String], ready: Ready) -> Result<(), AppletError> {
    let options = Options::read(args)?;
    let api = Api::of_environment().map_err(|error| AppletError::Said(format!("{PROGRAM}: {error}")))?;
    serve::until_told(move || {
        let tcp = serve::listen(PROGRAM, options.port, false)?.into_socket();
        let udp = serve::listen_udp(PROGRAM, options.port)?;
        let forwarder = match options.forward {
            Some(address) => Forwarder::new([address]),
            // Without the file there is nobody to ask.
            None => Forwarder::of_resolv_conf(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
        };
        let server = Rc::new(Server { cluster: RefCell::default(), forwarder });
        Ok(async move {
            watch(&server, api).await;
            println!(".:{}\nCoreDNS-1.12.1, of nslab {}", options.port, env!("CARGO_PKG_VERSION"));
            ready.signal();
            tokio::join!(server.clone().serve_udp(udp), server.serve_tcp(tcp));
        })
    })
}

/// Begins to follow the API; returns when all that is there has been heard of, so that no first answer is wrong.
async fn watch(server: &Rc<Server>, api: Api) {
    let missing = Rc::new(Cell::new(KINDS.len()));
    let complete = Rc::new(Notify::new());
    for (kind, change_cluster) in KINDS {
        let (server, api) = (server.clone(), api.clone());
        let (missing, complete) = (missing.clone(), complete.clone());
        tokio::task::spawn_local(async move {
            let mut is_first = true;
            let tell = |change| {
                change_cluster(&mut server.cluster.borrow_mut(), change);
                if std::mem::take(&mut is_first) {
                    missing.set(missing.get() - 1);
                    complete.notify_one();
                }
            };
            follow(&api, kind, tell).await;
        });
    }
    while missing.get() > 0 {
        complete.notified().await;
    }
}
