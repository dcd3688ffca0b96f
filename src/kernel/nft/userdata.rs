//! What libnftables stores beside the ruleset so that `nft list` shows it as it was written: comments, and the types
//! of keys. The kernel keeps these bytes and never looks at them.
//!
//! They are type-length-value triples with one byte each for type and length; the numbers below are libnftables'.

use super::op::{DataSpec, Field, Set};
use super::value::Family;

/// `nft` reads comments of at most 128 bytes, the zero at the end included.
const COMMENT: usize = 127;

/// The user data of a table, chain, rule or element: a comment.
pub fn comment(out: &mut Vec<u8>, comment: &str) {
    text(out, 0, comment);
}

/// The user data of a set: byte orders, the expressions that its key and data are made of, and a comment.
pub fn set(out: &mut Vec<u8>, family: Family, set: Set) {
    const KEY_BYTE_ORDER: u8 = 0;
    const DATA_BYTE_ORDER: u8 = 1;
    const KEY_TYPEOF: u8 = 3;
    const DATA_TYPEOF: u8 = 4;
    const SET_COMMENT: u8 = 7;
    const MIXED: u32 = 0;
    const NETWORK: u32 = 2;

    number(out, KEY_BYTE_ORDER, if set.key().len() == 1 { NETWORK } else { MIXED });
    if set.data() != DataSpec::None {
        number(out, DATA_BYTE_ORDER, MIXED);
    }
    // A key type can be named by its fields' types alone, except for an index: only `typeof numgen` says that.
    if set.key().contains(&Field::Index) {
        triple(out, KEY_TYPEOF, |out| concatenation(out, family, set.key()));
        if let DataSpec::Fields(fields) = set.data() {
            triple(out, DATA_TYPEOF, |out| concatenation(out, family, fields));
        }
    }
    text(out, SET_COMMENT, set.comment());
}

/// Tags of an expression: what kind it is, and its own data.
const KIND: u8 = 0;
const DATA: u8 = 1;

fn concatenation(out: &mut Vec<u8>, family: Family, fields: &[Field]) {
    const CONCATENATION: u32 = 13;
    number(out, KIND, CONCATENATION);
    triple(out, DATA, |out| {
        for (number, field) in fields.iter().enumerate() {
            triple(out, number as u8, |out| expression(out, family, *field));
        }
    });
}

fn expression(out: &mut Vec<u8>, family: Family, field: Field) {
    const PAYLOAD: u32 = 7;
    const META: u32 = 9;
    const NUMGEN: u32 = 23;
    // Headers, and fields in them.
    const TRANSPORT: u32 = 11;
    const TRANSPORT_DPORT: u32 = 2;
    const IP: u32 = 12;
    const IP_DADDR: u32 = 12;
    const IP6: u32 = 13;
    const IP6_DADDR: u32 = 9;
    const META_L4PROTO: u32 = 16;
    const RANDOM: u32 = 1;
    /// More endpoints than a Service can have; each chain has a modulus of its own.
    const MODULUS: u32 = 65536;

    let (kind, data): (u32, &[u32]) = match field {
        Field::Address => match family {
            Family::Ip => (PAYLOAD, &[IP, IP_DADDR]),
            Family::Ip6 => (PAYLOAD, &[IP6, IP6_DADDR]),
        },
        Field::Port => (PAYLOAD, &[TRANSPORT, TRANSPORT_DPORT]),
        Field::Protocol => (META, &[META_L4PROTO]),
        Field::Index => (NUMGEN, &[RANDOM, MODULUS, 0]),
    };
    number(out, KIND, kind);
    triple(out, DATA, |out| {
        for (tag, value) in data.iter().enumerate() {
            number(out, tag as u8, *value);
        }
    });
}

fn text(out: &mut Vec<u8>, kind: u8, text: &str) {
    let text = text.get(..text.floor_char_boundary(COMMENT)).unwrap_or_default();
    triple(out, kind, |out| {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    });
}

fn number(out: &mut Vec<u8>, kind: u8, number: u32) {
    triple(out, kind, |out| out.extend_from_slice(&number.to_ne_bytes()));
}

fn triple(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[kind, 0]);
    let start = out.len();
    body(out);
    let length = out.len() - start;
    debug_assert!(length <= usize::from(u8::MAX), "user data of {length} bytes");
    if let Some(slot) = out.get_mut(start - 1) {
        *slot = length as u8;
    }
}
