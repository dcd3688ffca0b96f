//! A field of an object with its path, and the words that rules are written with.

use serde_json::Value;

use super::error::{FieldError, Reason};

/// Where the errors of an object are gathered.
pub type Errors = Vec<FieldError>;

/// A field that may be there or not. Null is not there.
#[derive(Clone)]
pub struct Field<'a> {
    pub path: String,
    pub value: Option<&'a Value>,
}

impl<'a> Field<'a> {
    pub fn root(value: &'a Value) -> Self {
        Field { path: String::new(), value: Some(value) }
    }

    /// The field of that name in this map.
    pub fn get(&self, name: &str) -> Field<'a> {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Field { path, value: self.value.and_then(|value| value.get(name)).filter(|value| !value.is_null()) }
    }

    /// `get` after `get`: `at("template.spec")`.
    pub fn at(&self, names: &str) -> Field<'a> {
        names.split('.').fold(self.clone(), |field, name| field.get(name))
    }

    /// The items of this list; none if it is no list.
    pub fn items(&self) -> Vec<Field<'a>> {
        let list = self.value.and_then(Value::as_array).into_iter().flatten().enumerate();
        list.map(|(index, value)| Field { path: format!("{}[{index}]", self.path), value: Some(value) }).collect()
    }

    /// The names and values of this map of texts.
    pub fn texts(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let map = self.value.and_then(Value::as_object);
        map.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    pub fn is_set(&self) -> bool {
        self.value.is_some()
    }

    /// Set, and neither an empty text, an empty list nor an empty map.
    pub fn is_filled(&self) -> bool {
        match self.value {
            None => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(fields)) => !fields.is_empty(),
            Some(_) => true,
        }
    }

    /// Empty when it is not set.
    pub fn text(&self) -> &'a str {
        self.value.and_then(Value::as_str).unwrap_or("")
    }

    pub fn integer(&self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }

    pub fn is_true(&self) -> bool {
        self.value == Some(&Value::Bool(true))
    }

    // ---- errors about it ---------------------------------------------------------------------------------------

    fn error(&self, reason: Reason, detail: impl Into<String>) -> FieldError {
        FieldError::new(self.path.clone(), reason, self.value.cloned().unwrap_or_default(), detail)
    }

    pub fn required(&self, detail: &str) -> FieldError {
        self.error(Reason::Required, detail)
    }

    pub fn invalid(&self, detail: impl Into<String>) -> FieldError {
        self.error(Reason::Invalid, detail)
    }

    /// Invalid, and another value than the field's own is shown for it.
    pub fn invalid_value(&self, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
        FieldError::new(self.path.clone(), Reason::Invalid, value, detail)
    }

    pub fn forbidden(&self, detail: impl Into<String>) -> FieldError {
        self.error(Reason::Forbidden, detail)
    }

    pub fn duplicate(&self, value: impl Into<Value>) -> FieldError {
        FieldError::new(self.path.clone(), Reason::Duplicate, value, "")
    }

    pub fn not_found(&self) -> FieldError {
        self.error(Reason::NotFound, "")
    }

    pub fn too_long(&self, detail: impl Into<String>) -> FieldError {
        self.error(Reason::TooLong, detail)
    }

    // ---- rules that many fields share --------------------------------------------------------------------------

    /// One of these, if it is set. The names are given in order.
    pub fn one_of(&self, supported: &[&str], errors: &mut Errors) {
        let Some(value) = self.value else { return };
        if value.as_str().is_some_and(|text| supported.contains(&text)) {
            return;
        }
        let quoted: Vec<String> = supported.iter().map(|name| format!("\"{name}\"")).collect();
        let mut error = self.error(Reason::NotSupported, format!("supported values: {}", quoted.join(", ")));
        error.suggestion = crate::object::nearest::nearest(self.text(), supported.iter().copied())
            .map(|near| format!("try \"{near}\""));
        errors.push(error);
    }

    pub fn not_negative(&self, errors: &mut Errors) {
        if self.integer().is_some_and(|number| number < 0) {
            errors.push(self.invalid("must be greater than or equal to 0"));
        }
    }

    pub fn between(&self, least: i64, most: i64, errors: &mut Errors) {
        if self.integer().is_some_and(|number| !(least..=most).contains(&number)) {
            errors.push(self.invalid(format!("must be between {least} and {most}, inclusive")));
        }
    }

    /// A port number, if it is set.
    pub fn port(&self, errors: &mut Errors) {
        self.between(1, 65535, errors);
    }

    /// Applies one of the rules of [`super::names`], which say what is wrong with a text.
    pub fn follows(&self, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
        for message in rule(self.text()) {
            let mut error = self.invalid_value(self.text(), message);
            error.suggestion = super::names::better_name(self.text(), rule);
            errors.push(error);
        }
    }
}
