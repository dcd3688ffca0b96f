//! The program against the API of a lab that has no kernel: a store, a socket in a directory of its own, and a stand-in
//! for the nodes that lets pods run and end.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nslab::api::{Api, serve};
use nslab::layout::Layout;
use nslab::object::write::{Delete, Part, Propagation};
use nslab::object::{Key, Object, Write, kind};
use nslab::session::{self, Exit, Session, SessionError, Sessions, Target};
use nslab::store::Store;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::oneshot;

/// Long enough for any machine; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Rig {
    pub store: Arc<Store>,
    pub directory: PathBuf,
    /// Where the API listens for Kubernetes' own kubectl: on this machine alone, and without TLS.
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// What the program printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: i32,
}

impl Rig {
    /// With the namespaces and nodes of the notes' lab.
    pub fn start() -> Rig {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("nslab-cli-{}-{count}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let store = Arc::new(Store::in_memory());
        for name in ["default", "kube-system"] {
            put(&store, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        }
        for (name, address) in [("m-k8s", "192.168.1.10"), ("w1-k8s", "192.168.1.101"), ("w2-k8s", "192.168.1.102")] {
            let control = json!({"node-role.kubernetes.io/control-plane": ""});
            let labels = if name == "m-k8s" { control } else { json!({}) };
            put(
                &store,
                json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": {
                    "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
                    "conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.34.0"}}}),
            );
        }
        let ended = Arc::new(AtomicBool::new(false));
        let kubelet = Kubelet { store: store.clone(), ended: Arc::default(), stopped: ended.clone() };
        let (sessions, nodes) = (Processes { kubelet: kubelet.clone() }, kubelet);
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (socket, of_api) = (directory.join("api.sock"), store.clone());
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = UnixListener::bind(socket).unwrap();
                let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(tcp.local_addr().unwrap()).unwrap();
                let api = Arc::new(Api::new(of_api, Arc::new(sessions), Layout::new("test")));
                tokio::select! {
                    () = serve(listener, api.clone(), stopped) => {}
                    () = serve(tcp, api, std::future::pending::<()>()) => {}
                }
            });
        });
        let address = is_ready.recv_timeout(PATIENCE).unwrap();
        let threads = vec![server, std::thread::spawn(move || nodes.run())];
        Rig { store, directory, address, ended, stop: Some(stop), threads }
    }

    /// Lets the controllers do what there is to do.
    pub fn settle(&self) {
        let mut context = nslab::control::Context::new(jiff::Timestamp::now());
        nslab::control::settle(&self.store, &mut context, 100);
    }

    /// Runs a line as a shell would, with `input` at standard input.
    pub fn run_with(&self, line: &str, input: &str) -> Said {
        let mut child = self.spawn(line);
        let mut stdin = child.stdin.take().unwrap();
        // Beside the reading of the output, or both sides would wait for room in a pipe. A program that ends without
        // having read all of it is seen by what it prints.
        let input = input.to_string();
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let said = finish(child);
        writer.join().unwrap();
        said
    }

    pub fn run(&self, line: &str) -> Said {
        self.run_with(line, "")
    }

    /// Runs a line that must succeed; what it printed.
    pub fn ok(&self, line: &str) -> String {
        let said = self.run(line);
        assert!(said.code == 0, "{line}: {said:?}");
        said.out
    }

    /// Runs a line that must fail with code 1; what it said.
    pub fn fails(&self, line: &str) -> String {
        let said = self.run(line);
        assert!(said.code == 1, "{line}: {said:?}");
        said.err
    }

    pub fn spawn(&self, line: &str) -> Child {
        self.command(line).spawn().unwrap()
    }

    /// Runs a line in an environment with this variable.
    pub fn run_in(&self, (name, value): (&str, &str), line: &str) -> Said {
        finish(self.command(line).env(name, value).stdin(Stdio::null()).spawn().unwrap())
    }

    fn command(&self, line: &str) -> Command {
        let mut words = words(line).into_iter();
        let program = words.next().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command
            .arg0(program)
            .args(words)
            .current_dir(&self.directory)
            .env("LAB_API_SOCKET", self.directory.join("api.sock"))
            .env_remove("LAB_NAME")
            .env_remove("KUBECONFIG")
            .env("HOME", &self.directory)
            .env("KUBE_EDITOR", "./editor")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The server ends, as that of a lab that is taken down, or that of one whose supervisor was killed.
    pub fn end_server(&mut self, by_down: bool) {
        if by_down {
            self.write(nslab::layout::GOING_DOWN, "");
        }
        let _ = self.stop.take().map(|stop| stop.send(()));
    }

    /// Copies a manifest of the notes next to the socket, under the name the notes call it by.
    pub fn file(&self, fixture: &str, name: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/notes").join(fixture);
        std::fs::copy(from, self.directory.join(name)).unwrap();
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(name), text).unwrap();
    }

    /// A program in the rig's directory, by its shell script.
    pub fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, &format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(self.directory.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The stored object.
    pub fn object(&self, kind: nslab::object::KindRef, name: &str) -> Option<Value> {
        let namespace = if kind.namespaced { "default" } else { "" };
        self.store.get(&Key::new(kind, namespace, name)).map(|object| object.to_value())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.stop.take().map(|stop| stop.send(()));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub fn finish(child: Child) -> Said {
    let id = child.id();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = send.send(child.wait_with_output());
    });
    let Ok(output) = receive.recv_timeout(PATIENCE) else {
        let _ = Command::new("kill").arg(id.to_string()).status();
        panic!("the program does not end");
    };
    let output = output.unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap_or(-1),
    }
}

/// Words in single quotes stay together.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

pub fn put(store: &Store, object: Value) {
    store.write(Write::Create(Object::from_value(object).unwrap())).unwrap();
}

/// Lets every pod run on w1-k8s at once, and takes pods away that are to go. Pods whose name says so never start.
#[derive(Clone)]
struct Kubelet {
    store: Arc<Store>,
    /// Names and exit codes of pods whose command has ended.
    ended: Arc<Mutex<Vec<(String, i32)>>>,
    stopped: Arc<AtomicBool>,
}

impl Kubelet {
    fn run(&self) {
        let mut version = 0;
        while !self.stopped.load(Ordering::Relaxed) {
            let snapshot = self.store.snapshot();
            for (key, pod) in snapshot.iter().filter(|(key, _)| key.kind == &kind::POD) {
                self.look_after(key, pod);
            }
            version = self.store.wait_past(version.max(snapshot.resource_version()), Duration::from_millis(20));
        }
    }

    fn look_after(&self, key: &Key, pod: &Object) {
        if pod.is_terminating() {
            let uid = Some(pod.uid().to_string());
            let propagation = Propagation::Background;
            let _ =
                self.store.write(Write::Delete(Delete { key: key.clone(), uid, grace_seconds: Some(0), propagation }));
            return;
        }
        let ended = self.ended.lock().unwrap().iter().find(|(name, _)| *name == key.name).map(|(_, code)| *code);
        let (phase, state) = match ended {
            Some(code) if pod.str_at(&["spec", "restartPolicy"]) == Some("Never") => {
                let phase = if code == 0 { "Succeeded" } else { "Failed" };
                (phase, json!({"terminated": {"exitCode": code}}))
            }
            _ if key.name.starts_with("stuck") => ("Pending", json!({"waiting": {"reason": "ErrImagePull"}})),
            _ => ("Running", json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})),
        };
        let mut new = pod.clone();
        let name = pod.at(&["spec", "containers"]).and_then(|c| c.get(0)?.get("name").cloned()).unwrap_or_default();
        new.json_mut()["spec"]["nodeName"] = "w1-k8s".into();
        let ready = if phase == "Running" { "True" } else { "False" };
        new.json_mut().insert(
            "status".into(),
            json!({"phase": phase, "podIP": "10.244.1.2", "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"name": name, "state": state, "ready": phase == "Running", "restartCount": 0}]}),
        );
        // Whoever was faster is seen in the next round.
        let _ = self.store.write(Write::Update(new, Part::All));
    }
}

/// Ordinary processes instead of containers. To attach is to talk to `sh`.
struct Processes {
    kubelet: Kubelet,
}

impl Sessions for Processes {
    fn exec(&self, _: &Target, command: session::Command) -> Result<Session, SessionError> {
        self.start(command, |_| {})
    }

    fn attach(&self, target: &Target, stdin: bool) -> Result<Session, SessionError> {
        let Target::Container { pod_uid, .. } = target else {
            return Err(SessionError::NotRunning("no container".into()));
        };
        let (kubelet, uid) = (self.kubelet.clone(), pod_uid.clone());
        let command = session::Command { argv: vec!["sh".into()], tty: false, stdin };
        self.start(command, move |code| {
            let snapshot = kubelet.store.snapshot();
            let pod = snapshot.iter().find(|(_, pod)| pod.uid() == uid);
            kubelet.ended.lock().unwrap().extend(pod.map(|(key, _)| (key.name.clone(), code)));
        })
    }

    /// Pods have this machine's network.
    fn socket(&self, _: &session::Pod, family: session::Family) -> Result<OwnedFd, SessionError> {
        let socket = match family {
            session::Family::Ipv4 => TcpSocket::new_v4(),
            session::Family::Ipv6 => TcpSocket::new_v6(),
        };
        socket.and_then(|s| s.as_fd().try_clone_to_owned()).map_err(|e| SessionError::NotRunning(e.to_string()))
    }
}

impl Processes {
    fn start(
        &self,
        command: session::Command,
        at_end: impl FnOnce(i32) + Send + 'static,
    ) -> Result<Session, SessionError> {
        let Some((program, arguments)) = command.argv.split_first() else {
            return Err(SessionError::CannotStart("no command".into()));
        };
        let stdin = if command.stdin { Stdio::piped() } else { Stdio::null() };
        let mut process = Command::new(program);
        process.args(arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let missing = |_| SessionError::CannotStart(format!("exec: \"{program}\": executable file not found in $PATH"));
        let mut child = process.spawn().map_err(missing)?;
        let (sender, exit) = oneshot::channel();
        let session = Session {
            stdin: child.stdin.take().map(Into::into),
            stdout: child.stdout.take().unwrap().into(),
            stderr: child.stderr.take().map(Into::into),
            resize: Box::new(|_, _| {}),
            exit,
        };
        std::thread::spawn(move || {
            let code = child.wait().unwrap().code().unwrap_or(137);
            at_end(code);
            let _ = sender.send(Exit { code });
        });
        Ok(session)
    }
}
