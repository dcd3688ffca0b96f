//! What `lab up`, `lab down`, `lab status` and `lab doctor` say when things do not go straight: objects that change, a
//! user who does not wait, clients that are connected, shells that stay. Run by `scripts/test` inside `scripts/sandbox`.

mod lab_rig;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lab_rig::{Lab, nothing_is_left};

const LAB: &str = env!("CARGO_BIN_EXE_lab");

fn spawn(arg0: &str, line: &str) -> Child {
    let mut command = Command::new(LAB);
    command
        .arg0(arg0)
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("the lab binary starts")
}

/// Waits for the end; exit code and standard error.
fn ended(mut child: Child) -> (i32, String) {
    drop(child.stdin.take());
    let out = child.wait_with_output().expect("it ends");
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// Waits until a program that goes elsewhere and becomes another one is that other one.
fn runs(child: &Child, program: &str) {
    until(program, || {
        std::fs::read_to_string(format!("/proc/{}/comm", child.id())).is_ok_and(|is| is.trim() == program)
    });
}

fn signal(name: &str, pid: u32) {
    let done = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("kill runs");
    assert!(done.success());
}

/// A file in a directory of its own, removed with this value.
struct Manifest(std::path::PathBuf);

impl Manifest {
    fn new(text: &str) -> Manifest {
        // One test's is removed while the next one's is already there.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nslab-up-down-{}-{number}.yaml", std::process::id()));
        std::fs::write(&path, text).expect("the manifest is written");
        Manifest(path)
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).expect("the manifest is written");
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for Manifest {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: sysnet4admin/echo-hname}
";

/// Ready only after eight minutes, though nothing is wrong.
fn never_ready() -> String {
    WEB.replace("replicas: 1", "replicas: 1\n  minReadySeconds: 500")
}

#[test]
fn what_changed_yaml_changes_is_said() {
    let lab = Lab::nothing_yet();
    let file = Manifest::new(WEB);
    lab.run("lab", &["up", file.path()]).ok().has("deployment.apps/web created");
    lab.run("lab", &["up", file.path()]).ok().has("Nothing changed: the lab \"lab\" is ready");
    file.write(&WEB.replace("replicas: 1", "replicas: 2").replace("echo-hname", "echo-ip"));
    lab.run("lab", &["up", file.path()]).ok().has(
        "deployment.apps/web configured: spec.replicas 1 -> 2, spec.template.spec.containers[web].image \
         sysnet4admin/echo-hname -> sysnet4admin/echo-ip (new pods)\n",
    );
    file.write(WEB);
    let json = lab.run("lab", &["up", "-o", "json", file.path()]).ok().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["ready"], true);
    let applied = &json["applied"][0];
    assert_eq!((&applied["outcome"], &applied["effect"]), (&"configured".into(), &"new pods".into()));
    assert_eq!(applied["changes"][0], serde_json::json!({"field": "spec.replicas", "from": 2, "to": 1}));
    // Without waiting, programs get the state as it is.
    let json = lab.run("lab", &["up", "--no-wait", "-o", "json", file.path()]).ok().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["applied"][0]["outcome"], "unchanged");
    // A failure is an answer too.
    file.write(&WEB.replace("sysnet4admin/echo-hname", "no/such"));
    let failed = lab.run("lab", &["up", "-o", "json", file.path()]).fails();
    let json: serde_json::Value = serde_json::from_str(&failed.stdout).expect("JSON");
    assert_eq!((&json["ready"], &json["applied"][0]["outcome"]), (&false.into(), &"configured".into()));
    failed.has("error: lab \"lab\" is not ready after").has("ErrImagePull");
    lab.down();
}

#[test]
fn an_interrupted_up_says_what_stays() {
    let lab = Lab::nothing_yet();
    let file = Manifest::new(&never_ready());
    for (name, code, sign) in [("INT", 130, "is ready on"), ("TERM", 143, "web configured: spec.replicas 1 -> 2")] {
        let mut up = spawn("lab", &format!("up --timeout 10m {}", file.path()));
        let out = BufReader::new(up.stdout.take().expect("its output"));
        let mut heard = Vec::new();
        let told = out
            .lines()
            .map(|line| line.expect("a line"))
            .inspect(|line| heard.push(line.clone()))
            .any(|line| line.contains(sign));
        assert!(told, "{sign}: {heard:#?}");
        signal(name, up.id());
        let (ended_with, said) = ended(up);
        assert_eq!(ended_with, code, "{said}");
        assert!(said.contains("no longer waiting for lab \"lab\"; what was applied stays"), "{said}");
        assert!(said.contains("sudo lab status") && said.contains("sudo lab down"), "{said}");
        file.write(&never_ready().replace("replicas: 1", "replicas: 2"));
    }
    until("what was applied comes to be", || lab.kubectl("get deployment web").ok().stdout.contains("2/2"));
    lab.down();
}

/// A terminal sends its ^C to all of its processes: the supervisor must not be one of them.
#[test]
fn an_interrupt_of_the_whole_terminal_spares_the_lab() {
    let lab = Lab::nothing_yet();
    let file = Manifest::new(&never_ready());
    let mut command = Command::new(LAB);
    command.args(["up", "--timeout", "10m", file.path()]).process_group(0);
    let mut up = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the lab binary starts");
    let mut line = String::new();
    let mut out = BufReader::new(up.stdout.take().expect("its output"));
    // "starting lab", and so the supervisor is about to be.
    out.read_line(&mut line).expect("a line");
    until("the supervisor is there", || {
        std::fs::read("/run/nslab/lab/supervisor.lock").is_ok_and(|pid| !pid.is_empty())
    });
    let group = format!("-{}", up.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().expect("kill runs").success());
    let (code, said) = ended(up);
    assert_eq!(code, 130, "{said}");
    until("the API answers", || lab.lab("status -o json").stdout.contains("\"nodes\""));
    lab.kubectl("get nodes").ok().lines_with("k8s", 4);
    lab.down();
}

#[test]
fn an_interrupt_before_anything_changes_nothing() {
    let lab = Lab::nothing_yet();
    let up = spawn("lab", "up -");
    // It answers signals in its own way from the moment that its thread is there.
    until("it reads its input", || {
        std::fs::read_dir(format!("/proc/{}/task", up.id())).is_ok_and(|tasks| tasks.count() > 1)
    });
    signal("INT", up.id());
    let code = {
        let mut up = up;
        let status = up.wait().expect("it ends");
        let mut said = String::new();
        up.stderr.take().expect("its errors").read_to_string(&mut said).expect("text");
        assert_eq!(said, "interrupted: nothing was changed\n");
        status.code()
    };
    assert_eq!(code, Some(130));
    nothing_is_left();
    drop(lab);
}

#[test]
fn an_up_that_cannot_be_changes_nothing() {
    let lab = Lab::nothing_yet();
    let as_nobody = |line: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", LAB]).args(line.split_whitespace());
        let out = command.output().expect("setpriv runs");
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, said) = as_nobody("up");
    assert_eq!(code, Some(1));
    assert!(said.contains("bring up lab \"lab\"") && said.contains("run it with sudo"), "{said}");
    nothing_is_left();

    let ip = |line: &str| {
        let done = Command::new("ip").args(line.split_whitespace()).status().expect("ip runs");
        assert!(done.success(), "{line}");
    };
    ip("link add up0 type bridge");
    ip("address add 192.168.1.77/25 dev up0");
    let clash = lab.lab("up").fails();
    clash.has("cannot run on this machine, and nothing was changed").has("address 192.168.1.77/25 of up0");
    clash.has("--no-host").has("lanSubnet: ");
    ip("link delete up0");
    nothing_is_left();

    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  type: NodePort\n  ports:\n";
    let file = Manifest::new("");
    for (port, place, why) in [
        ("{port: 80, nodePort: 70}", "7:26", "30000-32767"),
        ("{port: 80000}", "7:12", "must be between 1 and 65535, inclusive"),
    ] {
        file.write(&format!("{service}  - {port}\n"));
        lab.run("lab", &["up", file.path()]).fails().has(&format!("{}:{place}: spec.ports[0].", file.path())).has(why);
        nothing_is_left();
    }

    file.write(&never_ready());
    let up = spawn("lab", &format!("up --timeout 10m {}", file.path()));
    until("it waits", || lab.kubectl("get pods").stdout.contains("Running"));
    let pid = format!("another process (pid {}) is at work on this lab", up.id());
    lab.lab("up").fails().has("bring up lab \"lab\"").has(&pid);
    lab.lab("down").fails().has("take down lab \"lab\"").has(&pid);
    signal("INT", up.id());
    assert_eq!(ended(up).0, 130);
    let (code, said) = as_nobody("down");
    assert_eq!(code, Some(1));
    assert!(said.contains("take down lab \"lab\"") && said.contains("run it with sudo"), "{said}");
    lab.kubectl("get pods").ok().matches_line(&["web-", "Running"]);
    lab.down();
}

#[test]
fn clients_learn_that_the_lab_was_taken_down() {
    let lab = Lab::nothing_yet();
    let pods = "apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  containers:
  - {name: c, image: jonum12312/curl, command: [sh, -c, 'echo hello; exec sleep 1000']}
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere}
spec:
  nodeSelector: {nobody: has}
  containers: [{name: c, image: sysnet4admin/echo-hname}]
";
    let file = Manifest::new(pods);
    lab.run("lab", &["up", "--no-wait", file.path()]).ok();
    lab.kubectl("wait --for=condition=Ready pod/talker").ok();
    let mut clients = Vec::new();
    // What each prints once it is connected.
    for (line, first) in [
        ("exec -i talker -- sh -c echo;cat", "\n"),
        ("logs -f talker", "hello\n"),
        ("get pods -w", "NAME"),
        ("wait --for=condition=Ready pod/talker pod/nowhere --timeout=10m", "pod/talker condition met\n"),
    ] {
        let mut client = spawn("kubectl", line);
        let mut read = String::new();
        BufReader::new(client.stdout.as_mut().expect("its output")).read_line(&mut read).expect("a line");
        assert!(read.starts_with(first), "{line}: {read}");
        clients.push((line, client));
    }
    lab.run("lab", &["down", "--volumes"]).ok();
    for (line, client) in clients {
        let (code, said) = ended(client);
        assert_eq!((code, said.as_str()), (1, "error: lab \"lab\" was taken down\n"), "{line}");
    }
    nothing_is_left();
    drop(lab);
}

#[test]
fn clients_of_a_killed_supervisor_learn_what_to_do() {
    let lab = Lab::nothing_yet();
    lab.run("lab", &["up"]).ok();
    let mut client = spawn("lab", "node exec w1-k8s -- sh -c echo;cat");
    let mut read = [0];
    client.stdout.as_mut().expect("its output").read_exact(&mut read).expect("the command runs");
    let pid = std::fs::read_to_string("/run/nslab/lab/supervisor.lock").expect("the supervisor's pid");
    signal("KILL", pid.parse().expect("a pid"));
    let (code, said) = ended(client);
    assert_eq!(code, 1);
    assert!(said.contains("the supervisor of lab \"lab\" has ended") && said.contains("sudo lab up"), "{said}");

    // `doctor` finds it too, and what to do.
    let found = lab.lab("doctor").ok();
    found.has("lab \"lab\" has no supervisor").has("lab up --name lab").has("lab down --name lab");
    lab.lab("doctor --name other").has("lab \"lab\" has no supervisor");
    lab.run("lab", &["up"]).ok();
    assert!(!lab.lab("doctor").ok().stdout.contains("supervisor"));
    lab.down();
}

#[test]
fn down_remembers_what_it_could_not_remove() {
    let lab = Lab::nothing_yet();
    lab.run("lab", &["up"]).ok();
    let shell = |netns: &str| {
        // Not `ip netns exec`, which mounts what stays.
        let netns = format!("--net=/run/netns/{netns}");
        let child = Command::new("nsenter").args([&netns, "cat"]).stdin(Stdio::piped()).spawn();
        let child = child.expect("nsenter runs");
        runs(&child, "cat");
        child
    };
    let mut holder = shell("lab.w1-k8s");
    let who = format!("process {} (cat), which runs in it", holder.id());
    for round in ["the first", "the second"] {
        let down = lab.lab("down --volumes").fails();
        down.has("network namespace lab.w1-k8s is left").has(&who);
        let status = lab.lab("status").fails();
        status.has("lab \"lab\": it is not wholly down: network namespace lab.w1-k8s").has(&who);
        lab.lab("doctor").ok().has("lab \"lab\" is not wholly down").has(&who);
        assert!(std::fs::exists("/run/nslab/lab/witness").expect("a look"), "{round} `down` forgot it");
    }
    // A lab that is made meanwhile is taken down with it.
    lab.run("lab", &["up"]).ok();
    lab.lab("down --volumes").fails().has("network namespace lab.w1-k8s is left").has(&who);
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    lab.lab("down --volumes").ok().has("no namespace, link, nftables object, mount, process or file");
    nothing_is_left();

    // After a restart of the machine nothing is bound, and so nothing of the lab exists.
    lab.run("lab", &["up"]).ok();
    let mut holder = shell("lab.w2-k8s");
    lab.lab("down --volumes").fails();
    let unmounted = Command::new("umount").arg("/run/nslab/lab/witness").status().expect("umount runs");
    assert!(unmounted.success());
    lab.lab("doctor").ok().has("lab \"lab\" has files in /run and nothing that runs");
    lab.lab("down --volumes").ok();
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    nothing_is_left();
}

#[test]
fn doctor_finds_what_a_restart_of_the_machine_left() {
    let lab = Lab::nothing_yet();
    std::fs::create_dir_all("/var/lib/nslab/old/store").expect("made");
    std::fs::create_dir_all("/run/nslab/half").expect("made");
    std::fs::write("/run/nslab/half/lock", "").expect("made");
    std::fs::write("/run/nslab/half/record", "{}").expect("made");
    lab.lab("status --name old").fails().has("sudo lab up --name old makes it again");
    let mut elsewhere =
        Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().expect("unshare runs");
    runs(&elsewhere, "cat");
    let pid = elsewhere.id().to_string();
    let link = ["link", "add", "lan-gone", "type", "veth", "peer", "name", "lan", "netns", &pid];
    assert!(Command::new("ip").args(link).status().expect("ip runs").success());
    let found = lab.lab("doctor").ok();
    found.has("lab \"old\" has objects and does not run").has("lab up --name old");
    found.has("lab \"half\" has files in /run and nothing that runs").has("lab down --name half");
    found.has("link lan-gone looks like a lab's").has("ip link delete lan-gone");
    lab.lab("down --all").ok();
    drop(elsewhere.stdin.take());
    elsewhere.wait().expect("it ends");
    until("the link goes", || !lab.lab("doctor").stdout.contains("lan-gone"));
    lab.lab("doctor").ok().has("All is well");
    nothing_is_left();
}
