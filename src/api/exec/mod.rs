//! `exec` and `attach`: a command's streams over a WebSocket, or over SPDY for clients that know no better.
//!
//! What is wrong with the request is an ordinary answer; what goes wrong once the streams are open arrives on them.

mod channel;
mod fd;
mod stream;
mod streams;

use std::sync::Arc;

use hyper::Response;
use serde_json::Value;

use super::body::Body;
use super::route::Target as Path;
use super::serve::Call;
use super::status::ApiError;
use super::upgrade::{self, Way};
use crate::object::{Object, kind};
use crate::session::{Command, Session, SessionError, Sessions, Target};
use channel::Protocol;
pub use channel::message;
use stream::Wanted;

/// Over SPDY version 5 would add nothing: streams have ends of their own.
const V4: &str = "v4.channel.k8s.io";

type Start = Box<dyn FnOnce(&dyn Sessions) -> Result<Session, SessionError> + Send>;

pub fn exec(path: Path, call: Call) -> Result<Response<Body>, ApiError> {
    let target = container(&path, &call)?;
    start_command(call, target)
}

/// A command on a node, or on the outside machine under the name `client`.
pub fn node(call: Call, name: &str) -> Result<Response<Body>, ApiError> {
    let known = name == "client" || call.api.store.snapshot().find(&kind::NODE, "", name).is_some();
    if !known {
        return Err(ApiError::not_found(&kind::NODE, name));
    }
    start_command(call, Target::Node { name: name.to_string() })
}

fn start_command(call: Call, target: Target) -> Result<Response<Body>, ApiError> {
    let argv: Vec<String> = call.query.all("command").map(str::to_string).collect();
    if argv.first().is_none_or(String::is_empty) {
        return Err(ApiError::bad_request("you must specify at least one command for the container"));
    }
    let wanted = wanted(&call)?;
    let command = Command { argv, tty: wanted.tty, stdin: wanted.stdin };
    open(call, wanted, Box::new(move |sessions| sessions.exec(&target, command)))
}

pub fn attach(path: Path, call: Call) -> Result<Response<Body>, ApiError> {
    let target = container(&path, &call)?;
    let wanted = Wanted { code: false, ..wanted(&call)? };
    open(call, wanted, Box::new(move |sessions| sessions.attach(&target, wanted.stdin)))
}

fn wanted(call: &Call) -> Result<Wanted, ApiError> {
    let flag = |name| call.query.flag(name);
    let tty = flag("tty");
    // With a terminal there is no stderr of its own.
    let (stdin, stdout, stderr) = (flag("stdin"), flag("stdout"), flag("stderr") && !tty);
    let wanted = Wanted { stdin, stdout, stderr, tty, code: true };
    if !wanted.stdin && !wanted.stdout && !wanted.stderr {
        return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(wanted)
}

fn container(path: &Path, call: &Call) -> Result<Target, ApiError> {
    if *path.kind != kind::POD {
        return Err(ApiError::no_such_path());
    }
    let pod = call.api.find(path)?;
    let container = container_name(&pod, call.query.get("container"))?.to_string();
    let Some(node) = pod.str_at(&["spec", "nodeName"]).filter(|n| !n.is_empty()) else {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    };
    Ok(Target::Container { node: node.to_string(), pod_uid: pod.uid().to_string(), container })
}

/// The container that is meant: the one asked for, the only one, or the pod's default one.
pub fn container_name<'a>(pod: &'a Object, asked: Option<&str>) -> Result<&'a str, ApiError> {
    let names = |field: &str| {
        let list = pod.at(&["spec", field]).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|c| c.get("name")?.as_str()).collect::<Vec<_>>()
    };
    let own = names("containers");
    let default = pod.annotation("kubectl.kubernetes.io/default-container");
    match (asked.or(default), own.as_slice()) {
        (Some(wanted), _) => {
            let all = own.iter().copied().chain(names("initContainers")).chain(names("ephemeralContainers"));
            let found = all.into_iter().find(|name| *name == wanted);
            found
                .ok_or_else(|| ApiError::bad_request(format!("container {wanted} is not valid for pod {}", pod.name())))
        }
        (None, [only]) => Ok(only),
        (None, several) => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            pod.name(),
            several.join(" ")
        ))),
    }
}

/// Answers with the change to what the client speaks, and carries the streams from then on.
fn open(call: Call, wanted: Wanted, start: Start) -> Result<Response<Body>, ApiError> {
    let sessions = Arc::clone(&call.api.sessions);
    // A client that is gone before the streams are open has started nothing.
    let start = async move {
        let session = tokio::task::spawn_blocking(move || start(&*sessions)).await;
        session.unwrap_or_else(|error| Err(SessionError::CannotStart(error.to_string())))
    };
    match upgrade::asked(&call)? {
        Way::WebSocket => {
            let offered = call.header("sec-websocket-protocol").to_string();
            let protocol = Protocol::choose(&offered)
                .ok_or_else(|| upgrade::no_common_protocol(&[offered.as_str()], &Protocol::NAMES))?;
            upgrade::websocket(call, protocol.name(), move |socket| async move {
                stream::carry(socket, protocol, wanted, start.await).await;
            })
        }
        Way::Spdy => upgrade::spdy(call, &[V4], move |io| streams::carry(io, wanted, start)),
    }
}
