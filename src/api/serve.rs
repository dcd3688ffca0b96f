//! Connections: accepting them, their bounds, and their orderly end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::auth::{self, Caller};
use super::body::Body;
use super::query::Query;
use super::route::{Route, Target, route};
use super::status::ApiError;
use super::{
    Api, apply, custom, discovery, exec, forward, log, openapi, patch, read, resolve, respond, review, subresource,
    write,
};
use crate::object::custom::Definition;

/// How long a request's headers may take, which is also how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// The most that a request's line and headers may take, in bytes.
const MAX_HEADERS: usize = 64 << 10;
/// The longest that a request for the lab's status may wait, in milliseconds, and how often it looks meanwhile.
const LONGEST_WAIT: u64 = 1_000;
const SETTLED_LOOK: Duration = Duration::from_millis(1);
/// How long requests may take to end once the server is to end.
const GRACE: Duration = Duration::from_secs(2);

/// Something that connections come from.
pub trait Accept {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;
}

impl Accept for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        tokio::net::UnixListener::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Accept for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        let (stream, _) = tokio::net::TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Serves the API, to whoever can reach the listener, until `shutdown` is ready; then ends watches, and waits a moment
/// for requests that are under way.
pub async fn serve<A: Accept>(listener: A, api: Arc<Api>, shutdown: impl Future) {
    let caller = Arc::new(Caller::administrator());
    serve_with(listener, shutdown, usize::MAX, |stream, closing| {
        serve_connection(stream, api.clone(), caller.clone(), closing)
    })
    .await;
}

/// Gives each connection, and what tells it to end, to `serve_one`; at most `limit` at a time, the others wait. The
/// connections end with this future.
pub async fn serve_with<A, F>(
    listener: A,
    shutdown: impl Future,
    limit: usize,
    serve_one: impl Fn(A::Stream, watch::Receiver<bool>) -> F,
) where
    A: Accept,
    F: Future<Output = ()> + Send + 'static,
{
    let (close, closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < limit => accepted,
            Some(_) = connections.join_next() => continue,
            _ = &mut shutdown => break,
        };
        match accepted {
            Ok(stream) => drop(connections.spawn(serve_one(stream, closing.clone()))),
            // Out of file descriptors, or a client that left again: the next one may do better.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    drop(listener);
    close.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, all_ended).await;
}

/// Serves one connection, to its end or until `closing` becomes true. `caller`: who it is that connects.
pub async fn serve_connection<S>(stream: S, api: Arc<Api>, caller: Arc<Caller>, mut closing: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests_closing = closing.clone();
    let service = service_fn(move |request| {
        let (api, caller, closing) = (api.clone(), caller.clone(), requests_closing.clone());
        async move { Ok::<_, Infallible>(answer(api, &caller, request, closing).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADERS);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        // A connection that breaks is the client's affair.
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// A request with its path and query read.
pub struct Call {
    pub api: Arc<Api>,
    pub query: Query,
    pub request: Request<Incoming>,
    pub user: auth::User,
    /// What defines the kind that the path names, where that is a custom one.
    pub definition: Option<Arc<Definition>>,
    pub closing: watch::Receiver<bool>,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        self.request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }
}

async fn answer(
    api: Arc<Api>,
    caller: &Caller,
    request: Request<Incoming>,
    closing: watch::Receiver<bool>,
) -> Response<Body> {
    let route = route(request.uri().path(), &api.store);
    let open = matches!(route, Some(Route::Health | Route::Version));
    let user = match auth::user_of(&api, caller, request.headers()) {
        Some(user) => user,
        None if open => auth::User::anonymous(),
        None => return respond::failure(&ApiError::unauthorized()),
    };
    let Some(route) = route else {
        return respond::failure(&ApiError::no_such_path());
    };
    let query = Query::parse(request.uri().query().unwrap_or(""));
    let call = Call { api, query, request, user, definition: None, closing };
    dispatch(route, call).await.unwrap_or_else(|error| respond::failure(&error))
}

async fn dispatch(route: Route, call: Call) -> Result<Response<Body>, ApiError> {
    let method = call.request.method().clone();
    match route {
        Route::Objects(target) => objects(target, call).await,
        Route::NodeExec(node) => exec::node(call, &node),
        Route::Review(review) => review::answer(review, call).await,
        Route::LabApply if method == Method::POST => apply::post(call).await,
        Route::Resolve if method == Method::POST => resolve::post(call).await,
        Route::LabApply | Route::Resolve => Err(ApiError::method_not_allowed()),
        _ if method != Method::GET && method != Method::HEAD => Err(ApiError::method_not_allowed()),
        Route::Health => Ok(respond::text("ok")),
        Route::Version => Ok(respond::json(&discovery::version())),
        Route::Paths => Ok(respond::json(&discovery::paths(&call.api.store))),
        Route::CoreVersions => Ok(discovery::core_versions(&call)),
        Route::Groups => Ok(discovery::groups(&call)),
        Route::Group(group) => Ok(respond::json(&discovery::group(&call.api.store, &group))),
        Route::Resources { group, version } => {
            Ok(respond::json(&discovery::resources(&call.api.store, &group, &version)))
        }
        Route::OpenApi(path) => openapi::get(&path, &call),
        Route::LabStatus => lab_status(call).await,
    }
}

/// With `settledWithinMilliseconds=N` it is answered as soon as the kernel has been brought up to the objects, or after
/// that time: whoever waits for a lab need not ask for all of it all the time.
async fn lab_status(call: Call) -> Result<Response<Body>, ApiError> {
    let patience = call.query.number("settledWithinMilliseconds")?.unwrap_or(0).min(LONGEST_WAIT);
    let until = Instant::now() + Duration::from_millis(patience);
    while !(call.api.lab_is_settled)() && Instant::now() < until {
        tokio::time::sleep(SETTLED_LOOK).await;
    }
    Ok(respond::json(&(call.api.lab_status)()))
}

async fn objects(target: Target, mut call: Call) -> Result<Response<Body>, ApiError> {
    call.definition = custom::definition(&call.api.store, target.kind);
    let method = call.request.method().clone();
    match (target.name.as_deref(), target.subresource.as_deref()) {
        (None, _) => match method {
            Method::GET => read::list_or_watch(target, call),
            Method::POST => write::create(target, call).await,
            Method::DELETE => write::delete_collection(target, call).await,
            _ => Err(ApiError::method_not_allowed()),
        },
        (Some(_), None) => match method {
            Method::GET => read::get(target, call),
            Method::PUT => write::replace(target, call).await,
            Method::PATCH => patch::patch(target, call).await,
            Method::DELETE => write::delete(target, call).await,
            _ => Err(ApiError::method_not_allowed()),
        },
        (Some(_), Some("log")) if method == Method::GET => log::get(target, call),
        (Some(_), Some("exec")) => exec::exec(target, call),
        (Some(_), Some("attach")) => exec::attach(target, call),
        (Some(_), Some("portforward")) => forward::forward(target, call),
        (Some(_), Some(_)) => subresource::dispatch(target, call).await,
    }
}
