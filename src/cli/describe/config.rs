//! `describe configmap` and `secret`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::page::{Page, text};

pub fn config_map(page: &mut Page, object: &Value) {
    page.name_and_namespace(object);
    page.labels(0, object);
    page.annotations(0, object);
    page.blank();
    page.line(0, "Data");
    page.line(0, "====");
    for (key, value) in object.get("data").and_then(Value::as_object).into_iter().flatten() {
        page.line(0, &format!("{key}:"));
        page.line(0, "----");
        page.verbatim(value.as_str().unwrap_or_default());
        page.blank();
    }
    page.blank();
    page.line(0, "BinaryData");
    page.line(0, "====");
    for (key, value) in object.get("binaryData").and_then(Value::as_object).into_iter().flatten() {
        page.line(0, &format!("{key}: {} bytes", decoded_length(value)));
    }
    page.blank();
}

pub fn secret(page: &mut Page, object: &Value) {
    page.name_and_namespace(object);
    page.labels(0, object);
    page.annotations(0, object);
    page.blank();
    page.field(0, "Type", text(object, "/type"));
    page.blank();
    page.line(0, "Data");
    page.line(0, "====");
    for (key, value) in object.get("data").and_then(Value::as_object).into_iter().flatten() {
        page.line(0, &format!("{key}:\t{} bytes", decoded_length(value)));
    }
}

fn decoded_length(value: &Value) -> usize {
    STANDARD.decode(value.as_str().unwrap_or_default()).map_or(0, |bytes| bytes.len())
}
