//! The agent over the state fake of the kernel: what is made, what is said, and what a failure leaves.

use super::*;
use crate::kernel::fake::Fake;
use crate::kernel::{ContainerEvent, LiveContainer, LivePod, Survivors};
use crate::object::lab::Lab;
use serde_json::json;

struct Rig {
    agent: Agent,
    kernel: Arc<Fake>,
    store: Arc<Store>,
    /// Kept, so that the note of what was made has a place to be.
    dir: PathBuf,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn node(name: &str, address: &str, subnet: &str) -> Object {
    object(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDRs": [subnet]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]}}))
}

fn pod(name: &str, node: &str, address: &str) -> Object {
    object(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": {"nslab.dev/pod-ips": address}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30, "restartPolicy": "Always",
            "containers": [{"name": "c", "image": "sysnet4admin/echo-hname"}]}}))
}

fn rig_with(store: Arc<Store>, kernel: Arc<Fake>, recovered: Recovered) -> Rig {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("nslab-agent-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (machine, facts) = (Machine::default(), MachineFacts::default());
    let agent = Agent::new("lab".into(), store.clone(), kernel.clone(), machine, facts, dir.join("record"), recovered);
    Rig { agent, kernel, store, dir }
}

fn nothing() -> Recovered {
    Recovered { actual: Desired::default(), pods: PodStates::new(), missed: Vec::new() }
}

fn rig(objects: Vec<Object>) -> Rig {
    let store = Arc::new(Store::in_memory());
    for result in store.commit(objects.into_iter().map(Write::Create).collect()) {
        result.unwrap();
    }
    rig_with(store, Arc::new(Fake::new()), nothing())
}

fn two_pods() -> Vec<Object> {
    vec![
        node("w1-k8s", "192.168.1.101", "10.244.1.0/24"),
        pod("web-1", "w1-k8s", "10.244.1.2"),
        pod("web-2", "w2-k8s", "10.244.2.2"),
    ]
}

impl Rig {
    fn sync(&mut self) {
        let (_nobody, wakes) = std::sync::mpsc::channel();
        let mut said = Vec::new();
        self.agent.sync(&wakes, &mut said);
        self.agent.write_status(&mut said);
    }

    fn event(&mut self, event: Event) {
        self.agent.take_in(event, Timestamp::now(), &mut Vec::new());
        self.sync();
    }

    fn pod(&self, name: &str) -> Option<Arc<Object>> {
        self.store.get(&Key::new(&kind::POD, "default", name))
    }

    fn container(&self, name: &str, attempt: u32, what: ContainerEvent) -> Event {
        let pod_uid = self.pod(name).unwrap().uid().to_string();
        Event::Container { pod_uid, container: "c".into(), attempt, at: Timestamp::now(), what }
    }

    fn phase(&self, name: &str) -> String {
        self.pod(name).unwrap().str_at(&["status", "phase"]).unwrap_or_default().to_string()
    }

    fn delete(&self, name: &str) {
        let key = Key::new(&kind::POD, "default", name);
        let delete = Delete { key, uid: None, grace_seconds: None, propagation: Propagation::Background };
        self.store.write(Write::Delete(delete)).unwrap();
    }

    fn made(&self) -> Desired {
        Desired { lab: "lab".into(), ..self.kernel.has() }
    }

    fn desired(&self) -> Desired {
        plan::plan("lab", &self.store.snapshot(), &Machine::default()).unwrap()
    }
}

/// Nodes say what becomes of the first pods while the last are being made, and of a pod maybe before the thread that made
/// it has told of it.
#[test]
fn nothing_is_lost_of_what_is_heard_while_pods_are_made() {
    let name = |n: usize| format!("web-{n:02}");
    let many = 2 * FEW_PODS;
    let pods = (0..many).map(|n| pod(&name(n), "w1-k8s", &format!("10.244.1.{}", n + 2)));
    let mut rig = rig(std::iter::once(node("w1-k8s", "192.168.1.101", "10.244.1.0/24")).chain(pods).collect());
    let (nodes, wakes) = std::sync::mpsc::channel();
    for n in 0..many {
        nodes.send(Wake::Kernel(rig.container(&name(n), 0, ContainerEvent::Started { pid: 42 }))).unwrap();
    }
    let exited = ContainerEvent::Exited { code: 1, signal: None };
    nodes.send(Wake::Kernel(rig.container(&name(many - 1), 0, exited.clone()))).unwrap();
    nodes.send(Wake::Kernel(rig.container(&name(0), 0, exited))).unwrap();
    nodes.send(Wake::Stop).unwrap();
    drop(nodes);
    let mut said = Vec::new();
    rig.agent.sync(&wakes, &mut said);
    let running = (0..many).filter(|n| rig.phase(&name(*n)) == "Running").count();
    assert!(running > 0, "some are written down before the last is made");
    let put_off = std::mem::take(&mut rig.agent.put_off);
    let told = rig.agent.hear(put_off.into_iter().chain(wakes.try_iter()), &mut said);
    assert_eq!(told, Told::Stop);
    rig.agent.write_status(&mut said);
    for n in 0..many {
        assert_eq!(rig.phase(&name(n)), "Running", "{}", name(n));
        let ended = rig.agent.pods.get(&format!("default/{}", name(n))).unwrap().wake_at().is_some();
        assert_eq!(ended, n == 0 || n == many - 1, "{}", name(n));
    }
}

#[test]
fn what_containers_say_is_gathered_until_none_is_starting() {
    let mut rig = rig(two_pods());
    rig.sync();
    let version = rig.store.snapshot().resource_version();
    let started = ["web-1", "web-2"].map(|name| rig.container(name, 0, ContainerEvent::Started { pid: 42 }));
    let (nodes, wakes) = std::sync::mpsc::channel();
    // It comes one by one, as from two nodes.
    let telling = nodes.clone();
    let teller = std::thread::spawn(move || started.map(|event| telling.send(Wake::Kernel(event)).unwrap()));
    let mut said = Vec::new();
    let long = Duration::from_secs(60);
    assert_eq!(rig.agent.gather(&wakes, long, &mut said), Told::Something);
    teller.join().unwrap();
    assert!(!rig.agent.is_starting());
    assert_eq!(rig.store.snapshot().resource_version(), version, "nothing is written meanwhile");
    // With nothing to wait for it does not.
    assert_eq!(rig.agent.gather(&wakes, long, &mut said), Told::Something);
    rig.agent.write_status(&mut said);
    assert_eq!((rig.phase("web-1").as_str(), rig.phase("web-2").as_str()), ("Running", "Running"));
}

#[test]
fn a_pod_lives_and_dies() {
    let mut rig = rig(two_pods());
    rig.sync();
    assert_eq!(rig.made(), rig.desired());
    assert_eq!(rig.phase("web-1"), "Pending");
    rig.event(rig.container("web-1", 0, ContainerEvent::Started { pid: 42 }));
    assert_eq!(rig.phase("web-1"), "Running");
    assert_eq!(rig.pod("web-1").unwrap().str_at(&["status", "podIP"]), Some("10.244.1.2"));

    let uid = rig.pod("web-1").unwrap().uid().to_string();
    rig.delete("web-1");
    rig.kernel.take_actions();
    rig.sync();
    assert_eq!(rig.kernel.take_actions(), ["stop pod default/web-1 (grace 30s)"]);
    rig.event(Event::PodStopped { pod_uid: uid });
    assert!(rig.pod("web-1").is_none(), "the pod is gone once its containers are");
    rig.sync();
    assert_eq!(
        rig.kernel.take_actions(),
        ["remove pod default/web-1", "netns delete lab.default.web-1", "remove logs of default/web-1"]
    );
    assert_eq!(rig.made(), rig.desired());
}

#[test]
fn a_failure_at_any_step_loses_nothing() {
    let mut whole = rig(two_pods());
    whole.sync();
    let steps = whole.kernel.take_actions().len() + whole.kernel.containers().len();
    assert!(steps > 20, "{steps} steps");
    for failing in 0..steps {
        let mut rig = rig(two_pods());
        rig.kernel.fail_after(failing);
        rig.sync();
        let refused = rig.agent.pods.values().any(|pod| pod.wake_at().is_some());
        let told = !rig.agent.lock_progress().failed.is_empty() || refused;
        assert!(told, "step {failing} failed, and nobody was told");
        rig.kernel.mend();
        rig.agent.retry_at = Some(Timestamp::now());
        rig.sync();
        let later = Timestamp::now() + jiff::SignedDuration::from_secs(60);
        rig.agent.advance(later, &mut Vec::new());
        assert_eq!(rig.made(), rig.desired(), "after a failure at step {failing}");
        assert!(rig.agent.lock_progress().failed.is_empty());
        let started = rig.kernel.containers();
        for pod in ["web-1", "web-2"] {
            let runs = started.iter().filter(|c| c.starts_with(&format!("default/{pod}/"))).count();
            assert_eq!(runs, 1, "{pod} after a failure at step {failing}: {started:?}");
        }
    }
}

#[test]
fn nothing_to_change_changes_nothing() {
    let mut rig = rig(two_pods());
    rig.sync();
    rig.sync();
    let version = rig.store.snapshot().resource_version();
    rig.kernel.take_actions();
    rig.agent.planned = None;
    rig.sync();
    assert_eq!(rig.kernel.take_actions(), Vec::<String>::new());
    assert_eq!(rig.store.snapshot().resource_version(), version);
}

#[test]
fn a_node_that_went_down_is_started_again_with_its_pods() {
    let mut rig = rig(two_pods());
    rig.sync();
    rig.event(rig.container("web-1", 0, ContainerEvent::Started { pid: 42 }));
    rig.kernel.take_actions();
    rig.event(Event::NodeDown { node: "w1-k8s".into() });
    assert_eq!(rig.kernel.take_actions(), ["start node w1-k8s", "start pod default/web-1 on w1-k8s"]);
    assert_eq!(rig.kernel.containers().last().map(String::as_str), Some("default/web-1/c#1"));
    rig.event(rig.container("web-1", 1, ContainerEvent::Started { pid: 43 }));
    let restarts = rig.pod("web-1").unwrap().at(&["status"]).unwrap()["containerStatuses"][0]["restartCount"].clone();
    assert_eq!(restarts, 1);
}

/// With its node went the process that would have reported the pod's end.
#[test]
fn a_deleted_pod_ends_with_its_node() {
    let mut rig = rig(two_pods());
    rig.sync();
    rig.event(rig.container("web-1", 0, ContainerEvent::Started { pid: 42 }));
    rig.delete("web-1");
    rig.sync();
    rig.event(Event::NodeDown { node: "w1-k8s".into() });
    assert!(rig.pod("web-1").is_none(), "it waits for nobody");
    rig.sync();
    assert_eq!(rig.made(), rig.desired());
}

/// The pod ended while no supervisor listened, or was never started by the one that died.
#[test]
fn a_new_supervisor_starts_no_deleted_pod() {
    let first = rig(two_pods());
    first.delete("web-1");
    let mut second = rig_with(first.store.clone(), first.kernel.clone(), nothing());
    second.sync();
    assert_eq!(first.kernel.containers(), ["default/web-2/c#0"]);
    assert!(second.pod("web-1").is_none(), "it waits for nobody");
    second.sync();
    assert_eq!(second.made(), second.desired());
}

#[test]
fn a_new_supervisor_takes_over_what_runs() {
    let mut first = rig(two_pods());
    first.sync();
    first.event(first.container("web-1", 0, ContainerEvent::Started { pid: 42 }));
    let noted: Desired = serde_json::from_slice(&std::fs::read(&first.agent.record).unwrap()).unwrap();
    let since = Timestamp::now();
    let live = |name: &str, last| LivePod {
        uid: first.pod(name).unwrap().uid().to_string(),
        containers: vec![LiveContainer {
            name: "c".into(),
            attempt: 0,
            started_at: Some(since),
            last: Some((since, last)),
        }],
    };
    let survivors = Survivors {
        netns: first.kernel.has().netns.keys().cloned().collect(),
        nodes: first
            .kernel
            .has()
            .runtimes
            .keys()
            .map(|node| {
                let pods = match node.as_str() {
                    "w1-k8s" => vec![live("web-1", ContainerEvent::Started { pid: 42 })],
                    "w2-k8s" => vec![live("web-2", ContainerEvent::Exited { code: 1, signal: None })],
                    _ => Vec::new(),
                };
                (node.clone(), pods)
            })
            .collect(),
    };
    let recovered = recover(noted, &survivors, Timestamp::now());
    first.kernel.take_actions();
    let mut second = rig_with(first.store.clone(), first.kernel.clone(), recovered);
    second.agent.advance(Timestamp::now(), &mut Vec::new());
    second.sync();
    let actions = first.kernel.take_actions();
    // What was the supervisor's own went with it; all else is as it was.
    let (doors, rest): (Vec<&String>, _) = actions.iter().partition(|action| action.starts_with("api listen"));
    assert_eq!(doors, ["api listen lab.m-k8s port 6443"]);
    assert!(rest.iter().all(|action| action.starts_with("nft load")), "only tables are loaded anew: {rest:?}");
    assert_eq!(second.phase("web-1"), "Running");
    // The one that ended while nobody listened is started again.
    assert_eq!(first.kernel.containers().last().map(String::as_str), Some("default/web-2/c#1"));
}

#[test]
fn the_default_lab_without_pods_is_the_notes_cluster() {
    let desired = plan::plan("lab", &Snapshot::default(), &Machine::default()).unwrap();
    let names: Vec<&str> = desired.netns.keys().map(String::as_str).collect();
    assert_eq!(names, ["lab.client", "lab.lan", "lab.m-k8s", "lab.w1-k8s", "lab.w2-k8s", "lab.w3-k8s"]);
    assert_eq!(Lab::default().complete_nodes().unwrap().len(), 4);
}
