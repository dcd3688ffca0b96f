//! Which fields of a kind a field selector may name, and the words in which the others are refused.

use super::custom;
use super::query::Filter;
use super::status::ApiError;
use crate::object::custom::Definition;
use crate::object::kind::KindRef;

/// What the API server can select by, beyond the metadata: plural, group, fields.
const FIELDS: &[(&str, &str, &[&str])] = &[
    (
        "pods",
        "",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
    ),
    (
        "events",
        "",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("nodes", "", &["spec.unschedulable"]),
    ("secrets", "", &["type"]),
    ("namespaces", "", &["status.phase"]),
    ("services", "", &["spec.clusterIP", "spec.type"]),
    ("replicationcontrollers", "", &["status.replicas"]),
    ("replicasets", "apps", &["status.replicas"]),
    ("jobs", "batch", &["status.successful"]),
    ("certificatesigningrequests", "certificates.k8s.io", &["spec.signerName"]),
];

/// Refuses a selector that names what objects of `kind` cannot be selected by. `definition`: a custom kind's.
pub fn check(definition: Option<&Definition>, kind: KindRef, filter: &Filter) -> Result<(), ApiError> {
    let known = FIELDS.iter().find(|(plural, group, _)| *plural == kind.plural && *group == kind.group);
    let custom = definition.map(|definition| custom::selectable(definition, kind));
    for path in filter.fields.paths() {
        let is_known = known.is_some_and(|(_, _, fields)| fields.contains(&path))
            || custom.is_some_and(|fields| fields.iter().any(|field| field == path));
        if is_known || matches!(path, "metadata.name" | "metadata.namespace") {
            continue;
        }
        // The API server's words, which are not the same for all kinds.
        return Err(ApiError::bad_request(match (kind.plural, known.is_some() || custom.is_some()) {
            ("jobs", true) => format!("field label \"{path}\" not supported for batchv1.Job"),
            (_, true) => format!("field label not supported: {path}"),
            (_, false) => {
                format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            }
        }));
    }
    Ok(())
}
