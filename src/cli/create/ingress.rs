//! `create ingress`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, HowArgs, metadata};

/// Create an Ingress
#[derive(Debug, Args)]
pub struct IngressArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// HOST/PATH=SERVICE:PORT[,tls[=SECRET]]; a PATH that ends in * is a prefix
    #[arg(long)]
    rule: Vec<String>,
    /// SERVICE:PORT for what no rule fits
    #[arg(long)]
    default_backend: Option<String>,
    /// The IngressClass
    #[arg(long)]
    class: Option<String>,
    /// KEY=VALUE
    #[arg(long)]
    annotation: Vec<String>,
    #[command(flatten)]
    pub how: HowArgs,
}

/// `host/path=service:port,tls=secret`, taken apart.
struct Rule<'a> {
    host: &'a str,
    path: String,
    path_type: &'static str,
    backend: Value,
    /// The Secret's name, empty when none is named.
    tls: Option<&'a str>,
}

impl<'a> Rule<'a> {
    fn parse(text: &'a str) -> Result<Self, Failure> {
        let invalid = || {
            let shape = "host/path=svcname:svcport[,tls[=secret]]";
            Failure::error(format!("rule {text} is invalid and should be in format {shape}"))
        };
        let (route, tls) = match text.split_once(',') {
            None => (text, None),
            Some((route, "tls")) => (route, Some("")),
            Some((route, tls)) => (route, Some(tls.strip_prefix("tls=").ok_or_else(invalid)?)),
        };
        let (place, service) = route.split_once('=').ok_or_else(invalid)?;
        let (host, path) = place.split_once('/').ok_or_else(invalid)?;
        let (path, path_type) = match path.strip_suffix('*') {
            Some(prefix) => (prefix, "Prefix"),
            None => (path, "Exact"),
        };
        let backend = backend(service).ok_or_else(invalid)?;
        Ok(Rule { host, path: format!("/{path}"), path_type, backend, tls })
    }
}

fn backend(text: &str) -> Option<Value> {
    let (name, port) = text.split_once(':').filter(|(name, port)| !name.is_empty() && !port.is_empty())?;
    if port.contains([':', '=']) {
        return None;
    }
    let port = match port.parse::<u16>() {
        Ok(number) => json!({ "number": number }),
        Err(_) => json!({ "name": port }),
    };
    Some(json!({"service": {"name": name, "port": port}}))
}

pub fn ingress(args: &IngressArgs) -> Result<Value, Failure> {
    if args.default_backend.is_none() && args.rule.is_empty() {
        return Err(Failure::error(
            "not enough information provided: every ingress has to either specify a default-backend (which catches all \
             traffic) or a list of rules (which catch specific paths)",
        ));
    }
    let rules = args.rule.iter().map(|text| Rule::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let mut spec = json!({});
    if let Some(class) = &args.class {
        spec["ingressClassName"] = class.as_str().into();
    }
    if let Some(text) = &args.default_backend {
        let backend = backend(text)
            .ok_or_else(|| Failure::error("default-backend should be in format servicename:serviceport"))?;
        spec["defaultBackend"] = backend;
    }
    if !rules.is_empty() {
        spec["rules"] = Value::Array(by_host(&rules));
    }
    let tls = tls(&rules);
    if !tls.is_empty() {
        spec["tls"] = Value::Array(tls);
    }
    let mut metadata = metadata(&args.name, json!({}));
    let annotation = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok((key.to_string(), Value::from(value))),
        None => Err(Failure::error(format!("annotation {text} is invalid and should be in format key=[value]"))),
    };
    let annotations: Map<String, Value> = args.annotation.iter().map(annotation).collect::<Result<_, _>>()?;
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    Ok(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec,
        "status": {"loadBalancer": {}}}))
}

/// One entry a host, in the order in which they were named.
fn by_host(rules: &[Rule]) -> Vec<Value> {
    let mut hosts: Vec<(&str, Vec<Value>)> = Vec::new();
    for rule in rules {
        let path = json!({"backend": rule.backend, "path": rule.path, "pathType": rule.path_type});
        match hosts.iter_mut().find(|(host, _)| *host == rule.host) {
            Some((_, paths)) => paths.push(path),
            None => hosts.push((rule.host, vec![path])),
        }
    }
    let entry = |(host, paths): (&str, Vec<Value>)| match host {
        "" => json!({"http": {"paths": paths}}),
        host => json!({"host": host, "http": {"paths": paths}}),
    };
    hosts.into_iter().map(entry).collect()
}

/// One entry a Secret; a host stands in the first that it is named for.
fn tls(rules: &[Rule]) -> Vec<Value> {
    let mut secrets: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for rule in rules {
        let Some(secret) = rule.tls.filter(|_| !seen.contains(&rule.host)) else { continue };
        seen.push(rule.host);
        match secrets.iter_mut().find(|(name, _)| *name == secret) {
            Some((_, hosts)) => hosts.push(rule.host),
            None => secrets.push((secret, vec![rule.host])),
        }
    }
    let entry = |(secret, hosts): (&str, Vec<&str>)| {
        let hosts: Vec<&str> = hosts.into_iter().filter(|host| !host.is_empty()).collect();
        match (secret, hosts.is_empty()) {
            ("", true) => None,
            ("", false) => Some(json!({ "hosts": hosts })),
            (secret, true) => Some(json!({ "secretName": secret })),
            (secret, false) => Some(json!({"hosts": hosts, "secretName": secret})),
        }
    };
    secrets.into_iter().filter_map(entry).collect()
}
