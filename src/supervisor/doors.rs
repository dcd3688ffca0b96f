//! The API's doors in the lab's network: what is served at each, and that it ends when a node goes.
//!
//! The kernel's listeners come from the agent's thread; connections are served on the API's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::{self, Api};
use crate::desired::Pod;
use crate::kernel::host::Credentials;
use crate::object::kind;
use crate::object::lab::Lab;
use crate::pki::{self, Bound, Claims};
use crate::plan;
use crate::store::Store;

/// Under which names clients in the lab know the API.
const NAMES: [&str; 5] =
    ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"];
/// The tokens in pods are not renewed, so they must outlast their pod.
const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// A door to open; with nothing behind it, one to close.
struct Change {
    netns: String,
    open: Option<(TcpListener, Arc<ServerConfig>)>,
}

/// Where the agent hands doors over.
pub struct Sender {
    store: Arc<Store>,
    pki: pki::Lazy,
    changes: UnboundedSender<Change>,
}

/// Where the API gets them.
pub struct Doors(UnboundedReceiver<Change>);

pub fn doors(store: Arc<Store>, pki: pki::Lazy) -> (Sender, Doors) {
    let (changes, receiver) = unbounded_channel();
    (Sender { store, pki, changes }, Doors(receiver))
}

impl Sender {
    pub fn change(&self, netns: &str, listener: Option<TcpListener>) -> Result<(), String> {
        let open = match listener {
            None => None,
            Some(listener) => {
                listener.set_nonblocking(true).map_err(|error| format!("prepare the listener: {error}"))?;
                let lab = plan::lab_of(&self.store.snapshot()).map(|(lab, _)| lab).unwrap_or_default();
                let config = self.pki.get()?.server_config(&NAMES, &addresses(&lab));
                Some((listener, config.map_err(|error| error.to_string())?))
            }
        };
        let change = Change { netns: netns.to_string(), open };
        self.changes.send(change).map_err(|_| "the API has stopped".to_string())
    }
}

/// All addresses at which a client may reach the API.
fn addresses(lab: &Lab) -> Vec<IpAddr> {
    let mut addresses = vec![lab.api_and_dns_cluster_ips().0];
    addresses.extend(lab.complete_nodes().unwrap_or_default().into_iter().flat_map(|node| node.addresses));
    addresses.extend([IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)]);
    addresses
}

impl Doors {
    /// Serves at all doors until `closing` is true.
    pub async fn serve(mut self, api: Arc<Api>, mut closing: watch::Receiver<bool>) {
        let (mut doors, mut open) = (JoinSet::new(), HashMap::new());
        loop {
            let change = tokio::select! {
                Some(change) = self.0.recv() => change,
                _ = closing.wait_for(|closing| *closing) => break,
            };
            // Aborted rather than told: the namespace would stay for as long as a client likes.
            if let Some(old) = open.remove(&change.netns) {
                let old: tokio::task::AbortHandle = old;
                old.abort();
            }
            let Some((listener, config)) = change.open else { continue };
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let mut closing = closing.clone();
                    let shutdown = async move { drop(closing.wait_for(|closing| *closing).await) };
                    let door = doors.spawn(api::serve_tls(listener, config, api.clone(), shutdown));
                    open.insert(change.netns, door);
                }
                Err(error) => eprintln!("serve the API in {}: {error}", change.netns),
            }
        }
        while doors.join_next().await.is_some() {}
    }
}

/// What the containers of `pod` need to speak to the API as the service account `account`.
pub fn credentials(store: &Store, pki: &pki::Lazy, pod: &Pod, account: &str) -> Result<Credentials, String> {
    let snapshot = store.snapshot();
    let Some(object) = snapshot.find(&kind::SERVICE_ACCOUNT, &pod.namespace, account) else {
        // As the kubelet says it when it waits for one.
        return Err(format!("failed to fetch token: serviceaccounts \"{account}\" not found"));
    };
    let authority = pki.get()?;
    let account = Bound { name: account.to_string(), uid: object.uid().to_string() };
    let bound = Bound { name: pod.name.clone(), uid: pod.uid.clone() };
    let claims = Claims::new(&pod.namespace, account, Some(bound), Vec::new(), Timestamp::now(), TOKEN_LIFETIME);
    let token = authority.tokens.sign(&claims).map_err(|error| error.to_string())?;
    Ok(Credentials { token, ca: authority.ca_pem.to_string() })
}
