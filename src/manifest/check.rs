//! What the API server would refuse in manifests, at the place in the file.

use super::document::Document;
use super::place::{Problem, Problems};
use crate::object::default::apply_defaults;
use crate::object::nearest::nearest;
use crate::object::{KindRef, Object, custom, kind, unknown, validate};

/// Says which kind is served under an `apiVersion` and `kind`.
type Served<'a> = &'a dyn Fn(&str, &str) -> Option<KindRef>;

/// Holds every document against the rules of its kind: unknown fields, values of a wrong type, invalid values. The
/// documents themselves stay as they were read, without defaults. Custom kinds are those that the documents define, and
/// those that are `served`; what their schema asks for is the API server's to say.
pub fn check(documents: &[Document], served: Served) -> Result<(), Problems> {
    let brought: Vec<KindRef> = documents.iter().flat_map(kinds_of).collect();
    let known = |version: &str, name: &str| {
        let own = brought.iter().copied().find(|kind| kind.kind == name && kind.api_version() == version);
        own.or_else(|| served(version, name))
    };
    let names: Vec<&str> = brought.iter().chain(kind::ALL).map(|kind| kind.kind).collect();
    let problems: Vec<Problem> = documents.iter().flat_map(|document| problems_of(document, &known, &names)).collect();
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

/// The kinds that a document defines, one a version.
pub fn kinds_of(document: &Document) -> Vec<KindRef> {
    custom::kinds_of(&document.object)
}

fn problems_of(document: &Document, known: Served, names: &[&str]) -> Vec<Problem> {
    let of = |object: &Object| object.kind().or_else(|| known(object.api_version(), object.kind_name()));
    let Some(kind) = of(&document.object) else {
        return vec![unknown_kind(document, names)];
    };
    let unknown = unknown::examine(&document.object).unknown.into_iter().map(|field| {
        let near = nearest(&field.name, field.known.iter().copied());
        Problem {
            place: Some(document.key_place(&field.path)),
            message: format!("unknown field \"{}\"", field.path),
            help: near.map(|near| format!("did you mean \"{near}\"?")),
        }
    });
    let mut problems: Vec<Problem> = unknown.collect();
    let mut object = document.object.clone().of(kind);
    apply_defaults(&mut object);
    for error in validate::validate(&object) {
        let help = validate::suggestion(&error);
        problems.push(document.problem(error.blamed(), error.to_string(), help));
    }
    problems
}

/// `names`: of all kinds that could have been meant.
fn unknown_kind(document: &Document, names: &[&str]) -> Problem {
    let (version, name) = (document.object.api_version(), document.object.kind_name());
    let message = format!("no matches for kind \"{name}\" in version \"{version}\"");
    let same_kind: Vec<String> =
        kind::ALL.iter().filter(|known| known.kind == name).map(|known| known.api_version()).collect();
    let (path, help) = if same_kind.is_empty() {
        let near = nearest(name, names.iter().copied()).map(|near| format!("did you mean {near}?"));
        let group = version.split_once('/').map_or("", |(group, _)| group);
        // No definition adds to Kubernetes' own groups.
        let is_own = kind::ALL.iter().any(|known| known.group == group);
        let definition = (!is_own).then(|| "ensure CRDs are installed first".to_string());
        let help: Vec<String> = definition.into_iter().chain(near).collect();
        ("kind", (!help.is_empty()).then(|| help.join("; ")))
    } else {
        ("apiVersion", Some(format!("{name} is served as {}", same_kind.join(" and "))))
    };
    document.problem(path, message, help)
}
