//! What the API serves: the built-in kinds, and those of the lab's CustomResourceDefinitions, in all their versions.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::query::Query;
use super::review::CREATE_ONLY;
use super::status::ApiError;
use crate::object::custom::{self, Definition};
use crate::object::kind::{self, CUSTOM_RESOURCE_DEFINITION, KindRef};
use crate::object::{Key, Object, convert};
use crate::store::Store;

/// The kind of a path, in the version that the path names.
pub fn by_resource(store: &Store, group: &str, version: &str, plural: &str) -> Option<KindRef> {
    let mut built_in = kind::ALL.iter().chain(kind::OTHER_VERSIONS).copied().filter(|k| k.group == group);
    if let Some(kind) = built_in.find(|k| k.plural == plural && k.version == version) {
        return Some(kind);
    }
    if kind::by_resource(group, plural).is_some() {
        return None;
    }
    let crd = store.get(&Key::new(&CUSTOM_RESOURCE_DEFINITION, "", format!("{plural}.{group}")))?;
    let definition = custom::definition(&crd).filter(|definition| definition.is_served())?;
    definition.served_version(version).map(|version| version.kind)
}

/// The definition of a custom kind.
pub fn definition(store: &Store, kind: KindRef) -> Option<Arc<Definition>> {
    kind.custom.as_ref()?;
    custom::definition(&*store.get(&Key::new(&CUSTOM_RESOURCE_DEFINITION, "", kind.resource()))?)
}

/// Every kind that is served, once for each of its versions: first the built-in ones.
pub fn kinds(store: &Store) -> Vec<KindRef> {
    let mut all: Vec<KindRef> = kind::ALL.iter().chain(kind::OTHER_VERSIONS).copied().collect();
    for definition in custom::definitions(&store.snapshot()).filter(|definition| definition.is_served()) {
        all.extend(definition.versions.iter().filter(|version| version.served).map(|version| version.kind));
    }
    all
}

/// Groups but the core one with their versions: the built-in ones in the order of the table, then the others by name;
/// the preferred version of a group first.
pub fn groups_and_versions(store: &Store) -> Vec<(&'static str, &'static str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut built_in: Vec<&str> = Vec::new();
    let mut others: BTreeSet<&str> = BTreeSet::new();
    let kinds = kinds(store);
    for kind in kinds.iter().filter(|kind| !kind.group.is_empty()) {
        match kind.custom {
            None if !built_in.contains(&kind.group) => built_in.push(kind.group),
            Some(_) => drop(others.insert(kind.group)),
            None => {}
        }
    }
    for (group, ..) in CREATE_ONLY {
        if !built_in.contains(&group) {
            built_in.push(group);
        }
    }
    others.retain(|group| !built_in.contains(group));
    for group in built_in.into_iter().chain(others) {
        let of_group = kinds.iter().filter(|kind| kind.group == group).map(|kind| kind.version);
        let never_stored = CREATE_ONLY.iter().filter(|(of, ..)| *of == group).map(|(_, version, ..)| *version);
        let mut versions: Vec<&str> = of_group.chain(never_stored).collect::<BTreeSet<_>>().into_iter().collect();
        versions.sort_by_key(|version| custom::version_order(version));
        found.extend(versions.into_iter().map(|version| (group, version)));
    }
    found
}

/// An object as a client of this kind's version sees it, which may be another than the one it is stored in.
pub fn served_as(kind: KindRef, object: &Arc<Object>) -> Arc<Object> {
    let api_version = kind.api_version();
    if object.api_version() == api_version {
        return object.clone();
    }
    let mut served = (**object).clone();
    served.json_mut().insert("apiVersion".into(), api_version.into());
    if *kind == kind::HORIZONTAL_POD_AUTOSCALER {
        convert::to_autoscaling_v1(served.json_mut());
    }
    served.of(kind).into()
}

/// Treats the fields of a custom object that its schema does not have as `fieldValidation` says.
pub fn field_validation(
    definition: Option<&Definition>,
    query: &Query,
    object: &Object,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let Some((kind, definition)) = object.kind().zip(definition) else { return Ok(()) };
    let Some(version) = definition.version_of(kind) else { return Ok(()) };
    warnings.extend(version.warning.clone());
    let Some(schema) = version.schema.as_ref().filter(|_| query.get("fieldValidation") != Some("Ignore")) else {
        return Ok(());
    };
    let mut unknown = Vec::new();
    schema.prune(&mut object.json().clone(), &mut unknown);
    let unknown: Vec<String> = unknown.into_iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if query.get("fieldValidation") == Some("Strict") && !unknown.is_empty() {
        let (kind, version) = (kind.kind, kind.version);
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
            unknown.join(", ")
        )));
    }
    warnings.extend(unknown);
    Ok(())
}

/// The fields by which the objects of a custom kind can be selected, as its definition says.
pub fn selectable(definition: &Definition, kind: KindRef) -> &[String] {
    definition.version_of(kind).map_or(&[][..], |version| version.selectable.as_slice())
}

/// What a custom object may be, for clients that ask: its definition's schema as it is written.
pub fn schema(store: &Store, kind: KindRef) -> Option<Value> {
    let definition = definition(store, kind)?;
    definition.version_of(kind)?.raw_schema.clone()
}

/// Another value whenever a definition changed.
pub fn definition_versions(store: &Store) -> Vec<String> {
    let version = |crd: &Arc<Object>| format!("{} {}", crd.uid(), crd.resource_version());
    store.snapshot().list(&CUSTOM_RESOURCE_DEFINITION).map(version).collect()
}
