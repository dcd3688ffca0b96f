//! `auth can-i` and `auth whoami`: what the API says of the one who asks.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, Output};
use super::{Context, Failure, print, tabs};
use crate::object::kind;

/// Ask who you are, and what you may do
#[derive(Debug, Args)]
pub struct AuthArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    CanI(CanIArgs),
    Whoami(WhoamiArgs),
}

/// Ask whether something is allowed; ends with 1 if it is not
#[derive(Debug, Args)]
struct CanIArgs {
    /// VERB TYPE, VERB TYPE/NAME or VERB /PATH
    #[arg(value_name = "VERB TYPE")]
    words: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Print nothing
    #[arg(short, long)]
    quiet: bool,
    /// log, scale, ...
    #[arg(long, default_value = "", hide_default_value = true)]
    subresource: String,
    /// List all that is allowed
    #[arg(long)]
    list: bool,
    /// With --list: no line with the names of the columns
    #[arg(long)]
    no_headers: bool,
}

/// Print who the API takes you for
#[derive(Debug, Args)]
struct WhoamiArgs {
    /// yaml, json or jsonpath=TEMPLATE
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
}

const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";
const VERBS: [&str; 16] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "impersonate",
    "*",
    "approve",
    "sign",
    "escalate",
    "attest",
];
const URL_VERBS: [&str; 8] = ["get", "put", "post", "head", "options", "delete", "patch", "*"];

pub async fn run(args: AuthArgs, cx: &Context) -> Result<(), Failure> {
    match args.what {
        What::CanI(args) if args.list => list(&args, cx).await,
        What::CanI(args) => can_i(&args, cx).await,
        What::Whoami(args) => whoami(&args, cx).await,
    }
}

async fn can_i(args: &CanIArgs, cx: &Context) -> Result<(), Failure> {
    let [verb, what] = args.words.as_slice() else {
        let message = "you must specify two arguments: verb resource or verb resource/resourceName.";
        return Err(Failure::error(format!(
            "{message}\nSee '{} auth can-i -h' for help and examples.",
            super::program()
        )));
    };
    if args.no_headers {
        return Err(Failure::error("--no-headers cannot be set without --list specified"));
    }
    let warn_of = |known: &[&str]| {
        if !known.contains(&verb.as_str()) {
            eprintln!("Warning: verb '{verb}' is not a known verb\n");
        }
    };
    let spec = if what.starts_with('/') {
        if !args.subresource.is_empty() {
            return Err(Failure::error("--subresource can not be used with NonResourceURL"));
        }
        warn_of(&URL_VERBS);
        json!({"nonResourceAttributes": {"path": what, "verb": verb}})
    } else {
        let (word, name) = what.split_once('/').unwrap_or((what, ""));
        let kind = kind::by_word(word);
        let (group, resource) = match kind {
            Some(kind) => (kind.group, kind.plural),
            None => ("", word),
        };
        if kind.is_none() && !["*", "users", "groups"].contains(&word) {
            eprintln!("Warning: the server doesn't have a resource type '{word}'\n");
        }
        if let Some(kind) = kind.filter(|kind| !kind.namespaced && !args.all_namespaces) {
            let group = if kind.group.is_empty() { String::new() } else { format!(" in group '{}'", kind.group) };
            eprintln!("Warning: resource '{resource}' is not namespace scoped{group}\n");
        }
        warn_of(&VERBS);
        let namespace = if args.all_namespaces { "" } else { &cx.namespace };
        json!({"resourceAttributes": {"group": group, "name": name, "namespace": namespace, "resource": resource,
            "subresource": args.subresource, "verb": verb}})
    };
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec});
    let answer = cx.client.post_path(&format!("{AUTHORIZATION}/selfsubjectaccessreviews"), &review).await?;
    let allowed = answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or(false);
    if !args.quiet {
        let reason = answer.pointer("/status/reason").and_then(Value::as_str).unwrap_or_default();
        print(&match (allowed, reason) {
            (true, _) => "yes\n".to_string(),
            (false, "") => "no\n".to_string(),
            (false, reason) => format!("no - {reason}\n"),
        })?;
    }
    if allowed { Ok(()) } else { Err(Failure::silent(1)) }
}

async fn list(args: &CanIArgs, cx: &Context) -> Result<(), Failure> {
    if !args.words.is_empty() {
        return Err(Failure::error("list option must be specified with no arguments"));
    }
    if args.quiet || args.all_namespaces || !args.subresource.is_empty() {
        return Err(Failure::error(
            "list option can't be specified with neither quiet, all-namespaces nor subresource options",
        ));
    }
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": cx.namespace}});
    let answer = cx.client.post_path(&format!("{AUTHORIZATION}/selfsubjectrulesreviews"), &review).await?;
    let rules = |at: &str| answer.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default();
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule.get(field).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_string).collect()
    };
    let bracketed = |list: Vec<String>| format!("[{}]", list.join(" "));
    let mut text = String::new();
    if !args.no_headers {
        text.push_str("Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
    }
    for rule in rules("/status/resourceRules") {
        let groups = words(&rule, "apiGroups");
        let of_group = |resource: String| match groups.first().map(String::as_str) {
            None | Some("") => resource,
            Some(group) => format!("{resource}.{group}"),
        };
        let resources: Vec<String> = words(&rule, "resources").into_iter().map(of_group).collect();
        let names = bracketed(words(&rule, "resourceNames"));
        text.push_str(&format!("{}\t[]\t{names}\t{}\n", resources.join(","), bracketed(words(&rule, "verbs"))));
    }
    for rule in rules("/status/nonResourceRules") {
        let urls = bracketed(words(&rule, "nonResourceURLs"));
        text.push_str(&format!("\t{urls}\t[]\t{}\n", bracketed(words(&rule, "verbs"))));
    }
    print(&tabs::align(&text, 6, 3))
}

async fn whoami(args: &WhoamiArgs, cx: &Context) -> Result<(), Failure> {
    let output = Output::parse(&args.output)?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let mut answer = cx.client.post_path("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).await?;
    if !output.is_table() {
        if let Some(fields) = answer.as_object_mut() {
            fields.entry("metadata").or_insert_with(|| json!({"creationTimestamp": null}));
        }
        return print(&output::objects(&output, vec![answer], true, true)?);
    }
    let of = |field: &str| answer.pointer(&format!("/status/userInfo/{field}"));
    let mut text = "ATTRIBUTE\tVALUE\n".to_string();
    for (heading, field) in [("Username", "username"), ("UID", "uid")] {
        if let Some(value) = of(field).and_then(Value::as_str).filter(|value| !value.is_empty()) {
            text.push_str(&format!("{heading}\t{value}\n"));
        }
    }
    let groups: Vec<&str> =
        of("groups").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if !groups.is_empty() {
        text.push_str(&format!("Groups\t[{}]\n", groups.join(" ")));
    }
    print(&tabs::align(&text, 6, 3))
}
