//! Containers, volumes and tolerations: what pods and the templates of pods have in common.

use serde_json::Value;

use super::page::{Page, joined, list, number, shown, text, time};

/// `Containers:` or `Init Containers:`. `statuses` is empty in a template. `level` is that of the heading.
pub fn containers(page: &mut Page, heading: &str, containers: &[Value], statuses: &[Value], level: usize) {
    if containers.is_empty() {
        return;
    }
    page.line(level, &format!("{heading}:"));
    // In templates kubectl indents the name by one blank alone.
    let (name_indent, inner) = if level == 0 { ("", 2) } else { (" ", level + 1) };
    for container in containers {
        let name = text(container, "/name");
        let name_level = if level == 0 { 1 } else { level };
        page.line(name_level, &format!("{name_indent}{name}:"));
        let status = statuses.iter().find(|s| text(s, "/name") == name);
        one(page, container, status, inner);
    }
}

fn one(page: &mut Page, container: &Value, status: Option<&Value>, level: usize) {
    if let Some(status) = status {
        page.field(level, "Container ID", text(status, "/containerID"));
    }
    page.field(level, "Image", text(container, "/image"));
    if let Some(status) = status {
        page.field(level, "Image ID", text(status, "/imageID"));
    }
    let ports = |field: &str| {
        let shown: Vec<String> = list(container, "/ports")
            .iter()
            .map(|p| {
                let protocol = if text(p, "/protocol").is_empty() { "TCP" } else { text(p, "/protocol") };
                format!("{}/{protocol}", number(p, field))
            })
            .collect();
        if shown.is_empty() { "<none>".to_string() } else { shown.join(", ") }
    };
    let plural = if list(container, "/ports").len() > 1 { "s" } else { "" };
    page.field(level, &format!("Port{plural}"), ports("/containerPort"));
    page.field(level, &format!("Host Port{plural}"), ports("/hostPort"));
    for (name, at) in [("Command", "/command"), ("Args", "/args")] {
        let words = list(container, at);
        if !words.is_empty() {
            page.line(level, &format!("{name}:"));
            for word in words.iter().filter_map(Value::as_str) {
                for line in word.split('\n') {
                    page.line(level + 1, line);
                }
            }
        }
    }
    if let Some(status) = status {
        state(page, "State", status.get("state"), level);
        if status.get("lastState").and_then(Value::as_object).is_some_and(|s| !s.is_empty()) {
            state(page, "Last State", status.get("lastState"), level);
        }
        let ready = status.get("ready") == Some(&Value::Bool(true));
        page.field(level, "Ready", if ready { "True" } else { "False" });
        page.field(level, "Restart Count", number(status, "/restartCount").to_string());
    }
    for (name, at) in [("Limits", "/resources/limits"), ("Requests", "/resources/requests")] {
        let quantities = container.pointer(at).and_then(Value::as_object).filter(|q| !q.is_empty());
        if let Some(quantities) = quantities {
            page.line(level, &format!("{name}:"));
            for resource in quantities.keys() {
                page.field(level + 1, resource, shown(container, &format!("{at}/{resource}")));
            }
        }
    }
    for (name, at) in [("Liveness", "/livenessProbe"), ("Readiness", "/readinessProbe"), ("Startup", "/startupProbe")] {
        if let Some(probe) = container.pointer(at).filter(|p| !p.is_null()) {
            page.field(level, name, self::probe(probe));
        }
    }
    environment(page, container, level);
    mounts(page, container, level);
}

fn state(page: &mut Page, name: &str, state: Option<&Value>, level: usize) {
    let empty = Value::Null;
    let state = state.unwrap_or(&empty);
    if let Some(running) = state.get("running") {
        page.field(level, name, "Running");
        page.field(level + 1, "Started", time(text(running, "/startedAt")));
    } else if let Some(ended) = state.get("terminated") {
        page.field(level, name, "Terminated");
        for (name, at) in [("Reason", "/reason"), ("Message", "/message")] {
            if !text(ended, at).is_empty() {
                page.field(level + 1, name, text(ended, at).trim_end());
            }
        }
        page.field(level + 1, "Exit Code", number(ended, "/exitCode").to_string());
        if number(ended, "/signal") > 0 {
            page.field(level + 1, "Signal", number(ended, "/signal").to_string());
        }
        page.field(level + 1, "Started", time(text(ended, "/startedAt")));
        page.field(level + 1, "Finished", time(text(ended, "/finishedAt")));
    } else if let Some(waiting) = state.get("waiting") {
        page.field(level, name, "Waiting");
        if !text(waiting, "/reason").is_empty() {
            page.field(level + 1, "Reason", text(waiting, "/reason"));
        }
    } else {
        page.field(level, name, "Waiting");
    }
}

fn probe(probe: &Value) -> String {
    let what = if let Some(http) = probe.get("httpGet") {
        let scheme = if text(http, "/scheme").is_empty() { "http" } else { text(http, "/scheme") };
        let host = text(http, "/host");
        format!("http-get {}://{host}:{}{}", scheme.to_lowercase(), shown(http, "/port"), text(http, "/path"))
    } else if let Some(tcp) = probe.get("tcpSocket") {
        format!("tcp-socket {}:{}", text(tcp, "/host"), shown(tcp, "/port"))
    } else if let Some(exec) = probe.get("exec") {
        let words: Vec<&str> = list(exec, "/command").iter().filter_map(Value::as_str).collect();
        format!("exec [{}]", words.join(" "))
    } else if let Some(grpc) = probe.get("grpc") {
        format!("grpc <pod>:{} {}", shown(grpc, "/port"), text(grpc, "/service"))
    } else {
        "unknown".to_string()
    };
    let or = |at: &str, default: i64| if probe.pointer(at).is_some() { number(probe, at) } else { default };
    format!(
        "{what} delay={}s timeout={}s period={}s #success={} #failure={}",
        number(probe, "/initialDelaySeconds"),
        or("/timeoutSeconds", 1),
        or("/periodSeconds", 10),
        or("/successThreshold", 1),
        or("/failureThreshold", 3),
    )
}

fn environment(page: &mut Page, container: &Value, level: usize) {
    for from in list(container, "/envFrom") {
        for (kind, at) in [("ConfigMap", "/configMapRef/name"), ("Secret", "/secretRef/name")] {
            if !text(from, at).is_empty() {
                page.line(level, "Environment Variables from:");
                page.line(level + 1, &format!("{}\t{kind}\tOptional: {}", text(from, at), is_optional(from, at)));
            }
        }
    }
    let variables = list(container, "/env");
    if variables.is_empty() {
        page.field(level, "Environment", "<none>");
        return;
    }
    page.line(level, "Environment:");
    for variable in variables {
        let name = text(variable, "/name");
        let from = |at: &str| variable.pointer(&format!("/valueFrom/{at}"));
        if let Some(source) = from("secretKeyRef") {
            let (key, secret) = (text(source, "/key"), text(source, "/name"));
            page.line(
                level + 1,
                &format!(
                    "{name}:\t<set to the key '{key}' in secret '{secret}'>\tOptional: {}",
                    is_optional(variable, "/valueFrom/secretKeyRef/name")
                ),
            );
        } else if let Some(source) = from("configMapKeyRef") {
            let (key, map) = (text(source, "/key"), text(source, "/name"));
            page.line(
                level + 1,
                &format!(
                    "{name}:\t<set to the key '{key}' of config map '{map}'>\tOptional: {}",
                    is_optional(variable, "/valueFrom/configMapKeyRef/name")
                ),
            );
        } else if let Some(source) = from("fieldRef") {
            let version = if text(source, "/apiVersion").is_empty() { "v1" } else { text(source, "/apiVersion") };
            page.line(level + 1, &format!("{name}:\t ({version}:{})", text(source, "/fieldPath")));
        } else {
            for (at, line) in text(variable, "/value").split('\n').enumerate() {
                if at == 0 {
                    page.line(level + 1, &format!("{name}:\t{line}"));
                } else {
                    page.line(level + 1, &format!("\t{line}"));
                }
            }
        }
    }
}

fn is_optional(value: &Value, name_at: &str) -> bool {
    let at = name_at.trim_end_matches("/name");
    value.pointer(at).and_then(|r| r.get("optional")) == Some(&Value::Bool(true))
}

fn mounts(page: &mut Page, container: &Value, level: usize) {
    let mounts = list(container, "/volumeMounts");
    if mounts.is_empty() {
        page.field(level, "Mounts", "<none>");
        return;
    }
    page.line(level, "Mounts:");
    let mut lines: Vec<String> = mounts
        .iter()
        .map(|mount| {
            let read_only = mount.get("readOnly") == Some(&Value::Bool(true));
            let mut flags = vec![if read_only { "ro".to_string() } else { "rw".to_string() }];
            if !text(mount, "/subPath").is_empty() {
                flags.push(format!("path=\"{}\"", text(mount, "/subPath")));
            }
            format!("{} from {} ({})", text(mount, "/mountPath"), text(mount, "/name"), flags.join(","))
        })
        .collect();
    lines.sort();
    for line in lines {
        page.line(level + 1, &line);
    }
}

/// kubectl's word for a kind of volume, by its field, and what it is.
const VOLUMES: [(&str, &str); 9] = [
    ("hostPath", "HostPath (bare host directory volume)"),
    ("emptyDir", "EmptyDir (a temporary directory that shares a pod's lifetime)"),
    ("secret", "Secret (a volume populated by a Secret)"),
    ("configMap", "ConfigMap (a volume populated by a ConfigMap)"),
    ("persistentVolumeClaim", "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)"),
    ("projected", "Projected (a volume that contains injected data from multiple sources)"),
    ("downwardAPI", "DownwardAPI (a volume populated by information about the pod)"),
    ("nfs", "NFS (an NFS mount that lasts the lifetime of a pod)"),
    ("csi", "CSI (a Container Storage Interface (CSI) volume source)"),
];

pub fn volumes(page: &mut Page, spec: &Value, level: usize) {
    let volumes = list(spec, "/volumes");
    if volumes.is_empty() {
        page.field(level, "Volumes", "<none>");
        return;
    }
    page.line(level, "Volumes:");
    let (name_indent, inner) = if level == 0 { ("", 2) } else { (" ", level + 1) };
    for volume in volumes {
        let name_level = if level == 0 { 1 } else { level };
        page.line(name_level, &format!("{name_indent}{}:", text(volume, "/name")));
        let Some((field, what)) = VOLUMES.iter().find(|(field, _)| volume.get(field).is_some()) else {
            page.field(inner, "Type", "<unknown>");
            continue;
        };
        page.field(inner, "Type", what);
        let of = |name: &str| shown(volume, &format!("/{field}/{name}"));
        let optional = || (volume.pointer(&format!("/{field}/optional")) == Some(&Value::Bool(true))).to_string();
        match *field {
            "hostPath" => {
                page.field(inner, "Path", of("path"));
                page.field(inner, "HostPathType", of("type"));
            }
            "emptyDir" => {
                page.field(inner, "Medium", of("medium"));
                let limit = of("sizeLimit");
                page.field(inner, "SizeLimit", if limit.is_empty() { "<unset>" } else { &limit });
            }
            "secret" => {
                page.field(inner, "SecretName", of("secretName"));
                page.field(inner, "Optional", optional());
            }
            "configMap" => {
                page.field(inner, "Name", of("name"));
                page.field(inner, "Optional", optional());
            }
            "persistentVolumeClaim" => {
                page.field(inner, "ClaimName", of("claimName"));
                let read_only = volume.pointer("/persistentVolumeClaim/readOnly") == Some(&Value::Bool(true));
                page.field(inner, "ReadOnly", read_only.to_string());
            }
            "nfs" => {
                page.field(inner, "Server", of("server"));
                page.field(inner, "Path", of("path"));
            }
            _ => {}
        }
    }
}

/// Node selectors and tolerations.
pub fn placement(page: &mut Page, spec: &Value, level: usize) {
    page.field(level, "Node-Selectors", joined(spec.get("nodeSelector")));
    let mut tolerations: Vec<&Value> = list(spec, "/tolerations").iter().collect();
    tolerations.sort_by_key(|t| text(t, "/key"));
    let tolerations: Vec<String> = tolerations.into_iter().map(toleration).collect();
    page.list(level, "Tolerations", &tolerations);
}

fn toleration(toleration: &Value) -> String {
    let mut words = text(toleration, "/key").to_string();
    if !text(toleration, "/value").is_empty() {
        words = format!("{words}={}", text(toleration, "/value"));
    }
    if !text(toleration, "/effect").is_empty() {
        words = format!("{words}:{}", text(toleration, "/effect"));
    }
    if text(toleration, "/operator") == "Exists" && text(toleration, "/value").is_empty() {
        words = if words.is_empty() { "op=Exists".to_string() } else { format!("{words} op=Exists") };
    }
    match toleration.get("tolerationSeconds").and_then(Value::as_i64) {
        Some(seconds) => format!("{words} for {seconds}s"),
        None => words,
    }
}
