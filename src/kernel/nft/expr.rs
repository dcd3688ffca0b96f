//! The expressions that rules are made of, as plain values. `encode.rs` writes them for the kernel and `walk.rs` runs
//! them; both read the same values.
//!
//! An expression loads something into registers, compares or changes what is there, or decides. The kernel has 16
//! registers of four bytes; a longer value takes several in a row, which is also how a concatenated key is built.

use super::op::{Chain, Set};
use super::value::{Family, Value};

/// One of the 16 registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reg(pub u8);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// Bytes of the packet.
    Payload { header: Header, offset: u32, len: u32, to: Reg },
    /// `meta l4proto`: the number of the transport protocol.
    Transport { to: Reg },
    /// `meta mark`.
    Mark { to: Reg },
    /// `meta mark set`.
    SetMark { from: Reg },
    /// `ct state` or `ct status`, a set of bits.
    Conntrack { key: ConntrackKey, to: Reg },
    /// `fib daddr type`: 2 is an address of this machine.
    DestinationType { to: Reg },
    /// `fib saddr type`.
    SourceType { to: Reg },
    /// `numgen random mod N`.
    Random { modulus: u32, to: Reg },
    /// `register = (register & mask) ^ xor`.
    Bitwise { register: Reg, mask: Value, xor: Value },
    /// Goes on with the rule when the register equals (or does not equal) the value's bytes.
    Compare { register: Reg, op: Comparison, with: Value, len: u32 },
    /// Goes on with the rule when the set has the key that begins at `key`; a map's value goes `to` where it says.
    Lookup { set: Set, key: Reg, to: Into },
    /// `update @map`: puts what begins at `data` for the key that begins at `key`, or when there is the key leaves its
    /// data as it is, and lets it last for so long from now. Goes on with the rule unless the map is full.
    Remember { map: Set, key: Reg, data: Reg, seconds: u32 },
    /// `delete @map`. The kernel wants to be told data here, too.
    Forget { map: Set, key: Reg, data: Reg },
    /// Decides what happens next.
    Verdict(Verdict),
    /// Translates the destination to the address and port in these registers.
    Dnat { address: Reg, port: Reg },
    /// `masquerade fully-random`: translates the source to the address of the link it leaves by.
    Masquerade,
    /// `reject`: ends with an answer that a client sees as "connection refused".
    Reject(Answer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// ICMP, of which the kernel sends a client six at once and then one a second.
    PortUnreachable,
    /// For TCP only.
    TcpReset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    Network,
    Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConntrackKey {
    State,
    Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
}

/// What a lookup does with what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// A set: there is nothing but the key.
    Nothing,
    /// A map to values: loads it.
    Register(Reg),
    /// A map to verdicts: follows it.
    Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Drop,
    Return,
    Jump(Chain),
    Goto(Chain),
}

/// The bit of `ct state` for the first packet of a connection.
pub const STATE_NEW: u32 = 8;
/// The bit of `ct status` for a translated destination.
pub const STATUS_DNAT: u32 = 0x20;
/// The value of `fib daddr type` and `fib saddr type` for an address of this machine.
pub const TYPE_LOCAL: u32 = 2;

/// `ip saddr` or `ip6 saddr`.
pub fn source(family: Family, to: Reg) -> Expr {
    let offset = match family {
        Family::Ip => 12,
        Family::Ip6 => 8,
    };
    Expr::Payload { header: Header::Network, offset, len: family.address_len(), to }
}

/// `ip daddr` or `ip6 daddr`.
pub fn destination(family: Family, to: Reg) -> Expr {
    let offset = match family {
        Family::Ip => 16,
        Family::Ip6 => 24,
    };
    Expr::Payload { header: Header::Network, offset, len: family.address_len(), to }
}

/// `th dport`: at the same place in TCP, UDP and SCTP.
pub fn destination_port(to: Reg) -> Expr {
    Expr::Payload { header: Header::Transport, offset: 2, len: 2, to }
}
