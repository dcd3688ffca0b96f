//! How long a lab takes, beside the bare network of the same pods: what `scripts/bench` runs, inside `scripts/sandbox`.
//!
//! Every trial leaves the pretended machine as it found it, and waits until the kernel has really let go: what it
//! destroys in its own thread would slow the next trial down. Machines drift, so the ways take turns, and what counts
//! are the ratios.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use nslab::kernel::teardown::{TeardownReport, Witness};
use nslab::layout::{IP_NETNS, Layout};
use serde_json::{Value, json};

const LAB: &str = "bench";
const NODE_PORT: &str = "192.168.1.101:30000";
const PATIENCE: Duration = Duration::from_secs(2);
/// So much at most, whatever was asked for.
const BUDGET: Duration = Duration::from_secs(240);

/// The notes' own cluster and its Service; and pods alone, which is what the bare network can be compared with.
const CASES: [Case; 4] = [
    Case { name: "notes", pods: 3, service: true },
    Case { name: "10 pods", pods: 10, service: false },
    Case { name: "100 pods", pods: 100, service: false },
    Case { name: "500 pods", pods: 500, service: false },
];

struct Case {
    name: &'static str,
    pods: usize,
    service: bool,
}

impl Case {
    /// The DNS server is a pod like any other.
    fn pods_of_all(&self) -> String {
        (self.pods + 1).to_string()
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bring_up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `bring_up RUNS LARGEST [json]`: by `scripts/bench`, which explains them.
fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|a| a.parse::<usize>().ok());
    let (Some(runs), Some(largest)) = (number(0), number(1)) else { bail!("use scripts/bench") };
    let as_json = arguments.get(2).is_some_and(|a| a == "json");
    let bench = Bench::new()?;
    let mut samples: BTreeMap<&str, Samples> = BTreeMap::new();
    let begin = Instant::now();
    for run in 0..runs {
        for case in CASES.iter().filter(|case| case.pods <= largest) {
            // Always one of each.
            if run > 0 && begin.elapsed() > BUDGET {
                continue;
            }
            let samples = samples.entry(case.name).or_default();
            bench.floor(case, samples).context("the floor program")?;
            bench.ip_batch(case, samples).context("ip -batch")?;
            bench.lab(case, samples).with_context(|| format!("the lab with {}", case.name))?;
            if !as_json {
                eprint!(".");
            }
        }
    }
    if !as_json {
        eprintln!();
    }
    let medians: Vec<Value> = CASES.iter().filter_map(|case| Some(samples.get(case.name)?.to_json(case))).collect();
    match as_json {
        true => println!("{:#}", json!({"unit": "ms and MiB, medians", "cases": medians})),
        false => print_table(&medians),
    }
    Ok(())
}

/// By what was measured: a value a run.
#[derive(Default)]
struct Samples(BTreeMap<&'static str, Vec<f64>>);

impl Samples {
    fn add(&mut self, what: &'static str, value: f64) {
        self.0.entry(what).or_default().push(value);
    }

    fn time(&mut self, what: &'static str, time: Duration) {
        self.add(what, time.as_secs_f64() * 1000.0);
    }

    fn median(&self, what: &str) -> f64 {
        let mut sorted = self.0.get(what).cloned().unwrap_or_default();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn to_json(&self, case: &Case) -> Value {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let mut value = json!({"case": case.name, "pods": case.pods, "runs": self.0.values().map(Vec::len).max()});
        for what in self.0.keys() {
            value[*what] = rounded(self.median(what)).into();
        }
        let mut ratio = |name: &str, of: &str, to: &str| {
            value[name] = rounded(self.median(of) / self.median(to)).into();
        };
        ratio("ready/ip", "ready", "ip_up");
        ratio("ready/floor", "ready", "floor_up");
        ratio("down/kernel", "down", "floor_down");
        value
    }
}

fn print_table(cases: &[Value]) {
    let columns = [
        ("ready", "ready"),
        ("bare net: ip -batch", "ip_up"),
        ("floor", "floor_up"),
        ("ready/ip", "ready/ip"),
        ("ready/floor", "ready/floor"),
        ("up again", "again"),
        ("down", "down"),
        ("kernel's own", "floor_down"),
        ("down/kernel", "down/kernel"),
        ("supervisor RSS", "supervisor_rss"),
        ("PSS", "supervisor_pss"),
        ("all PSS", "all_pss"),
    ];
    let cell = |text: &str, title: &str| format!("{text:>width$}  ", width = title.len().max(6));
    println!("{:<10}{}", "", columns.iter().map(|(title, _)| cell(title, title)).collect::<String>());
    for case in cases {
        let number = |field: &str| case[field].as_f64().map_or("-".to_string(), |n| format!("{n:.2}"));
        let cells: String = columns.iter().map(|(title, field)| cell(&number(field), title)).collect();
        println!("{:<10}{cells}", case["case"].as_str().unwrap_or_default());
    }
    println!(
        "times in ms, memory in MiB, medians; ready: from exec of `lab up` to its end, each pod then answered HTTP"
    );
}

struct Bench {
    lab: PathBuf,
    floor: PathBuf,
    layout: Layout,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let examples = std::env::current_exe()?.parent().context("a directory")?.to_path_buf();
        let lab = examples.parent().context("a directory")?.join("lab");
        Ok(Bench { lab, floor: examples.join("floor"), layout: Layout::new(LAB) })
    }

    fn floor(&self, case: &Case, samples: &mut Samples) -> anyhow::Result<()> {
        let out = output(Command::new(&self.floor).arg(case.pods_of_all()), "")?;
        let said: Value = serde_json::from_str(&out).context("read what it says")?;
        samples.add("floor_up", said["up_ms"].as_f64().context("up_ms")?);
        samples.add("floor_down", said["down_ms"].as_f64().context("down_ms")?);
        Ok(())
    }

    fn ip_batch(&self, case: &Case, samples: &mut Samples) -> anyhow::Result<()> {
        let commands = output(Command::new(&self.floor).args([&case.pods_of_all(), "--ip-batch"]), "")?;
        let begin = Instant::now();
        output(&mut Command::new("sh"), &commands)?;
        samples.time("ip_up", begin.elapsed());
        let mut namespaces = BTreeMap::new();
        for entry in fs::read_dir(IP_NETNS)? {
            let entry = entry?;
            namespaces.insert(entry.file_name().to_string_lossy().into_owned(), File::open(entry.path())?.into());
        }
        let witness = Witness::call(&namespaces, None)?;
        drop(namespaces);
        // iproute2 makes it a mount of its own.
        umount2(IP_NETNS, MntFlags::MNT_DETACH)?;
        fs::remove_dir_all(IP_NETNS)?;
        fs::create_dir(IP_NETNS)?;
        let mut report = TeardownReport::default();
        witness.see_them_gone(&Layout::new("bare"), &mut report);
        if !report.is_clean() {
            bail!("not clean: {report:?}");
        }
        Ok(())
    }

    fn lab(&self, case: &Case, samples: &mut Samples) -> anyhow::Result<()> {
        let file = Path::new("/run").join("bench.yaml");
        fs::write(&file, manifest(case))?;
        let up = |command: &mut Command| output(command.args(["--name", LAB, "up", "-o", "json"]).arg(&file), "");
        let measured = || -> anyhow::Result<Vec<(&'static str, f64)>> {
            let ms = |begin: Instant| begin.elapsed().as_secs_f64() * 1000.0;
            let begin = Instant::now();
            let report: Value = serde_json::from_str(&up(&mut Command::new(&self.lab))?)?;
            let ready = ms(begin);
            self.ask_every_pod(case, &report)?;
            let answered = ms(begin);
            let begin = Instant::now();
            up(&mut Command::new(&self.lab))?;
            let again = ms(begin);
            let supervisor = fs::read_to_string(self.layout.supervisor_lock())?;
            let supervisor = supervisor.split_whitespace().next().unwrap_or_default();
            Ok(vec![
                ("ready", ready),
                ("answered", answered),
                ("again", again),
                ("supervisor_rss", kilobytes(&format!("/proc/{supervisor}/status"), "VmRSS:")? / 1024.0),
                ("supervisor_pss", kilobytes(&format!("/proc/{supervisor}/smaps_rollup"), "Pss:")? / 1024.0),
                ("all_pss", pss_of_all()? / 1024.0),
            ])
        };
        let measured = measured();
        // Also when something went wrong: the next trial needs the machine.
        let begin = Instant::now();
        let down = output(Command::new(&self.lab).args(["--name", LAB, "down"]), "");
        let ended = begin.elapsed();
        for (what, value) in measured? {
            samples.add(what, value);
        }
        down?;
        samples.time("down", ended);
        Ok(())
    }

    /// One request to each pod from a node, and through the Service from the machine.
    fn ask_every_pod(&self, case: &Case, report: &Value) -> anyhow::Result<()> {
        let pods = report["pods"].as_array().into_iter().flatten().filter(|pod| pod["namespace"] == "default");
        let addresses: Vec<String> = pods.filter_map(|pod| Some(format!("{}:80", pod["address"].as_str()?))).collect();
        if addresses.len() != case.pods {
            bail!("{} pods have an address, and not {}", addresses.len(), case.pods);
        }
        let node = File::open(self.layout.netns(&format!("{LAB}.m-k8s")))?;
        let ask_all = || -> anyhow::Result<()> {
            setns(&node, CloneFlags::CLONE_NEWNET)?;
            addresses.iter().try_for_each(|address| ask(address))
        };
        thread::scope(|scope| scope.spawn(ask_all).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if case.service {
            ask(NODE_PORT)?;
        }
        Ok(())
    }
}

fn manifest(case: &Case) -> String {
    let metadata = json!({"name": "web"});
    let labels = json!({"app": "web"});
    let container = json!({"name": "web", "image": "sysnet4admin/echo-hname"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": case.pods, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "nodePort": 30000}]},
    });
    if case.service { format!("{deployment}\n---\n{service}\n") } else { format!("{deployment}\n") }
}

fn ask(address: &str) -> anyhow::Result<()> {
    let asked = || -> anyhow::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address.parse::<SocketAddr>()?, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = asked().with_context(|| format!("ask {address}"))?;
    let status = answer.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) != Some("200") {
        bail!("ask {address}: it answered {status:?}");
    }
    Ok(())
}

/// What a program prints; an error, with what it said, when it fails.
fn output(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
    let out = child.wait_with_output()?;
    if !out.status.success() {
        bail!("{}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8(out.stdout)?)
}

fn kilobytes(file: &str, field: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("{field} in {file}"))?;
    line.split_whitespace().next().and_then(|n| n.parse().ok()).with_context(|| format!("a number in {file}"))
}

/// The memory of all processes of the pretended machine but this one and the shell that is its first.
fn pss_of_all() -> anyhow::Result<f64> {
    let own = [1, std::process::id()];
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let each = pids.filter(|pid| !own.contains(pid)).map(|pid| kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:"));
    // One that has just ended has none.
    Ok(each.filter_map(Result::ok).sum())
}
