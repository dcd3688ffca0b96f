//! `set resources`.

use clap::Args;
use serde_json::Value;

use super::super::{Context, Failure};
use super::{WhichArgs, containers, fits, name_of, spec_of};
use crate::object::map_at_mut;

/// Set the requests and limits of containers
#[derive(Debug, Args)]
pub struct ResourcesArgs {
    /// TYPE NAME..., TYPE/NAME...
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    /// cpu=200m,memory=512Mi
    #[arg(long, default_value = "", hide_default_value = true)]
    limits: String,
    /// cpu=100m,memory=256Mi
    #[arg(long, default_value = "", hide_default_value = true)]
    requests: String,
    /// Only of the containers with this name, in which * stands for anything
    #[arg(short, long, default_value = "*")]
    containers: String,
    #[command(flatten)]
    which: WhichArgs,
}

pub async fn run(args: ResourcesArgs, cx: &Context) -> Result<(), Failure> {
    let (limits, requests) = (list(&args.limits)?, list(&args.requests)?);
    if limits.is_empty() && requests.is_empty() {
        return Err(Failure::error(
            "you must specify an update to requests or limits (in the form of --requests/--limits)",
        ));
    }
    let change = |object: &mut Value| {
        let spec = spec_of(object)?;
        let mut found = false;
        for container in containers(spec).filter(|c| fits(&args.containers, name_of(c))) {
            found = true;
            let resources = map_at_mut(container, "resources");
            for (field, values) in [("limits", &limits), ("requests", &requests)] {
                for (name, quantity) in values {
                    map_at_mut(resources, field).insert(name.clone(), quantity.as_str().into());
                }
            }
        }
        match found {
            true => Ok(()),
            false => Err(Failure::error(format!("unable to find container named {}", args.containers))),
        }
    };
    args.which.change(&args.resources, "set resources", "resource requirements updated", cx, change).await
}

/// Quantities are checked by the server.
fn list(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let one = |part: &str| match part.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.contains('=') => Ok((name.to_string(), value.to_string())),
        _ => Err(Failure::error(format!("invalid argument syntax {part}, expected <resource>=<value>"))),
    };
    text.split(',').filter(|part| !part.is_empty()).map(one).collect()
}
