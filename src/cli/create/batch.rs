//! `create job` and `create cronjob`.

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, HowArgs, metadata};
use crate::cli::{Context, hint, pods, resource};
use crate::object::kind;

/// Create a Job
#[derive(Debug, Args)]
pub struct JobArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// The container's image
    #[arg(long)]
    image: Option<String>,
    /// cronjob/NAME: run it now, once
    #[arg(long, value_name = "CRONJOB")]
    from: Option<String>,
    #[command(flatten)]
    pub how: HowArgs,
    /// What the container runs in place of the image's own command
    #[arg(last = true)]
    command: Vec<String>,
}

/// Create a CronJob
#[derive(Debug, Args)]
pub struct CronJobArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// The container's image
    #[arg(long)]
    image: String,
    /// Minute, hour, day of the month, month and day of the week: "*/5 * * * *"
    #[arg(long)]
    schedule: String,
    /// Never or OnFailure
    #[arg(long, default_value = "OnFailure")]
    restart: String,
    #[command(flatten)]
    pub how: HowArgs,
    /// What the container runs in place of the image's own command
    #[arg(last = true)]
    command: Vec<String>,
}

pub async fn job(args: &JobArgs, cx: &Context) -> Result<Value, Failure> {
    match (&args.image, &args.from) {
        (Some(image), None) => {
            let spec = json!({"template": template(&args.name, image, &args.command, "Never")});
            Ok(
                json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(&args.name, json!({})), "spec": spec,
                "status": {}}),
            )
        }
        (None, Some(_)) if !args.command.is_empty() => Err(Failure::error("cannot specify --from and command")),
        (None, Some(from)) => from_cron_job(&args.name, from, cx).await,
        _ => Err(Failure::error("either --image or --from must be specified")),
    }
}

async fn from_cron_job(name: &str, from: &str, cx: &Context) -> Result<Value, Failure> {
    let (kind, of) = resource::parse_one(&[from.to_string()], None, "create job --from")?;
    if kind != &kind::CRON_JOB {
        return Err(Failure::error(format!("unknown object type {}", kind.kind)).hint("--from=cronjob/NAME"));
    }
    let cron_job = pods::get(cx, kind, &of).await?;
    let part = |at: &str| cron_job.pointer(at).cloned().unwrap_or_else(|| json!({}));
    let mut metadata = metadata(name, part("/spec/jobTemplate/metadata/labels"));
    metadata["annotations"] = part("/spec/jobTemplate/metadata/annotations");
    metadata["annotations"]["cronjob.kubernetes.io/instantiate"] = "manual".into();
    metadata["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": hint::name_of(&cron_job),
        "uid": part("/metadata/uid"), "controller": true}]);
    let spec = part("/spec/jobTemplate/spec");
    Ok(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec, "status": {}}))
}

pub fn cron_job(args: &CronJobArgs) -> Value {
    let template = template(&args.name, &args.image, &args.command, &args.restart);
    let job = json!({"metadata": metadata(&args.name, json!({})), "spec": {"template": template}});
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata(&args.name, json!({})),
        "spec": {"jobTemplate": job, "schedule": args.schedule}, "status": {}})
}

fn template(name: &str, image: &str, command: &[String], restart: &str) -> Value {
    let mut container = json!({"image": image, "name": name, "resources": {}});
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    json!({"metadata": {"creationTimestamp": null}, "spec": {"containers": [container], "restartPolicy": restart}})
}
