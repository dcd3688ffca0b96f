//! What the lab says of a CustomResourceDefinition in its status: whether its names are its own, whether its kind is
//! served, and in which versions objects are stored.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CLEANUP, Definition, definition};
use crate::object::kind::{self, CUSTOM_RESOURCE_DEFINITION};
use crate::object::{Object, Snapshot, map_at_mut, time_text};

/// A definition with the finalizer and the status that it is to have among those of the lab. Nothing is changed in one
/// that is as it should be.
pub fn settled(snapshot: &Snapshot, crd: &Object, now: Timestamp) -> Object {
    let mut settled = crd.clone();
    let Some(definition) = definition(crd) else { return settled };
    if !crd.is_terminating() && !crd.finalizers().any(|finalizer| finalizer == CLEANUP) {
        let finalizers = settled.metadata_mut().entry("finalizers").or_insert_with(|| json!([]));
        if let Value::Array(list) = finalizers {
            list.push(CLEANUP.into());
        }
    }
    let (accepted, conflict) = accepted_names(snapshot, crd, &definition);
    let names_accepted = match &conflict {
        None => Condition::new("NamesAccepted", true, "NoConflicts", "no conflicts found"),
        Some((reason, message)) => Condition::new("NamesAccepted", false, reason, message),
    };
    let is_built_in = kind::by_resource(&definition.group, &definition.plural).is_some();
    let established = match (definition.established || conflict.is_none(), is_built_in) {
        (true, true) => {
            Condition::new("Established", true, "BuiltIn", "the lab itself serves this kind and acts on it")
        }
        (true, false) => {
            Condition::new("Established", true, "InitialNamesAccepted", "the initial names have been accepted")
        }
        (false, _) => Condition::new("Established", false, "NotAccepted", "not all names are accepted"),
    };
    let mut wanted = vec![names_accepted, established];
    if crd.is_terminating() {
        let message = "CustomResource deletion is in progress";
        wanted.push(Condition::new("Terminating", true, "InstanceDeletionInProgress", message));
    }
    let conditions = conditions(crd, &wanted, now);
    let mut stored: Vec<Value> =
        crd.at(&["status", "storedVersions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(storage) = definition.stored_kind().map(|kind| Value::from(kind.version))
        && !stored.contains(&storage)
    {
        stored.push(storage);
    }
    let status = map_at_mut(settled.json_mut(), "status");
    for (field, value) in [("acceptedNames", accepted), ("conditions", conditions), ("storedVersions", stored.into())] {
        status.insert(field.into(), value);
    }
    settled
}

struct Condition<'a> {
    type_: &'static str,
    status: bool,
    reason: &'a str,
    message: &'a str,
}

impl<'a> Condition<'a> {
    fn new(type_: &'static str, status: bool, reason: &'a str, message: &'a str) -> Self {
        Condition { type_, status, reason, message }
    }
}

/// The conditions that are there, with those that are wanted as they are to be.
fn conditions(crd: &Object, wanted: &[Condition], now: Timestamp) -> Value {
    let mut all: Vec<Value> = crd.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    for condition in wanted {
        let status = if condition.status { "True" } else { "False" };
        let mut value = json!({"type": condition.type_, "status": status, "reason": condition.reason,
            "message": condition.message, "lastTransitionTime": time_text(now)});
        match all.iter_mut().find(|one| one["type"] == condition.type_) {
            Some(one) => {
                if one["status"] == value["status"] {
                    value["lastTransitionTime"] = one["lastTransitionTime"].clone();
                }
                *one = value;
            }
            None => all.push(value),
        }
    }
    all.into()
}

/// The names that a definition may have beside those that others of its group have already, and the first conflict.
fn accepted_names(snapshot: &Snapshot, crd: &Object, own: &Definition) -> (Value, Option<(String, String)>) {
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for other in snapshot.list(&CUSTOM_RESOURCE_DEFINITION).filter(|other| other.name() != crd.name()) {
        if other.str_at(&["spec", "group"]) != Some(own.group.as_str()) {
            continue;
        }
        let text = |field: &str| other.str_at(&["status", "acceptedNames", field]).unwrap_or("").to_string();
        resources.extend([text("plural"), text("singular")]);
        let short = other.at(&["status", "acceptedNames", "shortNames"]).and_then(Value::as_array);
        resources.extend(short.into_iter().flatten().filter_map(Value::as_str).map(str::to_string));
        kinds.extend([text("kind"), text("listKind")]);
    }
    let mut conflict = None;
    // What it was given once stays its own.
    let before = |field: &str| crd.at(&["status", "acceptedNames", field]).cloned();
    let mut names = json!({});
    let mut free = |field: &str, name: &str, taken: &BTreeSet<String>, reason: &str| {
        let is_free = !taken.contains(name);
        if !is_free && conflict.is_none() {
            conflict = Some((reason.to_string(), format!("\"{name}\" is already in use")));
        }
        is_free || before(field).is_some_and(|before| before == name)
    };
    for (field, name, taken, reason) in [
        ("plural", &own.plural, &resources, "PluralConflict"),
        ("singular", &own.singular, &resources, "SingularConflict"),
        ("kind", &own.kind, &kinds, "KindConflict"),
        ("listKind", &own.list_kind, &kinds, "ListKindConflict"),
    ] {
        if free(field, name, taken, reason) {
            names[field] = name.as_str().into();
        } else {
            // Two required fields of the type.
            if matches!(field, "plural" | "kind") {
                names[field] = "".into();
            }
        }
    }
    let short: Vec<&String> =
        own.short.iter().filter(|name| free("shortNames", name, &resources, "ShortNamesConflict")).collect();
    if !short.is_empty() {
        names["shortNames"] = json!(short);
    }
    if let Some(categories) = crd.at(&["spec", "names", "categories"]) {
        names["categories"] = categories.clone();
    }
    (names, conflict)
}
