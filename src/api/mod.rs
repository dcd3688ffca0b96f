//! The Kubernetes-shaped HTTP API over the store.
//!
//! [`Api`] holds what requests are answered from, [`serve`](serve()) answers them on a listener. One file a subject:
//! `route` knows paths, `read`, `watch`, `write` and `patch` the verbs on objects, `admission` what may be written and what is
//! filled in, `table` the columns that kubectl prints, `status` how errors are worded.

pub mod admission;
mod apply;
mod auth;
mod body;
pub(crate) mod custom;
mod discovery;
mod exec;
mod forward;
mod log;
mod openapi;
mod owners;
mod page;
mod patch;
mod protobuf;
mod query;
mod read;
mod resolve;
mod respond;
mod review;
mod route;
mod selectable;
mod serve;
pub mod status;
mod subresource;
pub mod table;
mod tls;
mod upgrade;
mod watch;
mod write;

pub use apply::{Applied, Outcome, apply_all};
pub use auth::Caller;
pub use serve::{Accept, serve, serve_connection};
pub use status::{ApiError, Cause};
pub use tls::serve_tls;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::layout::Layout;
use crate::pki::TokenKey;
use crate::session::Sessions;
use crate::store::Store;

/// The version of Kubernetes whose API this is.
pub const KUBERNETES_VERSION: &str = "v1.34.0";

/// How many watches and followed logs may be open at once.
const MAX_STREAMS: usize = 2_000;
/// How many commands, attached clients and port-forwards may be open at once.
const MAX_SESSIONS: usize = 500;

type PodLogs = Box<dyn Fn(&str, &str, &str) -> PathBuf + Send + Sync>;

/// What the API serves, and from what.
pub struct Api {
    store: Arc<Store>,
    sessions: Arc<dyn Sessions>,
    /// Where the logs of a pod (namespace, name, uid) are: `CONTAINER/ATTEMPT.log`.
    pod_logs: PodLogs,
    /// The body of `/apis/nslab.dev/v1alpha1/status`.
    lab_status: Box<dyn Fn() -> Value + Send + Sync>,
    /// Whether the kernel has been brought up to the objects.
    lab_is_settled: Box<dyn Fn() -> bool + Send + Sync>,
    /// Asks the machine's resolver.
    resolve: resolve::Resolve,
    /// Held from the admission of a write to its commit, so that two writes never get the same address or port.
    admission: Mutex<()>,
    /// What knows the tokens of service accounts; without it no token is good.
    tokens: Option<Arc<TokenKey>>,
    pages: Mutex<page::Pages>,
    streams: Arc<Semaphore>,
    session_permits: Arc<Semaphore>,
}

impl Api {
    pub fn new(store: Arc<Store>, sessions: Arc<dyn Sessions>, layout: Layout) -> Self {
        Api {
            store,
            sessions,
            pod_logs: Box::new(move |namespace, pod, uid| layout.pod_logs(namespace, pod, uid)),
            lab_status: Box::new(|| json!({})),
            lab_is_settled: Box::new(|| true),
            resolve: Box::new(|_| Box::pin(async { Err("there is no resolver here".to_string()) })),
            admission: Mutex::new(()),
            tokens: None,
            pages: Mutex::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            session_permits: Arc::new(Semaphore::new(MAX_SESSIONS)),
        }
    }

    /// Reads pods' logs from elsewhere than the lab's layout says: a function of namespace, name and uid.
    pub fn with_pod_logs(mut self, path: impl Fn(&str, &str, &str) -> PathBuf + Send + Sync + 'static) -> Self {
        self.pod_logs = Box::new(path);
        self
    }

    /// Sets what `/apis/nslab.dev/v1alpha1/status` answers; called for every request.
    pub fn with_lab_status(mut self, status: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.lab_status = Box::new(status);
        self
    }

    /// Answers DNS queries, of which the reply or the reason for there being none is returned.
    pub fn with_resolver<F>(mut self, resolve: impl Fn(Vec<u8>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<u8>, String>> + Send + 'static,
    {
        self.resolve = Box::new(move |query| Box::pin(resolve(query)));
        self
    }

    /// Lets the holders of service accounts' tokens in.
    pub fn with_tokens(mut self, tokens: Arc<TokenKey>) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Sets what a request for the status that is to wait for it waits for; called often.
    pub fn with_lab_is_settled(mut self, is_settled: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.lab_is_settled = Box::new(is_settled);
        self
    }

    /// The guard protects no data: a panic while it was held left nothing half done.
    fn admitting(&self) -> MutexGuard<'_, ()> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
