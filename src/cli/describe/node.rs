//! `describe node`.

use serde_json::Value;

use super::Describer;
use super::page::{Page, age, list, shown, text, time};
use crate::cli::path::Query;
use crate::cli::{Failure, hint, pods};
use crate::object::kind;

/// What kubectl reads a node's roles from.
const ROLE: &str = "node-role.kubernetes.io/";

impl Describer<'_> {
    pub(super) async fn node(&self, page: &mut Page, node: &Value) -> Result<(), Failure> {
        let name = hint::name_of(node);
        page.field(0, "Name", name);
        let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
        let roles: Vec<&str> = labels.into_iter().flatten().filter_map(|(k, _)| k.strip_prefix(ROLE)).collect();
        page.field(0, "Roles", if roles.is_empty() { "<none>".to_string() } else { roles.join(",") });
        page.labels(0, node);
        page.annotations(0, node);
        page.field(0, "CreationTimestamp", time(text(node, "/metadata/creationTimestamp")));
        let taint = |t: &Value| match text(t, "/value") {
            "" => format!("{}:{}", text(t, "/key"), text(t, "/effect")),
            value => format!("{}={value}:{}", text(t, "/key"), text(t, "/effect")),
        };
        page.list(0, "Taints", &list(node, "/spec/taints").iter().map(taint).collect::<Vec<_>>());
        let unschedulable = node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
        page.field(0, "Unschedulable", unschedulable.to_string());
        conditions(page, node);
        page.line(0, "Addresses:");
        for address in list(node, "/status/addresses") {
            page.field(1, text(address, "/type"), text(address, "/address"));
        }
        for (heading, at) in [("Capacity", "/status/capacity"), ("Allocatable", "/status/allocatable")] {
            let quantities = node.pointer(at).and_then(Value::as_object).filter(|q| !q.is_empty());
            if let Some(quantities) = quantities {
                page.line(0, &format!("{heading}:"));
                for resource in quantities.keys() {
                    page.field(1, resource, shown(node, &format!("{at}/{resource}")));
                }
            }
        }
        self::system(page, node);
        if !text(node, "/spec/podCIDR").is_empty() {
            page.field(0, "PodCIDR", text(node, "/spec/podCIDR"));
            let all: Vec<&str> = list(node, "/spec/podCIDRs").iter().filter_map(Value::as_str).collect();
            page.field(0, "PodCIDRs", all.join(","));
        }
        let query = Query::new().with("fieldSelector", format!("spec.nodeName={name}"));
        let mut here = self.cx.client.items(&kind::POD, None, &query).await?;
        here.retain(|pod| !matches!(pods::phase(pod), "Succeeded" | "Failed"));
        page.field(0, "Non-terminated Pods", format!("({} in total)", here.len()));
        page.line(1, "Namespace\tName\tStatus\tIP\tAge");
        page.line(1, "---------\t----\t------\t--\t---");
        for pod in &here {
            page.line(
                1,
                &format!(
                    "{}\t{}\t{}\t{}\t{}",
                    hint::namespace_of(pod),
                    hint::name_of(pod),
                    pods::phase(pod),
                    text(pod, "/status/podIP"),
                    age(text(pod, "/metadata/creationTimestamp"))
                ),
            );
        }
        Ok(())
    }
}

fn conditions(page: &mut Page, node: &Value) {
    let conditions = list(node, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    page.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
    for condition in conditions {
        let of = |at: &str| text(condition, at);
        page.line(
            1,
            &format!(
                "{} \t{} \t{} \t{} \t{} \t{}",
                of("/type"),
                of("/status"),
                time(of("/lastHeartbeatTime")),
                time(of("/lastTransitionTime")),
                of("/reason"),
                of("/message")
            ),
        );
    }
}

fn system(page: &mut Page, node: &Value) {
    let fields = [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
        ("Kube-Proxy Version", "kubeProxyVersion"),
    ];
    if node.pointer("/status/nodeInfo").is_none() {
        return;
    }
    page.line(0, "System Info:");
    for (name, field) in fields {
        let value = text(node, &format!("/status/nodeInfo/{field}"));
        if !value.is_empty() {
            page.field(1, name, value);
        }
    }
}
