//! A lab's subnets: one of each address family that the lab has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabError;

/// As in kind's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    Ipv4,
    Ipv6,
    Dual,
}

/// One subnet, or one of each family, written with a comma as for kubeadm: `10.244.0.0/16,fd00:10:244::/56`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnets {
    /// Of the family that comes first everywhere in the lab.
    pub first: IpNet,
    pub second: Option<IpNet>,
}

impl Subnets {
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + use<> {
        std::iter::once(self.first).chain(self.second)
    }

    /// That of an address's family.
    pub fn like(&self, address: IpAddr) -> Option<IpNet> {
        self.iter().find(|subnet| subnet.addr().is_ipv4() == address.is_ipv4())
    }

    fn is_v4(&self) -> Vec<bool> {
        self.iter().map(|subnet| subnet.addr().is_ipv4()).collect()
    }
}

impl std::str::FromStr for Subnets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut subnets = Vec::new();
        for part in text.split(',') {
            let subnet: IpNet = part.trim().parse().map_err(|_| {
                format!("\"{}\" is no subnet: write an address and a length, such as 10.9.0.0/16", part.trim())
            })?;
            subnets.push(subnet.trunc());
        }
        match *subnets.as_slice() {
            [first] => Ok(Subnets { first, second: None }),
            [first, second] if first.addr().is_ipv4() != second.addr().is_ipv4() => {
                Ok(Subnets { first, second: Some(second) })
            }
            _ => Err(format!(
                "\"{text}\" has more than one subnet of a family: write one, or one of IPv4 and one of IPv6"
            )),
        }
    }
}

impl std::fmt::Display for Subnets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.second {
            None => write!(f, "{}", self.first),
            Some(second) => write!(f, "{},{second}", self.first),
        }
    }
}

impl Serialize for Subnets {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subnets {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The lab's networks. Each has a subnet of every family of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", from = "Written")]
pub struct Networking {
    /// What was asked for and does not fit the subnets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_family: Option<IpFamily>,
    #[schemars(with = "String")]
    pub lan_subnet: Subnets,
    #[schemars(with = "String")]
    pub pod_subnet: Subnets,
    #[schemars(with = "String")]
    pub service_subnet: Subnets,
}

/// The lab's networks. Each is one subnet, or one of each family with a comma between them; the family that comes first
/// is the lab's first.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    /// Which families the lab has: ipv4, ipv6 or dual. Without this, those of the subnets below, or IPv4.
    ip_family: Option<IpFamily>,
    /// The LAN that nodes, the outside machine and this machine share: 192.168.1.0/24, fd00:192:168:1::/64.
    #[schemars(with = "Option<String>")]
    lan_subnet: Option<Subnets>,
    /// Each node takes a /24 of it for its pods, or a /64 with IPv6: 10.244.0.0/16, fd00:10:244::/56.
    #[schemars(with = "Option<String>")]
    pod_subnet: Option<Subnets>,
    /// ClusterIPs; the first is the Service `kubernetes`: 10.96.0.0/12, fd00:10:96::/112.
    #[schemars(with = "Option<String>")]
    service_subnet: Option<Subnets>,
}

impl From<Written> for Networking {
    fn from(written: Written) -> Self {
        let given: Vec<&Subnets> =
            [&written.pod_subnet, &written.service_subnet, &written.lan_subnet].into_iter().flatten().collect();
        // The subnets that say most say which families the others have, and in which order.
        let model = given.iter().find(|subnets| subnets.second.is_some()).or(given.first());
        let wanted: Vec<bool> = match (written.ip_family, model.map(|subnets| subnets.is_v4())) {
            (Some(IpFamily::Ipv4), _) => vec![true],
            (Some(IpFamily::Ipv6), _) => vec![false],
            (Some(IpFamily::Dual), Some(families)) if families.len() == 2 => families,
            (Some(IpFamily::Dual), _) => vec![true, false],
            (None, Some(families)) => families,
            (None, None) => vec![true],
        };
        let default = |v4: IpNet, v6: IpNet| {
            let mut subnets = wanted.iter().map(|&is_v4| if is_v4 { v4 } else { v6 });
            Subnets { first: subnets.next().unwrap_or(v4), second: subnets.next() }
        };
        let networking = Networking {
            ip_family: written.ip_family,
            lan_subnet: written
                .lan_subnet
                .unwrap_or_else(|| default(v4([192, 168, 1, 0], 24), v6([0xfd00, 0x192, 0x168, 1], 64))),
            pod_subnet: written
                .pod_subnet
                .unwrap_or_else(|| default(v4([10, 244, 0, 0], 16), v6([0xfd00, 0x10, 0x244, 0], 56))),
            service_subnet: written
                .service_subnet
                .unwrap_or_else(|| default(v4([10, 96, 0, 0], 12), v6([0xfd00, 0x10, 0x96, 0], 112))),
        };
        // From here on the subnets say it, so that the same networks are equal however they were written.
        let ip_family = networking.ip_family.filter(|_| networking.check().is_err());
        Networking { ip_family, ..networking }
    }
}

fn v4(octets: [u8; 4], len: u8) -> IpNet {
    IpNet::new_assert(Ipv4Addr::from(octets).into(), len)
}

fn v6([a, b, c, d]: [u16; 4], len: u8) -> IpNet {
    IpNet::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into(), len)
}

impl Default for Networking {
    fn default() -> Self {
        Networking::from(Written::default())
    }
}

impl Networking {
    /// Whether all networks have the families that are wanted, and room for what the lab puts there.
    pub(super) fn check(&self) -> Result<(), LabError> {
        let error = |field: &str, reason: String| LabError { path: format!("networking.{field}"), reason };
        let families = self.pod_subnet.is_v4();
        let fitting: &[&[bool]] = match self.ip_family {
            None => &[&[true], &[false], &[true, false], &[false, true]],
            Some(IpFamily::Ipv4) => &[&[true]],
            Some(IpFamily::Ipv6) => &[&[false]],
            Some(IpFamily::Dual) => &[&[true, false], &[false, true]],
        };
        let all =
            [("podSubnet", &self.pod_subnet), ("serviceSubnet", &self.service_subnet), ("lanSubnet", &self.lan_subnet)];
        for (field, subnets) in all {
            let own = subnets.is_v4();
            if !fitting.contains(&own.as_slice()) {
                let wanted = match self.ip_family {
                    Some(IpFamily::Ipv4) => "ipFamily ipv4 takes one IPv4 subnet",
                    Some(IpFamily::Ipv6) => "ipFamily ipv6 takes one IPv6 subnet",
                    _ => "ipFamily dual takes one subnet of each family, with a comma between them",
                };
                return Err(error(field, format!("{subnets} does not fit: {wanted}")));
            }
            if own != families {
                let reason = format!(
                    "{subnets} is {}, and podSubnet {} is {}: all subnets of a lab have the same families in the same order",
                    described(&own),
                    self.pod_subnet,
                    described(&families)
                );
                return Err(error(field, reason));
            }
            let longest =
                |v4, v6| subnets.iter().find(|net| net.prefix_len() > if net.addr().is_ipv4() { v4 } else { v6 });
            let (small, needed) = match field {
                "podSubnet" => (longest(24, 64), "a /24, or with IPv6 a /64, and each node needs one"),
                "serviceSubnet" => {
                    (longest(28, 124), "a /28, or with IPv6 a /124, and the cluster's DNS is its tenth address")
                }
                _ => (
                    longest(29, 125),
                    "a /29, or with IPv6 a /125, and this machine, the outside one and nodes are in it",
                ),
            };
            if let Some(small) = small {
                return Err(error(field, format!("{small} is smaller than {needed}")));
            }
        }
        Ok(())
    }
}

fn described(families: &[bool]) -> &'static str {
    match families {
        [true] => "IPv4",
        [false] => "IPv6",
        [true, ..] => "IPv4 and IPv6",
        _ => "IPv6 and IPv4",
    }
}

/// So many addresses after a subnet's own.
pub fn nth(subnet: IpNet, number: u32) -> IpAddr {
    match subnet {
        IpNet::V4(v4) => Ipv4Addr::from(u32::from(v4.network()).saturating_add(number)).into(),
        IpNet::V6(v6) => Ipv6Addr::from(u128::from(v6.network()).saturating_add(number.into())).into(),
    }
}

/// A host of the LAN. With IPv6 the number keeps its digits, so that 192.168.1.101 and fd00:192:168:1::101 are one node.
pub(super) fn host(lan: IpNet, number: u32) -> IpAddr {
    let digits = |number: u32| u32::from_str_radix(&number.to_string(), 16).unwrap_or(number);
    nth(lan, if lan.addr().is_ipv4() { number } else { digits(number) })
}

/// The subnets that nodes take for their pods, of each family, one after the other; `None` when a family has no more.
pub(super) fn of_nodes(pods: &Subnets) -> impl Iterator<Item = Result<Vec<IpNet>, IpNet>> + use<> {
    let whole: Vec<IpNet> = pods.iter().collect();
    let mut parts: Vec<_> =
        whole.iter().map(|subnet| subnet.subnets(if subnet.addr().is_ipv4() { 24 } else { 64 }).ok()).collect();
    std::iter::repeat_with(move || {
        let next = parts.iter_mut().zip(&whole);
        next.map(|(part, whole)| part.as_mut().and_then(Iterator::next).ok_or(*whole)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: serde_json::Value) -> Networking {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn what_is_left_out_follows_what_is_said() {
        let shown = |json| {
            let of = read(json);
            of.check().unwrap();
            format!("{} {} {}", of.lan_subnet, of.pod_subnet, of.service_subnet)
        };
        let v4 = "192.168.1.0/24 10.244.0.0/16 10.96.0.0/12";
        let v6 = "fd00:192:168:1::/64 fd00:10:244::/56 fd00:10:96::/112";
        assert_eq!(shown(json!({})), v4);
        assert_eq!(shown(json!({"ipFamily": "ipv4"})), v4);
        assert_eq!(shown(json!({"ipFamily": "ipv6"})), v6);
        assert_eq!(shown(json!({"podSubnet": "fd00:10:244::/56"})), v6);
        assert_eq!(
            shown(json!({"ipFamily": "dual"})),
            "192.168.1.0/24,fd00:192:168:1::/64 10.244.0.0/16,fd00:10:244::/56 10.96.0.0/12,fd00:10:96::/112"
        );
        assert_eq!(
            shown(json!({"serviceSubnet": "fd00:1::/112, 10.1.0.0/16"})),
            "fd00:192:168:1::/64,192.168.1.0/24 fd00:10:244::/56,10.244.0.0/16 fd00:1::/112,10.1.0.0/16"
        );
        // As it is stored, it is read back the same.
        let dual = read(json!({"ipFamily": "dual"}));
        assert_eq!(read(serde_json::to_value(&dual).unwrap()), dual);
        assert_eq!(read(json!({"ipFamily": "ipv4"})), Networking::default());
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (networking, reason) in [
            (
                json!({"ipFamily": "dual", "podSubnet": "10.244.0.0/16"}),
                "networking.podSubnet: 10.244.0.0/16 does not fit: ipFamily dual takes one subnet of each family, with a \
                 comma between them",
            ),
            (
                json!({"podSubnet": "10.244.0.0/16,fd00::/56", "serviceSubnet": "10.96.0.0/12"}),
                "networking.serviceSubnet: 10.96.0.0/12 is IPv4, and podSubnet 10.244.0.0/16,fd00::/56 is IPv4 and IPv6: \
                 all subnets of a lab have the same families in the same order",
            ),
            (
                json!({"podSubnet": "10.244.0.0/16,fd00::/56", "serviceSubnet": "fd00:1::/112,10.96.0.0/12"}),
                "networking.serviceSubnet: fd00:1::/112,10.96.0.0/12 is IPv6 and IPv4, and podSubnet \
                 10.244.0.0/16,fd00::/56 is IPv4 and IPv6: all subnets of a lab have the same families in the same order",
            ),
            (
                json!({"podSubnet": "fd00::/65"}),
                "networking.podSubnet: fd00::/65 is smaller than a /24, or with IPv6 a /64, and each node needs one",
            ),
        ] {
            assert_eq!(read(networking).check().unwrap_err().to_string(), reason);
        }
        for (subnets, reason) in [
            ("10.0.0.0/8,10.1.0.0/16", "more than one subnet of a family"),
            ("10.0.0.0/8,fd00::/8,fe00::/8", "more than one subnet of a family"),
            ("ten", "\"ten\" is no subnet"),
            ("10.0.0.0/8,", "\"\" is no subnet"),
        ] {
            let error = subnets.parse::<Subnets>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
