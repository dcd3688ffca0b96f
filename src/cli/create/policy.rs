//! `create quota`, `poddisruptionbudget`, `priorityclass` and `serviceaccount`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failure, HowArgs, metadata};

/// Create a ResourceQuota
#[derive(Debug, Args)]
pub struct QuotaArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// cpu=1,pods=10,...
    #[arg(long, default_value = "", hide_default_value = true)]
    hard: String,
    /// BestEffort, NotTerminating, ...
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    #[command(flatten)]
    pub how: HowArgs,
}

pub fn quota(args: &QuotaArgs) -> Result<Value, Failure> {
    let pair = |text: &str| match text.split_once('=') {
        Some((name, value)) if !value.contains('=') => Ok((name.to_string(), Value::from(value))),
        _ => Err(Failure::error(format!("Invalid argument syntax {text}, expected <resource>=<value>"))),
    };
    let hard: Map<String, Value> =
        args.hard.split(',').filter(|text| !text.is_empty()).map(pair).collect::<Result<_, _>>()?;
    let mut spec = json!({});
    if !hard.is_empty() {
        spec["hard"] = Value::Object(hard);
    }
    if !args.scopes.is_empty() {
        spec["scopes"] = json!(args.scopes);
    }
    let metadata = metadata(&args.name, json!({}));
    Ok(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec, "status": {}}))
}

/// Create a PodDisruptionBudget
#[derive(Debug, Args)]
pub struct BudgetArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// A number, or a share such as 50%
    #[arg(long)]
    min_available: Option<String>,
    /// A number, or a share such as 50%
    #[arg(long)]
    max_unavailable: Option<String>,
    /// The pods' labels: a=b,c=d
    #[arg(long, default_value = "", hide_default_value = true)]
    selector: String,
    #[command(flatten)]
    pub how: HowArgs,
}

pub fn budget(args: &BudgetArgs) -> Result<Value, Failure> {
    if args.selector.is_empty() {
        return Err(Failure::error("a selector must be specified"));
    }
    let (field, flag, text) = match (&args.min_available, &args.max_unavailable) {
        (Some(text), None) => ("minAvailable", "min-available", text),
        (None, Some(text)) => ("maxUnavailable", "max-unavailable", text),
        (None, None) => return Err(Failure::error("one of min-available or max-unavailable must be specified")),
        _ => return Err(Failure::error("min-available and max-unavailable cannot be both specified")),
    };
    let digits = text.strip_suffix('%').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Failure::error(format!("invalid format specified for {flag}")));
    }
    let value = text.parse::<i32>().map_or_else(|_| Value::from(text.as_str()), Value::from);
    let label = |part: &str| match part.split_once('=') {
        Some((key, value)) if !key.ends_with('!') => {
            Ok((key.trim().to_string(), Value::from(value.trim_start_matches('=').trim())))
        }
        _ => Err(Failure::error(format!("couldn't parse the selector string \"{}\"", args.selector))),
    };
    let labels: Map<String, Value> =
        args.selector.split(',').filter(|part| !part.is_empty()).map(label).collect::<Result<_, _>>()?;
    let status = json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    Ok(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(&args.name, json!({})),
        "spec": {field: value, "selector": {"matchLabels": labels}}, "status": status}))
}

/// Create a PriorityClass
#[derive(Debug, Args)]
pub struct PriorityClassArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// The priority
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    value: i32,
    /// For all pods that name none
    #[arg(long)]
    global_default: bool,
    /// When it is to be used
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// PreemptLowerPriority or Never
    #[arg(long, default_value = "PreemptLowerPriority")]
    preemption_policy: String,
    #[command(flatten)]
    pub how: HowArgs,
}

pub fn priority_class(args: &PriorityClassArgs) -> Value {
    let mut object = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": metadata(&args.name, json!({})), "preemptionPolicy": args.preemption_policy, "value": args.value});
    if args.global_default {
        object["globalDefault"] = true.into();
    }
    if !args.description.is_empty() {
        object["description"] = args.description.as_str().into();
    }
    object
}

/// Create a ServiceAccount
#[derive(Debug, Args)]
pub struct ServiceAccountArgs {
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    pub how: HowArgs,
}

pub fn service_account(args: &ServiceAccountArgs) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(&args.name, json!({}))})
}
