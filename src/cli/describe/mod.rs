//! `describe`: all about an object, with its events, laid out as kubectl does.

mod config;
mod container;
mod events;
mod generic;
mod node;
mod page;
mod pod;
mod service;
mod workload;

use clap::Args;
use serde_json::Value;

pub use self::events::{ages as events_ages, last_time as events_time};
use self::page::Page;
use super::path::Query;
use super::resource::{self, Asked};
use super::{Context, Failure, files, hint, print};
use crate::object::kind::{self, KindRef};

/// Show all about objects, with their events
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// TYPE, TYPE NAME..., TYPE/NAME...; a name may be the beginning of several
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// Objects of every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// With the events
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    show_events: bool,
    #[arg(long, hide = true)]
    chunk_size: Option<u64>,
}

/// The template of an object that makes pods, as `rollout history --revision` shows it.
pub fn template_text(object: &Value) -> String {
    let mut page = Page::default();
    workload::template(&mut page, object);
    page.unaligned()
}

/// What the pages of all kinds are made with.
struct Describer<'a> {
    cx: &'a Context,
    events: bool,
}

pub async fn run(args: DescribeArgs, cx: &Context) -> Result<(), Failure> {
    let describer = Describer { cx, events: args.show_events };
    let (mut failures, mut pages) = (Vec::new(), 0);
    let mut show = |text: String, found: Found| {
        pages += 1;
        match found {
            Found::Exactly if pages > 1 => print(&format!("\n\n{text}")),
            Found::Exactly => print(&text),
            Found::ByBeginning => print(&format!("{text}\n")),
        }
    };
    if args.files.is_given() {
        for document in files::read(&args.files, files::Purpose::Name, cx)? {
            match cx.client.get(document.kind, &document.namespace, &document.name).await {
                Ok(object) => show(describer.page(document.kind, &object).await?, Found::Exactly)?,
                Err(error) => failures.push(error.into()),
            }
        }
        return Failure::all(failures);
    }
    if args.resources.is_empty() {
        let program = super::program();
        return Err(Failure::error(format!(
            "You must specify the type of resource to describe. Use \"{program} api-resources\" for a complete list of \
             supported resources."
        )));
    }
    let mut nothing = true;
    for asked in resource::parse(&args.resources, "describe")?.asked {
        match objects(&asked, &args, cx).await {
            Ok(objects) => {
                for (object, found) in objects {
                    nothing = false;
                    show(describer.page(asked.kind, &object).await?, found)?;
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    if nothing && failures.is_empty() {
        eprintln!("No resources found in {} namespace.", cx.namespace);
    }
    Failure::all(failures)
}

/// How an object was found, which decides the blank lines between descriptions, as with kubectl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Exactly,
    ByBeginning,
}

/// The objects that were named, or whose names begin so, or all.
async fn objects(asked: &Asked, args: &DescribeArgs, cx: &Context) -> Result<Vec<(Value, Found)>, Failure> {
    let namespace = (!args.all_namespaces).then_some(cx.namespace.as_str());
    let query = Query::new().with_some("labelSelector", args.selector.as_deref());
    if asked.names.is_empty() {
        let all = cx.client.items(asked.kind, namespace, &query).await?;
        return Ok(all.into_iter().map(|object| (object, Found::Exactly)).collect());
    }
    let mut found = Vec::new();
    for name in &asked.names {
        match cx.client.get(asked.kind, &cx.namespace, name).await {
            Ok(object) => found.push((object, Found::Exactly)),
            Err(error) if error.is_not_found() => {
                let mut all = cx.client.items(asked.kind, namespace, &query).await?;
                all.retain(|object| hint::name_of(object).starts_with(name));
                if all.is_empty() {
                    let hints = hint::for_missing(cx, asked.kind, &cx.namespace, name).await;
                    return Err(Failure::from(error).hints(hints));
                }
                found.extend(all.into_iter().map(|object| (object, Found::ByBeginning)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

impl Describer<'_> {
    async fn page(&self, kind: KindRef, object: &Value) -> Result<String, Failure> {
        let mut page = Page::default();
        if kind == &kind::POD {
            pod::pod(&mut page, object);
        } else if kind == &kind::SERVICE {
            self.service(&mut page, object).await?;
        } else if kind == &kind::ENDPOINTS {
            service::endpoints(&mut page, object);
        } else if kind == &kind::DEPLOYMENT {
            self.deployment(&mut page, object).await?;
        } else if kind == &kind::REPLICA_SET || kind == &kind::REPLICATION_CONTROLLER {
            self.replica_set(&mut page, kind, object).await?;
        } else if kind == &kind::NODE {
            self.node(&mut page, object).await?;
        } else if kind == &kind::NAMESPACE {
            // kubectl shows no events of a namespace.
            generic::namespace(&mut page, object);
            return Ok(page.text());
        } else if kind == &kind::CONFIG_MAP {
            config::config_map(&mut page, object);
        } else if kind == &kind::SECRET {
            // kubectl shows no events of a Secret.
            config::secret(&mut page, object);
            return Ok(page.text());
        } else {
            generic::any(&mut page, object);
        }
        if self.events {
            events::write(&mut page, &self.events_of(object).await?);
        }
        Ok(page.text())
    }

    /// The events about an object, oldest first.
    async fn events_of(&self, object: &Value) -> Result<Vec<Value>, Failure> {
        let uid = page::text(object, "/metadata/uid");
        let namespace = match page::text(object, "/metadata/namespace") {
            "" => None,
            namespace => Some(namespace),
        };
        let query = Query::new().with("fieldSelector", format!("involvedObject.uid={uid}"));
        let mut events = self.cx.client.items(&kind::EVENT, namespace, &query).await?;
        // Of one second, in the order in which they were written.
        let version = |event: &Value| page::text(event, "/metadata/resourceVersion").parse::<u64>().unwrap_or(0);
        events.sort_by_cached_key(|event| (events::last_time(event), version(event)));
        Ok(events)
    }
}
