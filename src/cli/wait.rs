//! `wait`: until objects are as they should be, or gone.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::change::Target;
use super::client::As;
use super::gone::{self, Going};
use super::jsonpath::{self, Template};
use super::output::{self, Output};
use super::path::Query;
use super::{Context, Failure, duration, files, hint, print, resource, scale};
use crate::object::kind::KindRef;

/// Wait until objects are as they should be
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// TYPE NAME..., TYPE/NAME..., or TYPE with --all or -l
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// condition=NAME[=VALUE], jsonpath=TEMPLATE[=VALUE], create or delete
    #[arg(long = "for", value_name = "WHAT", default_value = "", hide_default_value = true)]
    wanted: String,
    /// How long to wait for all together; 0 looks once, below 0 waits a week
    #[arg(long, default_value = "30s", allow_hyphen_values = true)]
    timeout: String,
    /// All of the type
    #[arg(long)]
    all: bool,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// All with these values of fields: metadata.name=web
    #[arg(long)]
    field_selector: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// name, yaml or json: print the objects, and not a sentence each
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Gone,
    Created,
    /// A condition's type and status.
    Condition(String, String),
    /// A path, and the value there; any value without.
    Path(Template, Option<String>),
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

impl Wanted {
    fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            // The last `=` outside the braces parts the path from its value.
            let end = rest.rfind('}').map_or(0, |at| at + 1);
            let (path, value) = match rest.get(end..).and_then(|tail| tail.split_once('=')) {
                Some((_, value)) => (rest.get(..end).unwrap_or_default(), Some(value.to_string())),
                None => (rest, None),
            };
            let path = Template::parse_relaxed(path).map_err(|e| Failure::error(format!("--for={text}: {e}")))?;
            return Ok(Wanted::Path(path, value));
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (name, status) = rest.split_once('=').unwrap_or((rest, "True"));
            return Ok(Wanted::Condition(name.to_string(), status.to_string()));
        }
        match text.to_ascii_lowercase().as_str() {
            "delete" => Ok(Wanted::Gone),
            "create" => Ok(Wanted::Created),
            _ => {
                let failure = Failure::error(format!("unrecognized condition: \"{text}\""));
                Err(failure.hint("--for takes condition=Ready, delete, create or jsonpath='{.status.phase}'=Running"))
            }
        }
    }

    fn holds(&self, object: &Value) -> bool {
        match self {
            Wanted::Gone => false,
            Wanted::Created => true,
            Wanted::Condition(name, status) => {
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
                let text =
                    |c: &Value, field: &str| c.get(field).and_then(Value::as_str).unwrap_or_default().to_string();
                let mut conditions = conditions.filter(|c| text(c, "type").eq_ignore_ascii_case(name));
                conditions.any(|c| text(c, "status").eq_ignore_ascii_case(status))
            }
            Wanted::Path(path, value) => {
                let found = path.find(object).unwrap_or_default();
                match value {
                    None => !found.is_empty(),
                    Some(value) => found.iter().any(|v| jsonpath::to_text(v) == *value),
                }
            }
        }
    }
}

pub async fn run(args: WaitArgs, cx: &Context) -> Result<(), Failure> {
    let wanted = Wanted::parse(&args.wanted)?;
    let timeout = match duration::parse(&args.timeout).map_err(|e| Failure::error(format!("--timeout: {e}")))? {
        _ if args.timeout.starts_with('-') => WEEK,
        timeout => timeout,
    };
    let output = Output::parse(&args.output)?;
    let named = named(&args, cx).await?;
    if named.is_empty() && wanted != Wanted::Gone {
        return Err(Failure::error("no matching resources found"));
    }
    let until = tokio::time::Instant::now() + timeout;
    let mut failures = Vec::new();
    for (kind, namespace, name) in named {
        let one = wait_for(cx, &wanted, kind, &namespace, &name);
        match tokio::time::timeout_at(until, one).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(word))) if output.is_table() => print(&format!("{}/{name} {word}\n", kind.singular_resource()))?,
            Ok(Ok(Some(_))) => {
                let object =
                    cx.client.find(kind, &namespace, &name).await?.unwrap_or_else(|| remains(kind, &namespace, &name));
                print(&output::objects(&output, vec![object], true, true)?)?;
            }
            Ok(Err(failure)) => failures.push(failure),
            Err(_) if wanted == Wanted::Created => {
                failures.push(
                    Failure::error("timed out waiting for the condition").hint(format!("{}/{name}", kind.plural)),
                );
            }
            Err(_) => {
                failures.push(Failure::error(format!("timed out waiting for the condition on {}/{name}", kind.plural)))
            }
        }
    }
    Failure::all(failures)
}

/// The objects that are waited for, each as kind, namespace and name.
async fn named(args: &WaitArgs, cx: &Context) -> Result<Vec<Target>, Failure> {
    let by_list = args.all || args.selector.is_some() || args.field_selector.is_some();
    if args.files.is_given() || !by_list {
        return scale::named(&args.resources, &args.files, false, None, "wait", cx).await;
    }
    let query = Query::new()
        .with_some("labelSelector", args.selector.as_deref())
        .with_some("fieldSelector", args.field_selector.as_deref());
    let namespace = (!args.all_namespaces).then_some(cx.namespace.as_str());
    let mut targets = Vec::new();
    for asked in resource::parse(&args.resources, "wait")?.asked {
        for item in cx.client.items(asked.kind, namespace, &query).await? {
            targets.push((asked.kind, hint::namespace_of(&item).to_string(), hint::name_of(&item).to_string()));
        }
    }
    Ok(targets)
}

/// What is left of an object to print when it is not there any more.
fn remains(kind: KindRef, namespace: &str, name: &str) -> Value {
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata})
}

/// What to say of the object; nothing of one that was gone before.
async fn wait_for(
    cx: &Context,
    wanted: &Wanted,
    kind: KindRef,
    namespace: &str,
    name: &str,
) -> Result<Option<&'static str>, Failure> {
    loop {
        let found = cx.client.find(kind, namespace, name).await?;
        let version = match (found, wanted) {
            (None, Wanted::Gone) => return Ok(None),
            (Some(object), Wanted::Gone) => {
                let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_string();
                let going = Going { kind, namespace: namespace.to_string(), name: name.to_string(), uid };
                gone::wait(cx, &[going], None).await?;
                return Ok(Some("condition met"));
            }
            (Some(object), wanted) if wanted.holds(&object) => return Ok(Some("condition met")),
            (Some(object), _) => version_of(&object),
            (None, Wanted::Created) => {
                // What is created between this list and the watch is in the watch.
                let list = cx.client.list(kind, Some(namespace), &Query::new().named(name)).await?;
                let items = list.get("items").and_then(Value::as_array);
                if items.is_some_and(|items| !items.is_empty()) {
                    continue;
                }
                version_of(&list)
            }
            (None, _) => {
                let error = cx.client.get(kind, namespace, name).await.err();
                let hints = hint::for_missing(cx, kind, namespace, name).await;
                return match error {
                    Some(error) => Err(Failure::from(error).hints(hints)),
                    None => continue,
                };
            }
        };
        let since = Query::new().named(name).with_some("resourceVersion", version.as_deref());
        let mut events = cx.client.watch(kind, Some(namespace), &since, As::Json).await?;
        while let Some((event, object)) = events.event().await? {
            if event != "DELETED" && event != "BOOKMARK" && wanted.holds(&object) {
                return Ok(Some("condition met"));
            }
        }
    }
}

fn version_of(object: &Value) -> Option<String> {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_waited_for() {
        let pod = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}});
        for (text, expected) in [
            ("condition=Ready", false),
            ("condition=ready=false", true),
            ("condition=Available", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath={.status.phase}=Pending", false),
            ("jsonpath='{.status.conditions[?(@.type==\"Ready\")].status}'=False", false),
            ("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=False", true),
            ("jsonpath={.status.loadBalancer}", false),
            ("jsonpath=.status.phase", true),
            ("create", true),
            ("delete", false),
        ] {
            let holds = Wanted::parse(text).map(|w| w.holds(&pod)).unwrap_or(false);
            assert_eq!(holds, expected, "{text}");
        }
        assert!(Wanted::parse("ready").unwrap_err().to_string().contains("unrecognized condition: \"ready\""));
    }
}
