//! The web servers nginx and httpd as their images are out of the box: a welcome page, or the files that a volume puts
//! at the document root, and each server's own error pages.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, ETAG, HOST, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use hyper::header::{LAST_MODIFIED, LOCATION, SERVER};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;

use super::page::{FileBody, Reply, escape, text};
use super::serve::{self, Link};
use super::url::percent_decode;
use super::{AppletError, Ready, log};

const NGINX_ROOT: &str = "/usr/share/nginx/html";
const NGINX_WELCOME: &str = "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n</head>\n<body>\n\
    <h1>Welcome to nginx!</h1>\n<p>This page is served by the lab's built-in stand-in for the nginx image. Mount a\n\
    volume at /usr/share/nginx/html to serve your own.</p>\n</body>\n</html>\n";
const HTTPD_ROOT: &str = "/usr/local/apache2/htdocs";
const HTTPD_WELCOME: &str = "<html><body><h1>It works!</h1></body></html>\n";

/// `--tag 1.25.3`: the version to present, as the image's tag has it.
pub fn nginx(args: &[String], ready: Ready) -> Result<(), AppletError> {
    if Path::new("/etc/nginx").exists() {
        eprintln!("nginx: the configuration in /etc/nginx is not read: this is a built-in server of files");
    }
    run(Flavour::Nginx, NGINX_ROOT, version(args), ready)
}

/// `--tag 2.4.58`, likewise.
pub fn httpd(args: &[String], ready: Ready) -> Result<(), AppletError> {
    run(Flavour::Httpd, HTTPD_ROOT, version(args), ready)
}

/// A tag such as `1.25.3-alpine` tells a version, `latest` does not.
fn version(args: &[String]) -> Option<String> {
    let at = args.iter().position(|arg| arg == "--tag")?;
    let version = args.get(at + 1)?.split('-').next()?;
    let numbers = version.split('.').count() >= 2 && version.split('.').all(|part| part.parse::<u16>().is_ok());
    numbers.then(|| version.to_string())
}

fn run(flavour: Flavour, root: &str, version: Option<String>, ready: Ready) -> Result<(), AppletError> {
    let site = Files { root: PathBuf::from(root), flavour, version };
    serve::site(flavour.program(), &[(80, false)], ready, move |request: &Request<Incoming>, link: &Link| {
        let reply = site.respond(&Asked::of(request, link));
        log::access(request, link, &reply, flavour == Flavour::Nginx);
        reply
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Nginx,
    Httpd,
}

impl Flavour {
    fn program(self) -> &'static str {
        match self {
            Flavour::Nginx => "nginx",
            Flavour::Httpd => "httpd",
        }
    }
}

/// What matters of a request for a file.
struct Asked {
    method: Method,
    path: String,
    host: String,
    if_none_match: Option<String>,
    if_modified_since: Option<String>,
}

impl Asked {
    fn of(request: &Request<Incoming>, link: &Link) -> Self {
        let header = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        Asked {
            method: request.method().clone(),
            path: request.uri().path().to_string(),
            host: header(HOST).map_or_else(|| link.local.ip().to_string(), str::to_string),
            if_none_match: header(IF_NONE_MATCH).map(str::to_string),
            if_modified_since: header(IF_MODIFIED_SINCE).map(str::to_string),
        }
    }
}

struct Files {
    root: PathBuf,
    flavour: Flavour,
    version: Option<String>,
}

impl Files {
    fn respond(&self, asked: &Asked) -> Reply {
        let mut reply = self.find(asked);
        let server = match self.flavour {
            Flavour::Nginx => self.product("nginx"),
            Flavour::Httpd => format!("{} (Unix)", self.product("Apache")),
        };
        if let Ok(server) = HeaderValue::from_str(&server) {
            reply.headers_mut().insert(SERVER, server);
        }
        reply
    }

    /// `nginx/1.25.3`, or `nginx` when the version is not known.
    fn product(&self, name: &str) -> String {
        self.version.as_ref().map_or_else(|| name.to_string(), |version| format!("{name}/{version}"))
    }

    fn find(&self, asked: &Asked) -> Reply {
        if asked.method != Method::GET && asked.method != Method::HEAD {
            let mut reply = self.error(StatusCode::METHOD_NOT_ALLOWED, asked);
            if self.flavour == Flavour::Httpd {
                reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            }
            return reply;
        }
        let Some(relative) = relative_path(&asked.path) else { return self.error(StatusCode::BAD_REQUEST, asked) };
        if !self.root.exists() {
            return self.welcome(&relative, asked);
        }
        let path = self.root.join(&relative);
        let Ok(metadata) = path.metadata() else { return self.error(StatusCode::NOT_FOUND, asked) };
        if !metadata.is_dir() {
            // A file has no slash behind its name.
            return if asked.path.ends_with('/') {
                self.error(StatusCode::NOT_FOUND, asked)
            } else {
                self.file(&path, &metadata, asked)
            };
        }
        if !asked.path.ends_with('/') {
            return self.to_the_directory(asked);
        }
        let index = path.join("index.html");
        match index.metadata() {
            Ok(metadata) => self.file(&index, &metadata, asked),
            Err(_) => self.error(StatusCode::FORBIDDEN, asked),
        }
    }

    /// An image without its document root: only the welcome page is there.
    fn welcome(&self, relative: &Path, asked: &Asked) -> Reply {
        if relative != Path::new("") && relative != Path::new("index.html") {
            return self.error(StatusCode::NOT_FOUND, asked);
        }
        text(StatusCode::OK, "text/html", if self.flavour == Flavour::Nginx { NGINX_WELCOME } else { HTTPD_WELCOME })
    }

    fn file(&self, path: &Path, metadata: &Metadata, asked: &Asked) -> Reply {
        // Anything that is no regular file (a pipe, a device) could hold up the server when it is opened.
        if !metadata.is_file() {
            return self.error(StatusCode::FORBIDDEN, asked);
        }
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        let (etag, date) = (etag(modified, metadata.len()), http_date(modified));
        let unchanged = match (&asked.if_none_match, &asked.if_modified_since) {
            (Some(tags), _) => tags.split(',').any(|tag| tag.trim() == etag || tag.trim() == "*"),
            (None, Some(since)) => *since == date,
            (None, None) => false,
        };
        let mut reply = if unchanged {
            text(StatusCode::NOT_MODIFIED, "", "")
        } else {
            match File::open(path) {
                Ok(file) => Response::new(Either::Right(FileBody::new(file, metadata.len()))),
                Err(_) => return self.error(StatusCode::FORBIDDEN, asked),
            }
        };
        let headers = reply.headers_mut();
        if !unchanged {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path, self.flavour)));
        }
        for (name, value) in [(LAST_MODIFIED, date), (ETAG, etag)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        reply
    }

    fn to_the_directory(&self, asked: &Asked) -> Reply {
        // nginx names the port that it listens on, which is the default one; httpd the one that it was asked on.
        let host = match self.flavour {
            Flavour::Nginx => asked.host.rsplit_once(':').map_or(asked.host.as_str(), |(host, _)| host),
            Flavour::Httpd => &asked.host,
        };
        let location = format!("http://{host}{}/", asked.path);
        let mut reply = self.error(StatusCode::MOVED_PERMANENTLY, asked);
        if let Ok(location) = HeaderValue::from_str(&location) {
            reply.headers_mut().insert(LOCATION, location);
        }
        reply
    }

    /// The server's own page for a status.
    fn error(&self, status: StatusCode, asked: &Asked) -> Reply {
        let (number, reason) = (status.as_u16(), reason(status));
        match self.flavour {
            Flavour::Nginx => {
                let product = self.product("nginx");
                let page = format!(
                    "<html>\r\n<head><title>{number} {reason}</title></head>\r\n<body>\r\n\
                     <center><h1>{number} {reason}</h1></center>\r\n<hr><center>{product}</center>\r\n\
                     </body>\r\n</html>\r\n"
                );
                text(status, "text/html", page)
            }
            Flavour::Httpd => {
                let path = escape(&asked.path);
                let explained = match status {
                    StatusCode::NOT_FOUND => format!("No {path} is on this server."),
                    StatusCode::FORBIDDEN => format!("{path} may not be read."),
                    StatusCode::MOVED_PERMANENTLY => format!("{path} is a directory: ask for {path}/."),
                    StatusCode::METHOD_NOT_ALLOWED => format!("{path} does not take {}.", asked.method),
                    _ => "The request could not be understood.".into(),
                };
                let page = format!(
                    "<!DOCTYPE HTML PUBLIC \"-//IETF//DTD HTML 2.0//EN\">\n<html><head>\n\
                     <title>{number} {reason}</title>\n</head><body>\n<h1>{reason}</h1>\n<p>{explained}</p>\n\
                     </body></html>\n"
                );
                text(status, "text/html; charset=iso-8859-1", page)
            }
        }
    }
}

/// nginx says "Not Allowed" where the standard says "Method Not Allowed".
fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => "Not Allowed",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}

/// The file that a URL's path names, below the document root. `None` for what is no path below it: `..` beyond the
/// root, a NUL byte, text that is no UTF-8.
fn relative_path(path: &str) -> Option<PathBuf> {
    let decoded = String::from_utf8(percent_decode(path)).ok()?;
    if decoded.contains('\0') {
        return None;
    }
    let mut parts = Vec::new();
    for part in decoded.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.into_iter().collect())
}

fn etag(modified: SystemTime, length: u64) -> String {
    let seconds = modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    format!("\"{seconds:x}-{length:x}\"")
}

/// `Fri, 21 Nov 2025 05:03:09 GMT`
fn http_date(time: SystemTime) -> String {
    let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    timestamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn content_type(path: &Path, flavour: Flavour) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or("") {
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "js" | "mjs" => "application/javascript",
        "json" => "application/json",
        "txt" => "text/plain",
        "xml" => "text/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        // What each server sends for a name it has no type for.
        _ if flavour == Flavour::Nginx => "application/octet-stream",
        _ => "text/plain",
    }
}

#[cfg(test)]
mod tests;
