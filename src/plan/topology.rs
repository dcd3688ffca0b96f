//! The machines: LAN, nodes, the outside machine, and the cable to the VM.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::names;
use crate::desired::{Bind, Bridge, Desired, End, Netns, NetnsRole, Route, Runtime, Veth};
use crate::object::lab::{API_PORT, Lab, Node, Role};

/// The LAN's switch.
const LAN_BRIDGE: &str = "lan";
/// The outside machine, as a node-like name.
pub const CLIENT: &str = "client";
/// What the network namespaces of machines and pods call their interface.
pub const ETH0: &str = "eth0";

/// Adds the LAN and everything that is plugged into it, except pods.
pub fn add(desired: &mut Desired, lab: &Lab, nodes: &[Node], with_host: bool) {
    let name = desired.lab.clone();
    let lan = names::lan_netns(&name);
    let bridge = Bridge { mac: names::mac_from(&lan), addresses: Vec::new() };
    let bridges = BTreeMap::from([(LAN_BRIDGE.to_string(), bridge)]);
    desired.netns.insert(lan, Netns { role: NetnsRole::Lan, forwarding: false, bridges });
    for node in nodes {
        let netns = names::node_netns(&name, &node.name);
        desired.netns.insert(netns.clone(), machine(NetnsRole::Node));
        let mut cable = lan_cable(lab, &name, &netns, &node.name, &node.addresses, node_routes(lab, nodes, node));
        cable.inner.addresses.extend(names::link_local(&cable.inner));
        insert(desired, cable);
        if node.role == Role::ControlPlane {
            desired.api.insert(netns.clone(), API_PORT);
        }
        desired.runtimes.insert(
            node.name.clone(),
            Runtime {
                netns,
                hostname: node.name.clone(),
                extra_mounts: node.extra_mounts.iter().map(extra_mount).collect(),
            },
        );
    }
    let (host, client) = lab.host_and_client_addresses();
    let netns = names::client_netns(&name);
    desired.netns.insert(netns.clone(), machine(NetnsRole::Client));
    let cable = lan_cable(lab, &name, &netns, CLIENT, &client, BTreeSet::new());
    insert(desired, cable);
    desired
        .runtimes
        .insert(CLIENT.to_string(), Runtime { netns, hostname: CLIENT.to_string(), extra_mounts: Vec::new() });
    if with_host {
        let mut cable = lan_cable(lab, &name, "", "host", &host, BTreeSet::new());
        let readable = format!("nslab.{name}");
        cable.inner.name = names::interface("lan", &format!("lan-{name}")).0;
        cable.inner.altname = Some(readable);
        insert(desired, cable);
    }
}

fn machine(role: NetnsRole) -> Netns {
    Netns { role, forwarding: role == NetnsRole::Node, bridges: BTreeMap::new() }
}

fn insert(desired: &mut Desired, veth: Veth) {
    desired.veths.insert(format!("{}/{}", veth.inner.netns, veth.inner.name), veth);
}

fn lan_cable(
    lab: &Lab,
    lab_name: &str,
    netns: &str,
    port: &str,
    addresses: &[IpAddr],
    routes: BTreeSet<Route>,
) -> Veth {
    let on_lan = |address: &IpAddr| IpNet::new(*address, lab.networking.lan_subnet.like(*address)?.prefix_len()).ok();
    let addresses: Vec<IpNet> = addresses.iter().filter_map(on_lan).collect();
    let mac = addresses.first().map_or_else(|| names::mac_from(port), |net| names::mac_of(net.addr()));
    let inner =
        End { netns: netns.to_string(), name: ETH0.to_string(), altname: None, mac, addresses, bridge: None, routes };
    let (port_name, altname) = names::interface("p", port);
    let outer = End {
        netns: names::lan_netns(lab_name),
        name: port_name,
        altname,
        mac: names::mac_from(&format!("{lab_name}.lan/{port}")),
        addresses: Vec::new(),
        bridge: Some(LAN_BRIDGE.to_string()),
        routes: BTreeSet::new(),
    };
    Veth { inner, outer }
}

/// Each other node's pods by that node's address, and the Service subnet out of eth0: there the node's own packets to a
/// ClusterIP find a route, so that they reach the output hook and are translated. None of them leaves: what is no
/// Service is dropped or rejected by the same table.
fn node_routes(lab: &Lab, nodes: &[Node], node: &Node) -> BTreeSet<Route> {
    let mut routes = BTreeSet::new();
    for other in nodes.iter().filter(|other| other.name != node.name) {
        for subnet in &other.pod_subnets {
            let via = other.addresses.iter().find(|a| a.is_ipv4() == matches!(subnet, IpNet::V4(_))).copied();
            routes.insert(Route { to: *subnet, via, source: None });
        }
    }
    for services in lab.networking.service_subnet.iter() {
        let source = node.addresses.iter().find(|a| a.is_ipv4() == services.addr().is_ipv4()).copied();
        routes.insert(Route { to: services, via: None, source });
    }
    routes
}

fn extra_mount(mount: &crate::object::lab::ExtraMount) -> Bind {
    Bind {
        source: PathBuf::from(&mount.host_path),
        target: PathBuf::from(&mount.container_path),
        read_only: mount.read_only,
    }
}
