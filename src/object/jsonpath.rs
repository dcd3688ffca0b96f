//! JSONPath templates as kubectl understands them: `{.items[*].metadata.name}`, `{range .items[*]}...{end}`,
//! `{.conditions[?(@.type=="Ready")].status}`, plain text between the braces.

use serde_json::Value;

mod parse;

/// A template that was read without error.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    /// `{PATH}`; what the paths find is joined by spaces.
    Paths(Vec<Path>),
    /// `{range PATH}...{end}`
    Range(Path, Vec<Part>),
}

#[derive(Debug, Clone, PartialEq)]
struct Path {
    /// Begins at `$`, the whole value, and not at what `range` or a filter looks at.
    from_root: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    /// `.*`, `[*]`
    All,
    /// `..`: the value and all that is in it.
    Descend,
    /// `[1]`, `[-1]`
    Index(i64),
    /// `[1:3]`, `[::2]`
    Slice(Option<i64>, Option<i64>, i64),
    /// `['a','b']`, `[0,2]`
    Any(Vec<Step>),
    /// `[?(@.a == "b")]`
    Filter(Operand, Option<(Comparison, Operand)>),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(Path),
    Value(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is wrong in a template, or cannot be found in a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonPathError(String);

impl Template {
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        parse::template(text).map(|parts| Template { parts })
    }

    /// Also takes a path without braces and without its first dot, as `--sort-by` and `custom-columns` do.
    pub fn parse_relaxed(text: &str) -> Result<Self, JsonPathError> {
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let dot = if inner.starts_with(['.', '[', '$', '@']) { "" } else { "." };
        Self::parse(&format!("{{{dot}{inner}}}"))
    }

    /// Is there anything to find, or is it all plain text?
    pub fn has_paths(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    pub fn render(&self, root: &Value) -> Result<String, JsonPathError> {
        let mut out = String::new();
        render(&self.parts, root, root, &mut out)?;
        Ok(out)
    }

    /// The values that the template's paths find.
    pub fn find<'a>(&self, root: &'a Value) -> Result<Vec<&'a Value>, JsonPathError> {
        let mut found = Vec::new();
        for part in &self.parts {
            if let Part::Paths(paths) = part {
                for path in paths {
                    found.extend(path.find(root, root)?);
                }
            }
        }
        Ok(found)
    }
}

fn render(parts: &[Part], root: &Value, current: &Value, out: &mut String) -> Result<(), JsonPathError> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Paths(paths) => {
                let mut words = Vec::new();
                for path in paths {
                    words.extend(path.find(root, current)?.into_iter().map(to_text));
                }
                out.push_str(&words.join(" "));
            }
            Part::Range(path, body) => {
                for item in path.find(root, current)? {
                    render(body, root, item, out)?;
                }
            }
        }
    }
    Ok(())
}

/// A string as it is, anything else as JSON.
pub fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

impl Path {
    fn find<'a>(&self, root: &'a Value, current: &'a Value) -> Result<Vec<&'a Value>, JsonPathError> {
        let start = if self.from_root { root } else { current };
        let mut found = vec![start];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                step.apply(root, value, &mut next)?;
            }
            found = next;
        }
        Ok(found)
    }
}

impl Step {
    /// A field that is not there finds nothing, as with kubectl's `--allow-missing-template-keys`; an index that is
    /// not there is an error, as in kubectl.
    fn apply<'a>(&self, root: &'a Value, value: &'a Value, found: &mut Vec<&'a Value>) -> Result<(), JsonPathError> {
        match self {
            Step::Field(name) => found.extend(value.get(name)),
            Step::All => found.extend(children(value)),
            Step::Descend => descend(value, found),
            Step::Any(steps) => {
                for step in steps {
                    step.apply(root, value, found)?;
                }
            }
            Step::Index(index) => {
                let Value::Array(list) = value else { return not_a_list(value) };
                match position(*index, list.len()).and_then(|at| list.get(at)) {
                    Some(item) => found.push(item),
                    None => {
                        let length = list.len();
                        return Err(JsonPathError(format!(
                            "array index out of bounds: index {index}, length {length}"
                        )));
                    }
                }
            }
            Step::Slice(from, to, step) => {
                let Value::Array(list) = value else { return not_a_list(value) };
                let bound = |at: Option<i64>, default: usize| match at {
                    None => default,
                    Some(at) => position(at, list.len()).unwrap_or(if at < 0 { 0 } else { list.len() }).min(list.len()),
                };
                let (from, to) = (bound(*from, 0), bound(*to, list.len()));
                let by = usize::try_from(*step).unwrap_or(1).max(1);
                found.extend(list.iter().take(to).skip(from).step_by(by));
            }
            Step::Filter(left, rest) => {
                for item in children(value) {
                    if passes(left, rest.as_ref(), root, item)? {
                        found.push(item);
                    }
                }
            }
        }
        Ok(())
    }
}

fn not_a_list(value: &Value) -> Result<(), JsonPathError> {
    if value.is_null() { Ok(()) } else { Err(JsonPathError(format!("{value} is not array or slice"))) }
}

/// Where a perhaps negative index points to; `None` before the beginning.
fn position(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(at) => Some(at),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn descend<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(value);
    for child in children(value) {
        descend(child, found);
    }
}

fn passes(
    left: &Operand,
    rest: Option<&(Comparison, Operand)>,
    root: &Value,
    item: &Value,
) -> Result<bool, JsonPathError> {
    let values = |operand: &Operand| -> Result<Option<Value>, JsonPathError> {
        match operand {
            Operand::Value(value) => Ok(Some(value.clone())),
            Operand::Path(path) => Ok(path.find(root, item)?.first().map(|v| (*v).clone())),
        }
    };
    let left = values(left)?;
    let Some((comparison, right)) = rest else { return Ok(left.is_some()) };
    let (Some(left), Some(right)) = (left, values(right)?) else { return Ok(false) };
    let order = match (&left, &right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    Ok(match comparison {
        Comparison::Equal => order.map_or(left == right, |o| o.is_eq()),
        Comparison::NotEqual => order.map_or(left != right, |o| o.is_ne()),
        Comparison::Less => order.is_some_and(|o| o.is_lt()),
        Comparison::LessOrEqual => order.is_some_and(|o| o.is_le()),
        Comparison::Greater => order.is_some_and(|o| o.is_gt()),
        Comparison::GreaterOrEqual => order.is_some_and(|o| o.is_ge()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn list() -> Value {
        json!({"kind": "List", "items": [
            {"metadata": {"name": "a", "annotations": {"x.io/y": "z"}}, "n": 1,
             "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Disk", "status": "False"}],
                        "loadBalancer": {"ingress": [{"ip": "192.168.1.11"}]}}},
            {"metadata": {"name": "b"}, "n": 2, "status": {"conditions": [{"type": "Ready", "status": "False"}], "loadBalancer": {}}},
        ]})
    }

    fn rendered(template: &str) -> String {
        Template::parse(template).and_then(|t| t.render(&list())).unwrap_or_else(|e| format!("error: {e}"))
    }

    #[test]
    fn what_users_ask_for() {
        for (template, expected) in [
            ("{.items[*].metadata.name}", "a b"),
            ("{.items[0].metadata.name}", "a"),
            ("{.items[-1].metadata.name}", "b"),
            ("{.items[0:1].metadata.name}", "a"),
            ("{.items[1:].n}", "2"),
            ("{$.kind}", "List"),
            ("{.kind} is{.nothing} it", "List is it"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.n}{\"\\n\"}{end}", "a\t1\nb\t2\n"),
            ("{range .items[*]}{@.metadata.name}={$.kind} {end}", "a=List b=List "),
            ("{.items[*].status.conditions[?(@.type==\"Ready\")].status}", "True False"),
            ("{.items[?(@.n>1)].metadata.name}", "b"),
            ("{.items[?(@.metadata.annotations)].metadata.name}", "a"),
            ("{.items[0].metadata.annotations.x\\.io/y}", "z"),
            ("{.items[0].metadata.annotations['x\\.io/y']}", "z"),
            ("{.items[0].metadata['name','annotations']}", "a {\"x.io/y\":\"z\"}"),
            ("{.items[0]['metadata']['name']}", "a"),
            ("{..ip}", "192.168.1.11"),
            ("{.items[1].status.loadBalancer.ingress[0].ip}", ""),
            ("{.items[0].status.loadBalancer.ingress[0].ip}", "192.168.1.11"),
            ("{.items[*]['n']}", "1 2"),
            ("{.items[*].metadata.name, .items[*].n}", "a b 1 2"),
            ("no braces", "no braces"),
        ] {
            assert_eq!(rendered(template), expected, "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(rendered("{.items[5].n}"), "error: array index out of bounds: index 5, length 2");
        assert_eq!(rendered("{.items"), "error: unclosed action");
        assert_eq!(rendered("{.items[0}"), "error: unterminated array");
        assert_eq!(rendered("{range .items[*]}x"), "error: unclosed range: {end} is missing");
        assert_eq!(rendered("{.items[?(@.n>1]}"), "error: unterminated filter");
        assert_eq!(rendered("x{end}"), "error: not in range: {end} without {range ...}");
    }

    #[test]
    fn paths_without_braces_where_kubectl_takes_them() {
        let names = Template::parse_relaxed("items[*].metadata.name").unwrap();
        assert_eq!(names.find(&list()).unwrap(), [&json!("a"), &json!("b")]);
        assert_eq!(Template::parse_relaxed("{.kind}").unwrap().find(&list()).unwrap(), [&json!("List")]);
    }
}
