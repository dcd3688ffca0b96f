//! Into a pod and out of it: `port-forward`, `cp`, and the streams of commands, with Kubernetes' own kubectl in each way
//! that it knows, and with `lab`. `KUBECTL` says where another kubectl is.

mod lab_rig;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use lab_rig::{Lab, Out, http};

const CONFIG: &str = "/run/kubeconfig-of-a-test";
/// More than all buffers on the way hold together.
const LARGE: usize = 100 << 20;

/// Kubernetes' own, which asks for SPDY as it did before 1.31 when it is `old`.
fn kubectl(old: bool) -> Command {
    let mut command = Command::new(std::env::var("KUBECTL").unwrap_or_else(|_| "/usr/bin/kubectl".to_string()));
    command.args(["--kubeconfig", CONFIG]);
    if old {
        command.env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false").env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false");
    }
    command
}

fn lab() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lab"))
}

fn run(mut command: Command, args: &[&str], input: &[u8]) -> (Out, Vec<u8>) {
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run it: KUBECTL says where kubectl is");
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writing = thread::spawn(move || drop(stdin.write_all(&input)));
    let out = child.wait_with_output().unwrap();
    writing.join().unwrap();
    let said = Out {
        what: format!("{command:?}"),
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    };
    (said, out.stdout)
}

/// A port-forward that runs, and the address at which it listens.
struct Forward {
    child: Child,
    address: String,
}

impl Forward {
    fn start(mut command: Command, target: &str, port: u16) -> Forward {
        command.args(["port-forward", target, &format!(":{port}"), "--address", "127.0.0.1"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start a port-forward");
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap();
        let address = said.strip_prefix("Forwarding from ").and_then(|rest| rest.split_once(" -> "));
        let (address, remote) = address.unwrap_or_else(|| panic!("it said {said:?}"));
        assert!(remote.starts_with(|c: char| c.is_ascii_digit()), "{said}");
        // What it says of each connection must not fill the pipe.
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Forward { child, address: address.to_string() }
    }

    /// Waits for its end; the exit code and what it said of errors.
    fn ends(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    fn interrupt(self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.ends()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn noise() -> Vec<u8> {
    let mut state = 1u64;
    let step = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u8
    };
    (0..LARGE).map(step).collect()
}

/// Sends all, ends that direction, and reads what comes back.
fn through(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (mut writer, sent) = (stream.try_clone().unwrap(), bytes.to_vec());
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    back
}

#[test]
fn ports_lead_into_pods() {
    let lab_ = Lab::up(&["labs/nodeport"]);
    std::fs::write(CONFIG, lab_.lab("kubeconfig").ok().stdout).unwrap();
    lab_.lab("expose deployment np-pods --name=two --port=8080 --target-port=80").ok();
    // Answers with what it is sent, from the loopback of its pod alone.
    let echo = "import socketserver as s\nclass H(s.BaseRequestHandler):\n def handle(self):\n  while True:\n   \
                d=self.request.recv(65536)\n   if not d: return\n   self.request.sendall(d)\n\
                s.ThreadingTCPServer(('127.0.0.1',7),H).serve_forever()";
    lab_.lab_args("run echo --image=busybox --command --", &["python3", "-c", echo]).ok();
    lab_.lab("wait --for=condition=Ready pod/echo --timeout=20s").ok();
    lab_.lab_args("exec echo -- sh -c", &["until ss -Hltn sport = 7 | grep -q .; do :; done"]).ok();
    let bytes = noise();

    for (name, command) in [("tunnel", kubectl(false)), ("SPDY", kubectl(true)), ("lab", lab())] {
        let forward = Forward::start(command, "deployment/np-pods", 80);
        let requests: Vec<_> = (0..40)
            .map(|_| {
                let address = forward.address.clone();
                thread::spawn(move || http(&address, "/"))
            })
            .collect();
        for request in requests {
            assert!(request.join().unwrap().starts_with("np-pods-"), "{name}");
        }
        assert_eq!(forward.interrupt().0, Some(0), "{name}");
    }
    for (name, command) in [("tunnel", kubectl(false)), ("lab", lab())] {
        let forward = Forward::start(command, "svc/two", 8080);
        assert!(http(&forward.address, "/").starts_with("np-pods-"), "{name}");
        let forward = Forward::start(if name == "lab" { lab() } else { kubectl(false) }, "pod/echo", 7);
        assert!(through(&forward.address, &bytes) == bytes, "{name}: what came back is not what was sent");
    }

    // kubectl ends with a connection that is refused, as it does in a cluster.
    let forward = Forward::start(kubectl(false), "pod/echo", 9);
    assert_eq!(through(&forward.address, b""), b"");
    let (code, said) = forward.ends();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("connect: connection refused") && said.contains("error: lost connection to pod"), "{said}");
    let forward = Forward::start(lab(), "pod/echo", 9);
    for _ in 0..2 {
        assert_eq!(through(&forward.address, b""), b"");
    }
    let (code, said) = forward.interrupt();
    assert_eq!((code, said.matches("connection refused IPv6").count()), (Some(0), 2), "{said}");

    let forwards = [Forward::start(kubectl(false), "pod/echo", 7), Forward::start(lab(), "pod/echo", 7)];
    lab_.lab("delete pod echo --now").ok();
    for forward in forwards {
        let (code, said) = forward.ends();
        assert_eq!(code, Some(1));
        assert!(said.ends_with("error: lost connection to pod\n"), "{said}");
    }
    lab_.down();
}

#[test]
fn files_and_streams_go_in_and_out() {
    let lab_ = Lab::up(&[]);
    std::fs::write(CONFIG, lab_.lab("kubeconfig").ok().stdout).unwrap();
    lab_.lab("run sh --image=busybox --restart=Never -- sleep 1000").ok();
    lab_.lab("wait --for=condition=Ready pod/sh --timeout=20s").ok();
    let bytes = &noise()[..LARGE / 5];
    std::fs::create_dir_all("/run/from/sub").unwrap();
    std::fs::write("/run/from/sub/large", bytes).unwrap();
    for (name, old) in [("lab", None), ("kubectl", Some(false)), ("old-kubectl", Some(true))] {
        let command = || old.map_or_else(lab, kubectl);
        run(command(), &["cp", "/run/from", &format!("sh:/tmp/{name}")], b"").0.ok();
        run(command(), &["cp", &format!("default/sh:/tmp/{name}"), &format!("/run/{name}"), "-c", "sh"], b"").0.ok();
        assert!(std::fs::read(format!("/run/{name}/sub/large")).unwrap() == bytes, "{name}");
        let (ended, back) = run(command(), &["exec", "-i", "sh", "--", "sh", "-c", "cat; echo err >&2; exit 3"], bytes);
        assert!(back == bytes, "{name}: {} bytes came back", back.len());
        assert_eq!(ended.code, 3);
        ended.has("err\n").has("command terminated with exit code 3");
    }
    lab_.down();
}
