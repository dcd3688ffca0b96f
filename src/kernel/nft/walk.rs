//! The first packet of a connection on its way through a node's rules: what the kernel would do with it, computed.
//!
//! It runs the very expressions that the kernel is sent, on registers of bytes as the kernel does, so that a wrong
//! offset, byte order or key length shows here as well.

use std::fmt;
use std::net::IpAddr;

use super::expr::{Comparison, ConntrackKey, Expr, Header, Into, Reg, STATE_NEW, STATUS_DNAT, TYPE_LOCAL, Verdict};
use super::model::{Model, Table};
use super::op::{Chain, Data, Hook, Rule};
use super::value::{Family, Value, protocol_number};
use crate::desired::Protocol;

/// The first packet of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub source: IpAddr,
    pub source_port: u16,
    pub destination: IpAddr,
    pub destination_port: u16,
    pub protocol: Protocol,
    pub from: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It arrives on a link: from a pod, another node or outside.
    Link,
    /// A process of the node itself sends it.
    Node,
}

/// What the node outside of its rules brings into it.
pub struct Surroundings<'a> {
    /// Whether an address is one of the node's own.
    pub is_local: &'a dyn Fn(IpAddr) -> bool,
    /// Picks a number below its argument, as `numgen random mod` does.
    pub choose: &'a mut dyn FnMut(u32) -> u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    pub fate: Fate,
    /// The rules that had an effect, in order.
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on to another address and port; with `masquerade`, from an address of the node.
    Dnat { to: (IpAddr, u16), masquerade: bool },
    /// It goes on to where it was sent.
    Accept { masquerade: bool },
    /// It is refused with an answer.
    Reject,
    /// It disappears.
    Drop,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub hook: Hook,
    pub chain: Chain,
    /// The rule's number in its chain, from 0.
    pub rule: usize,
    pub effect: Effect,
    /// The comment of the rule, or of the element that it found.
    pub comment: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Jump(Chain),
    Goto(Chain),
    Return,
    Mark(u32),
    Dnat(IpAddr, u16),
    Masquerade,
    /// The client is to come back to this endpoint.
    Remember(IpAddr, u16),
    Reject,
    Drop,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Jump(chain) => write!(f, "jump {chain}"),
            Effect::Goto(chain) => write!(f, "goto {chain}"),
            Effect::Return => f.write_str("return"),
            Effect::Mark(mark) => write!(f, "mark {mark:#x}"),
            Effect::Dnat(address, port) if address.is_ipv6() => write!(f, "dnat to [{address}]:{port}"),
            Effect::Dnat(address, port) => write!(f, "dnat to {address}:{port}"),
            Effect::Masquerade => f.write_str("masquerade"),
            Effect::Remember(address, port) => write!(f, "remember {}", std::net::SocketAddr::new(*address, *port)),
            Effect::Reject => f.write_str("reject"),
            Effect::Drop => f.write_str("drop"),
        }
    }
}

/// Sends `packet` through the rules of a node.
pub fn walk(model: &Model, packet: Packet, surroundings: Surroundings) -> Walk {
    let family = Family::of(&packet.destination);
    let mut run = Run {
        family,
        packet,
        surroundings,
        registers: [0; REGISTERS],
        mark: 0,
        translated: None,
        masquerade: false,
        hook: Hook::Prerouting,
        steps: Vec::new(),
    };
    let stopped = model.tables.get(&family).and_then(|table| run.all(table));
    let fate = stopped.unwrap_or(match run.translated {
        Some(to) => Fate::Dnat { to, masquerade: run.masquerade },
        None => Fate::Accept { masquerade: run.masquerade },
    });
    Walk { fate, steps: run.steps }
}

const REGISTERS: usize = 64;
/// How deep the kernel follows jumps.
const DEPTH: usize = 16;

struct Run<'a> {
    family: Family,
    /// As it is now: a translation changes its destination.
    packet: Packet,
    surroundings: Surroundings<'a>,
    registers: [u8; REGISTERS],
    mark: u32,
    translated: Option<(IpAddr, u16)>,
    masquerade: bool,
    hook: Hook,
    steps: Vec<Step>,
}

/// How a chain or rule ended.
enum End {
    /// At its end or by `return`: its caller goes on.
    Return,
    /// The hook is through with the packet: it was translated.
    Done,
    Stop(Fate),
    Jump(Chain),
    Goto(Chain),
}

impl Run<'_> {
    /// All hooks on the packet's way; what stops it, if anything does.
    fn all(&mut self, table: &Table) -> Option<Fate> {
        let first = match self.packet.from {
            Origin::Link => Hook::Prerouting,
            Origin::Node => Hook::Output,
        };
        if let stopped @ Some(_) = self.enter(table, first) {
            return stopped;
        }
        let local = (self.surroundings.is_local)(self.packet.destination);
        let rest: &[Hook] = match (self.packet.from, local) {
            (Origin::Link, true) => &[Hook::Input],
            (Origin::Link, false) => &[Hook::Forward, Hook::Postrouting],
            (Origin::Node, true) => &[Hook::Postrouting, Hook::Input],
            (Origin::Node, false) => &[Hook::Postrouting],
        };
        rest.iter().find_map(|hook| self.enter(table, *hook))
    }

    fn enter(&mut self, table: &Table, hook: Hook) -> Option<Fate> {
        self.hook = hook;
        let mut here: Vec<(i32, Chain)> = table
            .chains
            .iter()
            .filter_map(|(name, chain)| chain.entry.map(|entry| (entry, *name)))
            .filter(|(entry, _)| entry.hook == hook)
            .map(|(entry, name)| (entry.priority, name))
            .collect();
        here.sort_unstable();
        here.into_iter().find_map(|(_, chain)| match self.chain(table, chain, 0) {
            End::Stop(fate) => Some(fate),
            _ => None,
        })
    }

    fn chain(&mut self, table: &Table, name: Chain, depth: usize) -> End {
        let rules = table.chains.get(&name).map(|chain| chain.rules.as_slice()).unwrap_or_default();
        if depth >= DEPTH {
            return End::Return;
        }
        for (index, rule) in rules.iter().enumerate() {
            match self.rule(table, name, index, rule) {
                None => {}
                Some(End::Return) => return End::Return,
                Some(End::Jump(target)) => match self.chain(table, target, depth + 1) {
                    End::Return => {}
                    end => return end,
                },
                // What comes back from there comes back to our caller.
                Some(End::Goto(target)) => return self.chain(table, target, depth + 1),
                Some(end) => return end,
            }
        }
        End::Return
    }

    /// `None`: the next rule comes.
    fn rule(&mut self, table: &Table, chain: Chain, index: usize, rule: &Rule) -> Option<End> {
        let mut comment = rule.comment.to_string();
        for expr in &rule.exprs {
            let verdict = match expr {
                Expr::Lookup { set, key, to } => {
                    let length = set.key().iter().map(|field| self.length(*field)).sum();
                    let found = table.sets.get(set).and_then(|elements| elements.get(&self.value(*key, length)))?;
                    if !found.comment.is_empty() {
                        comment = found.comment.clone();
                    }
                    match (to, found.data) {
                        (Into::Verdict, Data::Verdict(verdict)) => Some(verdict),
                        (Into::Register(to), Data::Value(value)) => {
                            self.load(*to, value.bytes());
                            None
                        }
                        _ => None,
                    }
                }
                Expr::Verdict(verdict) => Some(*verdict),
                _ => None,
            };
            let mut step = |effect| {
                let comment = comment.clone();
                self.steps.push(Step { hook: self.hook, chain, rule: index, effect, comment });
            };
            if let Some(verdict) = verdict {
                let (effect, end) = match verdict {
                    Verdict::Drop => (Effect::Drop, End::Stop(Fate::Drop)),
                    Verdict::Return => (Effect::Return, End::Return),
                    Verdict::Jump(chain) => (Effect::Jump(chain), End::Jump(chain)),
                    Verdict::Goto(chain) => (Effect::Goto(chain), End::Goto(chain)),
                };
                step(effect);
                return Some(end);
            }
            match expr {
                Expr::Reject(_) => {
                    step(Effect::Reject);
                    return Some(End::Stop(Fate::Reject));
                }
                Expr::Masquerade => {
                    step(Effect::Masquerade);
                    self.masquerade = true;
                    return Some(End::Done);
                }
                Expr::Dnat { address, port } => {
                    let to = self.endpoint(*address, *port)?;
                    self.steps.push(Step {
                        hook: self.hook,
                        chain,
                        rule: index,
                        effect: Effect::Dnat(to.0, to.1),
                        comment,
                    });
                    self.translated = Some(to);
                    (self.packet.destination, self.packet.destination_port) = to;
                    return Some(End::Done);
                }
                Expr::SetMark { from } => {
                    self.mark = self.native(*from);
                    let effect = Effect::Mark(self.mark);
                    self.steps.push(Step { hook: self.hook, chain, rule: index, effect, comment: comment.clone() });
                }
                Expr::Remember { data: Reg(data), .. } => {
                    let port = Reg(data + self.family.address_len() as u8 / 4);
                    let (address, port) = self.endpoint(Reg(*data), port)?;
                    let effect = Effect::Remember(address, port);
                    self.steps.push(Step { hook: self.hook, chain, rule: index, effect, comment: comment.clone() });
                }
                other => self.compute(other)?,
            }
        }
        None
    }

    /// Expressions that load or compare; `None` ends the rule.
    fn compute(&mut self, expr: &Expr) -> Option<()> {
        match *expr {
            Expr::Payload { header, offset, len, to } => {
                let bytes = match header {
                    Header::Network => self.network_header(),
                    Header::Transport => {
                        [self.packet.source_port.to_be_bytes(), self.packet.destination_port.to_be_bytes()].concat()
                    }
                };
                let offset = offset as usize;
                self.load(to, bytes.get(offset..offset + len as usize)?);
            }
            Expr::Transport { to } => self.load(to, &[protocol_number(self.packet.protocol)]),
            Expr::Mark { to } => self.load(to, &self.mark.to_ne_bytes()),
            Expr::Conntrack { key, to } => {
                let bits = match key {
                    ConntrackKey::State => STATE_NEW,
                    ConntrackKey::Status if self.translated.is_some() => STATUS_DNAT,
                    ConntrackKey::Status => 0,
                };
                self.load(to, &bits.to_ne_bytes());
            }
            Expr::SourceType { to } => self.load_type(self.packet.source, to),
            Expr::DestinationType { to } => self.load_type(self.packet.destination, to),
            Expr::Random { modulus, to } => {
                let number = (self.surroundings.choose)(modulus);
                self.load(to, &number.to_ne_bytes());
            }
            Expr::Bitwise { register, mask, xor } => {
                let value = self.value(register, mask.bytes().len());
                let bits = value.bytes().iter().zip(mask.bytes()).zip(xor.bytes());
                let result: Vec<u8> = bits.map(|((value, mask), xor)| (value & mask) ^ xor).collect();
                self.load(register, &result);
            }
            Expr::Compare { register, op, with, len } => {
                let start = usize::from(register.0) * 4;
                let held = self.registers.get(start..start + len as usize)?;
                let equal = held == with.bytes().get(..len as usize)?;
                if equal != (op == Comparison::Equal) {
                    return None;
                }
            }
            // Handled where they are met.
            Expr::Lookup { .. }
            | Expr::Verdict(_)
            | Expr::Dnat { .. }
            | Expr::Masquerade
            | Expr::Reject(_)
            | Expr::Remember { .. }
            | Expr::SetMark { .. } => {}
            // It comes before what is remembered in its place.
            Expr::Forget { .. } => {}
        }
        Some(())
    }

    fn load_type(&mut self, address: IpAddr, to: Reg) {
        const TYPE_UNICAST: u32 = 1;
        let local = (self.surroundings.is_local)(address);
        self.load(to, &if local { TYPE_LOCAL } else { TYPE_UNICAST }.to_ne_bytes());
    }

    /// An IP header of which only the addresses are filled in.
    fn network_header(&self) -> Vec<u8> {
        let before = match self.family {
            Family::Ip => 12,
            Family::Ip6 => 8,
        };
        let mut bytes = vec![0; before];
        for address in [self.packet.source, self.packet.destination] {
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        bytes
    }

    fn length(&self, field: super::op::Field) -> usize {
        match field {
            super::op::Field::Address => self.family.address_len() as usize,
            _ => 4,
        }
    }

    /// Fills registers, the last one up with zero bytes.
    fn load(&mut self, to: Reg, bytes: &[u8]) {
        let start = usize::from(to.0) * 4;
        let padded = bytes.len().next_multiple_of(4);
        if let Some(slot) = self.registers.get_mut(start..start + padded) {
            slot.fill(0);
            for (slot, byte) in slot.iter_mut().zip(bytes) {
                *slot = *byte;
            }
        }
    }

    fn value(&self, from: Reg, length: usize) -> Value {
        let start = usize::from(from.0) * 4;
        Value::EMPTY.field(self.registers.get(start..start + length).unwrap_or_default())
    }

    fn native(&self, from: Reg) -> u32 {
        let bytes = self.value(from, 4).bytes().try_into().unwrap_or_default();
        u32::from_ne_bytes(bytes)
    }

    fn endpoint(&self, address: Reg, port: Reg) -> Option<(IpAddr, u16)> {
        let bytes = self.value(address, self.family.address_len() as usize);
        let address = match self.family {
            Family::Ip => IpAddr::from(<[u8; 4]>::try_from(bytes.bytes()).ok()?),
            Family::Ip6 => IpAddr::from(<[u8; 16]>::try_from(bytes.bytes()).ok()?),
        };
        let start = usize::from(port.0) * 4;
        let port = self.registers.get(start..start + 2)?.try_into().ok()?;
        Some((address, u16::from_be_bytes(port)))
    }
}

#[cfg(test)]
mod tests;
