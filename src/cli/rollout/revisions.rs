//! The revisions of a workload: a Deployment's are its ReplicaSets, those of the others are ControllerRevisions.

use serde_json::Value;

use super::super::change::CHANGE_CAUSE;
use super::super::path::Query;
use super::super::{Context, Failure, hint};
use crate::object::kind::{self, KindRef};

const REVISION: &str = "deployment.kubernetes.io/revision";
/// The label that tells a Deployment's ReplicaSets apart.
const HASH_LABEL: &str = "pod-template-hash";

#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    pub number: i64,
    /// The pods' template, as the ReplicaSet has it.
    pub template: Value,
    pub cause: String,
    /// What keeps the revision.
    pub kept_by: Value,
}

impl Revision {
    /// The template as the Deployment had it.
    pub fn own_template(&self) -> Value {
        let mut template = self.template.clone();
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove(HASH_LABEL);
        }
        template
    }
}

/// All revisions that are kept, oldest first.
pub async fn of(kind: KindRef, object: &Value, cx: &Context) -> Result<Vec<Revision>, Failure> {
    let of_deployment = kind == &kind::DEPLOYMENT;
    let keepers = if of_deployment { &kind::REPLICA_SET } else { &kind::CONTROLLER_REVISION };
    let uid = object.pointer("/metadata/uid");
    let is_own = |keeper: &Value| {
        let owners = keeper.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
        owners.into_iter().any(|owner| owner.get("uid") == uid)
    };
    let items = cx.client.items(keepers, Some(hint::namespace_of(object)), &Query::new()).await?;
    let revision = if of_deployment { of_replica_set } else { of_controller_revision };
    let mut revisions: Vec<Revision> = items.into_iter().filter(is_own).filter_map(revision).collect();
    revisions.sort_by_key(|revision| revision.number);
    Ok(revisions)
}

fn annotation(object: &Value, name: &str) -> Option<String> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str().map(str::to_string)
}

fn of_replica_set(set: Value) -> Option<Revision> {
    let number = annotation(&set, REVISION)?.parse().ok()?;
    let template = set.pointer("/spec/template")?.clone();
    Some(Revision { number, template, cause: annotation(&set, CHANGE_CAUSE).unwrap_or_default(), kept_by: set })
}

fn of_controller_revision(kept: Value) -> Option<Revision> {
    let number = kept.get("revision")?.as_i64()?;
    let mut template = kept.pointer("/data/spec/template")?.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    Some(Revision { number, template, cause: annotation(&kept, CHANGE_CAUSE).unwrap_or_default(), kept_by: kept })
}
