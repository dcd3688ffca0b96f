//! The API over TLS, where not everybody who can connect is let in.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Api;
use super::auth::Caller;
use super::serve::{serve_connection, serve_with};

/// How long a client may take to say who it is.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections to one listener at a time.
const MAX_CONNECTIONS: usize = 1_000;

/// Serves the API to those who show a certificate or a token, until `shutdown` is ready.
pub async fn serve_tls(listener: TcpListener, config: Arc<ServerConfig>, api: Arc<Api>, shutdown: impl Future) {
    let acceptor = TlsAcceptor::from(config);
    serve_with(listener, shutdown, MAX_CONNECTIONS, |stream, closing| {
        let (acceptor, api) = (acceptor.clone(), api.clone());
        async move {
            let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
            // A client that speaks no TLS, or does not trust the server, is told so by TLS itself.
            let Ok(Ok(stream)) = handshake.await else { return };
            // The handshake has verified it.
            let has_certificate = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
            let caller = if has_certificate { Caller::administrator() } else { Caller::Unknown };
            serve_connection(stream, api, Arc::new(caller), closing).await;
        }
    })
    .await;
}
