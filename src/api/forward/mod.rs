//! `portforward`: TCP connections into a pod's network, over SPDY streams (in a WebSocket, as kubectl has it since 1.31,
//! or bare, as before) or over the numbered channels of a plain WebSocket.

mod channels;
mod dial;
mod streams;

use std::sync::Arc;

use hyper::Response;

use super::body::Body;
use super::route::Target;
use super::serve::Call;
use super::status::ApiError;
use super::upgrade::{self, Way};
use crate::object::{Key, kind};
use crate::session;
use crate::spdy;
use dial::Dialer;

/// What SPDY streams, and what the channels of a WebSocket carry.
const STREAMS: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
/// The most ports that one request may name; each has two channels, whose number is a byte.
const MAX_PORTS: usize = 100;

pub fn forward(path: Target, call: Call) -> Result<Response<Body>, ApiError> {
    if *path.kind != kind::POD {
        return Err(ApiError::no_such_path());
    }
    let pod = call.api.find(&path)?;
    if pod.str_at(&["spec", "nodeName"]).is_none_or(str::is_empty) {
        return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    }
    let name = session::Pod {
        namespace: pod.namespace().to_string(),
        name: pod.name().to_string(),
        uid: pod.uid().to_string(),
    };
    let key = Key::new(&kind::POD, pod.namespace(), pod.name());
    let dialer =
        Arc::new(Dialer { sessions: call.api.sessions.clone(), store: call.api.store.clone(), key, pod: name });
    match upgrade::asked(&call)? {
        Way::WebSocket => over_websocket(call, dialer),
        Way::Spdy => upgrade::spdy(call, &[STREAMS], move |io| async move {
            let (source, sink) = spdy::bytes(io);
            streams::serve(source, sink, dialer).await;
        }),
    }
}

fn over_websocket(call: Call, dialer: Arc<Dialer>) -> Result<Response<Body>, ApiError> {
    let offered = call.header("sec-websocket-protocol").to_string();
    let offers = |protocol: &str| offered.split(',').any(|name| name.trim() == protocol);
    if offers(TUNNEL) {
        return upgrade::websocket(call, TUNNEL, move |socket| async move {
            let (source, sink) = spdy::websocket(socket);
            streams::serve(source, sink, dialer).await;
        });
    }
    let protocol = match [CHANNELS, STREAMS].into_iter().find(|name| offers(name)) {
        Some(protocol) => protocol,
        None if offered.is_empty() => "",
        None => return Err(upgrade::no_common_protocol(&[&offered], &[TUNNEL, CHANNELS])),
    };
    let ports = ports(&call)?;
    upgrade::websocket(call, protocol, move |socket| channels::serve(socket, ports, dialer))
}

/// The ports that a request over channels names, each as `ports=N` or in `ports=N,M`.
fn ports(call: &Call) -> Result<Vec<u16>, ApiError> {
    let mut ports = Vec::new();
    // Kubernetes' own clients write `ports`, its documentation of the API too; the kubelet reads `port`.
    for text in call.query.all("ports").chain(call.query.all("port")).flat_map(|list| list.split(',')) {
        let port = text.parse().ok().filter(|port| *port > 0);
        let bad = || ApiError::bad_request(format!("unable to parse \"{text}\" as a port: it must be 1 to 65535"));
        ports.push(port.ok_or_else(bad)?);
    }
    match ports.len() {
        0 => Err(ApiError::bad_request("query parameter \"ports\" is required")),
        1..=MAX_PORTS => Ok(ports),
        _ => Err(ApiError::bad_request(format!("at most {MAX_PORTS} ports can be forwarded by one request"))),
    }
}
