//! What a pod must be, by itself and as a template.

use std::collections::BTreeSet;

use super::field::{Errors, Field};
use super::names;
use super::quantity::{MALFORMED, Quantity};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub fn pod(root: &Field, errors: &mut Errors) {
    pod_spec(&root.get("spec"), &[], errors);
}

/// A template `{metadata, spec}`. `more_volumes` are what its pods can mount beside their own volumes.
pub fn template(template: &Field, more_volumes: &[&str], errors: &mut Errors) {
    let before = errors.len();
    names::labels(&template.at("metadata.labels"), errors);
    names::annotations(&template.at("metadata.annotations"), errors);
    // The API server leaves "metadata" out of these paths.
    for error in errors.iter_mut().skip(before) {
        let spelled = error.path.replacen(".metadata.", ".", 1);
        let written = std::mem::replace(&mut error.path, spelled);
        error.blame.get_or_insert(written);
    }
    pod_spec(&template.get("spec"), more_volumes, errors);
}

fn pod_spec(spec: &Field, more_volumes: &[&str], errors: &mut Errors) {
    let mut volumes = volumes(&spec.get("volumes"), errors);
    volumes.extend(more_volumes);
    let containers = spec.get("containers");
    if !containers.is_filled() {
        errors.push(containers.required(""));
    }
    // Names are unique over both lists, host ports over the containers that run side by side.
    let mut container_names = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    for each in containers.items() {
        container(&each, &volumes, &mut container_names, Some(&mut host_ports), errors);
    }
    for each in spec.get("initContainers").items() {
        container(&each, &volumes, &mut container_names, None, errors);
    }
    spec.get("restartPolicy").one_of(&["Always", "Never", "OnFailure"], errors);
    spec.get("dnsPolicy").one_of(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"], errors);
    names::labels(&spec.get("nodeSelector"), errors);
    spec.get("terminationGracePeriodSeconds").not_negative(errors);
    spec.get("activeDeadlineSeconds").between(1, i64::from(i32::MAX), errors);
    for (name, rule) in [
        ("hostname", names::dns1123_label as fn(&str) -> Vec<String>),
        ("subdomain", names::dns1123_label),
        ("serviceAccountName", names::dns1123_subdomain),
        ("nodeName", names::dns1123_subdomain),
    ] {
        let field = spec.get(name);
        if field.is_filled() {
            field.follows(rule, errors);
        }
    }
    for toleration in spec.get("tolerations").items() {
        toleration.get("operator").one_of(&["Equal", "Exists"], errors);
        toleration.get("effect").one_of(&["NoExecute", "NoSchedule", "PreferNoSchedule", ""], errors);
        let key = toleration.get("key");
        if key.is_filled() {
            key.follows(names::qualified_name, errors);
        } else if toleration.get("operator").text() != "Exists" {
            let operator = toleration.get("operator");
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(operator.invalid_value(operator.text(), detail));
        }
    }
    for alias in spec.get("hostAliases").items() {
        ip_address(&alias.get("ip"), errors);
        for name in alias.get("hostnames").items() {
            name.follows(names::dns1123_subdomain, errors);
        }
    }
}

/// An IP address, in Kubernetes' words if it is none.
pub fn ip_address(field: &Field, errors: &mut Errors) {
    if field.text().parse::<std::net::IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(field.invalid_value(field.text(), detail));
    }
}

/// Checks the volumes and returns their names.
fn volumes<'a>(volumes: &Field<'a>, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut known = BTreeSet::new();
    for volume in volumes.items() {
        let name = volume.get("name");
        if !name.is_filled() {
            errors.push(name.required(""));
        } else {
            name.follows(names::dns1123_label, errors);
            if !known.insert(name.text()) {
                errors.push(name.duplicate(name.text()));
            }
        }
        let fields = volume.value.and_then(|value| value.as_object());
        let sources = fields.into_iter().flat_map(|fields| fields.keys()).filter(|field| *field != "name");
        for (index, source) in sources.map(|source| volume.get(source)).filter(Field::is_set).enumerate() {
            if index > 0 {
                errors.push(source.forbidden("may not specify more than 1 volume type"));
            }
        }
        host_path(&volume.get("hostPath"), errors);
        for (source, field) in [("persistentVolumeClaim", "claimName"), ("secret", "secretName"), ("configMap", "name")]
        {
            let source = volume.get(source);
            if source.is_set() && !source.get(field).is_filled() {
                errors.push(source.get(field).required(""));
            }
            source.get("defaultMode").between(0, 0o777, errors);
        }
    }
    known
}

pub fn host_path(host_path: &Field, errors: &mut Errors) {
    if !host_path.is_set() {
        return;
    }
    let path = host_path.get("path");
    if !path.is_filled() {
        errors.push(path.required(""));
    } else if path.text().split('/').any(|part| part == "..") {
        errors.push(path.invalid("must not contain '..'"));
    }
    let types = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    host_path.get("type").one_of(&types, errors);
}

fn container<'a>(
    container: &Field<'a>,
    volumes: &BTreeSet<&str>,
    taken_names: &mut BTreeSet<&'a str>,
    host_ports: Option<&mut BTreeSet<String>>,
    errors: &mut Errors,
) {
    let name = container.get("name");
    if !name.is_filled() {
        errors.push(name.required(""));
    } else {
        name.follows(names::dns1123_label, errors);
        if !taken_names.insert(name.text()) {
            errors.push(name.duplicate(name.text()));
        }
    }
    let image = container.get("image");
    if !image.is_filled() {
        errors.push(image.required(""));
    } else if image.text().trim() != image.text() {
        errors.push(image.invalid("must not have leading or trailing whitespace"));
    }
    container.get("imagePullPolicy").one_of(&["Always", "IfNotPresent", "Never"], errors);
    container.get("terminationMessagePolicy").one_of(&["FallbackToLogsOnError", "File"], errors);
    ports(&container.get("ports"), host_ports, errors);
    environment(&container.get("env"), errors);
    mounts(&container.get("volumeMounts"), volumes, errors);
    resources(&container.get("resources"), errors);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.get(name);
        if probe.is_set() {
            handler(&probe, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
            let numbers =
                ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
            for number in numbers {
                probe.get(number).not_negative(errors);
            }
            let success = probe.get("successThreshold");
            if name != "readinessProbe" && success.integer().is_some_and(|number| number > 1) {
                errors.push(success.invalid("must be 1"));
            }
        }
    }
    for name in ["postStart", "preStop"] {
        let hook = container.get("lifecycle").get(name);
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], errors);
        }
    }
}

fn ports(ports: &Field, mut host_ports: Option<&mut BTreeSet<String>>, errors: &mut Errors) {
    let mut taken_names = BTreeSet::new();
    for port in ports.items() {
        let name = port.get("name");
        if name.is_filled() {
            name.follows(names::port_name, errors);
            if !taken_names.insert(name.text()) {
                errors.push(name.duplicate(name.text()));
            }
        }
        let number = port.get("containerPort");
        if number.integer().unwrap_or(0) == 0 {
            errors.push(number.required(""));
        } else {
            number.port(errors);
        }
        port.get("protocol").one_of(PROTOCOLS, errors);
        let host_port = port.get("hostPort");
        match host_port.integer() {
            None | Some(0) => {}
            Some(number) => {
                host_port.port(errors);
                let id = format!("{}/{}/{number}", port.get("protocol").text(), port.get("hostIP").text());
                if host_ports.as_mut().is_some_and(|taken| !taken.insert(id.clone())) {
                    errors.push(host_port.duplicate(id));
                }
            }
        }
    }
}

fn environment(env: &Field, errors: &mut Errors) {
    for variable in env.items() {
        let (name, from) = (variable.get("name"), variable.get("valueFrom"));
        if name.is_filled() {
            name.follows(names::environment_name, errors);
        } else {
            errors.push(name.required(""));
        }
        if !from.is_set() {
            continue;
        }
        let sources = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
        let given = sources.into_iter().filter(|source| from.get(source).is_set()).count();
        if variable.get("value").is_filled() {
            errors.push(from.invalid_value("", "may not be specified when `value` is not empty"));
        } else if given == 0 {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            errors.push(from.invalid_value("", detail));
        } else if given > 1 {
            errors.push(from.invalid_value("", "may not have more than one field specified at a time"));
        }
    }
}

fn mounts(mounts: &Field, volumes: &BTreeSet<&str>, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for mount in mounts.items() {
        let (name, path, sub_path) = (mount.get("name"), mount.get("mountPath"), mount.get("subPath"));
        if !name.is_filled() {
            errors.push(name.required(""));
        } else if !volumes.contains(name.text()) {
            let mut error = name.not_found();
            let near = crate::object::nearest::nearest(name.text(), volumes.iter().copied());
            error.suggestion = near.map(|near| format!("did you mean the volume \"{near}\"?"));
            errors.push(error);
        }
        if !path.is_filled() {
            errors.push(path.required(""));
        } else if !taken.insert(path.text()) {
            errors.push(path.invalid("must be unique"));
        }
        if sub_path.text().starts_with('/') {
            errors.push(sub_path.invalid("must be a relative path"));
        } else if sub_path.text().split('/').any(|part| part == "..") {
            errors.push(sub_path.invalid("must not contain '..'"));
        }
    }
}

fn resources(resources: &Field, errors: &mut Errors) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    let amounts = |field: &Field, errors: &mut Errors| {
        for name in field.value.and_then(|value| value.as_object()).into_iter().flat_map(|amounts| amounts.keys()) {
            quantity(&field.get(name), errors);
        }
    };
    amounts(&limits, errors);
    amounts(&requests, errors);
    for name in ["cpu", "memory", "ephemeral-storage"] {
        let (limit, request) = (limits.get(name), requests.get(name));
        let (Some(most), Some(asked)) = (limit.value, request.value) else { continue };
        if let (Some(at_most), Some(amount)) = (Quantity::of(most), Quantity::of(asked))
            && amount > at_most
        {
            let plain = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
            let detail = format!("must be less than or equal to {name} limit of {}", plain(most));
            let mut error = requests.invalid_value(plain(asked), detail);
            error.blame = Some(request.path.clone());
            errors.push(error);
        }
    }
}

/// A quantity that is not negative.
pub fn quantity(field: &Field, errors: &mut Errors) {
    match field.value.map(Quantity::of) {
        None => {}
        Some(None) => {
            let mut error = field.invalid(MALFORMED);
            let near = nearest_quantity(field.text());
            error.suggestion = near.map(|near| format!("try \"{near}\""));
            errors.push(error);
        }
        Some(Some(amount)) if amount < Quantity::ZERO => {
            errors.push(field.invalid("must be greater than or equal to 0"));
        }
        Some(Some(_)) => {}
    }
}

/// `64MB`, `64mb`, `64 Mi`: the unit that people mean.
fn nearest_quantity(text: &str) -> Option<String> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let (number, unit) = compact.split_at(compact.find(|c: char| c.is_ascii_alphabetic())?);
    let unit = match unit.to_ascii_lowercase().trim_end_matches('b') {
        "k" => "k",
        "m" => "M",
        "g" => "G",
        "t" => "T",
        "ki" => "Ki",
        "mi" => "Mi",
        "gi" => "Gi",
        "ti" => "Ti",
        _ => return None,
    };
    let better = format!("{number}{unit}");
    Quantity::parse(&better).map(|_| better)
}

/// Exactly one of the ways to act on a container.
fn handler(handler: &Field, ways: &[&str], errors: &mut Errors) {
    let given: Vec<Field> = ways.iter().map(|way| handler.get(way)).filter(Field::is_set).collect();
    match given.as_slice() {
        [] => errors.push(handler.required("must specify a handler type")),
        [_] => {}
        [_, more @ ..] => {
            errors.extend(more.iter().map(|field| field.forbidden("may not specify more than 1 handler type")));
        }
    }
    for way in ["httpGet", "tcpSocket", "grpc"] {
        let way = handler.get(way);
        if way.is_set() {
            port_or_name(&way.get("port"), errors);
        }
    }
    let exec = handler.get("exec");
    if exec.is_set() && !exec.get("command").is_filled() {
        errors.push(exec.get("command").required(""));
    }
}

/// A port by number or by name. Not set it is port 0, which is none.
pub fn port_or_name(field: &Field, errors: &mut Errors) {
    match field.value {
        Some(serde_json::Value::String(_)) => field.follows(names::port_name, errors),
        Some(_) => field.port(errors),
        None => errors.push(field.invalid_value(0, "must be between 1 and 65535, inclusive")),
    }
}

pub fn protocol(field: &Field, errors: &mut Errors) {
    field.one_of(PROTOCOLS, errors);
}
