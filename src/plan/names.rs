//! Names and MAC addresses that are derived, never chosen by hand: the same input gives the same name on every machine.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::desired::{End, Mac};

/// The kernel's limit for an interface's name, in bytes (IFNAMSIZ less the terminating zero).
const INTERFACE_NAME_MAX: usize = 15;
/// The kernel's limit for an alternative name (ALTIFNAMSIZ less the terminating zero).
const ALTERNATIVE_NAME_MAX: usize = 127;
/// A file name's limit; a namespace is a file below /run/netns.
const FILE_NAME_MAX: usize = 255;

pub fn lan_netns(lab: &str) -> String {
    format!("{lab}.lan")
}

pub fn client_netns(lab: &str) -> String {
    format!("{lab}.client")
}

pub fn node_netns(lab: &str, node: &str) -> String {
    format!("{lab}.{node}")
}

/// `lab.default.web-1`. Neither labs, nodes nor namespaces have a dot in their names, so that no two things share one.
pub fn pod_netns(lab: &str, namespace: &str, pod: &str) -> String {
    let name = format!("{lab}.{namespace}.{pod}");
    if name.len() <= FILE_NAME_MAX {
        return name;
    }
    // A pod's name may have 253 bytes. The start stays readable, the hash keeps it unique.
    let hash = hex(&name, 16);
    let readable: String = name.chars().take(FILE_NAME_MAX - hash.len() - 1).collect();
    format!("{readable}.{hash}")
}

/// `wanted` where it fits as an interface's name; else `prefix` and a hash of it, with the readable name to be kept as
/// the altname.
pub fn interface(prefix: &str, wanted: &str) -> (String, Option<String>) {
    if wanted.len() <= INTERFACE_NAME_MAX {
        return (wanted.to_string(), None);
    }
    hashed_interface(prefix, wanted)
}

/// `prefix` and a hash of `readable`, with `readable` as the altname (where it fits as one).
pub fn hashed_interface(prefix: &str, readable: &str) -> (String, Option<String>) {
    let name = format!("{prefix}{}", hex(readable, INTERFACE_NAME_MAX - prefix.len()));
    let altname = (readable.len() <= ALTERNATIVE_NAME_MAX).then(|| readable.to_string());
    (name, altname)
}

/// As the CNI plugins do for IPv4: 0a:58 and the address, so that a capture can be read.
pub fn mac_of(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            Mac([0x0a, 0x58, a, b, c, d])
        }
        IpAddr::V6(_) => mac_from(&address.to_string()),
    }
}

/// The link-local address that a router's end needs if it has IPv6: of it the router asks for its neighbours, where
/// the packet's own source is another machine. The kernel is not left to make one, which takes it a second (duplicate
/// address detection) and brings reports and solicitations with it. Other ends ask as who they are, and need none.
pub fn link_local(end: &End) -> Option<IpNet> {
    end.addresses.iter().find(|net| !net.addr().is_ipv4())?;
    let Mac([a, b, c, d, e, f]) = end.mac;
    // RFC 4291, appendix A: the universal bit turned, ff:fe in the middle.
    let pair = u16::from_be_bytes;
    let address = Ipv6Addr::new(0xfe80, 0, 0, 0, pair([a ^ 2, b]), pair([c, 0xff]), pair([0xfe, d]), pair([e, f]));
    IpNet::new(address.into(), 64).ok()
}

/// A locally administered unicast address from a hash.
pub fn mac_from(seed: &str) -> Mac {
    let hash = Sha256::digest(seed.as_bytes());
    Mac([0x02, hash[0], hash[1], hash[2], hash[3], hash[4]])
}

fn hex(text: &str, digits: usize) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().chars().take(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_stay_apart() {
        let long = "a".repeat(253);
        let other = format!("{}b", "a".repeat(252));
        let (one, two) = (pod_netns("lab", "default", &long), pod_netns("lab", "default", &other));
        assert!(one.len() <= 255 && two.len() <= 255 && one != two, "{one} {two}");
        let (name, altname) = interface("n", "a-node-with-a-long-name");
        assert_eq!((name.len(), altname.as_deref()), (15, Some("a-node-with-a-long-name")));
        assert_eq!(interface("n", "w1-k8s"), ("w1-k8s".to_string(), None));
        assert_eq!(mac_of("10.244.1.2".parse().unwrap()).to_string(), "0a:58:0a:f4:01:02");
    }
}
