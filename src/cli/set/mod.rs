//! `set`: one thing in what makes pods, or in a Service or a role's binding.

mod env;
mod image;
mod others;
mod resources;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::change::{Change, ChangeArgs, Target, pod_spec};
use super::{Context, Failure, files, scale};
use crate::object::kind;

/// Set the image, the environment, the resources, ... of what runs
#[derive(Debug, Args)]
pub struct SetArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Image(image::ImageArgs),
    Env(env::EnvArgs),
    Resources(resources::ResourcesArgs),
    Selector(others::SelectorArgs),
    #[command(visible_alias = "sa")]
    Serviceaccount(others::ServiceAccountArgs),
    Subject(others::SubjectArgs),
}

pub async fn run(args: SetArgs, cx: &Context) -> Result<(), Failure> {
    match args.what {
        What::Image(args) => image::run(args, cx).await,
        What::Env(args) => env::run(args, cx).await,
        What::Resources(args) => resources::run(args, cx).await,
        What::Selector(args) => others::selector(args, cx).await,
        What::Serviceaccount(args) => others::service_account(args, cx).await,
        What::Subject(args) => others::subject(args, cx).await,
    }
}

/// Which objects, and how.
#[derive(Debug, Args)]
struct WhichArgs {
    #[command(flatten)]
    files: files::FileArgs,
    /// All of the type
    #[arg(long)]
    all: bool,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Change what the files say and print it; ask nobody
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    how: ChangeArgs,
}

impl WhichArgs {
    /// Makes `change` to each object and tells what was `done`.
    async fn change(
        &self,
        resources: &[String],
        command: &str,
        done: &str,
        cx: &Context,
        mut change: impl FnMut(&mut Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.all && self.selector.is_some() {
            return Err(Failure::error("cannot set --all and --selector at the same time"));
        }
        let how = Change::new(&self.how, "kubectl-set", cx)?;
        let mut failures = Vec::new();
        if self.local {
            if how.dry == Some(super::DRY_SERVER) {
                let message = "cannot specify --local and --dry-run=server - did you mean --dry-run=client?";
                return Err(Failure::error(message));
            }
            if !resources.is_empty() {
                return Err(Failure::error(
                    "error: you must specify resources by --filename when --local is set.\nExample resource \
                     specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'",
                ));
            }
            for document in files::read(&self.files, files::Purpose::Name, cx)? {
                let mut object = document.object.clone();
                let done = change(&mut object).and_then(|()| match object == document.object {
                    true => Ok(()),
                    false => how.tell(&object, done),
                });
                failures.extend(done.err());
            }
            return Failure::all(failures);
        }
        if resources.is_empty() && !self.files.is_given() {
            return Err(Failure::error(
                "one or more resources must be specified as <resource> <name> or <resource>/<name>",
            ));
        }
        let selector = self.selector.as_deref();
        let targets: Vec<Target> = scale::named(resources, &self.files, self.all, selector, command, cx).await?;
        for target in &targets {
            match how.modify(target, &mut change).await {
                // Of what is so already kubectl says nothing.
                Ok((before, after)) if before == after => {}
                Ok((_, after)) => how.tell(&after, done)?,
                Err(failure) => failures.push(failure),
            }
        }
        Failure::all(failures)
    }
}

/// The pod's spec in an object that has one.
fn spec_of(object: &mut Value) -> Result<&mut Map<String, Value>, Failure> {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let failure = refused(object, &format!("the object is not a pod or does not have a pod template: {kind}"));
    pod_spec(object).filter(|spec| spec.contains_key("containers")).ok_or(failure)
}

/// Why an object was not changed, with kubectl's name for it before the reason.
fn refused(object: &Value, why: &str) -> Failure {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let kind = kind::by_api_version_kind(text("apiVersion"), text("kind")).map_or("", |kind| kind.plural);
    Failure::error(format!("{kind}/{} {why}", super::hint::name_of(object)))
}

/// The containers of a pod's spec: those proper, then those that run first.
fn containers(spec: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let mut lists = spec.iter_mut().filter(|(field, _)| ["containers", "initContainers"].contains(&field.as_str()));
    let lists = [lists.next(), lists.next()].into_iter().flatten();
    lists.filter_map(|(_, list)| list.as_array_mut()).flatten().filter_map(Value::as_object_mut)
}

fn name_of(container: &Map<String, Value>) -> &str {
    container.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Does a name fit a pattern in which `*` stands for anything?
fn fits(pattern: &str, name: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut tail) = name.strip_prefix(before) else { return false };
    loop {
        if fits(rest, tail) {
            return true;
        }
        let mut next = tail.chars();
        if next.next().is_none() {
            return false;
        }
        tail = next.as_str();
    }
}

/// Sorts words into those that name objects and those behind them that say what to set.
fn split(words: &[String], is_change: impl Fn(&str) -> bool) -> Option<(&[String], &[String])> {
    let first = words.iter().position(|word| is_change(word)).unwrap_or(words.len());
    let (resources, changes) = words.split_at(first);
    changes.iter().all(|word| is_change(word)).then_some((resources, changes))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_of_container_names() {
        for (pattern, name, expected) in [
            ("*", "web", true),
            ("web", "web", true),
            ("we*", "web", true),
            ("*b", "web", true),
            ("w*x", "web", false),
            ("web", "web2", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
