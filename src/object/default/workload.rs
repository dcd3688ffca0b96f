//! The defaults of what makes pods.

use serde_json::{Value, json};

use super::{Fields, existing, items, map, persistent_volume_claim, pod, set, text};

pub fn deployment(fields: &mut Fields) {
    let Some(spec) = map(fields, "spec") else { return };
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = map(spec, "strategy") {
        set(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = map(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", "25%");
            set(rolling, "maxSurge", "25%");
        }
    }
    pod::template(spec);
}

pub fn replica_set(fields: &mut Fields) {
    let Some(spec) = map(fields, "spec") else { return };
    set(spec, "replicas", 1);
    pod::template(spec);
}

/// The oldest of them: its selector and labels come from its template.
pub fn replication_controller(fields: &mut Fields) {
    let labels = labels_of_template(fields);
    let has_labels = existing(fields, "metadata").and_then(|metadata| existing(metadata, "labels")).is_some();
    if let (Some(labels), false) = (&labels, has_labels)
        && let Some(metadata) = map(fields, "metadata")
    {
        set(metadata, "labels", labels.clone());
    }
    let Some(spec) = map(fields, "spec") else { return };
    set(spec, "replicas", 1);
    if let Some(labels) = labels {
        set(spec, "selector", labels);
    }
    pod::template(spec);
}

pub fn daemon_set(fields: &mut Fields) {
    let Some(spec) = map(fields, "spec") else { return };
    set(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = map(spec, "updateStrategy") {
        set(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = map(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", 1);
            set(rolling, "maxSurge", 0);
        }
    }
    pod::template(spec);
}

pub fn stateful_set(fields: &mut Fields) {
    let Some(spec) = map(fields, "spec") else { return };
    set(spec, "replicas", 1);
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = map(spec, "updateStrategy") {
        set(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = map(strategy, "rollingUpdate")
        {
            set(rolling, "partition", 0);
        }
    }
    if let Some(retention) = map(spec, "persistentVolumeClaimRetentionPolicy") {
        set(retention, "whenDeleted", "Retain");
        set(retention, "whenScaled", "Retain");
    }
    for claim in items(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        persistent_volume_claim(claim);
    }
    pod::template(spec);
}

pub fn job(fields: &mut Fields) {
    let labels = labels_of_template(fields);
    let has_labels = existing(fields, "metadata").and_then(|metadata| existing(metadata, "labels")).is_some();
    if let (Some(labels), false) = (labels, has_labels)
        && let Some(metadata) = map(fields, "metadata")
    {
        set(metadata, "labels", labels);
    }
    let Some(spec) = map(fields, "spec") else { return };
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    set(spec, "backoffLimit", 6);
    set(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    let replacement = if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set(spec, "podReplacementPolicy", replacement);
    pod::template(spec);
}

pub fn cron_job(fields: &mut Fields) {
    let Some(spec) = map(fields, "spec") else { return };
    set(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
    if let Some(job_spec) = existing(spec, "jobTemplate").and_then(|template| map(template, "spec")) {
        pod::template(job_spec);
    }
}

/// The labels of the template, if there are any.
fn labels_of_template(fields: &Fields) -> Option<Value> {
    let labels = fields.get("spec")?.get("template")?.get("metadata")?.get("labels")?;
    labels.as_object().filter(|labels| !labels.is_empty()).map(|labels| json!(labels))
}
