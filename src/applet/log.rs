//! The access logs that the images write to their standard output, and so what `kubectl logs` shows.

use std::io::Write;

use hyper::body::Incoming;
use hyper::header::{HeaderName, REFERER, USER_AGENT};
use hyper::{Method, Request};
use jiff::Zoned;

use super::page::{self, Reply};
use super::serve::Link;

/// `21/Nov/2025:05:03:09 +0000`, as nginx and httpd write it.
pub fn local_time() -> String {
    Zoned::now().strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
}

/// The format that nginx calls `combined`, or httpd's `common` with `extended` false.
pub fn access(request: &Request<Incoming>, link: &Link, reply: &Reply, extended: bool) {
    let header = |name: HeaderName| match request.headers().get(name) {
        Some(value) => String::from_utf8_lossy(value.as_bytes()).replace('"', "\\x22"),
        None => "-".into(),
    };
    let sent = if request.method() == Method::HEAD { 0 } else { page::length(reply) };
    let mut line = format!(
        "{} - - [{}] \"{} {} {:?}\" {} {sent}",
        link.peer.ip(),
        local_time(),
        request.method(),
        request.uri(),
        request.version(),
        reply.status().as_u16()
    );
    if extended {
        line += &format!(" \"{}\" \"{}\"", header(REFERER), header(USER_AGENT));
    }
    say(&line);
}

/// A line of the container's log. Whoever reads the log may be gone; that must not end a server.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
