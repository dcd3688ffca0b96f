//! What the Endpoints and EndpointSlice controllers ask about Services: which pods one selects, and where its ports
//! lead in each of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::pods;
use crate::object::selector::Selector;
use crate::object::{Object, Snapshot, kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    IPv4,
    IPv6,
}

impl Family {
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::IPv4 } else { Family::IPv6 }
    }

    /// As in a slice's `addressType` and a Service's `ipFamilies`.
    pub fn name(self) -> &'static str {
        match self {
            Family::IPv4 => "IPv4",
            Family::IPv6 => "IPv6",
        }
    }
}

/// The address families of a Service, the primary one first.
pub(super) fn families(service: &Object) -> Vec<Family> {
    let list = service.at(&["spec", "ipFamilies"]).and_then(Value::as_array);
    let named = |value: &Value| match value.as_str()? {
        "IPv6" => Some(Family::IPv6),
        "IPv4" => Some(Family::IPv4),
        _ => None,
    };
    let families: Vec<Family> = list.into_iter().flatten().filter_map(named).collect();
    if !families.is_empty() {
        return families;
    }
    let cluster_ip = service.str_at(&["spec", "clusterIP"]).and_then(|ip| ip.parse().ok());
    vec![cluster_ip.map_or(Family::IPv4, Family::of)]
}

/// Only a Service with a selector gets its endpoints from pods.
pub(super) fn selector(service: &Object) -> Option<&Map<String, Value>> {
    let selector = service.at(&["spec", "selector"])?.as_object()?;
    let is_alias = service.str_at(&["spec", "type"]) == Some("ExternalName");
    (!is_alias && !selector.is_empty()).then_some(selector)
}

pub(super) fn is_headless(service: &Object) -> bool {
    service.str_at(&["spec", "clusterIP"]) == Some("None")
}

pub(super) fn publishes_not_ready(service: &Object) -> bool {
    service.at(&["spec", "publishNotReadyAddresses"]) == Some(&Value::Bool(true))
}

/// A pod's address of a family.
pub(super) fn address(pod: &Object, family: Family) -> Option<IpAddr> {
    pods::addresses(pod).find(|address| Family::of(*address) == family)
}

/// One port of an Endpoints subset or a slice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Port {
    /// Empty when the Service has one port without a name.
    pub name: String,
    pub port: i64,
    pub protocol: String,
    pub app_protocol: Option<String>,
}

impl Port {
    /// As it stands in Endpoints and in slices; `None` without a number.
    pub fn read(port: &Map<String, Value>) -> Option<Port> {
        let text = |field| port.get(field).and_then(Value::as_str);
        Some(Port {
            name: text("name").unwrap_or_default().to_string(),
            port: port.get("port")?.as_i64()?,
            protocol: text("protocol").unwrap_or("TCP").to_string(),
            app_protocol: text("appProtocol").map(str::to_string),
        })
    }
}

/// Where the Service's ports lead in this pod; those whose named `targetPort` it does not have are left out.
pub(super) fn ports(service: &Object, pod: &Object) -> Vec<Port> {
    let list = service.at(&["spec", "ports"]).and_then(Value::as_array);
    let port = |port: &Value| {
        let text = |field| port.get(field).and_then(Value::as_str);
        let protocol = text("protocol").unwrap_or("TCP");
        let number = match port.get("targetPort") {
            Some(Value::String(name)) => named_port(pod, name, protocol)?,
            Some(target) if target.as_i64().is_some_and(|n| n > 0) => target.as_i64()?,
            _ => port.get("port")?.as_i64()?,
        };
        Some(Port {
            name: text("name").unwrap_or_default().to_string(),
            port: number,
            protocol: protocol.to_string(),
            app_protocol: text("appProtocol").map(str::to_string),
        })
    };
    list.into_iter().flatten().filter_map(port).collect()
}

fn named_port(pod: &Object, name: &str, protocol: &str) -> Option<i64> {
    let ports = |container: &'_ Value| container.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_it = |port: &Value| {
        let text = |field| port.get(field).and_then(Value::as_str);
        text("name") == Some(name) && text("protocol").unwrap_or("TCP") == protocol
    };
    pods::containers(pod).flat_map(ports).find(is_it)?.get("containerPort")?.as_i64()
}

/// The name that a pod has below a headless Service's name in DNS.
pub(super) fn hostname<'a>(service: &Object, pod: &'a Object) -> Option<&'a str> {
    let hostname = pod.str_at(&["spec", "hostname"]).filter(|name| !name.is_empty())?;
    (pod.str_at(&["spec", "subdomain"]) == Some(service.name())).then_some(hostname)
}

/// Pods by each of their labels, so that a Service looks only at those that have at least one of the labels it wants.
pub(super) struct PodsByLabel<'a> {
    /// By namespace, label and value.
    pods: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Arc<Object>>>,
}

impl<'a> PodsByLabel<'a> {
    /// Of all pods that may have an endpoint: those with an address that have not ended.
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let mut by_label = PodsByLabel { pods: HashMap::new() };
        for pod in snapshot.list(&kind::POD) {
            if pods::is_finished(pod) || pods::addresses(pod).next().is_none() {
                continue;
            }
            for (label, value) in pod.labels().into_iter().flatten() {
                let key = (pod.namespace(), label.as_str(), value.as_str().unwrap_or_default());
                by_label.pods.entry(key).or_default().push(pod);
            }
        }
        by_label
    }

    fn with<'s>(&'s self, namespace: &'s str, label: &'s str, value: &'s str) -> &'s [&'a Arc<Object>] {
        self.pods.get(&(namespace, label, value)).map(Vec::as_slice).unwrap_or_default()
    }

    /// In order of their names.
    pub fn selected(&self, namespace: &str, selector: &Map<String, Value>) -> Vec<&'a Arc<Object>> {
        let with_each = selector.iter().map(|(label, value)| {
            let value = value.as_str().unwrap_or_default();
            self.with(namespace, label, value)
        });
        let fewest = with_each.min_by_key(|pods| pods.len()).unwrap_or_default();
        let all = Selector::from_map(selector);
        fewest.iter().copied().filter(|pod| all.matches(pod.labels())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{object, service};
    use serde_json::json;

    #[test]
    fn a_target_port_is_a_number_a_name_or_the_port_itself() {
        let pod = object(json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"}, {"name": "dns", "containerPort": 5353}]}]}}));
        let spec = json!({"ports": [{"port": 80}, {"name": "n", "port": 81, "targetPort": 8081},
            {"name": "t", "port": 82, "targetPort": "dns"},
            {"name": "u", "port": 83, "targetPort": "dns", "protocol": "UDP"},
            {"name": "x", "port": 84, "targetPort": "none"}]});
        let found = ports(&object(service("web", spec)), &pod);
        let found: Vec<_> = found.iter().map(|p| (p.name.as_str(), p.port, p.protocol.as_str())).collect();
        assert_eq!(found, [("", 80, "TCP"), ("n", 8081, "TCP"), ("t", 5353, "TCP"), ("u", 53, "UDP")]);
    }
}
