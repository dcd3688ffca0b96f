//! `metadata.managedFields`: who owns which fields, and since when.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::Set;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// Who made a change, and how: what tells the entries of the list apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    pub name: String,
    pub operation: Operation,
    /// Of an update alone: who applies stays the same manager in any version.
    version: String,
    pub subresource: String,
}

impl Manager {
    pub fn new(name: &str, operation: Operation, version: &str, subresource: &str) -> Self {
        let version = if operation == Operation::Update { version } else { "" };
        let name = if name.is_empty() { "unknown" } else { name };
        Manager { name: name.into(), operation, version: version.into(), subresource: subresource.into() }
    }

    /// As messages name it: `"kubectl-edit" using apps/v1`.
    pub fn in_words(&self) -> String {
        let mut words = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            words.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            words.push_str(&format!(" using {}", self.version));
        }
        words
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    pub fields: Set,
    pub version: String,
    /// RFC 3339; empty when it is not known.
    pub time: String,
}

/// Every manager with what it owns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managers(pub BTreeMap<Manager, Owned>);

/// How many managers that updated may have an entry of their own; older ones share one.
const MAX_UPDATERS: usize = 10;
const SHARED_NAME: &str = "ancient-changes";

impl Managers {
    /// Reads the list; `None` when an entry is not as it should be. Entries of versions that are not served any more
    /// own nothing.
    pub fn read(list: Option<&Value>, version: &str) -> Option<Self> {
        let mut managers = Managers::default();
        let entries = match list {
            None | Some(Value::Null) => return Some(managers),
            Some(list) => list.as_array()?,
        };
        for entry in entries {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or("");
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            let of = text("apiVersion");
            if of.is_empty() || text("fieldsType") != "FieldsV1" {
                return None;
            }
            let fields = match entry.get("fieldsV1") {
                None | Some(Value::Null) => Set::default(),
                Some(fields) => Set::from_json(fields.as_object()?),
            };
            let manager = Manager::new(text("manager"), operation, of, text("subresource"));
            if of == version {
                managers.0.insert(manager, Owned { fields, version: of.into(), time: text("time").into() });
            }
        }
        Some(managers)
    }

    /// The list, in upstream's order; `None` when nobody owns anything.
    pub fn write(&self) -> Option<Value> {
        let mut entries: Vec<(&Manager, &Owned)> = self.0.iter().collect();
        entries.sort_by_key(|(manager, owned)| {
            (manager.operation, &owned.time, &manager.name, &owned.version, &manager.subresource)
        });
        let entry = |(manager, owned): (&Manager, &Owned)| {
            let mut entry = Map::new();
            entry.insert("manager".into(), manager.name.as_str().into());
            entry.insert("operation".into(), manager.operation.name().into());
            entry.insert("apiVersion".into(), owned.version.as_str().into());
            if !owned.time.is_empty() {
                entry.insert("time".into(), owned.time.as_str().into());
            }
            entry.insert("fieldsType".into(), "FieldsV1".into());
            entry.insert("fieldsV1".into(), owned.fields.to_json());
            if !manager.subresource.is_empty() {
                entry.insert("subresource".into(), manager.subresource.as_str().into());
            }
            Value::Object(entry)
        };
        (!entries.is_empty()).then(|| entries.into_iter().map(entry).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes away those that own nothing.
    pub fn drop_empty(&mut self) {
        self.0.retain(|_, owned| !owned.fields.is_empty());
    }

    /// Lets the oldest updaters share an entry when there are too many.
    pub fn cap(&mut self) {
        let mut updaters: Vec<(String, Manager)> = self
            .0
            .iter()
            .filter(|(m, _)| m.operation == Operation::Update)
            .map(|(m, owned)| (owned.time.clone(), m.clone()))
            .collect();
        let Some(too_many) = updaters.len().checked_sub(MAX_UPDATERS).filter(|count| *count > 0) else { return };
        updaters.sort();
        // One more than goes away, for the shared entry is one as well.
        for (_, manager) in updaters.into_iter().take(too_many + 1) {
            let Some(old) = self.0.remove(&manager) else { continue };
            let shared = Manager::new(SHARED_NAME, Operation::Update, &old.version, "");
            let both = match self.0.remove(&shared) {
                Some(before) => Owned { fields: before.fields.union(&old.fields), ..old },
                None => old,
            };
            self.0.insert(shared, both);
        }
    }
}

/// Does the client ask for the owners to be forgotten: an empty list, or one empty entry?
pub fn is_reset(list: Option<&Value>) -> bool {
    match list.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([one]) => *one == json!({}),
        _ => false,
    }
}
