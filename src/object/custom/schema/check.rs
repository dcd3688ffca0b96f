//! Holding an object against its schema; the messages are the API server's.

use serde_json::{Map, Value};

use super::{Additional, Checks, ListType, Schema, Type, field, format};
use crate::object::validate::{FieldError, Reason};

/// An object with more that is wrong is not the one that was meant; the rest is not looked for.
const MOST: usize = 50;

type Errors = Vec<FieldError>;

impl Schema {
    /// Everything about an object that is not as its schema asks for.
    pub fn check(&self, object: &Map<String, Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        self.checks.of_object(object, "", &mut errors);
        self.check_fields(object, "", true, &mut errors);
        self.checks.logic(&Value::Object(object.clone()), "", &mut errors);
        errors.truncate(MOST);
        errors
    }

    fn check_value(&self, value: &Value, path: &str, errors: &mut Errors) {
        if errors.len() >= MOST || (value.is_null() && self.nullable) {
            return;
        }
        let fits = match (self.int_or_string, self.type_) {
            (true, _) => Type::Integer.has(value) || value.is_string(),
            (false, Some(type_)) => type_.has(value),
            (false, None) => true,
        };
        if !fits {
            let wanted = if self.int_or_string { "integer,string" } else { self.type_.map_or("", Type::name) };
            let detail = format!("{path} in body must be of type {wanted}: {}", shown_type(value));
            errors.push(FieldError::new(path, Reason::Invalid, shown(value), detail));
            return;
        }
        match value {
            Value::Object(fields) => {
                self.checks.of_object(fields, path, errors);
                self.check_fields(fields, path, self.embedded, errors);
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(schema) = &self.items {
                        schema.check_value(item, &format!("{path}[{index}]"), errors);
                    }
                }
                self.checks.of_array(items, path, errors);
                self.check_list(items, path, errors);
            }
            Value::String(text) => self.checks.of_string(text, path, errors),
            Value::Number(number) => self.checks.of_number(number.as_f64().unwrap_or(0.0), value, path, errors),
            _ => {}
        }
        self.checks.values(value, path, errors);
        self.checks.logic(value, path, errors);
    }

    fn check_fields(&self, fields: &Map<String, Value>, path: &str, is_object: bool, errors: &mut Errors) {
        for (name, value) in fields {
            let at = field(path, name);
            if is_object && name == "metadata" && path.is_empty() {
                // Held against the type of all metadata; a schema may only bind the name.
                let Some(Schema { properties, .. }) = self.properties.get(name) else { continue };
                for (name, schema) in
                    properties.iter().filter(|(name, _)| matches!(name.as_str(), "name" | "generateName"))
                {
                    if let Some(value) = value.get(name) {
                        schema.check_value(value, &field(&at, name), errors);
                    }
                }
                continue;
            }
            match (self.properties.get(name), &self.additional) {
                (Some(schema), _) => schema.check_value(value, &at, errors),
                (None, Additional::Of(schema)) => schema.check_value(value, &at, errors),
                (None, _) => {}
            }
        }
    }

    fn check_list(&self, items: &[Value], path: &str, errors: &mut Errors) {
        let key = |item: &Value| -> Value {
            match &self.list {
                ListType::Map(keys) => {
                    let of = |key: &String| Some((key.clone(), item.get(key)?.clone()));
                    Value::Object(keys.iter().filter_map(of).collect())
                }
                _ => item.clone(),
            }
        };
        if self.list == ListType::Atomic {
            return;
        }
        let mut seen = std::collections::HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let key = key(item);
            if !seen.insert(key.to_string()) {
                errors.push(FieldError::new(format!("{path}[{index}]"), Reason::Duplicate, key, ""));
            }
        }
    }

    /// Is the value as this part of an `allOf`, `anyOf`, `oneOf` or `not` asks for?
    fn accepts(&self, value: &Value, path: &str) -> bool {
        let mut errors = Vec::new();
        self.check_value(value, path, &mut errors);
        errors.is_empty()
    }
}

impl Checks {
    fn values(&self, value: &Value, path: &str, errors: &mut Errors) {
        let is = |one: &Value| one == value || (one.is_number() && one.as_f64() == value.as_f64());
        if !self.one_of_values.is_empty() && !self.one_of_values.iter().any(is) {
            let all: Vec<String> = self.one_of_values.iter().map(quoted).collect();
            let detail = format!("supported values: {}", all.join(", "));
            errors.push(FieldError::new(path, Reason::NotSupported, value.clone(), detail));
        }
    }

    fn of_object(&self, fields: &Map<String, Value>, path: &str, errors: &mut Errors) {
        for name in self.required.iter().filter(|name| !fields.contains_key(*name)) {
            errors.push(FieldError::new(field(path, name), Reason::Required, Value::Null, ""));
        }
        self.count(fields.len(), "properties", (self.min_properties, self.max_properties), path, errors);
    }

    fn of_array(&self, items: &[Value], path: &str, errors: &mut Errors) {
        self.count(items.len(), "items", (self.min_items, self.max_items), path, errors);
        let repeats = |(index, item): (usize, &Value)| items.iter().take(index).any(|before| before == item);
        if self.unique_items && items.iter().enumerate().any(repeats) {
            let detail = format!("{path} in body shouldn't contain duplicates");
            errors.push(FieldError::new(path, Reason::Invalid, items.len(), detail));
        }
    }

    fn count(&self, is: usize, what: &str, (least, most): (Option<u64>, Option<u64>), path: &str, errors: &mut Errors) {
        let is = is as u64;
        if let Some(least) = least.filter(|least| is < *least) {
            let detail = format!("{path} in body should have at least {least} {what}");
            errors.push(FieldError::new(path, Reason::Invalid, is, detail));
        }
        if let Some(most) = most.filter(|most| is > *most) {
            errors.push(FieldError::new(path, Reason::TooMany, is, format!("must have at most {most} {what}")));
        }
    }

    fn of_string(&self, text: &str, path: &str, errors: &mut Errors) {
        let length = text.chars().count() as u64;
        if let Some(least) = self.min_length.filter(|least| length < *least) {
            let detail = format!("{path} in body should be at least {least} chars long");
            errors.push(FieldError::new(path, Reason::Invalid, text, detail));
        }
        if let Some(most) = self.max_length.filter(|most| length > *most) {
            errors.push(FieldError::new(path, Reason::TooLong, text, format!("may not be more than {most} bytes")));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            let detail = format!("{path} in body should match '{}'", pattern.as_str());
            errors.push(FieldError::new(path, Reason::Invalid, text, detail));
        }
        if let Some(format) = self.format.as_deref().filter(|format| !format::has(format, text)) {
            let detail = format!("{path} in body must be of type {format}: \"{text}\"");
            errors.push(FieldError::new(path, Reason::Invalid, text, detail));
        }
    }

    fn of_number(&self, number: f64, value: &Value, path: &str, errors: &mut Errors) {
        let mut wrong = |what: String| {
            let detail = format!("{path} in body should be {what}");
            errors.push(FieldError::new(path, Reason::Invalid, value.clone(), detail));
        };
        match (&self.minimum, self.exclusive_minimum) {
            (Some((least, shown)), false) if number < *least => wrong(format!("greater than or equal to {shown}")),
            (Some((least, shown)), true) if number <= *least => wrong(format!("greater than {shown}")),
            _ => {}
        }
        match (&self.maximum, self.exclusive_maximum) {
            (Some((most, shown)), false) if number > *most => wrong(format!("less than or equal to {shown}")),
            (Some((most, shown)), true) if number >= *most => wrong(format!("less than {shown}")),
            _ => {}
        }
        if let Some((step, shown)) = &self.multiple_of
            && (number / step).fract() != 0.0
        {
            wrong(format!("a multiple of {shown}"));
        }
        let range = match self.format.as_deref() {
            Some("int32") => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
            Some("uint32") => Some((0.0, f64::from(u32::MAX))),
            _ => None,
        };
        if let (Some((least, most)), Some(format)) = (range, self.format.as_deref())
            && !(least..=most).contains(&number)
        {
            let detail = format!("{path} in body must be of type {format}: \"{value}\"");
            errors.push(FieldError::new(path, Reason::Invalid, value.clone(), detail));
        }
    }

    fn logic(&self, value: &Value, path: &str, errors: &mut Errors) {
        for part in &self.all_of {
            part.check_value(value, path, errors);
        }
        let mut wrong = |what: &str| {
            let shown_path = if path.is_empty() { "<nil>" } else { path };
            errors.push(FieldError::new(shown_path, Reason::Invalid, shown(value), format!("\"{path}\" {what}")));
        };
        if !self.any_of.is_empty() && !self.any_of.iter().any(|part| part.accepts(value, path)) {
            wrong("must validate at least one schema (anyOf)");
        }
        if !self.one_of.is_empty() {
            match self.one_of.iter().filter(|part| part.accepts(value, path)).count() {
                1 => {}
                0 => wrong("must validate one and only one schema (oneOf). Found none valid"),
                n => wrong(&format!("must validate one and only one schema (oneOf). Found {n} valid alternatives")),
            }
        }
        if self.not.as_ref().is_some_and(|part| part.accepts(value, path)) {
            wrong("must not validate the schema (not)");
        }
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        other => format!("\"{other}\""),
    }
}

/// A value as these messages show it: composed ones by their type's name only.
fn shown(value: &Value) -> Value {
    match value {
        Value::Object(_) => "object".into(),
        Value::Array(_) => "array".into(),
        Value::Null => "null".into(),
        other => other.clone(),
    }
}

/// The type of a value that is of the wrong one.
fn shown_type(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "\"object\"",
        Value::Array(_) => "\"array\"",
        Value::Null => "\"null\"",
        Value::Bool(_) => "\"boolean\"",
        Value::String(_) => "\"string\"",
        Value::Number(number) if number.is_f64() => "\"number\"",
        Value::Number(_) => "\"integer\"",
    }
}
