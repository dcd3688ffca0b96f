//! The table of kinds: what every kind is called, in which group and version it is served, and whether the lab acts
//! on it or only keeps it.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// An entry of the table of kinds. Compared by group and plural name alone, which are unique.
#[derive(Debug)]
pub struct Kind {
    /// `""` for the core group.
    pub group: &'static str,
    /// The version the lab stores and serves, e.g. `v1`.
    pub version: &'static str,
    /// `Pod`
    pub kind: &'static str,
    /// `pods`
    pub plural: &'static str,
    /// `po`; the singular is the kind in lower case.
    pub short: &'static [&'static str],
    pub namespaced: bool,
    /// Part of `kubectl get all`.
    pub in_all: bool,
    /// Does the lab do anything because such an object exists? If not it is stored, listed and marked so.
    pub acted_on: bool,
    /// Of a CustomResourceDefinition, and not of the table below.
    pub custom: Option<Custom>,
}

/// What a CustomResourceDefinition says of its kind that is the same for all built-in ones, or known elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Custom {
    pub singular: &'static str,
    pub list_kind: &'static str,
    pub categories: &'static [&'static str],
    /// Has the subresource `status`, `scale`.
    pub status: bool,
    pub scale: bool,
}

pub type KindRef = &'static Kind;

impl Kind {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    pub fn singular(&self) -> String {
        match &self.custom {
            Some(custom) => custom.singular.to_string(),
            None => self.kind.to_ascii_lowercase(),
        }
    }

    /// `PodList`
    pub fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.list_kind.to_string(),
            None => format!("{}List", self.kind),
        }
    }

    /// The words that stand for several kinds at once, such as `all`.
    pub fn categories(&self) -> &'static [&'static str] {
        match &self.custom {
            Some(custom) => custom.categories,
            None if self.in_all => &["all"],
            None => &[],
        }
    }

    /// `pods`, `deployments.apps`: what kubectl prints in "Error from server (NotFound): deployments.apps ...".
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_string() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `pod`, `deployment.apps`: what kubectl prints in "deployment.apps/web created".
    pub fn singular_resource(&self) -> String {
        if self.group.is_empty() { self.singular() } else { format!("{}.{}", self.singular(), self.group) }
    }
}

impl Kind {
    /// Does a user mean this kind by `name` in `group`, which may be empty or have the version before it?
    pub fn is_named(&self, name: &str, group: &str) -> bool {
        let named = self.plural == name || self.short.contains(&name) || self.kind.eq_ignore_ascii_case(name);
        let named = named || self.custom.as_ref().is_some_and(|custom| custom.singular == name);
        named && (group.is_empty() || group == self.group || group == format!("{}.{}", self.version, self.group))
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Kind {}
impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        // Keys are compared all the time, mostly with others of their kind.
        if std::ptr::eq(self, other) {
            return Ordering::Equal;
        }
        (self.group, self.plural).cmp(&(other.group, other.plural))
    }
}
impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.group, self.plural).hash(state);
    }
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
) -> Kind {
    Kind { group, version, kind, plural, short, namespaced, in_all: false, acted_on: false, custom: None }
}

impl Kind {
    const fn acted_on(mut self) -> Self {
        self.acted_on = true;
        self
    }
    const fn in_all(mut self) -> Self {
        self.in_all = true;
        self
    }
}

/// The lab's own group, for `kind: Lab`.
pub const LAB_GROUP: &str = "nslab.dev";
/// The annotation of a Lab object that says that the machine itself is not plugged into the LAN (`lab up --no-host`).
pub const NO_HOST: &str = "nslab.dev/no-host";

macro_rules! kinds {
    ($($name:ident = $entry:expr;)*) => {
        $(pub static $name: Kind = $entry;)*
        /// Every kind the lab knows.
        pub static ALL: &[KindRef] = &[$(&$name),*];
    };
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io";
const RESOURCE: &str = "resource.k8s.io";
const DISCOVERY: &str = "discovery.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

kinds! {
    NAMESPACE = kind("", "v1", "Namespace", "namespaces", &["ns"], false).acted_on();
    NODE = kind("", "v1", "Node", "nodes", &["no"], false).acted_on();
    POD = kind("", "v1", "Pod", "pods", &["po"], true).acted_on().in_all();
    SERVICE = kind("", "v1", "Service", "services", &["svc"], true).acted_on().in_all();
    ENDPOINTS = kind("", "v1", "Endpoints", "endpoints", &["ep"], true).acted_on();
    EVENT = kind("", "v1", "Event", "events", &["ev"], true).acted_on();
    CONFIG_MAP = kind("", "v1", "ConfigMap", "configmaps", &["cm"], true);
    SECRET = kind("", "v1", "Secret", "secrets", &[], true);
    SERVICE_ACCOUNT = kind("", "v1", "ServiceAccount", "serviceaccounts", &["sa"], true).acted_on();
    PERSISTENT_VOLUME = kind("", "v1", "PersistentVolume", "persistentvolumes", &["pv"], false);
    PERSISTENT_VOLUME_CLAIM = kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], true);
    REPLICATION_CONTROLLER =
        kind("", "v1", "ReplicationController", "replicationcontrollers", &["rc"], true).acted_on().in_all();
    LIMIT_RANGE = kind("", "v1", "LimitRange", "limitranges", &["limits"], true);
    RESOURCE_QUOTA = kind("", "v1", "ResourceQuota", "resourcequotas", &["quota"], true);
    COMPONENT_STATUS = kind("", "v1", "ComponentStatus", "componentstatuses", &["cs"], false).acted_on();
    POD_TEMPLATE = kind("", "v1", "PodTemplate", "podtemplates", &[], true);
    DEPLOYMENT = kind("apps", "v1", "Deployment", "deployments", &["deploy"], true).acted_on().in_all();
    REPLICA_SET = kind("apps", "v1", "ReplicaSet", "replicasets", &["rs"], true).acted_on().in_all();
    DAEMON_SET = kind("apps", "v1", "DaemonSet", "daemonsets", &["ds"], true).in_all();
    STATEFUL_SET = kind("apps", "v1", "StatefulSet", "statefulsets", &["sts"], true).in_all();
    CONTROLLER_REVISION = kind("apps", "v1", "ControllerRevision", "controllerrevisions", &[], true);
    JOB = kind("batch", "v1", "Job", "jobs", &[], true).in_all();
    CRON_JOB = kind("batch", "v1", "CronJob", "cronjobs", &["cj"], true).in_all();
    HORIZONTAL_POD_AUTOSCALER =
        kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], true).in_all();
    ENDPOINT_SLICE = kind(DISCOVERY, "v1", "EndpointSlice", "endpointslices", &[], true).acted_on();
    INGRESS = kind(NETWORKING, "v1", "Ingress", "ingresses", &["ing"], true);
    INGRESS_CLASS = kind(NETWORKING, "v1", "IngressClass", "ingressclasses", &[], false);
    IP_ADDRESS = kind(NETWORKING, "v1", "IPAddress", "ipaddresses", &["ip"], false);
    SERVICE_CIDR = kind(NETWORKING, "v1", "ServiceCIDR", "servicecidrs", &[], false);
    NETWORK_POLICY = kind(NETWORKING, "v1", "NetworkPolicy", "networkpolicies", &["netpol"], true);
    ROLE = kind(RBAC, "v1", "Role", "roles", &[], true);
    ROLE_BINDING = kind(RBAC, "v1", "RoleBinding", "rolebindings", &[], true);
    CLUSTER_ROLE = kind(RBAC, "v1", "ClusterRole", "clusterroles", &[], false);
    CLUSTER_ROLE_BINDING = kind(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", &[], false);
    STORAGE_CLASS = kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", &["sc"], false);
    CSI_DRIVER = kind("storage.k8s.io", "v1", "CSIDriver", "csidrivers", &[], false);
    CSI_NODE = kind("storage.k8s.io", "v1", "CSINode", "csinodes", &[], false);
    CSI_STORAGE_CAPACITY = kind("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", &[], true);
    VOLUME_ATTACHMENT = kind("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", &[], false);
    VOLUME_ATTRIBUTES_CLASS =
        kind("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses", &["vac"], false);
    PRIORITY_CLASS = kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", &["pc"], false);
    POD_DISRUPTION_BUDGET = kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"], true)
        .acted_on();
    LEASE = kind("coordination.k8s.io", "v1", "Lease", "leases", &[], true);
    CUSTOM_RESOURCE_DEFINITION =
        kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"], false)
            .acted_on();
    API_SERVICE = kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", &[], false);
    VALIDATING_WEBHOOK =
        kind(ADMISSION, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &[], false);
    MUTATING_WEBHOOK =
        kind(ADMISSION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &[], false);
    VALIDATING_ADMISSION_POLICY =
        kind(ADMISSION, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", &[], false);
    VALIDATING_ADMISSION_POLICY_BINDING =
        kind(ADMISSION, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", &[], false);
    CERTIFICATE_SIGNING_REQUEST = kind(
        "certificates.k8s.io",
        "v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        &["csr"],
        false,
    );
    FLOW_SCHEMA = kind(FLOW_CONTROL, "v1", "FlowSchema", "flowschemas", &[], false);
    PRIORITY_LEVEL_CONFIGURATION =
        kind(FLOW_CONTROL, "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", &[], false);
    RUNTIME_CLASS = kind("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", &[], false);
    DEVICE_CLASS = kind(RESOURCE, "v1", "DeviceClass", "deviceclasses", &[], false);
    RESOURCE_CLAIM = kind(RESOURCE, "v1", "ResourceClaim", "resourceclaims", &[], true);
    RESOURCE_CLAIM_TEMPLATE = kind(RESOURCE, "v1", "ResourceClaimTemplate", "resourceclaimtemplates", &[], true);
    RESOURCE_SLICE = kind(RESOURCE, "v1", "ResourceSlice", "resourceslices", &[], false);
    LAB = kind(LAB_GROUP, "v1alpha1", "Lab", "labs", &[], false).acted_on();
}

/// The version of HorizontalPodAutoscaler that is served beside the stored one.
pub static HORIZONTAL_POD_AUTOSCALER_V1: Kind =
    kind("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], true).in_all();

/// Kinds of [`ALL`] in versions that are served but not stored.
pub static OTHER_VERSIONS: &[KindRef] = &[&HORIZONTAL_POD_AUTOSCALER_V1];

/// The kind served under exactly this `apiVersion`.
pub fn by_api_version_kind(api_version: &str, kind: &str) -> Option<KindRef> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let mut all = ALL.iter().chain(OTHER_VERSIONS).copied();
    all.find(|k| k.kind == kind && k.group == group && k.version == version)
}

/// The kind of a group and plural name, as they stand in a URL of the API.
pub fn by_resource(group: &str, plural: &str) -> Option<KindRef> {
    ALL.iter().copied().find(|k| k.plural == plural && k.group == group)
}

/// The kind that a user means by `po`, `pod`, `pods`, `Pod`, `deploy.apps`, `deployments.v1.apps`.
pub fn by_word(word: &str) -> Option<KindRef> {
    let word = word.to_ascii_lowercase();
    let (name, group) = word.split_once('.').unwrap_or((&word, ""));
    ALL.iter().copied().find(|k| k.is_named(name, group))
}
