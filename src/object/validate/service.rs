//! What a Service must be.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::field::{Errors, Field};
use super::{endpoints, families, names, pod};

/// Where node ports come from (kube-apiserver `--service-node-port-range`).
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30000..=32767;

const NO_CLUSTER_IP: &str = "None";

pub fn service(root: &Field, errors: &mut Errors) {
    let spec = root.get("spec");
    let service_type = match spec.get("type").text() {
        "" => "ClusterIP",
        text => text,
    };
    spec.get("type").one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], errors);
    let is_headless = spec.get("clusterIP").text() == NO_CLUSTER_IP
        || spec.get("clusterIPs").items().first().is_some_and(|ip| ip.text() == NO_CLUSTER_IP);

    let ports = spec.get("ports");
    if !ports.is_filled() && !is_headless && service_type != "ExternalName" {
        errors.push(ports.required(""));
    }
    cluster_ips(&spec, service_type, errors);
    service_ports(&ports, service_type, errors);
    names::labels(&spec.get("selector"), errors);
    session_affinity(&spec, errors);
    if service_type == "ExternalName" {
        let name = spec.get("externalName");
        // A trailing dot says that the name is absolute.
        let plain = name.text().strip_suffix('.').unwrap_or(name.text());
        if plain.is_empty() {
            errors.push(name.required(""));
        } else {
            errors.extend(names::dns1123_subdomain(plain).into_iter().map(|message| name.invalid(message)));
        }
    }
    for address in spec.get("externalIPs").items() {
        pod::ip_address(&address, errors);
        endpoints::reachable(&address, errors);
    }
    source_ranges(&spec.get("loadBalancerSourceRanges"), service_type, errors);
    spec.get("internalTrafficPolicy").one_of(&["Cluster", "Local"], errors);
    let external_policy = spec.get("externalTrafficPolicy");
    let is_reached_from_outside =
        matches!(service_type, "NodePort" | "LoadBalancer") || spec.get("externalIPs").is_filled();
    if external_policy.is_filled() && !is_reached_from_outside {
        errors.push(external_policy.invalid("may only be set for externally-accessible services"));
    } else {
        external_policy.one_of(&["Cluster", "Local"], errors);
    }
    families::service(&spec, service_type, errors);
}

fn source_ranges(ranges: &Field, service_type: &str, errors: &mut Errors) {
    if !ranges.is_filled() {
        return;
    }
    // The API server spells the path of this field so.
    let mut spelled = ranges.clone();
    spelled.path = ranges.path.replace("loadBalancer", "LoadBalancer");
    let before = errors.len();
    if service_type != "LoadBalancer" {
        errors.push(spelled.forbidden("may only be used when `type` is 'LoadBalancer'"));
    }
    for range in spelled.items() {
        if range.text().trim().parse::<ipnet::IpNet>().is_err() {
            errors.push(range.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
        }
    }
    for error in errors.iter_mut().skip(before) {
        error.blame = Some(error.path.replace("LoadBalancer", "loadBalancer"));
    }
}

fn cluster_ips(spec: &Field, service_type: &str, errors: &mut Errors) {
    let (one, all) = (spec.get("clusterIP"), spec.get("clusterIPs"));
    let given: Vec<Field> = if all.is_filled() { all.items() } else { vec![one.clone()] };
    if service_type == "ExternalName" {
        if let Some(field) = [&all, &one].into_iter().find(|field| field.is_filled()) {
            let mut error = all.forbidden("may not be set for ExternalName services");
            error.blame = Some(field.path.clone());
            errors.push(error);
        }
        return;
    }
    for (index, field) in given.iter().enumerate().filter(|(_, field)| field.is_filled()) {
        // The API server fills the list from the one address, and speaks of the list.
        let mut listed = field.clone();
        if !all.is_filled() {
            listed.path = format!("{}[{index}]", all.path);
        }
        let before = errors.len();
        if listed.text() == NO_CLUSTER_IP {
            if matches!(service_type, "NodePort" | "LoadBalancer") {
                errors.push(listed.invalid(format!("may not be set to 'None' for {service_type} services")));
            }
        } else {
            pod::ip_address(&listed, errors);
        }
        for error in errors.iter_mut().skip(before) {
            error.blame = Some(field.path.clone());
        }
    }
    if let (true, Some(first)) = (one.is_filled() && all.is_filled(), given.first())
        && first.text() != one.text()
    {
        errors.push(all.invalid("first value must match `clusterIP`"));
    }
}

fn service_ports(ports: &Field, service_type: &str, errors: &mut Errors) {
    let all = ports.items();
    let (mut taken_names, mut taken_ports, mut taken_node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for port in &all {
        let name = port.get("name");
        if name.is_filled() {
            name.follows(names::dns1123_label, errors);
            if !taken_names.insert(name.text()) {
                errors.push(name.duplicate(name.text()));
            }
        } else if all.len() > 1 {
            errors.push(name.required(""));
        }
        let (number, protocol, target) = (port.get("port"), port.get("protocol"), port.get("targetPort"));
        number.port(errors);
        if !number.is_set() {
            errors.push(number.invalid_value(0, "must be between 1 and 65535, inclusive"));
        }
        pod::protocol(&protocol, errors);
        if target.is_set() {
            pod::port_or_name(&target, errors);
        }
        let application = port.get("appProtocol");
        if application.is_filled() {
            application.follows(names::qualified_name, errors);
        }
        let transport = if protocol.is_filled() { protocol.text() } else { "TCP" };
        if let Some(number) = number.integer()
            && !taken_ports.insert((number, transport))
        {
            errors.push(port.duplicate(json!({"port": number, "protocol": transport})));
        }
        node_port(&port.get("nodePort"), transport, service_type, &mut taken_node_ports, errors);
    }
}

fn node_port<'a>(
    field: &Field,
    protocol: &'a str,
    service_type: &str,
    taken: &mut BTreeSet<(i64, &'a str)>,
    errors: &mut Errors,
) {
    let Some(number) = field.integer().filter(|number| *number != 0) else { return };
    if service_type == "ClusterIP" {
        let mut error = field.forbidden("may not be used when `type` is 'ClusterIP'");
        error.suggestion = Some("set \"type: NodePort\", or leave nodePort out".into());
        errors.push(error);
    } else if !NODE_PORTS.contains(&number) {
        let (least, most) = (NODE_PORTS.start(), NODE_PORTS.end());
        let detail = format!("provided port is not in the valid range. The range of valid ports is {least}-{most}");
        errors.push(field.invalid(detail));
    } else if !taken.insert((number, protocol)) {
        errors.push(field.duplicate(number));
    }
}

fn session_affinity(spec: &Field, errors: &mut Errors) {
    const DAY: i64 = 86400;
    spec.get("sessionAffinity").one_of(&["ClientIP", "None"], errors);
    let config = spec.get("sessionAffinityConfig");
    let timeout = config.at("clientIP.timeoutSeconds");
    match spec.get("sessionAffinity").text() {
        "ClientIP" if timeout.integer().is_some_and(|seconds| !(1..=DAY).contains(&seconds)) => {
            errors.push(timeout.invalid(format!("must be greater than 0 and less than {DAY}")));
        }
        "None" if config.value.is_some_and(Value::is_object) => {
            errors.push(config.forbidden("must not be set when session affinity is None"));
        }
        _ => {}
    }
}
