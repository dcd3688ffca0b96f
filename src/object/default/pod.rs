//! The defaults of pods, by themselves and in the templates of what makes them.

use serde_json::{Map, Value, json};

use super::{Fields, existing, items, map, set, text};

/// The tolerations that admission adds to a pod, in seconds (kube-apiserver `--default-not-ready-toleration-seconds`).
const TOLERATION_SECONDS: i64 = 300;

/// A pod of its own: beside the defaults of its fields what the API server's admission gives it.
pub fn pod(fields: &mut Fields) {
    let Some(spec) = map(fields, "spec") else { return };
    pod_spec(spec);
    set(spec, "enableServiceLinks", true);
    set(spec, "priority", 0);
    set(spec, "preemptionPolicy", "PreemptLowerPriority");
    let account = ["serviceAccountName", "serviceAccount"].into_iter().map(|field| text(spec, field));
    let account = account.filter(|name| !name.is_empty()).map(str::to_string).next();
    let account = account.unwrap_or_else(|| "default".into());
    for field in ["serviceAccountName", "serviceAccount"] {
        set(spec, field, account.as_str());
    }
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            requests_from_limits(container);
        }
    }
    tolerations(spec);
}

/// What is limited and not requested is requested up to its limit.
fn requests_from_limits(container: &mut Fields) {
    let Some(resources) = existing(container, "resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    if let Some(requests) = map(resources, "requests") {
        for (resource, limit) in limits {
            requests.entry(resource).or_insert(limit);
        }
    }
}

fn tolerations(spec: &mut Fields) {
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(list) = tolerations.as_array_mut() else { return };
    for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerates = |toleration: &Value| {
            let of = |field| toleration.get(field).and_then(Value::as_str).unwrap_or("");
            (of("key") == taint || of("key").is_empty()) && matches!(of("effect"), "" | "NoExecute")
        };
        if !list.iter().any(tolerates) {
            list.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
}

/// The template of a workload: `{metadata, spec}` at `template`.
pub fn template(owner_spec: &mut Fields) {
    if let Some(spec) = existing(owner_spec, "template").and_then(|template| map(template, "spec")) {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Fields) {
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "restartPolicy", "Always");
    set(spec, "schedulerName", "default-scheduler");
    set(spec, "securityContext", json!({}));
    set(spec, "terminationGracePeriodSeconds", 30);
    let on_host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for each in items(spec, list) {
            container(each, on_host_network);
        }
    }
    for each in items(spec, "volumes") {
        volume(each);
    }
}

fn container(container: &mut Fields, on_host_network: bool) {
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    set(container, "resources", json!({}));
    let pull_policy = image_pull_policy(text(container, "image"));
    set(container, "imagePullPolicy", pull_policy);
    for port in items(container, "ports") {
        set(port, "protocol", "TCP");
        if let (true, Some(number)) = (on_host_network, port.get("containerPort").cloned()) {
            set(port, "hostPort", number);
        }
    }
    for env in items(container, "env") {
        if let Some(field_ref) = existing(env, "valueFrom").and_then(|from| existing(from, "fieldRef")) {
            set(field_ref, "apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = existing(container, name) {
            for (field, value) in
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
            {
                // 0 means "not set" to the API server.
                if probe.get(field) == Some(&json!(0)) {
                    probe.remove(field);
                }
                set(probe, field, value);
            }
            http_get(probe);
            if let Some(grpc) = existing(probe, "grpc") {
                set(grpc, "service", "");
            }
        }
    }
    if let Some(lifecycle) = existing(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = existing(lifecycle, hook) {
                http_get(hook);
            }
        }
    }
}

fn http_get(handler: &mut Fields) {
    if let Some(get) = existing(handler, "httpGet") {
        set(get, "path", "/");
        set(get, "scheme", "HTTP");
    }
}

/// `Always` for an image whose tag is, or is left out and so means, `latest`.
fn image_pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    let is_fixed = match (name.contains('@'), name.split_once(':')) {
        (true, _) => true,
        (false, Some((_, tag))) => tag != "latest",
        (false, None) => false,
    };
    if is_fixed { "IfNotPresent" } else { "Always" }
}

const VOLUMES_WITH_MODE: [&str; 4] = ["configMap", "secret", "downwardAPI", "projected"];

fn volume(volume: &mut Fields) {
    // A volume that says nothing about where it comes from is an empty directory.
    let names_a_source = volume.keys().any(|field| field != "name");
    if !names_a_source {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in VOLUMES_WITH_MODE {
        if let Some(source) = existing(volume, source) {
            set(source, "defaultMode", 0o644);
        }
    }
    if let Some(host_path) = existing(volume, "hostPath") {
        set(host_path, "type", "");
    }
    if let Some(downward) = existing(volume, "downwardAPI") {
        downward_items(downward);
    }
    if let Some(projected) = existing(volume, "projected") {
        for source in items(projected, "sources") {
            if let Some(token) = existing(source, "serviceAccountToken") {
                set(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = existing(source, "downwardAPI") {
                downward_items(downward);
            }
        }
    }
    let claim = existing(volume, "ephemeral").and_then(|ephemeral| existing(ephemeral, "volumeClaimTemplate"));
    if let Some(spec) = claim.and_then(|claim| map(claim, "spec")) {
        set(spec, "volumeMode", "Filesystem");
    }
}

fn downward_items(downward: &mut Map<String, Value>) {
    for item in items(downward, "items") {
        if let Some(field_ref) = existing(item, "fieldRef") {
            set(field_ref, "apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::image_pull_policy;

    #[test]
    fn an_image_is_pulled_by_its_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1.10", "IfNotPresent"),
            ("sysnet4admin/echo-hname", "Always"),
            ("mysql:5.6", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
            ("nginx:latest@sha256:abc", "IfNotPresent"),
        ] {
            assert_eq!(image_pull_policy(image), policy, "{image}");
        }
    }
}
