//! A change that somebody asks the store to make.

use super::{Key, Object};

/// One change. The store stamps `uid`, `creationTimestamp`, `generation` and `resourceVersion`.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Fails if it exists.
    Create(Object),
    /// Replaces all but `status` when `subresource` is [`Part::Spec`], only `status` when [`Part::Status`], everything
    /// when [`Part::All`]. Fails if it does not exist, or if the object carries a `resourceVersion` that is not the
    /// stored one. A replacement equal to what is stored changes nothing, not even the `resourceVersion`.
    Update(Object, Part),
    /// Takes the object away: at once, or (finalizers, a pod's grace period) by marking it with a deletionTimestamp.
    Delete(Delete),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    Spec,
    Status,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    pub key: Key,
    /// Only this very object: another of the same name stays.
    pub uid: Option<String>,
    /// A pod's seconds to end in; 0 takes the object away now. `None`: the pod's own
    /// `terminationGracePeriodSeconds`. No meaning for other kinds.
    pub grace_seconds: Option<i64>,
    /// What becomes of the objects that this one owns.
    pub propagation: Propagation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// They are collected after it.
    #[default]
    Background,
    /// They are collected before it (finalizer `foregroundDeletion`).
    Foreground,
    /// They stay (finalizer `orphan`).
    Orphan,
}

impl Write {
    /// The key of the object it is about, if its kind is known.
    pub fn key(&self) -> Option<Key> {
        match self {
            Write::Create(object) | Write::Update(object, _) => object.key(),
            Write::Delete(delete) => Some(delete.key.clone()),
        }
    }
}
