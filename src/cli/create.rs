//! `create`: from files, or from flags (`create deployment NAME --image=...`).

mod batch;
mod config;
mod ingress;
mod policy;
pub mod rbac;
mod secret;
mod service;
mod token;
mod workload;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::change::RecordArgs;
use super::client::ClientError;
use super::output::{self, Output};
use super::{Context, Failure, dry_run, files, print};
use crate::object::kind::KindRef;

/// Create objects from files or flags
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CreateArgs {
    #[command(flatten)]
    files: files::FileArgs,
    #[command(flatten)]
    how: HowArgs,
    #[command(subcommand)]
    what: Option<What>,
}

/// What all ways to create have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct HowArgs {
    /// client: print what would be sent and send nothing; server: send it, and change nothing
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub dry_run: Option<String>,
    /// yaml, json, name or jsonpath=TEMPLATE: print the object, and not a sentence
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub output: String,
    /// Keep the object as given in an annotation, for a later apply
    #[arg(long)]
    pub save_config: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "strict")]
    validate: Option<String>,
    #[arg(long, hide = true)]
    field_manager: Option<String>,
    #[command(flatten)]
    record: RecordArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(visible_alias = "deploy", alias = "dep")]
    Deployment(workload::DeploymentArgs),
    #[command(visible_alias = "ns")]
    Namespace(workload::NamespaceArgs),
    #[command(visible_alias = "svc")]
    Service(service::ServiceArgs),
    #[command(visible_alias = "cm")]
    Configmap(config::ConfigMapArgs),
    Secret(secret::SecretArgs),
    Job(batch::JobArgs),
    #[command(visible_alias = "cj")]
    Cronjob(batch::CronJobArgs),
    #[command(visible_alias = "ing")]
    Ingress(ingress::IngressArgs),
    #[command(visible_alias = "sa")]
    Serviceaccount(policy::ServiceAccountArgs),
    Role(rbac::RoleArgs),
    Clusterrole(rbac::ClusterRoleArgs),
    Rolebinding(rbac::RoleBindingArgs),
    Clusterrolebinding(rbac::ClusterRoleBindingArgs),
    #[command(visible_alias = "resourcequota")]
    Quota(policy::QuotaArgs),
    #[command(visible_alias = "pdb")]
    Poddisruptionbudget(policy::BudgetArgs),
    #[command(visible_alias = "pc")]
    Priorityclass(policy::PriorityClassArgs),
    Token(token::TokenArgs),
}

pub async fn run(args: CreateArgs, cx: &Context) -> Result<(), Failure> {
    let (object, how) = match args.what {
        None => return from_files(&args.files, &args.how, cx).await,
        Some(What::Deployment(args)) => (workload::deployment(&args)?, args.how),
        Some(What::Namespace(args)) => (workload::namespace(&args), args.how),
        Some(What::Service(args)) => service::service(args)?,
        Some(What::Configmap(args)) => (config::config_map(&args)?, args.how),
        Some(What::Secret(args)) => secret::secret(args)?,
        Some(What::Job(args)) => (batch::job(&args, cx).await?, args.how),
        Some(What::Cronjob(args)) => (batch::cron_job(&args), args.how),
        Some(What::Ingress(args)) => (ingress::ingress(&args)?, args.how),
        Some(What::Serviceaccount(args)) => (policy::service_account(&args), args.how),
        Some(What::Role(args)) => (rbac::role(&args)?, args.how),
        Some(What::Clusterrole(args)) => (rbac::cluster_role(&args)?, args.how),
        Some(What::Rolebinding(args)) => (rbac::role_binding(&args)?, args.how),
        Some(What::Clusterrolebinding(args)) => (rbac::cluster_role_binding(&args)?, args.how),
        Some(What::Quota(args)) => (policy::quota(&args)?, args.how),
        Some(What::Poddisruptionbudget(args)) => (policy::budget(&args)?, args.how),
        Some(What::Priorityclass(args)) => (policy::priority_class(&args), args.how),
        Some(What::Token(args)) => return token::run(args, cx).await,
    };
    let kind = kind_of(&object)?;
    let failing = match kind.kind {
        "Namespace" | "Role" | "ClusterRole" => None,
        "ResourceQuota" => Some("failed to create quota: ".to_string()),
        "PodDisruptionBudget" => Some("failed to create poddisruptionbudgets: ".to_string()),
        "Service" => {
            Some(format!("failed to create {} service: ", object["spec"]["type"].as_str().unwrap_or("ClusterIP")))
        }
        "Secret" => Some("failed to create secret ".to_string()),
        _ => Some(format!("failed to create {}: ", kind.singular())),
    };
    let object = placed(object, kind, cx);
    let sent = Sent { object, kind, namespace: &cx.namespace, source: None, word: "created", failing };
    send(sent, &how, cx).await.map(|_| ())
}

fn kind_of(object: &Value) -> Result<KindRef, Failure> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    super::custom::by_api_version_kind(text("apiVersion"), text("kind")).ok_or_else(|| {
        Failure::error(format!("no matches for kind \"{}\" in version \"{}\"", text("kind"), text("apiVersion")))
    })
}

async fn from_files(args: &files::FileArgs, how: &HowArgs, cx: &Context) -> Result<(), Failure> {
    if !args.is_given() {
        let failure = Failure::error("must specify one of -f and -k");
        return Err(
            failure.hint(format!("{} create -f FILE, or create deployment NAME --image=IMAGE", super::program()))
        );
    }
    let mut failures = Vec::new();
    for document in files::read(args, files::Purpose::Send, cx)? {
        let (kind, namespace, source) = (document.kind, &document.namespace, Some(document.source.as_str()));
        let sent = Sent { object: document.object, kind, namespace, source, word: "created", failing: None };
        if let Err(failure) = send(sent, how, cx).await {
            failures.push(failure);
        }
    }
    Failure::all(failures)
}

/// Creates an object that was made from flags, in the namespace of the command line, and tells so. What comes back is
/// the object as the server has it.
pub async fn submit(object: Value, kind: KindRef, how: &HowArgs, cx: &Context) -> Result<Value, Failure> {
    submit_as(object, kind, how, cx, "created").await
}

/// As [`submit`], with another word for what was done.
pub async fn submit_as(
    object: Value,
    kind: KindRef,
    how: &HowArgs,
    cx: &Context,
    word: &str,
) -> Result<Value, Failure> {
    let object = placed(object, kind, cx);
    send(Sent { object, kind, namespace: &cx.namespace, source: None, word, failing: None }, how, cx).await
}

/// Without -n the printed object says no namespace, so that it can be applied anywhere.
fn placed(mut object: Value, kind: KindRef, cx: &Context) -> Value {
    if cx.namespace_given && kind.namespaced {
        object["metadata"]["namespace"] = cx.namespace.clone().into();
    }
    object
}

/// An object on its way to the server.
struct Sent<'a> {
    object: Value,
    kind: KindRef,
    namespace: &'a str,
    /// The file that it came from.
    source: Option<&'a str>,
    /// What was done, once it is.
    word: &'a str,
    /// What kubectl puts before the server's words.
    failing: Option<String>,
}

async fn send(sent: Sent<'_>, how: &HowArgs, cx: &Context) -> Result<Value, Failure> {
    let Sent { mut object, kind, namespace, source, word, failing } = sent;
    let output = Output::parse(&how.output)?;
    let dry = dry_run(how.dry_run.as_deref())?;
    how.record.note(&mut object);
    if how.save_config {
        super::apply::remember(&mut object);
    }
    let made = if dry == Some(super::DRY_CLIENT) {
        object
    } else {
        let query = super::path::Query::new().with_some("dryRun", dry.map(|_| "All"));
        let path = query.on(&super::path::collection(kind, Some(namespace)));
        let sent = if source.is_some() { object } else { without_status(object) };
        cx.client.post_path(&path, &sent).await.map_err(|error| match (error, source, failing) {
            (error, Some(source), _) => Failure::from(error.during("creating", source)),
            (ClientError::Status(status), _, Some(failing)) if status.reason != "Invalid" => {
                Failure::error(format!("{failing}{}", status.message))
            }
            (error, ..) => Failure::from(error),
        })?
    };
    let text = match output {
        Output::Table { .. } => format!("{} {word}{}\n", output::name_of(&made), dry.unwrap_or_default()),
        Output::Name => format!("{}\n", output::name_of(&made)),
        other => output::objects(&other, vec![made.clone()], true, true)?,
    };
    print(&text)?;
    Ok(made)
}

/// Without the empty fields that kubectl prints for people who read YAML, and that only the server sets.
pub fn without_status(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    for at in ["/metadata", "/spec/template/metadata"] {
        if let Some(metadata) = object.pointer_mut(at).and_then(Value::as_object_mut) {
            metadata.remove("creationTimestamp");
        }
    }
    object
}

/// `metadata` of an object that is new; kubectl prints the empty timestamp too.
pub fn metadata(name: &str, labels: Value) -> Value {
    let mut metadata = json!({"creationTimestamp": null, "name": name});
    if labels.as_object().is_some_and(|l| !l.is_empty()) {
        metadata["labels"] = labels;
    }
    metadata
}
