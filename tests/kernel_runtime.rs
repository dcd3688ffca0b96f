//! The node runtime on the real kernel. Needs root; run inside scripts/sandbox.

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use nslab::desired::{self, Bind, Program};
use nslab::kernel::process::Process;
use nslab::kernel::runtime::protocol::{ContainerSpec, Event, Place, PodSpec, Status};
use nslab::kernel::runtime::{self, RuntimeClient, RuntimeError};
use nslab::layout::Layout;
use nslab::session::{Command, Session, SessionError};

const PATIENCE: Duration = Duration::from_secs(30);

/// A node of its own for a test; it is killed at the end.
struct Node {
    layout: Layout,
    netns: OwnedFd,
    client: RuntimeClient,
    events: Receiver<Event>,
    process: Process,
}

/// A new network namespace with its loopback up.
fn netns() -> OwnedFd {
    let make = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("these tests need root, inside scripts/sandbox");
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        OwnedFd::from(File::open("/proc/thread-self/ns/net").unwrap())
    };
    std::thread::spawn(make).join().unwrap()
}

impl Node {
    fn start(lab: &str) -> Node {
        Node::with_mounts(lab, Vec::new())
    }

    fn with_mounts(lab: &str, extra_mounts: Vec<Bind>) -> Node {
        common::require_sandbox();
        let layout = Layout::new(lab);
        let netns = netns();
        let runtime = desired::Runtime { netns: format!("{lab}.w1"), hostname: "w1".into(), extra_mounts };
        let program = Path::new(env!("CARGO_BIN_EXE_lab"));
        runtime::spawn_program(program, &layout, "w1", &runtime, netns.as_fd()).unwrap();
        let (client, events) = RuntimeClient::connect(&layout, "w1").unwrap();
        let process = runtime::running(&layout, "w1").unwrap();
        Node { layout, netns, client, events, process }
    }

    fn start_pod(&self, uid: &str) {
        self.client.start_pod(pod(uid), netns().as_fd()).unwrap();
    }

    fn run(&self, container: ContainerSpec) {
        self.client.start_container(container).unwrap();
    }

    /// The next event, which must come soon.
    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    fn started(&self) -> i32 {
        match self.event() {
            Event::Started { pid, .. } => pid,
            other => panic!("not started but {other:?}"),
        }
    }

    fn exited(&self) -> (i32, Option<i32>) {
        match self.event() {
            Event::Exited { code, signal, .. } => (code, signal),
            other => panic!("not exited but {other:?}"),
        }
    }

    /// Runs a shell script to its end in a fresh container of a fresh pod; its log lines, without times.
    fn output_of(&self, uid: &str, script: &str) -> Vec<String> {
        self.start_pod(uid);
        self.run(shell(uid, script));
        self.started();
        self.exited();
        self.log(uid, "app", 0)
    }

    fn log_file(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.layout.pod_logs("default", &format!("pod-{uid}"), uid).join(container).join(format!("{attempt}.log"))
    }

    fn log(&self, uid: &str, container: &str, attempt: u32) -> Vec<String> {
        let text = fs::read_to_string(self.log_file(uid, container, attempt)).unwrap_or_default();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_string()).collect()
    }

    fn exec(&self, uid: &str, script: &str) -> (String, String, i32) {
        let place = Place::Container { pod: uid.into(), container: "app".into() };
        let command = Command { argv: argv(&["sh", "-c", script]), tty: false, stdin: false };
        finish(self.client.exec(place, command).unwrap())
    }

    fn exec_on_node(&self, script: &str) -> (String, String, i32) {
        let command = Command { argv: argv(&["sh", "-c", script]), tty: false, stdin: false };
        finish(self.client.exec(Place::Node, command).unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.process.signal(9).unwrap();
        assert!(self.process.wait_gone(PATIENCE));
        fs::remove_dir_all(self.layout.run()).unwrap();
        fs::remove_dir_all(self.layout.state()).unwrap();
    }
}

fn pod(uid: &str) -> PodSpec {
    PodSpec {
        uid: uid.into(),
        namespace: "default".into(),
        name: format!("pod-{uid}"),
        hostname: format!("host-{uid}"),
        hosts: format!("10.0.0.1\thost-{uid}\n"),
        resolv_conf: "nameserver 10.96.0.10\n".into(),
        credentials: None,
    }
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

fn container(pod: &str, words: &[&str]) -> ContainerSpec {
    ContainerSpec {
        pod: pod.into(),
        name: "app".into(),
        attempt: 0,
        program: Program::Command { argv: argv(words) },
        env: Vec::new(),
        working_dir: None,
        stdin: false,
        stdin_once: false,
        tty: false,
    }
}

fn shell(pod: &str, script: &str) -> ContainerSpec {
    container(pod, &["sh", "-c", script])
}

fn finish(session: Session) -> (String, String, i32) {
    drop(session.stdin);
    let read = |fd: OwnedFd| {
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).unwrap();
        text
    };
    let out = read(session.stdout);
    let err = session.stderr.map(read).unwrap_or_default();
    (out, err, session.exit.blocking_recv().unwrap().code)
}

/// Reads until `wanted` has come; a terminal's end is an error and would never come as one.
fn read_until(file: &mut File, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(wanted) {
        match file.read(&mut buffer) {
            Ok(0) | Err(_) => panic!("{wanted:?} did not come, but {text:?}"),
            Ok(length) => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
        }
    }
    text
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn kernel_a_container_has_what_its_pod_says() {
    let node = Node::start("rt-basic");
    node.start_pod("a");
    let script = "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf; pwd; echo $GREETING $HOME $HOSTNAME; \
                  echo $$; umask; id -u; echo oops >&2; exit 7";
    let mut spec = shell("a", script);
    spec.env = vec![("GREETING".into(), "hello world".into())];
    spec.working_dir = Some("/srv/made/for/it".into());
    node.run(spec);
    assert!(node.started() > 1);
    assert_eq!(node.exited(), (7, None));
    let log = node.log("a", "app", 0);
    let (out, err): (Vec<&str>, Vec<&str>) =
        log.iter().map(String::as_str).partition(|line| line.starts_with("stdout F "));
    let out: Vec<&str> = out.iter().map(|line| &line["stdout F ".len()..]).collect();
    assert_eq!(
        out,
        [
            "host-a",
            "host-a",
            "10.0.0.1\thost-a",
            "nameserver 10.96.0.10",
            "/srv/made/for/it",
            "hello world /root host-a",
            "1",
            "0022",
            "0"
        ]
    );
    assert_eq!(err, ["stderr F oops"]);
    let text = fs::read_to_string(node.log_file("a", "app", 0)).unwrap();
    let time = text.split(' ').next().unwrap();
    assert_eq!(time.len(), "2026-11-21T05:00:00.123456789Z".len(), "{time}");
}

#[test]
fn kernel_the_machine_is_not_seen() {
    let node = Node::start("rt-hidden");
    let marker = format!("/tmp/nslab-hidden-{}", std::process::id());
    fs::write(&marker, "secret").unwrap();
    let script = format!(
        "ls -A /root /home /mnt /boot /lost+found /etc/shadow {marker} 2>/dev/null; ls / | tr '\\n' ' '; echo; \
         ls -d /proc/[0-9]* | wc -l; wc -l < /proc/net/route; \
         touch /usr/x /proc/sys/kernel/x 2>/dev/null || echo denied; \
         echo 1 > /proc/sys/kernel/sysrq || echo denied; echo h > /proc/sysrq-trigger || echo denied; \
         mknod /tmp/disk b 254 0 2>/dev/null || echo denied; mount -t tmpfs x /mnt 2>/dev/null || echo denied; \
         : > /dev/null && head -c 2 /dev/zero | wc -c; test -r /etc/ld.so.cache && echo cache"
    );
    let log = node.output_of("a", &script);
    fs::remove_file(marker).unwrap();
    let out: Vec<String> = log.iter().filter_map(|line| line.strip_prefix("stdout F ")).map(String::from).collect();
    // Listing several directories prints their names with a colon.
    let listed: Vec<&String> =
        out.iter().filter(|line| !line.is_empty() && !["/root:", "/home:", "/mnt:"].contains(&line.as_str())).collect();
    let root = listed[0].split(' ').filter(|name| !name.is_empty()).collect::<Vec<_>>();
    for expected in ["bin", "dev", "etc", "proc", "sys", "tmp", "usr", "var"] {
        assert!(root.contains(&expected), "{root:?}");
    }
    for hidden in ["boot", "work", "lost+found", "m", "p", "skel", "node", "n", "ro"] {
        assert!(!root.contains(&hidden), "{root:?}");
    }
    // Its shell, and the two programs of the pipe at most.
    assert!((1..=3).contains(&listed[1].parse::<u32>().unwrap()), "{listed:?}");
    // Only the heading: the pod has a network namespace of its own.
    assert_eq!(listed[2], "1");
    let rest: Vec<&str> = listed[3..].iter().map(|line| line.as_str()).collect();
    assert_eq!(rest, ["denied", "denied", "denied", "denied", "denied", "2", "cache"]);
}

#[test]
fn kernel_containers_of_a_pod_share_its_network() {
    let node = Node::start("rt-shared");
    node.start_pod("a");
    let mut server = container("a", &[]);
    server.program = Program::Applet { argv: argv(&["echo-hname", "--fast"]) };
    server.name = "one".into();
    node.run(server.clone());
    node.started();
    // The first one listens: it said so.
    let mut second = server.clone();
    second.name = "two".into();
    node.run(second);
    // Never started as far as anybody can tell.
    let (code, signal) = node.exited();
    assert!(code != 0 && signal.is_none(), "the port is taken, {code}");
    // And sees the other's hostname and port, not its processes.
    let mut third = shell("a", "hostname; ls -d /proc/[0-9]* | wc -l; grep -c 0050 /proc/net/tcp /proc/net/tcp6");
    third.name = "three".into();
    node.run(third);
    node.started();
    node.exited();
    let log = node.log("a", "three", 0).join("\n");
    assert!(log.starts_with("stdout F host-a\n"), "{log}");
    assert!(log.contains(":1"), "{log}");
    // A built-in server looks like any program.
    let place = Place::Container { pod: "a".into(), container: "one".into() };
    // The last line would show files that the runtime has open.
    let script = "tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/comm; tr '\\0' '\\n' < /proc/1/environ | sort; \
                  readlink /proc/1/fd/* | grep -vE '^(socket|pipe|anon_inode):|^/dev/null$'";
    let command = Command { argv: argv(&["sh", "-c", script]), tty: false, stdin: false };
    let (out, ..) = finish(node.client.exec(place, command).unwrap());
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let expected = format!("echo-hname --fast echo-hname\nHOME=/root\nHOSTNAME=host-a\nNSLAB_READY_FD=3\n{path}\n");
    assert_eq!(out, expected);
    let state = node.client.list().unwrap();
    let statuses: Vec<(&str, bool)> = state.pods[0]
        .containers
        .iter()
        .map(|container| (container.name.as_str(), matches!(container.status, Status::Running { .. })))
        .collect();
    assert_eq!(statuses, [("one", true), ("three", false), ("two", false)]);
}

#[test]
fn kernel_a_restart_begins_with_a_fresh_root() {
    let node = Node::start("rt-restart");
    node.start_pod("a");
    let script = "cat /made 2>/dev/null; cat /dev/shm/made 2>/dev/null; echo here > /made; echo shm > /dev/shm/made";
    node.run(shell("a", script));
    node.started();
    assert_eq!(node.exited(), (0, None));
    // Repeated requests of an attempt change nothing.
    node.run(shell("a", script));
    node.run(ContainerSpec { attempt: 1, ..shell("a", script) });
    match node.event() {
        Event::Started { attempt: 1, .. } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(node.exited(), (0, None));
    assert!(node.log("a", "app", 0).is_empty());
    assert_eq!(node.log("a", "app", 1), ["stdout F shm"]);
}

#[test]
fn kernel_signals_end_containers_as_in_life() {
    let node = Node::start("rt-signals");
    node.start_pod("a");
    node.run(container("a", &["sleep", "1000"]));
    node.started();
    // Pid 1 of a pid namespace does not hear a signal that it has no handler for.
    node.client.signal_container("a", "app", 15).unwrap();
    node.client.kill_container("a", "app").unwrap();
    assert_eq!(node.exited(), (137, Some(9)));
    node.run(ContainerSpec { attempt: 1, ..shell("a", "trap 'exit 3' TERM; echo ready; sleep 1000 & wait") });
    node.started();
    eventually("the trap", || node.log("a", "app", 1) == ["stdout F ready"]);
    node.client.signal_container("a", "app", 15).unwrap();
    assert_eq!(node.exited(), (3, None));
}

#[test]
fn kernel_a_stop_waits_out_its_grace() {
    let node = Node::start("rt-stop");
    node.start_pod("a");
    node.run(ContainerSpec { name: "deaf".into(), ..container("a", &["sleep", "1000"]) });
    node.run(ContainerSpec {
        name: "polite".into(),
        ..shell("a", "trap 'exit 0' TERM; echo ready; sleep 1000 & wait")
    });
    node.started();
    node.started();
    eventually("the trap", || node.log("a", "polite", 0) == ["stdout F ready"]);
    let begun = Instant::now();
    node.client.stop_pod("a", 1).unwrap();
    let Event::Exited { container: name, code: 0, .. } = node.event() else { panic!("the polite one goes first") };
    assert_eq!(name, "polite");
    let Event::Exited { container: name, signal: Some(9), .. } = node.event() else { panic!("the deaf one is killed") };
    assert_eq!(name, "deaf");
    assert!(begun.elapsed() >= Duration::from_secs(1), "its grace was cut short");
    assert!(matches!(node.event(), Event::PodStopped { pod, .. } if pod == "a"));
    assert!(node.client.list().unwrap().pods.is_empty());
    // Again, and for a pod that never was: the same answer.
    node.client.stop_pod("a", 1).unwrap();
    assert!(matches!(node.event(), Event::PodStopped { pod, .. } if pod == "a"));
    // A long grace can be cut short.
    node.start_pod("b");
    node.run(container("b", &["sleep", "1000"]));
    node.started();
    node.client.stop_pod("b", 1_000_000).unwrap();
    node.run(ContainerSpec { attempt: 1, name: "late".into(), ..container("b", &["true"]) });
    assert!(matches!(node.event(), Event::StartFailed { message, .. } if message.contains("being stopped")));
    node.client.stop_pod("b", 0).unwrap();
    assert_eq!(node.exited(), (137, Some(9)));
    assert!(matches!(node.event(), Event::PodStopped { .. }));
}

/// The first process of a pid namespace gets no signal that it does not handle yet.
#[test]
fn kernel_a_stop_is_not_lost_on_a_server_that_is_being_started() {
    let node = Node::start("rt-early");
    for n in 0..20 {
        let uid = n.to_string();
        node.start_pod(&uid);
        node.run(ContainerSpec { program: Program::Applet { argv: argv(&["pause"]) }, ..container(&uid, &[]) });
        // Longer than any test waits.
        node.client.stop_pod(&uid, 1_000_000).unwrap();
        node.started();
        assert_eq!(node.exited(), (0, None));
        assert!(matches!(node.event(), Event::PodStopped { pod, .. } if pod == uid));
    }
}

#[test]
fn kernel_what_cannot_start_says_why() {
    let node = Node::start("rt-fail");
    node.start_pod("a");
    let cases = [
        (&["foo"][..], "exec: \"foo\": executable file not found in $PATH"),
        (&["/foo"][..], "exec: \"/foo\": stat /foo: no such file or directory"),
        (&["/etc/passwd"][..], "exec: \"/etc/passwd\": permission denied"),
        (&[][..], "exec: no command given"),
        (&["tr\0ue"][..], "exec: \"tr\\0ue\""),
    ];
    for (attempt, (words, expected)) in cases.into_iter().enumerate() {
        node.run(ContainerSpec { attempt: attempt as u32, ..container("a", words) });
        let Event::StartFailed { message, .. } = node.event() else { panic!("{words:?} was started") };
        assert!(message.starts_with(expected), "{message}");
        // Its process is gone only a moment later, and until then the next attempt would be refused.
        eventually("the end", || {
            let state = node.client.list().unwrap();
            matches!(state.pods[0].containers[0].status, Status::StartFailed { .. })
                && node.exec_on_node("ls -d /proc/[0-9]* | wc -l").0.trim().parse::<u32>().unwrap() <= 5
        });
    }
    node.run(container("nowhere", &["true"]));
    assert!(matches!(node.event(), Event::StartFailed { pod, .. } if pod == "nowhere"));
}

#[test]
fn kernel_exec_joins_the_container() {
    let node = Node::start("rt-exec");
    node.start_pod("a");
    let mut spec = container("a", &["sleep", "1000"]);
    spec.env = vec![("COLOUR".into(), "blue".into())];
    spec.working_dir = Some("/opt/app".into());
    node.run(spec);
    node.started();
    let (out, err, code) =
        node.exec("a", "hostname; pwd; echo $COLOUR; tr '\\0' ' ' < /proc/1/cmdline; echo bad >&2; kill -9 $$");
    assert_eq!((out.as_str(), err.as_str(), code), ("host-a\n/opt/app\nblue\nsleep 1000 ", "bad\n", 137));
    let (bounding, _, _) = node.exec("a", "grep -E 'CapBnd|CapEff' /proc/self/status | sort -u -k2 | wc -l; touch /t");
    assert_eq!(bounding, "1\n", "effective and bounding set are the same");

    let place = Place::Container { pod: "a".into(), container: "app".into() };
    let command = Command { argv: argv(&["cat"]), tty: false, stdin: true };
    let mut session = node.client.exec(place.clone(), command).unwrap();
    File::from(session.stdin.take().unwrap()).write_all(b"through\n").unwrap();
    assert_eq!(finish(session), ("through\n".into(), String::new(), 0));

    let command = Command { argv: argv(&["nothing-like-it"]), tty: false, stdin: false };
    let Err(SessionError::CannotStart(message)) = node.client.exec(place.clone(), command.clone()) else {
        panic!("it was started")
    };
    assert_eq!(message, "exec: \"nothing-like-it\": executable file not found in $PATH");
    node.client.kill_container("a", "app").unwrap();
    node.exited();
    assert!(matches!(node.client.exec(place, command), Err(SessionError::NotRunning(_))));
}

#[test]
fn kernel_exec_with_a_terminal() {
    let node = Node::start("rt-tty");
    node.start_pod("a");
    node.run(container("a", &["sleep", "1000"]));
    node.started();
    for place in [Place::Container { pod: "a".into(), container: "app".into() }, Place::Node] {
        let command = Command { argv: argv(&["sh"]), tty: true, stdin: true };
        let session = node.client.exec(place, command).unwrap();
        assert!(session.stderr.is_none());
        let mut output = File::from(session.stdout);
        let mut input = File::from(session.stdin.unwrap());
        (session.resize)(101, 42);
        input.write_all(b"tty; stty size; echo $TERM-$((40 + 2)); exit 5\n").unwrap();
        let text = read_until(&mut output, "xterm-42");
        assert!(text.contains("/dev/pts/0") && text.contains("42 101"), "{text}");
        assert_eq!(session.exit.blocking_recv().unwrap().code, 5);
    }
}

#[test]
fn kernel_attach_joins_the_streams() {
    let node = Node::start("rt-attach");
    node.start_pod("a");
    let spec = container("a", &["sh", "-c", "while read line; do echo got $line; echo err $line >&2; done; exit 4"]);
    node.run(ContainerSpec { stdin: true, stdin_once: true, ..spec });
    node.started();
    let watcher = node.client.attach("a", "app", false).unwrap();
    assert!(watcher.stdin.is_none());
    let session = node.client.attach("a", "app", true).unwrap();
    let mut input = File::from(session.stdin.unwrap());
    let mut output = File::from(session.stdout);
    input.write_all(b"one\n").unwrap();
    read_until(&mut output, "got one\n");
    // Its leaving ends the container's stdin, and so the container.
    drop(input);
    assert_eq!(node.exited(), (4, None));
    assert_eq!(session.exit.blocking_recv().unwrap().code, 4);
    assert_eq!(finish(watcher), ("got one\n".into(), "err one\n".into(), 4));
    let mut log = node.log("a", "app", 0);
    log.sort();
    assert_eq!(log, ["stderr F err one", "stdout F got one"]);
    assert!(matches!(node.client.attach("a", "app", true), Err(SessionError::NotRunning(_))));

    // With a terminal: one stream, and a size.
    node.run(ContainerSpec { attempt: 1, tty: true, stdin: true, ..container("a", &["sh"]) });
    node.started();
    let session = node.client.attach("a", "app", true).unwrap();
    assert!(session.stderr.is_none());
    let (mut input, mut output) = (File::from(session.stdin.unwrap()), File::from(session.stdout));
    (session.resize)(90, 30);
    input.write_all(b"stty size; tty; exit 6\n").unwrap();
    let text = read_until(&mut output, "/dev/pts/0\r\n");
    assert!(text.contains("30 90"), "{text}");
    assert_eq!(node.exited(), (6, None));
    assert_eq!(session.exit.blocking_recv().unwrap().code, 6);
}

#[test]
fn kernel_a_client_that_does_not_read_loses_nothing() {
    let node = Node::start("rt-slow");
    node.start_pod("a");
    // Far more than the pipes between can hold.
    node.run(ContainerSpec { stdin: true, ..shell("a", "read go; seq 1 300000; exit 9") });
    node.started();
    let mut session = node.client.attach("a", "app", true).unwrap();
    File::from(session.stdin.take().unwrap()).write_all(b"go\n").unwrap();
    // The container is held up and cannot end.
    eventually("the first output", || !node.log("a", "app", 0).is_empty());
    assert!(node.events.recv_timeout(Duration::from_millis(200)).is_err());
    let (out, _, code) = finish(session);
    assert_eq!(node.exited(), (9, None));
    assert_eq!(code, 9);
    assert_eq!(out.lines().count(), 300_000);
    assert!(out.ends_with("\n300000\n"));
    let log = node.log("a", "app", 0);
    // It is larger than a file may be, so that the first part has been put aside.
    let old = fs::read_to_string(node.log_file("a", "app", 0).with_extension("log.1")).unwrap();
    assert_eq!(old.lines().count() + log.len(), 300_000);
    assert_eq!(log.last().unwrap(), "stdout F 300000");
}

#[test]
fn kernel_a_new_supervisor_takes_over() {
    let mut node = Node::start("rt-takeover");
    node.start_pod("a");
    node.run(ContainerSpec { name: "runs".into(), ..container("a", &["sleep", "1000"]) });
    node.run(ContainerSpec { name: "ends".into(), stdin: true, stdin_once: true, ..shell("a", "read x; exit 12") });
    let pids = [node.started(), node.started()];
    let session = node.client.attach("a", "ends", true).unwrap();
    let before = node.client.list().unwrap();
    drop(session);
    // The exit happens with nobody there to hear of it, or just before.
    let (client, events) = RuntimeClient::connect(&node.layout, "w1").unwrap();
    node.client = client;
    node.events = events;
    eventually("the exit", || {
        let state = node.client.list().unwrap();
        matches!(state.pods[0].containers[0].status, Status::Exited { code: 12, signal: None, .. })
    });
    let state = node.client.list().unwrap();
    assert_eq!(state.pods[0].containers[1], before.pods[0].containers[1]);
    let Status::Running { pid, .. } = state.pods[0].containers[1].status else { panic!("it does not run") };
    assert!(pids.contains(&pid));
    // It obeys the new one.
    node.client.stop_pod("a", 0).unwrap();
    while !matches!(node.event(), Event::PodStopped { .. }) {}
    let runtime = desired::Runtime { netns: String::new(), hostname: "w1".into(), extra_mounts: Vec::new() };
    let again = runtime::spawn(&node.layout, "w1", &runtime, node.netns.as_fd());
    assert!(matches!(again, Err(RuntimeError::AlreadyRunning { pid, .. }) if pid == node.process.pid));
}

#[test]
fn kernel_a_killed_runtime_leaves_nothing() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let node = Node::start("rt-killed");
    node.start_pod("a");
    for (name, script) in [("one", "sleep 98765 & sleep 98765 & wait"), ("two", "trap '' TERM INT HUP; sleep 98765")] {
        node.run(ContainerSpec { name: name.into(), ..shell("a", script) });
        node.started();
    }
    let (_, _, code) = node.exec_on_node("setsid sleep 98765 > /dev/null 2>&1 &");
    assert_eq!(code, 0);
    let living = || {
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
        processes.filter(|path| fs::read_to_string(path).is_ok_and(|line| line.contains("sleep\098765"))).count()
    };
    eventually("the start of all programs", || living() == 4);
    node.process.signal(9).unwrap();
    assert!(node.process.wait_gone(PATIENCE));
    assert!(matches!(node.events.recv_timeout(PATIENCE), Err(std::sync::mpsc::RecvTimeoutError::Disconnected)));
    assert_eq!(living(), 0);
    assert!(matches!(node.client.list(), Err(RuntimeError::Lost { .. })));
    assert!(runtime::running(&node.layout, "w1").is_none());
    assert_eq!(mounts(), before);
}

#[test]
fn kernel_the_node_is_a_machine() {
    let source = PathBuf::from(format!("/tmp/nslab-extra-{}", std::process::id()));
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("file"), "from the machine\n").unwrap();
    let bind = |target: &str, read_only| Bind { source: source.clone(), target: target.into(), read_only };
    let node = Node::with_mounts("rt-node", vec![bind("/mnt/rw", false), bind("/mnt/deep/ro", true)]);
    let (out, err, code) = node.exec_on_node(
        "hostname; cat /mnt/rw/file /mnt/deep/ro/file; touch /mnt/rw/new; touch /mnt/deep/ro/no || echo denied; pwd; \
         mkdir -p /mnt/data && echo kept > /mnt/data/file; cat /etc/hostname; \
         tr '\\0' ' ' < /proc/1/cmdline",
    );
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, "w1\nfrom the machine\nfrom the machine\ndenied\n/root\nw1\nlab __node rt-node w1 ");
    assert!(source.join("new").exists());
    let root = node.layout.node_root("w1");
    assert_eq!(fs::read_to_string(root.join("mnt/data/file")).unwrap(), "kept\n");
    // A second command finds what the first one has changed, mounts too.
    assert_eq!(node.exec_on_node("mount -t tmpfs x /mnt/data && ls /mnt/data; nft list ruleset; ip -br link").2, 0);
    assert_eq!(node.exec_on_node("grep -c ' /mnt/data ' /proc/self/mounts").0, "1\n");
    let process = node.process;
    process.signal(9).unwrap();
    assert!(process.wait_gone(PATIENCE));
    fs::remove_dir_all(&source).unwrap();
    assert!(!runtime::tidy_node_root(&root).unwrap());
    assert_eq!(fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), ["mnt"]);
}

#[test]
fn kernel_a_node_that_cannot_be_says_why() {
    let layout = Layout::new("rt-broken");
    let netns = netns();
    let missing = Bind { source: "/no/such/directory".into(), target: "/mnt".into(), read_only: false };
    let runtime = desired::Runtime { netns: String::new(), hostname: "w1".into(), extra_mounts: vec![missing] };
    let program = Path::new(env!("CARGO_BIN_EXE_lab"));
    runtime::spawn_program(program, &layout, "w1", &runtime, netns.as_fd()).unwrap();
    let process = Process::read(&runtime::pid_file(&layout, "w1")).unwrap();
    let Err(RuntimeError::Setup { message, .. }) = RuntimeClient::connect(&layout, "w1") else {
        panic!("it was set up")
    };
    assert!(message.contains("/no/such/directory"), "{message}");
    assert!(process.wait_gone(PATIENCE));
    let error = runtime::spawn_program(Path::new("/no/program"), &layout, "w1", &runtime, netns.as_fd());
    assert!(matches!(error, Err(RuntimeError::Spawn { step: "run lab", .. })), "{error:?}");
    fs::remove_dir_all(layout.run()).unwrap();
    fs::remove_dir_all(layout.state()).unwrap();
}

#[test]
fn kernel_nonsense_does_not_end_the_node() {
    let node = Node::start("rt-nonsense");
    node.start_pod("a");
    node.run(container("a", &["sleep", "1000"]));
    let pid = node.started();
    for nonsense in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x02\0\0\0\0{}", b"\xff\xff\xff\xff\xff", b"\x04\0\0\0\x03null", b""]
    {
        let mut socket = std::os::unix::net::UnixStream::connect(node.layout.runtime_socket("w1")).unwrap();
        let _ = socket.write_all(nonsense);
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // It greets, then hangs up.
        let _ = socket.read_to_end(&mut rest);
        assert!(!rest.is_empty());
    }
    let (client, _events) = RuntimeClient::connect(&node.layout, "w1").unwrap();
    let state = client.list().unwrap();
    assert!(matches!(state.pods[0].containers[0].status, Status::Running { pid: now, .. } if now == pid));
}

#[test]
fn kernel_many_pods_at_once() {
    let node = Node::start("rt-many");
    let shared = netns();
    for i in 0..100 {
        let uid = i.to_string();
        node.client.start_pod(pod(&uid), shared.as_fd()).unwrap();
        node.run(container(&uid, &["sleep", "1000"]));
    }
    for _ in 0..100 {
        node.started();
    }
    // Neither zombies nor descriptors pile up.
    let open = || fs::read_dir(format!("/proc/{}/fd", node.process.pid)).unwrap().count();
    let many = open();
    for i in 0..100 {
        node.client.stop_pod(&i.to_string(), 0).unwrap();
    }
    for _ in 0..200 {
        node.event();
    }
    assert!(node.client.list().unwrap().pods.is_empty());
    assert!(open() + 500 < many, "{} of {many} descriptors are still open", open());
    assert_eq!(node.exec_on_node("ps -e -o stat= | grep -c Z").0, "0\n");
}
