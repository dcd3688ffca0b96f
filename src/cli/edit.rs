//! `edit`: objects in an editor, which is opened again for as long as the server finds fault with what was written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use serde_json::{Map, Value, json};

use super::apply::remember;
use super::change::{Change, ChangeArgs, Target};
use super::client::ClientError;
use super::{Context, Failure, files, path, scale, yaml_out};
use crate::manifest;
use crate::object::merge::three_way;
use crate::object::{map_at_mut, patch};

/// Change objects in your editor ($KUBE_EDITOR, $EDITOR or vi)
#[derive(Debug, Args)]
pub struct EditArgs {
    /// TYPE NAME..., TYPE/NAME...
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// status, scale, ...: edit this part of the object
    #[arg(long)]
    subresource: Option<String>,
    /// Print the patch that is sent
    #[arg(long)]
    output_patch: bool,
    /// Keep the object as it is written in an annotation, for a later apply
    #[arg(long)]
    save_config: bool,
    #[arg(long, hide = true)]
    show_managed_fields: bool,
    #[arg(long, hide = true)]
    windows_line_endings: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "strict")]
    validate: Option<String>,
    #[command(flatten)]
    how: ChangeArgs,
}

const HEADER: &str = "\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

/// How often an edit is made again because something else changed the object at the same moment.
const ATTEMPTS: usize = 10;

pub async fn run(args: EditArgs, cx: &Context) -> Result<(), Failure> {
    let how = Change::new(&args.how, "kubectl-edit", cx)?;
    let targets = scale::named(&args.resources, &args.files, true, args.selector.as_deref(), "edit", cx).await?;
    let mut edited = Vec::new();
    for target in targets {
        let mut object = match &args.subresource {
            None => how.get(&target).await?,
            Some(_) => cx.client.get_path(&at(&args, &target), super::client::As::Json).await?,
        };
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        if let (Some(metadata), false) = (metadata, args.show_managed_fields) {
            metadata.remove("managedFields");
        }
        edited.push((target, object));
    }
    if edited.is_empty() {
        return Err(Failure::error("edit cancelled, no objects found"));
    }
    Edit { args: &args, how: &how, cx, objects: edited }.run().await
}

fn at(args: &EditArgs, target: &Target) -> String {
    let object = path::object(target.0, &target.1, &target.2);
    match &args.subresource {
        Some(part) => format!("{object}/{}", path::escape(part)),
        None => object,
    }
}

struct Edit<'a> {
    args: &'a EditArgs,
    how: &'a Change<'a>,
    cx: &'a Context,
    objects: Vec<(Target, Value)>,
}

/// What came of sending one object.
enum Outcome {
    Done,
    /// What to write above the object when it is opened again.
    Refused(String),
}

impl Edit<'_> {
    async fn run(self) -> Result<(), Failure> {
        let original = match self.objects.as_slice() {
            [(_, one)] => yaml_out::to_yaml(one),
            several => {
                let items: Vec<&Value> = several.iter().map(|(_, object)| object).collect();
                yaml_out::to_yaml(&json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {}}))
            }
        };
        let (mut text, mut reasons) = (original.clone(), Vec::<String>::new());
        loop {
            let reasons_text: String =
                std::mem::take(&mut reasons).into_iter().map(|reason| comment(&reason)).collect();
            let is_again = !reasons_text.is_empty();
            let file = File::new(&format!("{HEADER}{reasons_text}{text}"))?;
            let edited = file.edit()?;
            let edited = without_comments(&edited);
            if is_again && edited == without_comments(&text) {
                return Err(file.kept(Failure::error("Edit cancelled, no valid changes were saved.")));
            }
            if edited == without_comments(&original) {
                eprintln!("Edit cancelled, no changes made.");
                return Ok(());
            }
            if edited.trim().is_empty() {
                eprintln!("Edit cancelled, saved file was empty.");
                return Ok(());
            }
            text = edited;
            let items = match items(&text) {
                Ok(items) => items,
                Err(reason) => {
                    reasons.push(format!("The edited file had a syntax error: {reason}"));
                    continue;
                }
            };
            for item in items {
                match self.send(item).await {
                    Ok(Outcome::Done) => {}
                    Ok(Outcome::Refused(reason)) => {
                        eprintln!("error: {}", reason.lines().next().unwrap_or_default());
                        reasons.push(reason);
                    }
                    Err(failure) => return Err(file.kept(failure)),
                }
            }
            if reasons.is_empty() {
                return Ok(());
            }
        }
    }

    async fn send(&self, mut item: Value) -> Result<Outcome, Failure> {
        let text =
            |object: &Value, at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_string();
        let same = |field: &str, a: &Value, b: &Value| text(a, field) == text(b, field);
        let uid = text(&item, "/metadata/uid");
        let by_uid = |(_, before): &&(Target, Value)| !uid.is_empty() && text(before, "/metadata/uid") == uid;
        let by_name = |(_, before): &&(Target, Value)| {
            ["/kind", "/metadata/name", "/metadata/namespace"].iter().all(|field| same(field, before, &item))
        };
        let found = self.objects.iter().find(by_uid).or_else(|| self.objects.iter().find(by_name));
        let Some((target, before)) = found else {
            return Err(Failure::error("At least one of apiVersion, kind and name was changed"));
        };
        if !["/apiVersion", "/kind", "/metadata/name"].iter().all(|field| same(field, before, &item)) {
            return Err(Failure::error("At least one of apiVersion, kind and name was changed"));
        }
        if !same("/metadata/namespace", before, &item) {
            let (own, other) = (text(before, "/metadata/namespace"), text(&item, "/metadata/namespace"));
            return Err(Failure::error(format!(
                "the namespace from the provided object \"{other}\" does not match the namespace \"{own}\". You must \
                 pass '--namespace={other}' to perform this operation."
            )));
        }
        if item == *before {
            self.how.tell(&item, "skipped")?;
            return Ok(Outcome::Done);
        }
        if self.args.save_config {
            remember(&mut item);
        }
        self.how.note_cause(&mut item);
        match self.change(target, before, &item).await {
            Ok(object) => self.how.tell(&object, "edited").map(|()| Outcome::Done),
            Err(ClientError::Status(status))
                if ["Invalid", "BadRequest", "Forbidden"].contains(&status.reason.as_str()) =>
            {
                let (kind, name, ..) = (target.0, &target.2);
                let mut reason = format!("{} \"{name}\" was not valid:", kind.resource());
                match status.causes.as_slice() {
                    [] => reason.push_str(&format!("\n* {}", status.message)),
                    causes => causes.iter().for_each(|(field, message)| reason += &format!("\n* {field}: {message}")),
                }
                Ok(Outcome::Refused(reason))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes what was changed in the text to the object as it is now, of which others may have changed other parts.
    async fn change(&self, target: &Target, before: &Value, after: &Value) -> Result<Value, ClientError> {
        let path = self.how.query().on(&at(self.args, target));
        let plain = at(self.args, target);
        let mut attempt = 1;
        loop {
            let live = self.cx.client.get_path(&plain, super::client::As::Json).await?;
            // A resourceVersion that the user left as it was is no wish.
            let (mut before, mut after) = (before.clone(), after.clone());
            for text in [&mut before, &mut after] {
                let metadata = text.get_mut("metadata").and_then(Value::as_object_mut);
                metadata.map(|m| m.remove("resourceVersion"));
            }
            let none = Map::new();
            let [before, after, now] = [&before, &after, &live].map(|of| of.as_object().unwrap_or(&none));
            let merged = Value::Object(three_way(target.0, before, after, now));
            let mut patch = patch::difference(&live, &merged);
            if self.args.output_patch && attempt == 1 {
                println!("Patch: {patch}");
            }
            if let Some(patch) = patch.as_object_mut() {
                let version = live.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
                map_at_mut(patch, "metadata").insert("resourceVersion".into(), version);
            }
            match self.cx.client.merge_patch(&path, &patch).await {
                Err(ClientError::Status(status)) if status.reason == "Conflict" && attempt < ATTEMPTS => attempt += 1,
                answer => return answer,
            }
        }
    }
}

/// The objects of a text: one, or those of a List.
fn items(text: &str) -> Result<Vec<Value>, String> {
    let value = manifest::read_value("the edited file", text.as_bytes()).map_err(|problem| problem.to_string())?;
    match value.get("items").and_then(Value::as_array) {
        Some(items) if value.get("kind").and_then(Value::as_str) == Some("List") => Ok(items.clone()),
        _ if value.is_object() => Ok(vec![value]),
        _ => Err("it is no object".to_string()),
    }
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(|line| [line.trim_end(), "\n"]).collect()
}

fn comment(reason: &str) -> String {
    let lines: String = reason.lines().map(|line| format!("# {line}\n")).collect();
    lines + "#\n"
}

/// The text on its way to the editor and back. It goes with this unless it is kept.
struct File {
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Result<Self, Failure> {
        let name = format!("{}-edit-{}.yaml", super::program(), rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::error(format!("cannot write {}: {error}", path.display())))?;
        Ok(File { path })
    }

    /// The text when the editor has ended.
    fn edit(&self) -> Result<String, Failure> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let editor = variable("KUBE_EDITOR").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".to_string());
        // An editor with arguments is for a shell to take apart; the file is its last argument.
        let status = match editor.contains([' ', '"', '\'', '\\']) {
            true => {
                Command::new("/bin/sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&self.path).status()
            }
            false => Command::new(&editor).arg(&self.path).status(),
        };
        match status {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let failure = Failure::error(format!("unable to launch the editor \"{editor}\""));
                Err(failure.hint("name one that is installed: export KUBE_EDITOR=nano"))
            }
            Err(error) => Err(Failure::error(format!("unable to launch the editor \"{editor}\": {error}"))),
            Ok(status) if !status.success() => {
                let code = status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"));
                Err(Failure::error(format!("there was a problem with the editor \"{editor}\": {code}")))
            }
            Ok(_) => fs::read_to_string(&self.path)
                .map_err(|error| Failure::error(format!("cannot read {}: {error}", self.path.display()))),
        }
    }

    /// Keeps the text, and says where it is together with why.
    fn kept(mut self, failure: Failure) -> Failure {
        let path = std::mem::take(&mut self.path);
        eprintln!("A copy of your changes has been stored to \"{}\"", path.display());
        failure
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What cannot be removed is in the directory of temporary files.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_part_of_what_was_written() {
        assert_eq!(without_comments("# a\nb: 1  \n  # c\n"), "b: 1\n");
        assert_eq!(comment("x was not valid:\n* spec: no"), "# x was not valid:\n# * spec: no\n#\n");
    }

    #[test]
    fn one_object_or_a_list_of_them() {
        assert_eq!(items("kind: Pod\n").map(|i| i.len()), Ok(1));
        assert_eq!(items("kind: List\nitems:\n- kind: Pod\n- kind: Pod\n").map(|i| i.len()), Ok(2));
        assert!(items("a: [").is_err());
        assert!(items("word").is_err());
    }
}
