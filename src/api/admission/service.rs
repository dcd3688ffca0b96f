//! Services: the addresses and ports they are given, keep and give back.

use std::net::IpAddr;

use rand::Rng;
use serde_json::{Map, Value, json};

use super::super::status::Cause;
use super::families;
use super::used::{NODE_PORTS, Used, ports};
use crate::object::{Object, map_at_mut};

/// Gives a new Service what it needs.
pub fn create(service: &mut Object, used: &Used, rng: &mut dyn Rng) -> Vec<Cause> {
    let mut causes = Vec::new();
    default_type(service);
    give_addresses(None, service, used, rng, &mut causes);
    give_ports(service, &[], used, rng, &mut causes);
    causes
}

/// Gives a changed Service what it needs now, keeping what it had. `used` is without what the old one has.
pub fn update(old: &Object, new: &mut Object, used: &Used, rng: &mut dyn Rng) -> Vec<Cause> {
    let mut causes = Vec::new();
    default_type(new);
    keep_allocated(old, new);
    drop_what_its_type_has_not(old, new);
    let before = cluster_ip(old).to_string();
    let moved = needs_address(old) && needs_address(new) && !before.is_empty() && cluster_ip(new) != before;
    // Validation refuses a move; what did not move is still its own.
    if !moved {
        give_addresses(Some(old), new, used, rng, &mut causes);
    }
    give_ports(new, &ports(old), used, rng, &mut causes);
    causes
}

fn spec(service: &mut Object) -> &mut Map<String, Value> {
    map_at_mut(service.json_mut(), "spec")
}

fn type_of(service: &Object) -> &str {
    service.str_at(&["spec", "type"]).filter(|t| !t.is_empty()).unwrap_or("ClusterIP")
}

fn default_type(service: &mut Object) {
    let kind = type_of(service).to_string();
    spec(service).insert("type".into(), kind.into());
}

fn cluster_ip(service: &Object) -> &str {
    service.str_at(&["spec", "clusterIP"]).unwrap_or("")
}

fn needs_address(service: &Object) -> bool {
    type_of(service) != "ExternalName"
}

fn needs_ports(service: &Object) -> bool {
    match type_of(service) {
        "NodePort" => true,
        "LoadBalancer" => service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false)),
        _ => false,
    }
}

fn needs_health_port(service: &Object) -> bool {
    type_of(service) == "LoadBalancer" && service.str_at(&["spec", "externalTrafficPolicy"]) == Some("Local")
}

fn node_port(port: &Value) -> u64 {
    port.get("nodePort").and_then(Value::as_u64).unwrap_or(0)
}

fn protocol(port: &Value) -> &str {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")
}

fn port_list(service: &Object) -> &[Value] {
    service.at(&["spec", "ports"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

// ---- ClusterIPs ----------------------------------------------------------------------------------------------------

fn give_addresses(old: Option<&Object>, service: &mut Object, used: &Used, rng: &mut dyn Rng, causes: &mut Vec<Cause>) {
    // What validation refuses needs no address.
    if !needs_address(service) {
        return;
    }
    let ips = families::list(service, "clusterIPs");
    let asked = cluster_ip(service).to_string();
    if asked.is_empty() && !ips.is_empty() {
        causes.push(Cause::invalid("spec.clusterIPs", &json!(ips), "must be empty when `clusterIP` is not specified"));
        return;
    }
    if ips.is_empty() && !asked.is_empty() {
        spec(service).insert("clusterIPs".into(), json!([asked]));
    }
    if !families::settle(old, service, used.subnets(), causes) || asked == "None" {
        return;
    }
    let asked = families::list(service, "clusterIPs");
    let mut given = Vec::new();
    for (index, family) in families::list(service, "ipFamilies").iter().enumerate() {
        given.push(match asked.get(index) {
            Some(asked_for) => {
                let Ok(address) = asked_for.parse::<IpAddr>() else { return };
                if let Err(refused) = used.check_address(address, service) {
                    let why = format!("failed to allocate IP {address}: {refused}");
                    causes.push(Cause::invalid("spec.clusterIPs", &json!(asked), why));
                    return;
                }
                asked_for.clone()
            }
            None => {
                let Some(subnet) = used.subnets().iter().find(|subnet| families::of(subnet.addr()) == family) else {
                    return;
                };
                let Some(address) = used.free_address(subnet, rng) else {
                    let why = format!("Internal error: failed to allocate a serviceIP: no address of {subnet} is free");
                    causes.push(Cause::new("spec.clusterIPs", why));
                    return;
                };
                address.to_string()
            }
        });
    }
    let spec = spec(service);
    if let Some(first) = given.first() {
        spec.insert("clusterIP".into(), first.as_str().into());
    }
    spec.insert("clusterIPs".into(), json!(given));
}

// ---- node ports ----------------------------------------------------------------------------------------------------

/// `own` are the ports that the Service has already.
fn give_ports(service: &mut Object, own: &[u16], used: &Used, rng: &mut dyn Rng, causes: &mut Vec<Cause>) {
    let needed = needs_ports(service);
    let needs_health = needs_health_port(service);
    let spec = spec(service);
    let mut list = match spec.get("ports") {
        Some(Value::Array(list)) => list.clone(),
        _ => Vec::new(),
    };
    // Ports that were asked for go first, so that none of them is given away at random.
    let mut taken: Vec<(u16, String)> = Vec::new();
    for (index, port) in list.iter().enumerate() {
        let wanted = node_port(port);
        if wanted == 0 {
            continue;
        }
        // Validation has the word on ports that are out of range, double, or not for this type.
        let Some(number) = u16::try_from(wanted).ok().filter(|port| needed && NODE_PORTS.contains(port)) else {
            continue;
        };
        if !own.contains(&number) && !used.is_port_free(number) {
            let field = format!("spec.ports[{index}].nodePort");
            causes.push(Cause::invalid(field, &json!(number), "provided port is already allocated"));
        }
        taken.push((number, protocol(port).to_string()));
    }
    if needed {
        give_free_ports(&mut list, &mut taken, used, rng, causes);
    }
    if !list.is_empty() {
        spec.insert("ports".into(), Value::Array(list));
    }
    give_health_port(spec, needs_health, own, &taken, used, rng, causes);
}

fn port_at(list: &[Value], index: usize) -> &Value {
    list.get(index).unwrap_or(&Value::Null)
}

fn give_free_ports(
    list: &mut [Value],
    taken: &mut Vec<(u16, String)>,
    used: &Used,
    rng: &mut dyn Rng,
    causes: &mut Vec<Cause>,
) {
    for index in 0..list.len() {
        let port = port_at(list, index);
        if node_port(port) != 0 {
            continue;
        }
        let proto = protocol(port).to_string();
        // One number serves TCP and UDP of the same port.
        let sibling = list
            .iter()
            .find(|other| other.get("port") == port.get("port") && protocol(other) != proto && node_port(other) != 0);
        let shared = sibling.and_then(|other| u16::try_from(node_port(other)).ok());
        let shared = shared.filter(|number| !taken.contains(&(*number, proto.clone())));
        let numbers: Vec<u16> = taken.iter().map(|(number, _)| *number).collect();
        let Some(number) = shared.or_else(|| used.free_port(&numbers, rng)) else {
            let why = "Internal error: failed to allocate a nodePort: range is full";
            causes.push(Cause::new(format!("spec.ports[{index}].nodePort"), why));
            continue;
        };
        taken.push((number, proto));
        if let Some(Value::Object(port)) = list.get_mut(index) {
            port.insert("nodePort".into(), number.into());
        }
    }
}

/// The port on which nodes say whether they have an endpoint of a Service with `externalTrafficPolicy: Local`.
fn give_health_port(
    spec: &mut Map<String, Value>,
    needed: bool,
    own: &[u16],
    taken: &[(u16, String)],
    used: &Used,
    rng: &mut dyn Rng,
    causes: &mut Vec<Cause>,
) {
    let asked = spec.get("healthCheckNodePort").and_then(Value::as_u64).unwrap_or(0);
    if !needed || asked != 0 {
        let free = u16::try_from(asked).is_ok_and(|port| own.contains(&port) || used.is_port_free(port));
        if needed && !free {
            let why = "provided port is already allocated";
            causes.push(Cause::invalid("spec.healthCheckNodePort", &json!(asked), why));
        }
        return;
    }
    let numbers: Vec<u16> = taken.iter().map(|(number, _)| *number).collect();
    match used.free_port(&numbers, rng) {
        Some(number) => {
            spec.insert("healthCheckNodePort".into(), number.into());
        }
        None => {
            let why = "Internal error: failed to allocate a nodePort: range is full";
            causes.push(Cause::new("spec.healthCheckNodePort", why));
        }
    }
}

// ---- updates -------------------------------------------------------------------------------------------------------

/// What a client that replaces a Service need not repeat.
fn keep_allocated(old: &Object, new: &mut Object) {
    if needs_address(old) && needs_address(new) {
        if cluster_ip(new).is_empty() {
            for field in ["clusterIP", "clusterIPs"] {
                if let Some(value) = old.at(&["spec", field]) {
                    spec(new).insert(field.into(), value.clone());
                }
            }
        } else if new.at(&["spec", "clusterIPs"]).is_none_or(|ips| Some(ips) == old.at(&["spec", "clusterIPs"])) {
            // The list follows the one address where a client knows that one alone.
            let same = old.at(&["spec", "clusterIPs"]).filter(|_| cluster_ip(new) == cluster_ip(old)).cloned();
            let ips = same.unwrap_or_else(|| json!([cluster_ip(new)]));
            spec(new).insert("clusterIPs".into(), ips);
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if let (None, Some(value)) = (new.at(&["spec", field]), old.at(&["spec", field])) {
                spec(new).insert(field.into(), value.clone());
            }
        }
    }
    if needs_ports(old) && needs_ports(new) {
        keep_ports(old, new);
    }
    if needs_health_port(old)
        && needs_health_port(new)
        && let (None, Some(port)) = (new.at(&["spec", "healthCheckNodePort"]), old.at(&["spec", "healthCheckNodePort"]))
    {
        spec(new).insert("healthCheckNodePort".into(), port.clone());
    }
}

fn keep_ports(old: &Object, new: &mut Object) {
    let asked: Vec<(u64, String)> =
        port_list(new).iter().map(|p| (node_port(p), protocol(p).to_string())).filter(|(n, _)| *n != 0).collect();
    let before = port_list(old).to_vec();
    let Some(Value::Array(list)) = spec(new).get_mut("ports") else { return };
    for port in list.iter_mut().filter(|port| node_port(port) == 0) {
        let same = |o: &&Value| o.get("port") == port.get("port") && protocol(o) == protocol(port);
        let had = before.iter().find(same).map_or(0, node_port);
        if had != 0
            && !asked.contains(&(had, protocol(port).to_string()))
            && let Value::Object(port) = port
        {
            port.insert("nodePort".into(), had.into());
        }
    }
}

/// A changed type gives back what the new one has not, unless the client changed just that at the same time.
fn drop_what_its_type_has_not(old: &Object, new: &mut Object) {
    if needs_address(old) && !needs_address(new) && (cluster_ip(new) == cluster_ip(old)) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec(new).remove(field);
        }
    }
    if needs_ports(old) && !needs_ports(new) {
        let had = ports(old);
        let unchanged =
            port_list(new).iter().map(node_port).all(|n| n == 0 || u16::try_from(n).is_ok_and(|n| had.contains(&n)));
        if unchanged && let Some(Value::Array(list)) = spec(new).get_mut("ports") {
            list.iter_mut().filter_map(Value::as_object_mut).for_each(|port| {
                port.remove("nodePort");
            });
        }
    }
    let same = |new: &Object, field: &str| new.at(&["spec", field]) == old.at(&["spec", field]);
    if needs_health_port(old) && !needs_health_port(new) && same(new, "healthCheckNodePort") {
        spec(new).remove("healthCheckNodePort");
    }
    if type_of(old) == "LoadBalancer" && type_of(new) != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if same(new, field) {
                spec(new).remove(field);
            }
        }
    }
    let external = |service: &Object| {
        let ips = service.at(&["spec", "externalIPs"]).and_then(Value::as_array);
        match type_of(service) {
            "NodePort" | "LoadBalancer" => true,
            "ClusterIP" => ips.is_some_and(|ips| !ips.is_empty()),
            _ => false,
        }
    };
    if external(old) && !external(new) && same(new, "externalTrafficPolicy") {
        spec(new).remove("externalTrafficPolicy");
    }
}
