//! Kubernetes objects as the lab holds them: JSON, with typed views over it.
//!
//! An object stays JSON so that no field a user wrote is ever lost; code that needs the meaning of an object asks for
//! a typed view ([`Object::view`]), which is decoded once and kept. This room knows what objects *are* (kinds,
//! defaults, validation, old API versions); it never stores, serves or acts on them.

pub mod changes;
pub mod convert;
pub mod custom;
pub mod default;
pub mod disruption;
pub mod jsonpath;
pub mod key;
pub mod kind;
pub mod lab;
pub mod managed;
pub mod merge;
pub mod nearest;
pub mod patch;
pub mod schema;
pub mod selector;
pub mod service_account;
pub mod shape;
pub mod snapshot;
pub mod types;
pub mod unknown;
pub mod validate;
pub mod write;

pub use key::Key;
pub use kind::{Kind, KindRef};
pub use snapshot::{Objects, Snapshot};
pub use write::Write;

use std::any::Any;
use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// One Kubernetes object. Shared as `Arc<Object>`; a change is made on a clone.
#[derive(Debug, Default)]
pub struct Object {
    /// Read at the first use where there is a text.
    json: OnceLock<Map<String, Value>>,
    text: Option<Text>,
    /// Its kind, where that is a custom one: which those are depends on the lab, and not on the object.
    custom: Option<KindRef>,
    /// The typed view, decoded at the first use. One object is only ever viewed as one type.
    view: Mutex<Option<View>>,
}

/// An object's JSON as text: a tenth of what it takes as a value.
#[derive(Debug, Clone)]
struct Text {
    json: Arc<[u8]>,
    /// So much can be said of it without reading it.
    resource_version: u64,
    /// It has no owner and no finalizer, and is not being deleted.
    is_plain: bool,
}

type View = Result<Arc<dyn Any + Send + Sync>, ViewError>;

/// Why an object's JSON does not fit the type of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} \"{name}\" cannot be read: {reason}")]
pub struct ViewError {
    pub kind: String,
    pub name: String,
    pub reason: String,
}

impl Clone for Object {
    fn clone(&self) -> Self {
        Object { json: self.json.clone(), text: self.text.clone(), custom: self.custom, view: Mutex::default() }
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        match (&self.text, &other.text) {
            (Some(one), Some(other)) if Arc::ptr_eq(&one.json, &other.json) => true,
            (Some(one), Some(other)) if one.resource_version != other.resource_version => false,
            _ => self.json() == other.json(),
        }
    }
}

impl Eq for Object {}

impl Object {
    pub fn from_map(json: Map<String, Value>) -> Self {
        Object { json: json.into(), ..Object::default() }
    }

    /// From what [`Object::write`] has written.
    pub fn from_text(json: &[u8]) -> Self {
        Self::from_map(serde_json::from_slice(json).unwrap_or_default())
    }

    /// The same object as its JSON's text, for one that is seldom looked at; read when it is.
    pub fn at_rest(&self) -> Self {
        let text = || {
            let mut json = Vec::new();
            self.write(&mut json).ok()?;
            let is_plain = !self.is_terminating()
                && self.finalizers().next().is_none()
                && self.owner_references().next().is_none();
            Some(Text { json: json.into(), resource_version: self.resource_version(), is_plain })
        };
        match self.text.clone().or_else(text) {
            Some(text) => Object { text: Some(text), custom: self.custom, ..Object::default() },
            None => self.clone(),
        }
    }

    /// Its text, where it has one.
    pub fn text(&self) -> Option<&Arc<[u8]>> {
        self.text.as_ref().map(|text| &text.json)
    }

    /// It has a text, and was read all the same.
    pub fn is_disturbed(&self) -> bool {
        self.text.is_some() && self.json.get().is_some()
    }

    /// To look at one that is at rest, and to leave it so.
    pub fn glance(&self) -> Cow<'_, Object> {
        match &self.text {
            Some(_) if self.json.get().is_none() => Cow::Owned(self.clone()),
            _ => Cow::Borrowed(self),
        }
    }

    /// Appends its JSON.
    pub fn write(&self, to: &mut Vec<u8>) -> io::Result<()> {
        match &self.text {
            Some(text) => to.extend_from_slice(&text.json),
            None => serde_json::to_writer(to, self.json())?,
        }
        Ok(())
    }

    /// Takes a JSON object; `None` when `value` is a list, string, number, ...
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self::from_map(map)),
            _ => None,
        }
    }

    /// Any serialisable typed object (k8s-openapi) plus the `apiVersion` and `kind` of `kind`.
    pub fn from_typed<T: serde::Serialize>(kind: KindRef, typed: &T) -> Result<Self, serde_json::Error> {
        let mut object = Self::from_value(serde_json::to_value(typed)?).unwrap_or_default();
        object.json_mut().insert("apiVersion".into(), Value::String(kind.api_version()));
        object.json_mut().insert("kind".into(), Value::String(kind.kind.into()));
        Ok(object)
    }

    pub fn json(&self) -> &Map<String, Value> {
        let read = || self.text.as_ref().and_then(|text| serde_json::from_slice(&text.json).ok()).unwrap_or_default();
        self.json.get_or_init(read)
    }

    /// The JSON to change; forgets the typed view.
    pub fn json_mut(&mut self) -> &mut Map<String, Value> {
        self.json();
        self.text = None;
        self.view = Mutex::default();
        match self.json.get_mut() {
            Some(json) => json,
            None => unreachable!("it was read just above"),
        }
    }

    pub fn into_map(mut self) -> Map<String, Value> {
        std::mem::take(self.json_mut())
    }

    pub fn to_value(&self) -> Value {
        Value::Object(self.json().clone())
    }

    /// The typed view, decoded once per object.
    pub fn view<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, ViewError> {
        let decode = || -> View { self.read::<T>().map(|view| Arc::new(view) as Arc<dyn Any + Send + Sync>) };
        // What is behind the lock is whole or absent, whoever panicked while holding it.
        let any = self.view.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(decode).clone()?;
        any.downcast::<T>().map_err(|_| ViewError {
            kind: self.kind_name().to_string(),
            name: self.name().to_string(),
            reason: format!("it was viewed as another type than {}", std::any::type_name::<T>()),
        })
    }

    /// The typed view, for one look: a view is larger than the JSON, and is not kept here.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ViewError> {
        T::deserialize(self.json()).map_err(|error| ViewError {
            kind: self.kind_name().to_string(),
            name: self.name().to_string(),
            reason: error.to_string(),
        })
    }

    // ---- fields every object has -------------------------------------------------------------------------------

    pub fn api_version(&self) -> &str {
        str_at(self.json(), "apiVersion")
    }

    pub fn kind_name(&self) -> &str {
        str_at(self.json(), "kind")
    }

    /// The entry of the table of kinds, if this is a kind that the lab knows.
    pub fn kind(&self) -> Option<KindRef> {
        self.custom.or_else(|| kind::by_api_version_kind(self.api_version(), self.kind_name()))
    }

    /// The object as one of `kind`, which may be a custom one: of those an object does not know by itself which it is.
    pub fn of(mut self, kind: KindRef) -> Self {
        self.custom = kind.custom.is_some().then_some(kind);
        self
    }

    pub fn key(&self) -> Option<Key> {
        let kind = self.kind()?;
        Some(Key::new(kind, if kind.namespaced { self.namespace() } else { "" }, self.name()))
    }

    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.json().get("metadata").and_then(Value::as_object)
    }

    /// `metadata`, made when it is missing (or is no object).
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        map_at_mut(self.json_mut(), "metadata")
    }

    fn meta_str(&self, field: &str) -> &str {
        self.metadata().map_or("", |m| str_at(m, field))
    }

    pub fn name(&self) -> &str {
        self.meta_str("name")
    }

    /// Empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }

    pub fn uid(&self) -> &str {
        self.meta_str("uid")
    }

    /// 0 when it is not set.
    pub fn resource_version(&self) -> u64 {
        if let Some(text) = &self.text {
            return text.resource_version;
        }
        self.meta_str("resourceVersion").parse().unwrap_or(0)
    }

    pub fn generation(&self) -> i64 {
        self.metadata().and_then(|m| m.get("generation")).and_then(Value::as_i64).unwrap_or(0)
    }

    /// RFC 3339, empty when not set.
    pub fn creation_timestamp(&self) -> &str {
        self.meta_str("creationTimestamp")
    }

    /// The metadata, where it can have what a plain object has not.
    fn unless_plain(&self) -> Option<&Map<String, Value>> {
        match &self.text {
            Some(text) if text.is_plain => None,
            _ => self.metadata(),
        }
    }

    pub fn is_terminating(&self) -> bool {
        self.unless_plain().is_some_and(|m| m.get("deletionTimestamp").is_some_and(|v| !v.is_null()))
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels().and_then(|l| l.get(name)).and_then(Value::as_str)
    }

    pub fn labels(&self) -> Option<&Map<String, Value>> {
        self.metadata().and_then(|m| m.get("labels")).and_then(Value::as_object)
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata().and_then(|m| m.get("annotations")).and_then(Value::as_object)?.get(name)?.as_str()
    }

    pub fn set_label(&mut self, name: &str, value: &str) {
        map_at_mut(self.metadata_mut(), "labels").insert(name.into(), value.into());
    }

    pub fn set_annotation(&mut self, name: &str, value: &str) {
        map_at_mut(self.metadata_mut(), "annotations").insert(name.into(), value.into());
    }

    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        let list = self.unless_plain().and_then(|m| m.get("finalizers")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }

    /// The `uid` of the owner that has `controller: true`.
    pub fn controller_uid(&self) -> Option<&str> {
        self.owner_references().find(|o| o.get("controller") == Some(&Value::Bool(true)))?.get("uid")?.as_str()
    }

    pub fn owner_references(&self) -> impl Iterator<Item = &Map<String, Value>> {
        let list = self.unless_plain().and_then(|m| m.get("ownerReferences")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_object)
    }

    /// An owner reference that makes `self` the controller of what carries it.
    pub fn as_controller_reference(&self) -> Value {
        serde_json::json!({
            "apiVersion": self.api_version(), "kind": self.kind_name(), "name": self.name(), "uid": self.uid(),
            "controller": true, "blockOwnerDeletion": true,
        })
    }

    /// The value at a path of field names, e.g. `["spec", "replicas"]`.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.json().get(*first)?, |value, field| value.get(*field))
    }

    pub fn str_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path).and_then(Value::as_str)
    }

    pub fn i64_at(&self, path: &[&str]) -> Option<i64> {
        self.at(path).and_then(Value::as_i64)
    }
}

fn str_at<'a>(map: &'a Map<String, Value>, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or("")
}

/// The object at `field`, made when it is missing or is something else.
pub fn map_at_mut<'a>(map: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(field).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(map) => map,
        _ => unreachable!("the slot was made an object just above"),
    }
}

/// A moment as Kubernetes writes it in objects: RFC 3339 in UTC, whole seconds.
pub fn time_text(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
