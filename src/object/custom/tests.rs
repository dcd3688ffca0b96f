use serde_json::{Value, json};

use super::*;

fn schema(spec: Value) -> Schema {
    Schema::compile(&json!({"type": "object", "properties": {"spec": spec}})).unwrap()
}

/// An object with `spec`, as the schema makes it; with what is wrong in it.
fn through(schema: &Schema, spec: Value) -> (Value, Vec<String>) {
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec});
    let fields = object.as_object_mut().unwrap();
    schema.prune(fields, &mut Vec::new());
    schema.apply_defaults(fields);
    let errors = schema.check(fields).iter().map(ToString::to_string).collect();
    (fields["spec"].clone(), errors)
}

#[test]
fn fields_are_pruned_where_the_schema_does_not_keep_them() {
    let schema = schema(json!({"type": "object", "properties": {
        "kept": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"deep": {"type": "object", "properties": {"a": {"type": "string"}}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true,
            "properties": {"spec": {"type": "object"}}}}}));
    let (spec, errors) = through(
        &schema,
        json!({"x": 1, "kept": {"x": 1, "deep": {"a": "1", "x": 1}}, "map": {"m": {"a": "1", "x": 1}},
            "list": [{"x": 1}, {"a": "2"}], "pod": {"kind": "Pod", "metadata": {"name": "p"}, "x": 1, "spec": {"x": 1}}}),
    );
    let expected = json!({"kept": {"x": 1, "deep": {"a": "1"}}, "map": {"m": {"a": "1"}}, "list": [{}, {"a": "2"}],
        "pod": {"kind": "Pod", "metadata": {"name": "p"}, "spec": {}}});
    assert_eq!((spec, errors), (expected, vec![]));
}

#[test]
fn defaults_go_down_into_what_is_there() {
    let schema = schema(json!({"type": "object", "default": {}, "properties": {
        "a": {"type": "string", "default": "A"},
        "n": {"type": "string", "nullable": true, "default": "N"},
        "inner": {"type": "object", "properties": {"b": {"type": "integer", "default": 2}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "integer", "default": 3}}}}}}));
    let (spec, errors) = through(&schema, json!({"a": null, "n": null, "inner": {}, "list": [{}, {"c": 1}]}));
    assert_eq!(spec, json!({"a": "A", "n": null, "inner": {"b": 2}, "list": [{"c": 3}, {"c": 1}]}));
    assert_eq!(errors, Vec::<String>::new());
    let mut bare = json!({"metadata": {}});
    schema.apply_defaults(bare.as_object_mut().unwrap());
    assert_eq!(bare["spec"], json!({"a": "A", "n": "N"}));
}

#[test]
fn values_are_checked_in_the_api_servers_words() {
    for (field, value, expected) in [
        (
            json!({"type": "string", "minLength": 2}),
            json!("a"),
            "Invalid value: \"a\": spec.f in body should be at least 2 chars long",
        ),
        (json!({"type": "string", "maxLength": 2}), json!("abc"), "Too long: may not be more than 2 bytes"),
        (
            json!({"type": "string", "format": "ipv4"}),
            json!("::1"),
            "Invalid value: \"::1\": spec.f in body must be of type ipv4: \"::1\"",
        ),
        (
            json!({"type": "number", "exclusiveMinimum": true, "minimum": 0}),
            json!(0),
            "Invalid value: 0: spec.f in body should be greater than 0",
        ),
        (
            json!({"type": "integer", "multipleOf": 5}),
            json!(7),
            "Invalid value: 7: spec.f in body should be a multiple of 5",
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            "Invalid value: 1.5: spec.f in body must be of type integer: \"number\"",
        ),
        (
            json!({"type": "boolean"}),
            json!(null),
            "Invalid value: \"null\": spec.f in body must be of type boolean: \"null\"",
        ),
        (
            json!({"type": "object", "minProperties": 1}),
            json!({}),
            "Invalid value: 0: spec.f in body should have at least 1 properties",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({}),
            "Invalid value: \"object\": \"spec.f\" must validate one and only one schema (oneOf). Found none valid",
        ),
        (
            json!({"type": "string", "not": {"enum": ["x"]}}),
            json!("x"),
            "Invalid value: \"x\": \"spec.f\" must not validate the schema (not)",
        ),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
            json!([{"name": "a"}, {"name": "a"}]),
            "Duplicate value: map[string]string{\"name\":\"a\"}",
        ),
    ] {
        let schema = schema(json!({"type": "object", "properties": {"f": field}}));
        let (_, errors) = through(&schema, json!({"f": value}));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].split_once(": ").unwrap().1, expected);
    }
    for (field, value) in [
        (json!({"type": "string", "nullable": true}), json!(null)),
        (json!({"type": "string", "format": "duration"}), json!("1h30m")),
        (json!({"type": "string", "format": "cidr"}), json!("10.0.0.0/8")),
        (json!({"type": "string", "format": "date-time"}), json!("2024-01-02T03:04:05Z")),
        (json!({"type": "string", "format": "of-my-own"}), json!("?")),
        (json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}), json!("80%")),
        (json!({"type": "integer"}), json!(3.0)),
    ] {
        let schema = schema(json!({"type": "object", "properties": {"f": field}}));
        assert_eq!(through(&schema, json!({"f": value})).1, Vec::<String>::new());
    }
}

#[test]
fn what_is_not_structural_is_named() {
    for (schema, path) in [
        (json!({"properties": {}}), "type"),
        (json!({"type": "object", "properties": {"a": {"type": "array"}}}), "properties[a].items"),
        (json!({"type": "object", "properties": {"a": {"type": "text"}}}), "properties[a].type"),
        (
            json!({"type": "object", "additionalProperties": {"type": "string", "pattern": "("}}),
            "additionalProperties.pattern",
        ),
        (json!({"type": "string"}), "type"),
    ] {
        assert_eq!(Schema::compile(&schema).unwrap_err().path, path, "{schema}");
    }
}

#[test]
fn versions_are_ordered_as_kubernetes_does() {
    let mut versions = ["foo10", "v1alpha1", "v3beta1", "v2", "v11beta2", "v10", "v12alpha1", "foo1", "v1", "v3beta2"];
    versions.sort_by_key(|version| version_order(version));
    let expected = ["v10", "v2", "v1", "v11beta2", "v3beta2", "v3beta1", "v12alpha1", "v1alpha1", "foo1", "foo10"];
    assert_eq!(versions, expected);
}

#[test]
fn a_kind_is_made_once() {
    let crd = |plural: &str| {
        Object::from_value(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.once.example.com")},
            "spec": {"group": "once.example.com", "scope": "Cluster", "names": {"plural": plural, "kind": "Once"},
                "versions": [{"name": "v1", "served": true, "storage": true}]}}))
        .unwrap()
    };
    let (first, again, other) = (kinds_of(&crd("onces"))[0], kinds_of(&crd("onces"))[0], kinds_of(&crd("twices"))[0]);
    assert!(std::ptr::eq(first, again) && first != other);
    assert_eq!((first.singular(), first.list_kind(), first.namespaced), ("once".into(), "OnceList".into(), false));
}
