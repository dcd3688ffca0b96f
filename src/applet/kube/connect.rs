//! Connections to the API: HTTP/1.1 over TLS in a pod, or over a unix socket where there is no pod.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::KubeError;

/// Says where a unix socket of the API is, instead of the pod's variables.
const SOCKET_VARIABLE: &str = "LAB_API_SOCKET";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A watch that says nothing for so long is taken for dead: the server sends a bookmark every minute.
const SILENCE: Duration = Duration::from_secs(150);
/// The most that one answer, and one line of a watch, may hold; a list of 10,000 pods is some 40 MB.
const LARGEST_ANSWER: usize = 256 << 20;
const LARGEST_LINE: usize = 16 << 20;

/// Where the API is, and how to be let in.
#[derive(Clone)]
pub struct Api {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Socket(PathBuf),
    Server { host: String, port: u16, credentials: PathBuf, trust: Arc<Mutex<Option<Trust>>> },
}

/// Kept, because it remembers sessions: a further connection needs no certificate to be verified.
struct Trust {
    /// `ca.crt` as it was.
    authority: String,
    tls: TlsConnector,
}

impl Api {
    /// The API of the cluster that this process's pod is in.
    pub fn of_environment() -> Result<Self, KubeError> {
        if let Some(socket) = std::env::var_os(SOCKET_VARIABLE) {
            return Ok(Self::at_socket(PathBuf::from(socket)));
        }
        let variable = |variable| std::env::var(variable).map_err(|_| KubeError::NotInPod { variable });
        let host = variable("KUBERNETES_SERVICE_HOST")?;
        let port = variable("KUBERNETES_SERVICE_PORT")?.parse();
        let port = port.map_err(|_| KubeError::NotInPod { variable: "KUBERNETES_SERVICE_PORT" })?;
        Ok(Self::at_server(host, port, PathBuf::from(SERVICE_ACCOUNT)))
    }

    pub fn at_socket(socket: PathBuf) -> Self {
        Api { place: Place::Socket(socket) }
    }

    /// `credentials` is a directory with `token` and `ca.crt`.
    pub fn at_server(host: String, port: u16, credentials: PathBuf) -> Self {
        Api { place: Place::Server { host, port, credentials, trust: Arc::default() } }
    }

    /// For people: `https://10.96.0.1:443`.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Socket(path) => path.display().to_string(),
            Place::Server { host, port, .. } if host.contains(':') => format!("https://[{host}]:{port}"),
            Place::Server { host, port, .. } => format!("https://{host}:{port}"),
        }
    }

    pub async fn connect(&self) -> Result<Connection, KubeError> {
        let unreachable = |source| KubeError::Unreachable { address: self.address(), source };
        match tokio::time::timeout(CONNECT_TIMEOUT, self.try_connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn try_connect(&self) -> Result<Connection, KubeError> {
        let unreachable = |source| KubeError::Unreachable { address: self.address(), source };
        match &self.place {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                Connection::over(stream, "localhost", None).await
            }
            Place::Server { host, port, credentials, trust } => {
                // Read each time, as both may be replaced while the pod runs.
                let token = read(&credentials.join("token"))?;
                let tls = trusting(&credentials.join("ca.crt"), trust)?;
                let name = ServerName::try_from(host.clone()).map_err(|error| unreachable(io::Error::other(error)))?;
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                let _ = stream.set_nodelay(true);
                let stream = tls.connect(name, stream).await.map_err(unreachable)?;
                Connection::over(stream, host, Some(token.trim())).await
            }
        }
    }
}

fn read(path: &Path) -> Result<String, KubeError> {
    let failed =
        |error: io::Error| KubeError::Credentials { path: path.display().to_string(), reason: error.to_string() };
    std::fs::read_to_string(path).map_err(failed)
}

/// TLS that takes a server for the API if a certificate of this file says so.
fn trusting(path: &Path, known: &Mutex<Option<Trust>>) -> Result<TlsConnector, KubeError> {
    let authority = read(path)?;
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(trust) = known.as_ref().filter(|trust| trust.authority == authority) {
        return Ok(trust.tls.clone());
    }
    let failed = |reason: String| KubeError::Credentials { path: path.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(config));
    *known = Some(Trust { authority, tls: tls.clone() });
    Ok(tls)
}

/// One connection, for one request after the other.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: Option<String>,
}

impl Connection {
    async fn over<S>(stream: S, host: &str, token: Option<&str>) -> Result<Self, KubeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let started = handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            started.map_err(|error| KubeError::Broken { asking: "connect".into(), reason: error.to_string() })?;
        // Ends by itself with this value, or when the stream read from it is dropped.
        tokio::spawn(connection);
        let authorization = token.map(|token| format!("Bearer {token}"));
        Ok(Connection { sender, host: host.to_string(), authorization })
    }

    pub async fn get(&mut self, path: &str) -> Result<Value, KubeError> {
        self.request(Method::GET, path, None).await
    }

    /// `body` is a content type and what to send.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value, KubeError> {
        let asking = format!("{method} {path}");
        let body = body.map(|(content_type, value)| (content_type, Bytes::from(value.to_string())));
        let response = self.send(method, path, body).await?;
        let body = collect(&asking, response).await?;
        serde_json::from_slice(&body).map_err(|error| KubeError::Broken { asking, reason: error.to_string() })
    }

    /// For what is not JSON: the body of the answer to these bytes.
    pub async fn post_bytes(&mut self, path: &str, content_type: &str, bytes: Vec<u8>) -> Result<Bytes, KubeError> {
        let response = self.send(Method::POST, path, Some((content_type, bytes.into()))).await?;
        collect(&format!("POST {path}"), response).await
    }

    /// An answer that comes line by line, perhaps for ever: a watch.
    pub async fn lines(mut self, path: &str) -> Result<Lines, KubeError> {
        let response = self.send(Method::GET, path, None).await?;
        let asking = format!("GET {path}");
        Ok(Lines { body: response.into_body(), held: Vec::new(), searched: 0, asking, _connection: self })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<Response<Incoming>, KubeError> {
        let asking = format!("{method} {path}");
        let broken = |error: &dyn std::error::Error| KubeError::Broken { asking: asking.clone(), reason: chain(error) };
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, &self.host).header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let bytes = match body {
            Some((content_type, bytes)) => {
                request = request.header(CONTENT_TYPE, content_type);
                bytes
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(bytes)).map_err(|error| broken(&error))?;
        self.sender.ready().await.map_err(|error| broken(&error))?;
        let response = self.sender.send_request(request).await.map_err(|error| broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let body = collect(&asking, response).await.unwrap_or_default();
        Err(refused(asking, code, &serde_json::from_slice(&body).unwrap_or_default()))
    }
}

async fn collect(asking: &str, response: Response<Incoming>) -> Result<Bytes, KubeError> {
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    let broken = |reason: String| KubeError::Broken { asking: asking.to_string(), reason };
    Ok(body.map_err(|error| broken(error.to_string()))?.to_bytes())
}

/// From a `Status`, which says more than the HTTP code.
fn refused(asking: String, code: u16, status: &Value) -> KubeError {
    let stated = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let message = status.get("message").and_then(Value::as_str).unwrap_or("the API refused");
    KubeError::Refused { asking, code: stated.unwrap_or(code), message: message.to_string() }
}

/// hyper names the cause of an error only as its source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// A body that is read as it comes.
pub struct Lines {
    body: Incoming,
    held: Vec<u8>,
    /// No line ends in so many of the held bytes.
    searched: usize,
    asking: String,
    _connection: Connection,
}

impl Lines {
    fn broken(&self, reason: impl ToString) -> KubeError {
        KubeError::Broken { asking: self.asking.clone(), reason: reason.to_string() }
    }

    /// The next line without its end. What follows the last line's end is dropped: it was cut off.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, KubeError> {
        loop {
            let fresh = self.held.get(self.searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let rest = self.held.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                self.searched = 0;
                line.pop();
                return Ok(Some(line));
            }
            self.searched = self.held.len();
            if self.searched > LARGEST_LINE {
                return Err(self.broken("a line is too long"));
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            match frame.map_err(|_| self.broken("nothing was heard for too long"))? {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(self.broken(chain(&error))),
                None => return Ok(None),
            }
        }
    }

    /// The next event of a watch: its type and object. `None` when the server ends the watch; a failure that it reports
    /// is an error.
    pub async fn event(&mut self) -> Result<Option<(String, Value)>, KubeError> {
        let Some(line) = self.line().await? else { return Ok(None) };
        let mut event: Value = serde_json::from_slice(&line).map_err(|error| self.broken(error))?;
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        let event_type = event.get("type").and_then(Value::as_str).unwrap_or_default();
        if event_type == "ERROR" {
            return Err(refused(self.asking.clone(), 500, &object));
        }
        Ok(Some((event_type.to_string(), object)))
    }
}
