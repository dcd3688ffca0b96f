//! The table of which type describes the objects of which kind: what their fields are checked against, and what
//! OpenAPI says of them.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::borrow::Cow;

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v1 as autoscaling_v1,
    autoscaling::v2 as autoscaling, batch::v1 as batch, certificates::v1 as certificates,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, flowcontrol::v1 as flowcontrol,
    networking::v1 as networking, node::v1 as node, policy::v1 as policy, rbac::v1 as rbac, resource::v1 as resource,
    scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

use super::unknown::{Findings, walk};
use super::{KindRef, kind, lab};

/// What a type can do for objects of its kind.
pub struct Type {
    /// Says which fields do not fit.
    pub decode: fn(&Map<String, Value>) -> Findings,
    /// Adds the type's schema, and those it refers to, to the generator's; a reference to it.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// What that schema is called.
    pub name: fn() -> Cow<'static, str>,
}

const fn of_type<T: DeserializeOwned + JsonSchema>() -> Type {
    Type { decode: walk::decode::<T>, schema: SchemaGenerator::subschema_for::<T>, name: T::schema_name }
}

static TYPES: [(KindRef, Type); 58] = [
    (&kind::NAMESPACE, of_type::<core::Namespace>()),
    (&kind::NODE, of_type::<core::Node>()),
    (&kind::POD, of_type::<core::Pod>()),
    (&kind::SERVICE, of_type::<core::Service>()),
    (&kind::ENDPOINTS, of_type::<core::Endpoints>()),
    (&kind::EVENT, of_type::<core::Event>()),
    (&kind::CONFIG_MAP, of_type::<core::ConfigMap>()),
    (&kind::SECRET, of_type::<core::Secret>()),
    (&kind::SERVICE_ACCOUNT, of_type::<core::ServiceAccount>()),
    (&kind::PERSISTENT_VOLUME, of_type::<core::PersistentVolume>()),
    (&kind::PERSISTENT_VOLUME_CLAIM, of_type::<core::PersistentVolumeClaim>()),
    (&kind::REPLICATION_CONTROLLER, of_type::<core::ReplicationController>()),
    (&kind::LIMIT_RANGE, of_type::<core::LimitRange>()),
    (&kind::RESOURCE_QUOTA, of_type::<core::ResourceQuota>()),
    (&kind::POD_TEMPLATE, of_type::<core::PodTemplate>()),
    (&kind::DEPLOYMENT, of_type::<apps::Deployment>()),
    (&kind::REPLICA_SET, of_type::<apps::ReplicaSet>()),
    (&kind::DAEMON_SET, of_type::<apps::DaemonSet>()),
    (&kind::STATEFUL_SET, of_type::<apps::StatefulSet>()),
    (&kind::CONTROLLER_REVISION, of_type::<apps::ControllerRevision>()),
    (&kind::JOB, of_type::<batch::Job>()),
    (&kind::CRON_JOB, of_type::<batch::CronJob>()),
    (&kind::HORIZONTAL_POD_AUTOSCALER, of_type::<autoscaling::HorizontalPodAutoscaler>()),
    (&kind::ENDPOINT_SLICE, of_type::<discovery::EndpointSlice>()),
    (&kind::INGRESS, of_type::<networking::Ingress>()),
    (&kind::INGRESS_CLASS, of_type::<networking::IngressClass>()),
    (&kind::NETWORK_POLICY, of_type::<networking::NetworkPolicy>()),
    (&kind::ROLE, of_type::<rbac::Role>()),
    (&kind::ROLE_BINDING, of_type::<rbac::RoleBinding>()),
    (&kind::CLUSTER_ROLE, of_type::<rbac::ClusterRole>()),
    (&kind::CLUSTER_ROLE_BINDING, of_type::<rbac::ClusterRoleBinding>()),
    (&kind::STORAGE_CLASS, of_type::<storage::StorageClass>()),
    (&kind::CSI_DRIVER, of_type::<storage::CSIDriver>()),
    (&kind::PRIORITY_CLASS, of_type::<scheduling::PriorityClass>()),
    (&kind::POD_DISRUPTION_BUDGET, of_type::<policy::PodDisruptionBudget>()),
    (&kind::LEASE, of_type::<coordination::Lease>()),
    (&kind::CUSTOM_RESOURCE_DEFINITION, of_type::<apiextensions::CustomResourceDefinition>()),
    (&kind::API_SERVICE, of_type::<apiregistration::APIService>()),
    (&kind::VALIDATING_WEBHOOK, of_type::<admission::ValidatingWebhookConfiguration>()),
    (&kind::MUTATING_WEBHOOK, of_type::<admission::MutatingWebhookConfiguration>()),
    (&kind::COMPONENT_STATUS, of_type::<core::ComponentStatus>()),
    (&kind::IP_ADDRESS, of_type::<networking::IPAddress>()),
    (&kind::SERVICE_CIDR, of_type::<networking::ServiceCIDR>()),
    (&kind::CSI_NODE, of_type::<storage::CSINode>()),
    (&kind::CSI_STORAGE_CAPACITY, of_type::<storage::CSIStorageCapacity>()),
    (&kind::VOLUME_ATTACHMENT, of_type::<storage::VolumeAttachment>()),
    (&kind::VOLUME_ATTRIBUTES_CLASS, of_type::<storage::VolumeAttributesClass>()),
    (&kind::VALIDATING_ADMISSION_POLICY, of_type::<admission::ValidatingAdmissionPolicy>()),
    (&kind::VALIDATING_ADMISSION_POLICY_BINDING, of_type::<admission::ValidatingAdmissionPolicyBinding>()),
    (&kind::CERTIFICATE_SIGNING_REQUEST, of_type::<certificates::CertificateSigningRequest>()),
    (&kind::FLOW_SCHEMA, of_type::<flowcontrol::FlowSchema>()),
    (&kind::PRIORITY_LEVEL_CONFIGURATION, of_type::<flowcontrol::PriorityLevelConfiguration>()),
    (&kind::RUNTIME_CLASS, of_type::<node::RuntimeClass>()),
    (&kind::DEVICE_CLASS, of_type::<resource::DeviceClass>()),
    (&kind::RESOURCE_CLAIM, of_type::<resource::ResourceClaim>()),
    (&kind::RESOURCE_CLAIM_TEMPLATE, of_type::<resource::ResourceClaimTemplate>()),
    (&kind::RESOURCE_SLICE, of_type::<resource::ResourceSlice>()),
    (&kind::LAB, of_type::<lab::Lab>()),
];

static AUTOSCALER_V1: Type = of_type::<autoscaling_v1::HorizontalPodAutoscaler>();

/// The type of a kind; `None` for kinds that are not in the table of kinds.
pub fn of(kind: KindRef) -> Option<&'static Type> {
    if std::ptr::eq(kind, &kind::HORIZONTAL_POD_AUTOSCALER_V1) {
        return Some(&AUTOSCALER_V1);
    }
    TYPES.iter().find(|(known, _)| *known == kind).map(|(_, known)| known)
}
