//! `lab service NAME --url`: the addresses at which a Service answers outside the cluster.

use clap::Args;
use serde_json::Value;

use super::path::Query;
use super::{Context, Failure, pods, print};
use crate::object::kind;
use crate::object::lab::in_url;

/// Print where a Service can be reached
#[derive(Debug, Args)]
pub struct ServiceArgs {
    #[arg(value_name = "NAME")]
    service: String,
    /// One URL a line, and nothing else
    #[arg(long)]
    url: bool,
}

pub async fn run(args: ServiceArgs, cx: &Context) -> Result<(), Failure> {
    let service = pods::get(cx, &kind::SERVICE, &args.service).await?;
    let nodes = cx.client.items(&kind::NODE, None, &Query::new()).await?;
    let urls = urls(&service, node_address(&nodes).as_deref());
    if urls.is_empty() {
        return Err(no_url(&args.service, &service));
    }
    for url in urls {
        print(&if args.url { format!("{}\n", url.text) } else { format!("{}  {}\n", url.text, url.what) })?;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Url {
    text: String,
    /// Which port of the Service it is, for people.
    what: String,
}

/// The first worker that is ready, as users try; else any node.
fn node_address(nodes: &[Value]) -> Option<String> {
    let address = |node: &&Value| {
        let addresses = node.pointer("/status/addresses").and_then(Value::as_array)?;
        let internal = addresses.iter().find(|a| a.get("type").and_then(Value::as_str) == Some("InternalIP"))?;
        internal.get("address").and_then(Value::as_str).map(str::to_string)
    };
    let is_ready = |node: &&Value| {
        let conditions = node.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let mut ready = conditions.filter(|c| c.get("type").and_then(Value::as_str) == Some("Ready"));
        ready.any(|c| c.get("status").and_then(Value::as_str) == Some("True"))
    };
    let is_worker = |node: &&Value| node.pointer("/metadata/labels/node-role.kubernetes.io~1control-plane").is_none();
    let workers = nodes.iter().filter(|n| is_worker(n) && is_ready(n));
    workers.chain(nodes.iter().filter(is_ready)).chain(nodes).find_map(|n| address(&n))
}

fn urls(service: &Value, node: Option<&str>) -> Vec<Url> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let address = service.pointer("/status/loadBalancer/ingress/0/ip").and_then(Value::as_str);
    let mut urls = Vec::new();
    for port in ports {
        let number = |field: &str| port.get(field).and_then(Value::as_i64).filter(|n| *n > 0);
        let name = port.get("name").and_then(Value::as_str).unwrap_or_default();
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        let Some(service_port) = number("port") else { continue };
        let scheme = match (protocol, name) {
            ("TCP", "https") => "https",
            ("TCP", _) if service_port == 443 => "https",
            ("TCP", _) => "http",
            ("UDP", _) => "udp",
            _ => "sctp",
        };
        let label = if name.is_empty() {
            format!("{service_port}/{protocol}")
        } else {
            format!("{name} {service_port}/{protocol}")
        };
        if let Some(address) = address {
            let text = format!("{scheme}://{}:{service_port}", in_url(address));
            urls.push(Url { text, what: format!("({label}, load balancer)") });
        }
        if let (Some(node), Some(node_port)) = (node, number("nodePort")) {
            urls.push(Url { text: format!("{scheme}://{}:{node_port}", in_url(node)), what: format!("({label})") });
        }
    }
    urls
}

fn no_url(name: &str, service: &Value) -> Failure {
    let text = |at: &str| service.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let port = service.pointer("/spec/ports/0/port").and_then(Value::as_i64).unwrap_or(80);
    match text("/spec/type") {
        "ExternalName" => Failure::error(format!(
            "service \"{name}\" is of type ExternalName: it is another name for {}",
            text("/spec/externalName")
        )),
        _ if text("/spec/clusterIP") == "None" => {
            Failure::error(format!("service \"{name}\" is headless: it has no address, its pods answer at their own"))
        }
        _ => Failure::error(format!(
            "service \"{name}\" is of type ClusterIP and has no node port: it answers inside the cluster alone"
        ))
        .hint(format!("from a node: lab node exec w1-k8s -- curl http://{}:{port}", in_url(text("/spec/clusterIP"))))
        .hint(format!("to give it a node port: lab expose service {name} --type=NodePort --name={name}-np")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_for_each_port() {
        let service = json!({"spec": {"type": "NodePort", "ports": [
            {"name": "http", "port": 80, "nodePort": 30100, "protocol": "TCP"}, {"name": "https", "port": 443, "nodePort": 30101}]}});
        let seen: Vec<String> =
            urls(&service, Some("192.168.1.101")).into_iter().map(|u| format!("{} {}", u.text, u.what)).collect();
        assert_eq!(seen, ["http://192.168.1.101:30100 (http 80/TCP)", "https://192.168.1.101:30101 (https 443/TCP)"]);
    }

    #[test]
    fn a_service_that_is_inside_only() {
        let service = json!({"spec": {"type": "ClusterIP", "clusterIP": "10.96.0.7", "ports": [{"port": 8080}]}});
        assert_eq!(urls(&service, Some("192.168.1.101")), []);
        let said = no_url("web", &service).to_string();
        assert!(said.contains("of type ClusterIP"), "{said}");
        assert!(said.contains("curl http://10.96.0.7:8080"), "{said}");
    }

    #[test]
    fn a_ready_worker_is_the_node_to_try() {
        let node = |name: &str, ip: &str, ready: &str, labels: Value| {
            json!({"metadata": {"name": name, "labels": labels},
            "status": {"addresses": [{"type": "InternalIP", "address": ip}], "conditions": [{"type": "Ready", "status": ready}]}})
        };
        let control = node("m", "192.168.1.10", "True", json!({"node-role.kubernetes.io/control-plane": ""}));
        let down = node("w1", "192.168.1.101", "Unknown", json!({}));
        let up = node("w2", "192.168.1.102", "True", json!({}));
        assert_eq!(node_address(&[control.clone(), down.clone(), up]).as_deref(), Some("192.168.1.102"));
        assert_eq!(node_address(&[down, control]).as_deref(), Some("192.168.1.10"));
    }
}
