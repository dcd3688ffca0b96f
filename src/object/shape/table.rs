//! The table: what `x-kubernetes-list-type`, `-list-map-keys` and `-map-type`, `patchStrategy` and `patchMergeKey` of
//! Kubernetes' published API say.

use super::{Field, Keyed, PLAIN_STRUCT, Shape, Strategy, Struct};
use crate::object::kind::KindRef;

const fn object(fields: &'static [Field]) -> Struct {
    Struct { fields, others: PLAIN_STRUCT, atomic: false }
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, strategy: Strategy::Default, retain_keys: false }
}

const fn of(name: &'static str, object: &'static Struct) -> Field {
    field(name, Shape::Struct(object))
}

const fn whole(name: &'static str) -> Field {
    field(name, Shape::Atomic)
}

const fn set(name: &'static str) -> Field {
    field(name, Shape::Set)
}

/// A list that merges by key, in a strategic merge patch by the first of its keys.
const fn list(name: &'static str, keyed: &'static Keyed) -> Field {
    field(name, Shape::Keyed(keyed)).by(keyed.keys[0])
}

impl Field {
    const fn by(mut self, key: &'static str) -> Self {
        self.strategy = Strategy::ByKey(key);
        self
    }
    const fn merged(mut self) -> Self {
        self.strategy = Strategy::Set;
        self
    }
    /// By a strategic merge patch.
    const fn replaced(mut self) -> Self {
        self.strategy = match self.shape {
            Shape::Keyed(_) | Shape::Set => Strategy::Default,
            _ => Strategy::Replace,
        };
        self
    }
    const fn retaining_keys(mut self) -> Self {
        self.retain_keys = true;
        self
    }
}

/// An object that is applied as one whole, but patched field by field.
static WHOLE: Struct = Struct { fields: &[], others: PLAIN_STRUCT, atomic: true };
const PLAIN: Shape = PLAIN_STRUCT;

static BY_NAME: Keyed = Keyed { keys: &["name"], item: PLAIN };
static BY_TYPE: Keyed = Keyed { keys: &["type"], item: PLAIN };
static BY_IP: Keyed = Keyed { keys: &["ip"], item: PLAIN };
static WHOLE_BY_NAME: Keyed = Keyed { keys: &["name"], item: Shape::Struct(&WHOLE) };

// ---- metadata, and what many kinds have ------------------------------------------------------------------------

static OWNERS: Keyed = Keyed { keys: &["uid"], item: Shape::Struct(&WHOLE) };
static METADATA: Struct = object(&[list("ownerReferences", &OWNERS), set("finalizers").merged()]);
static CONDITIONS: Struct = object(&[list("conditions", &BY_TYPE)]);

// ---- pods ------------------------------------------------------------------------------------------------------

static CONTAINER_PORTS: Keyed = Keyed { keys: &["containerPort", "protocol"], item: PLAIN };
static MOUNTS: Keyed = Keyed { keys: &["mountPath"], item: PLAIN };
static DEVICES: Keyed = Keyed { keys: &["devicePath"], item: PLAIN };
static ENV: Keyed = Keyed { keys: &["name"], item: Shape::Struct(&ENV_VAR) };
static ENV_VAR: Struct = object(&[of("valueFrom", &ENV_SOURCE)]);
static ENV_SOURCE: Struct = object(&[
    of("configMapKeyRef", &WHOLE),
    of("secretKeyRef", &WHOLE),
    of("fieldRef", &WHOLE),
    of("resourceFieldRef", &WHOLE),
    of("fileKeyRef", &WHOLE),
]);
static RESOURCES: Struct = object(&[list("claims", &BY_NAME).replaced()]);
static CONTAINER: Struct = object(&[
    list("ports", &CONTAINER_PORTS),
    list("env", &ENV),
    list("volumeMounts", &MOUNTS),
    list("volumeDevices", &DEVICES),
    of("resources", &RESOURCES),
]);
static CONTAINERS: Keyed = Keyed { keys: &["name"], item: Shape::Struct(&CONTAINER) };

static SECRET_REF: Struct = object(&[of("secretRef", &WHOLE)]);
static CSI: Struct = object(&[of("nodePublishSecretRef", &WHOLE)]);
static CLAIM_SPEC: Struct = object(&[of("selector", &WHOLE), of("dataSource", &WHOLE)]);
static CLAIM_TEMPLATE: Struct = object(&[of("metadata", &METADATA), of("spec", &CLAIM_SPEC)]);
static EPHEMERAL: Struct = object(&[of("volumeClaimTemplate", &CLAIM_TEMPLATE)]);
static VOLUME: Struct = object(&[
    of("cephfs", &SECRET_REF),
    of("cinder", &SECRET_REF),
    of("csi", &CSI),
    of("ephemeral", &EPHEMERAL),
    of("flexVolume", &SECRET_REF),
    of("iscsi", &SECRET_REF),
    of("rbd", &SECRET_REF),
    of("scaleIO", &SECRET_REF),
    of("storageos", &SECRET_REF),
]);
static VOLUMES: Keyed = Keyed { keys: &["name"], item: Shape::Struct(&VOLUME) };

static NODE_AFFINITY: Struct = object(&[of("requiredDuringSchedulingIgnoredDuringExecution", &WHOLE)]);
static AFFINITY: Struct = object(&[of("nodeAffinity", &NODE_AFFINITY)]);
static SPREAD: Struct = object(&[of("labelSelector", &WHOLE)]);
static SPREADS: Keyed = Keyed { keys: &["topologyKey", "whenUnsatisfiable"], item: Shape::Struct(&SPREAD) };
static POD_SPEC: Struct = object(&[
    list("containers", &CONTAINERS),
    list("initContainers", &CONTAINERS),
    list("ephemeralContainers", &CONTAINERS),
    list("volumes", &VOLUMES).retaining_keys(),
    list("imagePullSecrets", &WHOLE_BY_NAME),
    list("hostAliases", &BY_IP),
    list("topologySpreadConstraints", &SPREADS),
    list("schedulingGates", &BY_NAME),
    list("resourceClaims", &BY_NAME).retaining_keys(),
    of("nodeSelector", &WHOLE),
    of("affinity", &AFFINITY),
    of("resources", &RESOURCES),
]);

static POD_STATUS: Struct = object(&[
    list("conditions", &BY_TYPE),
    whole("hostIPs").by("ip"),
    list("podIPs", &BY_IP),
    list("resourceClaimStatuses", &BY_NAME).retaining_keys(),
]);
static POD: Struct = object(&[of("metadata", &METADATA), of("spec", &POD_SPEC), of("status", &POD_STATUS)]);
static POD_TEMPLATE: Struct = object(&[of("metadata", &METADATA), of("spec", &POD_SPEC)]);
static POD_TEMPLATE_OBJECT: Struct = object(&[of("metadata", &METADATA), of("template", &POD_TEMPLATE)]);

// ---- workloads -------------------------------------------------------------------------------------------------

static WORKLOAD_SPEC: Struct = object(&[of("selector", &WHOLE), of("template", &POD_TEMPLATE)]);
static DEPLOYMENT_SPEC: Struct =
    object(&[of("selector", &WHOLE), of("template", &POD_TEMPLATE), field("strategy", PLAIN).retaining_keys()]);
static WORKLOAD: Struct = object(&[of("metadata", &METADATA), of("spec", &WORKLOAD_SPEC), of("status", &CONDITIONS)]);
static DEPLOYMENT: Struct =
    object(&[of("metadata", &METADATA), of("spec", &DEPLOYMENT_SPEC), of("status", &CONDITIONS)]);

// `podFailurePolicy.rules` is one whole, with the sets in it.
static UNCOUNTED: Struct = object(&[set("failed"), set("succeeded")]);
static JOB_STATUS: Struct = object(&[list("conditions", &BY_TYPE), of("uncountedTerminatedPods", &UNCOUNTED)]);
static JOB: Struct = object(&[of("metadata", &METADATA), of("spec", &WORKLOAD_SPEC), of("status", &JOB_STATUS)]);
static JOB_TEMPLATE: Struct = object(&[of("metadata", &METADATA), of("spec", &WORKLOAD_SPEC)]);
static CRON_JOB_SPEC: Struct = object(&[of("jobTemplate", &JOB_TEMPLATE)]);
static CRON_JOB: Struct = object(&[of("metadata", &METADATA), of("spec", &CRON_JOB_SPEC)]);

// ---- the core group's others -----------------------------------------------------------------------------------

static SERVICE_PORTS: Keyed = Keyed { keys: &["port", "protocol"], item: PLAIN };
static SERVICE_SPEC: Struct = object(&[list("ports", &SERVICE_PORTS), of("selector", &WHOLE)]);
static SERVICE: Struct = object(&[of("metadata", &METADATA), of("spec", &SERVICE_SPEC), of("status", &CONDITIONS)]);

static NODE_SPEC: Struct = object(&[set("podCIDRs").merged()]);
static NODE_STATUS: Struct = object(&[list("conditions", &BY_TYPE), list("addresses", &BY_TYPE)]);
static NODE: Struct = object(&[of("metadata", &METADATA), of("spec", &NODE_SPEC), of("status", &NODE_STATUS)]);

static SERVICE_ACCOUNT: Struct = object(&[of("metadata", &METADATA), list("secrets", &WHOLE_BY_NAME)]);
static EVENT: Struct = object(&[of("metadata", &METADATA), of("involvedObject", &WHOLE), of("related", &WHOLE)]);

static CLAIM: Struct = object(&[of("metadata", &METADATA), of("spec", &CLAIM_SPEC), of("status", &CONDITIONS)]);
static VOLUME_AFFINITY: Struct = object(&[of("required", &WHOLE)]);
static VOLUME_CSI: Struct = object(&[
    of("controllerExpandSecretRef", &WHOLE),
    of("controllerPublishSecretRef", &WHOLE),
    of("nodeExpandSecretRef", &WHOLE),
    of("nodePublishSecretRef", &WHOLE),
    of("nodeStageSecretRef", &WHOLE),
]);
static PERSISTENT_VOLUME_SPEC: Struct = object(&[
    of("claimRef", &WHOLE),
    of("nodeAffinity", &VOLUME_AFFINITY),
    of("csi", &VOLUME_CSI),
    of("cephfs", &SECRET_REF),
    of("cinder", &SECRET_REF),
    of("flexVolume", &SECRET_REF),
    of("iscsi", &SECRET_REF),
    of("rbd", &SECRET_REF),
    of("scaleIO", &SECRET_REF),
    of("storageos", &SECRET_REF),
]);
static PERSISTENT_VOLUME: Struct = object(&[of("metadata", &METADATA), of("spec", &PERSISTENT_VOLUME_SPEC)]);
static QUOTA_SPEC: Struct = object(&[of("scopeSelector", &WHOLE)]);
static QUOTA: Struct = object(&[of("metadata", &METADATA), of("spec", &QUOTA_SPEC)]);

// ---- other groups ----------------------------------------------------------------------------------------------

static BACKEND_SERVICE: Struct = object(&[of("port", &WHOLE)]);
static BACKEND: Struct = object(&[of("service", &BACKEND_SERVICE), of("resource", &WHOLE)]);
// `rules` and `tls` are each one whole.
static INGRESS_SPEC: Struct = object(&[of("defaultBackend", &BACKEND)]);
static INGRESS: Struct = object(&[of("metadata", &METADATA), of("spec", &INGRESS_SPEC)]);
static NETWORK_POLICY_SPEC: Struct = object(&[of("podSelector", &WHOLE)]);
static NETWORK_POLICY: Struct = object(&[of("metadata", &METADATA), of("spec", &NETWORK_POLICY_SPEC)]);
static BINDING: Struct = object(&[of("metadata", &METADATA), of("roleRef", &WHOLE)]);
static CSI_DRIVER_SPEC: Struct = object(&[set("volumeLifecycleModes")]);
static CSI_DRIVER: Struct = object(&[of("metadata", &METADATA), of("spec", &CSI_DRIVER_SPEC)]);
static BUDGET_SPEC: Struct = object(&[of("selector", &WHOLE).replaced()]);
static BUDGET: Struct = object(&[of("metadata", &METADATA), of("spec", &BUDGET_SPEC), of("status", &BUDGET_STATUS)]);
static BUDGET_STATUS: Struct = object(&[list("conditions", &BY_TYPE), field("disruptedPods", Shape::Map(&PLAIN))]);
static REVISION: Struct = object(&[of("metadata", &METADATA), whole("data")]);
static STATUS_ONLY: Struct = object(&[of("metadata", &METADATA), of("status", &CONDITIONS)]);
static METADATA_ONLY: Struct = object(&[of("metadata", &METADATA)]);

static WEBHOOK: Struct =
    object(&[list("matchConditions", &BY_NAME), of("namespaceSelector", &WHOLE), of("objectSelector", &WHOLE)]);
static WEBHOOKS: Keyed = Keyed { keys: &["name"], item: Shape::Struct(&WEBHOOK) };
static WEBHOOK_CONFIGURATION: Struct = object(&[of("metadata", &METADATA), list("webhooks", &WEBHOOKS)]);

// `versions`, with the schemas in them, is one whole.
static DEFINITION_STATUS: Struct = object(&[list("conditions", &BY_TYPE).replaced()]);
static DEFINITION: Struct = object(&[of("metadata", &METADATA), of("status", &DEFINITION_STATUS)]);

/// A custom resource, whose schema is not looked at.
static CUSTOM: Struct = Struct { fields: &[of("metadata", &METADATA)], others: Shape::Unknown, atomic: false };

/// The shape of the objects of a kind.
pub fn of_kind(kind: KindRef) -> Shape {
    let object = match (kind.group, kind.kind) {
        ("", "Pod") => &POD,
        ("", "Service") => &SERVICE,
        ("", "Node") => &NODE,
        ("", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("", "Event") => &EVENT,
        ("", "PersistentVolume") => &PERSISTENT_VOLUME,
        ("", "PersistentVolumeClaim") => &CLAIM,
        ("", "ResourceQuota") => &QUOTA,
        ("", "PodTemplate") => &POD_TEMPLATE_OBJECT,
        ("", "ReplicationController") | ("apps", "ReplicaSet" | "DaemonSet" | "StatefulSet") => &WORKLOAD,
        ("apps", "Deployment") => &DEPLOYMENT,
        ("apps", "ControllerRevision") => &REVISION,
        ("batch", "Job") => &JOB,
        ("batch", "CronJob") => &CRON_JOB,
        ("", "Namespace")
        | ("apiregistration.k8s.io" | "autoscaling" | "certificates.k8s.io" | "flowcontrol.apiserver.k8s.io", _) => {
            &STATUS_ONLY
        }
        ("networking.k8s.io", "Ingress") => &INGRESS,
        ("networking.k8s.io", "NetworkPolicy") => &NETWORK_POLICY,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => &BINDING,
        ("storage.k8s.io", "CSIDriver") => &CSI_DRIVER,
        ("policy", "PodDisruptionBudget") => &BUDGET,
        ("admissionregistration.k8s.io", _) => &WEBHOOK_CONFIGURATION,
        ("apiextensions.k8s.io", _) => &DEFINITION,
        // The other kinds that Kubernetes brings; theirs is nothing but lists that are wholes, and plain fields.
        (
            ""
            | "apps"
            | "batch"
            | "coordination.k8s.io"
            | "discovery.k8s.io"
            | "networking.k8s.io"
            | "node.k8s.io"
            | "policy"
            | "rbac.authorization.k8s.io"
            | "resource.k8s.io"
            | "scheduling.k8s.io"
            | "storage.k8s.io",
            _,
        ) => &METADATA_ONLY,
        _ => &CUSTOM,
    };
    Shape::Struct(object)
}

#[cfg(test)]
mod tests {
    use crate::object::kind::{self, ALL};
    use crate::object::shape::{Shape, Strategy, Struct, has_strategy, of_kind};

    #[test]
    fn every_kind_of_kubernetes_has_a_shape() {
        for kind in ALL {
            assert_eq!(has_strategy(kind), *kind != &kind::LAB, "{}", kind.kind);
            let Strategy::ByKey("uid") = of_kind(kind).at("metadata").field("ownerReferences").strategy else {
                panic!("{}: the metadata is that of any object", kind.kind)
            };
        }
    }

    /// A field stands once in its object, and a patch merges by one of the keys that tell the elements apart.
    fn check(path: &str, object: &'static Struct, seen: &mut Vec<*const Struct>) {
        if seen.contains(&std::ptr::from_ref(object)) {
            return;
        }
        seen.push(object);
        for field in object.fields {
            let path = format!("{path}.{}", field.name);
            assert_eq!(object.fields.iter().filter(|other| other.name == field.name).count(), 1, "{path} stands twice");
            if let (Shape::Keyed(list), Strategy::ByKey(key)) = (field.shape, field.strategy) {
                assert!(list.keys.contains(&key), "{path}");
            }
            if let Shape::Struct(below) = field.below() {
                check(&path, below, seen);
            }
        }
    }

    #[test]
    fn the_table_is_of_one_piece() {
        for kind in ALL {
            let Shape::Struct(object) = of_kind(kind) else { panic!("{} is no object", kind.kind) };
            check(kind.kind, object, &mut Vec::new());
        }
    }
}
