//! The wiring of a running lab: store, controllers, agent and API, and how they stop.
//!
//! The supervisor is a process of its own that nobody waits for. It may be killed at any moment: objects are on disk,
//! namespaces and nodes go on without it, and the next one takes them over.

pub mod commands;
pub mod doctor;
mod doors;
pub mod down;
pub mod dry_run;
mod interrupt;
pub mod lock;
pub mod start;
pub mod status;
pub mod up;

use std::io::{Read, Write as _};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::agent::{self, Agent, MachineFacts, SharedProgress, Wake};
use crate::api::{self, Api};
use crate::control;
use crate::desired::Desired;
use crate::kernel::host::Host;
use crate::layout::Layout;
use crate::object::lab::Lab;
use crate::object::{Write, kind};
use crate::pki;
use crate::plan::{self, Machine};
use crate::report::{Progress, Report, report};
use crate::store::Store;
use doors::Doors;
use lock::Lock;
use start::{Answer, Orders};

/// How often the controllers look at the clock with nothing else to do.
const CONTROL_IDLE: Duration = Duration::from_secs(30);
/// After so many changes, and so long without one, the heap has pages to give back.
const MANY_CHANGES: u64 = 200;
const QUIET: Duration = Duration::from_millis(50);
/// More rounds than any change needs; past them the controllers are at odds with each other.
const CONTROL_ROUNDS: usize = 200;
/// How long changes are kept for watchers that were away; etcd, with more room, keeps them for 5 minutes.
const HISTORY: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct SupervisorError {
    doing: String,
    why: String,
}

fn failed<E: std::fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> SupervisorError {
    let doing = doing.into();
    move |error| SupervisorError { doing, why: error.to_string() }
}

/// `lab __supervise`: becomes the lab's supervisor and returns when it is told to stop.
pub fn main(args: &[String]) -> std::process::ExitCode {
    let Some(name) = args.iter().skip_while(|arg| *arg != "--name").nth(1) else {
        eprintln!("__supervise: --name is missing; this command is for the lab itself: use lab up");
        return std::process::ExitCode::from(2);
    };
    match run(name) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(name: &str) -> Result<(), SupervisorError> {
    let answer = |answer: Answer| {
        if let Ok(text) = serde_json::to_string(&answer) {
            // A `lab up` that was interrupted is not there any more to read it.
            let mut out = std::io::stdout();
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    };
    // Before anything is made: a Ctrl-C is for the `lab up` that started this.
    crate::kernel::daemon::leave_terminal().map_err(failed("leave the terminal"))?;
    crate::kernel::daemon::share_heap();
    let mut told = Vec::new();
    std::io::stdin().read_to_end(&mut told).map_err(failed("read the orders"))?;
    let orders: Orders = serde_json::from_slice(&told).map_err(failed("read the orders"))?;
    let result = Running::begin(name, &orders);
    match result {
        Ok(running) => {
            answer(Answer::Ready);
            // Nobody reads it any more.
            crate::kernel::daemon::close_streams().map_err(failed("close the streams"))?;
            running.serve()
        }
        Err(error) => {
            answer(Answer::Failed(error.to_string()));
            Err(error)
        }
    }
}

/// All parts of a lab, running.
struct Running {
    layout: Layout,
    _lock: Lock,
    store: Arc<Store>,
    progress: SharedProgress,
    wake: Sender<Wake>,
    agent: std::thread::JoinHandle<()>,
    host: Arc<Host>,
    runtime: tokio::runtime::Runtime,
    listener: tokio::net::UnixListener,
    doors: Doors,
    pki: pki::Lazy,
}

impl Running {
    fn begin(name: &str, orders: &Orders) -> Result<Self, SupervisorError> {
        let layout = Layout::new(name);
        let lock = Lock::take(&layout.supervisor_lock()).map_err(failed("become the lab's supervisor"))?;
        let store = Arc::new(Store::open(&layout.store()).map_err(failed("open the store"))?);
        bootstrap(&store, name, orders)?;

        let pki = pki::Lazy::new(layout.pki());
        let making = pki.clone();
        // Beside the namespaces, which take longer. Whoever needs it and finds it missing learns why.
        let root_ca = Arc::new(OnceLock::new());
        let made = root_ca.clone();
        spawn("pki", move || {
            if let Ok(authority) = making.get() {
                drop(made.set(authority.ca_pem.to_string()));
            }
        })?;
        let preparing = layout.clone();
        // The same: whoever starts a node does it otherwise, and says what goes wrong.
        spawn("prepare", move || drop(crate::kernel::runtime::prepare(&preparing)))?;
        let (door, doors) = doors::doors(store.clone(), pki.clone());

        let (wake, wakes) = channel();
        let events = wake.clone();
        let noted = read_note(&layout.record());
        let (host, survivors) = Host::open(layout.clone(), noted.runtimes.keys().cloned(), move |event| {
            drop(events.send(Wake::Kernel(event)))
        })
        .map_err(failed("open the kernel"))?;
        let (objects, authority) = (store.clone(), pki.clone());
        let host = host
            .with_credentials(move |pod, account| doors::credentials(&objects, &authority, pod, account))
            .with_pod_netns(netns_of_pods(name.to_string(), store.clone()))
            .with_api_door(move |netns, listener| door.change(netns, listener));
        let host = Arc::new(host);
        let recovered = agent::recover(noted, &survivors, Timestamp::now());
        let agent = Agent::new(
            name.to_string(),
            store.clone(),
            host.clone(),
            machine(),
            MachineFacts::read(),
            layout.record(),
            recovered,
        );
        let progress = agent.progress.clone();
        let agent = spawn("agent", move || agent.run(&wakes))?;
        run_controllers(store.clone(), root_ca)?;
        forward_changes(store.clone(), wake.clone())?;

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed("start the API"))?;
        let listener = listen(&runtime, &layout.api_socket())?;
        Ok(Running { layout, _lock: lock, store, progress, wake, agent, host, runtime, listener, doors, pki })
    }

    /// Serves the API until SIGTERM or SIGINT.
    fn serve(self) -> Result<(), SupervisorError> {
        let Running { layout, store, progress, wake, agent, host, runtime, listener, doors, pki, _lock } = self;
        let (name, objects) = (layout.lab().to_string(), store.clone());
        let (made, wanted) = (progress.clone(), store.clone());
        let is_settled = move || {
            let Progress { made, starting, .. } = *made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            !starting && made >= wanted.snapshot().resource_version()
        };
        let status = move || {
            let report = report_now(&name, &objects, &progress);
            serde_json::to_value(report).unwrap_or_default()
        };
        let mut api = Api::new(store, host, layout.clone()).with_lab_status(status).with_lab_is_settled(is_settled);
        match pki.get() {
            Ok(authority) => api = api.with_tokens(authority.tokens.clone()),
            // The step that opens the door says it too, for `lab status`.
            Err(error) => eprintln!("the API is not served in the lab: {error}"),
        }
        let api = Arc::new(api);
        runtime.block_on(async {
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(failed("wait for signals"))?;
            let (close, closing) = tokio::sync::watch::channel(false);
            let stop = async move {
                term.recv().await;
                close.send_replace(true);
            };
            tokio::join!(api::serve(listener, api.clone(), stop), doors.serve(api, closing));
            Ok::<(), SupervisorError>(())
        })?;
        let _ = wake.send(Wake::Stop);
        let _ = agent.join();
        Ok(())
    }
}

fn report_now(name: &str, store: &Store, progress: &SharedProgress) -> Report {
    // The progress first: it must not be newer than the objects.
    let progress: Progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    report(name, &store.snapshot(), &progress)
}

/// A new lab gets its Lab document, nodes and namespaces; one that was here before keeps what it has.
fn bootstrap(store: &Store, name: &str, orders: &Orders) -> Result<(), SupervisorError> {
    let known = store.snapshot().list(&kind::LAB).next().is_some();
    if known {
        return Ok(());
    }
    let lab = orders.lab.clone().unwrap_or_default();
    let mut writes = control::bootstrap(&named(&lab, name)).map_err(failed("make the lab's first objects"))?;
    mark_host(&mut writes, orders.with_host);
    for result in store.commit(writes) {
        result.map_err(failed("write the lab's first objects"))?;
    }
    Ok(())
}

/// The document with the name that the lab goes by.
fn named(lab: &Lab, name: &str) -> Lab {
    let mut lab = lab.clone();
    lab.metadata.name = Some(name.to_string());
    lab
}

/// Notes on the Lab object whether the machine itself is plugged into the LAN.
fn mark_host(writes: &mut [Write], with_host: bool) {
    for write in writes {
        if let Write::Create(object) = write
            && !with_host
            && object.kind().is_some_and(|k| *k == kind::LAB)
        {
            object.set_annotation(kind::NO_HOST, "true");
        }
    }
}

/// What this machine has that a plan depends on: the programs that pods can run.
pub fn machine() -> Machine {
    let dirs = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    let there = |program: &&str| dirs.iter().any(|dir| Path::new(dir).join(program).exists());
    Machine {
        programs: plan::catalogue::needed_programs().into_iter().filter(there).collect(),
        resolv_conf: resolv_conf(),
    }
}

/// The machine's resolver. Where `/etc/resolv.conf` only names systemd-resolved on the loopback, which a pod cannot
/// reach, what that one asks: kubeadm configures its kubelets so too.
fn resolv_conf() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let own = read("/etc/resolv.conf");
    if own.lines().any(|line| line.trim() == "nameserver 127.0.0.53") {
        return read("/run/systemd/resolve/resolv.conf");
    }
    own
}

/// Finds the network namespace of a pod, for as long as no other has its name.
fn netns_of_pods(lab: String, store: Arc<Store>) -> impl Fn(&crate::session::Pod) -> Option<String> {
    move |pod| {
        let snapshot = store.snapshot();
        let object = snapshot.find(&kind::POD, &pod.namespace, &pod.name).filter(|object| object.uid() == pod.uid)?;
        Some(plan::netns_of(&lab, object))
    }
}

/// What an earlier supervisor noted; nothing when there is no whole note.
fn read_note(path: &Path) -> Desired {
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// The controllers' thread: to the fixpoint after each change, and when one of them asked for a time.
fn run_controllers(store: Arc<Store>, root_ca: Arc<OnceLock<String>>) -> Result<(), SupervisorError> {
    spawn("controllers", move || {
        let mut context = control::Context::new(Timestamp::now());
        context.root_ca = Some(root_ca);
        let mut trimmed = 0;
        loop {
            // Taken before the round: what is written while it runs, by others or by itself, is looked at again.
            let before = store.snapshot().resource_version();
            context.now = Timestamp::now();
            let rounds = control::settle(&store, &mut context, CONTROL_ROUNDS);
            if rounds >= CONTROL_ROUNDS {
                eprintln!("controllers: not settled after {rounds} rounds");
            }
            let due = context.wake_at.map(|at| Duration::try_from(at.duration_since(Timestamp::now())));
            let wait = due.map_or(CONTROL_IDLE, |due| due.unwrap_or_default()).min(CONTROL_IDLE);
            // What it took to make many things is given back as soon as they are made.
            if before >= trimmed + MANY_CHANGES && wait > QUIET {
                if store.wait_past(before, QUIET) > before {
                    continue;
                }
                crate::kernel::daemon::trim_heap();
                trimmed = before;
            }
            if store.wait_past(before, wait) == before && store.forget_history(HISTORY) + store.rest() > 0 {
                crate::kernel::daemon::trim_heap();
            }
        }
    })
    .map(drop)
}

/// Tells the agent of every change of the store.
fn forward_changes(store: Arc<Store>, wake: Sender<Wake>) -> Result<(), SupervisorError> {
    spawn("changes", move || {
        let mut seen = 0;
        loop {
            let now = store.wait_past(seen, Duration::from_secs(3600));
            if now > seen && wake.send(Wake::Store).is_err() {
                return;
            }
            seen = now;
        }
    })
    .map(drop)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>, SupervisorError> {
    std::thread::Builder::new().name(name.to_string()).spawn(work).map_err(failed(format!("start the thread {name}")))
}

/// The API's socket, for root alone.
fn listen(runtime: &tokio::runtime::Runtime, path: &Path) -> Result<tokio::net::UnixListener, SupervisorError> {
    use std::os::unix::fs::PermissionsExt;
    let doing = || format!("listen on {}", path.display());
    // What a dead supervisor left; a live one holds the lock.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(doing())(error)),
        _ => {}
    }
    let _context = runtime.enter();
    let listener = tokio::net::UnixListener::bind(path).map_err(failed(doing()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed(doing()))?;
    Ok(listener)
}
