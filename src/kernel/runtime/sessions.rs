//! Commands in containers and on the node, and clients that are attached to a container.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::epoll::EpollFlags;

use super::container;
use super::program::{Finish, Report, Streams};
use super::protocol::{Joined, Message, Place, Refusal, Status};
use super::reactor::Watched;
use super::server::{Owner, Server, Source};
use super::sys::Ended;
use super::wire;
use crate::desired::Program;

/// A command that was asked for.
pub struct Command {
    /// The supervisor's name for it; `None` when that supervisor is gone.
    session: Option<u64>,
    /// Until it has said how its start went.
    status: Option<Watched>,
    terminal: Option<OwnedFd>,
    /// It could not be started; its end is no news.
    failed: bool,
}

impl Server {
    pub fn exec(&mut self, id: u64, place: &Place, argv: Vec<String>, tty: bool, stdin: bool, fds: Vec<OwnedFd>) {
        if let Err(refusal) = self.start_command(id, place, argv, tty, stdin, fds) {
            self.send(&Message::ExecStarted { id, result: Err(refusal) }, Vec::new());
        }
    }

    fn start_command(
        &mut self,
        id: u64,
        place: &Place,
        argv: Vec<String>,
        tty: bool,
        stdin: bool,
        fds: Vec<OwnedFd>,
    ) -> Result<(), Refusal> {
        let cannot = |what: &str, error: nix::Error| Refusal::CannotStart(format!("cannot {what}: {error}"));
        let streams = match (tty, stdin, fds.as_slice()) {
            (true, _, _) => Streams::Terminal,
            (false, true, [stdin, stdout, stderr]) => {
                Streams::Given { stdin: Some(stdin.as_fd()), stdout: stdout.as_fd(), stderr: stderr.as_fd() }
            }
            (false, false, [stdout, stderr]) => {
                Streams::Given { stdin: None, stdout: stdout.as_fd(), stderr: stderr.as_fd() }
            }
            _ => return Err(Refusal::CannotStart("the streams of the command did not come with it".into())),
        };
        if matches!(place, Place::Node) && self.node_mounts.is_none() {
            self.node_mounts = Some(container::node_mounts(&self.place.hostname).map_err(Refusal::CannotStart)?);
        }
        let (status, child_status) = Self::status_channel(tty).map_err(|error| cannot("make a pipe", error))?;
        let program = Program::Command { argv };
        let node_env: [(String, String); 0] = [];
        let (pid, _) = match place {
            Place::Node => {
                let mounts = self.node_mounts.as_ref();
                let mounts = mounts.ok_or_else(|| Refusal::NotRunning("the node has no root directory".into()))?;
                let finish = Finish {
                    program: &program,
                    env: &node_env,
                    working_dir: "/root",
                    make_working_dir: true,
                    streams,
                    confined: false,
                    builtins: self.place.builtins,
                    status: child_status.as_fd(),
                };
                container::join_node(mounts, &finish).map_err(Refusal::CannotStart)?
            }
            Place::Container { pod, container: name } => {
                let run = self.run_of(pod, name).and_then(|number| self.runs.get(&number));
                let run = run.filter(|_| self.is_running(pod, name)).ok_or_else(|| not_running(name))?;
                let finish = Finish {
                    program: &program,
                    env: &run.spec.env,
                    working_dir: run.spec.working_dir.as_deref().unwrap_or("/"),
                    make_working_dir: false,
                    streams,
                    confined: true,
                    builtins: self.place.builtins,
                    status: child_status.as_fd(),
                };
                container::join(run.pidfd.as_fd(), self.own_pid_namespace.as_fd(), &finish)
                    .map_err(Refusal::CannotStart)?
            }
        };
        drop((child_status, fds));
        let number = self.new_number();
        let status = self.reactor.watch(status, EpollFlags::EPOLLIN, Source::CommandStatus(number));
        let status = status.map_err(|error| cannot("watch the command", error))?;
        self.commands
            .insert(number, Command { session: Some(id), status: Some(status), terminal: None, failed: false });
        self.processes.insert(pid, Owner::Command(number));
        Ok(())
    }

    fn is_running(&self, pod: &str, container: &str) -> bool {
        let container = self.pods.get(pod).and_then(|pod| pod.containers.get(container));
        container.is_some_and(|container| matches!(container.status, Status::Running { .. }))
    }

    /// Something came over a command's status socket, or it closed.
    pub fn hear_command(&mut self, number: u64) {
        while let Some(command) = self.commands.get_mut(&number) {
            let Some(status) = &command.status else { return };
            let report = match wire::receive_packet(status.as_fd()) {
                Ok(None) => return,
                Ok(Some((bytes, descriptors))) => match Report::parse(&bytes) {
                    Report::Terminal => {
                        command.terminal = descriptors.into_iter().next();
                        continue;
                    }
                    report => report,
                },
                Err(_) => Report::Ready,
            };
            if let Some(status) = command.status.take() {
                self.reactor.forget(status);
            }
            let terminal = command.terminal.take();
            let (result, descriptors) = match report {
                Report::Failed(message) => {
                    command.failed = true;
                    (Err(Refusal::CannotStart(message)), Vec::new())
                }
                Report::Ready | Report::Terminal => (Ok(()), terminal.into_iter().collect()),
            };
            if let Some(id) = command.session {
                self.send(&Message::ExecStarted { id, result }, descriptors);
            }
        }
    }

    pub fn command_ended(&mut self, number: u64, ended: Ended) {
        // How it started may still be unread.
        self.hear_command(number);
        let Some(command) = self.commands.remove(&number) else { return };
        if let Some(status) = command.status {
            self.reactor.forget(status);
        }
        if let Some(id) = command.session.filter(|_| !command.failed) {
            self.send(&Message::SessionEnded { id, code: ended.code }, Vec::new());
        }
    }

    pub fn attach(&mut self, id: u64, pod: &str, container: &str, stdin: bool, fds: Vec<OwnedFd>) {
        let result = self.join_console(id, pod, container, stdin, fds);
        self.send(&Message::Attached { id, result }, Vec::new());
    }

    fn join_console(
        &mut self,
        id: u64,
        pod: &str,
        container: &str,
        stdin: bool,
        fds: Vec<OwnedFd>,
    ) -> Result<Joined, Refusal> {
        let mut fds = fds.into_iter();
        let input = if stdin { fds.next() } else { None };
        let (Some(stdout), Some(stderr)) = (fds.next(), fds.next()) else {
            return Err(Refusal::CannotStart("the streams to attach did not come with the request".into()));
        };
        let number = self.run_of(pod, container).filter(|_| self.is_running(pod, container));
        let run = number.and_then(|number| self.runs.get_mut(&number)).ok_or_else(|| not_running(container))?;
        let joined = Joined { tty: run.spec.tty, stdin: stdin && run.spec.stdin };
        let input = input.filter(|_| joined.stdin);
        let stderr = Some(stderr).filter(|_| !joined.tty);
        run.console
            .attach(&mut self.reactor, id, input, stdout, stderr)
            .map_err(|error| Refusal::CannotStart(format!("cannot attach: {error}")))?;
        Ok(joined)
    }

    pub fn resize(&mut self, id: u64, columns: u16, rows: u16) {
        if let Some(run) = self.runs.values().find(|run| run.console.is_attached(id)) {
            run.console.resize(columns, rows);
        }
    }

    pub fn sessions_over(&mut self, over: Vec<(u64, i32)>) {
        for (id, code) in over {
            self.send(&Message::SessionEnded { id, code }, Vec::new());
        }
    }

    /// The supervisor that had them is gone. Commands run on, as they do when a client of a real cluster goes away.
    pub fn drop_sessions(&mut self) {
        for command in self.commands.values_mut() {
            command.session = None;
        }
        for run in self.runs.values_mut() {
            run.console.detach_all(&mut self.reactor);
        }
        self.runs.retain(|_, run| !run.console.is_done());
    }
}

fn not_running(container: &str) -> Refusal {
    // The kubelet's words.
    Refusal::NotRunning(format!("unable to upgrade connection: container not found ({container:?})"))
}
