//! `diff`: what apply would change, as diff shows it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value};

use super::apply::remember;
use super::path::{self, Query};
use super::yaml_out::to_yaml;
use super::{Context, Failure, files};
use crate::object::kind;
use crate::object::merge::{LAST_APPLIED, three_way};
use crate::object::patch;
use crate::object::selector::Selector;

/// Show what apply would change; ends with 1 when it would change something, and with more when it cannot be said
#[derive(Debug, Args)]
pub struct DiffArgs {
    #[command(flatten)]
    files: files::FileArgs,
    /// Only the objects with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Show the values of Secrets
    #[arg(long)]
    show_secrets: bool,
    /// Show who manages which field
    #[arg(long)]
    show_managed_fields: bool,
    #[arg(long, hide = true)]
    field_manager: Option<String>,
}

/// What cannot be compared ends with more than 1, which says that there are differences.
const TROUBLE: u8 = 2;

pub async fn run(args: DiffArgs, cx: &Context) -> Result<(), Failure> {
    compare(&args, cx).await.map_err(|failure| match failure.message.is_empty() {
        true => failure,
        false => failure.code(TROUBLE),
    })
}

async fn compare(args: &DiffArgs, cx: &Context) -> Result<(), Failure> {
    if !args.files.is_given() {
        return Err(Failure::error("must specify one of -f and -k"));
    }
    let mut documents = files::read(&args.files, files::Purpose::Send, cx)?;
    if let Some(selector) = &args.selector {
        let selector = Selector::parse(selector).map_err(Failure::error)?;
        documents.retain(|d| selector.matches(d.object.pointer("/metadata/labels").and_then(Value::as_object)));
    }
    let sides = Sides::new().map_err(|error| Failure::error(format!("cannot make a temporary directory: {error}")))?;
    for document in &documents {
        let (live, merged) = versions(document, cx).await?;
        let (mut live, mut merged) = (live, Some(merged));
        if !args.show_secrets && document.kind == &kind::SECRET {
            mask(&mut live, &mut merged);
        }
        let version = document.kind.api_version().replace('/', ".");
        let file = format!("{version}.{}.{}.{}", document.kind.kind, document.namespace, document.name);
        for (side, object) in [(&sides.live, live), (&sides.merged, merged)] {
            let Some(mut object) = object else { continue };
            let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
            if let (Some(metadata), false) = (metadata, args.show_managed_fields) {
                metadata.remove("managedFields");
            }
            let path = side.join(&file);
            let written = fs::write(&path, to_yaml(&object));
            written.map_err(|error| Failure::error(format!("cannot write {}: {error}", path.display())))?;
        }
    }
    show(&sides)
}

/// The object as it is, and as it would be after apply.
async fn versions(document: &files::Document, cx: &Context) -> Result<(Option<Value>, Value), Failure> {
    let files::Document { kind, namespace, name, source, .. } = document;
    let mut modified = document.object.clone();
    remember(&mut modified);
    let query = Query::new().with("dryRun", "All").with("fieldManager", "kubectl-client-side-apply");
    let Some(live) = cx.client.find(kind, namespace, name).await? else {
        let path = query.on(&path::collection(kind, Some(namespace)));
        let made = cx.client.post_path(&path, &modified).await.map_err(|e| e.during("comparing", source))?;
        return Ok((None, made));
    };
    let none = Map::new();
    let last = live.pointer("/metadata/annotations").and_then(|a| a.get(LAST_APPLIED)).and_then(Value::as_str);
    let last: Map<String, Value> = last.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let (wanted, now) = (modified.as_object().unwrap_or(&none), live.as_object().unwrap_or(&none));
    let merged = Value::Object(three_way(kind, &last, wanted, now));
    let patch = patch::difference(&live, &merged);
    let path = query.on(&path::object(kind, namespace, name));
    let merged = cx.client.merge_patch(&path, &patch).await.map_err(|e| e.during("comparing", source))?;
    // That this is kept is no news.
    let mut sides = [Some(live), Some(merged)];
    for annotations in sides.iter_mut().flatten().filter_map(|o| o.pointer_mut("/metadata/annotations")) {
        annotations.as_object_mut().map(|map| map.remove(LAST_APPLIED));
    }
    let [live, merged] = sides;
    Ok((live, merged.unwrap_or_default()))
}

/// Puts stars in the place of a Secret's values, other ones where they differ.
fn mask(live: &mut Option<Value>, merged: &mut Option<Value>) {
    let data = |of: &Option<Value>| of.as_ref().and_then(|o| o.get("data")?.as_object().cloned()).unwrap_or_default();
    let (before, after) = (data(live), data(merged));
    let hide = |of: &mut Option<Value>, own: &Map<String, Value>, other: &Map<String, Value>, word: &str| {
        for (key, value) in own {
            let differs = other.get(key).is_some_and(|other| other != value);
            let stars = if differs { format!("*** ({word})") } else { "***".to_string() };
            if let Some(object) = of.as_mut() {
                object["data"][key] = stars.into();
            }
        }
    };
    hide(live, &before, &after, "before");
    hide(merged, &after, &before, "after");
}

/// The directories whose files are compared, which go with this.
struct Sides {
    root: PathBuf,
    live: PathBuf,
    merged: PathBuf,
}

impl Sides {
    fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let unique = STANDARD.encode(rand::random::<[u8; 6]>()).replace(['/', '+'], "0");
        let root = std::env::temp_dir().join(format!("nslab-diff-{unique}"));
        // A Secret may be in it.
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).create(&root)?;
        let sides = Sides { live: root.join("LIVE"), merged: root.join("MERGED"), root };
        builder.create(&sides.live)?;
        builder.create(&sides.merged)?;
        Ok(sides)
    }
}

impl Drop for Sides {
    fn drop(&mut self) {
        // What cannot be removed is in the directory of temporary files.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Runs the program that shows differences; its exit code is this one's.
fn show(sides: &Sides) -> Result<(), Failure> {
    let external = std::env::var("KUBECTL_EXTERNAL_DIFF").unwrap_or_default();
    let mut words = external.split_whitespace();
    let (program, arguments) = match words.next() {
        // Other arguments than these could be meant for a shell.
        Some(program) => (program, words.filter(|w| is_plain(w)).collect()),
        None => ("diff", vec!["-u", "-N"]),
    };
    let relative = |path: &Path| path.file_name().map(PathBuf::from).unwrap_or_default();
    let status = Command::new(program)
        .args(arguments)
        .args([relative(&sides.live), relative(&sides.merged)])
        .current_dir(&sides.root)
        .stdin(Stdio::null())
        .status();
    match status {
        Err(error) => {
            let failure = Failure::error(format!("failed to run \"{program}\": {error}"));
            Err(failure.hint("install diffutils, or name another program in $KUBECTL_EXTERNAL_DIFF"))
        }
        Ok(status) => match status.code() {
            Some(0) => Ok(()),
            Some(code) => Err(Failure::silent(u8::try_from(code).unwrap_or(TROUBLE))),
            None => Err(Failure::error(format!("{program} was ended by a signal"))),
        },
    }
}

fn is_plain(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || "-=".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_not_shown_but_that_they_change_is() {
        let secret = |a: &str| Some(json!({"data": {"a": a, "b": "eA=="}}));
        let (mut live, mut merged) = (secret("MQ=="), secret("Mg=="));
        mask(&mut live, &mut merged);
        assert_eq!(live, Some(json!({"data": {"a": "*** (before)", "b": "***"}})));
        assert_eq!(merged, Some(json!({"data": {"a": "*** (after)", "b": "***"}})));
        let mut new = secret("MQ==");
        mask(&mut None, &mut new);
        assert_eq!(new, Some(json!({"data": {"a": "***", "b": "***"}})));
    }
}
