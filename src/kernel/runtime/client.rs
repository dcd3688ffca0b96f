//! The supervisor's side: requests go out without waiting, a thread of its own reads what comes back.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::RuntimeError;
use super::protocol::{ContainerSpec, Event, Joined, Message, Place, PodSpec, Refusal, Request, State};
use super::sys;
use super::wire::{self, Decoder, WireError};
use crate::layout::Layout;
use crate::session::{self, Exit, Session, SessionError};

/// How long a node may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection with a node's runtime. Requests of pods and containers are sent and not waited for: what became of them
/// comes as [`Event`]s, in order.
pub struct RuntimeClient {
    node: String,
    link: Arc<Link>,
}

struct Link {
    socket: UnixStream,
    /// Held while a message is being written.
    writing: Mutex<()>,
    waiting: Mutex<Waiting>,
    next_id: AtomicU64,
}

/// Who waits for what, by the request's id.
#[derive(Default)]
struct Waiting {
    answers: HashMap<u64, Sender<Answer>>,
    sessions: HashMap<u64, oneshot::Sender<Exit>>,
    /// The connection has ended, no answer will come.
    over: bool,
}

enum Answer {
    Exec(Result<Option<OwnedFd>, Refusal>),
    Attach(Result<Joined, Refusal>),
    State(State),
}

impl RuntimeClient {
    /// Connects with a node that has been spawned, now or by an earlier supervisor, and waits until it is ready. The
    /// receiver ends when the node does.
    ///
    /// # Errors
    /// The node is not there, or could not set itself up.
    pub fn connect(layout: &Layout, node: &str) -> Result<(RuntimeClient, Receiver<Event>), RuntimeError> {
        let failed = |source| RuntimeError::Connect { node: node.into(), source };
        let socket = open(&layout.runtime_socket(node)).map_err(failed)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut decoder = Decoder::default();
        let hello = loop {
            if let Some((message, _)) = decoder.next::<Message>().map_err(|error| failed(io::Error::other(error)))? {
                break message;
            }
            match decoder.receive(socket.as_fd(), true) {
                Ok(_) => {}
                Err(WireError::System(error)) => return Err(failed(error.into())),
                Err(error) => return Err(failed(io::Error::other(error))),
            }
        };
        match hello {
            Message::Hello(Ok(())) => {}
            Message::Hello(Err(message)) => return Err(RuntimeError::Setup { node: node.into(), message }),
            _ => return Err(failed(io::Error::other("it speaks another language; is it of another version?"))),
        }
        socket.set_read_timeout(None).map_err(failed)?;
        let link =
            Arc::new(Link { socket, writing: Mutex::default(), waiting: Mutex::default(), next_id: AtomicU64::new(1) });
        let (events, receiver) = mpsc::channel();
        let reader = Arc::clone(&link);
        std::thread::Builder::new()
            .name(format!("node {node}"))
            .spawn(move || reader.read(decoder, &events))
            .map_err(failed)?;
        Ok((RuntimeClient { node: node.into(), link }, receiver))
    }

    /// Makes a pod known; its containers are started one by one.
    pub fn start_pod(&self, spec: PodSpec, netns: BorrowedFd<'_>) -> Result<(), RuntimeError> {
        self.request(&Request::StartPod(spec), &[netns])
    }

    /// Answered by `Started` or `StartFailed`, then `Exited`.
    pub fn start_container(&self, spec: ContainerSpec) -> Result<(), RuntimeError> {
        self.request(&Request::StartContainer(spec), &[])
    }

    /// Sends SIGTERM and the like to a container's main process. Nothing happens when it does not run.
    pub fn signal_container(&self, pod: &str, container: &str, signal: i32) -> Result<(), RuntimeError> {
        self.request(&Request::SignalContainer { pod: pod.into(), container: container.into(), signal }, &[])
    }

    /// Ends a container at once.
    pub fn kill_container(&self, pod: &str, container: &str) -> Result<(), RuntimeError> {
        self.signal_container(pod, container, nix::libc::SIGKILL)
    }

    /// Ends a pod, with `grace_seconds` between SIGTERM and SIGKILL; 0 kills at once. Asked again, it can only become
    /// shorter. Answered by `PodStopped` when nothing of the pod is left.
    pub fn stop_pod(&self, uid: &str, grace_seconds: u64) -> Result<(), RuntimeError> {
        self.request(&Request::StopPod { uid: uid.into(), grace_seconds }, &[])
    }

    /// What runs on the node. Events that were sent before are in the receiver already.
    pub fn list(&self) -> Result<State, RuntimeError> {
        match self.ask(|id| Request::List { id }, &[], None)? {
            Answer::State(state) => Ok(state),
            _ => Err(self.lost()),
        }
    }

    /// Runs a command, and waits until it has been started.
    pub fn exec(&self, place: Place, command: session::Command) -> Result<Session, SessionError> {
        let session::Command { argv, tty, stdin } = command;
        let near_and_far = if tty { None } else { Some(Streams::new(stdin)?) };
        let (exit_sender, exit) = oneshot::channel();
        let far: Vec<BorrowedFd<'_>> =
            near_and_far.iter().flat_map(|streams| streams.far.iter().map(AsFd::as_fd)).collect();
        let request = |id| Request::Exec { id, place, argv, tty, stdin };
        let answer = self.ask(request, &far, Some(exit_sender)).map_err(not_running)?;
        let Answer::Exec(result) = answer else { return Err(not_running(self.lost())) };
        match (result.map_err(refused)?, near_and_far) {
            (Some(master), _) => {
                let input = if stdin { Some(master.try_clone().map_err(cannot_start)?) } else { None };
                let terminal = master.try_clone().map_err(cannot_start)?;
                let resize = Box::new(move |columns, rows| {
                    // The command has ended, then.
                    let _ = sys::resize_terminal(terminal.as_fd(), columns, rows);
                });
                Ok(Session { stdin: input, stdout: master, stderr: None, resize, exit })
            }
            (None, Some(Streams { stdin, stdout, stderr, .. })) => {
                Ok(Session { stdin, stdout, stderr: Some(stderr), resize: Box::new(|_, _| ()), exit })
            }
            (None, None) => Err(SessionError::CannotStart("the command's terminal did not come".into())),
        }
    }

    /// Joins the streams of a running container.
    pub fn attach(&self, pod: &str, container: &str, stdin: bool) -> Result<Session, SessionError> {
        let Streams { far, stdin: near_stdin, stdout, stderr } = Streams::new(stdin)?;
        let far: Vec<BorrowedFd<'_>> = far.iter().map(AsFd::as_fd).collect();
        let (exit_sender, exit) = oneshot::channel();
        let mut session = 0;
        let request = |id| {
            session = id;
            Request::Attach { id, pod: pod.into(), container: container.into(), stdin }
        };
        let Answer::Attach(result) = self.ask(request, &far, Some(exit_sender)).map_err(not_running)? else {
            return Err(not_running(self.lost()));
        };
        let joined = result.map_err(refused)?;
        let link = Arc::clone(&self.link);
        let resize = Box::new(move |columns, rows| {
            // Without a node there is nothing to resize.
            let _ = link.send(&Request::Resize { id: session, columns, rows }, &[]);
        });
        let stdin = near_stdin.filter(|_| joined.stdin);
        Ok(Session { stdin, stdout, stderr: Some(stderr).filter(|_| !joined.tty), resize, exit })
    }

    fn request(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<(), RuntimeError> {
        self.link
            .send(request, descriptors)
            .map_err(|source| RuntimeError::Lost { node: self.node.clone(), reason: source.to_string() })
    }

    fn lost(&self) -> RuntimeError {
        RuntimeError::Lost { node: self.node.clone(), reason: "it did not answer".into() }
    }

    /// Sends a request that has an answer, and waits for it.
    fn ask(
        &self,
        request: impl FnOnce(u64) -> Request,
        descriptors: &[BorrowedFd<'_>],
        session: Option<oneshot::Sender<Exit>>,
    ) -> Result<Answer, RuntimeError> {
        let id = self.link.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        {
            let mut waiting = self.link.waiting();
            if waiting.over {
                return Err(self.lost());
            }
            waiting.answers.insert(id, sender);
            waiting.sessions.extend(session.map(|session| (id, session)));
        }
        let answer = self.request(&request(id), descriptors).and_then(|()| receiver.recv().map_err(|_| self.lost()));
        if !matches!(answer, Ok(Answer::Exec(Ok(_)) | Answer::Attach(Ok(_)))) {
            let mut waiting = self.link.waiting();
            waiting.answers.remove(&id);
            waiting.sessions.remove(&id);
        }
        answer
    }
}

impl Drop for RuntimeClient {
    fn drop(&mut self) {
        // Ends the reader. It can only fail when the connection has ended already.
        let _ = self.link.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl Link {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that holds it can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<(), WireError> {
        let bytes = wire::encode(request, descriptors.len())?;
        let mut descriptors: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let mut rest = bytes.as_slice();
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        while !rest.is_empty() {
            let sent = wire::send(self.socket.as_fd(), rest, &descriptors, true)?;
            descriptors.clear();
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    fn read(&self, mut decoder: Decoder, events: &Sender<Event>) {
        loop {
            match decoder.next::<Message>() {
                Ok(Some((message, descriptors))) => self.handle(message, descriptors, events),
                Ok(None) if decoder.receive(self.socket.as_fd(), true).is_ok() => {}
                Ok(None) | Err(_) => break,
            }
        }
        // A connection that cannot be understood is of no more use than one that has ended.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let mut waiting = self.waiting();
        *waiting = Waiting { over: true, ..Waiting::default() };
    }

    fn handle(&self, message: Message, descriptors: Vec<OwnedFd>, events: &Sender<Event>) {
        let (id, answer) = match message {
            // Whoever has dropped the receiver does not want them.
            Message::Event(event) => return events.send(event).unwrap_or(()),
            Message::Hello(_) => return,
            Message::SessionEnded { id, code } => {
                if let Some(session) = self.waiting().sessions.remove(&id) {
                    // The client of the session may have gone.
                    let _ = session.send(Exit { code });
                }
                return;
            }
            Message::ExecStarted { id, result } => (id, Answer::Exec(result.map(|()| descriptors.into_iter().next()))),
            Message::Attached { id, result } => (id, Answer::Attach(result)),
            Message::State { id, state } => (id, Answer::State(state)),
        };
        if let Some(sender) = self.waiting().answers.remove(&id) {
            let _ = sender.send(answer);
        }
    }
}

/// Pipes for a command: our ends, and in `far` the ends for the other side.
struct Streams {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    far: Vec<OwnedFd>,
}

impl Streams {
    fn new(stdin: bool) -> Result<Streams, SessionError> {
        let mut far: Vec<OwnedFd> = Vec::with_capacity(wire::MAX_DESCRIPTORS);
        let near_stdin = match stdin {
            true => {
                let (read, write) = io::pipe().map_err(cannot_start)?;
                far.push(read.into());
                Some(write.into())
            }
            false => None,
        };
        let mut output = || {
            let (read, write) = io::pipe().map_err(cannot_start)?;
            far.push(write.into());
            Ok::<OwnedFd, SessionError>(read.into())
        };
        let (stdout, stderr) = (output()?, output()?);
        Ok(Streams { stdin: near_stdin, stdout, stderr, far })
    }
}

/// Through a descriptor, since the name of a socket must be shorter than 108 bytes.
fn open(path: &Path) -> io::Result<UnixStream> {
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    UnixStream::connect(short.join(path.file_name().unwrap_or_default()))
}

fn cannot_start(error: io::Error) -> SessionError {
    SessionError::CannotStart(format!("cannot make the command's streams: {error}"))
}

fn not_running(error: RuntimeError) -> SessionError {
    SessionError::NotRunning(error.to_string())
}

fn refused(refusal: Refusal) -> SessionError {
    match refusal {
        Refusal::NotRunning(message) => SessionError::NotRunning(message),
        Refusal::CannotStart(message) => SessionError::CannotStart(message),
    }
}
