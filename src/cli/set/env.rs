//! `set env`.

use std::collections::BTreeMap;
use std::io::Read as _;

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::{Context, Failure, print, resource};
use super::{WhichArgs, containers, fits, name_of, refused, spec_of, split};
use crate::object::kind;

/// Set, remove or list environment variables: NAME=VALUE, NAME-
#[derive(Debug, Args)]
pub struct EnvArgs {
    /// TYPE NAME..., TYPE/NAME..., and then NAME=VALUE... or NAME-...
    #[arg(value_name = "TYPE[/NAME] NAME=VALUE")]
    words: Vec<String>,
    /// NAME=VALUE, or - for lines of standard input
    #[arg(short, long, allow_hyphen_values = true)]
    env: Vec<String>,
    /// Take the keys of configmap/NAME or secret/NAME
    #[arg(long)]
    from: Option<String>,
    /// Only these keys of --from
    #[arg(long, value_delimiter = ',')]
    keys: Vec<String>,
    /// Stands before each name
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only in the containers with this name, in which * stands for anything
    #[arg(short, long, default_value = "*")]
    containers: String,
    /// Change variables that are there already
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    overwrite: bool,
    /// Print the variables, and change nothing
    #[arg(long)]
    list: bool,
    /// With --list: the values of those that stand in ConfigMaps and Secrets
    #[arg(long)]
    resolve: bool,
    #[command(flatten)]
    which: WhichArgs,
}

/// What is to be set, as entries of `env`, and what removed.
struct Wanted {
    set: Vec<Value>,
    remove: Vec<String>,
}

pub async fn run(mut args: EnvArgs, cx: &Context) -> Result<(), Failure> {
    let is_change = |word: &str| word.contains('=') || word.ends_with('-');
    let words = std::mem::take(&mut args.words);
    let (resources, changes) = split(&words, is_change).ok_or_else(|| {
        Failure::error(format!("all resources must be specified before environment changes: {}", words.join(" ")))
    })?;
    if !args.keys.is_empty() && args.from.is_none() {
        return Err(Failure::error("when specifying --keys, a configmap or secret must be provided with --from"));
    }
    let mut wanted = read(args.env.iter().chain(changes))?;
    if let Some(from) = &args.from {
        wanted.set.extend(keys_of(from, &args.keys, cx).await?);
    }
    for entry in &mut wanted.set {
        let name = format!("{}{}", args.prefix, text(entry.get("name")));
        entry["name"] = name.into();
    }
    if args.list {
        return list(&args, resources, cx).await;
    }
    let change = |object: &mut Value| set(object, &args, &wanted);
    args.which.change(resources, "set env", "env updated", cx, change).await
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn read<'w>(words: impl Iterator<Item = &'w String>) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { set: Vec::new(), remove: Vec::new() };
    let mut add = |word: &str| {
        match (word.split_once('='), word.strip_suffix('-')) {
            (Some((name, value)), _) if is_name(name) => wanted.set.push(json!({"name": name, "value": value})),
            (None, Some(name)) if is_name(name) => wanted.remove.push(name.to_string()),
            _ => return Err(Failure::error(format!("environment variables must be of the form key=value: {word}"))),
        }
        Ok(())
    };
    for word in words {
        if word != "-" {
            add(word)?;
            continue;
        }
        let mut lines = String::new();
        let read = std::io::stdin().read_to_string(&mut lines);
        read.map_err(|error| Failure::error(format!("cannot read standard input: {error}")))?;
        for line in lines.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            add(line.strip_prefix("export ").unwrap_or(line))?;
        }
    }
    let both = wanted.set.iter().map(|entry| text(entry.get("name"))).find(|n| wanted.remove.iter().any(|r| r == n));
    if let Some(name) = both {
        let message = format!("can not both modify and remove an environment variable in the same command: {name}");
        return Err(Failure::error(message));
    }
    Ok(wanted)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'=')
}

/// An entry for each key of a ConfigMap or Secret, in the order of the keys.
async fn keys_of(from: &str, keys: &[String], cx: &Context) -> Result<Vec<Value>, Failure> {
    let (kind, name) = resource::parse_one(&[from.to_string()], None, "set env --from")?;
    let field = match kind {
        k if k == &kind::CONFIG_MAP => "configMapKeyRef",
        k if k == &kind::SECRET => "secretKeyRef",
        _ => return Err(Failure::error("unsupported resource specified in --from").hint("configmap/NAME, secret/NAME")),
    };
    let object = super::super::pods::get(cx, kind, &name).await?;
    let data = object.get("data").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key);
    let entry = |key: &String| {
        let variable: String =
            key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        if variable != *key {
            eprintln!("Warning: key {key} transferred to {variable}");
        }
        json!({"name": variable, "valueFrom": {field: {"key": key, "name": name}}})
    };
    Ok(data.filter(|key| keys.is_empty() || keys.contains(key)).map(entry).collect())
}

fn set(object: &mut Value, args: &EnvArgs, wanted: &Wanted) -> Result<(), Failure> {
    let what = format!("{}/{}", text(object.get("kind")), text(object.pointer("/metadata/name")));
    let mut found = false;
    let of = containers(spec_of(object)?).filter(|c| fits(&args.containers, name_of(c)));
    let set = of.map(|container| {
        found = true;
        set_in(container, args, wanted)
    });
    set.collect::<Result<(), String>>().map_err(|why| refused(object, &why))?;
    if !found {
        eprintln!("Warning: {what} does not have any containers matching \"{}\"", args.containers);
    }
    Ok(())
}

fn set_in(container: &mut Map<String, Value>, args: &EnvArgs, wanted: &Wanted) -> Result<(), String> {
    let mut env = match container.remove("env") {
        Some(Value::Array(env)) => env,
        _ => Vec::new(),
    };
    for entry in &wanted.set {
        let name = text(entry.get("name"));
        match env.iter_mut().find(|old| text(old.get("name")) == name) {
            Some(old) if !args.overwrite && old.get("value") != entry.get("value") => {
                let value = text(old.get("value"));
                return Err(format!("'{name}' already has a value ({value}), and --overwrite is false"));
            }
            Some(old) => *old = entry.clone(),
            None => env.push(entry.clone()),
        }
    }
    env.retain(|entry| !wanted.remove.iter().any(|name| name == text(entry.get("name"))));
    if !env.is_empty() {
        container.insert("env".into(), Value::Array(env));
    }
    Ok(())
}

async fn list(args: &EnvArgs, resources: &[String], cx: &Context) -> Result<(), Failure> {
    let which = &args.which;
    let named =
        super::scale::named(resources, &which.files, which.all, which.selector.as_deref(), "set env", cx).await?;
    let mut held: BTreeMap<(bool, String), Option<Value>> = BTreeMap::new();
    let mut unresolved = false;
    for (kind, namespace, name) in named {
        let mut object = cx.client.get(kind, &namespace, &name).await?;
        for container in containers(spec_of(&mut object)?).filter(|c| fits(&args.containers, name_of(c))) {
            print(&format!("# {} {name}, container {}\n", kind.kind, name_of(container)))?;
            for entry in container.get("env").and_then(Value::as_array).into_iter().flatten() {
                let variable = text(entry.get("name"));
                let Some(from) = entry.get("valueFrom") else {
                    print(&format!("{variable}={}\n", text(entry.get("value"))))?;
                    continue;
                };
                let value = if args.resolve { value_from(from, &namespace, &mut held, cx).await? } else { None };
                unresolved |= args.resolve && value.is_none();
                print(&match value {
                    Some(value) => format!("{variable}={value}\n"),
                    None => format!("# {variable} from {}\n", place_of(from)),
                })?;
            }
        }
    }
    if unresolved { Err(Failure::error("failed to retrieve valueFrom references")) } else { Ok(()) }
}

/// Where a variable's value comes from, in kubectl's words.
fn place_of(from: &Value) -> String {
    for (field, what) in [("configMapKeyRef", "configmap"), ("secretKeyRef", "secret")] {
        if let Some(reference) = from.get(field) {
            return format!("{what} {}, key {}", text(reference.get("name")), text(reference.get("key")));
        }
    }
    match (from.get("fieldRef"), from.get("resourceFieldRef")) {
        (Some(field), _) => format!("field path {}", text(field.get("fieldPath"))),
        (_, Some(resource)) => format!("resource field {}", text(resource.get("resource"))),
        _ => "invalid valueFrom".to_string(),
    }
}

/// The value in a ConfigMap or Secret; `None` of one that is elsewhere or not there.
async fn value_from(
    from: &Value,
    namespace: &str,
    held: &mut BTreeMap<(bool, String), Option<Value>>,
    cx: &Context,
) -> Result<Option<String>, Failure> {
    let (is_secret, reference) = match (from.get("configMapKeyRef"), from.get("secretKeyRef")) {
        (Some(reference), _) => (false, reference),
        (_, Some(reference)) => (true, reference),
        _ => return Ok(None),
    };
    let kind = if is_secret { &kind::SECRET } else { &kind::CONFIG_MAP };
    let name = text(reference.get("name")).to_string();
    let held_as = (is_secret, name.clone());
    if !held.contains_key(&held_as) {
        let object = cx.client.find(kind, namespace, &name).await?;
        held.insert(held_as.clone(), object);
    }
    let object = held.get(&held_as).and_then(Option::as_ref);
    let value = object.and_then(|o| o.get("data")?.get(text(reference.get("key")))?.as_str());
    Ok(match (value, is_secret) {
        (Some(value), false) => Some(value.to_string()),
        (Some(value), true) => {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(value).ok();
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        (None, _) => None,
    })
}
