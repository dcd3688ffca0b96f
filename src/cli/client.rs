//! The connection to a lab's API: HTTP/1.1 over its unix socket, a connection a request. Connecting to a unix socket
//! costs some microseconds, so that keeping connections would buy nothing.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

pub use super::api_status::Status;
use super::path::Query;
use crate::layout::GOING_DOWN;
use crate::object::kind::KindRef;

/// The most that one answer may hold; a list of 10,000 pods is some 40 MB.
const LARGEST_ANSWER: usize = 1 << 30;

#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    lab: String,
}

/// Why the API gave no answer, or which failure it answered with.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no lab \"{lab}\" is running; {next}")]
    NoLab { lab: String, next: String },
    #[error("no permission to reach lab \"{lab}\" at {socket}; try again with sudo")]
    Denied { lab: String, socket: String },
    #[error("lab \"{lab}\" does not answer at {socket}: {reason}; start its supervisor again with: sudo lab up{name}")]
    Silent { lab: String, socket: String, reason: String, name: String },
    #[error("the connection to lab \"{lab}\" broke while {doing}: {reason}")]
    Broken { lab: String, doing: String, reason: String },
    #[error("lab \"{lab}\" was taken down")]
    TakenDown { lab: String },
    #[error(
        "the supervisor of lab \"{lab}\" has ended; what runs in the lab runs on, take it over with: sudo lab up{name}"
    )]
    Left { lab: String, name: String },
    #[error(transparent)]
    Status(#[from] Status),
}

impl ClientError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Status(status) if status.is_not_found())
    }

    /// See [`Status::during`].
    pub fn during(self, doing: &str, source: &str) -> Self {
        match self {
            ClientError::Status(status) => ClientError::Status(status.during(doing, source)),
            other => other,
        }
    }
}

pub type Result<T> = std::result::Result<T, ClientError>;

/// What the answer to a `GET` is to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    Json,
    /// Columns and cells made by the server, with the metadata of each object.
    Table,
}

impl As {
    fn accept(self) -> &'static str {
        match self {
            As::Json => "application/json",
            As::Table => "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        }
    }
}

impl Client {
    pub fn new(lab: &str, socket: PathBuf) -> Self {
        Client { socket, lab: lab.to_string() }
    }

    pub fn lab(&self) -> &str {
        &self.lab
    }

    /// A new connection to the socket, or why there is none.
    pub async fn connect(&self) -> Result<UnixStream> {
        UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let (lab, socket, name) = (self.lab.clone(), self.socket.display().to_string(), self.name_flag());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                ClientError::NoLab { next: super::labs::how_to_reach(&lab, &name), lab }
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied { lab, socket },
            _ if self.is_going_down() => ClientError::TakenDown { lab },
            _ => ClientError::Silent { lab, socket, reason: error.to_string(), name },
        }
    }

    /// What commands about this lab need beside their own words.
    fn name_flag(&self) -> String {
        if self.lab == "lab" { String::new() } else { format!(" --name {}", self.lab) }
    }

    /// Whether `lab down` is at work on the lab or has done it: it says so before it ends the supervisor, and removes
    /// all at its end.
    fn is_going_down(&self) -> bool {
        let beside = |name: &str| self.socket.with_file_name(name).symlink_metadata().is_ok();
        beside(GOING_DOWN) || self.socket.symlink_metadata().is_err()
    }

    /// Whether nobody serves the socket any more. Whoever is just being killed may still take a connection, and says
    /// nothing on it.
    fn is_dead(&self) -> bool {
        use std::io::{Read as _, Write as _};
        let ask = || {
            let mut socket = std::os::unix::net::UnixStream::connect(&self.socket)?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.write_all(b"GET /version HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
            socket.read(&mut [0])
        };
        match ask() {
            Ok(bytes) => bytes == 0,
            // It takes its time, so it lives.
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }

    /// What it means that a connection that stood ends early.
    pub fn broken(&self, doing: &str, reason: impl ToString) -> ClientError {
        let lab = self.lab.clone();
        if self.is_going_down() {
            return ClientError::TakenDown { lab };
        }
        if self.is_dead() {
            return ClientError::Left { lab, name: self.name_flag() };
        }
        ClientError::Broken { lab, doing: doing.to_string(), reason: reason.to_string() }
    }

    /// One request on its own connection; the answer's body is still to be read. An error code is an error.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Response<Incoming>> {
        let stream = self.connect().await?;
        let doing = format!("asking {method} {path}");
        let broken = |error: &dyn std::error::Error| self.broken(&doing, error);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        // Ends by itself with the answer, or when the answer is dropped.
        tokio::spawn(connection);
        let (content_type, bytes) = body.unwrap_or_default();
        let mut request = Request::builder().method(method).uri(path).header(HOST, "lab").header(ACCEPT, accept);
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(Bytes::from(bytes))).map_err(|e| broken(&e))?;
        let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let body = self.read(response).await?;
        Err(ClientError::Status(Status::from_body(code, &body)))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes> {
        let body = Limited::new(response.into_body(), LARGEST_ANSWER);
        Ok(body.collect().await.map_err(|e| self.broken("reading the answer", e))?.to_bytes())
    }

    pub async fn json(&self, method: Method, path: &str, accept: As, body: Option<(&str, &Value)>) -> Result<Value> {
        let body = body.map(|(content_type, value)| (content_type, value.to_string().into_bytes()));
        let response = self.send(method, path, accept.accept(), body).await?;
        let bytes = self.read(response).await?;
        serde_json::from_slice(&bytes).map_err(|e| self.broken("reading the answer as JSON", e))
    }

    /// `GET` of any path of the API.
    pub async fn get_path(&self, path: &str, accept: As) -> Result<Value> {
        self.json(Method::GET, path, accept, None).await
    }

    pub async fn post_path(&self, path: &str, body: &Value) -> Result<Value> {
        self.json(Method::POST, path, As::Json, Some(("application/json", body))).await
    }

    pub async fn get(&self, kind: KindRef, namespace: &str, name: &str) -> Result<Value> {
        self.get_path(&super::path::object(kind, namespace, name), As::Json).await
    }

    /// `None` when there is no such object.
    pub async fn find(&self, kind: KindRef, namespace: &str, name: &str) -> Result<Option<Value>> {
        match self.get(kind, namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A list of one namespace, or with `None` of all.
    pub async fn list(&self, kind: KindRef, namespace: Option<&str>, query: &Query) -> Result<Value> {
        self.get_path(&query.on(&super::path::collection(kind, namespace)), As::Json).await
    }

    /// The items of [`Client::list`], each with its `apiVersion` and `kind`, which lists leave out.
    pub async fn items(&self, kind: KindRef, namespace: Option<&str>, query: &Query) -> Result<Vec<Value>> {
        Ok(items_of(kind, self.list(kind, namespace, query).await?))
    }

    pub async fn create(&self, kind: KindRef, namespace: &str, object: &Value) -> Result<Value> {
        self.post_path(&super::path::collection(kind, Some(namespace)), object).await
    }

    /// A JSON merge patch of the object, or of the part of it, at `path`.
    pub async fn merge_patch(&self, path: &str, patch: &Value) -> Result<Value> {
        self.patch(path, "application/merge-patch+json", patch).await
    }

    /// A patch of the object, or of the part of it, at `path`; `content_type` says which kind of patch it is.
    pub async fn patch(&self, path: &str, content_type: &str, patch: &Value) -> Result<Value> {
        self.json(Method::PATCH, path, As::Json, Some((content_type, patch))).await
    }

    pub async fn put(&self, path: &str, object: &Value) -> Result<Value> {
        self.json(Method::PUT, path, As::Json, Some(("application/json", object))).await
    }

    /// The answer is the object as it was, or a `Status`.
    pub async fn delete(&self, kind: KindRef, namespace: &str, name: &str, options: &Value) -> Result<Value> {
        let path = super::path::object(kind, namespace, name);
        self.json(Method::DELETE, &path, As::Json, Some(("application/json", options))).await
    }

    /// Changes of a collection since the `resourceVersion` in `query`.
    pub async fn watch(&self, kind: KindRef, namespace: Option<&str>, query: &Query, accept: As) -> Result<Lines> {
        let path = query.clone().with("watch", "true").on(&super::path::collection(kind, namespace));
        self.lines(&path, accept.accept()).await
    }

    /// An answer that comes line by line, perhaps for ever: watches, logs.
    pub async fn lines(&self, path: &str, accept: &str) -> Result<Lines> {
        let response = self.send(Method::GET, path, accept, None).await?;
        Ok(Lines { body: response.into_body(), held: Bytes::new(), client: self.clone() })
    }
}

/// The items of a list answer, completed with `apiVersion` and `kind`.
pub fn items_of(kind: KindRef, mut list: Value) -> Vec<Value> {
    let Some(Value::Array(mut items)) = list.get_mut("items").map(Value::take) else { return Vec::new() };
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        item.entry("apiVersion").or_insert_with(|| kind.api_version().into());
        item.entry("kind").or_insert_with(|| kind.kind.into());
    }
    items
}

/// A body that is read as it comes.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    held: Bytes,
    client: Client,
}

impl Lines {
    /// The next bytes as they arrived, or `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if !self.held.is_empty() {
            return Ok(Some(std::mem::take(&mut self.held)));
        }
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|e| self.client.broken("reading the answer", e))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The next line without its end; the last need not have one.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        while let Some(mut chunk) = self.chunk().await? {
            if let Some(end) = chunk.iter().position(|b| *b == b'\n') {
                self.held = chunk.split_off(end + 1);
                line.extend_from_slice(chunk.strip_suffix(b"\n").unwrap_or(&chunk));
                return Ok(Some(line));
            }
            line.extend_from_slice(&chunk);
        }
        Ok(if line.is_empty() { None } else { Some(line) })
    }

    /// The next event of a watch: `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK` and the object. `None` when the server
    /// ends the watch; a failure that it reports is an error.
    pub async fn event(&mut self) -> Result<Option<(String, Value)>> {
        while let Some(line) = self.line().await? {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let mut event: Value =
                serde_json::from_slice(&line).map_err(|e| self.client.broken("reading a watch event", e))?;
            let object = event.get_mut("object").map(Value::take).unwrap_or_default();
            let event_type = event.get("type").and_then(Value::as_str).unwrap_or_default();
            if event_type == "ERROR" {
                return Err(ClientError::Status(Status::from_json(&object)));
            }
            return Ok(Some((event_type.to_string(), object)));
        }
        Ok(None)
    }
}
