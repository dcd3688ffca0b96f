//! `exec` and `attach`: a command's streams over a WebSocket.
//!
//! What is wrong with the request is an ordinary answer; what goes wrong once the streams are open arrives on them.

mod channel;
mod fd;
mod stream;

use std::sync::Arc;

use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::body::Body;
use super::route::Target as Path;
use super::serve::Call;
use super::status::ApiError;
use crate::object::{Object, kind};
use crate::session::{Command, Session, SessionError, Sessions, Target};
use channel::Protocol;
use stream::Wanted;

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
    let wanted = wanted(&call)?;
    open(call, wanted, Box::new(move |sessions| sessions.attach(&target, wanted.stdin)))
}

fn wanted(call: &Call) -> Result<Wanted, ApiError> {
    let flag = |name| call.query.flag(name);
    let tty = flag("tty");
    // With a terminal there is no stderr of its own.
    let wanted = Wanted { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr") && !tty, tty };
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

/// Answers with the change to a WebSocket, and carries the streams from then on.
fn open(mut call: Call, wanted: Wanted, start: Start) -> Result<Response<Body>, ApiError> {
    if !call.header("upgrade").eq_ignore_ascii_case("websocket") {
        return Err(ApiError::bad_request(
            "exec and attach are served over WebSockets only: use kubectl 1.31 or newer, or set \
             KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true for kubectl 1.29 and 1.30",
        ));
    }
    let key = call.header("sec-websocket-key").to_string();
    if key.is_empty() || call.header("sec-websocket-version") != "13" {
        return Err(ApiError::bad_request("the WebSocket handshake lacks Sec-WebSocket-Key or version 13"));
    }
    let offered = call.header("sec-websocket-protocol").to_string();
    let protocol = Protocol::choose(&offered).ok_or_else(|| {
        let message = format!(
            "unable to negotiate protocol: client supports [{offered}], server supports {}",
            Protocol::NAMES.join(", ")
        );
        ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message)
    })?;
    let permit = call.api.stream_permit()?;
    let upgrade = hyper::upgrade::on(&mut call.request);
    let (sessions, mut closing) = (Arc::clone(&call.api.sessions), call.closing.clone());
    tokio::spawn(async move {
        let _permit = permit;
        // A client that is gone before the streams are open has started nothing.
        let Ok(upgraded) = upgrade.await else { return };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let session = tokio::task::spawn_blocking(move || start(&*sessions)).await;
        let session = session.unwrap_or_else(|error| Err(SessionError::CannotStart(error.to_string())));
        tokio::select! {
            () = stream::carry(socket, protocol, wanted, session) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(ApiError::internal)?;
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name()));
    Ok(response)
}
