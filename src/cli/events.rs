//! `events`: what happened lately, oldest first.

use clap::Args;
use serde_json::Value;

use super::client::As;
use super::describe::{events_ages, events_time};
use super::output::{self, Output};
use super::path::Query;
use super::{Context, Failure, print, resource, tabs};
use crate::object::kind;

/// List events, oldest first
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Those of every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// TYPE/NAME: only those of this object
    #[arg(long = "for", value_name = "TYPE/NAME")]
    about: Option<String>,
    /// Normal, Warning
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Go on as more happens
    #[arg(short, long)]
    watch: bool,
    /// No line with the names of the columns
    #[arg(long)]
    no_headers: bool,
    /// yaml, json or name
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
    #[arg(long, hide = true)]
    chunk_size: Option<u64>,
}

pub async fn run(args: EventsArgs, cx: &Context) -> Result<(), Failure> {
    let output = Output::parse(&args.output)?;
    if args.types.iter().any(|t| !t.eq_ignore_ascii_case("Normal") && !t.eq_ignore_ascii_case("Warning")) {
        return Err(Failure::error("valid --types are Normal or Warning"));
    }
    let mut query = Query::new();
    if let Some(about) = &args.about {
        if !about.contains('/') {
            return Err(Failure::error("--for must be in resource/name form"));
        }
        let (kind, name) = resource::parse_one(std::slice::from_ref(about), None, "events --for")?;
        let (group, kind) = (kind.api_version(), kind.kind);
        let selector =
            format!("involvedObject.kind={kind},involvedObject.apiVersion={group},involvedObject.name={name}");
        query = query.with("fieldSelector", selector);
    }
    let namespace = (!args.all_namespaces).then_some(cx.namespace.as_str());
    let list = cx.client.list(&kind::EVENT, namespace, &query).await?;
    let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_string);
    let mut events = super::client::items_of(&kind::EVENT, list);
    let is_wanted = |event: &Value| {
        let event_type = event.get("type").and_then(Value::as_str).unwrap_or_default();
        args.types.is_empty() || args.types.iter().any(|t| t.eq_ignore_ascii_case(event_type))
    };
    events.retain(is_wanted);
    events.sort_by_key(events_time);
    if events.is_empty() && !args.watch {
        match namespace {
            None => eprintln!("No events found."),
            Some(namespace) => eprintln!("No events found in {namespace} namespace."),
        }
        return Ok(());
    }
    let mut headings = !args.no_headers;
    let mut show = |events: Vec<Value>| {
        if !output.is_table() {
            let one = args.watch;
            return print(&output::objects(&output, events, one, true)?);
        }
        let text = table(&events, std::mem::take(&mut headings), args.all_namespaces);
        print(&tabs::align(&text, 6, 3))
    };
    if !events.is_empty() {
        show(events)?;
    }
    if !args.watch {
        return Ok(());
    }
    let since = query.with_some("resourceVersion", version.as_deref());
    let mut watch = cx.client.watch(&kind::EVENT, namespace, &since, As::Json).await?;
    while let Some((change, event)) = watch.event().await? {
        if ["ADDED", "MODIFIED"].contains(&change.as_str()) && is_wanted(&event) {
            show(vec![event])?;
        }
    }
    Ok(())
}

fn table(events: &[Value], headings: bool, namespaces: bool) -> String {
    let mut text = String::new();
    if headings {
        text.push_str(if namespaces { "NAMESPACE\t" } else { "" });
        text.push_str("LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n");
    }
    let of = |event: &Value, at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default().to_string();
    for event in events {
        if namespaces {
            text.push_str(&format!("{}\t", of(event, "/metadata/namespace")));
        }
        let object = format!("{}/{}", of(event, "/involvedObject/kind"), of(event, "/involvedObject/name"));
        let message = of(event, "/message");
        let (event_type, reason) = (of(event, "/type"), of(event, "/reason"));
        text.push_str(&format!("{}\t{event_type}\t{reason}\t{object}\t{}\n", events_ages(event), message.trim()));
    }
    text
}
