//! The table of tables: which columns each kind has. Those after `+` are for `-o wide`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cells, cluster, nets, nodes, others, pods, services, storage, workloads};
use crate::object::Object;
use crate::object::kind::{self, Kind, KindRef};

pub struct Columns {
    pub columns: &'static [&'static str],
    pub cells: fn(&Object, Timestamp) -> Vec<Value>,
}

/// Columns whose cells are numbers.
const NUMBERS: [&str; 13] = [
    "Desired",
    "Current",
    "Ready",
    "Up-to-date",
    "Available",
    "Data",
    "Secrets",
    "Active",
    "Webhooks",
    "Revision",
    "MinPods",
    "MaxPods",
    "Replicas",
];

impl Columns {
    pub fn definitions(&self) -> Value {
        let definition = |column: &&str| {
            let name = column.trim_start_matches('+');
            let count = self.columns.contains(&"Desired") || !matches!(name, "Ready");
            let kind = if NUMBERS.contains(&name) && count { "integer" } else { "string" };
            json!({"name": name, "type": kind, "format": if name == "Name" { "name" } else { "" }, "description": "",
                "priority": i32::from(column.starts_with('+'))})
        };
        self.columns.iter().map(definition).collect()
    }
}

macro_rules! tables {
    ($($kind:ident: [$($column:literal),* $(,)?] => $cells:expr;)*) => {
        /// Every kind whose table is more than a name and an age.
        static TABLES: &[(&Kind, Columns)] =
            &[$((&kind::$kind, Columns { columns: &[$($column),*], cells: $cells })),*];
    };
}

tables! {
    POD: ["Name", "Ready", "Status", "Restarts", "Age", "+IP", "+Node", "+Nominated Node", "+Readiness Gates"]
        => pods::cells;
    NODE: ["Name", "Status", "Roles", "Age", "Version", "+Internal-IP", "+External-IP", "+OS-Image",
        "+Kernel-Version", "+Container-Runtime"] => nodes::cells;
    NAMESPACE: ["Name", "Status", "Age"] => others::namespace;
    SERVICE: ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector"] => services::service;
    ENDPOINTS: ["Name", "Endpoints", "Age"] => services::endpoints;
    ENDPOINT_SLICE: ["Name", "AddressType", "Ports", "Endpoints", "Age"] => services::endpoint_slice;
    EVENT: ["Last Seen", "Type", "Reason", "Object", "+Subobject", "+Source", "Message", "+First Seen", "+Count",
        "+Name"] => others::event;
    CONFIG_MAP: ["Name", "Data", "Age"] => others::config_map;
    SECRET: ["Name", "Type", "Data", "Age"] => others::secret;
    SERVICE_ACCOUNT: ["Name", "Secrets", "Age"] => others::service_account;
    PERSISTENT_VOLUME: ["Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass",
        "VolumeAttributesClass", "Reason", "Age", "+VolumeMode"] => storage::volume;
    PERSISTENT_VOLUME_CLAIM: ["Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass",
        "VolumeAttributesClass", "Age", "+VolumeMode"] => storage::claim;
    STORAGE_CLASS: ["Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"]
        => storage::class;
    REPLICATION_CONTROLLER: ["Name", "Desired", "Current", "Ready", "Age", "+Containers", "+Images", "+Selector"]
        => workloads::replica_set;
    REPLICA_SET: ["Name", "Desired", "Current", "Ready", "Age", "+Containers", "+Images", "+Selector"]
        => workloads::replica_set;
    DEPLOYMENT: ["Name", "Ready", "Up-to-date", "Available", "Age", "+Containers", "+Images", "+Selector"]
        => workloads::deployment;
    DAEMON_SET: ["Name", "Desired", "Current", "Ready", "Up-to-date", "Available", "Node Selector", "Age",
        "+Containers", "+Images", "+Selector"] => workloads::daemon_set;
    STATEFUL_SET: ["Name", "Ready", "Age", "+Containers", "+Images"] => workloads::stateful_set;
    JOB: ["Name", "Status", "Completions", "Duration", "Age", "+Containers", "+Images", "+Selector"]
        => workloads::job;
    CRON_JOB: ["Name", "Schedule", "Timezone", "Suspend", "Active", "Last Schedule", "Age", "+Containers", "+Images",
        "+Selector"] => workloads::cron_job;
    CONTROLLER_REVISION: ["Name", "Controller", "Revision", "Age"] => workloads::revision;
    HORIZONTAL_POD_AUTOSCALER: ["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"]
        => workloads::autoscaler;
    POD_TEMPLATE: ["Name", "Containers", "Images", "Pod Labels"] => workloads::template;
    POD_DISRUPTION_BUDGET: ["Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"]
        => workloads::disruption_budget;
    INGRESS: ["Name", "Class", "Hosts", "Address", "Ports", "Age"] => nets::ingress;
    INGRESS_CLASS: ["Name", "Controller", "Parameters", "Age"] => nets::ingress_class;
    NETWORK_POLICY: ["Name", "Pod-Selector", "Age"] => nets::policy;
    RESOURCE_QUOTA: ["Name", "Request", "Limit", "Age"] => others::quota;
    LIMIT_RANGE: ["Name", "Created At"] => others::created_at;
    ROLE: ["Name", "Created At"] => others::created_at;
    CLUSTER_ROLE: ["Name", "Created At"] => others::created_at;
    CUSTOM_RESOURCE_DEFINITION: ["Name", "Created At"] => others::created_at;
    ROLE_BINDING: ["Name", "Role", "Age", "+Users", "+Groups", "+ServiceAccounts"] => others::role_binding;
    CLUSTER_ROLE_BINDING: ["Name", "Role", "Age", "+Users", "+Groups", "+ServiceAccounts"] => others::role_binding;
    LEASE: ["Name", "Holder", "Age"] => others::lease;
    PRIORITY_CLASS: ["Name", "Value", "Global-Default", "Age", "PreemptionPolicy"] => others::priority_class;
    CSI_DRIVER: ["Name", "AttachRequired", "PodInfoOnMount", "StorageCapacity", "TokenRequests",
        "RequiresRepublish", "Modes", "Age"] => storage::csi_driver;
    COMPONENT_STATUS: ["Name", "Status", "Message", "Error"] => cluster::component;
    CERTIFICATE_SIGNING_REQUEST: ["Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"]
        => cluster::signing_request;
    FLOW_SCHEMA: ["Name", "PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL"]
        => cluster::flow_schema;
    PRIORITY_LEVEL_CONFIGURATION: ["Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize",
        "QueueLengthLimit", "Age"] => cluster::priority_level;
    IP_ADDRESS: ["Name", "ParentRef", "Age"] => cluster::ip_address;
    SERVICE_CIDR: ["Name", "CIDRs", "Age"] => cluster::service_cidr;
    RUNTIME_CLASS: ["Name", "Handler", "Age"] => cluster::runtime_class;
    CSI_NODE: ["Name", "Drivers", "Age"] => cluster::csi_node;
    VOLUME_ATTACHMENT: ["Name", "Attacher", "PV", "Node", "Attached", "Age"] => cluster::volume_attachment;
    VOLUME_ATTRIBUTES_CLASS: ["Name", "DriverName", "Age"] => cluster::attributes_class;
    VALIDATING_ADMISSION_POLICY: ["Name", "Validations", "ParamKind", "Age"] => cluster::admission_policy;
    VALIDATING_ADMISSION_POLICY_BINDING: ["Name", "PolicyName", "ParamRef", "Age"] => cluster::admission_binding;
    RESOURCE_CLAIM: ["Name", "State", "Age"] => cluster::resource_claim;
    RESOURCE_SLICE: ["Name", "Node", "Driver", "Pool", "Age"] => cluster::resource_slice;
    API_SERVICE: ["Name", "Service", "Available", "Age"] => others::api_service;
    VALIDATING_WEBHOOK: ["Name", "Webhooks", "Age"] => others::webhook;
    MUTATING_WEBHOOK: ["Name", "Webhooks", "Age"] => others::webhook;
}

static PLAIN: Columns =
    Columns { columns: &["Name", "Age"], cells: |object, now| vec![cells::name(object), cells::age(object, now)] };

pub fn of(kind: KindRef) -> &'static Columns {
    TABLES.iter().find(|(of, _)| **of == *kind).map_or(&PLAIN, |(_, columns)| columns)
}
