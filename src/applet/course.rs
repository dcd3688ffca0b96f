//! The small servers of the course notes' books. What they answer is theirs to the byte, blanks and TABs included,
//! because the notes show it and readers `grep` for it.

use std::fs::{File, OpenOptions};
use std::io::Write;

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue, SERVER};
use hyper::{Request, StatusCode};

use super::page::{Reply, escape, text};
use super::serve::{self, Link, Site};
use super::{AppletError, Ready, log, pod};

const HTML: &str = "text/html";
const HTML_UTF8: &str = "text/html; charset=utf-8";
const HTTP: (u16, bool) = (80, false);
const HTTPS: (u16, bool) = (443, true);

/// What nginx does around a configured answer: its name in a header, and a line in the access log.
fn as_nginx(request: &Request<Incoming>, link: &Link, body: String) -> Reply {
    let mut reply = text(StatusCode::OK, HTML, body);
    reply.headers_mut().insert(SERVER, HeaderValue::from_static("nginx"));
    log::access(request, link, &reply, true);
    reply
}

/// sysnet4admin/echo-hname, chk-hn: who answers.
pub fn echo_hname(_: &[String], ready: Ready) -> Result<(), AppletError> {
    let body = format!("{}\n", pod::hostname());
    serve::site("nginx", &[HTTP, HTTPS], ready, move |request: &Request<Incoming>, link: &Link| {
        as_nginx(request, link, body.clone())
    })
}

/// sysnet4admin/echo-ip, chk-ip: at which address the request arrived.
pub fn echo_ip(_: &[String], ready: Ready) -> Result<(), AppletError> {
    serve::site("nginx", &[HTTP, HTTPS], ready, |request: &Request<Incoming>, link: &Link| {
        as_nginx(request, link, format!("request_method : {} | ip_dest: {}\n", request.method(), link.local.ip()))
    })
}

/// sysnet4admin/chk-info: both ends of the connection, which makes source address translation visible.
pub fn chk_info(_: &[String], ready: Ready) -> Result<(), AppletError> {
    let hostname = pod::hostname();
    serve::site("nginx", &[HTTP, HTTPS], ready, move |request: &Request<Incoming>, link: &Link| {
        let host = request.headers().get(HOST).map_or("-".into(), |host| String::from_utf8_lossy(host.as_bytes()));
        let rows = [
            ("hostname", hostname.clone()),
            ("server_addr", link.local.ip().to_string()),
            ("server_port", link.local.port().to_string()),
            ("remote_addr", link.peer.ip().to_string()),
            ("remote_port", link.peer.port().to_string()),
            ("scheme", if link.tls { "https" } else { "http" }.to_string()),
            ("host", host.into_owned()),
            ("request_method", request.method().to_string()),
            ("request_uri", request.uri().to_string()),
        ];
        let mut body = String::from("<!DOCTYPE html>\n<html>\n<head><title>chk-info</title></head>\n<body>\n<pre>\n");
        for (name, value) in rows {
            body += &format!("{name:<14} : {}\n", escape(&value));
        }
        as_nginx(request, link, body + "</pre>\n</body>\n</html>\n")
    })
}

/// sysnet4admin/audit-trail, chk-log: answers, and keeps a record of it in a file that the notes put on a volume.
pub fn audit_trail(_: &[String], ready: Ready) -> Result<(), AppletError> {
    let hostname = pod::hostname();
    let path = format!("/audit/audit_{hostname}.log");
    let audit = open_audit(&path)?;
    serve::site("nginx", &[HTTP], ready, move |request: &Request<Incoming>, link: &Link| {
        let line = format!("{}  {}  {}\n", log::local_time(), link.local.ip(), request.method());
        // One write a line, so that the lines of several pods on one volume do not mix. A full volume is no reason
        // not to answer.
        let _ = (&audit).write_all(line.as_bytes());
        let body = format!("pod_n: {hostname} | ip_dest: {}\n", link.local.ip());
        let mut reply = text(StatusCode::OK, HTML, body);
        reply.headers_mut().insert(SERVER, HeaderValue::from_static("nginx"));
        reply
    })
}

fn open_audit(path: &str) -> Result<File, AppletError> {
    let opened =
        std::fs::create_dir_all("/audit").and_then(|()| OpenOptions::new().append(true).create(true).open(path));
    opened.map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default();
        let number = error.raw_os_error().unwrap_or(0);
        AppletError::Said(format!("nginx: [emerg] open() \"{path}\" failed ({number}: {reason})"))
    })
}

/// alicek106/rr-test:echo-hostname: a page of 287 bytes and the host name.
pub fn rr_test(_: &[String], ready: Ready) -> Result<(), AppletError> {
    let body = rr_test_page(&pod::hostname());
    serve::site("httpd", &[HTTP], ready, move |request: &Request<Incoming>, link: &Link| {
        let mut reply = text(StatusCode::OK, HTML_UTF8, body.clone());
        reply.headers_mut().insert(SERVER, HeaderValue::from_static("Apache"));
        log::access(request, link, &reply, true);
        reply
    })
}

fn rr_test_page(hostname: &str) -> String {
    let style_sheet = "https://maxcdn.bootstrapcdn.com/bootstrap/3.3.2/css/bootstrap.min.css";
    [
        "<!DOCTYPE html>",
        "<meta charset=\"utf-8\" />",
        "<link rel=\"stylesheet\" type=\"text/css\" href=\"./css/layout.css\" />",
        &format!("<link rel=\"stylesheet\" href=\"{style_sheet}\">"),
        "",
        "<div class=\"form-layout\">",
        "\t<blockquote>",
        &format!("\t<p>Hello,  {hostname}</p>\t</blockquote>"),
        "</div>",
        "",
    ]
    .join("\n")
}

/// alicek106/ingress-annotation-test: which path, host and headers arrive behind an Ingress that rewrites.
pub fn ingress_annotation_test(_: &[String], ready: Ready) -> Result<(), AppletError> {
    let hostname = pod::hostname();
    let own = pod::address();
    serve::site("python", &[(5000, false)], ready, move |request: &Request<Incoming>, link: &Link| {
        let path = request.uri().path();
        let mut reply = if ["/", "/color", "/color/red", "/color/blue"].contains(&path) {
            let address = own.unwrap_or(link.local.ip());
            text(StatusCode::OK, HTML_UTF8, annotation_text(request, link, &hostname, &address.to_string()))
        } else {
            text(
                StatusCode::NOT_FOUND,
                HTML_UTF8,
                "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n\
                 <p>This server has only /, /color, /color/red and /color/blue.</p>\n",
            )
        };
        reply.headers_mut().insert(SERVER, HeaderValue::from_static("Werkzeug"));
        log::access(request, link, &reply, false);
        reply
    })
}

fn annotation_text(request: &Request<Incoming>, link: &Link, hostname: &str, address: &str) -> String {
    let header = |name: &str| request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let host = header("host").unwrap_or_else(|| link.local.to_string().into());
    let client = header("x-real-ip").unwrap_or_else(|| link.peer.ip().to_string().into());
    let path = request.uri().path();
    let mut body = format!(
        "------------------------ \nYou accessed to path \"{path}\"\nAccess Server URL : http://{host}{path} \n\
         Container Hostname : {hostname} \nContainer IP : {address} \nOriginal IP with Proxy : {client}\n\n\
         ------------------------ \nFlask received HTTP header : \n"
    );
    for (name, value) in request.headers() {
        body += &format!("{}: {}\r\n", title_case(name.as_str()), String::from_utf8_lossy(value.as_bytes()));
    }
    body + "\r\n\n------------------------\n"
}

/// `x-forwarded-for` as `X-Forwarded-For`.
fn title_case(name: &str) -> String {
    let words: Vec<String> = name
        .split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
        })
        .collect();
    words.join("-")
}

/// luksa/kubia, of "Kubernetes in Action".
pub fn kubia(_: &[String], ready: Ready) -> Result<(), AppletError> {
    log::say("Kubia server starting...");
    let body = format!("You've hit {}\n", pod::hostname());
    serve::site("node", &[(8080, false)], ready, move |_: &Request<Incoming>, link: &Link| {
        log::say(&format!("Received request from {}", link.peer.ip()));
        text(StatusCode::OK, "", body.clone())
    })
}

/// ghcr.io/subicura/echo.
pub fn subicura_echo(_: &[String], ready: Ready) -> Result<(), AppletError> {
    let body = pod::hostname();
    serve::site("node", &[(3000, false)], ready, move |_: &Request<Incoming>, _: &Link| {
        text(StatusCode::OK, "text/plain; charset=utf-8", body.clone())
    })
}

/// registry.k8s.io/hpa-example: costs CPU time, so that an autoscaler has something to measure.
pub fn hpa_example(_: &[String], ready: Ready) -> Result<(), AppletError> {
    serve::site("httpd", &[HTTP], ready, Loaded)
}

struct Loaded;

impl Site for Loaded {
    async fn answer(&self, request: &Request<Incoming>, link: &Link) -> Reply {
        // On another thread, as the processes of the real server would do it.
        let work = tokio::task::spawn_blocking(|| {
            let sum = (0..5_000_000).fold(0.0001_f64, |sum, _| std::hint::black_box(sum + sum.sqrt()));
            std::hint::black_box(sum);
        });
        let status = if work.await.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
        let mut reply = text(status, "text/html; charset=UTF-8", "OK!");
        reply.headers_mut().insert(SERVER, HeaderValue::from_static("Apache"));
        log::access(request, link, &reply, true);
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_rr_test_is_the_one_in_the_notes() {
        let page = rr_test_page("hostname-deployment-7b57c676b9-8sxjp");
        assert_eq!(page.len(), 323, "as curl's progress meter shows it");
        let hello: Vec<&str> = page.lines().filter(|line| line.contains("Hello")).collect();
        assert_eq!(hello, ["\t<p>Hello,  hostname-deployment-7b57c676b9-8sxjp</p>\t</blockquote>"]);
    }

    #[test]
    fn header_names_are_written_as_flask_does() {
        assert_eq!(title_case("x-forwarded-for"), "X-Forwarded-For");
        assert_eq!(title_case("host"), "Host");
    }
}
