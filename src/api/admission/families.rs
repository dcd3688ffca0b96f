//! Address families of Services: which a Service has, by what it asks for and what the lab has.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::status::Cause;
use crate::object::lab::Subnets;
use crate::object::{Object, map_at_mut};

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// As in `ipFamilies`.
pub fn of(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// A list of texts in `spec`.
pub fn list(service: &Object, field: &str) -> Vec<String> {
    let list = service.at(&["spec", field]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect()
}

fn policy(service: &Object) -> Option<&str> {
    service.str_at(&["spec", "ipFamilyPolicy"])
}

/// Fills in `ipFamilyPolicy` and `ipFamilies`, and takes the second address away from a Service that goes back to one
/// family. False if the Service asks for what cannot be, which is then in `causes`.
pub fn settle(old: Option<&Object>, service: &mut Object, lab: &Subnets, causes: &mut Vec<Cause>) -> bool {
    let before = causes.len();
    let (mut ips, mut families) = (list(service, "clusterIPs"), list(service, "ipFamilies"));
    let old = old.filter(|old| old.str_at(&["spec", "type"]) != Some("ExternalName"));
    let (old_ips, old_families) = match old {
        Some(old) => (list(old, "clusterIPs"), list(old, "ipFamilies")),
        None => (Vec::new(), Vec::new()),
    };
    // A Service that prefers two families keeps what it has, however the lab may have changed.
    if let Some(old) = old
        && (policy(old), policy(service)) == (Some(PREFER), Some(PREFER))
        && (&ips, &families) == (&old_ips, &old_families)
        && !families.is_empty()
    {
        return true;
    }
    let is_headless = ips.first().is_some_and(|ip| ip == "None");
    let selector = service.at(&["spec", "selector"]).and_then(Value::as_object);
    let is_by_hand = is_headless && selector.is_none_or(|selector| selector.is_empty());
    let policy = match (policy(service), old.and_then(policy)) {
        (Some(asked), _) => asked.to_string(),
        (None, Some(had)) => had.to_string(),
        // Whoever writes the endpoints may write them of both families, whatever the lab has.
        (None, None) if is_by_hand => REQUIRE.to_string(),
        (None, None) => SINGLE.to_string(),
    };

    if policy == SINGLE {
        if old.is_some() && ips == old_ips {
            ips.truncate(1);
        }
        if old.is_some() && families == old_families {
            families.truncate(1);
        }
        for (field, values) in [("clusterIPs", &ips), ("ipFamilies", &families)] {
            if values.len() > 1 {
                let why = format!("must be {REQUIRE} or {PREFER} when multiple `{field}` are specified");
                causes.push(Cause::invalid("spec.ipFamilyPolicy", &json!(policy), why));
            }
        }
    } else {
        let what = [(&ips, &old_ips, "cluster IP"), (&families, &old_families, "IP family")];
        for (_, _, lost) in what.into_iter().filter(|(now, then, _)| !now.is_empty() && now.len() < then.len()) {
            let why = format!("must be 'SingleStack' to release the secondary {lost}");
            causes.push(Cause::invalid("spec.ipFamilyPolicy", &json!(policy), why));
        }
    }
    let has = |family: &str| lab.iter().any(|subnet| of(subnet.addr()) == family);
    // What is no address validation speaks of.
    let addresses = ips.iter().map_while(|ip| ip.parse::<IpAddr>().ok());
    for (index, family) in addresses.map(of).enumerate().skip(families.len()).collect::<Vec<_>>() {
        if has(family) {
            families.push(family.to_string());
        } else {
            let why = format!("{family} is not configured on this cluster");
            causes.push(Cause::invalid(format!("spec.clusterIPs[{index}]"), &json!(ips), why));
        }
    }
    if causes.len() > before {
        return false;
    }
    if !is_by_hand {
        if policy == REQUIRE && lab.second.is_none() {
            let why = "this cluster is not configured for dual-stack services";
            causes.push(Cause::invalid("spec.ipFamilyPolicy", &json!(policy), why));
        }
        for (index, family) in families.iter().enumerate().filter(|(_, family)| !has(family)) {
            causes.push(Cause::invalid(
                format!("spec.ipFamilies[{index}]"),
                &json!(family),
                "not configured on this cluster",
            ));
        }
        if causes.len() > before {
            return false;
        }
    }
    if families.is_empty() {
        families.push(of(lab.first.addr()).to_string());
    }
    if policy != SINGLE && families.len() == 1 && (is_by_hand || lab.second.is_some()) {
        let other = if families.iter().any(|family| family == "IPv4") { "IPv6" } else { "IPv4" };
        families.push(other.to_string());
    }
    let spec = map_at_mut(service.json_mut(), "spec");
    if !ips.is_empty() {
        spec.insert("clusterIPs".into(), json!(ips));
    }
    spec.insert("ipFamilies".into(), json!(families));
    spec.insert("ipFamilyPolicy".into(), policy.into());
    true
}

#[cfg(test)]
mod tests {
    use super::super::tests::{object, service, with};
    use super::super::{admit_create, admit_update};
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn lab(services: &str) -> Object {
        object(json!({"apiVersion": "nslab.dev/v1alpha1", "kind": "Lab", "metadata": {"name": "lab"},
            "networking": {"serviceSubnet": services}}))
    }

    const DUAL: &str = "10.96.0.0/12,fd00:10:96::/112";

    fn create_in(services: &str, spec: Value) -> Result<Object, String> {
        let created = admit_create(&with([lab(services)]), service("web", spec), &mut SmallRng::seed_from_u64(7));
        created.map_err(|error| error.message.replace("Service \"web\" is invalid: ", ""))
    }

    fn update(old: &Object, spec: Value) -> Result<Object, String> {
        let snapshot = with([lab(DUAL), old.clone()]);
        let updated = admit_update(&snapshot, old, service("web", spec), &mut SmallRng::seed_from_u64(7));
        updated.map_err(|error| error.message.replace("Service \"web\" is invalid: ", ""))
    }

    /// The policy, the families, and of which family the addresses are.
    fn shown(service: &Object) -> String {
        let ips = list(service, "clusterIPs");
        let ips = ips.iter().map(|ip| ip.parse().map_or(ip.to_string(), |ip| of(ip).to_string()));
        assert_eq!(service.str_at(&["spec", "clusterIP"]), list(service, "clusterIPs").first().map(String::as_str));
        let policy = policy(service).unwrap_or_default();
        format!("{policy} {} {}", list(service, "ipFamilies").join(","), ips.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn a_service_has_the_families_that_it_asks_for() {
        let six_first = "fd00:10:96::/112,10.96.0.0/12";
        let hand = json!({"clusterIP": "None"});
        for (lab, spec, expected) in [
            (DUAL, json!({}), "SingleStack IPv4 IPv4"),
            (six_first, json!({}), "SingleStack IPv6 IPv6"),
            ("fd00:10:96::/112", json!({}), "SingleStack IPv6 IPv6"),
            (DUAL, json!({"ipFamilies": ["IPv6"]}), "SingleStack IPv6 IPv6"),
            (DUAL, json!({"ipFamilyPolicy": "PreferDualStack"}), "PreferDualStack IPv4,IPv6 IPv4,IPv6"),
            (six_first, json!({"ipFamilyPolicy": "RequireDualStack"}), "RequireDualStack IPv6,IPv4 IPv6,IPv4"),
            (
                DUAL,
                json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]}),
                "PreferDualStack IPv6,IPv4 IPv6,IPv4",
            ),
            ("10.96.0.0/12", json!({"ipFamilyPolicy": "PreferDualStack"}), "PreferDualStack IPv4 IPv4"),
            (DUAL, json!({"clusterIP": "fd00:10:96::99"}), "SingleStack IPv6 IPv6"),
            (
                DUAL,
                json!({"clusterIP": "fd00:10:96::99", "clusterIPs": ["fd00:10:96::99", "10.96.9.9"],
                    "ipFamilyPolicy": "RequireDualStack"}),
                "RequireDualStack IPv6,IPv4 IPv6,IPv4",
            ),
            // Headless: of the pods' families with a selector, of any without.
            (DUAL, json!({"clusterIP": "None", "selector": {"a": "b"}}), "SingleStack IPv4 None"),
            (
                DUAL,
                json!({"clusterIP": "None", "selector": {"a": "b"}, "ipFamilyPolicy": "PreferDualStack"}),
                "PreferDualStack IPv4,IPv6 None",
            ),
            (DUAL, hand.clone(), "RequireDualStack IPv4,IPv6 None"),
            ("10.96.0.0/12", hand, "RequireDualStack IPv4,IPv6 None"),
        ] {
            assert_eq!(shown(&create_in(lab, spec.clone()).unwrap()), expected, "{spec} in {lab}");
        }
    }

    #[test]
    fn what_a_lab_has_not_cannot_be_had() {
        let four = "10.96.0.0/12";
        for (lab, spec, expected) in [
            (
                four,
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack \
                 services",
            ),
            (
                "fd00:10:96::/112",
                json!({"ipFamilies": ["IPv4"]}),
                "spec.ipFamilies[0]: Invalid value: \"IPv4\": not configured on this cluster",
            ),
            (
                four,
                json!({"clusterIP": "fd00::5"}),
                "spec.clusterIPs[0]: Invalid value: [\"fd00::5\"]: IPv6 is not configured on this cluster",
            ),
            (
                DUAL,
                json!({"ipFamilies": ["IPv4", "IPv6"]}),
                "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be RequireDualStack or PreferDualStack when \
                 multiple `ipFamilies` are specified",
            ),
            (DUAL, json!({"ipFamilies": ["IPv6", "IPv6"]}), "spec.ipFamilies[1]: Duplicate value: \"IPv6\""),
            (
                DUAL,
                json!({"clusterIP": "10.96.9.9", "ipFamilies": ["IPv6"]}),
                "spec.clusterIPs[0]: Invalid value: \"10.96.9.9\": expected an IPv6 value as indicated by `ipFamilies[0]`",
            ),
            (
                DUAL,
                json!({"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9", "10.96.9.8"],
                    "ipFamilyPolicy": "PreferDualStack"}),
                "may specify no more than one IP for each IP family",
            ),
        ] {
            let error = create_in(lab, spec.clone()).unwrap_err();
            assert!(error.contains(expected), "{spec} in {lab}: {error}");
        }
    }

    #[test]
    fn a_second_address_comes_and_goes_with_the_policy() {
        let single = create_in(DUAL, json!({})).unwrap();
        let dual = update(&single, json!({"ipFamilyPolicy": "PreferDualStack"})).unwrap();
        assert_eq!(shown(&dual), "PreferDualStack IPv4,IPv6 IPv4,IPv6");
        assert_eq!(dual.str_at(&["spec", "clusterIP"]), single.str_at(&["spec", "clusterIP"]));
        // Who says nothing of it keeps it, and who knows the first address only, too.
        assert_eq!(list(&update(&dual, json!({})).unwrap(), "clusterIPs"), list(&dual, "clusterIPs"));
        let first = dual.str_at(&["spec", "clusterIP"]).unwrap();
        assert_eq!(list(&update(&dual, json!({"clusterIP": first})).unwrap(), "clusterIPs"), list(&dual, "clusterIPs"));
        let back = update(&dual, json!({"ipFamilyPolicy": "SingleStack"})).unwrap();
        assert_eq!(shown(&back), "SingleStack IPv4 IPv4");
        assert_eq!(list(&back, "clusterIPs"), list(&single, "clusterIPs"));

        let fewer = update(&dual, json!({"ipFamilies": ["IPv4"]})).unwrap_err();
        assert!(fewer.contains("must be 'SingleStack' to release the secondary IP family"), "{fewer}");
        let other = update(&dual, json!({"ipFamilies": ["IPv6", "IPv4"]})).unwrap_err();
        assert!(other.contains("spec.ipFamilies[0]: ") && other.contains("may not change once set"), "{other}");
        let moved = json!({"clusterIP": first, "clusterIPs": [first, "fd00:10:96::77"]});
        let moved = update(&dual, moved).unwrap_err();
        assert!(moved.contains("spec.clusterIPs[1]: ") && moved.contains("may not change once set"), "{moved}");
    }
}
