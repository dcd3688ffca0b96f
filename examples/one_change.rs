//! What one changed endpoint costs, stage by stage, and what the objects take in memory: 10,000 Services of 3 endpoints.
//! Pure: no kernel and no root. `cargo run --release --example one_change [SERVICES] [selector]`

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use jiff::Timestamp;
use nslab::agent::{self, Agent, MachineFacts, Wake};
use nslab::control;
use nslab::desired::Desired;
use nslab::diff::diff;
use nslab::kernel::Survivors;
use nslab::kernel::fake::Fake;
use nslab::object::lab::Lab;
use nslab::object::write::Part;
use nslab::object::{Key, Object, Write, kind};
use nslab::plan::{self, Machine};
use nslab::store::Store;
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let services = arguments.first().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let with_selector = arguments.iter().any(|a| a == "selector");
    let dir = std::env::temp_dir().join(format!("nslab-one-change-{}", std::process::id()));
    nslab::kernel::daemon::share_heap();
    let result = measure(&dir, services, with_selector);
    fs::remove_dir_all(&dir)?;
    result
}

fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn measure(dir: &std::path::Path, services: usize, with_selector: bool) -> anyhow::Result<()> {
    let say = |what: &str| println!("{:>8.1} MiB  {what}", resident());
    say("at the start");
    let store = Arc::new(Store::open(&dir.join("store"))?);
    store.commit(control::bootstrap(&Lab::default())?);
    for chunk in (0..services).collect::<Vec<_>>().chunks(500) {
        let mut writes: Vec<Write> = Vec::new();
        for n in chunk {
            writes.push(Write::Create(service(*n, with_selector)));
            if !with_selector {
                writes.push(Write::Create(slice(*n, 7)));
            }
        }
        for result in store.commit(writes) {
            result?;
        }
    }
    for n in 0..if with_selector { 30 } else { 0 } {
        store.write(Write::Create(pod(n)))?;
    }
    say("objects written");
    let mut context = control::Context::new(Timestamp::now());
    let begin = Instant::now();
    control::settle(&store, &mut context, 200);
    println!("{:>8.1} ms   controllers, at first", begin.elapsed().as_secs_f64() * 1e3);
    say("controllers settled");
    let mut stages = Stages::default();
    let machine = Machine::default();
    let mut planner = plan::Planner::new("lab", machine.clone());
    let begin = Instant::now();
    let mut before: Desired = (*planner.plan(&store.snapshot())?).clone();
    println!("{:>8.1} ms   plan, at first", begin.elapsed().as_secs_f64() * 1e3);
    say("planned");
    for round in 0..30 {
        let begin = Instant::now();
        if with_selector {
            let key = Key::new(&kind::SERVICE, "default", format!("svc-{}", round * 300 % services));
            let mut object = (*store.get(&key).context("a Service")?).clone();
            object.json_mut()["spec"]["selector"] = json!({"app": format!("app-{}", round % 9 + 1)});
            store.write(Write::Update(object, Part::Spec))?;
        } else {
            let name = format!("svc-{}", round * 300 % services);
            let key = Key::new(&kind::ENDPOINT_SLICE, "default", format!("{name}-x"));
            let mut object = (*store.get(&key).context("a slice")?).clone();
            object.json_mut().insert("endpoints".into(), endpoints(round + 100));
            store.write(Write::Update(object, Part::Spec))?;
        }
        stages.add("1 store: one write", begin);
        let begin = Instant::now();
        control::settle(&store, &mut context, 200);
        stages.add("2 controllers, until settled", begin);
        let snapshot = store.snapshot();
        let begin = Instant::now();
        let after = planner.plan(&snapshot)?;
        stages.add("3 plan", begin);
        let begin = Instant::now();
        let steps = diff(&before, &after);
        stages.add("4 diff", begin);
        anyhow::ensure!(!steps.is_empty(), "nothing changed");
        let begin = Instant::now();
        for step in &steps {
            step.action.record(&mut before);
        }
        stages.add("5 record", begin);
        let begin = Instant::now();
        drop((steps, after));
        stages.add("6 drop", begin);
    }
    stages.print();
    say("after 30 changes");
    drop((planner, before, context));
    whole(dir, store, services, with_selector)
}

/// The same through the agent's own loop, from the write to the fake kernel.
fn whole(dir: &std::path::Path, store: Arc<Store>, services: usize, with_selector: bool) -> anyhow::Result<()> {
    let kernel = Arc::new(Fake::new());
    let recovered = agent::recover(Desired::default(), &Survivors::default(), Timestamp::now());
    let agent = Agent::new(
        "lab".into(),
        store.clone(),
        kernel.clone(),
        Machine::default(),
        MachineFacts::default(),
        dir.join("record"),
        recovered,
    );
    let (wake, wakes) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || agent.run(&wakes));
    let done = |text: &str| kernel.take_actions().iter().any(|action| action.starts_with(text));
    while !done("nft load") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    let mut stages = Stages::default();
    for round in 0..if with_selector { 0 } else { 30 } {
        kernel.take_actions();
        let begin = Instant::now();
        let name = format!("svc-{}", round * 300 % services);
        let key = Key::new(&kind::ENDPOINT_SLICE, "default", format!("{name}-x"));
        let mut object = (*store.get(&key).context("a slice")?).clone();
        object.json_mut().insert("endpoints".into(), endpoints(round + 50));
        store.write(Write::Update(object, Part::Spec))?;
        wake.send(Wake::Store)?;
        while !done("nft change") {
            std::thread::yield_now();
        }
        stages.add("agent: from the write to the kernel", begin);
    }
    stages.print();
    wake.send(Wake::Stop)?;
    let _ = thread.join();
    Ok(())
}

#[derive(Default)]
struct Stages(std::collections::BTreeMap<&'static str, Vec<f64>>);

impl Stages {
    fn add(&mut self, what: &'static str, begin: Instant) {
        self.0.entry(what).or_default().push(begin.elapsed().as_secs_f64() * 1e3);
    }

    fn print(&mut self) {
        for (what, times) in &mut self.0 {
            times.sort_by(f64::total_cmp);
            println!("{:>8.3} ms   {what} (most {:.3})", times[times.len() / 2], times[times.len() - 1]);
        }
    }
}

fn address(n: usize) -> String {
    format!("10.{}.{}.{}", 97 + n / 65536, n / 256 % 256, n % 256)
}

fn service(n: usize, with_selector: bool) -> Object {
    let mut json = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("svc-{n}"), "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": address(n), "clusterIPs": [address(n)], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]},
        "status": {"loadBalancer": {}}});
    if with_selector {
        json["spec"]["selector"] = json!({"app": format!("app-{}", n % 10)});
    }
    Object::from_value(json).unwrap_or_default()
}

fn endpoints(seed: usize) -> Value {
    let endpoint = |n: usize| {
        json!({"addresses": [format!("10.244.{}.{}", n % 4, (seed * 3 + n) % 250 + 2)],
            "conditions": {"ready": true, "serving": true, "terminating": false}, "nodeName": "w1-k8s"})
    };
    (0..3).map(endpoint).collect()
}

fn slice(n: usize, seed: usize) -> Object {
    let json = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("svc-{n}-x"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": format!("svc-{n}")}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints(seed)});
    Object::from_value(json).unwrap_or_default()
}

fn pod(n: usize) -> Object {
    let ip = format!("10.244.1.{}", n + 2);
    let json = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{n}"), "namespace": "default", "labels": {"app": format!("app-{}", n % 10)},
            "annotations": {"nslab.dev/pod-ips": ip}},
        "spec": {"nodeName": "w1-k8s", "containers": [{"name": "c", "image": "nginx"}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}]}});
    Object::from_value(json).unwrap_or_default()
}
