//! Objects in versions that Kubernetes has removed, read as today's.
//!
//! Course notes and books live longer than API versions. An object that is already in its kind's present version is
//! left alone, so that converting twice is converting once.

use serde_json::{Map, Value, json};

use super::{Object, map_at_mut};

type Fields = Map<String, Value>;

/// Something that conversion did and the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The field it is about, as it is called after the conversion.
    pub path: String,
    pub message: String,
}

struct Conversion {
    from: &'static str,
    kinds: &'static [&'static str],
    to: &'static str,
    /// The Kubernetes release that no longer serves it; `None` for a version that is served to this day.
    removed_in: Option<&'static str>,
    change: fn(&mut Fields, &mut Vec<Change>),
}

const fn conversion(
    from: &'static str,
    kinds: &'static [&'static str],
    to: &'static str,
    removed_in: &'static str,
    change: fn(&mut Fields, &mut Vec<Change>),
) -> Conversion {
    Conversion { from, kinds, to, removed_in: Some(removed_in), change }
}

const NETWORKING: &str = "networking.k8s.io/v1";
const RBAC: &str = "rbac.authorization.k8s.io/v1";
const RBAC_KINDS: &[&str] = &["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];
const HPA: &[&str] = &["HorizontalPodAutoscaler"];
const WEBHOOKS: &[&str] = &["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];

static CONVERSIONS: &[Conversion] = &[
    conversion("extensions/v1beta1", &["Ingress"], NETWORKING, "1.22", ingress),
    conversion("networking.k8s.io/v1beta1", &["Ingress"], NETWORKING, "1.22", ingress),
    conversion("networking.k8s.io/v1beta1", &["IngressClass"], NETWORKING, "1.22", same_shape),
    conversion("extensions/v1beta1", &["NetworkPolicy"], NETWORKING, "1.16", same_shape),
    conversion("extensions/v1beta1", &["Deployment", "ReplicaSet", "DaemonSet"], "apps/v1", "1.16", workload),
    conversion("apps/v1beta1", &["Deployment", "StatefulSet"], "apps/v1", "1.16", workload),
    conversion("apps/v1beta2", &["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"], "apps/v1", "1.16", workload),
    conversion("apps/v1beta1", &["ControllerRevision"], "apps/v1", "1.16", same_shape),
    conversion("apps/v1beta2", &["ControllerRevision"], "apps/v1", "1.16", same_shape),
    conversion("rbac.authorization.k8s.io/v1beta1", RBAC_KINDS, RBAC, "1.22", same_shape),
    conversion("rbac.authorization.k8s.io/v1alpha1", RBAC_KINDS, RBAC, "1.23", rbac_alpha),
    conversion("batch/v1beta1", &["CronJob"], "batch/v1", "1.25", same_shape),
    conversion("batch/v2alpha1", &["CronJob"], "batch/v1", "1.21", same_shape),
    conversion("policy/v1beta1", &["PodDisruptionBudget"], "policy/v1", "1.25", disruption_budget),
    Conversion { from: "autoscaling/v1", kinds: HPA, to: "autoscaling/v2", removed_in: None, change: autoscaler_v1 },
    conversion("autoscaling/v2beta1", HPA, "autoscaling/v2", "1.25", autoscaler_v2beta1),
    conversion("autoscaling/v2beta2", HPA, "autoscaling/v2", "1.26", same_shape),
    conversion(
        "apiextensions.k8s.io/v1beta1",
        &["CustomResourceDefinition"],
        "apiextensions.k8s.io/v1",
        "1.22",
        custom_resource_definition,
    ),
    conversion("apiregistration.k8s.io/v1beta1", &["APIService"], "apiregistration.k8s.io/v1", "1.22", same_shape),
    conversion("admissionregistration.k8s.io/v1beta1", WEBHOOKS, "admissionregistration.k8s.io/v1", "1.22", webhooks),
    conversion("storage.k8s.io/v1beta1", &["StorageClass", "CSIDriver"], "storage.k8s.io/v1", "1.22", same_shape),
    conversion("scheduling.k8s.io/v1beta1", &["PriorityClass"], "scheduling.k8s.io/v1", "1.22", same_shape),
    conversion("scheduling.k8s.io/v1alpha1", &["PriorityClass"], "scheduling.k8s.io/v1", "1.22", same_shape),
    conversion("discovery.k8s.io/v1beta1", &["EndpointSlice"], "discovery.k8s.io/v1", "1.25", endpoint_slice),
    conversion("coordination.k8s.io/v1beta1", &["Lease"], "coordination.k8s.io/v1", "1.22", same_shape),
];

/// Brings an object of an old version into its kind's present one, and says what that meant.
pub fn convert(object: &mut Object) -> Vec<Change> {
    let mut changes = Vec::new();
    let (version, kind) = (object.api_version(), object.kind_name());
    let Some(conversion) = CONVERSIONS.iter().find(|c| c.from == version && c.kinds.contains(&kind)) else {
        return changes;
    };
    if let Some(release) = conversion.removed_in {
        let what = if conversion.kinds == ["Ingress"] { ", pathType ImplementationSpecific" } else { "" };
        let message = format!("{version} {kind} is obsolete (removed in {release}); read as {}{what}", conversion.to);
        changes.push(Change { path: "apiVersion".into(), message });
    }
    let fields = object.json_mut();
    fields.insert("apiVersion".into(), conversion.to.into());
    (conversion.change)(fields, &mut changes);
    changes
}

fn same_shape(_: &mut Fields, _: &mut Vec<Change>) {}

fn spec_of(fields: &mut Fields) -> Option<&mut Fields> {
    fields.get_mut("spec").and_then(Value::as_object_mut)
}

/// The maps in the list at `field`, with their index.
fn maps_in<'a>(fields: &'a mut Fields, field: &str) -> impl Iterator<Item = (usize, &'a mut Fields)> {
    let list = fields.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten().enumerate().filter_map(|(index, item)| Some((index, item.as_object_mut()?)))
}

fn rename(fields: &mut Fields, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.entry(to).or_insert(value);
    }
}

fn ingress(fields: &mut Fields, changes: &mut Vec<Change>) {
    let Some(spec) = spec_of(fields) else { return };
    rename(spec, "backend", "defaultBackend");
    if let Some(backend) = spec.get_mut("defaultBackend").and_then(Value::as_object_mut) {
        ingress_backend(backend);
    }
    for (rule_index, rule) in maps_in(spec, "rules") {
        let Some(http) = rule.get_mut("http").and_then(Value::as_object_mut) else { continue };
        for (index, path) in maps_in(http, "paths") {
            path.entry("pathType").or_insert_with(|| "ImplementationSpecific".into());
            let written = path.get("path").cloned();
            if matches!(&written, None | Some(Value::Null)) || written == Some("".into()) {
                path.insert("path".into(), "/".into());
                if written.is_some() {
                    let at = format!("spec.rules[{rule_index}].http.paths[{index}].path");
                    changes.push(Change { path: at, message: "path is empty: read as \"/\"".into() });
                }
            }
            if let Some(backend) = path.get_mut("backend").and_then(Value::as_object_mut) {
                ingress_backend(backend);
            }
        }
    }
}

/// `{serviceName, servicePort}` to `{service: {name, port: {number or name}}}`.
fn ingress_backend(backend: &mut Fields) {
    let (name, port) = (backend.remove("serviceName"), backend.remove("servicePort"));
    if name.is_none() && port.is_none() {
        return;
    }
    let service = map_at_mut(backend, "service");
    if let Some(name) = name {
        service.insert("name".into(), name);
    }
    let number = match &port {
        Some(Value::String(text)) => text.parse::<u16>().ok().map(Value::from),
        Some(Value::Number(_)) => port.clone(),
        _ => None,
    };
    match (number, port) {
        (Some(number), _) => map_at_mut(service, "port").insert("number".into(), number),
        (None, Some(name)) if !name.is_null() => map_at_mut(service, "port").insert("name".into(), name),
        _ => None,
    };
}

/// Before apps/v1 the selector could be left out, and there were fields that had no effect for long.
fn workload(fields: &mut Fields, changes: &mut Vec<Change>) {
    let Some(spec) = spec_of(fields) else { return };
    for gone in ["rollbackTo", "templateGeneration"] {
        if spec.remove(gone).is_some() {
            changes.push(Change { path: format!("spec.{gone}"), message: format!("{gone} is obsolete: left out") });
        }
    }
    if spec.get("selector").is_none_or(Value::is_null) {
        let labels = spec.get("template").and_then(|t| t.get("metadata")).and_then(|m| m.get("labels")).cloned();
        if let Some(labels) = labels.filter(Value::is_object) {
            spec.insert("selector".into(), json!({ "matchLabels": labels }));
            let message = "selector is missing: read as the template's labels".into();
            changes.push(Change { path: "spec.selector".into(), message });
        }
    }
}

fn rbac_alpha(fields: &mut Fields, _: &mut Vec<Change>) {
    for (_, subject) in maps_in(fields, "subjects") {
        if let Some(Value::String(version)) = subject.remove("apiVersion") {
            let group = version.split_once('/').map_or("", |(group, _)| group);
            subject.entry("apiGroup").or_insert_with(|| group.into());
        }
    }
}

fn disruption_budget(fields: &mut Fields, changes: &mut Vec<Change>) {
    let Some(spec) = spec_of(fields) else { return };
    if spec.get("selector").and_then(Value::as_object).is_some_and(Map::is_empty) {
        let message = "an empty selector, which selected no pod, selects all pods of the namespace in policy/v1";
        changes.push(Change { path: "spec.selector".into(), message: message.into() });
    }
}

fn autoscaler_v1(fields: &mut Fields, _: &mut Vec<Change>) {
    let annotations = fields.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    let others = annotations.and_then(Value::as_object_mut).and_then(|annotations| annotations.remove(METRICS));
    let others = others.and_then(|others| serde_json::from_str::<Vec<Value>>(others.as_str()?).ok());
    let Some(spec) = spec_of(fields) else { return };
    let mut metrics = Vec::new();
    if let Some(percent) = spec.remove("targetCPUUtilizationPercentage").filter(|value| !value.is_null()) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    metrics.extend(others.unwrap_or_default());
    if !metrics.is_empty() {
        spec.insert("metrics".into(), metrics.into());
    }
}

/// What autoscaling/v2 says of anything but the use of processors stands in autoscaling/v1 as this annotation.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";

/// An autoscaler of autoscaling/v2 as one of autoscaling/v1, which [`convert`] reads as the former again.
pub fn to_autoscaling_v1(fields: &mut Fields) {
    fields.insert("apiVersion".into(), "autoscaling/v1".into());
    let Some(spec) = spec_of(fields) else { return };
    let is_cpu = |metric: &Value| {
        metric.pointer("/resource/name") == Some(&json!("cpu"))
            && metric.pointer("/resource/target/type") == Some(&json!("Utilization"))
    };
    let mut metrics = match spec.remove("metrics") {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    if let Some(index) = metrics.iter().position(is_cpu) {
        let percent = metrics.remove(index).pointer("/resource/target/averageUtilization").cloned();
        spec.insert("targetCPUUtilizationPercentage".into(), percent.unwrap_or_default());
    }
    if !metrics.is_empty() {
        let text = Value::Array(metrics).to_string();
        map_at_mut(map_at_mut(fields, "metadata"), "annotations").insert(METRICS.into(), text.into());
    }
}

fn autoscaler_v2beta1(fields: &mut Fields, _: &mut Vec<Change>) {
    let Some(spec) = spec_of(fields) else { return };
    for (_, metric) in maps_in(spec, "metrics") {
        for source in ["resource", "containerResource", "pods", "object", "external"] {
            if let Some(source) = metric.get_mut(source).and_then(Value::as_object_mut) {
                autoscaler_metric(source);
            }
        }
    }
}

/// One source of a metric: its name moves into `metric`, and what it is held against into `target`.
fn autoscaler_metric(source: &mut Fields) {
    if source.get("target").is_some_and(|target| target.get("kind").is_some()) {
        rename(source, "target", "describedObject");
    }
    let selector = source.remove("metricSelector").or_else(|| source.remove("selector"));
    if let Some(name) = source.remove("metricName") {
        let metric = map_at_mut(source, "metric");
        metric.insert("name".into(), name);
        if let Some(selector) = selector {
            metric.insert("selector".into(), selector);
        }
    }
    for (old, target_type, new) in [
        ("targetAverageUtilization", "Utilization", "averageUtilization"),
        ("targetAverageValue", "AverageValue", "averageValue"),
        ("averageValue", "AverageValue", "averageValue"),
        ("targetValue", "Value", "value"),
    ] {
        if let Some(value) = source.remove(old) {
            let target = map_at_mut(source, "target");
            target.entry("type").or_insert_with(|| target_type.into());
            target.insert(new.into(), value);
        }
    }
}

/// One schema for all versions became a schema in each.
fn custom_resource_definition(fields: &mut Fields, _: &mut Vec<Change>) {
    let Some(spec) = spec_of(fields) else { return };
    let version = spec.remove("version");
    if let Some(version) = version.filter(|_| spec.get("versions").is_none_or(Value::is_null)) {
        spec.insert("versions".into(), json!([{"name": version, "served": true, "storage": true}]));
    }
    let any_object = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let shared = [
        ("schema", Some(spec.remove("validation").filter(|v| !v.is_null()).unwrap_or(any_object))),
        ("subresources", spec.remove("subresources")),
        ("additionalPrinterColumns", spec.remove("additionalPrinterColumns")),
    ];
    for (_, version) in maps_in(spec, "versions") {
        for (field, value) in &shared {
            if let Some(value) = value {
                version.entry(*field).or_insert_with(|| value.clone());
            }
        }
        for (_, column) in maps_in(version, "additionalPrinterColumns") {
            rename(column, "JSONPath", "jsonPath");
        }
    }
    if let Some(conversion) = spec.get_mut("conversion").and_then(Value::as_object_mut) {
        let client = conversion.remove("webhookClientConfig");
        let versions = conversion.remove("conversionReviewVersions");
        for (field, value) in [("clientConfig", client), ("conversionReviewVersions", versions)] {
            if let Some(value) = value {
                map_at_mut(conversion, "webhook").insert(field.into(), value);
            }
        }
    }
}

/// What v1beta1 filled in by itself, v1 wants written (or fills in differently).
fn webhooks(fields: &mut Fields, _: &mut Vec<Change>) {
    for (_, webhook) in maps_in(fields, "webhooks") {
        for (field, value) in [
            ("failurePolicy", json!("Ignore")),
            ("matchPolicy", json!("Exact")),
            ("timeoutSeconds", json!(30)),
            ("sideEffects", json!("None")),
            ("admissionReviewVersions", json!(["v1beta1"])),
        ] {
            webhook.entry(field).or_insert(value);
        }
    }
}

fn endpoint_slice(fields: &mut Fields, _: &mut Vec<Change>) {
    for (_, endpoint) in maps_in(fields, "endpoints") {
        let Some(Value::Object(mut topology)) = endpoint.remove("topology") else { continue };
        for (label, field) in [("kubernetes.io/hostname", "nodeName"), ("topology.kubernetes.io/zone", "zone")] {
            if let Some(value) = topology.remove(label) {
                endpoint.entry(field).or_insert(value);
            }
        }
        if !topology.is_empty() {
            endpoint.insert("deprecatedTopology".into(), Value::Object(topology));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(object: Value) -> (Value, Vec<String>) {
        let mut object = Object::from_value(object).unwrap();
        let changes = convert(&mut object).into_iter().map(|c| format!("{}: {}", c.path, c.message)).collect();
        let once = object.to_value();
        assert_eq!(convert(&mut object), [], "converting again changes nothing");
        assert_eq!(object.to_value(), once);
        assert!(object.kind().is_some(), "{once} is of a kind that is served");
        (once, changes)
    }

    #[test]
    fn every_conversion_ends_in_a_served_kind() {
        for conversion in CONVERSIONS {
            for kind in conversion.kinds {
                converted(json!({"apiVersion": conversion.from, "kind": kind}));
                converted(json!({"apiVersion": conversion.from, "kind": kind, "spec": [], "webhooks": {}}));
            }
        }
    }

    #[test]
    fn the_ingress_of_the_notes() {
        let (ingress, changes) = converted(json!({
        "apiVersion": "networking.k8s.io/v1beta1", "kind": "Ingress", "metadata": {"name": "ingress-nginx"},
        "spec": {"backend": {"serviceName": "rest", "servicePort": "http"}, "rules": [{"http": {"paths": [
            {"path": null, "backend": {"serviceName": "hname-svc-default", "servicePort": 80}},
            {"path": "/ip", "pathType": "Exact", "backend": {"serviceName": "ip-svc", "servicePort": "80"}},
            {"backend": {"service": {"name": "new", "port": {"number": 1}}}},
        ]}}]}}));
        assert_eq!(ingress["apiVersion"], "networking.k8s.io/v1");
        assert_eq!(
            ingress["spec"],
            json!({
            "defaultBackend": {"service": {"name": "rest", "port": {"name": "http"}}},
            "rules": [{"http": {"paths": [
                {"path": "/", "pathType": "ImplementationSpecific",
                    "backend": {"service": {"name": "hname-svc-default", "port": {"number": 80}}}},
                {"path": "/ip", "pathType": "Exact", "backend": {"service": {"name": "ip-svc", "port": {"number": 80}}}},
                {"path": "/", "pathType": "ImplementationSpecific",
                    "backend": {"service": {"name": "new", "port": {"number": 1}}}},
            ]}}]})
        );
        assert_eq!(
            changes,
            [
                "apiVersion: networking.k8s.io/v1beta1 Ingress is obsolete (removed in 1.22); read as \
             networking.k8s.io/v1, pathType ImplementationSpecific",
                "spec.rules[0].http.paths[0].path: path is empty: read as \"/\"",
            ]
        );
    }

    #[test]
    fn a_workload_without_selector_takes_its_labels() {
        let template = json!({"metadata": {"labels": {"app": "web"}}});
        let (deployment, changes) = converted(json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment",
            "spec": {"template": template, "rollbackTo": {"revision": 1}}}));
        assert_eq!(deployment["spec"], json!({"template": template, "selector": {"matchLabels": {"app": "web"}}}));
        assert_eq!(changes.len(), 3);
        let kept = json!({"template": template, "selector": {"matchLabels": {"x": "y"}}});
        let (deployment, _) = converted(json!({"apiVersion": "apps/v1beta2", "kind": "DaemonSet", "spec": kept}));
        assert_eq!(deployment["spec"], kept);
    }

    #[test]
    fn autoscalers_of_all_versions() {
        let cpu = json!([{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]);
        let (v1, changes) = converted(json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}}));
        assert_eq!(v1["spec"]["metrics"], cpu);
        assert!(changes.is_empty(), "autoscaling/v1 is served to this day");
        let (beta, _) = converted(json!({"apiVersion": "autoscaling/v2beta1", "kind": "HorizontalPodAutoscaler",
            "spec": {"metrics": [{"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 50}}, {
                "type": "Object", "object": {"metricName": "hits", "target": {"kind": "Ingress", "name": "i"},
                "targetValue": "2k"}}]}}));
        assert_eq!(beta["spec"]["metrics"][0], cpu[0]);
        assert_eq!(
            beta["spec"]["metrics"][1]["object"],
            json!({"metric": {"name": "hits"},
            "describedObject": {"kind": "Ingress", "name": "i"}, "target": {"type": "Value", "value": "2k"}})
        );
    }

    #[test]
    fn a_custom_resource_definition_gets_a_schema_a_version() {
        let (crd, _) = converted(json!({"apiVersion": "apiextensions.k8s.io/v1beta1",
            "kind": "CustomResourceDefinition", "spec": {"version": "v1", "validation": {"openAPIV3Schema": {}},
            "additionalPrinterColumns": [{"name": "Age", "JSONPath": ".age"}]}}));
        assert_eq!(
            crd["spec"],
            json!({"versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {}}, "additionalPrinterColumns": [{"name": "Age", "jsonPath": ".age"}]}]})
        );
    }

    #[test]
    fn what_is_present_stays_as_it_is() {
        for object in [
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"backend": 1}}),
            json!({"apiVersion": "extensions/v1beta1", "kind": "Service"}),
            json!({"kind": "Ingress"}),
        ] {
            let mut same = Object::from_value(object.clone()).unwrap();
            assert_eq!(convert(&mut same), []);
            assert_eq!(same.to_value(), object);
        }
    }
}
