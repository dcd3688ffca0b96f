//! The built-in servers as pid 1 of a pod's namespaces, asked by curl. To be run inside `scripts/sandbox`.

mod common;

use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A pod without the lab: namespaces, a host name, and a root filesystem that nothing outside sees changes of.
const POD: &str = r#"
set -e
pod=$(mktemp -d /run/pod.XXXXXX)
mkdir "$pod/rw"
mount -t tmpfs tmpfs "$pod/rw"
mkdir "$pod/rw/upper" "$pod/rw/work" "$pod/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$pod/rw/upper,workdir=$pod/rw/work" "$pod/root"
mount --bind /proc "$pod/root/proc"
mount --bind /dev "$pod/root/dev"
touch "$pod/root/lab"
mount --bind "$LAB" "$pod/root/lab"
hostname web-1
ip link set lo up
eval "$PREPARE"
export NSLAB_READY_FD=3
exec chroot "$pod/root" /lab __applet "$@" 3>&1 1>&2
"#;

struct Pod {
    process: Child,
}

impl Pod {
    fn start(applet: &[&str]) -> Self {
        Pod::prepared("", applet)
    }

    /// Runs the shell commands `prepare` (the pod's root is `$pod/root`), then the applet; returns when it is ready.
    fn prepared(prepare: &str, applet: &[&str]) -> Self {
        let mut pod = Pod { process: Self::spawn(prepare, applet) };
        let mut told = [0];
        let ready = pod.process.stdout.as_mut().unwrap().read_exact(&mut told);
        if ready.is_err() || told != *b"\n" {
            let _ = pod.process.kill();
            let mut said = String::new();
            pod.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("{applet:?} did not report that it is ready: {said}");
        }
        pod
    }

    fn spawn(prepare: &str, applet: &[&str]) -> Child {
        common::require_sandbox();
        Command::new("unshare")
            .args(["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--", "sh", "-c", POD, "pod"])
            .args(applet)
            .env("LAB", env!("CARGO_BIN_EXE_lab"))
            .env("PREPARE", prepare)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, command: &[&str]) -> Output {
        let pid = self.process.id().to_string();
        Command::new("nsenter").args(["-t", &pid, "--net", "--"]).args(command).output().unwrap()
    }

    /// The answer to `curl ARGS`.
    fn curl(&self, args: &[&str]) -> String {
        let output = self.run(&[&["curl", "-sS", "--max-time", "10"], args].concat());
        assert!(output.status.success(), "curl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The applet's own process id, as it is seen here.
    fn pid(&self) -> String {
        let pid = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.trim().to_string()
    }

    /// Sends a signal to the applet, and returns its exit code and log.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid()]).status().unwrap();
        assert!(sent.success());
        let mut log = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.process.wait().unwrap().code(), log)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // `--kill-child` takes the applet along.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_descriptor_for_readiness_is_closed_after_use() {
    let pod = Pod::start(&["pause"]);
    let ours =
        std::fs::read_link(format!("/proc/self/fd/{}", pod.process.stdout.as_ref().unwrap().as_raw_fd())).unwrap();
    let open = || -> Vec<_> {
        let files = std::fs::read_dir(format!("/proc/{}/fd", pod.pid())).unwrap();
        files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok()).collect()
    };
    assert!(open().len() > 2);
    let deadline = Instant::now() + Duration::from_secs(10);
    while open().contains(&ours) {
        assert!(Instant::now() < deadline, "{ours:?} is still in {:?}", open());
        std::thread::yield_now();
    }
}

#[test]
fn the_course_images_answer_as_the_notes_show() {
    let hello = "\t<p>Hello,  web-1</p>\t</blockquote>\n";
    for (applet, url, expected) in [
        (vec!["echo-hname"], "http://127.0.0.1/any/path", "web-1\n"),
        (vec!["echo-hname"], "https://127.0.0.1/", "web-1\n"),
        (vec!["echo-ip"], "http://127.0.0.5/", "request_method : GET | ip_dest: 127.0.0.5\n"),
        (vec!["echo-ip"], "https://[::1]/", "request_method : GET | ip_dest: ::1\n"),
        (vec!["audit-trail"], "http://127.0.0.1/", "pod_n: web-1 | ip_dest: 127.0.0.1\n"),
        (vec!["rr-test"], "http://127.0.0.1/", hello),
        (vec!["kubia"], "http://127.0.0.1:8080/", "You've hit web-1\n"),
        (vec!["subicura-echo"], "http://127.0.0.1:3000/", "web-1"),
        (vec!["hpa-example"], "http://127.0.0.1/", "OK!"),
        (vec!["httpd"], "http://127.0.0.1/", "<html><body><h1>It works!</h1></body></html>\n"),
        (vec!["agnhost", "serve-hostname"], "http://127.0.0.1:9376/", "web-1"),
        (vec!["agnhost", "liveness"], "http://127.0.0.1:8080/healthz", "ok"),
        (vec!["agnhost", "netexec", "--http-port=80"], "http://127.0.0.1/echo?msg=a+b", "a b"),
    ] {
        let pod = Pod::start(&applet);
        let answer = pod.curl(&["-k", url]);
        if applet == ["rr-test"] {
            assert_eq!(answer.len(), 287 + "web-1".len());
            assert!(answer.contains(expected), "{answer}");
        } else {
            assert_eq!(answer, expected, "{applet:?} {url}");
        }
    }
}

#[test]
fn chk_info_shows_the_clients_address() {
    let pod = Pod::start(&["chk-info"]);
    let page = pod.curl(&["--interface", "127.0.0.7", "--local-port", "4444", "http://127.0.0.1/a?b=1"]);
    for line in
        ["remote_addr    : 127.0.0.7", "remote_port    : 4444", "request_uri    : /a?b=1", "hostname       : web-1"]
    {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
}

#[test]
fn audit_trail_records_requests_on_the_volume() {
    let pod = Pod::prepared("mkdir $pod/root/audit; mount -t tmpfs tmpfs $pod/root/audit", &["audit-trail"]);
    for method in ["GET", "DELETE"] {
        pod.curl(&["-X", method, "http://127.0.0.1/"]);
    }
    let log = std::fs::read_to_string(format!("/proc/{}/root/audit/audit_web-1.log", pod.pid())).unwrap();
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split("  ").collect()).collect();
    let ends: Vec<&[&str]> = lines.iter().map(|fields| &fields[1..]).collect();
    assert_eq!(ends, [["127.0.0.1", "GET"], ["127.0.0.1", "DELETE"]], "{log}");
}

#[test]
fn nginx_serves_what_is_mounted_and_logs_who_asked() {
    let root = "$pod/root/usr/share/nginx/html";
    let prepare = format!("mkdir -p {root}; mount -t tmpfs tmpfs {root}; echo mine >{root}/index.html");
    let pod = Pod::prepared(&prepare, &["nginx", "--tag", "1.14.2"]);
    assert_eq!(pod.curl(&["http://127.0.0.1/"]), "mine\n");
    let head = pod.curl(&["-I", "http://127.0.0.1/none"]);
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n") && head.contains("Server: nginx/1.14.2\r\n"), "{head}");
    let (code, log) = pod.end("TERM");
    assert_eq!(code, Some(0));
    assert!(log.contains("\"GET / HTTP/1.1\" 200 5 \"-\" \"curl/"), "{log}");
}

#[test]
fn netexec_answers_datagrams_and_dials() {
    let pod = Pod::start(&["agnhost", "netexec"]);
    let dial = "http://127.0.0.1:8080/dial?host=127.0.0.1&port=8081&protocol=udp&request=hostname&tries=2";
    assert_eq!(pod.curl(&[dial]), r#"{"responses":["web-1","web-1"]}"#);
    let shell = pod.curl(&["http://127.0.0.1:8080/shell?cmd=uname+-n"]);
    assert_eq!(shell, "{\"output\":\"web-1\\n\"}");
    let dead = pod.curl(&["http://127.0.0.1:8080/dial?host=127.0.0.1&port=1&request=hostname"]);
    assert_eq!(dead, r#"{"errors":["Connection refused (os error 111)"]}"#);
}

#[test]
fn the_first_signal_ends_a_server_that_is_pid_1() {
    for (applet, signal) in [("pause", "TERM"), ("echo-hname", "TERM"), ("nginx", "QUIT"), ("kubia", "INT")] {
        let (code, log) = Pod::start(&[applet]).end(signal);
        assert_eq!(code, Some(0), "{applet} on {signal}: {log}");
    }
}

#[test]
fn a_port_that_is_taken_ends_the_second_server_with_nginx_words() {
    let pod = Pod::start(&["nginx"]);
    let second = pod.run(&[env!("CARGO_BIN_EXE_lab"), "__applet", "echo-hname"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.starts_with("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)\n"), "{said}");
}

#[test]
fn bad_requests_are_refused_and_the_server_goes_on() {
    let pod = Pod::start(&["echo-hname"]);
    let large = format!("X-Large: {}", "x".repeat(64 * 1024));
    let status = pod.curl(&["-o", "/dev/null", "-w", "%{http_code}", "-H", &large, "http://127.0.0.1/"]);
    assert_eq!(status, "431");
    let garbage = pod.run(&["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80; printf 'no HTTP\\r\\n\\r\\n' >&3; cat <&3"]);
    assert!(garbage.stdout.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{garbage:?}");
    let plain = pod.run(&["curl", "-sS", "--max-time", "10", "http://127.0.0.1:443/"]);
    assert!(!plain.status.success(), "the TLS port speaks only TLS");
    assert_eq!(pod.curl(&["http://127.0.0.1/"]), "web-1\n");
}

#[test]
fn hello_world_prints_and_ends() {
    let output = Pod::spawn("", &["hello-world"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("Hello from a container!"));
}
