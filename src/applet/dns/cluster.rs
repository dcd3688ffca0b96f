//! What the answers come from: the Services, their endpoints and the namespaces, indexed by what is asked for. Kept up
//! one object at a time, so that a change costs the same in a lab of ten Services and of ten thousand.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use serde_json::Value;

use crate::applet::kube::Change;
use crate::object::{KindRef, Object, kind};

/// The label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Debug, Default)]
pub struct Cluster {
    namespaces: HashSet<String>,
    /// By namespace, then name.
    services: HashMap<String, HashMap<String, Service>>,
    /// By namespace, then the Service's name, then the slice's.
    slices: HashMap<String, HashMap<String, BTreeMap<String, Slice>>>,
    /// The Service that each slice is filed under, by namespace and name of the slice.
    filed: HashMap<(String, String), String>,
    /// The Services with each address, by namespace and name.
    cluster_ips: HashMap<IpAddr, BTreeSet<(String, String)>>,
    /// The Services that have an endpoint with the address, and how many of their slices do.
    endpoints: HashMap<IpAddr, BTreeMap<(String, String), usize>>,
    /// Grows with every change.
    pub serial: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub what: What,
    pub ports: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    ClusterIps(Vec<IpAddr>),
    Headless,
    /// `spec.externalName`
    External(String),
}

/// Names in lower case, as they are in questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub protocol: String,
    pub number: u16,
}

#[derive(Debug, Default)]
pub struct Slice {
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<Port>,
}

/// A ready endpoint.
#[derive(Debug)]
pub struct Endpoint {
    pub address: IpAddr,
    pub hostname: Option<String>,
}

impl Endpoint {
    /// Its own name below its Service's.
    pub fn label(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| dashed(self.address))
    }
}

/// `10-244-1-2`
fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

impl Cluster {
    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name)
    }

    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.get(namespace)?.get(name)
    }

    /// The names of a namespace's Services.
    pub fn names_in(&self, namespace: &str) -> impl Iterator<Item = &str> {
        self.services.get(namespace).into_iter().flat_map(|of| of.keys().map(String::as_str))
    }

    pub fn slices(&self, namespace: &str, service: &str) -> impl Iterator<Item = &Slice> {
        self.slices.get(namespace).and_then(|of| of.get(service)).into_iter().flat_map(BTreeMap::values)
    }

    /// Namespace and name of the Service that has this address.
    pub fn with_cluster_ip(&self, address: IpAddr) -> Option<&(String, String)> {
        self.cluster_ips.get(&address)?.first()
    }

    /// Namespace and name of the Services that have a ready endpoint with this address.
    pub fn with_endpoint(&self, address: IpAddr) -> impl Iterator<Item = &(String, String)> {
        self.endpoints.get(&address).into_iter().flat_map(BTreeMap::keys)
    }

    /// Takes in what happened to objects of a kind; those of kinds that no answer is made of are ignored.
    pub fn change(&mut self, kind: KindRef, change: Change) {
        self.serial = self.serial.wrapping_add(1);
        if *kind == kind::NAMESPACE {
            self.change_namespaces(change);
        } else if *kind == kind::SERVICE {
            self.change_services(change);
        } else if *kind == kind::ENDPOINT_SLICE {
            self.change_slices(change);
        }
    }

    fn change_namespaces(&mut self, change: Change) {
        match change {
            Change::All(all) => self.namespaces = all.iter().map(|object| object.name().to_string()).collect(),
            Change::Set(object) => {
                self.namespaces.insert(object.name().to_string());
            }
            Change::Gone(object) => {
                self.namespaces.remove(object.name());
            }
        }
    }

    fn change_services(&mut self, change: Change) {
        match change {
            Change::All(all) => {
                self.services.clear();
                self.cluster_ips.clear();
                all.iter().for_each(|object| self.set_service(object));
            }
            Change::Set(object) => self.set_service(&object),
            Change::Gone(object) => self.remove_service(object.namespace(), object.name()),
        }
    }

    fn set_service(&mut self, object: &Object) {
        let (namespace, name) = (object.namespace(), object.name());
        self.remove_service(namespace, name);
        let Some(service) = Service::read(object) else { return };
        if let What::ClusterIps(addresses) = &service.what {
            for address in addresses {
                self.cluster_ips.entry(*address).or_default().insert((namespace.to_string(), name.to_string()));
            }
        }
        self.services.entry(namespace.to_string()).or_default().insert(name.to_string(), service);
    }

    fn remove_service(&mut self, namespace: &str, name: &str) {
        let Some(of) = self.services.get_mut(namespace) else { return };
        let Some(service) = of.remove(name) else { return };
        if of.is_empty() {
            self.services.remove(namespace);
        }
        let What::ClusterIps(addresses) = service.what else { return };
        for address in addresses {
            if let Some(services) = self.cluster_ips.get_mut(&address) {
                services.remove(&(namespace.to_string(), name.to_string()));
                if services.is_empty() {
                    self.cluster_ips.remove(&address);
                }
            }
        }
    }

    fn change_slices(&mut self, change: Change) {
        match change {
            Change::All(all) => {
                self.slices.clear();
                self.filed.clear();
                self.endpoints.clear();
                all.iter().for_each(|object| self.set_slice(object));
            }
            Change::Set(object) => self.set_slice(&object),
            Change::Gone(object) => self.remove_slice(object.namespace(), object.name()),
        }
    }

    fn set_slice(&mut self, object: &Object) {
        let (namespace, name) = (object.namespace(), object.name());
        self.remove_slice(namespace, name);
        let Some(service) = object.label(SERVICE_NAME) else { return };
        let slice = Slice::read(object);
        let key = (namespace.to_string(), service.to_string());
        for endpoint in &slice.endpoints {
            *self.endpoints.entry(endpoint.address).or_default().entry(key.clone()).or_default() += 1;
        }
        self.filed.insert((namespace.to_string(), name.to_string()), service.to_string());
        let of = self.slices.entry(namespace.to_string()).or_default();
        of.entry(service.to_string()).or_default().insert(name.to_string(), slice);
    }

    fn remove_slice(&mut self, namespace: &str, name: &str) {
        let Some(service) = self.filed.remove(&(namespace.to_string(), name.to_string())) else { return };
        let Some(of) = self.slices.get_mut(namespace) else { return };
        let Some(slices) = of.get_mut(&service) else { return };
        let slice = slices.remove(name).unwrap_or_default();
        if slices.is_empty() {
            of.remove(&service);
        }
        if of.is_empty() {
            self.slices.remove(namespace);
        }
        let key = (namespace.to_string(), service);
        for endpoint in slice.endpoints {
            let Some(services) = self.endpoints.get_mut(&endpoint.address) else { continue };
            if let Some(count) = services.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    services.remove(&key);
                }
            }
            if services.is_empty() {
                self.endpoints.remove(&endpoint.address);
            }
        }
    }
}

fn list<'a>(object: &'a Object, path: &[&str]) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.at(path).and_then(Value::as_array).into_iter().flatten()
}

impl Service {
    /// `None` for a Service that has no address yet.
    fn read(object: &Object) -> Option<Self> {
        let ports = list(object, &["spec", "ports"]).filter_map(Port::read).collect();
        if object.str_at(&["spec", "type"]) == Some("ExternalName") {
            let name = object.str_at(&["spec", "externalName"])?;
            return Some(Service { what: What::External(name.to_string()), ports });
        }
        let one = object.str_at(&["spec", "clusterIP"]);
        if one == Some("None") {
            return Some(Service { what: What::Headless, ports });
        }
        let several = list(object, &["spec", "clusterIPs"]).filter_map(Value::as_str);
        let addresses: BTreeSet<IpAddr> = several.chain(one).filter_map(|text| text.parse().ok()).collect();
        if addresses.is_empty() {
            return None;
        }
        Some(Service { what: What::ClusterIps(addresses.into_iter().collect()), ports })
    }
}

impl Port {
    fn read(port: &Value) -> Option<Self> {
        let text = |field| port.get(field).and_then(Value::as_str);
        Some(Port {
            name: text("name").unwrap_or_default().to_ascii_lowercase(),
            protocol: text("protocol").unwrap_or("TCP").to_ascii_lowercase(),
            number: port.get("port").and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok())?,
        })
    }
}

impl Slice {
    fn read(object: &Object) -> Self {
        // Unknown is ready. Where the Service publishes addresses that are not, its controller says they are.
        let ready = |endpoint: &&Value| endpoint.pointer("/conditions/ready") != Some(&Value::Bool(false));
        let endpoint = |endpoint: &Value| {
            // The others are, as Kubernetes documents it, for nobody to use.
            let address = endpoint.get("addresses")?.get(0)?.as_str()?.parse().ok()?;
            let hostname = endpoint.get("hostname").and_then(Value::as_str).filter(|name| !name.is_empty());
            Some(Endpoint { address, hostname: hostname.map(str::to_ascii_lowercase) })
        };
        Slice {
            endpoints: list(object, &["endpoints"]).filter(ready).filter_map(endpoint).collect(),
            ports: list(object, &["ports"]).filter_map(Port::read).collect(),
        }
    }
}
