//! What a Service may say of its address families. Which of them the lab has is for admission.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::field::{Errors, Field};

const NO_CLUSTER_IP: &str = "None";

pub fn service(spec: &Field, service_type: &str, errors: &mut Errors) {
    let (policy, families, ips) = (spec.get("ipFamilyPolicy"), spec.get("ipFamilies"), spec.get("clusterIPs"));
    if service_type == "ExternalName" {
        for field in [&families, &policy].into_iter().filter(|field| field.is_filled()) {
            errors.push(field.forbidden("may not be set for ExternalName services"));
        }
        return;
    }
    policy.one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"], errors);
    let families = families.items();
    for (index, family) in families.iter().enumerate() {
        family.one_of(&["IPv4", "IPv6"], errors);
        if families.iter().take(index).any(|other| other.text() == family.text()) {
            errors.push(family.duplicate(family.text()));
        }
    }

    let addresses = ips.items();
    let shown = || ips.value.cloned().unwrap_or_else(|| json!([]));
    if addresses.len() > 2 {
        errors.push(ips.invalid_value(shown(), "may only hold up to 2 values"));
    }
    if addresses.first().is_some_and(|ip| ip.text() == NO_CLUSTER_IP) {
        if addresses.len() > 1 {
            errors.push(ips.invalid_value(shown(), "'None' must be the first and only value"));
        }
        return;
    }
    let parsed: Vec<IpAddr> = addresses.iter().filter_map(|ip| ip.text().parse().ok()).collect();
    // What is no address has its own error.
    if parsed.len() != addresses.len() {
        return;
    }
    if parsed.iter().enumerate().any(|(at, ip)| parsed.iter().take(at).any(|other| other.is_ipv4() == ip.is_ipv4())) {
        errors.push(ips.invalid_value(shown(), "may specify no more than one IP for each IP family"));
    }
    for (index, ((address, field), family)) in parsed.iter().zip(&addresses).zip(&families).enumerate() {
        let is_other = match family.text() {
            "IPv4" => !address.is_ipv4(),
            "IPv6" => address.is_ipv4(),
            _ => false,
        };
        if is_other {
            let why = format!("expected an {} value as indicated by `ipFamilies[{index}]`", family.text());
            errors.push(field.invalid(why));
        }
    }
}

/// The first family stays, as the first address does; the second may come and go by the policy.
pub fn update(old: &Field, new: &Field, errors: &mut Errors) {
    let is_headless = |spec: &Field| spec.get("clusterIP").text() == NO_CLUSTER_IP;
    if is_headless(old) || is_headless(new) {
        return;
    }
    let (before, after) = (old.get("ipFamilies").items(), new.get("ipFamilies").items());
    if let (Some(had), Some(has)) = (before.first(), after.first())
        && had.text() != has.text()
    {
        let list = new.get("ipFamilies").value.cloned().unwrap_or(Value::Null);
        errors.push(has.invalid_value(list, "may not change once set"));
    }
}
