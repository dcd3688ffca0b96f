//! Netlink attributes: written to and read from plain bytes.
//!
//! An attribute is a length (header included), a type, and a value padded to four bytes. Numbers in netlink headers
//! are in the machine's byte order; nftables and conntrack want their own in network order, so each function says
//! which it uses.

use nix::libc;

/// The length of an attribute's header.
const HEADER: usize = 4;
/// A nested attribute of more bytes than this cannot be written: its length has 16 bits.
pub const MAX: usize = u16::MAX as usize;

/// Pads to a multiple of four bytes.
pub fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Appends an attribute whose value is `value`.
pub fn bytes(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    wrap(out, kind, |out| out.extend_from_slice(value));
}

/// Appends a text with the zero byte that the kernel expects at its end.
pub fn string(out: &mut Vec<u8>, kind: u16, value: &str) {
    wrap(out, kind, |out| {
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    });
}

/// Appends a number in network byte order.
pub fn be32(out: &mut Vec<u8>, kind: u16, value: u32) {
    bytes(out, kind, &value.to_be_bytes());
}

/// Appends an attribute that is made of the attributes that `body` writes. They must not come to more than [`MAX`].
pub fn nest(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    wrap(out, kind | libc::NLA_F_NESTED as u16, body);
}

/// Appends an attribute whose value `body` writes.
pub fn wrap(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&kind.to_ne_bytes());
    body(out);
    let length = out.len() - start;
    debug_assert!(length <= MAX, "an attribute of {length} bytes");
    if let Some(slot) = out.get_mut(start..start + 2) {
        slot.copy_from_slice(&(length as u16).to_ne_bytes());
    }
    pad(out);
}

/// The attributes in `bytes`, as type (without flags) and value. It ends at the first that is malformed.
pub fn each(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, after) = u16_ne(rest)?;
        let (kind, _) = u16_ne(after)?;
        let length = usize::from(length);
        let value = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & libc::NLA_TYPE_MASK as u16, value))
    })
}

/// The value of the first attribute of type `kind` in `bytes`.
pub fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    each(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A value as text, without the zero bytes at its end.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_string()
}

/// A number in the machine's byte order and the bytes after it.
pub fn u32_ne(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (value, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_ne_bytes(*value), rest))
}

/// A number in the machine's byte order and the bytes after it.
pub fn u16_ne(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (value, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_ne_bytes(*value), rest))
}
