//! Manifests behind `http://` and `https://`. Servers are trusted as far as this machine trusts them: by the authorities
//! in its own bundle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// For everything, redirections included.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_REDIRECTIONS: usize = 5;
/// Where distributions keep the authorities that they trust: Debian's place, then Fedora's.
const AUTHORITIES: &[&str] = &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// What a server answers, of at most `limit` bytes. The error says why there is no answer.
pub fn fetch(url: &str, limit: usize) -> Result<Vec<u8>, String> {
    // On a thread of its own, since the caller may be inside a runtime.
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let all = tokio::time::timeout(PATIENCE, follow(url, limit)).await;
            all.map_err(|_| format!("no answer within {PATIENCE:?}"))?
        })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("fetch".into()).spawn_scoped(scope, work);
        let panicked = |_| "the thread that fetched it panicked".to_string();
        thread.map_err(|error| error.to_string())?.join().map_err(panicked)?
    })
}

async fn follow(url: &str, limit: usize) -> Result<Vec<u8>, String> {
    let mut uri: Uri = url.parse().map_err(|error| format!("it is no URL: {error}"))?;
    for _ in 0..=MAX_REDIRECTIONS {
        let answer = ask(&uri).await?;
        let status = answer.status();
        if status.is_redirection() {
            let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let location = location.ok_or_else(|| format!("the server answered {status} without saying where to"))?;
            uri = target(&uri, location)?;
            continue;
        }
        if !status.is_success() {
            return Err(format!("the server answered {status}"));
        }
        let body = Limited::new(answer.into_body(), limit).collect().await;
        return body.map(|body| body.to_bytes().to_vec()).map_err(|error| error.to_string());
    }
    Err(format!("the server sends on more than {MAX_REDIRECTIONS} times"))
}

/// Where a redirection leads: another URL, or a path of the same server.
fn target(from: &Uri, location: &str) -> Result<Uri, String> {
    let wrong =
        |error: &dyn std::fmt::Display| format!("the server sends on to \"{location}\", which is no URL: {error}");
    if !location.starts_with('/') {
        return location.parse().map_err(|error| wrong(&error));
    }
    let (scheme, host) = (from.scheme_str().unwrap_or("http"), from.authority().map_or("", |host| host.as_str()));
    format!("{scheme}://{host}{location}").parse().map_err(|error| wrong(&error))
}

async fn ask(uri: &Uri) -> Result<Response<hyper::body::Incoming>, String> {
    let host = uri.host().ok_or("it names no server")?.trim_matches(['[', ']']);
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(format!("\"{uri}\" is neither http:// nor https://")),
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream =
        TcpStream::connect((host, port)).await.map_err(|error| format!("connect to {host}:{port}: {error}"))?;
    if !secure {
        return send(uri, stream).await;
    }
    let name = ServerName::try_from(host.to_string()).map_err(|error| format!("{host}: {error}"))?;
    let connector = TlsConnector::from(Arc::new(trust()?));
    let stream = connector.connect(name, stream).await;
    send(uri, stream.map_err(|error| format!("make a secure connection to {host}: {error}"))?).await
}

fn trust() -> Result<ClientConfig, String> {
    let Some(bundle) = AUTHORITIES.iter().map(Path::new).find(|path| path.exists()) else {
        return Err(format!("no server can be trusted: there is no {} (package ca-certificates)", AUTHORITIES[0]));
    };
    let unreadable = |error: &dyn std::fmt::Display| format!("read {}: {error}", bundle.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(bundle).map_err(|error| unreadable(&error))? {
        // One that this library does not understand is no reason to trust none.
        let _ = roots.add(certificate.map_err(|error| unreadable(&error))?);
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    Ok(config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

async fn send<S>(uri: &Uri, stream: S) -> Result<Response<hyper::body::Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let host = uri.authority().map_or("", |host| host.as_str());
    let request =
        Request::get(path).header(HOST, host).header(USER_AGENT, concat!("nslab/", env!("CARGO_PKG_VERSION")));
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    sender.send_request(request).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server on loopback that gives these answers, one a connection, and tells what it was asked.
    fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let answer = |answer: String| {
                let (mut stream, _) = listener.accept().unwrap();
                let lines: Vec<String> =
                    BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
                stream.write_all(answer.as_bytes()).unwrap();
                lines[0].clone()
            };
            answers.into_iter().map(answer).collect()
        });
        (url, thread)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_file_is_fetched_and_redirections_are_followed() {
        let moved = "HTTP/1.1 302 Found\r\nLocation: /there/web.yaml?raw=1\r\nContent-Length: 0\r\n\r\n".to_string();
        let (url, asked) = serve(vec![moved, ok("kind: Pod\n")]);
        assert_eq!(fetch(&format!("{url}/web.yaml"), 100).unwrap(), b"kind: Pod\n");
        assert_eq!(asked.join().unwrap(), ["GET /web.yaml HTTP/1.1", "GET /there/web.yaml?raw=1 HTTP/1.1"]);
    }

    #[test]
    fn what_cannot_be_had_says_why() {
        let (url, _asked) = serve(vec!["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(), ok("0123456789")]);
        assert_eq!(fetch(&url, 100).unwrap_err(), "the server answered 404 Not Found");
        assert!(fetch(&url, 5).unwrap_err().contains("limit"), "more than may be read");
        assert!(fetch("http://", 5).unwrap_err().starts_with("it is no URL"));
        // A port that was just free, and that nobody listens on.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(fetch(&format!("http://{free}/x"), 5).unwrap_err().starts_with(&format!("connect to {free}")));
    }
}
