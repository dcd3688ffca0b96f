//! A document of version 2 in protobuf, the one form in which kubectl reads it: the messages of gnostic's
//! `OpenAPIv2.proto`, as far as the documents here have need of them.

use serde_json::{Map, Value};

/// A message's fields, one after the other.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number as u8 & 0x7f) | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(mut self, number: u64, bytes: &[u8]) -> Self {
        self.varint(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(self, number: u64, message: Message) -> Self {
        self.bytes(number, &message.0)
    }

    /// A field of the same name as the JSON's.
    fn text(self, number: u64, fields: &Value, name: &str) -> Self {
        match fields.get(name).and_then(Value::as_str) {
            Some(text) => self.bytes(number, text.as_bytes()),
            None => self,
        }
    }

    fn texts(self, number: u64, fields: &Value, name: &str) -> Self {
        let texts = fields.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        texts.fold(self, |message, text| message.bytes(number, text.as_bytes()))
    }

    fn flag(mut self, number: u64, fields: &Value, name: &str) -> Self {
        if fields.get(name).and_then(Value::as_bool) == Some(true) {
            self.varint(number << 3);
            self.varint(1);
        }
        self
    }

    /// A field that is a message of its own, if the JSON has it.
    fn inner(self, number: u64, fields: &Value, name: &str, encode: fn(&Value) -> Message) -> Self {
        match fields.get(name) {
            Some(value) => self.message(number, encode(value)),
            None => self,
        }
    }

    /// A message for each entry of a map: its name, and its value.
    fn named(self, number: u64, entries: &Value, encode: fn(&Value) -> Message) -> Self {
        entries.as_object().into_iter().flatten().fold(self, |message, (name, value)| {
            message.message(number, Message::default().bytes(1, name.as_bytes()).message(2, encode(value)))
        })
    }

    /// The fields `x-...`; YAML is what a reader takes for them, and JSON is YAML.
    fn extensions(self, number: u64, fields: &Value) -> Self {
        let extensions = fields.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-"));
        self.named(number, &extensions.map(|(n, v)| (n.clone(), v.clone())).collect::<Map<_, _>>().into(), any)
    }
}

/// The bytes of a whole document.
pub fn encode(document: &Value) -> Vec<u8> {
    let message = Message::default()
        .text(1, document, "swagger")
        .inner(2, document, "info", |info| Message::default().text(1, info, "title").text(2, info, "version"))
        .inner(8, document, "paths", |paths| Message::default().named(2, paths, path_item))
        .inner(9, document, "definitions", |definitions| Message::default().named(1, definitions, schema));
    message.0
}

fn any(value: &Value) -> Message {
    Message::default().bytes(2, value.to_string().as_bytes())
}

fn path_item(item: &Value) -> Message {
    let message = Message::default()
        .inner(2, item, "get", operation)
        .inner(3, item, "put", operation)
        .inner(4, item, "post", operation)
        .inner(5, item, "delete", operation)
        .inner(8, item, "patch", operation);
    parameters(message, 9, item)
}

fn operation(operation: &Value) -> Message {
    let message = Message::default().texts(6, operation, "produces").texts(7, operation, "consumes");
    parameters(message, 8, operation)
        .inner(9, operation, "responses", |responses| {
            // Each is one of two messages, of which this is the first.
            Message::default().named(1, responses, |response| Message::default().message(1, self::response(response)))
        })
        .extensions(13, operation)
}

fn response(response: &Value) -> Message {
    Message::default()
        .text(1, response, "description")
        .inner(2, response, "schema", |value| Message::default().message(1, schema(value)))
}

fn parameters(message: Message, number: u64, fields: &Value) -> Message {
    let parameters = fields.get("parameters").and_then(Value::as_array).into_iter().flatten();
    parameters.fold(message, |message, parameter| {
        let place = parameter.get("in").and_then(Value::as_str);
        let encoded = match place {
            Some("body") => Message::default().message(
                1,
                Message::default()
                    .text(2, parameter, "name")
                    .text(3, parameter, "in")
                    .flag(4, parameter, "required")
                    .inner(5, parameter, "schema", schema),
            ),
            Some("path") => {
                let inner = Message::default()
                    .flag(1, parameter, "required")
                    .text(2, parameter, "in")
                    .text(4, parameter, "name")
                    .text(5, parameter, "type")
                    .flag(19, parameter, "uniqueItems");
                Message::default().message(2, Message::default().message(4, inner))
            }
            _ => {
                let inner = Message::default()
                    .text(2, parameter, "in")
                    .text(4, parameter, "name")
                    .text(6, parameter, "type")
                    .flag(20, parameter, "uniqueItems");
                Message::default().message(2, Message::default().message(3, inner))
            }
        };
        message.message(number, Message::default().message(1, encoded))
    })
}

fn schema(schema: &Value) -> Message {
    let values = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let message = Message::default()
        .text(1, schema, "$ref")
        .text(2, schema, "format")
        .text(4, schema, "description")
        .inner(5, schema, "default", any)
        .text(13, schema, "pattern")
        .texts(19, schema, "required");
    values
        .fold(message, |message, value| message.message(20, any(value)))
        .inner(21, schema, "additionalProperties", additional)
        .inner(22, schema, "type", |name| Message::default().bytes(1, name.as_str().unwrap_or("").as_bytes()))
        .inner(23, schema, "items", |items| Message::default().message(1, self::schema(items)))
        .inner(25, schema, "properties", |properties| Message::default().named(1, properties, self::schema))
        .extensions(31, schema)
}

fn additional(value: &Value) -> Message {
    match value {
        Value::Bool(_) => Message::default().flag(2, &serde_json::json!({"any": value}), "any"),
        _ => Message::default().message(1, schema(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_have_gnostics_field_numbers() {
        let document = json!({"swagger": "2.0", "definitions": {"T": {"type": "object",
            "properties": {"a": {"$ref": "#/definitions/T"}}, "x-k": [1]}}});
        let mut expected = vec![0x0a, 3];
        expected.extend_from_slice(b"2.0");
        let reference = [&[0x0a, 15][..], b"#/definitions/T"].concat();
        let property = [&[0x0a, 1, b'a', 0x12, 17][..], &reference].concat();
        let properties = [&[0x0a, property.len() as u8][..], &property].concat();
        let extension = [&[0x0a, 3][..], b"x-k", &[0x12, 5, 0x12, 3], b"[1]"].concat();
        let schema = [
            &[0xb2, 1, 8, 0x0a, 6][..],
            b"object",
            &[0xca, 1, properties.len() as u8],
            &properties,
            &[0xfa, 1, extension.len() as u8],
            &extension,
        ]
        .concat();
        let named = [&[0x0a, 1, b'T', 0x12, schema.len() as u8][..], &schema].concat();
        let definitions = [&[0x0a, named.len() as u8][..], &named].concat();
        expected.extend([0x4a, definitions.len() as u8]);
        expected.extend(definitions);
        assert_eq!(encode(&document), expected);
    }
}
