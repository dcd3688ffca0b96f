//! How each list of a known kind merges: by which key its elements are told apart, or as one whole.
//!
//! The table says what the `patchStrategy` and `patchMergeKey` of Kubernetes' published API say.

use crate::object::kind::{self, KindRef};

/// Where in an object we are, as far as merging cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Object(KindRef),
    Metadata,
    /// `spec` of the kinds that make pods.
    Workload,
    /// `spec` of a CronJob.
    CronJob,
    /// `{metadata, spec}` of a Job in a CronJob.
    JobTemplate,
    /// `{metadata, spec}` of a pod.
    PodTemplate,
    PodSpec,
    Container,
    Volume,
    Service,
    NodeSpec,
    Status(KindRef),
    /// Nothing below is merged in any other than the plain way: maps merge, lists are replaced.
    Plain,
}

/// What happens to a field that both sides have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Maps merge, lists are replaced.
    Default,
    /// A list whose elements are told apart by this field.
    ByKey(&'static str),
    /// A list of plain values that is a set.
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub strategy: Strategy,
    /// The place below: of the map, or of each of the list's elements.
    pub place: Place,
    /// A map of which only the keys that a patch names stay (a union of alternatives).
    pub retain_keys: bool,
}

const fn plain() -> Field {
    Field { strategy: Strategy::Default, place: Place::Plain, retain_keys: false }
}

const fn map(place: Place) -> Field {
    Field { strategy: Strategy::Default, place, retain_keys: false }
}

const fn by_key(key: &'static str, place: Place) -> Field {
    Field { strategy: Strategy::ByKey(key), place, retain_keys: false }
}

const SET: Field = Field { strategy: Strategy::Set, place: Place::Plain, retain_keys: false };

impl Place {
    pub fn field(self, name: &str) -> Field {
        match (self, name) {
            (Place::Object(_) | Place::JobTemplate | Place::PodTemplate, "metadata") => map(Place::Metadata),
            (Place::Object(kind), _) => top(kind, name),
            (Place::Metadata, "ownerReferences") => by_key("uid", Place::Plain),
            (Place::Metadata, "finalizers") => SET,
            (Place::Workload, "template") => map(Place::PodTemplate),
            (Place::Workload, "strategy") => Field { retain_keys: true, ..plain() },
            (Place::CronJob, "jobTemplate") => map(Place::JobTemplate),
            (Place::JobTemplate, "spec") => map(Place::Workload),
            (Place::PodTemplate, "spec") => map(Place::PodSpec),
            (Place::PodSpec, "containers" | "initContainers" | "ephemeralContainers") => {
                by_key("name", Place::Container)
            }
            (Place::PodSpec, "volumes") => Field { retain_keys: true, ..by_key("name", Place::Volume) },
            (Place::PodSpec, "imagePullSecrets" | "schedulingGates") => by_key("name", Place::Plain),
            (Place::PodSpec, "resourceClaims") => Field { retain_keys: true, ..by_key("name", Place::Plain) },
            (Place::PodSpec, "hostAliases") => by_key("ip", Place::Plain),
            (Place::PodSpec, "topologySpreadConstraints") => by_key("topologyKey", Place::Plain),
            (Place::Container, "ports") => by_key("containerPort", Place::Plain),
            (Place::Container, "env") => by_key("name", Place::Plain),
            (Place::Container, "volumeMounts") => by_key("mountPath", Place::Plain),
            (Place::Container, "volumeDevices") => by_key("devicePath", Place::Plain),
            (Place::Service, "ports") => by_key("port", Place::Plain),
            (Place::NodeSpec, "podCIDRs") => SET,
            (Place::Status(kind), _) => status(kind, name),
            _ => plain(),
        }
    }
}

fn top(kind: KindRef, name: &str) -> Field {
    const WORKLOADS: [&kind::Kind; 6] = [
        &kind::DEPLOYMENT,
        &kind::REPLICA_SET,
        &kind::DAEMON_SET,
        &kind::STATEFUL_SET,
        &kind::REPLICATION_CONTROLLER,
        &kind::JOB,
    ];
    match name {
        "status" => map(Place::Status(kind)),
        "spec" if *kind == kind::POD => map(Place::PodSpec),
        "spec" if *kind == kind::SERVICE => map(Place::Service),
        "spec" if *kind == kind::NODE => map(Place::NodeSpec),
        "spec" if *kind == kind::CRON_JOB => map(Place::CronJob),
        "spec" if WORKLOADS.contains(&kind) => map(Place::Workload),
        "template" if *kind == kind::POD_TEMPLATE => map(Place::PodTemplate),
        "secrets" if *kind == kind::SERVICE_ACCOUNT => by_key("name", Place::Plain),
        "webhooks" if *kind == kind::VALIDATING_WEBHOOK || *kind == kind::MUTATING_WEBHOOK => {
            by_key("name", Place::Plain)
        }
        _ => plain(),
    }
}

fn status(kind: KindRef, name: &str) -> Field {
    match name {
        "conditions" => by_key("type", Place::Plain),
        "addresses" if *kind == kind::NODE => by_key("type", Place::Plain),
        "podIPs" | "hostIPs" if *kind == kind::POD => by_key("ip", Place::Plain),
        _ => plain(),
    }
}

/// Does a strategic merge patch mean anything for this kind? Not for custom resources.
pub fn has_strategy(kind: KindRef) -> bool {
    kind.group != kind::LAB_GROUP && kind.custom.is_none()
}
