//! All objects of a lab at one moment: what controllers and the plan are functions of.

use std::sync::Arc;

use super::{Key, KindRef, Object};
use crate::chunked::Chunked;

/// An object as it was and as it is; `None` where it is not there.
pub type Difference<'a> = (&'a Key, Option<&'a Arc<Object>>, Option<&'a Arc<Object>>);

pub type Objects = Chunked<Key, Arc<Object>>;

/// A value: cloning shares the objects, and no later change to the store shows in it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: Arc<Objects>,
    resource_version: u64,
}

impl Snapshot {
    pub fn new(objects: Arc<Objects>, resource_version: u64) -> Self {
        Snapshot { objects, resource_version }
    }

    pub fn objects(&self) -> &Arc<Objects> {
        &self.objects
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
        self.objects
            .from(&Key::new(kind, "", ""))
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    pub fn list_in(&self, kind: KindRef, namespace: &str) -> impl Iterator<Item = &Arc<Object>> {
        let namespace = namespace.to_string();
        self.objects
            .from(&Key::new(kind, &namespace, ""))
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
        let (namespace, prefix) = (namespace.to_string(), prefix.to_string());
        self.objects
            .from(&Key::new(kind, &namespace, &prefix))
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace && key.name.starts_with(&prefix))
            .map(|(_, object)| object)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Object>)> {
        self.objects.iter()
    }

    /// What is another object here than in `earlier`. Costs as much as differs, not as much as there is.
    pub fn changes_since<'a>(&'a self, earlier: &'a Snapshot) -> Vec<Difference<'a>> {
        earlier.objects.changes(&self.objects)
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
        let objects = objects.into_iter().filter_map(|o| Some((o.key()?, Arc::new(o)))).collect();
        Snapshot { objects: Arc::new(objects), resource_version: 0 }
    }
}
