//! `autoscale`: a HorizontalPodAutoscaler for a workload, which the lab keeps and does not act on.

use clap::Args;
use serde_json::{Value, json};

use super::create::{self, HowArgs};
use super::{Context, Failure, files, pods, scale};
use crate::object::kind;

/// Make a HorizontalPodAutoscaler for a workload (the lab keeps it, and scales nothing by it)
#[derive(Debug, Args)]
pub struct AutoscaleArgs {
    /// TYPE NAME or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// The fewest pods
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, hide_default_value = true)]
    min: i32,
    /// The most pods
    #[arg(long, required = true, allow_negative_numbers = true)]
    max: i32,
    /// The share of the requested CPU that pods are to use, in percent
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, hide_default_value = true)]
    cpu_percent: i32,
    /// 70% of the requested CPU, or 500m
    #[arg(long)]
    cpu: Option<String>,
    /// 60% of the requested memory, or 200Mi
    #[arg(long)]
    memory: Option<String>,
    /// The autoscaler's name; that of the workload if not given
    #[arg(long = "name", value_name = "NAME")]
    scaler_name: Option<String>,
    #[command(flatten)]
    how: HowArgs,
}

pub async fn run(args: AutoscaleArgs, cx: &Context) -> Result<(), Failure> {
    if args.max < 1 {
        let max = args.max;
        return Err(Failure::error(format!("--max=MAXPODS is required and must be at least 1, max: {max}")));
    }
    if args.max < args.min {
        let (max, min) = (args.max, args.min);
        return Err(Failure::error(format!(
            "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {max}, min: {min}"
        )));
    }
    if args.cpu_percent > 0 && args.cpu.is_some() {
        return Err(Failure::error("--cpu-percent and --cpu are mutually exclusive"));
    }
    let mut metrics = Vec::new();
    if args.cpu_percent > 0 {
        metrics.push(metric("cpu", json!({"averageUtilization": args.cpu_percent, "type": "Utilization"})));
    }
    for (name, wish, unit) in [("cpu", &args.cpu, "m"), ("memory", &args.memory, "Mi")] {
        if let Some(wish) = wish {
            metrics.push(metric(name, target(wish, unit)?));
        }
    }
    for (kind, _, name) in scale::named(&args.resources, &args.files, false, None, "autoscale", cx).await? {
        let scalable = [&kind::DEPLOYMENT, &kind::REPLICA_SET, &kind::STATEFUL_SET, &kind::REPLICATION_CONTROLLER];
        if !scalable.contains(&kind) {
            let failure = Failure::error(format!("cannot autoscale a {}: it has no replicas", kind.kind));
            return Err(failure.hint("what can be: deployment, replicaset, statefulset, replicationcontroller"));
        }
        pods::get(cx, kind, &name).await?;
        let mut spec = json!({"maxReplicas": args.max,
            "scaleTargetRef": {"apiVersion": kind.api_version(), "kind": kind.kind, "name": name}});
        if args.min > 0 {
            spec["minReplicas"] = args.min.into();
        }
        if !metrics.is_empty() {
            spec["metrics"] = metrics.clone().into();
        }
        let metadata = create::metadata(args.scaler_name.as_ref().unwrap_or(&name), json!({}));
        let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata,
            "spec": spec, "status": {"currentMetrics": null, "desiredReplicas": 0}});
        create::submit_as(scaler, &kind::HORIZONTAL_POD_AUTOSCALER, &args.how, cx, "autoscaled").await?;
    }
    Ok(())
}

fn metric(name: &str, target: Value) -> Value {
    json!({"resource": {"name": name, "target": target}, "type": "Resource"})
}

/// A share, or a quantity whose unit may be left out.
fn target(wish: &str, unit: &str) -> Result<Value, Failure> {
    if let Some(share) = wish.strip_suffix('%') {
        let share = share.parse::<u32>().ok().filter(|share| *share > 0);
        let share = share.ok_or_else(|| Failure::error(format!("invalid percentage value: {wish}")))?;
        return Ok(json!({"averageUtilization": share, "type": "Utilization"}));
    }
    let bare = wish.bytes().all(|b| b.is_ascii_digit());
    let quantity = if bare { format!("{wish}{unit}") } else { wish.to_string() };
    Ok(json!({"averageValue": quantity, "type": "AverageValue"}))
}
