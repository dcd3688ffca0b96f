//! What a schema makes of an object before it is checked: fields that it does not have go, defaults come in.

use serde_json::{Map, Value};

use super::{Additional, Schema, field};

/// What every object has, whatever its schema says.
const OWN: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Schema {
    /// Takes away the fields of an object that are not in its schema; their paths are added to `unknown`.
    pub fn prune(&self, object: &mut Map<String, Value>, unknown: &mut Vec<String>) {
        self.prune_fields(object, "", true, unknown);
    }

    fn prune_value(&self, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
        match value {
            Value::Object(fields) => self.prune_fields(fields, path, self.embedded, unknown),
            Value::Array(items) => {
                let Some(schema) = &self.items else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    schema.prune_value(item, &format!("{path}[{index}]"), unknown);
                }
            }
            _ => {}
        }
    }

    fn prune_fields(&self, fields: &mut Map<String, Value>, path: &str, is_object: bool, unknown: &mut Vec<String>) {
        fields.retain(|name, value| {
            if is_object && OWN.contains(&name.as_str()) {
                return true;
            }
            if let Some(schema) = self.properties.get(name) {
                schema.prune_value(value, &field(path, name), unknown);
                return true;
            }
            match &self.additional {
                Additional::Of(schema) => schema.prune_value(value, &field(path, name), unknown),
                Additional::Any => {}
                Additional::No if self.preserve => {}
                Additional::No => {
                    unknown.push(field(path, name));
                    return false;
                }
            }
            true
        });
    }

    /// Fills in defaults. A null where one is not allowed counts as nothing, where there is a default for it.
    pub fn apply_defaults(&self, object: &mut Map<String, Value>) {
        for (name, schema) in &self.properties {
            let missing = match object.get(name) {
                None => true,
                Some(value) => value.is_null() && !schema.nullable,
            };
            if let (true, Some(default)) = (missing, &schema.default) {
                object.insert(name.clone(), default.clone());
            }
            if let Some(value) = object.get_mut(name) {
                schema.default_value(value);
            }
        }
        if let Additional::Of(schema) = &self.additional {
            for (_, value) in object.iter_mut().filter(|(name, _)| !self.properties.contains_key(*name)) {
                if value.is_null()
                    && !schema.nullable
                    && let Some(default) = &schema.default
                {
                    *value = default.clone();
                }
                schema.default_value(value);
            }
        }
    }

    fn default_value(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => self.apply_defaults(fields),
            Value::Array(items) => {
                let Some(schema) = &self.items else { return };
                for item in items {
                    if item.is_null()
                        && !schema.nullable
                        && let Some(default) = &schema.default
                    {
                        *item = default.clone();
                    }
                    schema.default_value(item);
                }
            }
            _ => {}
        }
    }
}
