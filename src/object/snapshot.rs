//! All objects of a lab at one moment: what controllers and the plan are functions of.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::{Key, KindRef, Object};

/// A value: cloning shares the objects, and no later change to the store shows in it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: Arc<BTreeMap<Key, Arc<Object>>>,
    resource_version: u64,
}

impl Snapshot {
    pub fn new(objects: Arc<BTreeMap<Key, Arc<Object>>>, resource_version: u64) -> Self {
        Snapshot { objects, resource_version }
    }

    /// The resourceVersion of the last write that is in it.
    pub fn resource_version(&self) -> u64 {
        self.resource_version
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    pub fn find(&self, kind: KindRef, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(&Key::new(kind, namespace, name))
    }

    /// Every object of a kind, in order of namespace and name.
    pub fn list(&self, kind: KindRef) -> impl Iterator<Item = &Arc<Object>> {
        let from = Bound::Included(Key::new(kind, "", ""));
        self.objects
            .range((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    pub fn list_in(&self, kind: KindRef, namespace: &str) -> impl Iterator<Item = &Arc<Object>> {
        let from = Bound::Included(Key::new(kind, namespace, ""));
        let namespace = namespace.to_string();
        self.objects
            .range((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// Those of a namespace whose names begin with `prefix`, in order; reads no others.
    pub fn list_with_prefix<'a>(
        &'a self,
        kind: KindRef,
        namespace: &str,
        prefix: &str,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let from = Bound::Included(Key::new(kind, namespace, prefix));
        let (namespace, prefix) = (namespace.to_string(), prefix.to_string());
        self.objects
            .range((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace && key.name.starts_with(&prefix))
            .map(|(_, object)| object)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Object>)> {
        self.objects.iter()
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

impl FromIterator<Object> for Snapshot {
    /// For tests; objects of unknown kinds are left out.
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
        let map: BTreeMap<_, _> = objects.into_iter().filter_map(|o| Some((o.key()?, Arc::new(o)))).collect();
        Snapshot { objects: Arc::new(map), resource_version: 0 }
    }
}
