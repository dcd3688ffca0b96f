//! How changes stand in the store's files: a frame is a few lines of text,
//!
//! ```text
//! 000001a4 5d41402a {"from":41,"to":43,"delete":[]}
//! {"apiVersion":"v1","kind":"Pod",...}
//! {"apiVersion":"v1","kind":"Node",...}
//! ```
//!
//! with the length of its JSON in bytes and the CRC-32 of that, both in hexadecimal, before it. A frame that was only
//! partly written is told from a whole one by its length, its checksum or the missing line break.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::object::{Key, Object};

/// What one commit changed, before the objects that it put.
#[derive(Serialize)]
pub(super) struct ChangeRef<'a> {
    /// The resourceVersion before it, and after it.
    pub from: u64,
    pub to: u64,
    pub delete: Vec<NameRef<'a>>,
}

#[derive(Serialize)]
pub(super) struct NameRef<'a> {
    group: &'a str,
    plural: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> From<&'a Key> for NameRef<'a> {
    fn from(key: &'a Key) -> Self {
        NameRef { group: key.kind.group, plural: key.kind.plural, namespace: &key.namespace, name: &key.name }
    }
}

#[derive(Deserialize)]
pub(super) struct Change {
    pub from: u64,
    pub to: u64,
    pub delete: Vec<Name>,
}

#[derive(Deserialize)]
pub(super) struct Name {
    pub group: String,
    pub plural: String,
    pub namespace: String,
    pub name: String,
}

/// The first frame of a snapshot file; as many changes follow as are needed for `objects` objects.
#[derive(Serialize, Deserialize)]
pub(super) struct SnapshotHeader {
    pub version: u64,
    pub objects: usize,
}

/// `LLLLLLLL CCCCCCCC `
const PREFIX: usize = 18;

/// Appends a frame to `buffer`. Each object is a JSON text of its own, so that it may be nested as deeply here as where
/// it came from.
pub(super) fn write<'a, T: Serialize>(
    buffer: &mut Vec<u8>,
    header: &T,
    objects: impl IntoIterator<Item = &'a Object>,
) -> io::Result<()> {
    let start = buffer.len();
    buffer.extend_from_slice(&[b' '; PREFIX]);
    serde_json::to_writer(&mut *buffer, header)?;
    for object in objects {
        buffer.push(b'\n');
        object.write(buffer)?;
    }
    let json = &buffer[start + PREFIX..];
    let Ok(length) = u32::try_from(json.len()) else {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "one commit is larger than 4 GiB"));
    };
    let prefix = format!("{length:08x} {:08x} ", crc32(json));
    buffer[start..start + PREFIX].copy_from_slice(prefix.as_bytes());
    buffer.push(b'\n');
    Ok(())
}

/// The JSON of the frame that `bytes` begin with, and what follows it; `None` when they begin with no whole frame.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = bytes.split_at_checked(PREFIX)?;
    let number = |text: &[u8]| u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok();
    let (length, checksum) = (number(prefix.get(..8)?)?, number(prefix.get(9..17)?)?);
    let (json, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let rest = rest.strip_prefix(b"\n")?;
    (crc32(json) == checksum).then_some((json, rest))
}

/// The header and the objects of a frame's JSON.
pub(super) fn decode<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<(T, Vec<Map<String, Value>>)> {
    let mut texts = serde_json::Deserializer::from_slice(json);
    let header = T::deserialize(&mut texts)?;
    Ok((header, texts.into_iter().collect::<serde_json::Result<_>>()?))
}

/// CRC-32 as in Ethernet and zip (polynomial 0xEDB88320, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut index = 0;
        while index < 256 {
            let (mut value, mut bit) = (index as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0u32, |crc, byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn frames_follow_each_other() {
        let mut bytes = Vec::new();
        write(&mut bytes, &json!({"a": 1}), []).unwrap();
        write(&mut bytes, &json!("two\nlines"), []).unwrap();
        let (first, rest) = split(&bytes).unwrap();
        assert_eq!(first, br#"{"a":1}"#);
        let (second, rest) = split(rest).unwrap();
        assert_eq!(second, br#""two\nlines""#);
        assert!(rest.is_empty() && split(rest).is_none());
    }

    #[test]
    fn objects_come_back_however_deep_they_are() {
        let mut deep = json!("bottom");
        for _ in 0..126 {
            deep = json!([deep]);
        }
        let object = json!({"kind": "Deep", "down": deep});
        let object: Map<String, Value> = serde_json::from_str(&object.to_string()).unwrap();
        let mut bytes = Vec::new();
        let objects = [Object::from_map(object.clone()), Object::default()];
        write(&mut bytes, &json!(1), &objects).unwrap();
        let (json, _) = split(&bytes).unwrap();
        assert_eq!(decode::<u64>(json).unwrap(), (1, vec![object, Map::new()]));
        assert!(decode::<String>(json).is_err() && decode::<u64>(b"1 {").is_err());
    }

    #[test]
    fn no_part_of_a_frame_and_no_changed_frame_is_taken_for_one() {
        let mut bytes = Vec::new();
        write(&mut bytes, &json!({"name": "web"}), []).unwrap();
        for length in 0..bytes.len() {
            assert!(split(&bytes[..length]).is_none(), "{length} bytes");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                // Blanks between the numbers carry nothing; upper case digits say the same.
                let (same_prefix, same_rest) =
                    (changed[..PREFIX].to_ascii_lowercase(), changed[PREFIX..] == bytes[PREFIX..]);
                let harmless = at == 8 || at == 17 || (same_rest && same_prefix == bytes[..PREFIX]);
                assert!(harmless || split(&changed).is_none(), "bit {bit} of byte {at}");
            }
        }
    }
}
