//! `describe service` and `endpoints`.

use serde_json::Value;

use super::Describer;
use super::page::{Page, joined, list, number, or_none, shown, text};
use crate::cli::path::Query;
use crate::cli::{Failure, hint};
use crate::object::{Object, kind};
use crate::report::{service_notes, slips};

/// As many addresses as kubectl shows before it counts.
const MOST_ENDPOINTS: usize = 3;

impl Describer<'_> {
    pub(super) async fn service(&self, page: &mut Page, service: &Value) -> Result<(), Failure> {
        let (namespace, name) = (hint::namespace_of(service), hint::name_of(service));
        let endpoints = self.cx.client.find(&kind::ENDPOINTS, namespace, name).await?;
        page.name_and_namespace(service);
        page.labels(0, service);
        page.annotations(0, service);
        page.field(0, "Selector", joined(service.pointer("/spec/selector")));
        page.field(0, "Type", text(service, "/spec/type"));
        if !text(service, "/spec/ipFamilyPolicy").is_empty() {
            page.field(0, "IP Family Policy", text(service, "/spec/ipFamilyPolicy"));
        }
        let words = |at: &str| list(service, at).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
        if !words("/spec/ipFamilies").is_empty() {
            page.field(0, "IP Families", words("/spec/ipFamilies"));
        }
        page.field(0, "IP", text(service, "/spec/clusterIP"));
        page.field(0, "IPs", or_none(&words("/spec/clusterIPs")));
        if !words("/spec/externalIPs").is_empty() {
            page.field(0, "External IPs", words("/spec/externalIPs"));
        }
        if !text(service, "/spec/loadBalancerIP").is_empty() {
            page.field(0, "Desired LoadBalancer IP", text(service, "/spec/loadBalancerIP"));
        }
        if !text(service, "/spec/externalName").is_empty() {
            page.field(0, "External Name", text(service, "/spec/externalName"));
        }
        let ingress: Vec<String> = list(service, "/status/loadBalancer/ingress")
            .iter()
            .map(|i| match (text(i, "/ip"), text(i, "/ipMode")) {
                ("", _) => text(i, "/hostname").to_string(),
                (address, "") => address.to_string(),
                (address, mode) => format!("{address} ({mode})"),
            })
            .collect();
        if !ingress.is_empty() {
            page.field(0, "LoadBalancer Ingress", ingress.join(", "));
        }
        for port in list(service, "/spec/ports") {
            let (name, protocol) = (text(port, "/name"), or_tcp(text(port, "/protocol")));
            let name = if name.is_empty() { "<unset>" } else { name };
            page.line(0, &format!("Port:\t{name}\t{}/{protocol}", number(port, "/port")));
            page.field(0, "TargetPort", format!("{}/{protocol}", shown(port, "/targetPort")));
            if number(port, "/nodePort") > 0 {
                page.line(0, &format!("NodePort:\t{name}\t{}/{protocol}", number(port, "/nodePort")));
            }
            let of_port = endpoints.as_ref().map(|e| of_port(e, text(port, "/name"))).unwrap_or_default();
            page.field(0, "Endpoints", or_none(&of_port));
        }
        page.field(0, "Session Affinity", text(service, "/spec/sessionAffinity"));
        for (name, at) in [
            ("External Traffic Policy", "/spec/externalTrafficPolicy"),
            ("Internal Traffic Policy", "/spec/internalTrafficPolicy"),
        ] {
            if !text(service, at).is_empty() {
                page.field(0, name, text(service, at));
            }
        }
        if number(service, "/spec/healthCheckNodePort") > 0 {
            page.field(0, "HealthCheck NodePort", number(service, "/spec/healthCheckNodePort").to_string());
        }
        for hint in self.service_hints(service).await? {
            eprintln!("hint: {hint}");
        }
        Ok(())
    }

    async fn service_hints(&self, service: &Value) -> Result<Vec<String>, Failure> {
        let Some(object) = Object::from_value(service.clone()) else { return Ok(Vec::new()) };
        let namespace = Some(object.namespace());
        let pods = self.cx.client.items(&kind::POD, namespace, &Query::new()).await?;
        let pods: Vec<Object> = pods.into_iter().filter_map(Object::from_value).collect();
        let mut hints = service_notes(&object, &pods.iter().collect::<Vec<_>>(), why_not_ready);
        let is_alias = object.str_at(&["spec", "type"]) == Some("ExternalName");
        let all = self.cx.client.items(&kind::ENDPOINTS, namespace, &Query::new()).await?;
        let services: Vec<(&str, usize)> = all.iter().map(|e| (hint::name_of(e), addresses(e))).collect();
        if !is_alias && services.iter().any(|(name, endpoints)| *name == object.name() && *endpoints == 0) {
            let about = format!("Service {} ", object.name());
            hints.extend(slips(&services).into_iter().filter(|hint| hint.starts_with(&about)));
        }
        Ok(hints)
    }
}

/// How many ready addresses there are.
fn addresses(endpoints: &Value) -> usize {
    list(endpoints, "/subsets").iter().map(|subset| list(subset, "/addresses").len()).sum()
}

/// In the words of its status; nothing about a pod that is ready, or may only need a moment.
fn why_not_ready(pod: &Object) -> Option<String> {
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_array);
    let waiting = statuses.into_iter().flatten().find_map(|status| status.pointer("/state/waiting/reason")?.as_str());
    if let Some(reason) = waiting.filter(|reason| !matches!(*reason, "ContainerCreating" | "PodInitializing")) {
        return Some(reason.to_string());
    }
    let conditions = pod.at(&["status", "conditions"]).and_then(Value::as_array);
    let is_unscheduled = |c: &&Value| c["type"] == "PodScheduled" && c["status"] == "False";
    let unscheduled = conditions.into_iter().flatten().find(is_unscheduled)?;
    Some(text(unscheduled, "/reason").to_string())
}

fn or_tcp(protocol: &str) -> &str {
    if protocol.is_empty() { "TCP" } else { protocol }
}

/// The addresses and port that a Service's port of this name leads to.
fn of_port(endpoints: &Value, name: &str) -> String {
    let mut all = Vec::new();
    for subset in list(endpoints, "/subsets") {
        for port in list(subset, "/ports").iter().filter(|p| text(p, "/name") == name) {
            for address in list(subset, "/addresses") {
                let (ip, port) = (text(address, "/ip"), number(port, "/port"));
                all.push(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") });
            }
        }
    }
    match all.get(..MOST_ENDPOINTS) {
        Some(first) if all.len() > MOST_ENDPOINTS => {
            format!("{} + {} more...", first.join(","), all.len() - MOST_ENDPOINTS)
        }
        _ => all.join(","),
    }
}

pub fn endpoints(page: &mut Page, endpoints: &Value) {
    page.name_and_namespace(endpoints);
    page.labels(0, endpoints);
    page.annotations(0, endpoints);
    page.line(0, "Subsets:");
    for subset in list(endpoints, "/subsets") {
        let addresses = |at: &str| {
            let all: Vec<&str> = list(subset, at).iter().map(|a| text(a, "/ip")).collect();
            or_none(&all.join(",")).to_string()
        };
        page.field(1, "Addresses", addresses("/addresses"));
        page.field(1, "NotReadyAddresses", addresses("/notReadyAddresses"));
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            page.field(1, "Ports", "<none>");
            continue;
        }
        page.line(1, "Ports:");
        page.line(2, "Name\tPort\tProtocol");
        page.line(2, "----\t----\t--------");
        for port in ports {
            let name = text(port, "/name");
            let name = if name.is_empty() { "<unset>" } else { name };
            page.line(2, &format!("{name}\t{}\t{}", number(port, "/port"), or_tcp(text(port, "/protocol"))));
        }
    }
    page.blank();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn endpoints_are_of_the_port_and_counted() {
        let object = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "10.0.0.3"}, {"ip": "10.0.0.4"}],
            "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]}]});
        assert_eq!(of_port(&object, "https"), "10.0.0.1:443,10.0.0.2:443,10.0.0.3:443 + 1 more...");
        assert_eq!(of_port(&object, ""), "");
    }
}
