//! Which objects belong to which controller object: by owner reference, and by labels where there is none yet.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::object::selector::Selector;
use crate::object::write::Part;
use crate::object::{Object, Write};

/// The objects of one kind, by who controls them.
pub(super) struct Claims<'a> {
    by_controller: HashMap<&'a str, Vec<&'a Arc<Object>>>,
    /// Those without a controller, by namespace.
    free: HashMap<&'a str, Vec<&'a Arc<Object>>>,
}

impl<'a> Claims<'a> {
    pub fn of(objects: impl Iterator<Item = &'a Arc<Object>>) -> Self {
        let mut claims = Claims { by_controller: HashMap::new(), free: HashMap::new() };
        for object in objects {
            match object.controller_uid() {
                Some(uid) => claims.by_controller.entry(uid).or_default().push(object),
                None => claims.free.entry(object.namespace()).or_default().push(object),
            }
        }
        claims
    }

    /// The objects that `owner` controls from now on. Free ones that it selects are adopted and its own that it no
    /// longer selects are released, by `writes`; an owner that is going away only keeps what it has.
    pub fn claim(&mut self, owner: &Object, selector: &Selector, writes: &mut Vec<Write>) -> Vec<&'a Arc<Object>> {
        let mut mine = self.by_controller.remove(owner.uid()).unwrap_or_default();
        if owner.is_terminating() {
            return mine;
        }
        mine.retain(|object| {
            let stays = selector.matches(object.labels());
            if !stays && !object.is_terminating() {
                writes.push(Write::Update(without_owners(object, |uid| uid == owner.uid()), Part::All));
            }
            stays
        });
        if let Some(free) = self.free.get_mut(owner.namespace()) {
            free.retain(|object| {
                let adopted = !object.is_terminating() && selector.matches(object.labels());
                if adopted {
                    writes.push(Write::Update(with_controller(object, owner), Part::All));
                    mine.push(object);
                }
                !adopted
            });
        }
        mine
    }
}

fn with_controller(object: &Object, owner: &Object) -> Object {
    let mut object = object.clone();
    let list = object.metadata_mut().entry("ownerReferences").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    if let Value::Array(list) = list {
        list.retain(|reference| reference.get("uid").and_then(Value::as_str) != Some(owner.uid()));
        list.push(owner.as_controller_reference());
    }
    object
}

/// `object` without its references to the owners whose uids `is_gone` accepts.
pub(super) fn without_owners(object: &Object, is_gone: impl Fn(&str) -> bool) -> Object {
    let mut object = object.clone();
    let metadata = object.metadata_mut();
    if let Some(Value::Array(list)) = metadata.get_mut("ownerReferences") {
        list.retain(|reference| !reference.get("uid").and_then(Value::as_str).is_some_and(&is_gone));
        if list.is_empty() {
            metadata.remove("ownerReferences");
        }
    }
    object
}
