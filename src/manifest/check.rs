//! What the API server would refuse in manifests, at the place in the file.

use super::document::Document;
use super::place::{Problem, Problems};
use crate::object::default::apply_defaults;
use crate::object::nearest::nearest;
use crate::object::{kind, unknown, validate};

/// Holds every document against the rules of its kind: unknown fields, values of a wrong type, invalid values. The
/// documents themselves stay as they were read, without defaults.
pub fn check(documents: &[Document]) -> Result<(), Problems> {
    let problems: Vec<Problem> = documents.iter().flat_map(problems_of).collect();
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

fn problems_of(document: &Document) -> Vec<Problem> {
    if document.object.kind().is_none() {
        return vec![unknown_kind(document)];
    }
    let unknown = unknown::examine(&document.object).unknown.into_iter().map(|field| {
        let near = nearest(&field.name, field.known.iter().copied());
        Problem {
            place: Some(document.key_place(&field.path)),
            message: format!("unknown field \"{}\"", field.path),
            help: near.map(|near| format!("did you mean \"{near}\"?")),
        }
    });
    let mut problems: Vec<Problem> = unknown.collect();
    let mut object = document.object.clone();
    apply_defaults(&mut object);
    for error in validate::validate(&object) {
        let help = validate::suggestion(&error);
        problems.push(document.problem(error.blamed(), error.to_string(), help));
    }
    problems
}

fn unknown_kind(document: &Document) -> Problem {
    let (version, name) = (document.object.api_version(), document.object.kind_name());
    let message = format!("no matches for kind \"{name}\" in version \"{version}\"");
    let same_kind: Vec<String> =
        kind::ALL.iter().filter(|known| known.kind == name).map(|known| known.api_version()).collect();
    let (path, help) = if same_kind.is_empty() {
        let near = nearest(name, kind::ALL.iter().map(|known| known.kind)).map(|near| format!("did you mean {near}?"));
        ("kind", near.or_else(|| Some("the lab keeps the kinds that Kubernetes itself has, and no others".into())))
    } else {
        ("apiVersion", Some(format!("{name} is served as {}", same_kind.join(" and "))))
    };
    document.problem(path, message, help)
}
