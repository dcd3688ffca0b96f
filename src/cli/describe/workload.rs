//! `describe deployment`, `replicaset` and `replicationcontroller`.

use serde_json::Value;

use super::page::{Page, list, number, or_none, shown, text, time};
use super::{Describer, container, pod};
use crate::cli::path::Query;
use crate::cli::{Failure, hint, pods};
use crate::object::kind::{self, KindRef};

impl Describer<'_> {
    pub(super) async fn deployment(&self, page: &mut Page, object: &Value) -> Result<(), Failure> {
        page.name_and_namespace(object);
        page.field(0, "CreationTimestamp", time(text(object, "/metadata/creationTimestamp")));
        page.labels(0, object);
        page.annotations(0, object);
        page.field(0, "Selector", or_none(&pods::selector_text(&kind::DEPLOYMENT, object).unwrap_or_default()));
        let status = |field: &str| number(object, &format!("/status/{field}"));
        page.field(
            0,
            "Replicas",
            format!(
                "{} desired | {} updated | {} total | {} available | {} unavailable",
                number(object, "/spec/replicas"),
                status("updatedReplicas"),
                status("replicas"),
                status("availableReplicas"),
                status("unavailableReplicas")
            ),
        );
        page.field(0, "StrategyType", text(object, "/spec/strategy/type"));
        page.field(0, "MinReadySeconds", number(object, "/spec/minReadySeconds").to_string());
        if object.pointer("/spec/strategy/rollingUpdate").is_some() {
            let of = |field: &str| shown(object, &format!("/spec/strategy/rollingUpdate/{field}"));
            let text = format!("{} max unavailable, {} max surge", of("maxUnavailable"), of("maxSurge"));
            page.field(0, "RollingUpdateStrategy", text);
        }
        template(page, object);
        let conditions = list(object, "/status/conditions");
        if !conditions.is_empty() {
            page.line(0, "Conditions:");
            page.line(1, "Type\tStatus\tReason");
            page.line(1, "----\t------\t------");
            for condition in conditions {
                let of = |at: &str| text(condition, at);
                page.line(1, &format!("{} \t{}\t{}", of("/type"), of("/status"), of("/reason")));
            }
        }
        let (old, new) = self.replica_sets(object).await?;
        let shown = |set: &Value| {
            let (made, wanted) = (number(set, "/status/replicas"), number(set, "/spec/replicas"));
            format!("{} ({made}/{wanted} replicas created)", hint::name_of(set))
        };
        let old: Vec<String> = old.iter().map(shown).collect();
        page.field(0, "OldReplicaSets", or_none(&old.join(", ")));
        page.field(0, "NewReplicaSet", new.as_ref().map_or("<none>".to_string(), shown));
        Ok(())
    }

    /// The ReplicaSets of a Deployment: the old, and the one of its template, which has the newest revision.
    async fn replica_sets(&self, deployment: &Value) -> Result<(Vec<Value>, Option<Value>), Failure> {
        let namespace = text(deployment, "/metadata/namespace");
        let mut sets = self.cx.client.items(&kind::REPLICA_SET, Some(namespace), &Query::new()).await?;
        let uid = text(deployment, "/metadata/uid");
        sets.retain(|set| list(set, "/metadata/ownerReferences").iter().any(|owner| text(owner, "/uid") == uid));
        let revision = |set: &Value| {
            let of = text(set, "/metadata/annotations/deployment.kubernetes.io~1revision");
            of.parse::<u64>().unwrap_or(0)
        };
        sets.sort_by_key(revision);
        let new = sets.pop();
        Ok((sets, new))
    }

    pub(super) async fn replica_set(&self, page: &mut Page, kind: KindRef, object: &Value) -> Result<(), Failure> {
        page.name_and_namespace(object);
        page.field(0, "Selector", or_none(&pods::selector_text(kind, object).unwrap_or_default()));
        page.labels(0, object);
        page.annotations(0, object);
        pod::controlled_by(page, object);
        let (current, wanted) = (number(object, "/status/replicas"), number(object, "/spec/replicas"));
        page.field(0, "Replicas", format!("{current} current / {wanted} desired"));
        let own = pods::selected_by(self.cx, kind, object).await?;
        let uid = text(object, "/metadata/uid");
        let own = own.iter().filter(|p| list(p, "/metadata/ownerReferences").iter().any(|o| text(o, "/uid") == uid));
        let phases: Vec<&str> = own.map(pods::phase).collect();
        let count = |phase: &str| phases.iter().filter(|p| **p == phase).count();
        page.field(
            0,
            "Pods Status",
            format!(
                "{} Running / {} Waiting / {} Succeeded / {} Failed",
                count("Running"),
                count("Pending"),
                count("Succeeded"),
                count("Failed")
            ),
        );
        template(page, object);
        Ok(())
    }
}

/// The template in an object that makes pods.
pub(super) fn template(page: &mut Page, object: &Value) {
    let empty = Value::Null;
    let template = object.pointer("/spec/template").unwrap_or(&empty);
    let spec = template.get("spec").unwrap_or(&empty);
    page.line(0, "Pod Template:");
    page.labels(1, template);
    if template.pointer("/metadata/annotations").is_some() {
        page.annotations(1, template);
    }
    if !text(spec, "/serviceAccountName").is_empty() {
        page.field(1, "Service Account", text(spec, "/serviceAccountName"));
    }
    container::containers(page, "Init Containers", list(spec, "/initContainers"), &[], 1);
    container::containers(page, "Containers", list(spec, "/containers"), &[], 1);
    container::volumes(page, spec, 1);
    container::placement(page, spec, 1);
}
