//! What nftables compares, looks up and stores: a few bytes, in fields of whole 32-bit registers.

use std::fmt;
use std::net::IpAddr;

use crate::desired::Protocol;

/// The address family of a table. Both get the same rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Ip,
    Ip6,
}

impl Family {
    pub const ALL: [Family; 2] = [Family::Ip, Family::Ip6];

    pub fn of(address: &IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::Ip,
            IpAddr::V6(_) => Family::Ip6,
        }
    }

    /// Bytes of an address.
    pub fn address_len(self) -> u32 {
        match self {
            Family::Ip => 4,
            Family::Ip6 => 16,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
        })
    }
}

/// The longest value: a Service's IPv6 address, protocol and port, and an endpoint's address and port.
const LONGEST: usize = 16 + 4 + 4 + 16 + 4;

/// Fields one after another, each padded with zero bytes to a multiple of four: a set's key, a map's data, the operand
/// of a comparison.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    len: u8,
    bytes: [u8; LONGEST],
}

impl Value {
    pub const EMPTY: Value = Value { len: 0, bytes: [0; LONGEST] };

    /// Appends a field. What does not fit is left out; no key that the rules use is longer than [`LONGEST`].
    #[must_use]
    pub fn field(mut self, field: &[u8]) -> Self {
        let start = usize::from(self.len);
        let end = (start + field.len()).next_multiple_of(4);
        debug_assert!(end <= LONGEST, "a value of {end} bytes");
        if let Some(slot) = self.bytes.get_mut(start..start + field.len()) {
            slot.copy_from_slice(field);
            self.len = end.min(LONGEST) as u8;
        }
        self
    }

    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.field(&address.octets()),
            IpAddr::V6(address) => self.field(&address.octets()),
        }
    }

    #[must_use]
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.field(&[protocol_number(protocol)])
    }

    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.field(&port.to_be_bytes())
    }

    /// A number in the machine's byte order, as `numgen`, `meta mark` and `ct state` have it.
    #[must_use]
    pub fn native(self, number: u32) -> Self {
        self.field(&number.to_ne_bytes())
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The number in an IP header.
pub fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}
