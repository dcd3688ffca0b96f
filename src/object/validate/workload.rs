//! What the kinds that make pods must be.

use serde_json::{Value, json};

use super::field::{Errors, Field};
use super::{names, pod, storage};
use crate::object::selector::Selector;

pub fn deployment(root: &Field, errors: &mut Errors) {
    let spec = root.get("spec");
    spec.get("replicas").not_negative(errors);
    selector_and_template(&spec, "deployment", &[], errors);
    let strategy = spec.get("strategy");
    strategy.get("type").one_of(&["Recreate", "RollingUpdate"], errors);
    let rolling = strategy.get("rollingUpdate");
    if strategy.get("type").text() == "Recreate" {
        if rolling.is_set() {
            errors.push(rolling.forbidden("may not be specified when strategy `type` is 'Recreate'"));
        }
    } else {
        rolling_update(&rolling, errors);
    }
    for number in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        spec.get(number).not_negative(errors);
    }
    let (deadline, ready) = (spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds"));
    if deadline.integer().is_some_and(|seconds| seconds <= ready.integer().unwrap_or(0)) {
        errors.push(deadline.invalid("must be greater than minReadySeconds"));
    }
}

/// How many pods may be missing and how many too many: not both none.
fn rolling_update(rolling: &Field, errors: &mut Errors) {
    let (missing, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    count_or_percent(&missing, errors);
    count_or_percent(&surge, errors);
    if is_zero(&missing) && is_zero(&surge) {
        errors.push(missing.invalid("may not be 0 when `maxSurge` is 0"));
    }
    if percent(&missing).is_some_and(|percent| percent > 100) {
        errors.push(missing.invalid("must not be greater than 100%"));
    }
}

fn percent(field: &Field) -> Option<u32> {
    let digits = field.text().strip_suffix('%')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn is_zero(field: &Field) -> bool {
    field.integer() == Some(0) || percent(field) == Some(0)
}

fn count_or_percent(field: &Field, errors: &mut Errors) {
    match field.value {
        Some(Value::String(_)) if percent(field).is_none() => {
            errors.push(field.invalid("must be an integer or percentage (e.g '5%')"));
        }
        _ => field.not_negative(errors),
    }
}

pub fn replica_set(root: &Field, errors: &mut Errors) {
    let spec = root.get("spec");
    for number in ["replicas", "minReadySeconds"] {
        spec.get(number).not_negative(errors);
    }
    selector_and_template(&spec, "deployment", &[], errors);
}

pub fn replication_controller(root: &Field, errors: &mut Errors) {
    let spec = root.get("spec");
    spec.get("replicas").not_negative(errors);
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if !selector.is_filled() {
        errors.push(selector.required(""));
    }
    if !template.is_set() {
        errors.push(template.required(""));
        return;
    }
    if let Some(labels) = selector.value.and_then(Value::as_object)
        && !Selector::from_map(labels).matches(template.at("metadata.labels").value.and_then(Value::as_object))
    {
        errors.push(no_match(&template));
    }
    pod::template(&template, &[], errors);
    always_restarted(&template, errors);
}

pub fn daemon_set(root: &Field, errors: &mut Errors) {
    let spec = root.get("spec");
    selector_and_template(&spec, "daemonset", &[], errors);
    let strategy = spec.get("updateStrategy");
    strategy.get("type").one_of(&["OnDelete", "RollingUpdate"], errors);
    if strategy.get("type").text() == "RollingUpdate" {
        rolling_update(&strategy.get("rollingUpdate"), errors);
    }
    for number in ["minReadySeconds", "revisionHistoryLimit"] {
        spec.get(number).not_negative(errors);
    }
}

pub fn stateful_set(root: &Field, errors: &mut Errors) {
    let spec = root.get("spec");
    for number in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        spec.get(number).not_negative(errors);
    }
    spec.get("podManagementPolicy").one_of(&["OrderedReady", "Parallel"], errors);
    let strategy = spec.get("updateStrategy");
    strategy.get("type").one_of(&["OnDelete", "RollingUpdate"], errors);
    strategy.at("rollingUpdate.partition").not_negative(errors);
    let claims = spec.get("volumeClaimTemplates").items();
    // To the pods each claim template is a volume.
    let volumes: Vec<&str> = claims.iter().map(|claim| claim.at("metadata.name").text()).collect();
    selector_and_template(&spec, "statefulset", &volumes, errors);
    for claim in claims {
        let name = claim.at("metadata.name");
        if name.is_filled() {
            name.follows(names::dns1123_subdomain, errors);
        } else {
            errors.push(name.required("name or generateName is required"));
        }
        storage::persistent_volume_claim(&claim.get("spec"), errors);
    }
}

/// What all of them share: a selector that is not empty and selects the template's labels.
fn selector_and_template(spec: &Field, kind: &str, more_volumes: &[&str], errors: &mut Errors) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if !selector.is_set() {
        errors.push(selector.required(""));
    } else {
        names::label_selector(&selector, errors);
        let is_empty = ["matchLabels", "matchExpressions"].into_iter().all(|part| !selector.get(part).is_filled());
        if is_empty {
            let nothing = json!({"matchLabels": null});
            errors.push(selector.invalid_value(nothing, format!("empty selector is invalid for {kind}")));
        } else if let Some(value) = selector.value
            && let Ok(wanted) = Selector::from_label_selector(value)
            && !wanted.matches(template.at("metadata.labels").value.and_then(Value::as_object))
        {
            errors.push(no_match(&template));
        }
    }
    pod::template(&template, more_volumes, errors);
    always_restarted(&template, errors);
}

fn no_match(template: &Field) -> super::FieldError {
    let labels = template.at("metadata.labels");
    let shown = labels.value.cloned().unwrap_or_else(|| json!({}));
    labels.invalid_value(shown, "`selector` does not match template `labels`")
}

/// Pods of these kinds are started again whatever happens.
fn always_restarted(template: &Field, errors: &mut Errors) {
    let policy = template.at("spec.restartPolicy");
    if matches!(policy.text(), "Never" | "OnFailure") {
        policy.one_of(&["Always"], errors);
    }
}

/// The spec of a Job.
pub fn job(spec: &Field, errors: &mut Errors) {
    for number in ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"] {
        spec.get(number).not_negative(errors);
    }
    spec.get("completionMode").one_of(&["Indexed", "NonIndexed"], errors);
    let template = spec.get("template");
    pod::template(&template, &[], errors);
    let policy = template.at("spec.restartPolicy");
    if matches!(policy.text(), "" | "Always") {
        let mut error = policy.required("valid values: \"OnFailure\", \"Never\"");
        error.suggestion = Some("add \"restartPolicy: Never\" beside \"containers\"".into());
        errors.push(error);
    }
}

pub fn cron_job(root: &Field, errors: &mut Errors) {
    let spec = root.get("spec");
    let schedule = spec.get("schedule");
    if !schedule.is_filled() {
        errors.push(schedule.required(""));
    }
    spec.get("concurrencyPolicy").one_of(&["Allow", "Forbid", "Replace"], errors);
    for number in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        spec.get(number).not_negative(errors);
    }
    job(&spec.at("jobTemplate.spec"), errors);
}
