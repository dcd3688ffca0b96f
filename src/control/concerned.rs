//! The Services that changes concern: the only ones whose endpoints can have to change.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::service;
use super::slices::SERVICE_NAME;
use crate::object::snapshot::Difference;
use crate::object::{KindRef, Object, Snapshot, kind};

/// What endpoints follow from, and are.
pub(super) const READS: &[KindRef] = &[&kind::SERVICE, &kind::POD, &kind::ENDPOINTS, &kind::ENDPOINT_SLICE];

/// By namespace and name; with Endpoints of these names, and slices that are said to be of them.
pub(super) struct Concerned(BTreeSet<(String, String)>);

impl Concerned {
    pub fn by(snapshot: &Snapshot, changes: &[Difference]) -> Self {
        let mut names = BTreeSet::new();
        let mut labels = Labels::default();
        for (key, old, new) in changes {
            if *key.kind == kind::SERVICE || *key.kind == kind::ENDPOINTS {
                names.insert((key.namespace.clone(), key.name.clone()));
            } else if *key.kind == kind::ENDPOINT_SLICE {
                for slice in [old, new].into_iter().flatten() {
                    names.extend(owners(slice).map(|name| (key.namespace.clone(), name.to_string())));
                }
            } else if *key.kind == kind::POD {
                [old, new].into_iter().flatten().for_each(|pod| labels.add(pod));
            }
        }
        if !labels.0.is_empty() {
            let selecting = |service: &&Arc<Object>| {
                let selector = service::selector(service);
                selector.is_some_and(|selector| labels.may_match(service.namespace(), selector))
            };
            let services = snapshot.list(&kind::SERVICE).filter(selecting);
            names.extend(services.map(|service| (service.namespace().to_string(), service.name().to_string())));
        }
        Concerned(names)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(namespace, name)| (namespace.as_str(), name.as_str()))
    }
}

/// The names of those that a slice is, or may be, of.
fn owners(slice: &Object) -> impl Iterator<Item = &str> {
    let references = slice.owner_references().filter_map(|owner| owner.get("name")?.as_str());
    slice.label(SERVICE_NAME).into_iter().chain(references)
}

/// The labels of pods, each with its namespace.
#[derive(Default)]
struct Labels<'a>(HashSet<(&'a str, &'a str, &'a str)>);

impl<'a> Labels<'a> {
    fn add(&mut self, pod: &'a Object) {
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        let labels = pod.labels().into_iter().flatten();
        self.0.extend(labels.map(|(label, value)| (pod.namespace(), label.as_str(), text(value))));
    }

    /// Not for certain: each label may be another pod's.
    fn may_match(&self, namespace: &str, selector: &Map<String, Value>) -> bool {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        selector.iter().all(|(label, value)| self.0.contains(&(namespace, label.as_str(), text(value).as_str())))
    }
}
