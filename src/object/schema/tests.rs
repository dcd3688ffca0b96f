use super::*;

fn all() -> Schemas {
    Schemas::of(kind::ALL.iter().copied().map(Described::from).collect())
}

fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_kind_has_a_schema_and_every_reference_leads_to_one() {
    for (schemas, prefix) in [(all().into_v3(), COMPONENTS), (all().into_v2(), "#/definitions/")] {
        for kind in kind::ALL {
            let schema = &schemas[&name(kind)];
            assert_eq!(schema[GROUP_VERSION_KIND], json!([group_version_kind(kind)]), "{}", kind.kind);
            assert!(schema["description"].as_str().is_some_and(|d| !d.is_empty()), "{}", kind.kind);
            assert!(schema["properties"]["metadata"].is_object(), "{}", kind.kind);
        }
        assert_references_lead_somewhere(&schemas, prefix);
    }
}

fn assert_references_lead_somewhere(schemas: &Map<String, Value>, prefix: &str) {
    for (name, schema) in schemas {
        let mut found = Vec::new();
        references(schema, &mut found);
        for reference in found {
            let target = reference.strip_prefix(prefix).unwrap_or_else(|| panic!("{name}: {reference}"));
            assert!(schemas.contains_key(target), "{name}: {reference}");
        }
    }
}

#[test]
fn a_group_version_has_no_more_than_its_kinds_are_made_of() {
    let schemas = Schemas::of(vec![(&kind::LEASE).into()]).into_v3();
    assert!(schemas.contains_key("io.k8s.api.coordination.v1.LeaseSpec"));
    assert!(schemas.len() < 10, "{:?}", schemas.keys().collect::<Vec<_>>());
}

#[test]
fn fields_have_upstreams_form() {
    let v3 = all().into_v3();
    let at = |schema: &str, field: &str| v3[&format!("io.k8s.api.{schema}")]["properties"][field].clone();
    let template = at("apps.v1.DeploymentSpec", "template");
    assert_eq!(template["allOf"], json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodTemplateSpec"}]));
    assert!(template["description"].as_str().is_some_and(|d| d.starts_with("Template describes")));
    assert_eq!(at("apps.v1.DeploymentSpec", "replicas")["format"], "int32");
    assert_eq!(at("core.v1.PodSpec", "restartPolicy")["enum"], json!(["Always", "Never", "OnFailure"]));
    assert_eq!(at("core.v1.PersistentVolumeSpec", "accessModes")["items"]["enum"][0], "ReadOnlyMany");
    assert_eq!(v3["io.k8s.api.core.v1.PodSpec"]["required"], json!(["containers"]));
    assert!(v3["io.k8s.api.core.v1.Pod"].get("required").is_none(), "metadata can be left out");
    assert!(v3["io.k8s.api.core.v1.LocalObjectReference"].get("required").is_none());
    let either = &v3["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(either["oneOf"], json!([{"type": "integer"}, {"type": "string"}]));
    assert_eq!(v3["dev.nslab.v1alpha1.Role"]["type"], "string");
}

#[test]
fn version_two_has_only_what_its_readers_take() {
    for (name, mut schema) in all().into_v2() {
        form::each(&mut schema, &mut |schema| {
            for word in ["oneOf", "allOf", "anyOf", "nullable"] {
                assert!(!schema.contains_key(word), "{name}: {word}");
            }
            assert!(schema.get("type").is_none_or(Value::is_string), "{name}: {schema:?}");
            assert!(schema.get("type").is_none_or(|t| t != "array" || schema["items"].is_object()), "{name}");
            assert!(!(schema.contains_key("$ref") && schema.contains_key("type")), "{name}: {schema:?}");
        });
    }
    let v2 = all().into_v2();
    assert_eq!(v2["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["type"], "string");
    let template = &v2["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["template"];
    assert_eq!(template["$ref"], "#/definitions/io.k8s.api.core.v1.PodTemplateSpec");
}

/// What kubectl computes its patches by.
#[test]
fn lists_say_how_they_merge() {
    let v3 = all().into_v3();
    for (schema, field, strategy, key) in [
        ("core.v1.PodSpec", "containers", "merge", "name"),
        ("core.v1.PodSpec", "volumes", "merge,retainKeys", "name"),
        ("core.v1.PodSpec", "topologySpreadConstraints", "merge", "topologyKey"),
        ("core.v1.Container", "ports", "merge", "containerPort"),
        ("core.v1.Container", "env", "merge", "name"),
        ("core.v1.ServiceSpec", "ports", "merge", "port"),
        ("core.v1.PodStatus", "conditions", "merge", "type"),
        ("core.v1.ServiceAccount", "secrets", "merge", "name"),
        ("admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", "merge", "name"),
    ] {
        let field = &v3[&format!("io.k8s.api.{schema}")]["properties"][field];
        assert_eq!(field[PATCH_STRATEGY], strategy, "{schema}");
        assert_eq!(field[PATCH_MERGE_KEY], key, "{schema}");
    }
    let deployment = &v3["io.k8s.api.apps.v1.DeploymentSpec"]["properties"];
    assert_eq!(deployment["strategy"][PATCH_STRATEGY], "retainKeys");
    let metadata = &v3["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"];
    assert_eq!(metadata["finalizers"][PATCH_STRATEGY], "merge");
    assert_eq!(metadata["ownerReferences"][PATCH_MERGE_KEY], "uid");
    let tolerations = &v3["io.k8s.api.core.v1.PodSpec"]["properties"]["tolerations"];
    assert_eq!(tolerations.get(PATCH_STRATEGY), None, "replaced as a whole");
}

#[test]
fn a_kind_without_a_type_has_the_schema_it_brings() {
    static WIDGET: kind::Kind = kind::Kind {
        group: "example.com",
        version: "v1",
        kind: "Widget",
        plural: "widgets",
        short: &[],
        namespaced: true,
        in_all: false,
        acted_on: false,
        custom: None,
    };
    let schema = json!({"type": "object", "description": "a widget", "properties": {"spec": {"type": "object"}}});
    let schemas = Schemas::of(vec![Described { kind: &WIDGET, schema: Some(schema) }]).into_v3();
    let widget = &schemas["com.example.v1.Widget"];
    assert_eq!(widget["description"], "a widget");
    assert_eq!(widget[GROUP_VERSION_KIND][0]["kind"], "Widget");
    assert_eq!(widget["properties"]["kind"]["type"], "string");
    let metadata = &widget["properties"]["metadata"]["allOf"][0]["$ref"];
    assert_eq!(metadata, "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    assert_references_lead_somewhere(&schemas, COMPONENTS);
    for odd in [json!(true), json!(null), json!({"properties": 5}), json!({"properties": {"metadata": true}})] {
        Schemas::of(vec![Described { kind: &WIDGET, schema: Some(odd) }]).into_v2();
    }
}
