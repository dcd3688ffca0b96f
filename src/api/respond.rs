//! Answers: JSON, and the three forms a client may want objects in.

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use super::serve::Call;
use super::status::ApiError;
use super::table::{self, Columns, Include};
use crate::object::custom::Definition;
use crate::object::{KindRef, Object};

/// How objects are to be answered.
#[derive(Debug, Clone)]
pub struct Form {
    pub shape: Shape,
    /// What defines their kind, where that is a custom one: it says the columns of a table.
    definition: Option<Arc<Definition>>,
}

/// The form of objects that the `Accept` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Objects,
    /// Rows of cells, as kubectl prints them.
    Table(Include),
    /// Only `metadata`.
    Metadata,
}

impl Form {
    pub fn wanted(call: &Call) -> Result<Self, ApiError> {
        let accept = call.header("accept");
        let shape = Shape::of_accept(accept).ok_or_else(|| {
            ApiError::new(
                StatusCode::NOT_ACCEPTABLE,
                "NotAcceptable",
                "only the following media types are accepted: application/json",
            )
        })?;
        let shape = match shape {
            Shape::Table(_) => Shape::Table(match call.query.get("includeObject") {
                Some("None") => Include::Nothing,
                Some("Object") => Include::Object,
                _ => Include::Metadata,
            }),
            other => other,
        };
        Ok(Form { shape, definition: call.definition.clone() })
    }

    pub fn definition(&self) -> Option<&Definition> {
        self.definition.as_deref()
    }
}

impl Shape {
    /// The first media type that can be served.
    fn of_accept(accept: &str) -> Option<Self> {
        if accept.trim().is_empty() {
            return Some(Shape::Objects);
        }
        accept.split(',').find_map(|media| {
            let mut parts = media.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json" | "application/*" | "*/*")) {
                return None;
            }
            let (mut kind, mut version) = ("", "v1");
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("as", value)) => kind = value,
                    Some(("v", value)) => version = value,
                    _ => {}
                }
            }
            match (kind, version) {
                ("", _) => Some(Shape::Objects),
                ("Table", "v1") => Some(Shape::Table(Include::Metadata)),
                ("PartialObjectMetadata" | "PartialObjectMetadataList", "v1") => Some(Shape::Metadata),
                _ => None,
            }
        })
    }
}

/// What a list says beside its items.
#[derive(Debug, Clone, Default)]
pub struct ListMeta {
    pub resource_version: u64,
    /// Where the next page begins, and how many items are after this one.
    pub next: Option<(String, usize)>,
}

impl ListMeta {
    pub fn to_value(&self) -> Value {
        let mut meta = json!({"resourceVersion": self.resource_version.to_string()});
        if let Some((token, remaining)) = &self.next {
            meta["continue"] = token.as_str().into();
            meta["remainingItemCount"] = (*remaining).into();
        }
        meta
    }
}

pub fn list(form: &Form, kind: KindRef, objects: &[Arc<Object>], meta: &ListMeta) -> Result<Response<Body>, ApiError> {
    let metadata = meta.to_value();
    match form.shape {
        Shape::Table(include) => {
            let columns = Columns::of(kind, form.definition());
            let mut table = table::table(columns, objects.iter().map(Arc::as_ref), include, true);
            table["metadata"] = metadata;
            Ok(json(&table))
        }
        Shape::Metadata => {
            let items: Vec<Value> = objects.iter().map(|o| partial(o)).collect();
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata, "items": items});
            Ok(json(&list))
        }
        Shape::Objects => {
            let api_version = kind.api_version();
            let start = format!(
                "{{\"kind\":\"{}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":[",
                kind.list_kind()
            );
            let mut bytes = start.into_bytes();
            for (index, object) in objects.iter().enumerate() {
                if index > 0 {
                    bytes.push(b',');
                }
                serde_json::to_writer(&mut bytes, object.json()).map_err(ApiError::internal)?;
            }
            bytes.extend_from_slice(b"]}\n");
            Ok(with_type(StatusCode::OK, "application/json", bytes))
        }
    }
}

/// One object in the wanted form.
pub fn object(form: &Form, status: StatusCode, object: &Object) -> Response<Body> {
    json_with(status, &in_form(form, object, true))
}

pub fn in_form(form: &Form, object: &Object, headers: bool) -> Value {
    match (form.shape, object.kind()) {
        (Shape::Table(include), Some(kind)) => {
            let columns = Columns::of(kind, form.definition());
            let mut table = table::table(columns, std::iter::once(object), include, headers);
            table["metadata"] = json!({"resourceVersion": object.resource_version().to_string()});
            table
        }
        (Shape::Metadata, _) => partial(object),
        _ => object.to_value(),
    }
}

/// An object's metadata as an object of its own.
pub fn partial(object: &Object) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.metadata()})
}

pub fn json(value: &Value) -> Response<Body> {
    json_with(StatusCode::OK, value)
}

pub fn json_with(status: StatusCode, value: &Value) -> Response<Body> {
    let mut text = value.to_string();
    text.push('\n');
    with_type(status, "application/json", text.into_bytes())
}

pub fn text(text: &str) -> Response<Body> {
    with_type(StatusCode::OK, "text/plain; charset=utf-8", text.as_bytes().to_vec())
}

pub fn failure(error: &ApiError) -> Response<Body> {
    let mut response = json_with(error.code, &error.to_value());
    if error.code == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

pub fn with_type(status: StatusCode, content_type: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// An answer that goes on.
pub fn streaming(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Adds `Warning` headers, which kubectl prints as `Warning: ...`.
pub fn warned(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    for warning in warnings {
        let text = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(char::is_control, " ");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_can_be_served_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                       application/json";
        for (accept, expected) in [
            (kubectl, Some(Shape::Table(Include::Metadata))),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some(Shape::Objects)),
            ("application/vnd.kubernetes.protobuf, application/json", Some(Shape::Objects)),
            ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Some(Shape::Metadata)),
            ("", Some(Shape::Objects)),
            ("*/*", Some(Shape::Objects)),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
        ] {
            assert_eq!(Shape::of_accept(accept), expected, "{accept}");
        }
    }
}
