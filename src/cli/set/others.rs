//! `set selector`, `set serviceaccount` and `set subject`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::create::rbac::subjects;
use super::super::{Context, Failure};
use super::{WhichArgs, spec_of};
use crate::object::map_at_mut;

/// Set the labels by which a Service selects its pods
#[derive(Debug, Args)]
pub struct SelectorArgs {
    /// TYPE NAME or TYPE/NAME, and then LABEL=VALUE,...
    #[arg(value_name = "TYPE[/NAME] LABEL=VALUE")]
    words: Vec<String>,
    #[command(flatten)]
    which: WhichArgs,
}

pub async fn selector(args: SelectorArgs, cx: &Context) -> Result<(), Failure> {
    let Some((expression, resources)) = args.words.split_last() else {
        return Err(Failure::error("one selector is required"));
    };
    let pair = |part: &str| match part.split_once('=') {
        Some((key, value)) if !key.ends_with('!') => {
            Ok((key.trim().to_string(), Value::from(value.trim_start_matches('=').trim())))
        }
        _ => {
            let failure = Failure::error(format!("couldn't parse the selector string \"{expression}\""));
            Err(failure.hint("a Service selects by equality alone: app=web,tier=front"))
        }
    };
    let labels: Map<String, Value> =
        expression.split(',').filter(|part| !part.is_empty()).map(pair).collect::<Result<_, _>>()?;
    let change = |object: &mut Value| match object.as_object_mut() {
        Some(fields) if fields.get("kind").is_some_and(|kind| kind == "Service") => {
            map_at_mut(fields, "spec").insert("selector".into(), Value::Object(labels.clone()));
            Ok(())
        }
        _ => Err(Failure::error("setting a selector is only supported for Services")),
    };
    args.which.change(resources, "set selector", "selector updated", cx, change).await
}

/// Set the ServiceAccount that pods run as
#[derive(Debug, Args)]
pub struct ServiceAccountArgs {
    /// TYPE NAME..., TYPE/NAME..., and then the ServiceAccount's name
    #[arg(value_name = "TYPE[/NAME] SERVICEACCOUNT")]
    words: Vec<String>,
    #[command(flatten)]
    which: WhichArgs,
}

pub async fn service_account(args: ServiceAccountArgs, cx: &Context) -> Result<(), Failure> {
    let Some((account, resources)) = args.words.split_last() else {
        return Err(Failure::error("serviceaccount is required"));
    };
    let change = |object: &mut Value| {
        let spec = spec_of(object)?;
        spec.insert("serviceAccountName".into(), account.as_str().into());
        // The old name of the same field.
        spec.remove("serviceAccount");
        Ok(())
    };
    args.which.change(resources, "set serviceaccount", "serviceaccount updated", cx, change).await
}

/// Add users, groups and ServiceAccounts to a RoleBinding or ClusterRoleBinding
#[derive(Debug, Args)]
pub struct SubjectArgs {
    /// TYPE NAME..., TYPE/NAME...
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[arg(long)]
    user: Vec<String>,
    #[arg(long)]
    group: Vec<String>,
    /// NAMESPACE:NAME
    #[arg(long)]
    serviceaccount: Vec<String>,
    #[command(flatten)]
    which: WhichArgs,
}

pub async fn subject(args: SubjectArgs, cx: &Context) -> Result<(), Failure> {
    let subjects = subjects(&args.user, &args.group, &args.serviceaccount, &cx.namespace)?;
    if subjects.is_empty() {
        return Err(Failure::error("you must specify at least one value of user, group or serviceaccount"));
    }
    let is_binding = |kind: &Value| kind == "RoleBinding" || kind == "ClusterRoleBinding";
    let change = |object: &mut Value| match object.as_object_mut() {
        Some(fields) if fields.get("kind").is_some_and(is_binding) => {
            let list = fields.entry("subjects").or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                for subject in &subjects {
                    if !list.contains(subject) {
                        list.push(subject.clone());
                    }
                }
            }
            Ok(())
        }
        _ => Err(Failure::error("setting subjects is only supported for RoleBinding/ClusterRoleBinding")),
    };
    args.which.change(&args.resources, "set subject", "subjects updated", cx, change).await
}
