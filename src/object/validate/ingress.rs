//! What an Ingress must be.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::field::{Errors, Field};
use super::names;

pub fn ingress(root: &Field, errors: &mut Errors) {
    let spec = root.get("spec");
    let (default, rules) = (spec.get("defaultBackend"), spec.get("rules"));
    if !default.is_set() && !rules.is_filled() {
        let value = rules.value.cloned().unwrap_or_else(|| json!([]));
        errors.push(spec.invalid_value(value, "either `defaultBackend` or `rules` must be specified"));
    }
    if default.is_set() {
        backend(&default, errors);
    }
    for rule in rules.items() {
        host(&rule.get("host"), errors);
        let http = rule.get("http");
        let paths = http.get("paths");
        if http.is_set() && !paths.is_filled() {
            errors.push(paths.required(""));
        }
        for each in paths.items() {
            path(&each, errors);
        }
    }
    for tls in spec.get("tls").items() {
        for name in tls.get("hosts").items() {
            host(&name, errors);
        }
    }
    let class = spec.get("ingressClassName");
    if class.is_set() {
        class.follows(names::dns1123_subdomain, errors);
    }
}

fn host(field: &Field, errors: &mut Errors) {
    let host = field.text();
    if host.is_empty() {
        return;
    }
    if host.parse::<IpAddr>().is_ok() {
        errors.push(field.invalid("must be a DNS name, not an IP address"));
    } else if host.contains('*') {
        field.follows(names::wildcard_dns1123_subdomain, errors);
    } else {
        field.follows(names::dns1123_subdomain, errors);
    }
}

fn path(each: &Field, errors: &mut Errors) {
    let (path, path_type) = (each.get("path"), each.get("pathType"));
    if !path_type.is_set() {
        let mut error = path_type.required("pathType must be specified");
        error.suggestion = Some("add \"pathType: Prefix\"".into());
        return errors.push(error);
    }
    path_type.one_of(&["Exact", "ImplementationSpecific", "Prefix"], errors);
    let is_written = path.is_filled() || matches!(path_type.text(), "Exact" | "Prefix");
    if is_written && !path.text().starts_with('/') {
        errors.push(path.invalid_value(path.text(), "must be an absolute path"));
    }
    if matches!(path_type.text(), "Exact" | "Prefix") {
        for part in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|part| path.text().contains(part)) {
            errors.push(path.invalid(format!("must not contain '{part}'")));
        }
        for end in ["/..", "/."].into_iter().filter(|end| path.text().ends_with(end)) {
            errors.push(path.invalid(format!("cannot end with '{end}'")));
        }
    }
    backend(&each.get("backend"), errors);
}

fn backend(backend: &Field, errors: &mut Errors) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => {
            return errors
                .push(backend.invalid_value(Value::from(""), "cannot set both resource and service backends"));
        }
        (false, false) => {
            return errors.push(backend.invalid_value(Value::from(""), "resource or service backend is required"));
        }
        (false, true) => return,
        (true, false) => {}
    }
    let name = service.get("name");
    if name.is_filled() {
        name.follows(names::dns1035_label, errors);
    } else {
        errors.push(name.required(""));
    }
    let port = service.get("port");
    let (number, port_name) = (port.get("number"), port.get("name"));
    match (number.integer().filter(|number| *number != 0), port_name.is_filled()) {
        (Some(_), true) => {
            errors.push(backend.invalid_value(Value::from(""), "cannot set both port name & port number"))
        }
        (None, false) => errors.push(backend.required("port name or number is required")),
        (Some(_), false) => number.port(errors),
        (None, true) => port_name.follows(names::port_name, errors),
    }
}
