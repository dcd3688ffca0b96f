//! The cluster's DNS server, as CoreDNS is one in a real cluster: it knows Services and their endpoints from the API,
//! and answers for `cluster.local` and for the addresses of Services and pods.

mod answer;
mod cluster;
mod forward;
mod message;
mod missing;
mod server;

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::join_all;

use self::forward::Forwarder;
use self::missing::Missing;
use self::server::Server;
use super::kube::{Api, follow, list_all};
use super::{AppletError, Ready, serve};
use crate::object::{KindRef, kind};

const PROGRAM: &str = "coredns";
const PORT: u16 = 53;

/// What the answers are made of.
const KINDS: [KindRef; 3] = [&kind::NAMESPACE, &kind::SERVICE, &kind::ENDPOINT_SLICE];

struct Options {
    port: u16,
}

impl Options {
    /// `-dns.port` as in the real program.
    fn read(args: &[String]) -> Result<Self, AppletError> {
        let mut options = Options { port: PORT };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let usage = |what: &str| AppletError::Usage(format!("{word}: {what}"));
            let value = || words.clone().next().ok_or_else(|| usage("needs a value"));
            match word.as_str() {
                "-dns.port" => options.port = value()?.parse().map_err(|_| usage("needs a port"))?,
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
        let (forwarder, missing) = (Forwarder::new(api.clone()), Rc::new(Missing::new(api.clone())));
        let server = Rc::new(Server { cluster: RefCell::default(), forwarder, missing });
        Ok(async move {
            let tell = |kind, change| server.cluster.borrow_mut().change(kind, change);
            // Until then no question is even read, so that no first answer is wrong.
            let positions = list_all(&api, &KINDS, tell).await;
            println!(".:{}\nCoreDNS-1.12.1, of nslab {}", options.port, env!("CARGO_PKG_VERSION"));
            ready.signal();
            let followers = positions.into_iter().map(|position| {
                let kind = position.kind();
                follow(&api, position, move |change| tell(kind, change))
            });
            tokio::join!(server.clone().serve_udp(udp), server.clone().serve_tcp(tcp), join_all(followers));
        })
    })
}
