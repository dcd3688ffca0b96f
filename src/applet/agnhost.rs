//! agnhost, the multi-tool image of Kubernetes' own end-to-end tests: the sub-commands that networking exercises use.

use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::{TcpStream, UdpSocket};

use super::page::{Reply, text};
use super::serve::{self, Link, Site};
use super::url::parameter;
use super::{AppletError, Ready, pod};

const TEXT: &str = "text/plain; charset=utf-8";
/// How long `/dial` waits for each try.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_DIAL_TRIES: u32 = 100;
/// The longest answer that `/dial` passes on.
const MAX_DIAL_BYTES: usize = 64 * 1024;
/// How long `liveness` is well.
const LIVE: Duration = Duration::from_secs(10);

/// `agnhost SUB-COMMAND FLAGS...`; without one it waits, as the image does.
pub fn run(args: &[String], ready: Ready) -> Result<(), AppletError> {
    let (sub_command, args) = match args.split_first() {
        Some((first, rest)) => (first.as_str(), rest),
        None => ("pause", [].as_slice()),
    };
    match sub_command {
        "pause" => serve::until_told_to_end(ready, || Ok(std::future::pending())),
        "serve-hostname" => serve_hostname(args, ready),
        "netexec" => netexec(args, ready),
        "liveness" => liveness(ready),
        other => Err(AppletError::Usage(format!(
            "unknown command \"{other}\" for \"app\"\nthis built-in agnhost has serve-hostname, netexec, liveness and \
             pause"
        ))),
    }
}

/// The values of `--name=VALUE` and `--name VALUE` for each of `names`, in their order.
fn ports<const N: usize>(args: &[String], names: [(&str, u16); N]) -> Result<[u16; N], AppletError> {
    let mut values = names.map(|(_, default)| default);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let flag = arg.trim_start_matches('-');
        let (name, given) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_string())));
        let slot = names.iter().zip(&mut values).find(|((known, _), _)| arg.starts_with('-') && *known == name);
        let Some((_, slot)) = slot else {
            let known: Vec<String> = names.iter().map(|(name, _)| format!("--{name}")).collect();
            return Err(AppletError::Usage(format!("unknown flag: {arg}; known here: {}", known.join(", "))));
        };
        let value = given.or_else(|| rest.next().cloned()).unwrap_or_default();
        *slot = value.parse().map_err(|_| {
            AppletError::Usage(format!("invalid argument \"{value}\" for \"--{name}\" flag: it must be a port number"))
        })?;
    }
    Ok(values)
}

fn serve_hostname(args: &[String], ready: Ready) -> Result<(), AppletError> {
    let [port] = ports(args, [("port", 9376)])?;
    let hostname = pod::hostname();
    serve::site("agnhost", &[(port, false)], ready, move |_: &Request<Incoming>, _: &Link| {
        text(StatusCode::OK, TEXT, hostname.clone())
    })
}

/// Well for the first ten seconds, then not: what a liveness probe restarts.
fn liveness(ready: Ready) -> Result<(), AppletError> {
    let started = Instant::now();
    serve::site("agnhost", &[(8080, false)], ready, move |request: &Request<Incoming>, _: &Link| {
        let age = started.elapsed();
        match request.uri().path() {
            "/started" => text(StatusCode::OK, TEXT, format!("{:.3}s", age.as_secs_f64())),
            "/healthz" if age <= LIVE => text(StatusCode::OK, TEXT, "ok"),
            "/healthz" => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("error: {}", age.as_secs_f64())),
            _ => not_found(),
        }
    })
}

fn not_found() -> Reply {
    text(StatusCode::NOT_FOUND, TEXT, "404 page not found\n")
}

fn netexec(args: &[String], ready: Ready) -> Result<(), AppletError> {
    let [http_port, udp_port] = ports(args, [("http-port", 8080), ("udp-port", 8081)])?;
    let hostname: Rc<str> = pod::hostname().into();
    serve::until_told_to_end(ready, || {
        let http = serve::listen("agnhost", http_port, false)?;
        let udp = serve::listen_udp("agnhost", udp_port)?;
        let answers_datagrams = datagrams(udp, hostname.clone());
        Ok(async move {
            tokio::join!(serve::http(vec![http], NetExec { hostname }), answers_datagrams);
        })
    })
}

/// `hostname`, `clientip` and `echo TEXT`, each in one datagram.
async fn datagrams(socket: UdpSocket, hostname: Rc<str>) {
    let mut buffer = vec![0; 2048];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let asked = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        if let Some(answer) = datagram(&asked, serve::canonical(peer), &hostname) {
            // Nobody is there to be told when this fails; a client of UDP asks again.
            let _ = socket.send_to(answer.as_bytes(), peer).await;
        }
    }
}

fn datagram(asked: &str, peer: SocketAddr, hostname: &str) -> Option<String> {
    let mut words = asked.trim().splitn(2, ' ');
    match words.next()?.to_ascii_lowercase().as_str() {
        "hostname" => Some(hostname.to_string()),
        "clientip" => Some(peer.to_string()),
        "echo" => Some(words.next().unwrap_or_default().to_string()),
        _ => None,
    }
}

struct NetExec {
    hostname: Rc<str>,
}

impl Site for NetExec {
    async fn answer(&self, request: &Request<Incoming>, link: &Link) -> Reply {
        let query = request.uri().query();
        match request.uri().path() {
            "/" => text(StatusCode::OK, TEXT, format!("NOW: {}", Timestamp::now())),
            "/hostname" | "/hostName" => text(StatusCode::OK, TEXT, self.hostname.to_string()),
            "/clientip" => text(StatusCode::OK, TEXT, link.peer.to_string()),
            "/healthz" => text(StatusCode::OK, TEXT, ""),
            "/echo" => text(StatusCode::OK, TEXT, parameter(query, "msg").unwrap_or_default()),
            "/header" => {
                let name = parameter(query, "key").unwrap_or_default();
                let value = request.headers().get(name).map(|value| value.as_bytes().to_vec());
                text(StatusCode::OK, TEXT, value.unwrap_or_default())
            }
            "/shell" => {
                let command = ["shellCommand", "cmd"].iter().find_map(|name| parameter(query, name));
                match command {
                    Some(command) => shell(command).await,
                    None => text(StatusCode::BAD_REQUEST, TEXT, "give the command as ?cmd=COMMAND\n"),
                }
            }
            "/dial" => match Dial::of(query) {
                Ok(dial) => dial.report().await,
                Err(reason) => text(StatusCode::BAD_REQUEST, TEXT, reason),
            },
            _ => not_found(),
        }
    }
}

/// Runs a shell command in the container, on another thread so that the server goes on answering.
async fn shell(command: String) -> Reply {
    let run = move || {
        Command::new("/bin/sh").args(["-c", &command]).env_remove("NSLAB_READY_FD").stdin(Stdio::null()).output()
    };
    let result: io::Result<_> =
        tokio::task::spawn_blocking(run).await.unwrap_or_else(|_| Err(io::Error::other("ended")));
    let answer = match result {
        Ok(output) => {
            let mut said = output.stdout;
            said.extend(output.stderr);
            let mut answer = json!({"output": String::from_utf8_lossy(&said)});
            if !output.status.success() {
                answer["error"] = json!(output.status.to_string().replace("exit status:", "exit status"));
            }
            answer
        }
        Err(error) => json!({"error": error.to_string()}),
    };
    text(StatusCode::OK, TEXT, answer.to_string())
}

/// `/dial?host=H&port=P&protocol=http|udp&request=R&tries=N`: lets this pod ask another one.
#[derive(Debug, PartialEq, Eq)]
struct Dial {
    host: String,
    port: u16,
    udp: bool,
    request: String,
    tries: u32,
}

impl Dial {
    fn of(query: Option<&str>) -> Result<Self, String> {
        let host = parameter(query, "host").filter(|host| !host.is_empty()).ok_or("no host was given\n")?;
        let port = parameter(query, "port").unwrap_or_default();
        let port = port.parse().map_err(|_| format!("invalid port: {port}\n"))?;
        let udp = match parameter(query, "protocol").unwrap_or_default().as_str() {
            "" | "http" => false,
            "udp" => true,
            other => return Err(format!("unsupported protocol: {other}\n")),
        };
        let request = parameter(query, "request").filter(|request| !request.is_empty());
        let tries = parameter(query, "tries").map_or(Ok(1), |tries| tries.parse());
        let tries = tries.ok().filter(|tries| (1..=MAX_DIAL_TRIES).contains(tries));
        Ok(Dial {
            host: host.trim_matches(['[', ']']).to_string(),
            port,
            udp,
            request: request.unwrap_or_else(|| "hostname".into()),
            tries: tries.ok_or_else(|| format!("tries must be a number from 1 to {MAX_DIAL_TRIES}\n"))?,
        })
    }

    async fn report(&self) -> Reply {
        let (mut responses, mut errors) = (Vec::new(), Vec::new());
        for _ in 0..self.tries {
            let asked = async { if self.udp { self.ask_udp().await } else { self.ask_http().await } };
            match tokio::time::timeout(DIAL_TIMEOUT, asked).await {
                Ok(Ok(response)) => responses.push(response),
                Ok(Err(error)) => errors.push(error),
                Err(_) => errors.push(format!("no answer from {}:{} within 5s", self.host, self.port)),
            }
        }
        let mut report = json!({});
        for (name, list) in [("responses", responses), ("errors", errors)] {
            if !list.is_empty() {
                report[name] = json!(list);
            }
        }
        text(StatusCode::OK, TEXT, report.to_string())
    }

    async fn ask_http(&self) -> Result<String, String> {
        let said = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|e| said(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| said(&e))?;
        let driver = tokio::task::spawn_local(connection);
        let request = Request::get(format!("/{}", self.request.trim_start_matches('/')))
            .header(HOST, format!("{}:{}", self.host, self.port))
            .body(Empty::<Bytes>::new())
            .map_err(|e| said(&e))?;
        let response = sender.send_request(request).await.map_err(|e| said(&e))?;
        let body = Limited::new(response.into_body(), MAX_DIAL_BYTES).collect().await;
        driver.abort();
        Ok(String::from_utf8_lossy(&body.map_err(|error| error.to_string())?.to_bytes()).into_owned())
    }

    async fn ask_udp(&self) -> Result<String, String> {
        let ask = async {
            let target = tokio::net::lookup_host((self.host.as_str(), self.port)).await?.next();
            let target = target.ok_or_else(|| io::Error::other(format!("{} has no address", self.host)))?;
            let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(target).await?;
            socket.send(self.request.as_bytes()).await?;
            let mut answer = vec![0; 2048];
            let length = socket.recv(&mut answer).await?;
            answer.truncate(length);
            Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
        };
        ask.await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn ports_are_read_in_both_spellings() {
        let known = [("http-port", 8080), ("udp-port", 8081)];
        assert_eq!(ports(&[], known).unwrap(), [8080, 8081]);
        assert_eq!(ports(&words("--http-port=80 --udp-port 53"), known).unwrap(), [80, 53]);
        for wrong in ["--http-port", "--http-port=", "--http-port=70000", "--tls=1", "http-port=80"] {
            assert!(matches!(ports(&words(wrong), known), Err(AppletError::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn datagrams_are_answered() {
        let peer = "10.244.1.2:5353".parse().unwrap();
        assert_eq!(datagram("hostname\n", peer, "web-1").as_deref(), Some("web-1"));
        assert_eq!(datagram("clientIP", peer, "web-1").as_deref(), Some("10.244.1.2:5353"));
        assert_eq!(datagram("echo two words", peer, "web-1").as_deref(), Some("two words"));
        assert_eq!(datagram("", peer, "web-1"), None);
        assert_eq!(datagram("exit 1", peer, "web-1"), None);
    }

    #[test]
    fn a_dial_names_its_target() {
        let dial = Dial::of(Some("host=10.0.0.1&port=80&request=echo?msg%3Dx&tries=3")).unwrap();
        let expected = Dial { host: "10.0.0.1".into(), port: 80, udp: false, request: "echo?msg=x".into(), tries: 3 };
        assert_eq!(dial, expected);
        for wrong in ["port=80", "host=a", "host=a&port=x", "host=a&port=1&protocol=tcp", "host=a&port=1&tries=0"] {
            assert!(Dial::of(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
