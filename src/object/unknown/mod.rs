//! An object held against the type of its kind: fields that the kind does not have, and values of a wrong type.
//!
//! An object is JSON here, so that nothing a user wrote is lost; but a typing error in a field's name must not pass in
//! silence. The object is decoded once through the type of its kind by a deserializer of our own ([`walk`]), which sees
//! every field that a type asks for and every one it does not know.

mod walk;

use serde_json::{Map, Value};

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v1 as autoscaling_v1,
    autoscaling::v2 as autoscaling, batch::v1 as batch, certificates::v1 as certificates,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, flowcontrol::v1 as flowcontrol,
    networking::v1 as networking, node::v1 as node, policy::v1 as policy, rbac::v1 as rbac, resource::v1 as resource,
    scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

use super::{KindRef, Object, kind, lab};

/// A field that its type does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// `spec.template.spec.contianers`
    pub path: String,
    /// Its last part: `contianers`.
    pub name: String,
    /// The names that its type does have.
    pub known: &'static [&'static str],
}

/// A value that its field cannot hold.
#[derive(Debug, Clone, PartialEq)]
pub struct WrongType {
    pub path: String,
    pub value: Value,
    /// What the field holds, such as `i32`, `a string`, `Container`: in serde's words.
    pub expected: String,
}

/// What there is to say about an object's fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    pub unknown: Vec<UnknownField>,
    pub wrong: Vec<WrongType>,
}

/// A document with more wrong values than this is no manifest; the rest is not looked for.
const MAX_WRONG: usize = 25;

/// The paths of the fields that the object's kind does not have; none for kinds that are not in the table.
pub fn unknown_fields(object: &Object) -> Vec<String> {
    examine(object).unknown.into_iter().map(|field| field.path).collect()
}

/// Holds an object against the type of its kind.
pub fn examine(object: &Object) -> Findings {
    let Some(decode) = object.kind().and_then(decoder) else { return Findings::default() };
    let mut findings = decode(object.json());
    // A type error ends the decoding. Without the wrong value it goes on to the next one.
    let mut mended = None::<Value>;
    let mut wrong = Vec::<WrongType>::new();
    while let Some(error) = findings.wrong.pop() {
        let again = wrong.iter().any(|known| known.path == error.path);
        if again || wrong.len() == MAX_WRONG {
            break;
        }
        let value = mended.get_or_insert_with(|| object.to_value());
        let cleared = clear(value, &error.path);
        wrong.push(error);
        match value.as_object().filter(|_| cleared) {
            Some(fields) => findings = decode(fields),
            None => break,
        }
    }
    findings.wrong = wrong;
    findings
}

/// Takes what stands at a path away; an item of a list becomes null, so that the others stay where they are. `false`
/// if there is nothing.
fn clear(value: &mut Value, path: &str) -> bool {
    let mut steps = Vec::new();
    walk::split_path(path, &mut |step| steps.push(step.to_string()));
    let Some((last, parents)) = steps.split_last() else { return false };
    let parent = parents.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get_mut(step),
        _ => None,
    });
    match parent {
        Some(Value::Object(fields)) => fields.remove(last).is_some(),
        Some(Value::Array(items)) => {
            let item = last.parse::<usize>().ok().and_then(|index| items.get_mut(index));
            item.map(|item| *item = Value::Null).is_some()
        }
        _ => false,
    }
}

type Decode = fn(&Map<String, Value>) -> Findings;

/// How the objects of a kind are decoded.
fn decoder(kind: KindRef) -> Option<Decode> {
    if kind.version == "v1" && kind == &kind::HORIZONTAL_POD_AUTOSCALER {
        return Some(walk::decode::<autoscaling_v1::HorizontalPodAutoscaler>);
    }
    let all: [(KindRef, Decode); 57] = [
        (&kind::NAMESPACE, walk::decode::<core::Namespace>),
        (&kind::NODE, walk::decode::<core::Node>),
        (&kind::POD, walk::decode::<core::Pod>),
        (&kind::SERVICE, walk::decode::<core::Service>),
        (&kind::ENDPOINTS, walk::decode::<core::Endpoints>),
        (&kind::EVENT, walk::decode::<core::Event>),
        (&kind::CONFIG_MAP, walk::decode::<core::ConfigMap>),
        (&kind::SECRET, walk::decode::<core::Secret>),
        (&kind::SERVICE_ACCOUNT, walk::decode::<core::ServiceAccount>),
        (&kind::PERSISTENT_VOLUME, walk::decode::<core::PersistentVolume>),
        (&kind::PERSISTENT_VOLUME_CLAIM, walk::decode::<core::PersistentVolumeClaim>),
        (&kind::REPLICATION_CONTROLLER, walk::decode::<core::ReplicationController>),
        (&kind::LIMIT_RANGE, walk::decode::<core::LimitRange>),
        (&kind::RESOURCE_QUOTA, walk::decode::<core::ResourceQuota>),
        (&kind::POD_TEMPLATE, walk::decode::<core::PodTemplate>),
        (&kind::DEPLOYMENT, walk::decode::<apps::Deployment>),
        (&kind::REPLICA_SET, walk::decode::<apps::ReplicaSet>),
        (&kind::DAEMON_SET, walk::decode::<apps::DaemonSet>),
        (&kind::STATEFUL_SET, walk::decode::<apps::StatefulSet>),
        (&kind::CONTROLLER_REVISION, walk::decode::<apps::ControllerRevision>),
        (&kind::JOB, walk::decode::<batch::Job>),
        (&kind::CRON_JOB, walk::decode::<batch::CronJob>),
        (&kind::HORIZONTAL_POD_AUTOSCALER, walk::decode::<autoscaling::HorizontalPodAutoscaler>),
        (&kind::ENDPOINT_SLICE, walk::decode::<discovery::EndpointSlice>),
        (&kind::INGRESS, walk::decode::<networking::Ingress>),
        (&kind::INGRESS_CLASS, walk::decode::<networking::IngressClass>),
        (&kind::NETWORK_POLICY, walk::decode::<networking::NetworkPolicy>),
        (&kind::ROLE, walk::decode::<rbac::Role>),
        (&kind::ROLE_BINDING, walk::decode::<rbac::RoleBinding>),
        (&kind::CLUSTER_ROLE, walk::decode::<rbac::ClusterRole>),
        (&kind::CLUSTER_ROLE_BINDING, walk::decode::<rbac::ClusterRoleBinding>),
        (&kind::STORAGE_CLASS, walk::decode::<storage::StorageClass>),
        (&kind::CSI_DRIVER, walk::decode::<storage::CSIDriver>),
        (&kind::PRIORITY_CLASS, walk::decode::<scheduling::PriorityClass>),
        (&kind::POD_DISRUPTION_BUDGET, walk::decode::<policy::PodDisruptionBudget>),
        (&kind::LEASE, walk::decode::<coordination::Lease>),
        (&kind::CUSTOM_RESOURCE_DEFINITION, walk::decode::<apiextensions::CustomResourceDefinition>),
        (&kind::API_SERVICE, walk::decode::<apiregistration::APIService>),
        (&kind::VALIDATING_WEBHOOK, walk::decode::<admission::ValidatingWebhookConfiguration>),
        (&kind::COMPONENT_STATUS, walk::decode::<core::ComponentStatus>),
        (&kind::IP_ADDRESS, walk::decode::<networking::IPAddress>),
        (&kind::SERVICE_CIDR, walk::decode::<networking::ServiceCIDR>),
        (&kind::CSI_NODE, walk::decode::<storage::CSINode>),
        (&kind::CSI_STORAGE_CAPACITY, walk::decode::<storage::CSIStorageCapacity>),
        (&kind::VOLUME_ATTACHMENT, walk::decode::<storage::VolumeAttachment>),
        (&kind::VOLUME_ATTRIBUTES_CLASS, walk::decode::<storage::VolumeAttributesClass>),
        (&kind::VALIDATING_ADMISSION_POLICY, walk::decode::<admission::ValidatingAdmissionPolicy>),
        (&kind::VALIDATING_ADMISSION_POLICY_BINDING, walk::decode::<admission::ValidatingAdmissionPolicyBinding>),
        (&kind::CERTIFICATE_SIGNING_REQUEST, walk::decode::<certificates::CertificateSigningRequest>),
        (&kind::FLOW_SCHEMA, walk::decode::<flowcontrol::FlowSchema>),
        (&kind::PRIORITY_LEVEL_CONFIGURATION, walk::decode::<flowcontrol::PriorityLevelConfiguration>),
        (&kind::RUNTIME_CLASS, walk::decode::<node::RuntimeClass>),
        (&kind::DEVICE_CLASS, walk::decode::<resource::DeviceClass>),
        (&kind::RESOURCE_CLAIM, walk::decode::<resource::ResourceClaim>),
        (&kind::RESOURCE_CLAIM_TEMPLATE, walk::decode::<resource::ResourceClaimTemplate>),
        (&kind::RESOURCE_SLICE, walk::decode::<resource::ResourceSlice>),
        (&kind::MUTATING_WEBHOOK, walk::decode::<admission::MutatingWebhookConfiguration>),
    ];
    if kind == &kind::LAB {
        return Some(walk::decode::<lab::Lab>);
    }
    all.into_iter().find(|(known, _)| *known == kind).map(|(_, decode)| decode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    #[test]
    fn every_kind_can_be_examined() {
        for kind in kind::ALL {
            assert!(decoder(kind).is_some(), "{}", kind.kind);
            let minimal = object(json!({"apiVersion": kind.api_version(), "kind": kind.kind, "nope": 1}));
            assert_eq!(unknown_fields(&minimal), ["nope"], "{}", kind.kind);
        }
    }

    #[test]
    fn unknown_fields_at_any_depth() {
        let deployment = object(json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "lables": {}, "labels": {"any": "thing"}},
            "spec": {"replica": 3, "template": {"spec": {"containers": [
                {"name": "a"}, {"name": "b", "port": [], "ports": [{"containerport": 80}], "resources": {"limits": {"x": 1}}}],
                "contianers": []}}}}));
        let findings = examine(&deployment);
        let paths: Vec<_> = findings.unknown.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "metadata.lables",
                "spec.replica",
                "spec.template.spec.containers[1].port",
                "spec.template.spec.containers[1].ports[0].containerport",
                "spec.template.spec.contianers",
            ]
        );
        assert!(findings.unknown[0].known.contains(&"labels"));
        assert!(findings.wrong.is_empty());
    }

    #[test]
    fn each_wrong_type_has_its_path() {
        let service = object(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"labels": {"a.b/c": true}},
            "spec": {"ports": [{"port": "80"}, {"port": 80, "targetPort": []}, 5], "selector": "x", "tpye": 1}}));
        let findings = examine(&service);
        let wrong: Vec<_> = findings.wrong.iter().map(|w| format!("{}: {}", w.path, w.expected)).collect();
        assert_eq!(
            wrong,
            [
                "metadata.labels[a.b/c]: a string",
                "spec.ports[0].port: i32",
                "spec.ports[1].targetPort: IntOrString",
                "spec.ports[2]: ServicePort",
                "spec.selector: a map",
            ]
        );
        assert_eq!(findings.unknown.iter().map(|f| &f.path).collect::<Vec<_>>(), ["spec.tpye"]);
    }

    #[test]
    fn what_kubernetes_takes_is_taken() {
        let pod = object(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "creationTimestamp": null, "annotations": {"empty": null},
                "managedFields": [{"fieldsV1": {"f:spec": {}}}]},
            "spec": {"nodeSelector": {"node-role.kubernetes.io/control-plane": null}, "containers": [{"name": "c",
                "resources": {"limits": {"cpu": 0.5, "memory": "64Mi"}, "requests": {"cpu": 1}},
                "livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"httpGet": {"port": 80}}}]},
            "status": {}}));
        assert_eq!(examine(&pod), Findings::default());
        let secret = object(json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "aGk="}}));
        assert_eq!(examine(&secret), Findings::default());
        let unknown_kind = object(json!({"apiVersion": "example.com/v1", "kind": "Thing", "spec": 5}));
        assert_eq!(examine(&unknown_kind), Findings::default());
    }

    #[test]
    fn a_lab_document_knows_its_fields() {
        let document = object(json!({"apiVersion": "nslab.dev/v1alpha1", "kind": "Lab", "metadata": {"name": "x"},
            "nodes": [{"rol": "worker"}, {"role": "boss"}], "timings": {"podEvictionTimeout": "3 s"}}));
        let findings = examine(&document);
        assert_eq!(findings.unknown[0].path, "nodes[0].rol");
        let wrong: Vec<_> = findings.wrong.iter().map(|w| w.path.as_str()).collect();
        assert_eq!(wrong, ["nodes[1].role", "timings.podEvictionTimeout"]);
    }
}
