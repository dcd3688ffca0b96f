//! `patch`: fields of an object, by a patch of one of three types.

use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::change::{Change, ChangeArgs, Target};
use super::client::ClientError;
use super::{Context, Failure, files, path, scale};
use crate::manifest;
use crate::object::{merge, patch};

/// Change fields of objects
#[derive(Debug, Args)]
pub struct PatchArgs {
    /// TYPE NAME or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// The patch, as JSON or YAML
    #[arg(short, long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    patch: String,
    /// A file with the patch
    #[arg(long, value_name = "FILE")]
    patch_file: Option<String>,
    /// strategic (lists merge by their keys), merge (lists are replaced) or json (a list of operations)
    #[arg(long = "type", default_value = "strategic")]
    patch_type: String,
    /// status, scale, ...: patch this part of the object
    #[arg(long)]
    subresource: Option<String>,
    /// Change what the files say and print it; ask nobody
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    how: ChangeArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Json,
    Merge,
    Strategic,
}

impl Type {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(Type::Json),
            "merge" => Ok(Type::Merge),
            "strategic" => Ok(Type::Strategic),
            _ => Err(Failure::error(format!("--type must be one of [json merge strategic], not \"{text}\""))),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Type::Json => "application/json-patch+json",
            Type::Merge => "application/merge-patch+json",
            Type::Strategic => "application/strategic-merge-patch+json",
        }
    }

    /// The patched object, without asking the server.
    fn apply(self, target: &Target, object: &Value, by: &Value) -> Result<Value, Failure> {
        let mut patched = object.clone();
        match self {
            Type::Json => patch::json_patch(&mut patched, by).map_err(Failure::error)?,
            Type::Merge => patch::merge(&mut patched, by),
            Type::Strategic => {
                let none = serde_json::Map::new();
                let fields = object.as_object().unwrap_or(&none);
                let by = by.as_object().ok_or_else(|| Failure::error("the patch is no JSON object"))?;
                patched = Value::Object(merge::strategic(target.0, fields, by).map_err(Failure::error)?);
            }
        }
        Ok(patched)
    }
}

pub async fn run(args: PatchArgs, cx: &Context) -> Result<(), Failure> {
    let patch = read(&args)?;
    let patch_type = Type::parse(&args.patch_type)?;
    let how = Change::new(&args.how, "kubectl-patch", cx)?;
    if args.local {
        return local(&args, &how, patch_type, &patch, cx);
    }
    let targets = scale::named(&args.resources, &args.files, false, None, "patch", cx).await?;
    if targets.is_empty() {
        return Err(Failure::error("no objects passed to patch"));
    }
    let mut failures = Vec::new();
    for target in &targets {
        failures.extend(one(&args, &how, patch_type, &patch, target, cx).await.err());
    }
    Failure::all(failures)
}

fn read(args: &PatchArgs) -> Result<Value, Failure> {
    let (name, bytes) = match (&args.patch_file, args.patch.as_str()) {
        (Some(_), text) if !text.is_empty() => {
            return Err(Failure::error("cannot specify --patch and --patch-file together"));
        }
        (Some(file), _) => {
            let bytes = std::fs::read(Path::new(file));
            let bytes = bytes.map_err(|e| Failure::error(format!("unable to read patch file: {file}: {e}")))?;
            (file.as_str(), bytes)
        }
        (None, "") => {
            let message = "must specify --patch or --patch-file containing the contents of the patch";
            return Err(Failure::error(message).hint("-p '{\"spec\":{\"replicas\":2}}'"));
        }
        (None, text) => ("--patch", text.as_bytes().to_vec()),
    };
    let value = manifest::read_value(name, &bytes).map_err(|problem| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Failure::error(format!("unable to parse \"{text}\": {problem}"))
    })?;
    match value {
        Value::Object(_) | Value::Array(_) => Ok(value),
        _ => Err(Failure::error("the patch is neither a map nor a list").hint("-p '{\"spec\":{\"replicas\":2}}'")),
    }
}

async fn one(
    args: &PatchArgs,
    how: &Change<'_>,
    patch_type: Type,
    patch: &Value,
    target: &Target,
    cx: &Context,
) -> Result<(), Failure> {
    let before = how.get(target).await?;
    let after = if how.is_client_dry() {
        patch_type.apply(target, &before, patch)?
    } else {
        let mut at = path::object(target.0, &target.1, &target.2);
        if let Some(part) = &args.subresource {
            at = format!("{at}/{}", path::escape(part));
        }
        let at = how.query().on(&at);
        let answer = cx.client.patch(&at, patch_type.content_type(), patch).await;
        let patched = answer.map_err(|error| not_this_way(error, patch_type))?;
        match how.cause() {
            Some(cause) => cx.client.merge_patch(&at, &cause).await?,
            None => patched,
        }
    };
    let word = if after == before { "patched (no change)" } else { "patched" };
    how.tell(&after, word)
}

fn not_this_way(error: ClientError, patch_type: Type) -> Failure {
    let unsupported = matches!(&error, ClientError::Status(status) if status.code == 415);
    let failure = Failure::from(error);
    if unsupported && patch_type == Type::Strategic { failure.hint("add --type=merge") } else { failure }
}

fn local(args: &PatchArgs, how: &Change, patch_type: Type, patch: &Value, cx: &Context) -> Result<(), Failure> {
    if !args.resources.is_empty() {
        return Err(Failure::error("cannot specify --local and server resources"));
    }
    if how.dry == Some(super::DRY_SERVER) {
        let message = "cannot specify --local and --dry-run=server - did you mean --dry-run=client?";
        return Err(Failure::error(message));
    }
    for document in files::read(&args.files, files::Purpose::Name, cx)? {
        let target = (document.kind, document.namespace.clone(), document.name.clone());
        let patched = patch_type.apply(&target, &document.object, patch)?;
        how.tell(&patched, if patched == document.object { "patched (no change)" } else { "patched" })?;
    }
    Ok(())
}
