//! The real kernel: makes each step through netlink, mounts and the nodes' runtimes.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::net::Network;
use super::nft::NatTable;
pub use super::runtime::protocol::Credentials;
use super::runtime::protocol::{self, ContainerSpec, Place, PodSpec};
use super::runtime::{self, RuntimeClient};
use super::{ContainerEvent, Event, Kernel, KernelError, LiveContainer, LivePod, Survivors, conntrack};
use crate::desired::{Container, Nat, Pod, Runtime};
use crate::diff::Action;
use crate::layout::Layout;
use crate::session::{self, Command, Family, Session, SessionError, Sessions, Target};

/// SIGKILL: the kernel ends all of a node's processes with its first.
const KILL: i32 = 9;

type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;
type Issue = Box<dyn Fn(&Pod, &str) -> Result<Credentials, String> + Send + Sync>;
type NetnsOf = Box<dyn Fn(&session::Pod) -> Option<String> + Send + Sync>;
type Door = Box<dyn Fn(&str, Option<TcpListener>) -> Result<(), String> + Send + Sync>;

pub struct Host {
    layout: Layout,
    network: Network,
    tables: Mutex<HashMap<String, Arc<Mutex<NatTable>>>>,
    nodes: Mutex<HashMap<String, Node>>,
    on_event: OnEvent,
    issue: Option<Issue>,
    door: Option<Door>,
    netns_of: Option<NetnsOf>,
}

#[derive(Clone)]
struct Node {
    client: Arc<RuntimeClient>,
    /// It was told to end: that it does is no news.
    stopping: Arc<AtomicBool>,
}

/// Turns an error of a lower room into one of this, with what was being done.
fn during<E: std::fmt::Display>(what: &Action) -> impl FnOnce(E) -> KernelError + '_ {
    move |error| KernelError(format!("{what}: {error}"))
}

impl Host {
    /// Takes hold of the machine, and of whatever an earlier supervisor left running.
    pub fn open(
        layout: Layout,
        nodes: impl IntoIterator<Item = String>,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<(Host, Survivors), KernelError> {
        let network = Network::open(&layout).map_err(|error| KernelError(error.to_string()))?;
        let existing = network.existing().map_err(|error| KernelError(error.to_string()))?;
        let host = Host {
            layout,
            network,
            tables: Mutex::default(),
            nodes: Mutex::default(),
            on_event: Arc::new(on_event),
            issue: None,
            door: None,
            netns_of: None,
        };
        let mut survivors = Survivors { netns: existing.into_iter().collect(), ..Survivors::default() };
        for node in nodes {
            // One that does not answer is started anew.
            if let Ok(pods) = host.take_over(&node) {
                survivors.nodes.insert(node, pods);
            }
        }
        Ok((host, survivors))
    }

    /// Pods get what `issue` answers for them and the name of their service account.
    pub fn with_credentials(
        mut self,
        issue: impl Fn(&Pod, &str) -> Result<Credentials, String> + Send + Sync + 'static,
    ) -> Self {
        self.issue = Some(Box::new(issue));
        self
    }

    /// `door` is given the listener of each namespace in which the API is to be served; none: it is not any more, and
    /// what `door` has open there must be closed.
    pub fn with_api_door(
        mut self,
        door: impl Fn(&str, Option<TcpListener>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.door = Some(Box::new(door));
        self
    }

    /// `netns_of` knows the network namespaces of the pods that are there.
    pub fn with_pod_netns(
        mut self,
        netns_of: impl Fn(&session::Pod) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.netns_of = Some(Box::new(netns_of));
        self
    }

    fn take_over(&self, node: &str) -> Result<Vec<LivePod>, runtime::RuntimeError> {
        let (client, events) = RuntimeClient::connect(&self.layout, node)?;
        let state = client.list()?;
        self.adopt(node, client, events);
        Ok(state.pods.into_iter().map(live_pod).collect())
    }

    /// Keeps the connection, and a thread that passes on what the node says.
    fn adopt(&self, node: &str, client: RuntimeClient, events: Receiver<protocol::Event>) {
        let entry = Node { client: Arc::new(client), stopping: Arc::default() };
        let (name, stopping, on_event) = (node.to_string(), entry.stopping.clone(), self.on_event.clone());
        lock(&self.nodes).insert(node.to_string(), entry);
        let listen = move || {
            for event in events {
                on_event(translate(event));
            }
            if !stopping.load(Ordering::Acquire) {
                on_event(Event::NodeDown { node: name });
            }
        };
        // Without a thread nothing of the node would ever be heard: as good as down.
        if std::thread::Builder::new().name(format!("node {node}")).spawn(listen).is_err() {
            (self.on_event)(Event::NodeDown { node: node.to_string() });
        }
    }

    fn node(&self, name: &str) -> Result<Node, KernelError> {
        let known = lock(&self.nodes).get(name).cloned();
        known.ok_or_else(|| KernelError(format!("node {name} is down")))
    }

    fn start_node(&self, name: &str, runtime: &Runtime) -> Result<(), String> {
        let netns = self.network.netns_fd(&runtime.netns).map_err(|e| e.to_string())?;
        runtime::spawn(&self.layout, name, runtime, netns.as_fd()).map_err(|e| e.to_string())?;
        let (client, events) = RuntimeClient::connect(&self.layout, name).map_err(|e| e.to_string())?;
        self.adopt(name, client, events);
        Ok(())
    }

    fn stop_node(&self, name: &str) -> Result<(), String> {
        if let Some(node) = lock(&self.nodes).remove(name) {
            node.stopping.store(true, Ordering::Release);
        }
        match runtime::running(&self.layout, name) {
            Some(process) => process.signal(KILL).map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    fn load_nat(&self, netns: &str, nat: &Arc<Nat>) -> Result<(), String> {
        let fd = self.network.netns_fd(netns).map_err(|e| e.to_string())?;
        let mut table = NatTable::open(fd.as_fd()).map_err(|e| e.to_string())?;
        table.load(nat).map_err(|e| e.to_string())?;
        lock(&self.tables).insert(netns.to_string(), Arc::new(Mutex::new(table)));
        Ok(())
    }

    fn change_nat(&self, netns: &str, from: &Nat, to: &Arc<Nat>) -> Result<(), String> {
        let table = || lock(&self.tables).get(netns).cloned();
        let changed = match table() {
            Some(table) => lock(&table).change(to).map(drop).map_err(|e| e.to_string()),
            None => Err("its table was not loaded".to_string()),
        };
        // Whatever state a failure left, the whole table in one transaction is right again.
        changed.or_else(|_| self.load_nat(netns, to))?;
        let Some(table) = table() else { return Ok(()) };
        let stale = conntrack::reconcile(lock(&table).socket(), Some(from), to);
        stale.map(drop).map_err(|e| e.to_string())
    }

    fn open_api(&self, netns: &str, port: u16) -> Result<(), String> {
        let Some(door) = &self.door else { return Ok(()) };
        let listener = self.network.listen(netns, port).map_err(|e| e.to_string())?;
        door(netns, Some(listener))
    }

    fn close_api(&self, netns: &str) -> Result<(), String> {
        self.door.as_ref().map_or(Ok(()), |door| door(netns, None))
    }

    fn start_pod(&self, pod: &Pod) -> Result<(), String> {
        let netns = self.network.netns_fd(&pod.netns).map_err(|e| e.to_string())?;
        let spec = PodSpec {
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            hostname: pod.hostname.clone(),
            hosts: pod.hosts.clone(),
            resolv_conf: pod.resolv_conf.clone(),
            credentials: match (&self.issue, &pod.service_account) {
                (Some(issue), Some(account)) => Some(issue(pod, account)?),
                _ => None,
            },
        };
        let node = self.node(&pod.node).map_err(|e| e.0)?;
        node.client.start_pod(spec, netns.as_fd()).map_err(|e| e.to_string())
    }

    fn stop_pod(&self, pod: &Pod, grace_seconds: u64) -> Result<(), String> {
        match self.node(&pod.node) {
            Ok(node) => node.client.stop_pod(&pod.uid, grace_seconds).map_err(|e| e.to_string()),
            // With its node gone, so is the pod.
            Err(_) => Ok(()),
        }
    }
}

impl Kernel for Host {
    fn apply(&self, action: &Action) -> Result<(), KernelError> {
        match action {
            Action::AddNetns { name, netns } => self.network.add_netns(name, netns).map_err(during(action)),
            Action::RemoveNetns { name } => {
                lock(&self.tables).remove(name);
                self.network.remove_netns(name).map_err(during(action))
            }
            Action::AddVeth { veth, .. } => self.network.add_veth(veth).map_err(during(action)),
            Action::RemoveVeth { veth, .. } => self.network.remove_veth(veth).map_err(during(action)),
            Action::StartRuntime { node, runtime } => self.start_node(node, runtime).map_err(during(action)),
            Action::StopRuntime { node } => self.stop_node(node).map_err(during(action)),
            Action::LoadNat { netns, nat } => self.load_nat(netns, nat).map_err(during(action)),
            Action::ChangeNat { netns, from, to } => self.change_nat(netns, from, to).map_err(during(action)),
            Action::OpenApi { netns, port } => self.open_api(netns, *port).map_err(during(action)),
            Action::CloseApi { netns } => self.close_api(netns).map_err(during(action)),
            Action::StartPod { pod, .. } => self.start_pod(pod).map_err(during(action)),
            Action::StopPod { pod, grace_seconds, .. } => self.stop_pod(pod, *grace_seconds).map_err(during(action)),
            Action::RemovePod { pod, .. } => self.stop_pod(pod, 0).map_err(during(action)),
            // What containers see from now on is in the next start's description.
            Action::UpdatePod { .. } => Ok(()),
        }
    }

    fn start_container(&self, pod: &Pod, container: &Container, attempt: u32) -> Result<(), KernelError> {
        let program = container.program.clone().map_err(KernelError)?;
        let spec = ContainerSpec {
            pod: pod.uid.clone(),
            name: container.name.clone(),
            attempt,
            program,
            env: container.env.clone(),
            working_dir: container.working_dir.clone(),
            stdin: container.stdin,
            stdin_once: container.stdin_once,
            tty: container.tty,
        };
        self.node(&pod.node)?.client.start_container(spec).map_err(|error| KernelError(error.to_string()))
    }

    fn remove_logs(&self, namespace: &str, pod: &str, uid: &str) -> Result<(), KernelError> {
        let during = |error| KernelError(format!("remove the logs of pod {namespace}/{pod}: {error}"));
        self.remove_log_directory(namespace, pod, uid).map_err(during)
    }
}

impl Host {
    /// Takes the directories above it along that are empty now.
    fn remove_log_directory(&self, namespace: &str, pod: &str, uid: &str) -> std::io::Result<()> {
        let directory = self.layout.pod_logs(namespace, pod, uid);
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for above in directory.ancestors().skip(1).take(2) {
            // Another pod of the name or namespace may be in it.
            if std::fs::remove_dir(above).is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl Sessions for Host {
    fn exec(&self, target: &Target, command: Command) -> Result<Session, SessionError> {
        let place = match target {
            Target::Node { .. } => Place::Node,
            Target::Container { pod_uid, container, .. } => {
                Place::Container { pod: pod_uid.clone(), container: container.clone() }
            }
        };
        self.node_of(target)?.client.exec(place, command)
    }

    fn attach(&self, target: &Target, stdin: bool) -> Result<Session, SessionError> {
        match target {
            Target::Container { pod_uid, container, .. } => {
                self.node_of(target)?.client.attach(pod_uid, container, stdin)
            }
            Target::Node { name } => {
                Err(SessionError::CannotStart(format!("node {name} has no container to attach to")))
            }
        }
    }

    fn socket(&self, pod: &session::Pod, family: Family) -> Result<OwnedFd, SessionError> {
        let netns = self.netns_of.as_ref().and_then(|netns_of| netns_of(pod));
        let netns = netns.ok_or_else(|| SessionError::NotRunning(format!("pod {} is not there any more", pod.name)))?;
        self.network.tcp_socket(&netns, family).map_err(|error| SessionError::NotRunning(error.to_string()))
    }
}

impl Host {
    fn node_of(&self, target: &Target) -> Result<Node, SessionError> {
        let (Target::Container { node, .. } | Target::Node { name: node }) = target;
        self.node(node).map_err(|error| SessionError::NotRunning(error.0))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn translate(event: protocol::Event) -> Event {
    let (pod, container, attempt, at, what) = match event {
        protocol::Event::Started { pod, container, attempt, pid, time } => {
            (pod, container, attempt, time, ContainerEvent::Started { pid })
        }
        protocol::Event::StartFailed { pod, container, attempt, message, time } => {
            (pod, container, attempt, time, ContainerEvent::StartFailed { message })
        }
        protocol::Event::Exited { pod, container, attempt, code, signal, time } => {
            (pod, container, attempt, time, ContainerEvent::Exited { code, signal })
        }
        protocol::Event::PodStopped { pod, .. } => return Event::PodStopped { pod_uid: pod },
    };
    Event::Container { pod_uid: pod, container, attempt, at, what }
}

fn live_pod(pod: protocol::PodState) -> LivePod {
    let container = |container: protocol::ContainerState| {
        use protocol::Status;
        let (started_at, last) = match container.status {
            Status::Starting => (None, None),
            Status::Running { pid, started_at } => {
                (Some(started_at), Some((started_at, ContainerEvent::Started { pid })))
            }
            Status::StartFailed { message, time } => (None, Some((time, ContainerEvent::StartFailed { message }))),
            Status::Exited { code, signal, started_at, time } => {
                (Some(started_at), Some((time, ContainerEvent::Exited { code, signal })))
            }
        };
        LiveContainer { name: container.name, attempt: container.attempt, started_at, last }
    };
    LivePod { uid: pod.uid, containers: pod.containers.into_iter().map(container).collect() }
}
