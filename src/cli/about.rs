//! What the lab and this program are: `version`, `api-resources`, `api-versions`, `cluster-info`.

use clap::Args;
use serde_json::{Value, json};

use super::client::As;
use super::custom;
use super::output::{self, Output};
use super::{Context, Failure, print, tabs};
use crate::object::kind;
use crate::object::lab::in_url;

/// Print the version of this program, and that of Kubernetes the lab's API speaks
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Do not ask the lab
    #[arg(long)]
    client: bool,
    /// yaml or json
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
}

pub async fn version(args: VersionArgs, cx: &Context) -> Result<(), Failure> {
    let own = format!("v{}", env!("CARGO_PKG_VERSION"));
    let (server, failure) = match args.client {
        true => (None, None),
        false => match cx.client.get_path("/version", As::Json).await {
            Ok(server) => (Some(server), None),
            Err(error) => (None, Some(Failure::from(error))),
        },
    };
    match Output::parse(&args.output)? {
        Output::Table { .. } => {
            print(&format!("Client Version: {own} (nslab)\n"))?;
            if let Some(server) = server.as_ref().and_then(|s| s.get("gitVersion")).and_then(Value::as_str) {
                print(&format!("Server Version: {server}\n"))?;
            }
        }
        output => {
            let mut versions = json!({"clientVersion": {"gitVersion": own}});
            if let Some(server) = server {
                versions["serverVersion"] = server;
            }
            print(&output::objects(&output, vec![versions], true, true)?)?;
        }
    }
    failure.map_or(Ok(()), Err)
}

/// List the types of objects
#[derive(Debug, Args)]
pub struct ApiResourcesArgs {
    /// Only of this group; "" is the core
    #[arg(long)]
    api_group: Option<String>,
    /// Only those in a namespace, or (=false) those in none
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    namespaced: Option<bool>,
    /// No line with the names of the columns
    #[arg(long)]
    no_headers: bool,
    /// wide: also whether the lab acts on the type or only keeps it; name: only the names
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
}

pub fn api_resources(args: &ApiResourcesArgs) -> Result<(), Failure> {
    let output = Output::parse(&args.output)?;
    let wide = output == Output::Table { wide: true };
    let mut text = String::new();
    if !args.no_headers && output.is_table() {
        text.push_str("NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND");
        text.push_str(if wide { "\tACTED ON\n" } else { "\n" });
    }
    let mut kinds: Vec<_> = kind::ALL.to_vec();
    kinds.extend(custom::each_once());
    kinds.sort();
    for kind in kinds {
        let other_group = args.api_group.as_ref().is_some_and(|group| group != kind.group);
        if other_group || args.namespaced.is_some_and(|n| n != kind.namespaced) {
            continue;
        }
        if output == Output::Name {
            text.push_str(&format!("{}\n", kind.resource()));
            continue;
        }
        let short = kind.short.join(",");
        text.push_str(&format!("{}\t{short}\t{}\t{}\t{}", kind.plural, kind.api_version(), kind.namespaced, kind.kind));
        text.push_str(match (wide, kind.acted_on) {
            (false, _) => "\n",
            (true, true) => "\tyes\n",
            (true, false) => "\tno, only kept\n",
        });
    }
    print(&tabs::align(&text, 6, 3))
}

/// List the groups and versions of the API
#[derive(Debug, Args)]
pub struct ApiVersionsArgs {}

pub async fn api_versions(cx: &Context) -> Result<(), Failure> {
    let core = cx.client.get_path("/api", As::Json).await?;
    let groups = cx.client.get_path("/apis", As::Json).await?;
    let list = |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let served = list(&groups, "groups").into_iter().flat_map(|group| list(&group, "versions"));
    let served = served.filter_map(|version| version.get("groupVersion").cloned());
    let versions = list(&core, "versions").into_iter().chain(served);
    let mut lines: Vec<String> = versions.filter_map(|v| v.as_str().map(|v| format!("{v}\n"))).collect();
    lines.sort();
    print(&lines.concat())
}

/// Print where the cluster's API is
#[derive(Debug, Args)]
pub struct ClusterInfoArgs {}

pub async fn cluster_info(cx: &Context) -> Result<(), Failure> {
    let endpoints = cx.client.get(&kind::ENDPOINTS, "default", "kubernetes").await?;
    let text = |at: &str| endpoints.pointer(at).map(super::jsonpath::to_text).unwrap_or_default();
    let (address, port) = (text("/subsets/0/addresses/0/ip"), text("/subsets/0/ports/0/port"));
    print(&format!("Kubernetes control plane is running at https://{}:{port}\n", in_url(&address)))?;
    if let Some(dns) = cx.client.find(&kind::SERVICE, "kube-system", "kube-dns").await? {
        let address = dns.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or_default();
        print(&format!("CoreDNS is running at {}:53\n", in_url(address)))?;
    }
    Ok(())
}
