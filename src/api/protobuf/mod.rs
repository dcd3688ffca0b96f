//! Requests' bodies in Kubernetes' binary encoding, which kubectl chooses for what it makes itself (`kubectl create`).
//! They become the JSON that the same client would have sent; answers are JSON always, which every client accepts.
//!
//! The encoding says neither the names of fields nor which value is a default that nobody wrote: `table.rs` does.

mod table;
mod wire;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::status::ApiError;
use table::{Field, Kind, Shape};
use wire::{Reader, Wire};

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What the encoding begins with.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may stand in messages; no kind of object comes near.
const MAX_DEPTH: usize = 48;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("the body does not begin as Kubernetes' protobuf encoding does")]
    Magic,
    #[error("the body ends in the middle of a message")]
    Short,
    #[error("{0} is not encoded as its type is")]
    Mistyped(&'static str),
    #[error("{0} is no text")]
    Text(&'static str),
    #[error("the messages are nested too deeply")]
    Deep,
    #[error("no kind {kind} in version {api_version} can be read from protobuf here; send JSON")]
    Unknown { api_version: String, kind: String },
}

type Result<T> = std::result::Result<T, ProtobufError>;

/// The JSON of an encoded object.
pub fn to_json(bytes: &[u8]) -> std::result::Result<Vec<u8>, ApiError> {
    let refused = |error: &dyn std::fmt::Display| ApiError::bad_request(format!("decode the body: {error}"));
    let object = decode(bytes).map_err(|error| refused(&error))?;
    serde_json::to_vec(&object).map_err(|error| refused(&error))
}

fn decode(bytes: &[u8]) -> Result<Map<String, Value>> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut type_meta, mut raw) = (&[][..], &[][..]);
    let mut reader = Reader::new(envelope);
    while let Some((number, value)) = reader.next()? {
        match (number, value) {
            (1, Wire::Bytes(bytes)) => type_meta = bytes,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut reader = Reader::new(type_meta);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => api_version = text(value, "apiVersion")?,
            2 => kind = text(value, "kind")?,
            _ => {}
        }
    }
    let Some(fields) = table::object(&api_version, &kind) else {
        return Err(ProtobufError::Unknown { api_version, kind });
    };
    let mut object = message(fields, raw, MAX_DEPTH)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(object)
}

fn message(fields: &[Field], bytes: &[u8], depth: usize) -> Result<Map<String, Value>> {
    let depth = depth.checked_sub(1).ok_or(ProtobufError::Deep)?;
    let mut object = Map::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        // A newer client's field is left out, as a server of that age would.
        let Some(field) = fields.iter().find(|field| field.number == number) else { continue };
        match (field.shape, wire) {
            (Shape::One { pointer }, wire) => {
                let value = single(field, wire, depth)?;
                if !pointer && is_default(&field.kind, &value) {
                    continue;
                }
                match (field.name, value) {
                    (table::INLINE, Value::Object(parts)) => object.extend(parts),
                    (name, value) => drop(object.insert(name.into(), value)),
                }
            }
            // Numbers may come as one packed piece.
            (Shape::List, Wire::Bytes(bytes)) if matches!(field.kind, Kind::Int) => {
                let mut packed = Reader::new(bytes);
                while !packed.is_empty() {
                    let value = single(field, Wire::Number(packed.varint()?), depth)?;
                    push(&mut object, field.name, value);
                }
            }
            (Shape::List, wire) => {
                let value = single(field, wire, depth)?;
                push(&mut object, field.name, value);
            }
            (Shape::Map, Wire::Bytes(bytes)) => {
                let (key, value) = entry(field, bytes, depth)?;
                let map = object.entry(field.name).or_insert_with(|| json!({}));
                if let Value::Object(map) = map {
                    map.insert(key, value);
                }
            }
            (Shape::Map, _) => return Err(ProtobufError::Mistyped(field.name)),
        }
    }
    Ok(object)
}

fn push(object: &mut Map<String, Value>, name: &str, value: Value) {
    // No two fields of a message have one name.
    if let Value::Array(list) = object.entry(name).or_insert_with(|| json!([])) {
        list.push(value);
    }
}

fn entry(field: &Field, bytes: &[u8], depth: usize) -> Result<(String, Value)> {
    let (mut key, mut value) = (String::new(), None);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        match number {
            1 => key = text(wire, field.name)?,
            2 => value = Some(single(field, wire, depth)?),
            _ => {}
        }
    }
    let empty = || single(field, Wire::Bytes(&[]), depth);
    Ok((key, value.map_or_else(empty, Ok)?))
}

/// Was this written by the encoder only, and not by the client? What is no pointer in Kubernetes' types is always
/// encoded, and left out of JSON when it is empty.
fn is_default(kind: &Kind, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Object(_) | Value::Array(_) | Value::Bool(true) => matches!(kind, Kind::Items),
    }
}

/// A value of a field's type, of whatever there may be several.
fn single(field: &Field, wire: Wire<'_>, depth: usize) -> Result<Value> {
    let name = field.name;
    match (&field.kind, wire) {
        (Kind::Bool, Wire::Number(number)) => Ok((number != 0).into()),
        (Kind::Int, Wire::Number(number)) => Ok(number.cast_signed().into()),
        (Kind::Text, wire) => Ok(text(wire, name)?.into()),
        (Kind::Bytes, Wire::Bytes(bytes)) => {
            use base64::Engine as _;
            Ok(base64::engine::general_purpose::STANDARD.encode(bytes).into())
        }
        (Kind::Time { micro }, Wire::Bytes(bytes)) => time(bytes, *micro, name),
        (Kind::Quantity, Wire::Bytes(bytes)) => {
            let mut quantity = Value::Null;
            let mut reader = Reader::new(bytes);
            while let Some((number, wire)) = reader.next()? {
                if number == 1 {
                    quantity = text(wire, name)?.into();
                }
            }
            Ok(quantity)
        }
        (Kind::IntOrText, Wire::Bytes(bytes)) => int_or_text(bytes, name),
        (Kind::Raw, Wire::Bytes(bytes)) => {
            let mut raw = Value::Null;
            let mut reader = Reader::new(bytes);
            while let Some((number, wire)) = reader.next()? {
                if let (1, Wire::Bytes(json)) = (number, wire) {
                    raw = serde_json::from_slice(json).map_err(|_| ProtobufError::Mistyped(name))?;
                }
            }
            Ok(raw)
        }
        (Kind::Items, Wire::Bytes(bytes)) => {
            let mut items = Vec::new();
            let mut reader = Reader::new(bytes);
            while let Some((_, wire)) = reader.next()? {
                items.push(text(wire, name)?.into());
            }
            Ok(Value::Array(items))
        }
        (Kind::Message(inner), Wire::Bytes(bytes)) => {
            let fields = table::message(inner).ok_or(ProtobufError::Mistyped(name))?;
            message(fields, bytes, depth).map(Value::Object)
        }
        _ => Err(ProtobufError::Mistyped(name)),
    }
}

fn text(wire: Wire<'_>, name: &'static str) -> Result<String> {
    let Wire::Bytes(bytes) = wire else { return Err(ProtobufError::Mistyped(name)) };
    std::str::from_utf8(bytes).map(str::to_string).map_err(|_| ProtobufError::Text(name))
}

fn time(bytes: &[u8], micro: bool, name: &'static str) -> Result<Value> {
    let (mut seconds, mut nanos) = (None, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Number(number)) => seconds = Some(number.cast_signed()),
            (2, Wire::Number(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    // Nothing is Go's zero time.
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Mistyped(name))?;
    let time = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Mistyped(name))?;
    let format = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(time.strftime(format).to_string().into())
}

fn int_or_text(bytes: &[u8], name: &'static str) -> Result<Value> {
    let (mut is_text, mut number_value, mut text_value) = (false, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(number)) => number_value = number.cast_signed(),
            (3, wire) => text_value = text(wire, name)?,
            _ => {}
        }
    }
    Ok(if is_text { text_value.into() } else { number_value.into() })
}

#[cfg(test)]
mod tests;
