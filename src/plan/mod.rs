//! From a snapshot of objects to the one value that the lab should be.
//!
//! Pure: the same snapshot gives the same [`Desired`] on every machine that has the same programs. Which pod gets which
//! node and address is decided by controllers and stands in the objects; here it is only read.

pub mod catalogue;
pub mod names;
mod planner;
mod pods;
mod resolution;
mod services;
mod tables;
pub mod topology;

pub use planner::Planner;
pub use pods::{POD_IPS, netns_of};

use std::sync::Arc;

use crate::desired::Desired;
use crate::object::lab::{Lab, LabError};
use crate::object::{Object, Snapshot, kind};

/// What the plan needs to know of the machine it is for.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    pub programs: catalogue::HostPrograms,
    /// Its `/etc/resolv.conf`, which pods with `dnsPolicy: Default` share.
    pub resolv_conf: String,
}

/// The Lab document of a snapshot, and the object that it was read from.
pub fn lab_of(snapshot: &Snapshot) -> Result<(Lab, Option<Arc<Object>>), LabError> {
    let Some(object) = snapshot.list(&kind::LAB).next() else { return Ok((Lab::default(), None)) };
    let lab = object.view::<Lab>().map_err(|error| LabError { path: "kind: Lab".into(), reason: error.reason })?;
    Ok(((*lab).clone(), Some(object.clone())))
}

/// Everything that the lab called `name` should have.
pub fn plan(name: &str, snapshot: &Snapshot, machine: &Machine) -> Result<Desired, LabError> {
    let desired = Planner::new(name, machine.clone()).plan(snapshot)?;
    Ok(Arc::unwrap_or_clone(desired))
}
