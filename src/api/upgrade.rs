//! Connections that change from HTTP to streams: the handshakes, and the bounds of what comes after.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::body::Body;
use super::serve::Call;
use super::status::ApiError;

/// The kubelet's `streamingConnectionIdleTimeout`.
const IDLE: Duration = Duration::from_secs(4 * 60 * 60);
/// The largest message; clients in Python send what they are given as one.
const MAX_MESSAGE: usize = 16 << 20;
/// In which clients that speak SPDY say what they speak over it.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

pub type Socket = Alive<TokioIo<Upgraded>>;

/// What a client wants to speak.
pub enum Way {
    WebSocket,
    /// SPDY/3.1 without a WebSocket around it, as kubectl did before 1.31.
    Spdy,
}

pub fn asked(call: &Call) -> Result<Way, ApiError> {
    match call.header("upgrade") {
        way if way.eq_ignore_ascii_case("websocket") => Ok(Way::WebSocket),
        way if way.eq_ignore_ascii_case("SPDY/3.1") => Ok(Way::Spdy),
        _ => Err(ApiError::bad_request(
            "Upgrade request required: this is served over a WebSocket or SPDY/3.1, which kubectl asks for by itself",
        )),
    }
}

pub fn no_common_protocol(offered: &[&str], served: &[&str]) -> ApiError {
    let message = format!(
        "unable to negotiate protocol: client supports [{}], server supports {}",
        offered.join(", "),
        served.join(", ")
    );
    ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message)
}

/// Changes to a WebSocket with this sub-protocol (none if empty), which `run` speaks until it is done, the client has
/// been silent for too long, or the API ends.
pub fn websocket<F>(
    call: Call,
    protocol: &'static str,
    run: impl FnOnce(WebSocketStream<Socket>) -> F + Send + 'static,
) -> Result<Response<Body>, ApiError>
where
    F: Future<Output = ()> + Send,
{
    let key = call.header("sec-websocket-key").to_string();
    if key.is_empty() || call.header("sec-websocket-version") != "13" {
        return Err(ApiError::bad_request("the WebSocket handshake lacks Sec-WebSocket-Key or version 13"));
    }
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(ApiError::internal)?;
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let mut response = switch(call, "websocket", move |io| async move {
        run(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
    })?;
    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    if !protocol.is_empty() {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(response)
}

/// Changes to SPDY/3.1 with one of these protocols over it.
pub fn spdy<F>(
    call: Call,
    served: &[&'static str],
    run: impl FnOnce(Socket) -> F + Send + 'static,
) -> Result<Response<Body>, ApiError>
where
    F: Future<Output = ()> + Send,
{
    let headers = call.request.headers().get_all(STREAM_PROTOCOL);
    let offered: Vec<&str> =
        headers.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim).collect();
    let common = served.iter().find(|name| offered.contains(name));
    let protocol = *common.ok_or_else(|| no_common_protocol(&offered, served))?;
    let mut response = switch(call, "SPDY/3.1", run)?;
    response.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
    Ok(response)
}

fn switch<F>(
    mut call: Call,
    to: &'static str,
    run: impl FnOnce(Socket) -> F + Send + 'static,
) -> Result<Response<Body>, ApiError>
where
    F: Future<Output = ()> + Send,
{
    let permit = call.api.session_permits.clone().try_acquire_owned();
    let permit = permit.map_err(|_| {
        ApiError::too_many_requests("too many exec, attach and port-forward sessions are open, please try again later")
    })?;
    let upgrade = hyper::upgrade::on(&mut call.request);
    let mut closing = call.closing.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let Ok(upgraded) = upgrade.await else { return };
        let (io, silence) = Alive::new(TokioIo::new(upgraded));
        tokio::select! {
            () = run(io) => {}
            () = silence.lasts(IDLE) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(to));
    Ok(response)
}

/// A connection that notes when something last went through it.
pub struct Alive<S> {
    inner: S,
    since: Silence,
}

#[derive(Clone)]
pub struct Silence {
    start: Instant,
    /// Milliseconds after the start.
    last: Arc<AtomicU64>,
}

impl<S> Alive<S> {
    pub fn new(inner: S) -> (Self, Silence) {
        let since = Silence { start: Instant::now(), last: Arc::default() };
        (Alive { inner, since: since.clone() }, since)
    }

    fn note<T>(&self, result: Poll<T>) -> Poll<T> {
        if result.is_ready() {
            let now = u64::try_from(self.since.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.since.last.store(now, Ordering::Relaxed);
        }
        result
    }
}

impl Silence {
    /// Returns when nothing has gone through for so long.
    pub async fn lasts(&self, limit: Duration) {
        loop {
            let end = self.start + Duration::from_millis(self.last.load(Ordering::Relaxed)) + limit;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Alive<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.note(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Alive<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn silence_begins_with_the_last_byte() {
        let limit = Duration::from_millis(20);
        let (near, mut far) = tokio::io::duplex(64);
        let (mut near, silence) = Alive::new(near);
        silence.lasts(limit).await;
        far.write_all(b"x").await.unwrap();
        near.read_u8().await.unwrap();
        let heard = silence.start.elapsed();
        silence.lasts(limit).await;
        // To the millisecond, which is how it is noted.
        assert!(silence.start.elapsed() + Duration::from_millis(1) >= heard.min(2 * limit) + limit);
    }
}
