//! Custom kinds: what a CustomResourceDefinition says, and which kinds those of a lab make.
//!
//! A definition is a typed view of its object, read once. The kinds that it makes are entries of the table of kinds
//! like any other; objects carry theirs ([`Object::of`]), since nothing but the lab's definitions says which that is.

mod definition;
mod intern;
mod schema;
mod status;
#[cfg(test)]
mod tests;
mod validate;

pub use definition::{Column, Definition, ScalePaths, Version};
pub use intern::MOST as MOST_KINDS;
pub use schema::Schema;
pub use status::settled;
pub use validate::{validate, validate_update};

use std::sync::Arc;

use super::kind::{CUSTOM_RESOURCE_DEFINITION, KindRef};
use super::{Object, Snapshot};

/// The finalizer that a definition has until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What a definition says; `None` for one that cannot be read, which defines nothing.
pub fn definition(crd: &Object) -> Option<Arc<Definition>> {
    crd.view::<Definition>().ok()
}

/// Every definition of a lab.
pub fn definitions(snapshot: &Snapshot) -> impl Iterator<Item = Arc<Definition>> {
    snapshot.list(&CUSTOM_RESOURCE_DEFINITION).filter_map(|crd| definition(crd))
}

/// The definition of a custom kind.
pub fn definition_of(snapshot: &Snapshot, kind: KindRef) -> Option<Arc<Definition>> {
    snapshot.find(&CUSTOM_RESOURCE_DEFINITION, "", &kind.resource()).and_then(|crd| definition(crd))
}

/// Every custom kind that is served, each in the version that it is stored in.
pub fn kinds(snapshot: &Snapshot) -> Vec<KindRef> {
    definitions(snapshot).filter(|definition| definition.is_served()).filter_map(|d| d.stored_kind()).collect()
}

/// The custom kind that is served under exactly this `apiVersion`.
pub fn by_api_version_kind(snapshot: &Snapshot, api_version: &str, kind: &str) -> Option<KindRef> {
    let (group, version) = api_version.split_once('/')?;
    definitions(snapshot)
        .filter(|definition| definition.is_served() && definition.group == group && definition.kind == kind)
        .find_map(|definition| definition.served_version(version).map(|version| version.kind))
}

/// The kinds that a CustomResourceDefinition makes, one a version, whether it is served yet or not; none for objects of
/// other kinds.
pub fn kinds_of(crd: &Object) -> Vec<KindRef> {
    if crd.kind().is_none_or(|kind| *kind != CUSTOM_RESOURCE_DEFINITION) {
        return Vec::new();
    }
    definition(crd).map(|definition| definition.versions.iter().map(|v| v.kind).collect()).unwrap_or_default()
}

/// Versions as Kubernetes orders them, the one to be preferred first: `v2`, `v1`, `v1beta2`, `v1alpha1`, all others.
pub fn version_order(version: &str) -> impl Ord + use<> {
    let numbers = || {
        let rest = version.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, rest) = rest.split_at_checked(end)?;
        let major: u32 = major.parse().ok()?;
        let (stage, minor) = match rest {
            "" => (0, "0"),
            _ => rest.strip_prefix("beta").map(|n| (1, n)).or_else(|| rest.strip_prefix("alpha").map(|n| (2, n)))?,
        };
        let minor: u32 = minor.parse().ok()?;
        Some((stage, std::cmp::Reverse(major), std::cmp::Reverse(minor)))
    };
    let numbers = numbers();
    (numbers.is_none(), numbers, version.to_string())
}
