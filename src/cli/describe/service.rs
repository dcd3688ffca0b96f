//! `describe service` and `endpoints`.

use serde_json::Value;

use super::Describer;
use super::page::{Page, joined, list, number, or_none, pairs, shown, text};
use crate::cli::path::Query;
use crate::cli::{Failure, hint};
use crate::object::kind;
use crate::object::nearest::nearest;
use crate::object::selector::Selector;

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
        if let Some(hint) = self.why_no_pods(service).await? {
            eprintln!("hint: {hint}");
        }
        Ok(())
    }

    /// What to say about a selector that no pod has.
    async fn why_no_pods(&self, service: &Value) -> Result<Option<String>, Failure> {
        let Some(wanted) = service.pointer("/spec/selector").and_then(Value::as_object).filter(|s| !s.is_empty())
        else {
            return Ok(None);
        };
        let namespace = hint::namespace_of(service);
        let pods = self.cx.client.items(&kind::POD, Some(namespace), &Query::new()).await?;
        let selector = Selector::from_map(wanted);
        let labels_of = |pod: &Value| pod.pointer("/metadata/labels").and_then(Value::as_object).cloned();
        if pods.iter().any(|pod| selector.matches(labels_of(pod).as_ref())) {
            return Ok(None);
        }
        let mut in_use: Vec<String> = pods.iter().flat_map(|pod| pairs(pod.pointer("/metadata/labels"), "=")).collect();
        in_use.retain(|label| !label.starts_with("pod-template-hash="));
        in_use.sort();
        in_use.dedup();
        let wanted = pairs(service.pointer("/spec/selector"), "=");
        Ok(Some(no_pods(hint::name_of(service), &wanted, &in_use)))
    }
}

fn no_pods(service: &str, wanted: &[String], in_use: &[String]) -> String {
    let mut text = format!("Service {service} selects {}: 0 pods match.", wanted.join(","));
    if in_use.is_empty() {
        return text + " There are no pods with labels in this namespace";
    }
    text += &format!(" Labels in use: {}", in_use.join(", "));
    let missing = wanted.iter().find(|label| !in_use.contains(label));
    if let Some(near) = missing.and_then(|label| nearest(label, in_use.iter().map(String::as_str))) {
        text += &format!("; did you mean {near}?");
    }
    text
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

    #[test]
    fn a_selector_without_pods_is_explained() {
        let all = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            no_pods("back-end", &all(&["label-test=lable-name"]), &all(&["app=web", "label-test=label-name"])),
            "Service back-end selects label-test=lable-name: 0 pods match. Labels in use: app=web, label-test=label-name; did \
             you mean label-test=label-name?"
        );
        assert!(no_pods("a", &all(&["b=c"]), &[]).ends_with("no pods with labels in this namespace"));
    }
}
