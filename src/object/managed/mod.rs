//! Server-side apply: who owns which fields of an object (`metadata.managedFields`), and what follows from it.
//!
//! [`record`] notes what a create or an update changed. [`apply`] puts a configuration into an object: what others own
//! may not be changed unless it is forced, and what the same manager applied earlier and says no more goes away unless
//! somebody else owns it too. Both as Kubernetes' structured-merge-diff does it. Nothing here is of one kind: the
//! [`Shape`] says which lists merge by what.

mod check;
mod compare;
mod managers;
mod merge;
#[cfg(test)]
mod property_tests;
mod set;
#[cfg(test)]
mod tests;
pub mod text;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

pub use check::check;

use super::merge::LAST_APPLIED;
use super::shape::Shape;
use compare::{compare, fields_of};
use managers::{Manager, Managers, Operation, Owned, is_reset};
use set::Set;

type Fields = Map<String, Value>;

/// The manager whose configurations take over from `kubectl apply` without the server.
const KUBECTL: &str = "kubectl";
/// The owner of what was there before anybody's fields were noted.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who makes a change, and of what.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    pub shape: Shape,
    /// `apps/v1`
    pub version: &'a str,
    pub manager: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Is the status a part of its own, which only the subresource changes?
    pub has_status: bool,
    /// RFC 3339.
    pub now: &'a str,
}

/// A field that somebody else owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// `"kubectl-edit" using apps/v1`
    pub manager: String,
    /// `.spec.replicas`
    pub path: String,
}

impl Change<'_> {
    fn by(&self, operation: Operation) -> Manager {
        Manager::new(self.manager, operation, self.version, self.subresource)
    }

    /// Fields that this change is not about belong to nobody by it.
    fn is_about(&self, top: &str) -> bool {
        match (self.subresource, self.has_status) {
            ("status", _) => top == "status",
            (_, true) => top != "status",
            (_, false) => true,
        }
    }

    fn diff(&self, old: &Value, new: &Value) -> compare::Diff {
        let mut diff = compare(self.shape, old, new);
        diff.retain_top(|top| self.is_about(top));
        diff
    }
}

/// Notes in `new` who owns what after it replaced `live` (which is `None` when it is created). An object of which
/// nothing was noted so far stays without notes.
pub fn record(change: &Change<'_>, live: Option<&Fields>, new: &mut Fields) {
    let given = metadata(new).and_then(|m| m.get("managedFields")).cloned();
    let stored = live.and_then(metadata).and_then(|m| m.get("managedFields"));
    let managers = if change.subresource.is_empty() && is_reset(given.as_ref()) {
        Managers::default()
    } else {
        // A client that knows nothing of owners shall not take them away.
        let given = if change.subresource.is_empty() { Managers::read(given.as_ref(), change.version) } else { None };
        let given = given.filter(|managers| !managers.is_empty());
        given.or_else(|| Managers::read(stored, change.version)).unwrap_or_default()
    };
    if managers.is_empty() && live.is_some() {
        note(new, None);
        return;
    }
    let old = if live.is_some() { plain(live) } else { nothing_yet() };
    let updated = update(change, managers, &old, &plain(Some(new)), &change.by(Operation::Update));
    note(new, updated.write());
}

/// What an object is before it is created. The objects in it that every object of its kind has are nobody's, only what
/// is in them.
fn nothing_yet() -> Value {
    let template = json!({"metadata": {}, "spec": {"containers": null}});
    json!({"metadata": {}, "spec": {"strategy": {}, "updateStrategy": {}, "template": template, "containers": null,
        "jobTemplate": {"metadata": {}, "spec": {"template": template}}}})
}

/// What the managers own after `by` made `new` of `old`.
fn update(change: &Change<'_>, mut managers: Managers, old: &Value, new: &Value, by: &Manager) -> Managers {
    let diff = change.diff(old, new);
    let changed = diff.modified.union(&diff.added);
    let gone = changed.union(&diff.removed);
    for owned in managers.0.values_mut() {
        owned.fields = owned.fields.difference(&gone);
    }
    let mut mine = changed.difference(&UNOWNED);
    for part in ["spec", "status"].into_iter().filter(|part| change.shape.is_field(part)) {
        // They are there even when nobody wrote them.
        mine = mine.difference(&Set::of_fields(&[part]));
    }
    if !mine.is_empty() {
        let before = managers.0.remove(by).map(|owned| owned.fields).unwrap_or_default();
        let owned = Owned { fields: before.union(&mine), version: change.version.into(), time: change.now.into() };
        managers.0.insert(by.clone(), owned);
    }
    managers.drop_empty();
    managers.cap();
    managers
}

/// `live` (`None`: there is no such object yet) after `config` is applied to it, with the notes of who owns what.
///
/// # Errors
/// The fields that others own with other values, unless `force`.
pub fn apply(
    change: &Change<'_>,
    live: Option<&Fields>,
    config: &Fields,
    force: bool,
) -> Result<Fields, Vec<Conflict>> {
    let stored = live.and_then(metadata).and_then(|m| m.get("managedFields"));
    let mut managers = Managers::read(stored, change.version).unwrap_or_default();
    let old = plain(live);
    if managers.is_empty() && live.is_some() {
        let before = Manager::new(BEFORE_FIRST_APPLY, Operation::Update, change.version, "");
        managers = update(change, managers, &nothing_yet(), &old, &before);
    }
    let config_value = plain(Some(config));
    let (new, managers) = match attempt(change, &managers, &old, &config_value, force) {
        Ok(done) => done,
        Err(conflicts) => {
            let conflicts = match taken_over(change, &old) {
                Some(allowed) if change.manager == KUBECTL => {
                    let left = |(manager, set): (Manager, Set)| (manager, set.difference(&allowed));
                    conflicts.into_iter().map(left).filter(|(_, set)| !set.is_empty()).collect()
                }
                _ => conflicts,
            };
            if !conflicts.is_empty() {
                return Err(in_words(&conflicts));
            }
            attempt(change, &managers, &old, &config_value, true).map_err(|conflicts| in_words(&conflicts))?
        }
    };
    let mut new = match new {
        Value::Object(new) => new,
        _ => Map::new(),
    };
    if change.manager == KUBECTL {
        keep_last_applied(&mut new, config);
    }
    note(&mut new, managers.write());
    Ok(new)
}

type Conflicts = Vec<(Manager, Set)>;

fn attempt(
    change: &Change<'_>,
    managers: &Managers,
    live: &Value,
    config: &Value,
    force: bool,
) -> Result<(Value, Managers), Conflicts> {
    let me = change.by(Operation::Apply);
    let mut managers = managers.clone();
    let before = managers.0.remove(&me);
    let mut mine = fields_of(change.shape, config);
    mine.member = false;
    mine.retain_top(|top| change.is_about(top));
    let merged = merge::merge(change.shape, live, config);
    let last = before.as_ref().map(|owned| &owned.fields).filter(|fields| !fields.is_empty());
    let new = match last {
        Some(last) => {
            let owned = managers.0.values().fold(mine.clone(), |all, owned| all.union(&owned.fields));
            prune(change.shape, &merged, last, &owned)
        }
        None => merged,
    };
    let diff = change.diff(live, &new);
    let changed = diff.modified.union(&diff.added);
    let conflicts: Conflicts = managers
        .0
        .iter()
        .map(|(manager, owned)| (manager.clone(), owned.fields.intersection(&changed)))
        .filter(|(_, set)| !set.is_empty())
        .collect();
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    let gone = changed.union(&diff.removed);
    for owned in managers.0.values_mut() {
        owned.fields = owned.fields.difference(&gone);
    }
    let fields = mine.difference(&UNOWNED);
    let version = change.version.to_string();
    let time = match before {
        Some(before) if gone.is_empty() && before.fields == fields => before.time,
        _ => change.now.to_string(),
    };
    managers.0.insert(me, Owned { fields, version, time });
    managers.drop_empty();
    Ok((new, managers))
}

/// Takes out of `merged` what was applied `last` time and nobody owns any more.
fn prune(shape: Shape, merged: &Value, last: &Set, owned: &Set) -> Value {
    let all = |value: &Value| {
        let mut set = fields_of(shape, value);
        set.member = false;
        set.with_named_fields(shape)
    };
    let (last, before) = (last.with_named_fields(shape), all(merged));
    let pruned = merge::remove(shape, merged, &last);
    // What others own comes back, with what it stands in.
    let kept = all(&pruned).union(&owned.with_named_fields(shape));
    let pruned = merge::remove(shape, merged, &before.difference(&kept));
    // And only what was applied goes at all.
    merge::remove(shape, merged, &before.difference(&all(&pruned)).intersection(&last))
}

/// What was applied without the server, by kubectl, and still is so: kubectl may take it over from itself.
fn taken_over(change: &Change<'_>, live: &Value) -> Option<Set> {
    let text = live.pointer("/metadata/annotations")?.get(LAST_APPLIED)?.as_str()?;
    let applied: Value = serde_json::from_str(text).ok()?;
    if applied.get("apiVersion").and_then(Value::as_str) != Some(change.version) {
        return None;
    }
    let diff = compare(change.shape, &applied, live);
    let differs = diff.modified.union(&diff.added).union(&diff.removed);
    Some(fields_of(change.shape, &applied).difference(&differs))
}

/// The object with what those own who wrote the note of `kubectl apply` without the server made the property of the one
/// who applies; `None` if there are none of those.
pub fn migrate(change: &Change<'_>, object: &Fields) -> Option<Fields> {
    let mut managers = Managers::read(metadata(object)?.get("managedFields"), change.version)?;
    let note_of = Set::of_fields(&["metadata", "annotations", LAST_APPLIED]);
    let wrote_it = |(manager, owned): (&Manager, &Owned)| {
        let wrote_it = manager.operation == Operation::Update && !owned.fields.intersection(&note_of).is_empty();
        wrote_it.then(|| manager.clone())
    };
    let old: Vec<Manager> = managers.0.iter().filter_map(wrote_it).collect();
    let me = change.by(Operation::Apply);
    let mut mine = managers.0.remove(&me)?;
    for manager in &old {
        let theirs = managers.0.remove(manager)?;
        mine.fields = mine.fields.union(&theirs.fields);
    }
    managers.0.insert(me, mine);
    let mut migrated = object.clone();
    note(&mut migrated, managers.write());
    (!old.is_empty()).then_some(migrated)
}

/// Keeps the note of `kubectl apply` without the server up to date, where there is one.
fn keep_last_applied(object: &mut Fields, config: &Fields) {
    let annotations = |object: &mut Fields| -> Option<Fields> {
        Some(std::mem::take(object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?))
    };
    let Some(mut kept) = annotations(object) else { return };
    if kept.get(LAST_APPLIED).and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
        let mut config = config.clone();
        if let Some(annotations) = config.get_mut("metadata").and_then(|m| m.get_mut("annotations")?.as_object_mut()) {
            annotations.remove(LAST_APPLIED);
        }
        kept.insert(LAST_APPLIED.into(), format!("{}\n", Value::Object(config)).into());
    }
    super::map_at_mut(object, "metadata").insert("annotations".into(), Value::Object(kept));
}

fn in_words(conflicts: &Conflicts) -> Vec<Conflict> {
    let of_one = |(manager, set): &(Manager, Set)| {
        let manager = manager.in_words();
        set.paths().into_iter().map(move |path| Conflict { manager: manager.clone(), path }).collect::<Vec<_>>()
    };
    conflicts.iter().flat_map(of_one).collect()
}

/// Fields that are nobody's: what an object is, and what the server alone sets.
static UNOWNED: LazyLock<Set> = LazyLock::new(|| {
    let of_metadata = ["name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation"];
    let of_metadata = of_metadata.into_iter().chain(["managedFields", "resourceVersion"]);
    let of_metadata = of_metadata.map(|field| Set::of_fields(&["metadata", field]));
    let top = ["apiVersion", "kind", "metadata"].map(|field| Set::of_fields(&[field]));
    of_metadata.chain(top).fold(Set::default(), |all, set| all.union(&set))
});

fn metadata(object: &Fields) -> Option<&Fields> {
    object.get("metadata").and_then(Value::as_object)
}

/// The object without the notes, which are no part of what they are about.
fn plain(object: Option<&Fields>) -> Value {
    let mut object = object.cloned().unwrap_or_default();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Value::Object(object)
}

fn note(object: &mut Fields, managers: Option<Value>) {
    match managers {
        Some(list) => drop(super::map_at_mut(object, "metadata").insert("managedFields".into(), list)),
        None => {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        }
    }
}
