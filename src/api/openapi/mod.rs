//! OpenAPI: what is served and what it looks like, as `kubectl explain`, `apply` and generated clients read it.
//!
//! Version 3 is a document for each group version, and an index of them; version 2 is one document for all. They are made
//! when they are asked for and not kept: that takes milliseconds, clients keep what they got, and most labs are never
//! asked. What is kept is each document's hash, by which a client knows whether it has it already.

mod paths;
mod proto;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hyper::header::{CACHE_CONTROL, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use super::body::Body;
use super::custom::{self, groups_and_versions};
use super::discovery::kinds_of;
use super::respond;
use super::serve::Call;
use super::status::ApiError;
use crate::object::schema::{Described, Schemas};
use crate::store::Store;
use paths::Version;

const JSON: &str = "application/json";
/// The last one is what clients ask for, and no media type as HTTP has them, so that it is answered with the other.
const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF_V2_OLD: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// How long a client may keep a document that it asked for by its hash, in seconds: a year, as upstream says.
const KEPT: i64 = 365 * 24 * 3600;

/// Which document, as its path below `/openapi/` says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Document {
    V2,
    Index,
    V3 { group: String, version: String },
}

impl Document {
    fn at(path: &str, store: &Store) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let of = |group: &str, version: &str| {
            let document = Document::V3 { group: group.to_string(), version: version.to_string() };
            (!kinds_of(store, group, version).is_empty()).then_some(document)
        };
        match parts.as_slice() {
            ["v2"] => Some(Document::V2),
            ["v3"] => Some(Document::Index),
            ["v3", "api", version] => of("", version),
            ["v3", "apis", group, version] if !group.is_empty() => of(group, version),
            _ => None,
        }
    }

    /// Every document of version 3, with its path below `/openapi/v3/`.
    fn all_v3(store: &Store) -> impl Iterator<Item = (String, Self)> {
        let core = std::iter::once(("", "v1"));
        let served = core.chain(groups_and_versions(store));
        let served = served.filter(|(group, version)| !kinds_of(store, group, version).is_empty());
        served.collect::<Vec<_>>().into_iter().map(|(group, version)| {
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            (path, Document::V3 { group: group.to_string(), version: version.to_string() })
        })
    }

    fn json(&self, store: &Store) -> Vec<u8> {
        let value = match self {
            Document::V2 => v2(store),
            Document::Index => index(store),
            Document::V3 { group, version } => v3(store, group, version),
        };
        value.to_string().into_bytes()
    }

    /// What changes whenever the document does.
    fn hash(&self, store: &Store) -> String {
        // Documents say what the program itself knows, and what definitions say.
        static KNOWN: Mutex<BTreeMap<(Document, Vec<String>), String>> = Mutex::new(BTreeMap::new());
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.clone(), custom::definition_versions(store));
        if let Some(hash) = known().get(&key) {
            return hash.clone();
        }
        let hash: String = Sha512::digest(self.json(store)).iter().map(|byte| format!("{byte:02X}")).collect();
        known().retain(|(document, _), _| document != self);
        known().insert(key, hash.clone());
        hash
    }
}

/// Answers a path below `/openapi/`.
pub fn get(path: &str, call: &Call) -> Result<Response<Body>, ApiError> {
    let store = &*call.api.store;
    let document = Document::at(path, store).ok_or_else(ApiError::no_such_path)?;
    let protobuf = document == Document::V2 && wants_protobuf(call.header("accept"));
    let hash = document.hash(store);
    let asked = call.query.get("hash").filter(|_| matches!(document, Document::V3 { .. }));
    if asked.is_some_and(|asked| asked != hash) {
        return Ok(moved(&format!("/openapi/{path}?hash={hash}")));
    }
    let etag = format!("\"{hash}\"");
    let has_it = call.header(IF_NONE_MATCH.as_str()).split(',').any(|tag| tag.trim() == etag || tag.trim() == "*");
    let mut response = match (has_it, protobuf) {
        (true, _) => not_modified(),
        (false, true) => respond::with_type(StatusCode::OK, PROTOBUF_V2, proto::encode(&v2(store))),
        (false, false) => respond::with_type(StatusCode::OK, JSON, document.json(store)),
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(ETAG, HeaderValue::try_from(etag).map_err(ApiError::internal)?);
    if asked.is_some() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        headers.insert(EXPIRES, HeaderValue::try_from(in_a_year()).map_err(ApiError::internal)?);
    }
    Ok(response)
}

/// The first media type that can be served is the one in Kubernetes' own encoding.
fn wants_protobuf(accept: &str) -> bool {
    let media = accept.split(',').map(|media| media.split(';').next().unwrap_or("").trim());
    let mut served = media.filter(|media| [JSON, "application/*", "*/*", PROTOBUF_V2, PROTOBUF_V2_OLD].contains(media));
    matches!(served.next(), Some(PROTOBUF_V2 | PROTOBUF_V2_OLD))
}

fn moved(location: &str) -> Response<Body> {
    let mut response = respond::with_type(StatusCode::MOVED_PERMANENTLY, "text/plain; charset=utf-8", Vec::new());
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn not_modified() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

fn in_a_year() -> String {
    let then = jiff::Timestamp::now().as_second().saturating_add(KEPT);
    let then = jiff::Timestamp::from_second(then).unwrap_or(jiff::Timestamp::MAX);
    then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The kinds of a group version, each with its schema where no type has it: the place for those that are defined by
/// objects of the lab.
fn described(store: &Store, group: &str, version: &str) -> Vec<Described> {
    let kinds = kinds_of(store, group, version).into_iter();
    kinds.map(|kind| Described { kind, schema: custom::schema(store, kind) }).collect()
}

fn index(store: &Store) -> Value {
    let paths: Map<String, Value> = Document::all_v3(store)
        .map(|(path, document)| {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash(store));
            (path, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({ "paths": paths })
}

fn v3(store: &Store, group: &str, version: &str) -> Value {
    let kinds = described(store, group, version);
    let paths: Map<String, Value> = kinds.iter().flat_map(|d| paths::of(d.kind, Version::V3)).collect();
    json!({"openapi": "3.0.0", "info": info(), "paths": paths,
        "components": {"schemas": Schemas::of(kinds).into_v3()}})
}

fn v2(store: &Store) -> Value {
    let groups = std::iter::once(("", "v1")).chain(groups_and_versions(store));
    let kinds: Vec<Described> = groups.flat_map(|(group, version)| described(store, group, version)).collect();
    let paths: Map<String, Value> = kinds.iter().flat_map(|d| paths::of(d.kind, Version::V2)).collect();
    json!({"swagger": "2.0", "info": info(), "paths": paths, "definitions": Schemas::of(kinds).into_v2()})
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": super::KUBERNETES_VERSION})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_prefers_it_gets_protobuf() {
        for (accept, expected) in [
            (PROTOBUF_V2_OLD, true),
            ("application/com.github.proto-openapi.spec.v2.v1.0+protobuf, application/json", true),
            ("application/json, application/com.github.proto-openapi.spec.v2@v1.0+protobuf", false),
            ("*/*", false),
            ("", false),
            ("text/html", false),
        ] {
            assert_eq!(wants_protobuf(accept), expected, "{accept}");
        }
    }

    #[test]
    fn paths_lead_to_the_documents_that_there_are() {
        for path in ["v2", "v3", "v3/api/v1", "v3/apis/apps/v1", "v3/apis/nslab.dev/v1alpha1"] {
            assert!(Document::at(path, &Store::in_memory()).is_some(), "{path}");
        }
        for path in ["", "v1", "v3/api", "v3/api/v2", "v3/apis/apps", "v3/apis/apps/v1beta1", "v2/api/v1"] {
            assert!(Document::at(path, &Store::in_memory()).is_none(), "{path}");
        }
    }

    #[test]
    fn a_documents_hash_is_of_the_document() {
        let lease = Document::V3 { group: "coordination.k8s.io".into(), version: "v1".into() };
        assert_eq!(lease.json(&Store::in_memory()), lease.json(&Store::in_memory()));
        assert_eq!(lease.hash(&Store::in_memory()), lease.hash(&Store::in_memory()));
        let index = index(&Store::in_memory());
        let url = index["paths"]["apis/coordination.k8s.io/v1"]["serverRelativeURL"].as_str().unwrap();
        assert_eq!(url, format!("/openapi/v3/apis/coordination.k8s.io/v1?hash={}", lease.hash(&Store::in_memory())));
    }
}
