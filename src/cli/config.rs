//! `config`: the contexts of ~/.kube/config, or of the file that $KUBECONFIG names, as kubectl keeps them. Of a lab's
//! context only the namespace means something here: it is the one that verbs without -n are for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::kubeconfig::{file_of, write_whole};
use super::output::{self, Output};
use super::{Context, Failure, print, tabs, yaml_out};
use crate::manifest;

/// Show and change contexts in ~/.kube/config
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    View(ViewArgs),
    GetContexts(GetContextsArgs),
    /// Print the current context's name
    CurrentContext,
    /// Make another context the current one
    #[command(visible_alias = "use")]
    UseContext(NameArgs),
    SetContext(SetContextArgs),
    /// Give a context another name: OLD NEW
    RenameContext(RenameArgs),
    /// Take a context out of the file
    DeleteContext(NameArgs),
    /// List the clusters
    GetClusters,
    /// List the users
    GetUsers,
}

/// Print the file, without keys and certificates
#[derive(Debug, Args)]
struct ViewArgs {
    /// With keys and certificates
    #[arg(long)]
    raw: bool,
    /// Only what the current context needs
    #[arg(long)]
    minify: bool,
    #[arg(long, hide = true)]
    flatten: bool,
    /// yaml, json or jsonpath=TEMPLATE
    #[arg(short, long, default_value = "yaml")]
    output: String,
}

/// List the contexts
#[derive(Debug, Args)]
struct GetContextsArgs {
    names: Vec<String>,
    #[arg(long)]
    no_headers: bool,
    /// name: only the names
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
}

#[derive(Debug, Args)]
struct NameArgs {
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
struct RenameArgs {
    old: String,
    new: String,
}

/// Change a context: set-context --current --namespace=NAME
#[derive(Debug, Args)]
struct SetContextArgs {
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The current context
    #[arg(long)]
    current: bool,
    #[arg(long)]
    cluster: Option<String>,
    #[arg(long)]
    user: Option<String>,
}

/// The namespace that the user has chosen for a lab's context.
pub fn namespace_of(lab: &str) -> Option<String> {
    let path = path().ok()?;
    // What cannot be read chooses nothing; whoever asks for it is told.
    let config = read(&path).ok()?;
    let context = named(&config, "contexts", &format!("nslab-{lab}"))?;
    let namespace = context.pointer("/context/namespace")?.as_str()?;
    (!namespace.is_empty()).then(|| namespace.to_string())
}

fn path() -> Result<PathBuf, Failure> {
    file_of(std::env::var("KUBECONFIG").ok().as_deref(), std::env::var_os("HOME").map(PathBuf::from))
}

/// A file that is not there is an empty one.
fn read(path: &Path) -> Result<Value, Failure> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(json!({})),
        read => read.map_err(|error| Failure::error(format!("read {}: {error}", path.display())))?,
    };
    let name = path.display().to_string();
    match manifest::read_value(&name, &bytes) {
        Ok(Value::Null) => Ok(json!({})),
        Ok(config @ Value::Object(_)) => Ok(config),
        Ok(_) => Err(Failure::error(format!("{name} is no kubeconfig"))),
        Err(problem) => Err(Failure::error(format!("error loading config file \"{name}\": {problem}"))),
    }
}

fn write(path: &Path, config: &Value) -> Result<(), Failure> {
    // A link stays a link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let text = yaml_out::to_yaml(config);
    write_whole(&path, &text).map_err(|error| Failure::error(format!("write {}: {error}", path.display())))
}

fn text<'v>(value: &'v Value, at: &str) -> &'v str {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

fn entries<'v>(config: &'v Value, list: &str) -> &'v [Value] {
    config.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn named<'v>(config: &'v Value, list: &str, name: &str) -> Option<&'v Value> {
    entries(config, list).iter().find(|entry| text(entry, "/name") == name)
}

fn entry_mut<'v>(config: &'v mut Value, list: &str, name: &str) -> Option<&'v mut Map<String, Value>> {
    let entries = config.get_mut(list)?.as_array_mut()?;
    entries.iter_mut().find(|entry| text(entry, "/name") == name)?.as_object_mut()
}

pub fn run(args: ConfigArgs, cx: &Context) -> Result<(), Failure> {
    let path = path()?;
    let mut config = read(&path)?;
    let current = text(&config, "/current-context").to_string();
    match args.what {
        What::View(args) => view(&args, config, &current),
        What::GetContexts(args) => get_contexts(&args, &config, &current),
        What::CurrentContext if current.is_empty() => Err(no_current()),
        What::CurrentContext => print(&format!("{current}\n")),
        What::UseContext(NameArgs { name }) => {
            if named(&config, "contexts", &name).is_none() {
                return Err(no_context(&config, &format!("no context exists with the name: \"{name}\""), &name));
            }
            set(&mut config, "current-context", name.as_str().into());
            write(&path, &config)?;
            print(&format!("Switched to context \"{name}\".\n"))
        }
        What::SetContext(args) => set_context(&args, config, &current, &path, cx),
        What::RenameContext(RenameArgs { old, new }) => {
            if named(&config, "contexts", &new).is_some() {
                let file = path.display();
                return Err(Failure::error(format!(
                    "cannot rename the context \"{old}\", the context \"{new}\" already exists in {file}"
                )));
            }
            let Some(entry) = entry_mut(&mut config, "contexts", &old) else {
                let message = format!("cannot rename the context \"{old}\", it's not in {}", path.display());
                return Err(no_context(&config, &message, &old));
            };
            entry.insert("name".into(), new.as_str().into());
            if current == old {
                set(&mut config, "current-context", new.as_str().into());
            }
            write(&path, &config)?;
            print(&format!("Context \"{old}\" renamed to \"{new}\".\n"))
        }
        What::DeleteContext(NameArgs { name }) => {
            if named(&config, "contexts", &name).is_none() {
                let message = format!("cannot delete context {name}, not in {}", path.display());
                return Err(no_context(&config, &message, &name));
            }
            if let Some(list) = config.get_mut("contexts").and_then(Value::as_array_mut) {
                list.retain(|entry| text(entry, "/name") != name);
            }
            if current == name {
                eprintln!(
                    "warning: this removed your active context, use \"{} config use-context\" to select a \
                           different one",
                    super::program()
                );
            }
            write(&path, &config)?;
            print(&format!("deleted context {name} from {}\n", path.display()))
        }
        What::GetClusters => names(&config, "clusters"),
        What::GetUsers => names(&config, "users"),
    }
}

fn no_current() -> Failure {
    Failure::error("current-context is not set").hint("the lab's context: sudo lab kubeconfig --merge")
}

fn no_context(config: &Value, message: &str, name: &str) -> Failure {
    let failure = Failure::error(message);
    let names = entries(config, "contexts").iter().map(|entry| text(entry, "/name"));
    match crate::object::nearest::nearest(name, names) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("the lab's context: sudo lab kubeconfig --merge"),
    }
}

fn set(config: &mut Value, field: &str, value: Value) {
    if let Some(fields) = config.as_object_mut() {
        fields.insert(field.to_string(), value);
    }
}

fn names(config: &Value, list: &str) -> Result<(), Failure> {
    let mut names: Vec<&str> = entries(config, list).iter().map(|entry| text(entry, "/name")).collect();
    names.sort_unstable();
    print(&std::iter::once("NAME").chain(names).flat_map(|name| [name, "\n"]).collect::<String>())
}

fn get_contexts(args: &GetContextsArgs, config: &Value, current: &str) -> Result<(), Failure> {
    if !["", "name"].contains(&args.output.as_str()) {
        let output = &args.output;
        return Err(Failure::error(format!(
            "--output {output} is not available in kubectl config get-contexts; resetting to default output format"
        )));
    }
    let only_names = args.output == "name";
    let missing = args.names.iter().filter(|name| named(config, "contexts", name).is_none());
    let failures = missing.map(|name| Failure::error(format!("context {name} not found"))).collect();
    let mut shown: Vec<&Value> = entries(config, "contexts").iter().collect();
    shown.retain(|entry| args.names.is_empty() || args.names.iter().any(|name| name == text(entry, "/name")));
    shown.sort_by_key(|entry| text(entry, "/name"));
    let mut lines = String::new();
    if !args.no_headers && !only_names {
        lines.push_str("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    }
    for entry in shown {
        let name = text(entry, "/name");
        if only_names {
            lines.push_str(&format!("{name}\n"));
            continue;
        }
        let mark = if name == current { "*" } else { " " };
        let of = |field: &str| text(entry, &format!("/context/{field}")).to_string();
        lines.push_str(&format!("{mark}\t{name}\t{}\t{}\t{}\n", of("cluster"), of("user"), of("namespace")));
    }
    print(&tabs::align(&lines, 6, 3))?;
    Failure::all(failures)
}

fn set_context(
    args: &SetContextArgs,
    mut config: Value,
    current: &str,
    path: &Path,
    cx: &Context,
) -> Result<(), Failure> {
    let name = match (&args.name, args.current) {
        (Some(name), false) if !name.is_empty() => name.as_str(),
        (Some(_), true) => return Err(Failure::error("you cannot specify both a context name and --current")),
        (None, true) if current.is_empty() => {
            let failure = Failure::error("no current context is set");
            return Err(failure.hint("the lab's context: sudo lab kubeconfig --merge"));
        }
        (None, true) => current,
        _ => return Err(Failure::error("you must specify a non-empty context name or --current")),
    };
    let exists = named(&config, "contexts", name).is_some();
    if !exists {
        let entry = json!({"context": {"cluster": "", "user": ""}, "name": name});
        match config.get_mut("contexts").and_then(Value::as_array_mut) {
            Some(list) => list.push(entry),
            None => set(&mut config, "contexts", json!([entry])),
        }
        for (field, value) in [("apiVersion", "v1"), ("kind", "Config")] {
            if config.get(field).is_none() {
                set(&mut config, field, value.into());
            }
        }
    }
    if let Some(entry) = entry_mut(&mut config, "contexts", name) {
        let context = crate::object::map_at_mut(entry, "context");
        let namespace = cx.namespace_given.then_some(&cx.namespace);
        let wishes = [("cluster", args.cluster.as_ref()), ("user", args.user.as_ref()), ("namespace", namespace)];
        for (field, value) in wishes {
            if let Some(value) = value {
                context.insert(field.into(), value.as_str().into());
            }
        }
    }
    write(path, &config)?;
    print(&format!("Context \"{name}\" {}.\n", if exists { "modified" } else { "created" }))
}

fn view(args: &ViewArgs, mut config: Value, current: &str) -> Result<(), Failure> {
    if args.minify {
        let context = named(&config, "contexts", current).ok_or_else(no_current)?.clone();
        for (list, name) in [
            ("contexts", current),
            ("clusters", text(&context, "/context/cluster")),
            ("users", text(&context, "/context/user")),
        ] {
            let kept: Vec<Value> = named(&config, list, name).cloned().into_iter().collect();
            set(&mut config, list, kept.into());
        }
    }
    for (field, value) in [
        ("apiVersion", json!("v1")),
        ("kind", json!("Config")),
        ("preferences", json!({})),
        ("current-context", json!("")),
        ("clusters", Value::Null),
        ("contexts", Value::Null),
        ("users", Value::Null),
    ] {
        if config.get(field).is_none() {
            set(&mut config, field, value);
        }
    }
    if !args.raw {
        redact(&mut config);
    }
    print(&output::objects(&Output::parse(&args.output)?, vec![config], true, true)?)
}

/// Takes out what is a secret, or long, in kubectl's words.
fn redact(config: &mut Value) {
    let words = [
        ("clusters", "cluster", "certificate-authority-data", "DATA+OMITTED"),
        ("users", "user", "client-certificate-data", "DATA+OMITTED"),
        ("users", "user", "client-key-data", "DATA+OMITTED"),
        ("users", "user", "token", "REDACTED"),
        ("users", "user", "password", "REDACTED"),
    ];
    for (list, of, field, word) in words {
        for entry in config.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(value) = entry.get_mut(of).and_then(|entry| entry.get_mut(field)) {
                *value = word.into();
            }
        }
    }
}
