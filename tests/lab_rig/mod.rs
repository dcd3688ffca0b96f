//! A lab for a test: brought up, driven through the binary, taken down, and found to have left nothing.

#![allow(dead_code)] // Each test program uses its part.

#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const LAB: &str = env!("CARGO_BIN_EXE_lab");

/// Labs share the machine's LAN addresses: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub struct Lab {
    _turn: MutexGuard<'static, ()>,
}

#[derive(Debug)]
pub struct Out {
    pub what: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Lab {
    pub fn up(files: &[&str]) -> Lab {
        let lab = Lab::nothing_yet();
        let mut args = vec!["up"];
        args.extend(files);
        lab.run("lab", &args).ok();
        lab
    }

    /// Without bringing it up. Outside of a sandbox nothing is done at all: a lab would join the machine's own network.
    pub fn nothing_yet() -> Lab {
        common::require_sandbox();
        Lab { _turn: ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    pub fn run(&self, arg0: &str, args: &[&str]) -> Out {
        let mut command = Command::new(LAB);
        command.arg0(arg0).args(args).stdin(Stdio::null());
        let out = command.output().expect("run the lab binary");
        Out {
            what: format!("{arg0} {}", args.join(" ")),
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    pub fn lab(&self, line: &str) -> Out {
        self.run("lab", &line.split_whitespace().collect::<Vec<_>>())
    }

    pub fn lab_args(&self, line: &str, more: &[&str]) -> Out {
        let args: Vec<&str> = line.split_whitespace().chain(more.iter().copied()).collect();
        self.run("lab", &args)
    }

    /// The same binary under the name that the notes type.
    pub fn kubectl(&self, line: &str) -> Out {
        self.run("kubectl", &line.split_whitespace().collect::<Vec<_>>())
    }

    pub fn kubectl_args(&self, line: &str, more: &[&str]) -> Out {
        let args: Vec<&str> = line.split_whitespace().chain(more.iter().copied()).collect();
        self.run("kubectl", &args)
    }

    /// `lab up` with nothing new waits until all is ready.
    pub fn wait_ready(&self) {
        self.run("lab", &["up"]).ok();
    }

    pub fn down(self) {
        self.run("lab", &["down", "--volumes"]).ok().has("no namespace, link, nftables object, mount, process or file");
        nothing_is_left();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "supervisor.log:\n{}",
                std::fs::read_to_string("/run/nslab/lab/supervisor.log").unwrap_or_default()
            );
            eprintln!("{:?}", self.run("lab", &["status"]));
        }
        self.run("lab", &["down", "--volumes"]);
    }
}

/// What the machine's own tools find of a lab.
pub fn nothing_is_left() {
    let shell = |script: &str| {
        let out = Command::new("sh").args(["-c", script]).output().expect("run sh");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert_eq!(shell("ip netns list"), "", "network namespaces");
    assert_eq!(shell("ip -o link show | grep -v ': lo:'"), "", "links");
    assert_eq!(shell("grep -E 'nslab|netns' /proc/self/mountinfo | grep -vE ' /(run|var/lib/nslab) '"), "", "mounts");
    assert_eq!(shell("ls -d /run/nslab /var/lib/nslab/* /run/netns/* 2>/dev/null"), "", "files");
    let processes = shell("ps -eo pid,args | grep -E '__(node|supervise|applet)' | grep -v grep");
    assert_eq!(processes, "", "processes");
}

impl Out {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn fails(self) -> Self {
        assert_ne!(self.code, 0, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn is(&self, stdout: &str) -> &Self {
        assert_eq!(self.stdout, stdout, "{}: {}", self.what, self.stderr);
        self
    }

    /// In what it printed on either stream.
    #[track_caller]
    pub fn has(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "no {text:?} in {self:#?}");
        self
    }

    /// One line has all of these, in this order.
    #[track_caller]
    pub fn matches_line(&self, parts: &[&str]) -> &Self {
        let in_order = |line: &str| {
            let found = |rest: &mut &str, part: &str| match rest.find(part) {
                Some(at) => {
                    *rest = &rest[at + part.len()..];
                    true
                }
                None => false,
            };
            let mut rest = line;
            parts.iter().all(|part| found(&mut rest, part))
        };
        assert!(self.stdout.lines().any(in_order), "no line with {parts:?} in {self:#?}");
        self
    }

    #[track_caller]
    pub fn lines_with(&self, text: &str, count: usize) -> &Self {
        assert_eq!(self.stdout.lines().filter(|line| line.contains(text)).count(), count, "{text:?} in {self:#?}");
        self
    }
}

fn get(address: &str, path: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default())
}

/// The body of one request, over a connection of its own.
#[track_caller]
pub fn http(address: &str, path: &str) -> String {
    get(address, path).unwrap_or_else(|error| panic!("GET http://{address}{path}: {error}"))
}

/// The different bodies of so many requests.
#[track_caller]
pub fn http_names(address: &str, requests: usize) -> BTreeSet<String> {
    (0..requests).map(|_| http(address, "/")).collect()
}

#[track_caller]
pub fn refused(address: &str) {
    let error = get(address, "/").expect_err("nobody should answer").kind();
    assert_eq!(error, std::io::ErrorKind::ConnectionRefused, "{address}");
}

/// A connection that stays open between requests.
pub struct Standing {
    stream: TcpStream,
}

impl Standing {
    pub fn connect(address: &str) -> Standing {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout is set");
        Standing { stream }
    }

    /// The body of a request over it, one line.
    pub fn ask(&mut self) -> String {
        write!(self.stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("the connection takes a request");
        let mut answer = Vec::new();
        let mut byte = [0];
        let body_ended = |answer: &[u8]| {
            let text = String::from_utf8_lossy(answer);
            text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('\n'))
        };
        while !body_ended(&answer) {
            self.stream.read_exact(&mut byte).expect("the connection answers");
            answer.extend(byte);
        }
        let text = String::from_utf8_lossy(&answer);
        text.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default()
    }
}
