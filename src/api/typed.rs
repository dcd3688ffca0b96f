//! Does a body fit the type of its kind? What does it say that the type does not know?
//!
//! The kinds' types are k8s-openapi's. A body is read as its type and written again: what is missing then is a field
//! that the API does not have.

use std::fmt::Debug;

use k8s_openapi::api::{
    admissionregistration, apps, autoscaling, batch, coordination, core, discovery, networking, policy, rbac,
    scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::object::kind::{self, KindRef};

/// The fields of `json` that its kind does not have, as paths such as `spec.template.spec.containers[0].img`; or why
/// `json` is no object of that kind.
pub fn unknown_fields(kind: KindRef, json: &Map<String, Value>) -> Result<Vec<String>, String> {
    let Some(check) = checker(kind) else {
        return Ok(Vec::new());
    };
    let known = check(json)?;
    let mut unknown = Vec::new();
    compare(&mut String::new(), json, &known, &mut unknown);
    Ok(unknown)
}

type Checker = fn(&Map<String, Value>) -> Result<Value, String>;

fn round_trip<T: DeserializeOwned + Serialize + Debug>(json: &Map<String, Value>) -> Result<Value, String> {
    let typed = T::deserialize(json).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

macro_rules! checkers {
    ($wanted:expr; $($kind:ident => $type:ty,)*) => {
        $(if *$wanted == kind::$kind { return Some(round_trip::<$type>); })*
    };
}

fn checker(wanted: KindRef) -> Option<Checker> {
    checkers! { wanted;
        NAMESPACE => core::v1::Namespace,
        NODE => core::v1::Node,
        POD => core::v1::Pod,
        SERVICE => core::v1::Service,
        ENDPOINTS => core::v1::Endpoints,
        EVENT => core::v1::Event,
        CONFIG_MAP => core::v1::ConfigMap,
        SECRET => core::v1::Secret,
        SERVICE_ACCOUNT => core::v1::ServiceAccount,
        PERSISTENT_VOLUME => core::v1::PersistentVolume,
        PERSISTENT_VOLUME_CLAIM => core::v1::PersistentVolumeClaim,
        REPLICATION_CONTROLLER => core::v1::ReplicationController,
        LIMIT_RANGE => core::v1::LimitRange,
        RESOURCE_QUOTA => core::v1::ResourceQuota,
        POD_TEMPLATE => core::v1::PodTemplate,
        DEPLOYMENT => apps::v1::Deployment,
        REPLICA_SET => apps::v1::ReplicaSet,
        DAEMON_SET => apps::v1::DaemonSet,
        STATEFUL_SET => apps::v1::StatefulSet,
        CONTROLLER_REVISION => apps::v1::ControllerRevision,
        JOB => batch::v1::Job,
        CRON_JOB => batch::v1::CronJob,
        HORIZONTAL_POD_AUTOSCALER => autoscaling::v2::HorizontalPodAutoscaler,
        ENDPOINT_SLICE => discovery::v1::EndpointSlice,
        INGRESS => networking::v1::Ingress,
        INGRESS_CLASS => networking::v1::IngressClass,
        NETWORK_POLICY => networking::v1::NetworkPolicy,
        ROLE => rbac::v1::Role,
        ROLE_BINDING => rbac::v1::RoleBinding,
        CLUSTER_ROLE => rbac::v1::ClusterRole,
        CLUSTER_ROLE_BINDING => rbac::v1::ClusterRoleBinding,
        STORAGE_CLASS => storage::v1::StorageClass,
        CSI_DRIVER => storage::v1::CSIDriver,
        PRIORITY_CLASS => scheduling::v1::PriorityClass,
        POD_DISRUPTION_BUDGET => policy::v1::PodDisruptionBudget,
        LEASE => coordination::v1::Lease,
        CUSTOM_RESOURCE_DEFINITION => apiextensions::v1::CustomResourceDefinition,
        API_SERVICE => apiregistration::v1::APIService,
        VALIDATING_WEBHOOK => admissionregistration::v1::ValidatingWebhookConfiguration,
        MUTATING_WEBHOOK => admissionregistration::v1::MutatingWebhookConfiguration,
        LAB => crate::object::lab::Lab,
    }
    None
}

fn compare(path: &mut String, given: &Map<String, Value>, known: &Value, unknown: &mut Vec<String>) {
    for (name, value) in given {
        let length = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        match known.get(name) {
            // What is null is not written again, known or not.
            None if value.is_null() || is_empty(value) => {}
            None => unknown.push(path.clone()),
            Some(known) => compare_values(path, value, known, unknown),
        }
        path.truncate(length);
    }
}

fn compare_values(path: &mut String, given: &Value, known: &Value, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), known) if known.is_object() => compare(path, given, known, unknown),
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                let length = path.len();
                path.push_str(&format!("[{index}]"));
                compare_values(path, given, known, unknown);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Types without values (`{}`, `[]`) may be left out when written, whatever their field.
fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Object(map) if map.is_empty()) || matches!(value, Value::Array(list) if list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(kind: KindRef, json: Value) -> Result<Vec<String>, String> {
        unknown_fields(kind, json.as_object().unwrap())
    }

    #[test]
    fn misspelt_fields_are_named_with_their_paths() {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "lables": {"a": "b"},
            "creationTimestamp": null},
            "spec": {"selector": {}, "replica": 3, "template": {"spec": {"containers": [{"name": "a", "imagee": "x",
            "resources": {}, "ports": [{"containerPort": 80}]}]}}}});
        assert_eq!(
            check(&kind::DEPLOYMENT, deployment).unwrap(),
            ["metadata.lables", "spec.replica", "spec.template.spec.containers[0].imagee"]
        );
    }

    #[test]
    fn every_kind_but_custom_ones_has_a_type() {
        for kind in kind::ALL {
            assert!(checker(kind).is_some(), "{}", kind.kind);
        }
    }

    #[test]
    fn a_wrong_type_is_an_error() {
        let service = json!({"spec": {"ports": [{"port": "eighty"}]}});
        assert!(check(&kind::SERVICE, service).unwrap_err().contains("eighty"));
    }
}
