//! `lab plan`: what `up` would do, without root and without doing it. The very code that a running lab uses, on a store
//! in memory, with pods that become ready at once.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::control;
use crate::desired::Desired;
use crate::diff::{Action, Step, diff};
use crate::manifest::Document;
use crate::object::lab::Lab;
use crate::object::write::Part;
use crate::object::{Object, Snapshot, Write, kind};
use crate::plan::{self, Machine};
use crate::store::Store;

/// As many rounds of controllers and simulated nodes as any manifest needs.
const ROUNDS: usize = 50;

#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    #[error("{0}")]
    Refused(String),
    /// Manifests that the API would not take.
    #[error(transparent)]
    Manifests(#[from] crate::api::ApiError),
    #[error("plan the lab: {0}")]
    Plan(#[from] crate::object::lab::LabError),
}

impl DryRunError {
    /// What is wrong, each error at its place in the files that the manifests were read from.
    pub fn at_their_places(&self, documents: &[Document]) -> String {
        let DryRunError::Manifests(refused) = self else { return self.to_string() };
        let causes = refused.details.as_ref().and_then(|details| details.get("causes")?.as_array());
        let lines = super::up::at_their_places(causes.map_or(&[], Vec::as_slice), documents);
        lines.unwrap_or_else(|| refused.to_string())
    }
}

pub struct DryRun {
    pub steps: Vec<Step>,
    pub desired: Desired,
}

/// Whether a new lab would take these manifests: asked before it is started, so that a refusal changes nothing.
pub fn check_for_new_lab(name: &str, lab: &Lab, manifests: &[Value]) -> Result<(), DryRunError> {
    let refused = |error: &dyn std::fmt::Display| DryRunError::Refused(error.to_string());
    let store = Store::in_memory();
    for result in store.commit(control::bootstrap(&super::named(lab, name)).map_err(|error| refused(&error))?) {
        result.map_err(|error| refused(&error))?;
    }
    crate::api::apply_all(&store, manifests)?;
    Ok(())
}

/// What the lab `name`, which has the objects `base` (none: it is not up), would be with `manifests` applied.
pub fn dry_run(
    name: &str,
    base: Vec<Arc<Object>>,
    lab: &Lab,
    with_host: bool,
    manifests: &[Value],
    machine: &Machine,
) -> Result<DryRun, DryRunError> {
    let refused = |error: &dyn std::fmt::Display| DryRunError::Refused(error.to_string());
    let store = Store::with_objects(base);
    let mut context = control::Context::seeded(Timestamp::now(), 0);
    let from = if store.snapshot().is_empty() {
        let mut writes = control::bootstrap(&super::named(lab, name)).map_err(|error| refused(&error))?;
        super::mark_host(&mut writes, with_host);
        for result in store.commit(writes) {
            result.map_err(|error| refused(&error))?;
        }
        Desired::default()
    } else {
        plan::plan(name, &store.snapshot(), machine)?
    };
    crate::api::apply_all(&store, manifests)?;
    for _ in 0..ROUNDS {
        let before = store.snapshot().resource_version();
        control::settle(&store, &mut context, ROUNDS);
        store.commit(ready_pods(&store.snapshot()));
        if store.snapshot().resource_version() == before {
            break;
        }
    }
    let desired = plan::plan(name, &store.snapshot(), machine)?;
    let mut steps = diff(&from, &desired);
    // Only tells what containers would see that start later, such as the variables of a new Service: nothing is done.
    steps.retain(|step| !matches!(step.action, Action::UpdatePod { .. }));
    Ok(DryRun { steps, desired })
}

/// Nodes and pods that do at once what they are asked to.
fn ready_pods(snapshot: &Snapshot) -> Vec<Write> {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let mut writes = Vec::new();
    for node in snapshot.list(&kind::NODE).filter(|node| node.at(&["status", "conditions"]).is_none()) {
        let mut status = node.at(&["status"]).cloned().unwrap_or_else(|| json!({}));
        status["conditions"] = ready.clone();
        writes.push(with_status(node, status));
    }
    for pod in snapshot.list(&kind::POD).filter(|pod| pod.at(&["status", "podIPs"]).is_none()) {
        let Some(ips) = pod.annotation(plan::POD_IPS) else { continue };
        let ips: Vec<&str> = ips.split(',').collect();
        let mut status = pod.at(&["status"]).cloned().unwrap_or_else(|| json!({}));
        status["phase"] = "Running".into();
        status["podIP"] = ips.first().copied().unwrap_or_default().into();
        status["podIPs"] = ips.iter().map(|ip| json!({"ip": ip})).collect();
        status["conditions"] = ready.clone();
        status["startTime"] = Timestamp::now().to_string().into();
        writes.push(with_status(pod, status));
    }
    writes
}

fn with_status(object: &Object, status: Value) -> Write {
    let mut object = object.clone();
    object.json_mut().insert("status".into(), status);
    Write::Update(object, Part::Status)
}
