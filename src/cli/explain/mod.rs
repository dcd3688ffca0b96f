//! `explain`: what a kind and its fields are, from the API's own description of them.

mod render;
mod wrap;

use clap::Args;
use serde_json::Value;

use super::client::As;
use super::{Context, Failure, print, resource};
use crate::object::kind::KindRef;
use crate::object::nearest::nearest;
use render::{Page, Reached};

/// Explain a type of object and its fields
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A type, or a field of one: pods, deployment.spec.replicas
    #[arg(value_name = "TYPE[.FIELD...]")]
    what: Vec<String>,
    /// The fields of fields too, by name and type
    #[arg(short = 'R', long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    recursive: Option<bool>,
    /// How deep --recursive goes; 0 is all the way
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "LEVELS")]
    max_depth: usize,
    /// The version of the API, such as apps/v1
    #[arg(long, value_name = "GROUP/VERSION")]
    api_version: Option<String>,
    /// plaintext
    #[arg(short, long, default_value = "plaintext", hide_default_value = true)]
    output: String,
}

pub async fn run(args: ExplainArgs, cx: &Context) -> Result<(), Failure> {
    let what = match args.what.as_slice() {
        [] => {
            let all = format!("Use \"{} api-resources\" for a complete list of supported resources.", super::program());
            return Err(Failure::error(format!("You must specify the type of resource to explain. {all}")));
        }
        [what] => what,
        _ => return Err(Failure::error("We accept only this format: explain RESOURCE")),
    };
    let recursive = args.recursive.unwrap_or(false);
    if args.max_depth > 0 && !recursive {
        return Err(Failure::error("--max-depth requires --recursive"));
    }
    if args.output != "plaintext" {
        return Err(Failure::error(format!("unrecognized format: {}", args.output)).hint("there is only plaintext"));
    }
    let (kind, fields) = parse(what)?;
    let (group, version) = match &args.api_version {
        None => (kind.group, kind.version),
        Some(given) => given.split_once('/').unwrap_or(("", given)),
    };
    let path = match group {
        "" => format!("/openapi/v3/api/{version}"),
        group => format!("/openapi/v3/apis/{group}/{version}"),
    };
    let unknown =
        || Failure::error(format!("couldn't find resource for \"{group}/{version}, Resource={}\"", kind.plural));
    let document = match cx.client.get_path(&path, As::Json).await {
        Err(error) if error.is_not_found() => {
            return Err(unknown().hint(format!("it is served as {}", kind.api_version())));
        }
        other => other?,
    };
    let schema = schema_of(&document, group, version, kind.kind).ok_or_else(unknown)?;
    let page = Page { document: &document, recursive, max_depth: args.max_depth };
    let mut text = if group.is_empty() { String::new() } else { format!("GROUP:      {group}\n") };
    text.push_str(&format!("KIND:       {}\nVERSION:    {version}\n\n", kind.kind));
    match page.explain(schema, &fields) {
        Reached::Text(explained) => print(&format!("{text}{explained}\n")),
        Reached::Nothing { field, there } => {
            let failure = Failure::error(format!("field \"{field}\" does not exist"));
            Err(match nearest(&field, there.iter().copied()) {
                Some(near) => failure.hint(format!("did you mean {near}?")),
                None => failure,
            })
        }
    }
}

/// `deployments.apps.spec.replicas`: the kind, by its name with as much of its group as is given, and the path below it.
fn parse(what: &str) -> Result<(KindRef, Vec<&str>), Failure> {
    let what = what.trim_end_matches('.');
    let (word, rest) = what.split_once('.').unwrap_or((what, ""));
    let grouped = |dot: usize| {
        let (name, rest) = what.split_at(dot);
        let kind = crate::object::kind::by_word(name)?;
        Some((kind, rest.strip_prefix('.').unwrap_or(rest)))
    };
    // The longest name that is one, since groups have dots too.
    let dots = what.match_indices('.').map(|(at, _)| at).skip(1).chain([what.len()]).filter(|_| !rest.is_empty());
    let (kind, rest) = match dots.filter_map(grouped).last() {
        Some(found) => found,
        None => (resource::kind_of(word)?, rest),
    };
    Ok((kind, rest.split('.').filter(|field| !field.is_empty()).collect()))
}

fn schema_of<'d>(document: &'d Value, group: &str, version: &str, kind: &str) -> Option<&'d Value> {
    let schemas = document.pointer("/components/schemas")?.as_object()?;
    schemas.values().find(|schema| {
        let is_it = |of: &Value| of["group"] == group && of["version"] == version && of["kind"] == kind;
        schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array).is_some_and(|all| all.iter().any(is_it))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_named_with_or_without_its_group() {
        for (what, kind, fields) in [
            ("pods", "Pod", &[][..]),
            ("po.spec.containers", "Pod", &["spec", "containers"]),
            ("deployments.apps", "Deployment", &[]),
            ("deployments.apps.spec.replicas", "Deployment", &["spec", "replicas"]),
            ("deploy.v1.apps.spec", "Deployment", &["spec"]),
            ("ing.networking.k8s.io.spec", "Ingress", &["spec"]),
            ("Service.", "Service", &[]),
        ] {
            let (found, path) = parse(what).unwrap();
            assert_eq!((found.kind, path.as_slice()), (kind, fields), "{what}");
        }
        let error = parse("pds.spec").unwrap_err().to_string();
        assert!(error.starts_with("error: the server doesn't have a resource type \"pds\""), "{error}");
    }
}
