//! What all servers here have in common: sockets that listen before anything is said, an HTTP/1.1 server with bounds,
//! TLS with a certificate made when the first client asks for it, and an end at the first signal.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::page::Reply;
use super::{AppletError, Ready, pod};

/// As many as nginx serves at once with its default `worker_connections`; more wait in the backlog.
const MAX_CONNECTIONS: usize = 1024;
/// How long a client may take for a request's header, and a connection may idle: nginx's `keepalive_timeout`.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest request header, and the most header fields in it.
const MAX_HEADER_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;
/// Threads for work that would hold up other requests (`hpa-example`, `netexec`'s shell).
const MAX_WORKERS: usize = 8;

/// The two ends of a connection, IPv4 addresses written as such.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub tls: bool,
}

/// Something that answers HTTP requests.
pub trait Site: 'static {
    fn answer(&self, request: &Request<Incoming>, link: &Link) -> impl Future<Output = Reply>;
}

impl<F: Fn(&Request<Incoming>, &Link) -> Reply + 'static> Site for F {
    async fn answer(&self, request: &Request<Incoming>, link: &Link) -> Reply {
        self(request, link)
    }
}

/// Calls `start`, which opens the sockets, then reports that they are open, then runs what `start` returned until it
/// ends or a signal asks to. The signals are watched before `start`, so that none is lost.
pub fn until_told_to_end<F: Future<Output = ()>>(
    ready: Ready,
    start: impl FnOnce() -> Result<F, AppletError>,
) -> Result<(), AppletError> {
    until_told(|| {
        let program = start()?;
        ready.signal();
        Ok(program)
    })
}

/// The same for a program that says itself when it is ready.
pub fn until_told<F: Future<Output = ()>>(start: impl FnOnce() -> Result<F, AppletError>) -> Result<(), AppletError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(MAX_WORKERS)
        .build()
        .map_err(AppletError::Start)?;
    let ended = LocalSet::new().block_on(&runtime, async {
        let watch = |kind| signal(kind).map_err(AppletError::Start);
        let mut terminate = watch(SignalKind::terminate())?;
        let mut interrupt = watch(SignalKind::interrupt())?;
        let mut quit = watch(SignalKind::quit())?;
        let program = start()?;
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            () = program => {}
        }
        Ok(())
    });
    // A request that is still being worked on must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// One port of a server.
pub struct Listener {
    socket: TcpListener,
    tls: bool,
}

impl Listener {
    /// For a protocol other than HTTP.
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }
}

/// Listens on all addresses of the pod, IPv6 and IPv4 (only IPv4 where there is no IPv6). `program` is who says that
/// it cannot.
pub fn listen(program: &str, port: u16, tls: bool) -> Result<Listener, AppletError> {
    let both = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
    let socket = both.or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
    });
    let socket = socket.map_err(|error| cannot_listen(program, "tcp", port, &error))?;
    socket.set_nonblocking(true).map_err(AppletError::Start)?;
    Ok(Listener { socket: TcpListener::from_std(socket).map_err(AppletError::Start)?, tls })
}

/// The same for datagrams.
pub fn listen_udp(program: &str, port: u16) -> Result<UdpSocket, AppletError> {
    let both = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port));
    let socket = both.or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)),
    });
    let socket = socket.map_err(|error| cannot_listen(program, "udp", port, &error))?;
    socket.set_nonblocking(true).map_err(AppletError::Start)?;
    UdpSocket::from_std(socket).map_err(AppletError::Start)
}

fn cannot_listen(program: &str, protocol: &str, port: u16, error: &io::Error) -> AppletError {
    let number = error.raw_os_error().unwrap_or(0);
    let reason = error.to_string();
    let reason = reason.split(" (os error").next().unwrap_or_default();
    let mut said = match program {
        "nginx" => format!("nginx: [emerg] bind() to 0.0.0.0:{port} failed ({number}: {reason})"),
        _ => format!("{program}: listen {protocol} :{port}: bind: {}", reason.to_lowercase()),
    };
    if error.kind() == io::ErrorKind::AddrInUse {
        said += "\nthe containers of a pod share its ports, and another process of this pod listens on this one";
    }
    AppletError::Said(said)
}

/// Runs `site` on these ports of the pod, in the name of `program`.
pub fn site<S: Site>(program: &str, ports: &[(u16, bool)], ready: Ready, site: S) -> Result<(), AppletError> {
    until_told_to_end(ready, || {
        let listeners: Result<Vec<_>, _> = ports.iter().map(|&(port, tls)| listen(program, port, tls)).collect();
        Ok(http(listeners?, site))
    })
}

/// Serves HTTP for as long as it is polled.
pub async fn http<S: Site>(listeners: Vec<Listener>, site: S) {
    let server = Rc::new(Server { site, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)), tls: OnceCell::new() });
    for listener in listeners {
        tokio::task::spawn_local(server.clone().accept(listener));
    }
    std::future::pending().await
}

struct Server<S> {
    site: S,
    places: Arc<Semaphore>,
    /// Empty until the first TLS connection; `None` inside when no certificate could be made.
    tls: OnceCell<Option<TlsAcceptor>>,
}

impl<S: Site> Server<S> {
    async fn accept(self: Rc<Self>, listener: Listener) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            match listener.socket.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::task::spawn_local(async move {
                        server.connection(stream, listener.tls).await;
                        drop(place);
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of files or memory: trying again at once would only burn the CPU.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn connection(&self, stream: TcpStream, tls: bool) {
        let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
        let link = Link { local: canonical(local), peer: canonical(peer), tls };
        let _ = stream.set_nodelay(true);
        if !tls {
            return self.requests(stream, link).await;
        }
        let Some(acceptor) = self.tls.get_or_init(acceptor) else { return };
        if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            self.requests(stream, link).await;
        }
    }

    async fn requests<T: AsyncRead + AsyncWrite + Unpin + 'static>(&self, stream: T, link: Link) {
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(self.site.answer(&request, &link).await)
        });
        // An error here is the client's: it went away, or sent what is no HTTP and has been told so.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .max_headers(MAX_HEADERS)
            .half_close(true)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

/// A dual-stack socket shows IPv4 peers as `::ffff:10.244.1.2`.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A self-signed certificate for the pod's own name, as in the images that have one.
fn acceptor() -> Option<TlsAcceptor> {
    let made = || -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
        let certified = rcgen::generate_simple_self_signed([pod::hostname(), "localhost".to_string()])?;
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der())?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    };
    made().map_err(|error| eprintln!("cannot make a certificate: {error}")).ok()
}
