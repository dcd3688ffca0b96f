//! `create token`: a token by which a ServiceAccount is known to the API.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use crate::cli::client::ClientError;
use crate::cli::output::{self, Output};
use crate::cli::{Context, duration, path, print};
use crate::object::kind;

/// Ask for a token of a ServiceAccount
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The ServiceAccount
    #[arg(value_name = "NAME")]
    name: String,
    /// Whom the token is for; the API if not given
    #[arg(long)]
    audience: Vec<String>,
    /// How long it is to be good; 0 leaves that to the server
    #[arg(long, default_value = "0s", value_parser = duration::parse)]
    duration: Duration,
    /// Pod, Secret or Node: what it ends with
    #[arg(long)]
    bound_object_kind: Option<String>,
    #[arg(long)]
    bound_object_name: Option<String>,
    #[arg(long)]
    bound_object_uid: Option<String>,
    /// yaml, json, ...: the whole answer
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
}

pub async fn run(args: TokenArgs, cx: &Context) -> Result<(), Failure> {
    let output = Output::parse(&args.output)?;
    let mut spec = json!({});
    if !args.audience.is_empty() {
        spec["audiences"] = json!(args.audience);
    }
    if !args.duration.is_zero() {
        if args.duration.subsec_nanos() != 0 {
            return Err(Failure::error("--duration cannot be expressed in units less than seconds"));
        }
        spec["expirationSeconds"] = args.duration.as_secs().into();
    }
    match (&args.bound_object_kind, &args.bound_object_name) {
        (Some(kind), _) if !["Pod", "Secret", "Node"].contains(&kind.as_str()) => {
            return Err(Failure::error("supported --bound-object-kind values are Node, Pod, Secret"));
        }
        (Some(_), None) => {
            return Err(Failure::error("--bound-object-name is required if --bound-object-kind is provided"));
        }
        (None, Some(_)) => {
            return Err(Failure::error("--bound-object-name can only be set if --bound-object-kind is provided"));
        }
        (None, None) if args.bound_object_uid.is_some() => {
            return Err(Failure::error("--bound-object-uid can only be set if --bound-object-kind is provided"));
        }
        (Some(kind), Some(name)) => {
            spec["boundObjectRef"] = json!({"apiVersion": "v1", "kind": kind, "name": name});
            if let Some(uid) = &args.bound_object_uid {
                spec["boundObjectRef"]["uid"] = uid.as_str().into();
            }
        }
        (None, None) => {}
    }
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let path = format!("{}/token", path::object(&kind::SERVICE_ACCOUNT, &cx.namespace, &args.name));
    let answer = cx.client.post_path(&path, &request).await.map_err(|error| match error {
        ClientError::Status(status) => Failure::error(format!("failed to create token: {}", status.message)),
        error => Failure::from(error),
    })?;
    let Some(token) = answer.pointer("/status/token").and_then(Value::as_str).filter(|token| !token.is_empty()) else {
        return Err(Failure::error("failed to create token: no token in server response"));
    };
    match output {
        // Into a variable or a file it goes without a line end.
        Output::Table { .. } if std::io::stdout().is_terminal() => print(&format!("{token}\n")),
        Output::Table { .. } => print(token),
        output => print(&output::objects(&output, vec![answer], true, true)?),
    }
}
