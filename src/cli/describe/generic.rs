//! Kinds without a layout of their own: their fields as they are, in words.

use serde_json::Value;

use super::page::{Page, text};

/// kubectl's layout for kinds that it knows nothing about.
pub fn any(page: &mut Page, object: &Value) {
    page.name_and_namespace(object);
    page.labels(0, object);
    page.annotations(0, object);
    page.field(0, "API Version", text(object, "/apiVersion"));
    page.field(0, "Kind", text(object, "/kind"));
    let fields = object.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind")) {
        // What stands above already.
        let skip: &[&str] =
            if name == "metadata" { &["name", "namespace", "labels", "annotations", "managedFields"] } else { &[] };
        field(page, 0, name, value, skip);
    }
}

fn field(page: &mut Page, level: usize, name: &str, value: &Value, skip: &[&str]) {
    let name = words(name);
    match value {
        Value::Object(map) => {
            page.line(level, &format!("{name}:"));
            for (name, value) in map.iter().filter(|(name, _)| !skip.contains(&name.as_str())) {
                field(page, level + 1, name, value, &[]);
            }
        }
        Value::Array(items) => {
            page.line(level, &format!("{name}:"));
            for item in items {
                match item {
                    Value::Object(map) => {
                        for (name, value) in map {
                            field(page, level + 1, name, value, &[]);
                        }
                    }
                    other => page.line(level + 1, &crate::cli::jsonpath::to_text(other)),
                }
            }
        }
        other => page.field(level, &name, crate::cli::jsonpath::to_text(other).replace('\n', "\\n")),
    }
}

/// `Resource Version` of `resourceVersion`. What is no field's name (`index.html`) stays as it is.
fn words(name: &str) -> String {
    if !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return name.to_string();
    }
    if ["api", "uid", "url"].contains(&name) {
        return name.to_ascii_uppercase();
    }
    let mut words = String::new();
    let mut before_lower = false;
    for (at, c) in name.chars().enumerate() {
        if at == 0 {
            words.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && before_lower {
                words.push(' ');
            }
            words.push(c);
        }
        before_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    words
}

pub fn namespace(page: &mut Page, object: &Value) {
    page.field(0, "Name", text(object, "/metadata/name"));
    page.labels(0, object);
    page.annotations(0, object);
    page.field(0, "Status", text(object, "/status/phase"));
    page.blank();
    page.line(0, "No resource quota.");
    page.blank();
    page.line(0, "No LimitRange resource.");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_in_words() {
        for (name, expected) in [
            ("resourceVersion", "Resource Version"),
            ("uid", "UID"),
            ("clusterIPs", "Cluster IPs"),
            ("index.html", "index.html"),
        ] {
            assert_eq!(words(name), expected);
        }
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b", "uid": "u"}, "data": {"k": "v"}});
        let mut page = Page::default();
        any(&mut page, &object);
        assert_eq!(
            page.text(),
            "Name:         a\nNamespace:    b\nLabels:       <none>\nAnnotations:  <none>\nAPI Version:  v1\nKind:         ConfigMap\n\
             Data:\n  K:  v\nMetadata:\n  UID:  u\n"
        );
    }
}
