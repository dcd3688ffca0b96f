//! A server in a directory of its own, and a small client.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use nslab::api::{Api, serve};
use nslab::layout::Layout;
use nslab::object::{Object, Write};
use nslab::session::{Command, Family, Pod, Session, SessionError, Sessions, Target};
use nslab::store::Store;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Long enough for any machine; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct NoSessions;

impl Sessions for NoSessions {
    fn exec(&self, _: &Target, _: Command) -> Result<Session, SessionError> {
        Err(SessionError::NotRunning("nothing runs here".into()))
    }

    fn attach(&self, _: &Target, _: bool) -> Result<Session, SessionError> {
        Err(SessionError::NotRunning("nothing runs here".into()))
    }

    fn socket(&self, _: &Pod, _: Family) -> Result<OwnedFd, SessionError> {
        Err(SessionError::NotRunning("nothing runs here".into()))
    }
}

pub struct Server {
    pub store: Arc<Store>,
    /// Holds the socket, and each pod's logs under the pod's name.
    pub directory: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Server {
    /// A server whose store has the namespaces `default` and `kube-system`.
    pub fn start() -> Self {
        Self::with(NoSessions)
    }

    pub fn with(sessions: impl Sessions) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("nslab-api-{}-{count}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let store = Arc::new(Store::in_memory());
        for name in ["default", "kube-system"] {
            put(&store, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        }
        let listener = UnixListener::bind(directory.join("api.sock")).unwrap();
        let logs = directory.clone();
        let api = Api::new(store.clone(), Arc::new(sessions), Layout::new("test"))
            .with_pod_logs(move |_, pod, _| logs.join(pod))
            .with_lab_status(|| json!({"lab": "of the test"}));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, Arc::new(api), stopped));
        Server { store, directory, stop: Some(stop), task: Some(task) }
    }

    pub async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.directory.join("api.sock")).await.unwrap()
    }

    /// Ends the server and waits until it has ended.
    pub async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.task.take().unwrap()).await.unwrap().unwrap();
    }

    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response<Incoming> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "lab");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let response = self.open(method, path, headers, body).await;
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { code, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, &[("content-type", "application/json")], body.to_string().into()).await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: Value) -> Answer {
        let content_type = format!("application/{kind}");
        self.send(Method::PATCH, path, &[("content-type", &content_type)], body.to_string().into()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    pub async fn watch(&self, path: &str) -> Watch {
        let response = self.open(Method::GET, path, &[], Vec::new()).await;
        assert_eq!(response.status(), 200, "{path}");
        Watch { body: response.into_body(), rest: Vec::new() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

pub fn put(store: &Store, object: Value) {
    store.write(Write::Create(Object::from_value(object).unwrap())).unwrap();
}

pub struct Watch {
    body: Incoming,
    rest: Vec<u8>,
}

impl Watch {
    /// The next event, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event in time")?;
            self.rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    /// The next event as `TYPE name`.
    pub async fn line(&mut self) -> String {
        let event = self.next().await.expect("an event, not the end");
        let name = event.pointer("/object/metadata/name").and_then(Value::as_str).unwrap_or("");
        format!("{} {name}", event["type"].as_str().unwrap())
    }
}

pub fn config_map(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "1"}})
}
