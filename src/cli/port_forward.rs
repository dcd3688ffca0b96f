//! `port-forward`: ports of this machine that lead into a pod.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::ports::{self, Forward};
use super::{Context, Failure, hint, path, pods, print, resource, stream};
use crate::object::kind;
use crate::spdy::{self, Connection, Headers, Side};

const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// Forward ports of this machine to a pod
#[derive(Debug, Args)]
pub struct PortForwardArgs {
    /// POD, or TYPE/NAME for one of its pods; then [LOCAL:]REMOTE for each port, LOCAL empty for any
    #[arg(value_name = "POD|TYPE/NAME [LOCAL:]REMOTE")]
    args: Vec<String>,
    /// Addresses to listen at, comma separated; localhost is 127.0.0.1 and ::1
    #[arg(long, value_delimiter = ',', default_value = "localhost")]
    address: Vec<String>,
}

pub async fn run(args: PortForwardArgs, cx: &Context) -> Result<(), Failure> {
    let Some((named, wanted)) = args.args.split_first().filter(|(_, ports)| !ports.is_empty()) else {
        return Err(Failure::usage("TYPE/NAME and list of ports are required for port-forward", "port-forward"));
    };
    let named = std::slice::from_ref(named);
    let (kind, name) = resource::parse_one(named, Some(&kind::POD), "port-forward")?;
    let service = if kind == &kind::SERVICE { Some(pods::get(cx, kind, &name).await?) } else { None };
    let pod = pods::find_one(cx, named, "port-forward").await?;
    let forwards = ports::resolve(wanted, &pod, service.as_ref())?;
    let addresses = addresses(&args.address)?;
    let phase = pods::phase(&pod);
    if phase != "Running" {
        let words = format!("unable to forward port because pod is not running. Current status={phase}");
        return Err(Failure::error(words));
    }
    let path = format!("{}/portforward", path::object(&kind::POD, hint::namespace_of(&pod), hint::name_of(&pod)));
    let socket = stream::upgrade(&cx.client, &path, PROTOCOL, "opening a port-forward").await?.0;
    let (source, sink) = spdy::websocket(socket);
    let (connection, _, driver) = spdy::connect(source, sink, Side::Client).map_err(Failure::error)?;
    let serve = async {
        let listeners = listen(&forwards, &addresses).await?;
        serve(listeners, &connection).await;
        Ok(())
    };
    tokio::select! {
        result = serve => result,
        _ = driver => Err(Failure::error("lost connection to pod")),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    ip: IpAddr,
    /// One of localhost's two, of which one is enough.
    localhost: bool,
}

fn addresses(texts: &[String]) -> Result<Vec<Address>, Failure> {
    let mut addresses = Vec::new();
    for text in texts {
        let found: Vec<Address> = match text.as_str() {
            "localhost" => [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]
                .map(|ip| Address { ip, localhost: true })
                .to_vec(),
            text => {
                let ip = text.parse().map_err(|_| Failure::error(format!("{text} is not a valid IP")))?;
                vec![Address { ip, localhost: false }]
            }
        };
        addresses.extend(
            found.into_iter().filter(|new| addresses.iter().all(|old: &Address| old.ip != new.ip)).collect::<Vec<_>>(),
        );
    }
    Ok(addresses)
}

async fn listen(forwards: &[Forward], addresses: &[Address]) -> Result<Vec<(TcpListener, Forward)>, Failure> {
    let mut listeners = Vec::new();
    for &forward in forwards {
        match listen_for(forward, addresses).await {
            Ok(found) => listeners.extend(found),
            Err(why) => eprintln!("Unable to listen on port {}: {why}", forward.local),
        }
    }
    if listeners.is_empty() {
        let ports: Vec<String> = forwards.iter().map(|f| format!("{{{} {}}}", f.local, f.remote)).collect();
        let words = format!("unable to listen on any of the requested ports: [{}]", ports.join(" "));
        return Err(Failure::error(words));
    }
    Ok(listeners)
}

async fn listen_for(mut forward: Forward, addresses: &[Address]) -> Result<Vec<(TcpListener, Forward)>, String> {
    let (mut listeners, mut errors, mut fatal) = (Vec::new(), Vec::new(), false);
    for &Address { ip, localhost } in addresses {
        let address = SocketAddr::new(ip, forward.local);
        let bound = TcpListener::bind(address).await.and_then(|l| Ok((l.local_addr()?.port(), l)));
        match bound {
            Ok((port, listener)) => {
                // A port that was left open is the same at all addresses.
                forward.local = port;
                // Nobody who reads it: then it is for the forward alone.
                let _ = print(&format!("Forwarding from {} -> {}\n", SocketAddr::new(ip, port), forward.remote));
                listeners.push((listener, forward));
            }
            Err(error) => {
                fatal |= !localhost;
                errors.push(format!("unable to create listener: Error listen {address}: {}", words(&error)));
            }
        }
    }
    if fatal || listeners.is_empty() {
        return Err(format!("Listeners failed to create with the following errors: [{}]", errors.join(" ")));
    }
    Ok(listeners)
}

fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

async fn serve(listeners: Vec<(TcpListener, Forward)>, connection: &Connection) {
    let mut accepting = JoinSet::new();
    let requests = Arc::new(AtomicU64::new(0));
    for (listener, forward) in listeners {
        let (connection, requests) = (connection.clone(), requests.clone());
        accepting.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((local, _)) => {
                            let _ = print(&format!("Handling connection for {}\n", forward.local));
                            let request = requests.fetch_add(1, Ordering::Relaxed);
                            open.spawn(handle(local, forward, connection.clone(), request));
                        }
                        // Out of file descriptors, or a client that left again: the next one may do better.
                        Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                    },
                    Some(_) = open.join_next() => {}
                }
            }
        });
    }
    while accepting.join_next().await.is_some() {}
}

async fn handle(local: TcpStream, forward: Forward, connection: Connection, request: u64) {
    let _ = local.set_nodelay(true);
    let (port, request) = (forward.remote.to_string(), request.to_string());
    let headers = |kind| Headers::new([("streamType", kind), ("port", &port), ("requestID", &request)]);
    let opened = async {
        let mut error = connection.open(&headers("error")).await?;
        error.sender.finish().await;
        Ok::<_, spdy::SpdyError>((error, connection.open(&headers("data")).await?))
    };
    // Without the connection there is nothing to serve, which is told once.
    let Ok((mut error, data)) = opened.await else { return };
    spdy::carry(local, data).await;
    let mut told = Vec::new();
    while let Some(bytes) = error.receiver.receive().await {
        told.extend_from_slice(&bytes);
    }
    if !told.is_empty() {
        let Forward { local, remote } = forward;
        eprintln!("an error occurred forwarding {local} -> {remote}: {}", String::from_utf8_lossy(&told));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_two_addresses_and_none_is_taken_twice() {
        let read = |texts: &[&str]| addresses(&texts.iter().map(ToString::to_string).collect::<Vec<_>>());
        let ips = |texts: &[&str]| read(texts).unwrap().iter().map(|a| a.ip.to_string()).collect::<Vec<_>>();
        assert_eq!(ips(&["localhost", "127.0.0.1", "10.0.0.1"]), ["127.0.0.1", "::1", "10.0.0.1"]);
        assert_eq!(read(&["m-k8s"]).unwrap_err().to_string(), "error: m-k8s is not a valid IP");
    }
}
