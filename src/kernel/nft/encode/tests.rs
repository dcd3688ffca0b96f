//! The expected bytes were recorded from `nft` 1.0.6 where it says so, and otherwise put together by hand from the
//! kernel's header.

use super::*;
use crate::kernel::nft::expr;
use crate::kernel::nft::op::Chain;
use crate::kernel::nft::value::Value;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn encoded(family: Family, one: Expr) -> Vec<u8> {
    let mut out = Vec::new();
    expr(&mut out, family, &one);
    out
}

fn http() -> Value {
    Value::EMPTY.address([10, 96, 0, 1].into()).protocol(crate::desired::Protocol::Tcp).port(80)
}

/// As `nft` sends it: `10.96.0.1 . tcp . 80 . 0 comment "default/web:http" : 10.244.0.1 . 8080`
#[cfg(target_endian = "little")]
#[test]
fn map_element_as_nft_sends_it() {
    let mut out = Vec::new();
    let data = Value::EMPTY.address([10, 244, 0, 1].into()).port(8080);
    element(&mut out, &Element { key: http().native(0), data: Data::Value(data), comment: "default/web:http" });
    let recorded = "44000180 18000180 14000100 0a600001 06000000 00500000 00000000
                    10000280 0c000100 0af40001 1f900000
                    17000600 0011 64656661756c742f7765623a6874747000 00";
    assert_eq!(out, hex(recorded));
}

/// As `nft` sends it: the expressions of `dnat ip to ... map @service-endpoints`, up to the names of registers: nft
/// writes the first as a register of 16 bytes (1), we write all as registers of 4 (8 and up).
#[cfg(target_endian = "little")]
#[test]
fn balancing_expressions() {
    let random = encoded(Family::Ip, Expr::Random { modulus: 3, to: Reg(3) });
    let recorded = "34000180 0b000100 6e756d67656e0000 24000280
                    08000100 0000000b 08000200 00000003 08000300 00000001 08000400 00000000";
    assert_eq!(random, hex(recorded));

    let dnat = encoded(Family::Ip, Expr::Dnat { address: Reg(0), port: Reg(1) });
    let recorded = "30000180 08000100 6e617400 24000280
                    08000100 00000001 08000200 00000002 08000300 00000008 08000500 00000009";
    assert_eq!(dnat, hex(recorded));
    let dnat = encoded(Family::Ip6, Expr::Dnat { address: Reg(0), port: Reg(4) });
    let by_hand = "30000180 08000100 6e617400 24000280
                   08000100 00000001 08000200 0000000a 08000300 00000008 08000500 0000000c";
    assert_eq!(dnat, hex(by_hand));

    let port = encoded(Family::Ip, expr::destination_port(Reg(2)));
    let recorded = "34000180 0c000100 7061796c6f616400 24000280
                    08000100 0000000a 08000200 00000002 08000300 00000002 08000400 00000002";
    assert_eq!(port, hex(recorded));
}

#[cfg(target_endian = "little")]
#[test]
fn lookups_say_where_the_result_goes() {
    let lookup = |set, to| encoded(Family::Ip, Expr::Lookup { set, key: Reg(0), to });
    let name = "0b000100 6c6f6f6b75700000";
    // The kernel tells a set from a map by whether there is a destination at all.
    let set = format!("28000180 {name} 18000280 0c000100 6861697270696e00 08000200 00000008");
    assert_eq!(lookup(Set::Hairpin, Into::Nothing), hex(&set));
    let map = format!("34000180 {name} 24000280 10000100 736572766963652d69707300 08000200 00000008 08000300 00000000");
    assert_eq!(lookup(Set::ServiceIps, Into::Verdict), hex(&map));
    assert_ne!(lookup(Set::ServiceEndpoints, Into::Register(Reg(0))), lookup(Set::ServiceEndpoints, Into::Verdict));
}

#[cfg(target_endian = "little")]
#[test]
fn rest_of_the_expressions_as_nft_sends_them() {
    let cases = [
        (Expr::Masquerade, "1c000180 09000100 6d61737100000000 0c000280 08000100 00000010"),
        (
            Expr::Reject(Answer::PortUnreachable),
            "24000180 0b000100 72656a6563740000 14000280 08000100 00000000 05000200 03000000",
        ),
        (
            Expr::Verdict(Verdict::Return),
            "30000180 0e000100 696d6d656469617465000000 1c000280 08000100 00000000
             10000280 0c000280 08000100 fffffffb",
        ),
        (
            Expr::Verdict(Verdict::Jump(Chain::Services)),
            "40000180 0e000100 696d6d656469617465000000 2c000280 08000100 00000000
             20000280 1c000280 08000100 fffffffd 0d000200 736572766963657300000000",
        ),
    ];
    for (expr, recorded) in cases {
        assert_eq!(encoded(Family::Ip, expr.clone()), hex(recorded), "{expr:?}");
    }
}

#[cfg(target_endian = "little")]
#[test]
fn comparisons_have_the_length_they_compare() {
    let loopback =
        Expr::Compare { register: Reg(0), op: Comparison::NotEqual, with: Value::EMPTY.field(&[127]), len: 1 };
    let recorded = "2c000180 08000100 636d7000 20000280 08000100 00000008 08000200 00000001
                    0c000380 05000100 7f000000";
    assert_eq!(encoded(Family::Ip, loopback), hex(recorded));
    let bit =
        Expr::Bitwise { register: Reg(0), mask: Value::EMPTY.native(expr::STATUS_DNAT), xor: Value::EMPTY.native(0) };
    let recorded = "44000180 0c000100 6269747769736500 34000280 08000100 00000008 08000200 00000008
                    08000300 00000004 0c000480 08000100 20000000 0c000580 08000100 00000000";
    assert_eq!(encoded(Family::Ip, bit), hex(recorded));
}

/// The types that `nft` derives from a key's fields, as `nft` sends them.
#[test]
fn type_numbers() {
    use Field::{Address, Index, Port, Protocol};
    assert_eq!(type_of(Family::Ip, &[Address, Protocol, Port]), 0x730d);
    assert_eq!(type_of(Family::Ip, &[Address, Protocol, Port, Index]), 0x1c_c344);
    assert_eq!(type_of(Family::Ip6, &[Address, Protocol, Port, Index]), 0x20_c344);
    assert_eq!(type_of(Family::Ip6, &[Address, Port]), 0x20d);
    assert_eq!(length_of(Family::Ip6, &[Address, Protocol, Port, Index]), 28);
}

/// As `nft` sends it for `typeof ip6 daddr . meta l4proto . th dport . numgen random mod 65536 : ip6 daddr . th dport`,
/// which is the only way to say a type that has no name.
#[cfg(target_endian = "little")]
#[test]
fn set_user_data_as_nft_sends_it() {
    let mut out = Vec::new();
    userdata::set(&mut out, Family::Ip6, Set::ServiceEndpoints);
    let recorded = "0004 00000000 0104 00000000
        0360 0004 0d000000 0158
            0014 0004 07000000 010c 0004 0d000000 0104 09000000
            010e 0004 09000000 0106 0004 10000000
            0214 0004 07000000 010c 0004 0b000000 0104 02000000
            031a 0004 17000000 0112 0004 01000000 0104 00000100 0204 00000000
        0434 0004 0d000000 012c
            0014 0004 07000000 010c 0004 0d000000 0104 09000000
            0114 0004 07000000 010c 0004 0b000000 0104 02000000";
    let mut expected = hex(recorded);
    expected.extend_from_slice(&[7, 28]);
    expected.extend_from_slice(b"the endpoints of ClusterIPs\0");
    assert_eq!(out, expected);
}

#[test]
fn longest_elements_fit_one_attribute() {
    let name = "n".repeat(300);
    let address: std::net::IpAddr = "fd00::1".parse().unwrap();
    let key = Value::EMPTY.address(address).protocol(crate::desired::Protocol::Sctp).port(1);
    let elements: Vec<Element> = (0..1000u32)
        .map(|index| {
            let data = Data::Value(Value::EMPTY.address(address).port(1));
            Element { key: key.native(index), data, comment: &name }
        })
        .collect();
    // Too long an attribute is a failed debug assertion in `attr`.
    let encoded = transaction(&[Op::AddElements(Family::Ip6, Set::ServiceEndpoints, elements)]);
    assert_eq!(encoded.batch.len(), 1000 / ELEMENTS + 2);
    // Comments are cut to what nft can read.
    let cut = [b"n".repeat(127), vec![0]].concat();
    assert!(encoded.batch.bytes().windows(cut.len()).any(|window| window == cut));
    assert!(!encoded.batch.bytes().windows(128).any(|window| window == b"n".repeat(128)));
}

#[test]
fn refusals_lead_back_to_their_operation() {
    let keys = (0..450).map(|index| Value::EMPTY.native(index)).collect();
    let ops =
        [Op::AddTable(Family::Ip), Op::DeleteElements(Family::Ip, Set::ClusterIps, keys), Op::DeleteTable(Family::Ip)];
    let encoded = transaction(&ops);
    let sources: Vec<Option<&Op>> = (0..encoded.batch.len()).map(|index| encoded.source(&ops, index)).collect();
    let [first, second, third] = &ops;
    let expected = [None, Some(first), Some(second), Some(second), Some(second), Some(third), None];
    assert_eq!(sources, expected);
}
