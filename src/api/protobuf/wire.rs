//! The bytes of a protobuf message: fields by number.

use super::{ProtobufError, Result};

/// A field's value as it is encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wire<'b> {
    Number(u64),
    Bytes(&'b [u8]),
    /// A fixed number of bytes, which no field of Kubernetes' API has.
    Fixed,
}

pub struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field, unless this was the last.
    pub fn next(&mut self) -> Result<Option<(u64, Wire<'b>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => self.fixed(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Short)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.fixed(4)?,
            _ => return Err(ProtobufError::Short),
        };
        Ok(Some((tag >> 3, value)))
    }

    /// Seven bits a byte, the lowest first; the highest bit says that there is more.
    pub fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte, ..] = *self.take(1)? else { return Err(ProtobufError::Short) };
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ProtobufError::Short)
    }

    fn fixed(&mut self, length: usize) -> Result<Wire<'b>> {
        self.take(length).map(|_| Wire::Fixed)
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Short)?;
        self.rest = rest;
        Ok(taken)
    }
}
