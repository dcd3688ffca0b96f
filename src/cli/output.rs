//! `-o`: in which form objects are printed.

use serde_json::{Value, json};

use super::Failure;
use super::jsonpath::Template;
use super::yaml_out::to_yaml;
use crate::object::kind;

/// What `-o` can say.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Table {
        wide: bool,
    },
    Json,
    Yaml,
    Name,
    /// The template, and its text.
    JsonPath(Template, String),
    /// A heading and a path for each column.
    Columns(Vec<(String, Template)>),
}

const FORMATS: &str = "custom-columns,json,jsonpath,name,wide,yaml";

impl Output {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let (format, rest) = text.split_once('=').map_or((text, None), |(format, rest)| (format, Some(rest)));
        match (format, rest) {
            ("", None) => Ok(Output::Table { wide: false }),
            ("wide", None) => Ok(Output::Table { wide: true }),
            ("json", None) => Ok(Output::Json),
            ("yaml", None) => Ok(Output::Yaml),
            ("name", None) => Ok(Output::Name),
            ("jsonpath", Some(template)) if !template.is_empty() => {
                let parsed = Template::parse(template)
                    .map_err(|e| Failure::error(format!("error parsing jsonpath {template}, {e}")))?;
                if parsed.has_paths() {
                    return Ok(Output::JsonPath(parsed, template.to_string()));
                }
                let failure = Failure::error(format!("the jsonpath template {template} has no {{...}} in it"));
                Err(failure.hint(format!("write -o jsonpath='{{{template}}}'")))
            }
            ("jsonpath", _) => Err(Failure::error("template format specified but no template given")),
            ("custom-columns", Some(spec)) if !spec.is_empty() => columns(spec).map(Output::Columns),
            ("custom-columns", _) => Err(Failure::error("custom-columns format specified but no custom columns given")),
            _ => {
                let failure = Failure::error(format!(
                    "unable to match a printer suitable for the output format \"{text}\", allowed formats are: {FORMATS}"
                ));
                match kind_of_format(format) {
                    Some(near) => Err(failure.hint(format!("did you mean -o {near}?"))),
                    None => Err(failure),
                }
            }
        }
    }

    pub fn is_table(&self) -> bool {
        matches!(self, Output::Table { .. })
    }
}

fn kind_of_format(format: &str) -> Option<&'static str> {
    crate::object::nearest::nearest(format, FORMATS.split(','))
}

fn columns(spec: &str) -> Result<Vec<(String, Template)>, Failure> {
    let column = |part: &str| {
        let unexpected =
            || Failure::error(format!("unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"));
        let (heading, path) =
            part.split_once(':').filter(|(h, p)| !h.is_empty() && !p.is_empty()).ok_or_else(unexpected)?;
        let path = Template::parse_relaxed(path).map_err(|e| Failure::error(format!("custom-columns {part}: {e}")))?;
        Ok((heading.to_string(), path))
    };
    split_columns(spec).into_iter().map(column).collect()
}

/// At the commas that stand in no bracket.
fn split_columns(spec: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in spec.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&spec[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&spec[start..]);
    parts
}

/// Prints objects in any form but tables: `one` object as itself, several as a List. Who owns which field is left out.
pub fn objects(output: &Output, mut items: Vec<Value>, one: bool, headings: bool) -> Result<String, Failure> {
    for metadata in items.iter_mut().filter_map(|item| item.get_mut("metadata")).filter_map(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    objects_with_managed_fields(output, items, one, headings)
}

pub fn objects_with_managed_fields(
    output: &Output,
    items: Vec<Value>,
    one: bool,
    headings: bool,
) -> Result<String, Failure> {
    Ok(match output {
        Output::Table { .. } | Output::Name => items.iter().map(|item| name_of(item) + "\n").collect(),
        Output::Columns(columns) => custom_columns(columns, &items, headings)?,
        Output::Json => to_json(&whole(items, one)),
        Output::Yaml => to_yaml(&whole(items, one)),
        Output::JsonPath(template, text) => template.render(&whole(items, one)).map_err(|e| {
            Failure::error(format!("error executing jsonpath \"{text}\": Error executing template: {e}"))
        })?,
    })
}

pub fn to_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // A `Value` has only string keys, so that writing it to memory cannot fail.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    String::from_utf8_lossy(&bytes).into_owned() + "\n"
}

fn whole(mut items: Vec<Value>, one: bool) -> Value {
    match (one, items.len()) {
        (true, 1) => items.remove(0),
        _ => json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}),
    }
}

fn custom_columns(columns: &[(String, Template)], items: &[Value], headings: bool) -> Result<String, Failure> {
    let mut text = String::new();
    if headings {
        text.push_str(&columns.iter().map(|(heading, _)| heading.as_str()).collect::<Vec<_>>().join("\t"));
        text.push('\n');
    }
    for item in items {
        let cell = |(_, path): &(String, Template)| {
            // An index that is not there is an empty cell, as a field is.
            let found: Vec<String> =
                path.find(item).unwrap_or_default().into_iter().map(super::jsonpath::to_text).collect();
            if found.is_empty() { "<none>".to_string() } else { found.join(",") }
        };
        text.push_str(&columns.iter().map(cell).collect::<Vec<_>>().join("\t"));
        text.push('\n');
    }
    Ok(super::tabs::align(&text, 6, 3))
}

/// `pod/web-1`, `deployment.apps/web`.
pub fn name_of(object: &Value) -> String {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    format!("{}/{name}", singular_of(text("apiVersion"), text("kind")))
}

/// `deployment.apps`, also for a kind that is not in the table of kinds.
pub fn singular_of(api_version: &str, kind: &str) -> String {
    match (kind::by_api_version_kind(api_version, kind), api_version.split_once('/')) {
        (Some(known), _) => known.singular_resource(),
        (None, Some((group, _))) => format!("{}.{group}", kind.to_ascii_lowercase()),
        (None, None) => kind.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods() -> Vec<Value> {
        let pod =
            |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "managedFields": []}});
        vec![pod("a"), pod("b")]
    }

    #[test]
    fn forms_other_than_tables() {
        let print = |format: &str, one| objects(&Output::parse(format).unwrap(), pods(), one, true).unwrap();
        assert_eq!(print("name", false), "pod/a\npod/b\n");
        assert_eq!(
            print("custom-columns=NAME:.metadata.name,IP:status.podIPs[0].ip", false),
            "NAME   IP\na      <none>\nb      <none>\n"
        );
        assert_eq!(print("jsonpath={.items[*].metadata.name}", false), "a b");
        assert!(print("yaml", false).ends_with("kind: List\nmetadata:\n  resourceVersion: \"\"\n"));
        assert!(!print("json", false).contains("managedFields"));
        let one = objects(&Output::Yaml, pods()[..1].to_vec(), true, true).unwrap();
        assert_eq!(one, "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n");
    }

    #[test]
    fn a_form_that_is_none() {
        let said = |format: &str| Output::parse(format).unwrap_err().to_string();
        assert!(said("yml").ends_with("hint: did you mean -o yaml?"));
        assert!(said("jsonpath=.metadata.name").ends_with("hint: write -o jsonpath='{.metadata.name}'"));
        assert!(said("jsonpath").contains("no template given"));
        assert!(said("custom-columns=A").contains("expected <header>:<json-path-expr>"));
    }
}
