//! What volumes, claims and the kinds that are only data must be.

use super::field::{Errors, Field};
use super::quantity::Quantity;
use super::{names, pod};

const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The fields of a volume's spec that may change: all but `volumeMode` and those that say where the volume is kept.
pub const MAY_CHANGE: [&str; 8] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
];

pub fn persistent_volume(root: &Field, errors: &mut Errors) {
    let spec = root.get("spec");
    access_modes(&spec.get("accessModes"), "", errors);
    let capacity = spec.get("capacity");
    if !capacity.is_filled() {
        errors.push(capacity.required(""));
    }
    storage(&capacity.get("storage"), errors);
    let fields = spec.value.and_then(|value| value.as_object());
    let names = fields.into_iter().flat_map(|fields| fields.keys());
    let sources = names.filter(|field| *field != "volumeMode" && !MAY_CHANGE.contains(&field.as_str()));
    let sources: Vec<Field> = sources.map(|field| spec.get(field)).filter(Field::is_set).collect();
    if sources.is_empty() {
        errors.push(spec.required("must specify a volume type"));
    }
    errors.extend(sources.iter().skip(1).map(|source| source.forbidden("may not specify more than 1 volume type")));
    pod::host_path(&spec.get("hostPath"), errors);
    spec.get("persistentVolumeReclaimPolicy").one_of(&["Delete", "Recycle", "Retain"], errors);
    spec.get("volumeMode").one_of(&["Block", "Filesystem"], errors);
}

/// The spec of a claim, by itself or in a StatefulSet's `volumeClaimTemplates`.
pub fn persistent_volume_claim(spec: &Field, errors: &mut Errors) {
    access_modes(&spec.get("accessModes"), "at least 1 access mode is required", errors);
    let requests = spec.at("resources.requests");
    let size = requests.get("storage");
    if size.is_set() {
        storage(&size, errors);
    } else {
        let mut error = spec.get("resources").required("");
        error.path.push_str("[storage]");
        errors.push(error);
    }
    spec.get("volumeMode").one_of(&["Block", "Filesystem"], errors);
    names::label_selector(&spec.get("selector"), errors);
}

fn access_modes(modes: &Field, detail: &str, errors: &mut Errors) {
    if !modes.is_filled() {
        errors.push(modes.required(detail));
    }
    for mode in modes.items() {
        mode.one_of(ACCESS_MODES, errors);
    }
}

/// A size above 0.
fn storage(size: &Field, errors: &mut Errors) {
    let before = errors.len();
    pod::quantity(size, errors);
    if errors.len() == before && size.value.and_then(Quantity::of) == Some(Quantity::ZERO) {
        errors.push(size.invalid("must be greater than zero"));
    }
}

/// The keys of a ConfigMap or a Secret.
pub fn keys(root: &Field, errors: &mut Errors) {
    for map in ["data", "binaryData"] {
        let map = root.get(map);
        for key in map.value.and_then(|value| value.as_object()).into_iter().flat_map(|fields| fields.keys()) {
            for message in names::config_key(key) {
                let mut error = map.invalid_value(key.as_str(), message);
                error.path = format!("{}[{key}]", map.path);
                errors.push(error);
            }
        }
    }
}
