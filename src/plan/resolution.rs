//! By which names a pod knows itself and others: its host name, `/etc/hosts` and `/etc/resolv.conf`, as the kubelet
//! writes them.

use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{PodDNSConfigOption, PodSpec};

use crate::object::Object;
use crate::object::lab::Lab;

const CLUSTER_DOMAIN: &str = "cluster.local";
/// The kubelet cuts names at this; the kernel's limit is one more.
const LONGEST_HOSTNAME: usize = 63;
const LONGEST_FOR_KERNEL: usize = 64;
/// What the kubelet lets a pod have of each.
const MOST_SERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;
const MOST_SEARCH_CHARS: usize = 2048;
/// A longer search domain makes some C libraries abort.
const LONGEST_SEARCH: usize = 253;

/// A pod's own name.
pub struct Naming {
    hostname: String,
    /// With a `subdomain`: what makes the host name one that DNS knows, if a headless Service has its name.
    domain: Option<String>,
    host_network: bool,
}

impl Naming {
    pub fn of(pod: &Object, spec: &PodSpec, node: &str) -> Self {
        let host_network = spec.host_network == Some(true);
        let name = spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(pod.name());
        let cut: String = name.chars().take(LONGEST_HOSTNAME).collect();
        let hostname = if host_network { node.to_string() } else { cut.trim_end_matches(['-', '.']).to_string() };
        let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty() && !host_network);
        let domain = subdomain.map(|subdomain| format!("{subdomain}.{}.svc.{CLUSTER_DOMAIN}", pod.namespace()));
        Naming { hostname, domain, host_network }
    }

    /// What `hostname` prints. One that the kernel cannot take stays the short one.
    pub fn for_kernel(&self, spec: &PodSpec) -> String {
        let full = self.domain.as_ref().map(|domain| format!("{}.{domain}", self.hostname));
        let wanted = full.filter(|full| spec.set_hostname_as_fqdn == Some(true) && full.len() <= LONGEST_FOR_KERNEL);
        wanted.unwrap_or_else(|| self.hostname.clone())
    }

    pub fn hosts(&self, addresses: &[IpAddr], spec: &PodSpec) -> String {
        let mut text = String::new();
        if self.host_network {
            // As a node's own is at first; somebody may have written into that since.
            text.push_str("# Kubernetes-managed hosts file (host network).\n");
            text.push_str(&node_hosts(&self.hostname));
        } else {
            text.push_str(
                "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                 fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
            );
            for address in addresses {
                let _ = match &self.domain {
                    Some(domain) => writeln!(text, "{address}\t{0}.{domain}\t{0}", self.hostname),
                    None => writeln!(text, "{address}\t{}", self.hostname),
                };
            }
        }
        if let Some(aliases) = spec.host_aliases.as_ref().filter(|aliases| !aliases.is_empty()) {
            text.push_str("\n# Entries added by HostAliases.\n");
            for alias in aliases {
                let names: Vec<&str> = alias.hostnames.iter().flatten().map(String::as_str).collect();
                let _ = writeln!(text, "{}\t{}", alias.ip, names.join("\t"));
            }
        }
        text
    }
}

/// What a node's root file system has as `/etc/hosts`.
fn node_hosts(hostname: &str) -> String {
    format!("127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n")
}

/// What a `resolv.conf` says.
#[derive(Default)]
struct Resolution {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

/// `machine` is the machine's own file, which stands for the nodes'.
pub fn resolv_conf(lab: &Lab, machine: &str, namespace: &str, spec: &PodSpec) -> String {
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let host_network = spec.host_network == Some(true);
    let mut resolution = match policy {
        "None" => Resolution::default(),
        "ClusterFirst" if host_network => Resolution::read(machine),
        "Default" => Resolution::read(machine),
        _ => Resolution::of_cluster(lab, machine, namespace),
    };
    if let Some(config) = &spec.dns_config {
        resolution.servers.extend(config.nameservers.iter().flatten().cloned());
        resolution.searches.extend(config.searches.iter().flatten().cloned());
        config.options.iter().flatten().for_each(|option| resolution.set(option));
    }
    resolution.limit();
    resolution.into_text()
}

impl Resolution {
    fn read(text: &str) -> Self {
        let mut read = Resolution::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => read.servers.extend(words.next().map(str::to_string)),
                // Of these the last line counts.
                Some("search") => read.searches = words.map(without_last_dot).collect(),
                Some("options") => read.options = words.map(str::to_string).collect(),
                _ => {}
            }
        }
        read
    }

    /// The lab's server alone is asked, which asks on; the machine's search domains stay, after the lab's.
    fn of_cluster(lab: &Lab, machine: &str, namespace: &str) -> Self {
        let own = [format!("{namespace}.svc.{CLUSTER_DOMAIN}"), format!("svc.{CLUSTER_DOMAIN}"), CLUSTER_DOMAIN.into()];
        Resolution {
            servers: vec![lab.api_and_dns_cluster_ips().1.to_string()],
            searches: own.into_iter().chain(Self::read(machine).searches).collect(),
            options: vec!["ndots:5".to_string()],
        }
    }

    fn set(&mut self, option: &PodDNSConfigOption) {
        let name = option.name.as_deref().unwrap_or_default();
        let text = match option.value.as_deref() {
            None | Some("") => name.to_string(),
            Some(value) => format!("{name}:{value}"),
        };
        let is_it = |known: &String| known.split(':').next() == Some(name);
        match self.options.iter_mut().find(|known| is_it(known)) {
            Some(known) => *known = text,
            None => self.options.push(text),
        }
    }

    fn limit(&mut self) {
        once_each(&mut self.servers);
        once_each(&mut self.searches);
        self.servers.truncate(MOST_SERVERS);
        self.searches.truncate(MOST_SEARCHES);
        self.searches.retain(|search| search.len() <= LONGEST_SEARCH);
        let mut chars = 0;
        self.searches.retain(|search| {
            chars += search.len() + usize::from(chars > 0);
            chars <= MOST_SEARCH_CHARS
        });
    }

    fn into_text(self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            let _ = writeln!(text, "search {}", self.searches.join(" "));
        }
        for server in self.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

/// The root alone stays what it is.
fn without_last_dot(domain: &str) -> String {
    domain.strip_suffix('.').filter(|rest| !rest.is_empty()).unwrap_or(domain).to_string()
}

fn once_each(list: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|entry| seen.insert(entry.clone()));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(mut fields: Value) -> PodSpec {
        fields["containers"] = json!([]);
        serde_json::from_value(fields).unwrap()
    }

    fn resolv_conf_of(fields: Value) -> String {
        let machine = "# made\ndomain a\noptions rotate\nsearch b. c\nnameserver 192.0.2.1\noptions edns0 ndots:2\n";
        resolv_conf(&Lab::default(), machine, "blue", &spec(fields))
    }

    #[test]
    fn a_pod_has_the_resolver_that_its_policy_says() {
        let cluster = "search blue.svc.cluster.local svc.cluster.local cluster.local b c\nnameserver 10.96.0.10\n\
                       options ndots:5\n";
        let own = "search b c\nnameserver 192.0.2.1\noptions edns0 ndots:2\n";
        for (policy, host_network, expected) in [
            ("ClusterFirst", false, cluster),
            ("ClusterFirst", true, own),
            ("ClusterFirstWithHostNet", true, cluster),
            ("Default", false, own),
            ("None", false, ""),
        ] {
            let made = resolv_conf_of(json!({"dnsPolicy": policy, "hostNetwork": host_network}));
            assert_eq!(made, expected, "{policy} {host_network}");
        }
    }

    #[test]
    fn a_pods_own_configuration_is_added() {
        let config = json!({"nameservers": ["192.0.2.9", "192.0.2.1"], "searches": ["d", "b"],
            "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}, {"name": "debug", "value": ""}]});
        assert_eq!(
            resolv_conf_of(json!({"dnsPolicy": "Default", "dnsConfig": config})),
            "search b c d\nnameserver 192.0.2.1\nnameserver 192.0.2.9\noptions edns0 ndots:1 debug\n"
        );
        assert_eq!(
            resolv_conf_of(json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.9"]}})),
            "nameserver 192.0.2.9\n"
        );
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        let many: Vec<String> = (0..40).map(|n| format!("d{n}")).collect();
        let long: Vec<String> = (0..20).map(|n| format!("{n:02}{}", "x".repeat(200))).collect();
        for (searches, kept) in [(many, 32), (long, 10), (vec!["y".repeat(254), "z".into()], 1)] {
            let config = json!({"searches": searches, "nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]});
            let made = resolv_conf_of(json!({"dnsPolicy": "None", "dnsConfig": config}));
            assert_eq!(made.lines().next().unwrap().split(' ').count() - 1, kept, "{made}");
            assert_eq!(made.matches("nameserver").count(), 3, "{made}");
        }
    }

    #[test]
    fn names_of_a_pod() {
        let named = |name: &str, fields: Value| {
            let json = json!({"kind": "Pod", "metadata": {"name": name, "namespace": "blue"}});
            let spec = spec(fields);
            let naming = Naming::of(&Object::from_value(json).unwrap(), &spec, "w1-k8s");
            let hosts = naming.hosts(&["10.244.1.2".parse().unwrap()], &spec);
            (naming.for_kernel(&spec), hosts)
        };
        let full = "web-0.db.blue.svc.cluster.local";
        for (fields, hostname, line) in [
            (json!({}), "web-0", "10.244.1.2\tweb-0\n".to_string()),
            (json!({"hostname": "h"}), "h", "10.244.1.2\th\n".to_string()),
            (json!({"subdomain": "db"}), "web-0", format!("10.244.1.2\t{full}\tweb-0\n")),
            (json!({"subdomain": "db", "setHostnameAsFQDN": true}), full, format!("10.244.1.2\t{full}\tweb-0\n")),
            (json!({"setHostnameAsFQDN": true}), "web-0", "10.244.1.2\tweb-0\n".to_string()),
            (json!({"hostNetwork": true, "subdomain": "db"}), "w1-k8s", "127.0.1.1\tw1-k8s\n".to_string()),
        ] {
            let (found, hosts) = named("web-0", fields.clone());
            assert_eq!(found, hostname, "{fields}");
            assert!(hosts.contains(&line), "{fields}: {hosts}");
        }
        let (cut, _) = named(&format!("{}-{}", "a".repeat(62), "b"), json!({}));
        assert_eq!(cut, "a".repeat(62));
        let aliases = json!([{"ip": "127.0.0.1", "hostnames": ["foo.local", "bar.local"]}]);
        for host_network in [false, true] {
            let (_, hosts) = named("web-0", json!({"hostAliases": aliases, "hostNetwork": host_network}));
            assert!(
                hosts.ends_with("\n\n# Entries added by HostAliases.\n127.0.0.1\tfoo.local\tbar.local\n"),
                "{hosts}"
            );
        }
        assert!(
            named("web-0", json!({"hostNetwork": true}))
                .1
                .starts_with("# Kubernetes-managed hosts file (host network).\n")
        );
    }
}
