//! Connections to ports of a pod, as made by a program in it that connects to localhost.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpSocket, TcpStream};

use crate::object::Key;
use crate::session::{Family, Pod, Sessions};
use crate::store::Store;

pub struct Dialer {
    pub sessions: Arc<dyn Sessions>,
    pub store: Arc<Store>,
    pub key: Key,
    pub pod: Pod,
}

/// How much is read at once.
pub const BUFFER: usize = 32 << 10;

impl Dialer {
    /// The error is for the client's error stream, in the words that it would have from a cluster.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let v4 = match self.connect_to(Family::Ipv4, Ipv4Addr::LOCALHOST.into(), port).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let v6 = match self.connect_to(Family::Ipv6, Ipv6Addr::LOCALHOST.into(), port).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let Pod { namespace, name, uid } = &self.pod;
        Err(format!(
            "error forwarding port {port} to pod {name}_{namespace}, uid {uid}: failed to connect to localhost:{port} \
             inside namespace \"{namespace}/{name}\", IPv4: {v4} IPv6 {v6}"
        ))
    }

    async fn connect_to(&self, family: Family, address: IpAddr, port: u16) -> Result<TcpStream, String> {
        let (sessions, pod) = (self.sessions.clone(), self.pod.clone());
        let socket = tokio::task::spawn_blocking(move || sessions.socket(&pod, family)).await;
        let socket = socket.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
        let address = SocketAddr::new(address, port);
        let stream = socket.connect(address).await.map_err(|error| {
            let tcp = if family == Family::Ipv4 { "tcp4" } else { "tcp6" };
            let words = error.to_string().to_lowercase();
            let words = words.split(" (os error").next().unwrap_or_default();
            format!("dial {tcp} {address}: connect: {words}")
        })?;
        // What comes in pieces has been waited for once already.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Returns when the pod has ended, or another has its name.
    pub async fn pod_ends(&self) {
        let mut changed = self.store.version();
        loop {
            changed.mark_unchanged();
            let pod = self.store.get(&self.key).filter(|pod| pod.uid() == self.pod.uid);
            let runs = pod.is_some_and(|pod| !matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed")));
            if !runs || changed.changed().await.is_err() {
                return;
            }
        }
    }
}
