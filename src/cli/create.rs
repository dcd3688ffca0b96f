//! `create`: from files, or from flags (`create deployment NAME --image=...`).

mod config;
mod service;
mod workload;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, Output};
use super::{Context, Failure, dry_run, files, print};
use crate::object::kind::{self, KindRef};

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
    Secret(config::SecretArgs),
}

pub async fn run(args: CreateArgs, cx: &Context) -> Result<(), Failure> {
    let (object, how) = match args.what {
        None => return from_files(&args.files, &args.how, cx).await,
        Some(What::Deployment(args)) => (workload::deployment(&args)?, args.how),
        Some(What::Namespace(args)) => (workload::namespace(&args), args.how),
        Some(What::Service(args)) => service::service(args)?,
        Some(What::Configmap(args)) => (config::config_map(&args)?, args.how),
        Some(What::Secret(args)) => config::secret(args)?,
    };
    let kind = kind_of(&object)?;
    submit(object, kind, &how, cx).await.map(|_| ())
}

fn kind_of(object: &Value) -> Result<KindRef, Failure> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    kind::by_api_version_kind(text("apiVersion"), text("kind")).ok_or_else(|| {
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
    for document in files::read(args, cx)?.documents {
        let source = document.source.clone();
        let how = HowArgs { save_config: how.save_config, ..how.clone() };
        if let Err(failure) = send(document.object, document.kind, &document.namespace, &how, cx, Some(&source)).await {
            failures.push(failure);
        }
    }
    Failure::all(failures)
}

/// Creates an object that was made from flags, in the namespace of the command line, and tells so. What comes back is
/// the object as the server has it.
pub async fn submit(mut object: Value, kind: KindRef, how: &HowArgs, cx: &Context) -> Result<Value, Failure> {
    // Without -n the printed object says no namespace, so that it can be applied anywhere.
    if cx.namespace_given && kind.namespaced {
        object["metadata"]["namespace"] = cx.namespace.clone().into();
    }
    send(object, kind, &cx.namespace, how, cx, None).await
}

async fn send(
    mut object: Value,
    kind: KindRef,
    namespace: &str,
    how: &HowArgs,
    cx: &Context,
    source: Option<&str>,
) -> Result<Value, Failure> {
    let output = Output::parse(&how.output)?;
    let dry = dry_run(how.dry_run.as_deref())?;
    if how.save_config {
        super::apply::remember(&mut object);
    }
    let made = if dry == Some(super::DRY_CLIENT) {
        object
    } else {
        let mut sent = object;
        // Only for people who read YAML; the server sets both.
        if let Some(fields) = sent.as_object_mut() {
            fields.remove("status");
        }
        let query = super::path::Query::new().with_some("dryRun", dry.map(|_| "All"));
        let path = query.on(&super::path::collection(kind, Some(namespace)));
        cx.client.post_path(&path, &sent).await.map_err(|error| match source {
            Some(source) => error.during("creating", source),
            None => error.when("create", kind),
        })?
    };
    let text = match output {
        Output::Table { .. } => format!("{} created{}\n", output::name_of(&made), dry.unwrap_or_default()),
        Output::Name => format!("{}\n", output::name_of(&made)),
        other => output::objects(&other, vec![made.clone()], true, true)?,
    };
    print(&text)?;
    Ok(made)
}

/// `metadata` of an object that is new; kubectl prints the empty timestamp too.
fn metadata(name: &str, labels: Value) -> Value {
    let mut metadata = json!({"creationTimestamp": null, "name": name});
    if labels.as_object().is_some_and(|l| !l.is_empty()) {
        metadata["labels"] = labels;
    }
    metadata
}
