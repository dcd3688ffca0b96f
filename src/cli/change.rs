//! What the verbs that change one thing in objects have in common (`set`, `patch`, `edit`, `taint`, `rollout`, ...):
//! their flags, the way a change is sent, and what is said of it.

use std::sync::Once;

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::ClientError;
use super::output::{self, Output};
use super::path::{self, Query};
use super::{Context, Failure, dry_run, hint, print};
use crate::object::kind::KindRef;
use crate::object::{map_at_mut, patch};

/// Where `--record` keeps the command, for `rollout history`.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// How often a change is made again because something else changed the object at the same moment.
const ATTEMPTS: usize = 10;

#[derive(Debug, Clone, Default, Args)]
pub struct ChangeArgs {
    /// client or server: change nothing
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub dry_run: Option<String>,
    /// yaml, json, name or jsonpath=TEMPLATE: print the objects, and not a sentence each
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub output: String,
    #[arg(long, hide = true)]
    pub field_manager: Option<String>,
    #[command(flatten)]
    pub record: RecordArgs,
}

#[derive(Debug, Clone, Default, Args)]
pub struct RecordArgs {
    /// Keep this command in an annotation, as the cause that rollout history shows (deprecated)
    #[arg(long)]
    record: bool,
}

impl RecordArgs {
    /// The command, when it is to be recorded. kubectl's warning is told.
    pub fn cause(&self) -> Option<String> {
        if !self.record {
            return None;
        }
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            eprintln!("Flag --record has been deprecated, --record will be removed in the future");
        });
        let words = std::env::args().skip(1).map(|word| if word == "--record" { "--record=true".into() } else { word });
        Some(std::iter::once(super::program().to_string()).chain(words).collect::<Vec<_>>().join(" "))
    }

    /// Notes the command in `object`.
    pub fn note(&self, object: &mut Value) {
        if let Some(cause) = self.cause() {
            annotate(object, CHANGE_CAUSE, &cause);
        }
    }
}

pub fn annotate(object: &mut Value, key: &str, value: &str) {
    let Some(fields) = object.as_object_mut() else { return };
    map_at_mut(map_at_mut(fields, "metadata"), "annotations").insert(key.to_string(), value.into());
}

/// An object that is to be changed.
pub type Target = (KindRef, String, String);

/// How changes are made and told.
pub struct Change<'a> {
    cx: &'a Context,
    /// What stands behind a sentence about something that was not really done.
    pub dry: Option<&'static str>,
    output: Output,
    manager: String,
    cause: Option<String>,
}

impl<'a> Change<'a> {
    /// `manager` is who is said to have made the change unless the user says otherwise.
    pub fn new(args: &ChangeArgs, manager: &str, cx: &'a Context) -> Result<Self, Failure> {
        Ok(Change {
            cx,
            dry: dry_run(args.dry_run.as_deref())?,
            output: Output::parse(&args.output)?,
            manager: args.field_manager.clone().unwrap_or_else(|| manager.to_string()),
            cause: args.record.cause(),
        })
    }

    /// Nothing is sent.
    pub fn is_client_dry(&self) -> bool {
        self.dry == Some(super::DRY_CLIENT)
    }

    /// The parameters of every request that changes something.
    pub fn query(&self) -> Query {
        Query::new().with_some("dryRun", self.dry.map(|_| "All")).with("fieldManager", self.manager.as_str())
    }

    /// An object that is to be changed, or "not found" with hints.
    pub async fn get(&self, (kind, namespace, name): &Target) -> Result<Value, Failure> {
        match self.cx.client.get(kind, namespace, name).await {
            Ok(object) => Ok(object),
            Err(error) if error.is_not_found() => {
                Err(Failure::from(error).hints(hint::for_missing(self.cx, kind, namespace, name).await))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes an object by a function, again when something else changes it at the same moment. What comes back is
    /// the object as it was, and as it is.
    pub async fn modify(
        &self,
        target: &Target,
        mut change: impl FnMut(&mut Value) -> Result<(), Failure>,
    ) -> Result<(Value, Value), Failure> {
        let (kind, namespace, name) = target;
        let path = self.query().on(&path::object(kind, namespace, name));
        let mut attempt = 1;
        loop {
            let live = self.get(target).await?;
            let mut new = live.clone();
            change(&mut new)?;
            if new == live {
                return Ok((live, new));
            }
            self.note_cause(&mut new);
            if self.is_client_dry() {
                return Ok((live, new));
            }
            let mut patch = patch::difference(&live, &new);
            // Whole lists are in the patch: they must still be what they were.
            if let Some(patch) = patch.as_object_mut() {
                let version = live.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
                map_at_mut(patch, "metadata").insert("resourceVersion".into(), version);
            }
            match self.cx.client.merge_patch(&path, &patch).await {
                Ok(new) => return Ok((live, new)),
                Err(ClientError::Status(status)) if status.reason == "Conflict" && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes the command that does this into the object, with `--record`.
    pub fn note_cause(&self, object: &mut Value) {
        if let Some(cause) = &self.cause {
            annotate(object, CHANGE_CAUSE, cause);
        }
    }

    /// The command that does this, with `--record`.
    pub fn cause(&self) -> Option<Value> {
        self.cause.as_ref().map(|cause| json!({"metadata": {"annotations": {CHANGE_CAUSE: cause}}}))
    }

    /// `deployment.apps/web scaled`, or the object in the form that was asked for.
    pub fn tell(&self, object: &Value, word: &str) -> Result<(), Failure> {
        print(&match &self.output {
            Output::Table { .. } => {
                format!("{} {word}{}\n", output::name_of(object), self.dry.unwrap_or_default())
            }
            output => output::objects(output, vec![object.clone()], true, true)?,
        })
    }
}

/// The pod's spec in a pod or in what makes pods.
pub fn pod_spec(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let at = match kind {
        "Pod" => "/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => "/spec/template/spec",
    };
    object.pointer_mut(at)?.as_object_mut()
}
