//! The life of pods and containers, as the runtime's loop drives it.

use std::fs::DirBuilder;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::epoll::EpollFlags;
use nix::unistd::pipe2;

use super::console::{Console, Ends, Port};
use super::container::{self, Launch};
use super::log::Log;
use super::node::complain;
use super::pod::{Container, Pod, Run};
use super::program::{Finish, Report, Streams};
use super::protocol::{ContainerSpec, Event, PodSpec, Status};
use super::root::Doing;
use super::server::{Owner, Server, Source};
use super::sys::{self, Ended};
use super::wire;
use crate::desired::Program;

/// The longest grace period in seconds; more than a century is as good as for ever.
const MAX_GRACE: u64 = 1 << 32;

/// It may just have ended, or the number may be no signal's: then nothing is to be done.
fn tell(run: &Run, signal: i32) {
    let _ = sys::pidfd_signal(run.pidfd.as_fd(), signal);
}

impl Server {
    pub fn start_pod(&mut self, spec: PodSpec, descriptors: Vec<OwnedFd>) {
        if self.pods.contains_key(&spec.uid) {
            return;
        }
        let Some(netns) = descriptors.into_iter().next() else {
            return complain(format_args!("pod {} came without a network namespace", spec.uid));
        };
        let dir = PathBuf::from(format!("/p/{}", self.new_number()));
        let uid = spec.uid.clone();
        match Pod::new(spec, netns, dir) {
            Ok(pod) => drop(self.pods.insert(uid, pod)),
            // Its containers will be told that there is no such pod.
            Err(error) => complain(format_args!("cannot make the files of pod {uid}: {error}")),
        }
    }

    pub fn start_container(&mut self, spec: ContainerSpec) {
        let Some(pod) = self.pods.get_mut(&spec.pod) else {
            return self.start_failed(&spec, "its pod is not on this node; the node's runtime.log may say why".into());
        };
        let last = pod.containers.get(&spec.name);
        if last.is_some_and(|last| spec.attempt <= last.attempt) {
            return;
        }
        if last.is_some_and(|last| last.run.is_some()) {
            return self.start_failed(&spec, "the attempt before it is still running".into());
        }
        let stopping = pod.deadline.is_some();
        let container = Container { attempt: spec.attempt, run: None, status: Status::Starting };
        pod.containers.insert(spec.name.clone(), container);
        let result = if stopping { Err("the pod is being stopped".into()) } else { self.launch(&spec) };
        if let Err(message) = result {
            self.start_failed(&spec, message);
        }
    }

    /// Starts the process and begins to watch it.
    fn launch(&mut self, spec: &ContainerSpec) -> Result<(), String> {
        let number = self.new_number();
        let Some(pod) = self.pods.get_mut(&spec.pod) else { return Err("its pod is gone".into()) };
        let dir = pod.dir.join(number.to_string());
        for path in [&dir, &dir.join("u"), &dir.join("w")] {
            DirBuilder::new().mode(0o755).create(path).doing(|| "make the container's directory".into())?;
        }
        let (status, child_status) = Self::status_channel(spec.tty).doing(|| "make a pipe".into())?;
        let (ends, child_ends) = streams(spec).doing(|| "make pipes".into())?;
        let env = complete(&spec.env, &pod.spec.hostname);
        let launch = Launch {
            pod_dir: &pod.dir,
            run_dir: &dir,
            read_only_proc: &self.place.read_only_proc,
            netns: pod.netns.as_fd(),
            shared: pod.shared.as_ref(),
            hostname: &pod.spec.hostname,
            finish: Finish {
                program: &spec.program,
                env: &env,
                working_dir: spec.working_dir.as_deref().unwrap_or("/"),
                make_working_dir: true,
                streams: child_ends.streams(),
                confined: true,
                builtins: self.place.builtins,
                status: child_status.as_fd(),
            },
        };
        let (pid, pidfd) = container::start(&launch).doing(|| "fork".into())?;
        drop((child_status, child_ends));
        if pod.shared.is_none() {
            pod.shared = container::shared_of(pid);
        }
        if let Some(container) = pod.containers.get_mut(&spec.name) {
            container.run = Some(number);
        }
        let logs = self.place.layout.pod_logs(&pod.spec.namespace, &pod.spec.name, &pod.spec.uid);
        let log = Log::new(logs.join(&spec.name).join(format!("{}.log", spec.attempt)));
        let mut console = Console::new(number, log, spec.stdin_once);
        let watched = match console.open(&mut self.reactor, ends) {
            Ok(()) => self.reactor.watch(status, EpollFlags::EPOLLIN, Source::RunStatus(number)),
            Err(error) => Err(error),
        };
        if let Err(error) = &watched {
            // Not seen to start, it is ended; its exit is reported like any other.
            complain(format_args!("cannot watch container {}: {error}", spec.name));
            let _ = sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        let (status, created) = (watched.ok(), Timestamp::now());
        let spec = ContainerSpec { env, ..spec.clone() };
        self.runs.insert(number, Run { spec, pid, pidfd, created, status, console, dir });
        self.processes.insert(pid, Owner::Run(number));
        Ok(())
    }

    fn start_failed(&mut self, spec: &ContainerSpec, message: String) {
        let time = Timestamp::now();
        let container = self.pods.get_mut(&spec.pod).and_then(|pod| pod.containers.get_mut(&spec.name));
        if let Some(container) = container.filter(|container| container.attempt == spec.attempt) {
            container.status = Status::StartFailed { message: message.clone(), time };
        }
        let (pod, container, attempt) = (spec.pod.clone(), spec.name.clone(), spec.attempt);
        self.event(Event::StartFailed { pod, container, attempt, message, time });
    }

    /// Something came over a run's status socket, or it closed.
    pub fn hear_run(&mut self, number: u64) {
        while let Some(run) = self.runs.get_mut(&number) {
            let Some(status) = &run.status else { return };
            let packet = wire::receive_packet(status.as_fd());
            let closed = !matches!(&packet, Ok(None)) && !matches!(&packet, Ok(Some((bytes, _))) if !bytes.is_empty());
            // A program closes it as it begins to run. A built-in server that does so without a word has given up, and its
            // end will tell the rest: it must not be taken for one that can be asked.
            if closed && matches!(run.spec.program, Program::Applet { .. }) {
                if let Some(status) = run.status.take() {
                    self.reactor.forget(status);
                }
                return self.tell_to_end_if_asked(number);
            }
            let report = match packet {
                Ok(None) => return,
                Ok(Some((bytes, descriptors))) => match Report::parse(&bytes) {
                    Report::Terminal => {
                        if let Err(error) = open_terminal(run, &mut self.reactor, descriptors) {
                            complain(format_args!("cannot use the terminal of {}: {error}", run.spec.name));
                        }
                        continue;
                    }
                    report => report,
                },
                Err(_) => Report::Ready,
            };
            if let Some(status) = run.status.take() {
                self.reactor.forget(status);
            }
            let spec = run.spec.clone();
            match report {
                Report::Failed(message) => self.start_failed(&spec, message),
                Report::Ready | Report::Terminal => self.started(number),
            }
        }
    }

    fn started(&mut self, number: u64) {
        let Some(run) = self.runs.get(&number) else { return };
        let (pid, time) = (run.pid, Timestamp::now());
        let (pod, container, attempt) = (run.spec.pod.clone(), run.spec.name.clone(), run.spec.attempt);
        if let Some(state) = self.pods.get_mut(&pod).and_then(|pod| pod.containers.get_mut(&container)) {
            state.status = Status::Running { pid, started_at: time };
        }
        self.event(Event::Started { pod, container, attempt, pid, time });
        self.tell_to_end_if_asked(number);
    }

    pub fn child_ended(&mut self, ended: Ended) {
        match self.processes.remove(&ended.pid) {
            Some(Owner::Run(number)) => self.run_ended(number, ended),
            Some(Owner::Command(number)) => self.command_ended(number, ended),
            // An orphan that this process, as init, has inherited.
            None => {}
        }
    }

    fn run_ended(&mut self, number: u64, ended: Ended) {
        // How it started may still be unread.
        self.hear_run(number);
        let Some(run) = self.runs.get_mut(&number) else { return };
        let over = run.console.end(&mut self.reactor, ended.code, &mut self.buffer);
        if let Some(status) = run.status.take() {
            self.reactor.forget(status);
        }
        let (pod, container, attempt) = (run.spec.pod.clone(), run.spec.name.clone(), run.spec.attempt);
        let (dir, created) = (run.dir.clone(), run.created);
        if run.console.is_done() {
            self.runs.remove(&number);
        }
        self.sessions_over(over);
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            complain(format_args!("cannot remove {}: {error}", dir.display()));
        }
        let time = Timestamp::now();
        let state = self.pods.get_mut(&pod).and_then(|pod| pod.containers.get_mut(&container));
        if let Some(state) = state.filter(|state| state.run == Some(number)) {
            state.run = None;
            let started_at = match &state.status {
                Status::Running { started_at, .. } => Some(*started_at),
                Status::Starting => Some(created),
                Status::StartFailed { .. } | Status::Exited { .. } => None,
            };
            if let Some(started_at) = started_at {
                let (code, signal) = (ended.code, ended.signal);
                state.status = Status::Exited { code, signal, started_at, time };
                self.event(Event::Exited { pod: pod.clone(), container, attempt, code, signal, time });
            }
        }
        self.finish_stop(&pod);
    }

    pub fn signal_container(&mut self, pod: &str, container: &str, signal: i32) {
        if let Some(run) = self.run_of(pod, container).and_then(|number| self.runs.get(&number)) {
            tell(run, signal);
        }
    }

    /// The container's process, if it has one.
    pub fn run_of(&self, pod: &str, container: &str) -> Option<u64> {
        self.pods.get(pod)?.containers.get(container)?.run
    }

    pub fn stop_pod(&mut self, uid: &str, grace_seconds: u64) {
        let Some(pod) = self.pods.get_mut(uid) else {
            return self.event(Event::PodStopped { pod: uid.into(), time: Timestamp::now() });
        };
        let wanted = Instant::now() + Duration::from_secs(grace_seconds.min(MAX_GRACE));
        let first = pod.deadline.is_none();
        // A second request can only hurry it.
        let deadline = pod.deadline.map_or(wanted, |old| old.min(wanted));
        if let Some(old) = pod.deadline.replace(deadline) {
            self.deadlines.remove(&(old, uid.to_string()));
        }
        self.deadlines.insert((deadline, uid.to_string()));
        if grace_seconds == 0 {
            self.signal_pod(uid, libc::SIGKILL);
        } else if first {
            // The kernel drops a signal that the first process of a pid namespace does not handle yet: those that are
            // still being started are told when they have.
            let runs = self.runs_of(uid).filter(|run| run.status.is_none());
            runs.for_each(|run| tell(run, libc::SIGTERM));
        }
        self.finish_stop(uid);
    }

    fn runs_of(&self, uid: &str) -> impl Iterator<Item = &Run> {
        let containers = self.pods.get(uid).into_iter().flat_map(|pod| pod.containers.values());
        containers.filter_map(|container| self.runs.get(&container.run?))
    }

    fn signal_pod(&self, uid: &str, signal: i32) {
        self.runs_of(uid).for_each(|run| tell(run, signal));
    }

    /// A container is no longer being started; its pod may meanwhile have been asked to end.
    fn tell_to_end_if_asked(&self, number: u64) {
        if let Some(run) = self.runs.get(&number)
            && self.pods.get(&run.spec.pod).is_some_and(|pod| pod.deadline.is_some())
        {
            tell(run, libc::SIGTERM);
        }
    }

    pub fn check_deadlines(&mut self) {
        let now = Instant::now();
        while self.deadlines.first().is_some_and(|(deadline, _)| *deadline <= now) {
            if let Some((_, uid)) = self.deadlines.pop_first() {
                self.signal_pod(&uid, libc::SIGKILL);
            }
        }
    }

    /// Forgets a pod that is being stopped once nothing of it runs.
    fn finish_stop(&mut self, uid: &str) {
        let stopped = |pod: &Pod| pod.deadline.is_some() && pod.is_empty();
        if !self.pods.get(uid).is_some_and(stopped) {
            return;
        }
        if let Some(pod) = self.pods.remove(uid) {
            if let Some(deadline) = pod.deadline {
                self.deadlines.remove(&(deadline, uid.to_string()));
            }
            if let Err(error) = std::fs::remove_dir_all(&pod.dir) {
                complain(format_args!("cannot remove the files of pod {uid}: {error}"));
            }
            self.event(Event::PodStopped { pod: uid.into(), time: Timestamp::now() });
        }
    }

    pub fn console_ready(&mut self, number: u64, port: Port) {
        let Some(run) = self.runs.get_mut(&number) else { return };
        let over = run.console.ready(&mut self.reactor, port, &mut self.buffer);
        if run.console.is_done() {
            self.runs.remove(&number);
        }
        self.sessions_over(over);
    }
}

/// The container's side of its streams.
enum ChildEnds {
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    Terminal,
}

impl ChildEnds {
    fn streams(&self) -> Streams<'_> {
        match self {
            ChildEnds::Pipes { stdin, stdout, stderr } => Streams::Given {
                stdin: stdin.as_ref().map(AsFd::as_fd),
                stdout: stdout.as_fd(),
                stderr: stderr.as_fd(),
            },
            ChildEnds::Terminal => Streams::Terminal,
        }
    }
}

fn streams(spec: &ContainerSpec) -> nix::Result<(Ends, ChildEnds)> {
    if spec.tty {
        return Ok((Ends { stdin: None, stdout: None, stderr: None }, ChildEnds::Terminal));
    }
    let (child_stdin, stdin) = match spec.stdin {
        true => pipe2(OFlag::O_CLOEXEC).map(|(read, write)| (Some(read), Some(write)))?,
        false => (None, None),
    };
    let (stdout, child_stdout) = pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, child_stderr) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((
        Ends { stdin, stdout: Some(stdout), stderr: Some(stderr) },
        ChildEnds::Pipes { stdin: child_stdin, stdout: child_stdout, stderr: child_stderr },
    ))
}

fn open_terminal(
    run: &mut Run,
    reactor: &mut super::reactor::Reactor<Source>,
    descriptors: Vec<OwnedFd>,
) -> std::io::Result<()> {
    let Some(master) = descriptors.into_iter().next() else { return Ok(()) };
    let stdin = if run.spec.stdin { Some(master.try_clone()?) } else { None };
    Ok(run.console.open(reactor, Ends { stdin, stdout: Some(master), stderr: None })?)
}

/// The environment with what every container has.
fn complete(env: &[(String, String)], hostname: &str) -> Vec<(String, String)> {
    let mut env = env.to_vec();
    if !env.iter().any(|(name, _)| name == "HOSTNAME") {
        env.push(("HOSTNAME".into(), hostname.into()));
    }
    env
}
