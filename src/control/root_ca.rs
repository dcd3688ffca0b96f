//! The ConfigMap `kube-root-ca.crt` that every namespace has, with what the API's certificate is checked against.

use jiff::SignedDuration;
use serde_json::json;

use super::Context;
use crate::object::service_account::ROOT_CA;
use crate::object::write::Part;
use crate::object::{Object, Snapshot, Write, kind};

/// While a new lab's authority is being made.
const SOON: SignedDuration = SignedDuration::from_millis(20);

pub fn root_ca(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    let Some(authority) = ctx.root_ca.clone() else { return Vec::new() };
    let Some(certificate) = authority.get() else {
        ctx.wake(ctx.now + SOON);
        return Vec::new();
    };
    let namespaces = snapshot.list(&kind::NAMESPACE).filter(|namespace| !namespace.is_terminating());
    namespaces.filter_map(|namespace| write(snapshot, namespace.name(), certificate)).collect()
}

fn write(snapshot: &Snapshot, namespace: &str, certificate: &str) -> Option<Write> {
    let data = json!({"ca.crt": certificate});
    match snapshot.find(&kind::CONFIG_MAP, namespace, ROOT_CA) {
        Some(map) if map.json().get("data") == Some(&data) => None,
        Some(map) => {
            let mut map = Object::clone(map);
            map.json_mut().insert("data".into(), data);
            Some(Write::Update(map, Part::Spec))
        }
        None => {
            let description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                               endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                               guaranteed across distributions of Kubernetes clusters.";
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data, "metadata": {
                "name": ROOT_CA, "namespace": namespace,
                "annotations": {"kubernetes.io/description": description}}});
            Object::from_value(map).map(Write::Create)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use super::*;
    use crate::control::testing::Cluster;

    #[test]
    fn every_namespace_has_the_certificate_once_it_is_known() {
        let mut cluster = Cluster::lab([]);
        let authority = Arc::new(OnceLock::new());
        cluster.ctx.root_ca = Some(authority.clone());
        cluster.settle();
        assert!(cluster.list(&kind::CONFIG_MAP).is_empty() && cluster.ctx.wake_at.is_some());
        authority.set("PEM".to_string()).unwrap();
        cluster.pass(SOON);
        cluster.settle();
        assert_eq!(cluster.list(&kind::CONFIG_MAP).len(), cluster.list(&kind::NAMESPACE).len());
        cluster.change(&kind::CONFIG_MAP, "default", ROOT_CA, |map| {
            map.json_mut().insert("data".into(), json!({}));
        });
        cluster.settle();
        let map = cluster.get(&kind::CONFIG_MAP, "default", ROOT_CA);
        assert_eq!(map.str_at(&["data", "ca.crt"]), Some("PEM"));
    }
}
