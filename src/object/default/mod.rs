//! The values that the API server fills in where a user leaves a field out.
//!
//! Defaulting is idempotent, touches nothing that is set, and leaves a value of a wrong type for validation to name.

mod pod;
#[cfg(test)]
mod tests;
mod workload;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Object, kind};

type Fields = Map<String, Value>;

/// Fills in the defaults of the object's kind, and drops fields that are null: to Kubernetes they are not there.
pub fn apply_defaults(object: &mut Object) {
    let Some(kind) = object.kind() else { return };
    if kind == &kind::LAB {
        return;
    }
    let fields = object.json_mut();
    // Of a custom kind, its schema says what a null is. In a schema null may be a default value.
    if kind != &kind::CUSTOM_RESOURCE_DEFINITION && kind.custom.is_none() {
        drop_nulls(fields);
    }
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::pod(fields),
        ("", "Service") => service(fields),
        ("", "Namespace") => namespace(fields),
        ("", "Endpoints") => endpoints(fields),
        ("", "Secret") => secret(fields),
        ("", "PersistentVolume") => persistent_volume(fields),
        ("", "PersistentVolumeClaim") => persistent_volume_claim(fields),
        ("", "ReplicationController") => workload::replication_controller(fields),
        ("apps", "Deployment") => workload::deployment(fields),
        ("apps", "ReplicaSet") => workload::replica_set(fields),
        ("apps", "DaemonSet") => workload::daemon_set(fields),
        ("apps", "StatefulSet") => workload::stateful_set(fields),
        ("batch", "Job") => workload::job(fields),
        ("batch", "CronJob") => workload::cron_job(fields),
        ("discovery.k8s.io", "EndpointSlice") => endpoint_slice(fields),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(fields),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(fields),
        ("storage.k8s.io", "StorageClass") => {
            set(fields, "reclaimPolicy", "Delete");
            set(fields, "volumeBindingMode", "Immediate");
        }
        _ => {}
    }
}

/// The maps from text to text: a null there is an empty text, not a field left out.
const TEXT_MAPS: [&str; 7] = ["labels", "annotations", "matchLabels", "nodeSelector", "selector", "data", "stringData"];

/// A `selector` is such a map in a Service, and a map of these in most other kinds.
fn is_label_selector(fields: &Fields) -> bool {
    fields.contains_key("matchLabels") || fields.contains_key("matchExpressions")
}

fn drop_nulls(fields: &mut Fields) {
    fields.retain(|_, value| !value.is_null());
    for (name, value) in fields.iter_mut() {
        match value {
            Value::Object(texts) if TEXT_MAPS.contains(&name.as_str()) && !is_label_selector(texts) => {
                for text in texts.values_mut().filter(|text| text.is_null()) {
                    *text = "".into();
                }
                drop_nulls(texts);
            }
            Value::Object(inner) => drop_nulls(inner),
            Value::Array(items) => drop_nulls_in_list(items),
            _ => {}
        }
    }
}

fn drop_nulls_in_list(items: &mut [Value]) {
    for item in items {
        match item {
            Value::Object(inner) => drop_nulls(inner),
            Value::Array(items) => drop_nulls_in_list(items),
            _ => {}
        }
    }
}

// ---- the words that defaults are written with ------------------------------------------------------------------

/// Sets a field that is not set.
fn set(fields: &mut Fields, name: &str, value: impl Into<Value>) {
    fields.entry(name).or_insert_with(|| value.into());
}

/// The map at a field, made if nothing is there; `None` if something else is.
fn map<'a>(fields: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    fields.entry(name).or_insert_with(|| json!({})).as_object_mut()
}

/// The map at a field, if it is there.
fn existing<'a>(fields: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    fields.get_mut(name).and_then(Value::as_object_mut)
}

/// The maps in the list at a field.
fn items<'a>(fields: &'a mut Fields, name: &str) -> impl Iterator<Item = &'a mut Fields> {
    let list = fields.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or("")
}

// ---- kinds -----------------------------------------------------------------------------------------------------

fn service(fields: &mut Fields) {
    let Some(spec) = map(fields, "spec") else { return };
    set(spec, "sessionAffinity", "None");
    set(spec, "type", "ClusterIP");
    match text(spec, "sessionAffinity") {
        "None" => {
            spec.remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            if let Some(client) = map(spec, "sessionAffinityConfig").and_then(|config| map(config, "clientIP")) {
                set(client, "timeoutSeconds", 10800);
            }
        }
        _ => {}
    }
    for port in items(spec, "ports") {
        set(port, "protocol", "TCP");
        if matches!(port.get("targetPort"), Some(target) if *target == 0 || *target == "") {
            port.remove("targetPort");
        }
        if let Some(number) = port.get("port").cloned() {
            set(port, "targetPort", number);
        }
    }
    let service_type = text(spec, "type").to_string();
    let has_external_ips = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    let reached_from_outside = matches!(service_type.as_str(), "NodePort" | "LoadBalancer");
    if reached_from_outside || (service_type == "ClusterIP" && has_external_ips) {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if reached_from_outside || service_type == "ClusterIP" {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if service_type == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn namespace(fields: &mut Fields) {
    let name = existing(fields, "metadata").map(|metadata| text(metadata, "name").to_string()).unwrap_or_default();
    if !name.is_empty()
        && let Some(labels) = map(fields, "metadata").and_then(|metadata| map(metadata, "labels"))
    {
        // Not a mere default: the label always says the name.
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
    }
    if let Some(spec) = map(fields, "spec") {
        set(spec, "finalizers", json!(["kubernetes"]));
    }
    if let Some(status) = map(fields, "status") {
        set(status, "phase", "Active");
    }
}

fn endpoints(fields: &mut Fields) {
    for subset in items(fields, "subsets") {
        for port in items(subset, "ports") {
            set(port, "protocol", "TCP");
        }
    }
}

fn endpoint_slice(fields: &mut Fields) {
    for port in items(fields, "ports") {
        set(port, "name", "");
        set(port, "protocol", "TCP");
    }
}

/// A CustomResourceDefinition.
fn definition(fields: &mut Fields) {
    let Some(spec) = map(fields, "spec") else { return };
    if let Some(conversion) = map(spec, "conversion") {
        set(conversion, "strategy", "None");
    }
    let Some(names) = map(spec, "names") else { return };
    if let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_string) {
        set(names, "singular", kind.to_lowercase());
        set(names, "listKind", format!("{kind}List"));
    }
}

fn network_policy(fields: &mut Fields) {
    let Some(spec) = map(fields, "spec") else { return };
    let limits_egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    set(spec, "policyTypes", if limits_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    for direction in ["ingress", "egress"] {
        for rule in items(spec, direction) {
            for port in items(rule, "ports") {
                set(port, "protocol", "TCP");
            }
        }
    }
}

/// `stringData` is for writing only: it ends up in `data`, over what is there.
fn secret(fields: &mut Fields) {
    set(fields, "type", "Opaque");
    let all_text = |texts: &Fields| texts.values().all(Value::is_string);
    if !fields.get("stringData").and_then(Value::as_object).is_some_and(all_text) {
        return;
    }
    let Some(Value::Object(texts)) = fields.remove("stringData") else { return };
    if texts.is_empty() {
        return;
    }
    if let Some(data) = map(fields, "data") {
        for (key, value) in texts {
            let text = value.as_str().unwrap_or_default();
            data.insert(key, STANDARD.encode(text).into());
        }
    }
}

fn persistent_volume(fields: &mut Fields) {
    if let Some(spec) = map(fields, "spec") {
        set(spec, "persistentVolumeReclaimPolicy", "Retain");
        set(spec, "volumeMode", "Filesystem");
        if let Some(host_path) = existing(spec, "hostPath") {
            set(host_path, "type", "");
        }
    }
    if let Some(status) = map(fields, "status") {
        set(status, "phase", "Pending");
    }
}

fn persistent_volume_claim(fields: &mut Fields) {
    if let Some(spec) = map(fields, "spec") {
        set(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = map(fields, "status") {
        set(status, "phase", "Pending");
    }
}
