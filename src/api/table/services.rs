//! Services, Endpoints and EndpointSlices.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{self, NONE, UNSET, field, first_three, labels, list, or_none, text};
use crate::object::Object;

pub fn service(service: &Object, now: Timestamp) -> Vec<Value> {
    let kind = text(service, &["spec", "type"]);
    let first = list(service, &["spec", "clusterIPs"]).first().and_then(Value::as_str);
    let cluster_ip = first.unwrap_or(text(service, &["spec", "clusterIP"]));
    vec![
        cells::name(service),
        if kind.is_empty() { "ClusterIP" } else { kind }.into(),
        or_none(cluster_ip),
        external(service, kind).into(),
        ports(service).into(),
        cells::age(service, now),
        labels(service.at(&["spec", "selector"]).and_then(Value::as_object), NONE).into(),
    ]
}

fn external(service: &Object, kind: &str) -> String {
    let given = list(service, &["spec", "externalIPs"]).iter().filter_map(Value::as_str);
    let mut addresses: Vec<&str> = Vec::new();
    match kind {
        "ExternalName" => return text(service, &["spec", "externalName"]).to_string(),
        "LoadBalancer" => {
            let ingress = list(service, &["status", "loadBalancer", "ingress"]);
            addresses.extend(ingress.iter().map(|i| match field(i, "ip") {
                "" => field(i, "hostname"),
                ip => ip,
            }));
            addresses.extend(given);
            if addresses.is_empty() {
                return "<pending>".into();
            }
        }
        _ => addresses.extend(given),
    }
    if addresses.is_empty() { NONE.into() } else { addresses.join(",") }
}

fn ports(service: &Object) -> String {
    let port = |port: &Value| {
        let number = port.get("port").and_then(Value::as_u64).unwrap_or(0);
        let protocol = match field(port, "protocol") {
            "" => "TCP",
            protocol => protocol,
        };
        match port.get("nodePort").and_then(Value::as_u64).unwrap_or(0) {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    };
    let all: Vec<String> = list(service, &["spec", "ports"]).iter().map(port).collect();
    if all.is_empty() { NONE.into() } else { all.join(",") }
}

pub fn endpoints(endpoints: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Vec::new();
    let mut all: Vec<String> = Vec::new();
    for subset in list(endpoints, &["subsets"]) {
        let of = |name: &str| subset.get(name).and_then(Value::as_array).unwrap_or(&empty);
        if of("ports").is_empty() {
            all.extend(of("addresses").iter().map(|a| field(a, "ip").to_string()));
        }
        for port in of("ports") {
            let number = port.get("port").and_then(Value::as_u64).unwrap_or(0);
            all.extend(of("addresses").iter().map(|a| host_port(field(a, "ip"), number)));
        }
    }
    let shown = if all.is_empty() { NONE.to_string() } else { first_three(&all, ",") };
    vec![cells::name(endpoints), shown.into(), cells::age(endpoints, now)]
}

fn host_port(host: &str, port: u64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

pub fn endpoint_slice(slice: &Object, now: Timestamp) -> Vec<Value> {
    let port = |port: &Value| port.get("port").and_then(Value::as_u64).map_or("*".into(), |p| p.to_string());
    let ports: Vec<String> = list(slice, &["ports"]).iter().map(port).collect();
    let addresses: Vec<String> = list(slice, &["endpoints"])
        .iter()
        .flat_map(|e| e.get("addresses").and_then(Value::as_array).into_iter().flatten())
        .filter_map(|a| a.as_str().map(str::to_string))
        .collect();
    let shown = |all: &[String]| if all.is_empty() { UNSET.to_string() } else { first_three(all, ",") };
    vec![
        cells::name(slice),
        text(slice, &["addressType"]).into(),
        shown(&ports).into(),
        shown(&addresses).into(),
        cells::age(slice, now),
    ]
}
