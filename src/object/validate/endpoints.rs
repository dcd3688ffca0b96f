//! What Endpoints and EndpointSlices must be.

use std::net::IpAddr;

use serde_json::Value;

use super::field::{Errors, Field};
use super::{names, pod};

/// The most endpoints that one slice holds.
const SLICE_MAX: usize = 1000;

pub fn endpoints(root: &Field, errors: &mut Errors) {
    for subset in root.get("subsets").items() {
        let (ready, not_ready) = (subset.get("addresses"), subset.get("notReadyAddresses"));
        if !ready.is_filled() && !not_ready.is_filled() {
            errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        for address in ready.items().into_iter().chain(not_ready.items()) {
            let ip = address.get("ip");
            pod::ip_address(&ip, errors);
            reachable(&ip, errors);
        }
        ports(&subset.get("ports"), true, errors);
    }
}

/// An address that is somewhere else than the machine that asks.
pub fn reachable(ip: &Field, errors: &mut Errors) {
    let detail = match ip.text().parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => "may not be unspecified (0.0.0.0 or ::)".to_string(),
        Ok(ip) if ip.is_loopback() => "may not be in the loopback range (127.0.0.0/8, ::1/128)".into(),
        Ok(IpAddr::V4(ip)) if ip.is_link_local() => {
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)".into()
        }
        Ok(ip) if ip.is_multicast() => "may not be in the multicast range (224.0.0.0/4, ff00::/8)".into(),
        _ => return,
    };
    errors.push(ip.invalid(detail));
}

fn ports(ports: &Field, name_required: bool, errors: &mut Errors) {
    let all = ports.items();
    let mut taken = std::collections::BTreeSet::new();
    for port in &all {
        let name = port.get("name");
        if name.is_filled() {
            name.follows(names::dns1123_label, errors);
        } else if name_required && all.len() > 1 {
            errors.push(name.required(""));
        }
        if !name_required && !taken.insert(name.text()) {
            errors.push(name.duplicate(name.text()));
        }
        let number = port.get("port");
        number.port(errors);
        if name_required && !number.is_set() {
            errors.push(number.invalid_value(0, "must be between 1 and 65535, inclusive"));
        }
        pod::protocol(&port.get("protocol"), errors);
    }
}

pub fn endpoint_slice(root: &Field, errors: &mut Errors) {
    let address_type = root.get("addressType");
    if !address_type.is_filled() {
        errors.push(address_type.required(""));
    } else {
        address_type.one_of(&["FQDN", "IPv4", "IPv6"], errors);
    }
    let list = root.get("endpoints");
    let all = list.items();
    if all.len() > SLICE_MAX {
        let error = super::FieldError::new(
            list.path.as_str(),
            super::Reason::TooMany,
            Value::from(all.len()),
            format!("must have at most {SLICE_MAX} items"),
        );
        errors.push(error);
    }
    for endpoint in all {
        let addresses = endpoint.get("addresses");
        if !addresses.is_filled() {
            errors.push(addresses.required("must contain at least 1 address"));
        }
        for address in addresses.items() {
            let ip = address.text().parse::<IpAddr>();
            match (address_type.text(), ip) {
                ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => reachable(&address, errors),
                ("IPv4", _) => errors.push(address.invalid("must be an IPv4 address")),
                ("IPv6", _) => errors.push(address.invalid("must be an IPv6 address")),
                ("FQDN", _) => address.follows(names::dns1123_subdomain, errors),
                _ => {}
            }
        }
    }
    ports(&root.get("ports"), false, errors);
}
