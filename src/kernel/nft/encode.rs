//! Operations as the kernel reads them: nf_tables messages over netlink, between a batch's begin and end.

use nix::libc;

use super::expr::{Answer, Comparison, ConntrackKey, Expr, Header, Into, Reg, Verdict};
use super::op::{ChainSpec, Data, DataSpec, Element, Field, Kind, Op, Rule, Set, TABLE};
use super::userdata;
use super::value::Family;
use crate::kernel::netlink::{ACK, Batch, attr};

/// Elements in one message. With the longest keys and comments that is 50 KiB; the kernel takes 64.
const ELEMENTS: usize = 200;

/// How many clients are remembered, each for each port; what the kernel takes without being told.
const CLIENTS: u32 = 65535;

const CREATE: u16 = libc::NLM_F_CREATE as u16;
const EXCLUSIVE: u16 = libc::NLM_F_EXCL as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;

/// A batch, and which operation each of its messages came from.
pub struct Encoded {
    pub batch: Batch,
    sources: Vec<usize>,
}

impl Encoded {
    /// The operation that message `index` of the batch came from; `None` for the batch as a whole.
    pub fn source<'a, 'b>(&self, ops: &'b [Op<'a>], index: usize) -> Option<&'b Op<'a>> {
        ops.get(*self.sources.get(index)?)
    }
}

/// All of `ops` as one transaction.
pub fn transaction(ops: &[Op]) -> Encoded {
    let mut messages = Messages { batch: Batch::new(), sources: Vec::new(), source: usize::MAX };
    messages.boundary(libc::NFNL_MSG_BATCH_BEGIN);
    for (source, op) in ops.iter().enumerate() {
        messages.source = source;
        messages.op(op);
    }
    messages.source = usize::MAX;
    messages.boundary(libc::NFNL_MSG_BATCH_END);
    Encoded { batch: messages.batch, sources: messages.sources }
}

struct Messages {
    batch: Batch,
    sources: Vec<usize>,
    source: usize,
}

impl Messages {
    /// The begin or end of a batch; it names the subsystem that the batch is for.
    fn boundary(&mut self, kind: libc::c_int) {
        self.batch.message(kind as u16, 0, |out| {
            out.extend_from_slice(&[libc::AF_UNSPEC as u8, 0]);
            out.extend_from_slice(&(libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes());
        });
        self.sources.push(self.source);
    }

    fn message(&mut self, kind: libc::c_int, flags: u16, family: Family, body: impl FnOnce(&mut Vec<u8>)) {
        let kind = ((libc::NFNL_SUBSYS_NFTABLES << 8) | kind) as u16;
        // Acknowledged, so that silence can be told from success. One message with many elements is one answer.
        self.batch.message(kind, flags | ACK, |out| {
            let family = match family {
                Family::Ip => libc::AF_INET,
                Family::Ip6 => libc::AF_INET6,
            };
            out.extend_from_slice(&[family as u8, 0, 0, 0]);
            attr::string(out, 1, TABLE);
            body(out);
        });
        self.sources.push(self.source);
    }

    fn op(&mut self, op: &Op) {
        match op {
            Op::AddTable(family) => self.message(libc::NFT_MSG_NEWTABLE, CREATE, *family, |out| {
                attr::be32(out, NFTA_TABLE_FLAGS, 0);
                comment(out, NFTA_TABLE_USERDATA, "Services of an nslab node; made anew on every start");
            }),
            Op::DeleteTable(family) => self.message(libc::NFT_MSG_DELTABLE, 0, *family, |_| {}),
            Op::AddChain(family, spec) => {
                self.message(libc::NFT_MSG_NEWCHAIN, CREATE, *family, |out| chain(out, spec));
            }
            Op::AddRule(family, spec) => {
                self.message(libc::NFT_MSG_NEWRULE, CREATE | APPEND, *family, |out| rule(out, *family, spec));
            }
            Op::AddSet(family, spec) => {
                self.message(libc::NFT_MSG_NEWSET, CREATE, *family, |out| set(out, *family, *spec));
            }
            Op::AddElements(family, set, elements) => {
                for some in elements.chunks(ELEMENTS) {
                    self.message(libc::NFT_MSG_NEWSETELEM, CREATE | EXCLUSIVE, *family, |out| {
                        attr::string(out, NFTA_SET_ELEM_LIST_SET, set.name());
                        attr::nest(out, NFTA_SET_ELEM_LIST_ELEMENTS, |out| some.iter().for_each(|e| element(out, e)));
                    });
                }
            }
            Op::DeleteElements(family, set, keys) => {
                for some in keys.chunks(ELEMENTS) {
                    self.message(libc::NFT_MSG_DELSETELEM, 0, *family, |out| {
                        attr::string(out, NFTA_SET_ELEM_LIST_SET, set.name());
                        attr::nest(out, NFTA_SET_ELEM_LIST_ELEMENTS, |out| {
                            for key in some {
                                attr::nest(out, NFTA_LIST_ELEM, |out| value(out, NFTA_SET_ELEM_KEY, key.bytes()));
                            }
                        });
                    });
                }
            }
        }
    }
}

fn chain(out: &mut Vec<u8>, chain: &ChainSpec) {
    attr::string(out, NFTA_CHAIN_NAME, &chain.name.name());
    if let Some(entry) = chain.entry {
        attr::nest(out, NFTA_CHAIN_HOOK, |out| {
            attr::be32(out, NFTA_HOOK_HOOKNUM, entry.hook as u32);
            attr::be32(out, NFTA_HOOK_PRIORITY, entry.priority as u32);
        });
        attr::be32(out, NFTA_CHAIN_POLICY, libc::NF_ACCEPT as u32);
        let kind = match entry.kind {
            Kind::Filter => "filter",
            Kind::Nat => "nat",
        };
        attr::string(out, NFTA_CHAIN_TYPE, kind);
    }
    comment(out, NFTA_CHAIN_USERDATA, &chain.comment);
}

fn rule(out: &mut Vec<u8>, family: Family, rule: &Rule) {
    attr::string(out, NFTA_RULE_CHAIN, &rule.chain.name());
    attr::nest(out, NFTA_RULE_EXPRESSIONS, |out| {
        for each in &rule.exprs {
            expr(out, family, each);
        }
    });
    comment(out, NFTA_RULE_USERDATA, rule.comment);
}

fn set(out: &mut Vec<u8>, family: Family, set: Set) {
    const MAP: u32 = 8;
    const TIMEOUT: u32 = 16;
    const DYNAMIC: u32 = 32;
    const TYPE_VERDICT: u32 = 0xffff_ff00;
    let key = set.key();
    attr::string(out, NFTA_SET_NAME, set.name());
    let map = if set.data() == DataSpec::None { 0 } else { MAP };
    attr::be32(out, NFTA_SET_FLAGS, if set.is_dynamic() { map | TIMEOUT | DYNAMIC } else { map });
    attr::be32(out, NFTA_SET_KEY_TYPE, type_of(family, key));
    attr::be32(out, NFTA_SET_KEY_LEN, length_of(family, key));
    match set.data() {
        DataSpec::None => {}
        DataSpec::Verdict => {
            attr::be32(out, NFTA_SET_DATA_TYPE, TYPE_VERDICT);
            attr::be32(out, NFTA_SET_DATA_LEN, 0);
        }
        DataSpec::Fields(fields) => {
            attr::be32(out, NFTA_SET_DATA_TYPE, type_of(family, fields));
            attr::be32(out, NFTA_SET_DATA_LEN, length_of(family, fields));
        }
    }
    if set.is_dynamic() {
        attr::nest(out, NFTA_SET_DESC, |out| attr::be32(out, NFTA_SET_DESC_SIZE, CLIENTS));
    }
    // Only sets without a name are found by this number, but the kernel wants one.
    attr::be32(out, NFTA_SET_ID, set as u32 + 1);
    let mut data = Vec::new();
    userdata::set(&mut data, family, set);
    attr::bytes(out, NFTA_SET_USERDATA, &data);
}

/// libnftables' number for a type; a concatenation has six bits for each of its fields.
fn type_of(family: Family, fields: &[Field]) -> u32 {
    let number = |field: &Field| match (field, family) {
        (Field::Index, _) => 4,
        (Field::Address, Family::Ip) => 7,
        (Field::Address, Family::Ip6) => 8,
        (Field::Protocol, _) => 12,
        (Field::Port, _) => 13,
    };
    fields.iter().fold(0, |all, field| (all << 6) | number(field))
}

fn length_of(family: Family, fields: &[Field]) -> u32 {
    let length = |field: &Field| match field {
        Field::Address => family.address_len(),
        Field::Protocol | Field::Port | Field::Index => 4,
    };
    fields.iter().map(length).sum()
}

fn element(out: &mut Vec<u8>, element: &Element) {
    attr::nest(out, NFTA_LIST_ELEM, |out| {
        value(out, NFTA_SET_ELEM_KEY, element.key.bytes());
        match element.data {
            Data::None => {}
            Data::Verdict(decided) => attr::nest(out, NFTA_SET_ELEM_DATA, |out| verdict(out, decided)),
            Data::Value(data) => value(out, NFTA_SET_ELEM_DATA, data.bytes()),
        }
        comment(out, NFTA_SET_ELEM_USERDATA, element.comment);
    });
}

fn comment(out: &mut Vec<u8>, kind: u16, comment: &str) {
    if !comment.is_empty() {
        attr::wrap(out, kind, |out| userdata::comment(out, comment));
    }
}

fn value(out: &mut Vec<u8>, kind: u16, bytes: &[u8]) {
    attr::nest(out, kind, |out| attr::bytes(out, NFTA_DATA_VALUE, bytes));
}

fn verdict(out: &mut Vec<u8>, verdict: Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (libc::NF_DROP, None),
        Verdict::Return => (libc::NFT_RETURN, None),
        Verdict::Jump(chain) => (libc::NFT_JUMP, Some(chain)),
        Verdict::Goto(chain) => (libc::NFT_GOTO, Some(chain)),
    };
    attr::nest(out, NFTA_DATA_VERDICT, |out| {
        attr::be32(out, NFTA_VERDICT_CODE, code as u32);
        if let Some(chain) = chain {
            attr::string(out, NFTA_VERDICT_CHAIN, &chain.name());
        }
    });
}

/// Registers of four bytes are numbered from 8; the lower numbers are verdict and 16-byte registers.
fn register(out: &mut Vec<u8>, kind: u16, register: Reg) {
    attr::be32(out, kind, u32::from(register.0) + 8);
}

fn expr(out: &mut Vec<u8>, family: Family, expr: &Expr) {
    match *expr {
        Expr::Payload { header, offset, len, to } => named(out, "payload", |out| {
            register(out, 1, to);
            let base = match header {
                Header::Network => 1,
                Header::Transport => 2,
            };
            attr::be32(out, 2, base);
            attr::be32(out, 3, offset);
            attr::be32(out, 4, len);
        }),
        Expr::Transport { to } => meta(out, libc::NFT_META_L4PROTO, NFTA_META_DREG, to),
        Expr::Mark { to } => meta(out, libc::NFT_META_MARK, NFTA_META_DREG, to),
        Expr::SetMark { from } => meta(out, libc::NFT_META_MARK, NFTA_META_SREG, from),
        Expr::Conntrack { key, to } => named(out, "ct", |out| {
            register(out, 1, to);
            let key = match key {
                ConntrackKey::State => libc::NFT_CT_STATE,
                ConntrackKey::Status => libc::NFT_CT_STATUS,
            };
            attr::be32(out, 2, key as u32);
        }),
        Expr::SourceType { to } => address_type(out, 1, to),
        Expr::DestinationType { to } => address_type(out, 2, to),
        Expr::Random { modulus, to } => named(out, "numgen", |out| {
            register(out, 1, to);
            attr::be32(out, 2, modulus);
            attr::be32(out, 3, libc::NFT_NG_RANDOM as u32);
            attr::be32(out, 4, 0);
        }),
        Expr::Bitwise { register: both, mask, xor } => named(out, "bitwise", |out| {
            register(out, 1, both);
            register(out, 2, both);
            attr::be32(out, 3, mask.bytes().len() as u32);
            value(out, 4, mask.bytes());
            value(out, 5, xor.bytes());
        }),
        Expr::Compare { register: left, op, with, len } => named(out, "cmp", |out| {
            register(out, 1, left);
            let op = match op {
                Comparison::Equal => libc::NFT_CMP_EQ,
                Comparison::NotEqual => libc::NFT_CMP_NEQ,
            };
            attr::be32(out, 2, op as u32);
            value(out, 3, with.bytes().get(..len as usize).unwrap_or_default());
        }),
        Expr::Lookup { set, key, to } => named(out, "lookup", |out| {
            attr::string(out, 1, set.name());
            register(out, 2, key);
            match to {
                Into::Nothing => {}
                Into::Register(to) => register(out, 3, to),
                Into::Verdict => attr::be32(out, 3, libc::NFT_REG_VERDICT as u32),
            }
        }),
        Expr::Remember { map, key, data, seconds } => named(out, "dynset", |out| {
            const UPDATE: u32 = 1;
            dynamic(out, UPDATE, map, key, data);
            attr::bytes(out, 6, &(u64::from(seconds) * 1000).to_be_bytes());
        }),
        Expr::Forget { map, key, data } => named(out, "dynset", |out| {
            const DELETE: u32 = 2;
            dynamic(out, DELETE, map, key, data);
        }),
        Expr::Verdict(decided) => named(out, "immediate", |out| {
            attr::be32(out, 1, libc::NFT_REG_VERDICT as u32);
            attr::nest(out, 2, |out| verdict(out, decided));
        }),
        Expr::Dnat { address, port } => named(out, "nat", |out| {
            attr::be32(out, 1, libc::NFT_NAT_DNAT as u32);
            let family = match family {
                Family::Ip => libc::NFPROTO_IPV4,
                Family::Ip6 => libc::NFPROTO_IPV6,
            };
            attr::be32(out, 2, family as u32);
            register(out, 3, address);
            register(out, 5, port);
        }),
        Expr::Masquerade => named(out, "masq", |out| {
            const FULLY_RANDOM: u32 = 1 << 4;
            attr::be32(out, 1, FULLY_RANDOM);
        }),
        Expr::Reject(answer) => named(out, "reject", |out| {
            const ICMP_UNREACHABLE: u32 = 0;
            const TCP_RESET: u32 = 1;
            match (answer, family) {
                (Answer::TcpReset, _) => attr::be32(out, 1, TCP_RESET),
                (Answer::PortUnreachable, Family::Ip) => {
                    attr::be32(out, 1, ICMP_UNREACHABLE);
                    attr::bytes(out, 2, &[3]);
                }
                (Answer::PortUnreachable, Family::Ip6) => {
                    attr::be32(out, 1, ICMP_UNREACHABLE);
                    attr::bytes(out, 2, &[4]);
                }
            }
        }),
    }
}

fn dynamic(out: &mut Vec<u8>, op: u32, map: Set, key: Reg, data: Reg) {
    attr::string(out, 1, map.name());
    attr::be32(out, 3, op);
    register(out, 4, key);
    register(out, 5, data);
}

/// `which` is a bit: 1 for the source, 2 for the destination.
fn address_type(out: &mut Vec<u8>, which: u32, to: Reg) {
    const ADDRESS_TYPE: u32 = 3;
    named(out, "fib", |out| {
        register(out, 1, to);
        attr::be32(out, 2, ADDRESS_TYPE);
        attr::be32(out, 3, which);
    });
}

fn meta(out: &mut Vec<u8>, key: libc::c_int, direction: u16, with: Reg) {
    named(out, "meta", |out| {
        attr::be32(out, 2, key as u32);
        register(out, direction, with);
    });
}

fn named(out: &mut Vec<u8>, name: &str, body: impl FnOnce(&mut Vec<u8>)) {
    attr::nest(out, NFTA_LIST_ELEM, |out| {
        attr::string(out, NFTA_EXPR_NAME, name);
        attr::nest(out, NFTA_EXPR_DATA, body);
    });
}

// Attribute numbers of <linux/netfilter/nf_tables.h>. An expression's own are plain numbers where it is written.
const NFTA_TABLE_FLAGS: u16 = 2;
const NFTA_TABLE_USERDATA: u16 = 6;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_CHAIN_USERDATA: u16 = 12;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_DESC_SIZE: u16 = 1;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_SREG: u16 = 3;

#[cfg(test)]
mod tests;
