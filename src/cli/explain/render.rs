//! A schema as text, as `kubectl explain` writes it.

use serde_json::Value;

use super::wrap::{indent, wrap};

/// How wide descriptions are, with what they are indented by.
const WIDTH: usize = 80;
/// As many of a field's values as a list of fields shows.
const FEW_VALUES: usize = 4;

pub struct Page<'d> {
    /// With the schemas that references lead to.
    pub document: &'d Value,
    pub recursive: bool,
    /// 0: no limit.
    pub max_depth: usize,
}

/// Where a path of fields leads.
pub enum Reached<'d> {
    Text(String),
    /// Nowhere: the field that does not exist, and those that do.
    Nothing {
        field: String,
        there: Vec<&'d str>,
    },
}

impl<'d> Page<'d> {
    /// Explains what is at a path below a schema.
    pub fn explain(&self, schema: &'d Value, path: &[&str]) -> Reached<'d> {
        let (mut at, mut heading) = (schema, String::new());
        for (index, name) in path.iter().enumerate() {
            let Some(field) = self.field(at, name) else {
                let mut there = Vec::new();
                self.each_name(at, &mut |name| there.push(name));
                return Reached::Nothing { field: name.to_string(), there };
            };
            if index + 1 == path.len() {
                heading = format!("FIELD: {name} <{}>\n{}\n\n", self.type_of(field), values_in_full(field));
            }
            at = field;
        }
        let mut description = String::new();
        self.describe(at, &mut description);
        let description = if description.is_empty() { "<empty>" } else { &description };
        let mut text = format!("{heading}DESCRIPTION:\n{}\n", indent(&wrap(description, WIDTH - 4), 4));
        let mut fields = String::new();
        self.list(at, 1, &mut Vec::new(), &mut fields);
        if !fields.is_empty() {
            text.push_str("FIELDS:\n");
            text.push_str(&fields);
        }
        Reached::Text(text)
    }

    fn resolved(&self, schema: &'d Value) -> &'d Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/components/schemas/"));
        let target = name.and_then(|name| self.document.get("components")?.get("schemas")?.get(name));
        target.unwrap_or(schema)
    }

    /// What a schema is made of beside its own fields: of a list its items, of a map its values.
    fn within(&self, schema: &'d Value) -> Vec<&'d Value> {
        let mut within: Vec<&Value> = schema.get("allOf").and_then(Value::as_array).into_iter().flatten().collect();
        within.extend(schema.get("items"));
        within.extend(schema.get("additionalProperties").filter(|values| values.is_object()));
        within
    }

    fn field(&self, schema: &'d Value, name: &str) -> Option<&'d Value> {
        let schema = self.resolved(schema);
        let own = schema.get("properties").and_then(|properties| properties.get(name));
        own.or_else(|| self.within(schema).into_iter().find_map(|within| self.field(within, name)))
    }

    fn each_name(&self, schema: &'d Value, see: &mut dyn FnMut(&'d str)) {
        let schema = self.resolved(schema);
        fields(schema).for_each(|(name, _, _)| see(name));
        self.within(schema).into_iter().for_each(|within| self.each_name(within, see));
    }

    /// The descriptions of a schema and of what it is made of, a line each.
    fn describe(&self, schema: &'d Value, text: &mut String) {
        let schema = self.resolved(schema);
        if let Some(description) = schema.get("description").and_then(Value::as_str).filter(|d| !d.is_empty()) {
            text.push_str(description);
            text.push('\n');
        }
        self.within(schema).into_iter().for_each(|within| self.describe(within, text));
    }

    /// Lists the fields of a schema. `above` are the references that led here, which are not followed again.
    fn list(&self, schema: &'d Value, level: usize, above: &mut Vec<&'d str>, text: &mut String) {
        let reference = schema.get("$ref").and_then(Value::as_str);
        if reference.is_some_and(|reference| above.contains(&reference)) {
            return;
        }
        above.extend(reference);
        let schema = self.resolved(schema);
        for (name, field, required) in fields(schema) {
            text.push_str(&self.line(name, field, required, level));
            if !self.recursive {
                text.push_str(&paragraph(field, level));
            } else if self.max_depth == 0 || level < self.max_depth {
                self.list(field, level + 1, above, text);
            }
        }
        for within in self.within(schema) {
            self.list(within, level, above, text);
        }
        if reference.is_some() {
            above.pop();
        }
    }

    fn line(&self, name: &str, field: &'d Value, required: bool, level: usize) -> String {
        let pad = " ".repeat(2 * level);
        let required = if required { " -required-" } else { "" };
        let mut line = format!("{pad}{name}\t<{}>{required}", self.type_of(field));
        let values = values(field);
        if !values.is_empty() {
            let more = if values.len() > FEW_VALUES { ", ...." } else { "" };
            let shown: Vec<String> = values.into_iter().take(FEW_VALUES).collect();
            line.push_str(&format!("\n{pad}enum: {}{more}", shown.join(", ")));
        }
        line.push('\n');
        line
    }

    /// `string`, `[]Container`, `map[string]string`, `Object`.
    fn type_of(&self, schema: &'d Value) -> String {
        if let Some(items) = schema.get("items") {
            return format!("[]{}", self.type_of(items));
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            return format!("map[string]{}", self.type_of(values));
        }
        if let Some([only]) = schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice)
            && schema.get("properties").is_none()
        {
            return self.type_of(only);
        }
        let simple = |schema: &Value| match schema.get("type").and_then(Value::as_str) {
            None | Some("object") => None,
            Some(simple) => Some(simple.to_string()),
        };
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => simple(self.resolved(schema))
                .unwrap_or_else(|| reference.rsplit(['.', '/']).next().unwrap_or("Object").to_string()),
            None => simple(schema).unwrap_or_else(|| "Object".to_string()),
        }
    }
}

/// A schema's own fields: their names and schemas, and whether they are required.
fn fields(schema: &Value) -> impl Iterator<Item = (&str, &Value, bool)> {
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = move |name: &String| required.is_some_and(|required| required.iter().any(|r| r == name));
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.map(move |(name, field)| (name.as_str(), field, is_required(name)))
}

/// The description of a field in a list of fields.
fn paragraph(field: &Value, level: usize) -> String {
    let description = field.get("description").and_then(Value::as_str).filter(|d| !d.is_empty());
    let wrapped = wrap(description.unwrap_or("<no description>"), WIDTH - 2 - 2 * level);
    format!("{}\n\n", indent(&wrapped, 2 * level + 2))
}

fn values_in_full(field: &Value) -> String {
    let values = values(field);
    if values.is_empty() {
        return String::new();
    }
    format!("ENUM:\n    {}", values.join("\n    "))
}

fn values(field: &Value) -> Vec<String> {
    let shown = |value: &Value| match value.as_str() {
        Some("") => "\"\"".to_string(),
        Some(text) => text.to_string(),
        None => value.to_string(),
    };
    field.get("enum").and_then(Value::as_array).into_iter().flatten().map(shown).collect()
}
