//! Pods that are bound to a node and have an address: their cable, their files, their containers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Container as PodContainer, Pod as PodView, PodSpec};
use serde_json::Value;

use super::resolution::{self, Naming};
use super::topology::ETH0;
use super::{Machine, catalogue, names, services};
use crate::desired::{Container, End, Pod, RestartPolicy, Route, Veth};
use crate::object::lab::{Lab, Node, nth};
use crate::object::{Object, Snapshot, kind};

/// The annotation in which `control/ipam.rs` keeps a pod's addresses, comma separated.
pub const POD_IPS: &str = "nslab.dev/pod-ips";

/// What all pods of a lab share.
pub struct Surroundings<'a> {
    /// The lab's name.
    pub name: &'a str,
    pub lab: &'a Lab,
    pub nodes: &'a [Node],
    pub machine: &'a Machine,
    pub snapshot: &'a Snapshot,
}

/// The variables about Services, by namespace and whether a pod wants more than those of `kubernetes`.
pub type Links = BTreeMap<(String, bool), BTreeMap<String, String>>;

/// What is made for one pod.
pub struct Planned {
    pub pod: Arc<Pod>,
    /// For a pod with a network of its own.
    pub cable: Option<Veth>,
}

/// `None`: nothing is made for it (yet, or any more).
pub fn plan(object: &Object, around: &Surroundings, links: &mut Links) -> Option<Planned> {
    if matches!(object.str_at(&["status", "phase"]), Some("Succeeded" | "Failed")) {
        return None;
    }
    let node = object.str_at(&["spec", "nodeName"])?;
    let node = around.nodes.iter().find(|n| n.name == node)?;
    let view = object.read::<PodView>().ok()?;
    let spec = view.spec.as_ref()?;
    let host_network = spec.host_network == Some(true);
    let addresses = if host_network { node.addresses.clone() } else { annotated_addresses(object) };
    if addresses.is_empty() {
        return None;
    }
    let netns = netns_of(around.name, object);
    let cable = (!host_network).then(|| cable(around.name, object, &netns, node, &addresses));
    let key = (object.namespace().to_string(), spec.enable_service_links != Some(false));
    let service_links =
        links.entry(key).or_insert_with_key(|(ns, links)| services::environment(around.snapshot, ns, *links));
    let service_account = service_account(around.snapshot, object.namespace(), spec);
    let mut pod = pod(object, &view, around.lab, node, around.machine, netns, addresses, service_links);
    pod.service_account = service_account;
    Some(Planned { pod: Arc::new(pod), cable })
}

/// The network namespace that a pod which is bound to a node runs in.
pub fn netns_of(lab: &str, pod: &Object) -> String {
    match pod.at(&["spec", "hostNetwork"]).and_then(Value::as_bool) {
        Some(true) => names::node_netns(lab, pod.str_at(&["spec", "nodeName"]).unwrap_or_default()),
        _ => names::pod_netns(lab, pod.namespace(), pod.name()),
    }
}

/// The account whose token the pod's containers get: none where the pod, or else the account, says so.
fn service_account(snapshot: &Snapshot, namespace: &str, spec: &PodSpec) -> Option<String> {
    let name = spec.service_account_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("default");
    let of_account = || {
        let account = snapshot.find(&kind::SERVICE_ACCOUNT, namespace, name)?;
        account.at(&["automountServiceAccountToken"]).and_then(Value::as_bool)
    };
    let wanted = spec.automount_service_account_token.or_else(of_account).unwrap_or(true);
    wanted.then(|| name.to_string())
}

fn annotated_addresses(pod: &Object) -> Vec<IpAddr> {
    let list = pod.annotation(POD_IPS).unwrap_or_default();
    list.split(',').filter_map(|address| address.trim().parse().ok()).collect()
}

/// A pod is routed, not bridged: its address is a /32, its gateway is the node's end of its own cable, and the node has
/// a route to it. So a reply always passes the node's address translation, whatever br_netfilter is set to.
fn cable(lab: &str, pod: &Object, netns: &str, node: &Node, addresses: &[IpAddr]) -> Veth {
    let single = |address: &IpAddr| IpNet::from(*address);
    let gateways: Vec<IpAddr> = node.pod_subnets.iter().map(|subnet| nth(*subnet, 1)).collect();
    let mut inner_routes = BTreeSet::new();
    for gateway in &gateways {
        let everything = match gateway {
            IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
            IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
        };
        inner_routes.insert(Route { to: single(gateway), via: None, source: None });
        inner_routes.insert(Route { to: everything, via: Some(*gateway), source: None });
    }
    let mac = addresses.first().map_or_else(|| names::mac_from(netns), |a| names::mac_of(*a));
    let inner = End {
        netns: netns.to_string(),
        name: ETH0.to_string(),
        altname: None,
        mac,
        addresses: addresses.iter().map(single).collect(),
        bridge: None,
        routes: inner_routes,
    };
    let (name, altname) = names::hashed_interface("veth", &format!("{}.{}", pod.namespace(), pod.name()));
    let mut outer = End {
        netns: names::node_netns(lab, &node.name),
        mac: names::mac_from(&name),
        name,
        altname,
        addresses: gateways.iter().map(single).collect(),
        bridge: None,
        routes: addresses.iter().map(|a| Route { to: single(a), via: None, source: None }).collect(),
    };
    outer.addresses.extend(names::link_local(&outer));
    Veth { inner, outer }
}

#[allow(clippy::too_many_arguments)]
fn pod(
    object: &Object,
    view: &PodView,
    lab: &Lab,
    node: &Node,
    machine: &Machine,
    netns: String,
    addresses: Vec<IpAddr>,
    service_links: &BTreeMap<String, String>,
) -> Pod {
    let spec = view.spec.clone().unwrap_or_default();
    let grace = spec.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(30);
    let deletion_grace = view.metadata.deletion_grace_period_seconds.and_then(|s| u64::try_from(s).ok());
    let naming = Naming::of(object, &spec, &node.name);
    let containers = spec.containers.iter().map(|c| container(c, object, node, machine, service_links, &addresses));
    Pod {
        namespace: object.namespace().to_string(),
        name: object.name().to_string(),
        uid: object.uid().to_string(),
        node: node.name.clone(),
        netns,
        resolv_conf: resolution::resolv_conf(lab, &machine.resolv_conf, object.namespace(), &spec),
        hosts: naming.hosts(&addresses, &spec),
        hostname: naming.for_kernel(&spec),
        service_account: None,
        restart_policy: match spec.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        },
        containers: containers.collect(),
        grace_seconds: grace,
        stopping: object.is_terminating().then(|| deletion_grace.unwrap_or(grace)),
        addresses,
    }
}

fn container(
    container: &PodContainer,
    pod: &Object,
    node: &Node,
    machine: &Machine,
    service_links: &BTreeMap<String, String>,
    addresses: &[IpAddr],
) -> Container {
    let image = container.image.clone().unwrap_or_default();
    let entry = catalogue::find(&image).ok();
    let mut env = environment(container, pod, node, service_links, addresses);
    let known: BTreeMap<&str, &str> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expand = |words: &Option<Vec<String>>| -> Option<Vec<String>> {
        words.as_ref().map(|words| words.iter().map(|word| expand_references(word, &known)).collect())
    };
    let (command, args) = (expand(&container.command), expand(&container.args));
    let program = catalogue::resolve(&image, command.as_deref(), args.as_deref(), &machine.programs);
    // The image's own variables give way to the pod's, and cannot be referred to.
    for (name, value) in entry.into_iter().flat_map(|image| image.env) {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_string(), value.to_string()));
        }
    }
    let image_dir = || entry.map(|image| image.working_dir.to_string());
    let working_dir = container.working_dir.clone().filter(|dir| !dir.is_empty()).or_else(image_dir);
    Container {
        name: container.name.clone(),
        image,
        program,
        env,
        working_dir: working_dir.filter(|dir| !dir.is_empty()),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
    }
}

/// The Services' variables, then the container's own, which win; each may refer to those before it.
fn environment(
    container: &PodContainer,
    pod: &Object,
    node: &Node,
    service_links: &BTreeMap<String, String>,
    addresses: &[IpAddr],
) -> Vec<(String, String)> {
    let mut variables = service_links.clone();
    let mut own: Vec<(String, String)> = Vec::new();
    for variable in container.env.iter().flatten() {
        let known: BTreeMap<&str, &str> = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let value = match (&variable.value, variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref())) {
            (Some(value), _) => expand_references(value, &known),
            (None, Some(field)) => field_value(&field.field_path, pod, node, addresses),
            (None, None) => String::new(),
        };
        variables.insert(variable.name.clone(), value.clone());
        own.retain(|(name, _)| *name != variable.name);
        own.push((variable.name.clone(), value));
    }
    let mut all: Vec<(String, String)> = Vec::with_capacity(service_links.len() + own.len());
    let overridden = |name: &str| own.iter().any(|(own, _)| own == name);
    all.extend(service_links.iter().filter(|(name, _)| !overridden(name)).map(|(k, v)| (k.clone(), v.clone())));
    all.extend(own);
    all
}

/// A downward API `fieldRef`.
fn field_value(path: &str, pod: &Object, node: &Node, addresses: &[IpAddr]) -> String {
    let list = |addresses: &[IpAddr]| addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
    let first = |addresses: &[IpAddr]| addresses.first().map(IpAddr::to_string).unwrap_or_default();
    match path {
        "status.podIP" => first(addresses),
        "status.podIPs" => list(addresses),
        "status.hostIP" => first(&node.addresses),
        "status.hostIPs" => list(&node.addresses),
        _ => {
            if let Some((field, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
                let metadata_field = field.strip_prefix("metadata.").unwrap_or(field);
                return pod.str_at(&["metadata", metadata_field, key]).unwrap_or_default().to_string();
            }
            pod.str_at(&path.split('.').collect::<Vec<_>>()).unwrap_or_default().to_string()
        }
    }
}

/// `$(NAME)` becomes its value where NAME is known and stays as it is elsewhere; `$$` is a plain `$`.
fn expand_references(text: &str, known: &BTreeMap<&str, &str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded_as_the_kubelet_does() {
        let known = BTreeMap::from([("A", "1"), ("B", "$(A)")]);
        for (text, expected) in [
            ("$(A)-$(A)", "1-1"),
            ("$$(A)", "$(A)"),
            ("$(C) $(A", "$(C) $(A"),
            ("$(B)", "$(A)"),
            ("cost: 5$", "cost: 5$"),
            ("$A", "$A"),
        ] {
            assert_eq!(expand_references(text, &known), expected, "{text}");
        }
    }
}
