//! What a pod is given because of its service account: the volume with its token, and the account's own settings.

use serde_json::{Map, Value, json};

use super::{Object, Snapshot, kind, map_at_mut};

/// Where a pod's containers find the token, the certificate authority and their namespace.
pub const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the names of these volumes begin with.
pub const VOLUME_PREFIX: &str = "kube-api-access-";
/// The ConfigMap of each namespace with the certificate authority.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// The account that every namespace has.
pub const DEFAULT: &str = "default";
/// An hour and a little, by which clients that expect more are recognised.
const TOKEN_SECONDS: i64 = 3607;

/// Completes a pod that has its defaults and is to be created. `suffix` makes the random end of the volume's name.
///
/// # Errors
/// In the API server's words, when the pod's account does not exist.
pub fn admit(snapshot: &Snapshot, pod: &mut Object, suffix: impl FnOnce() -> String) -> Result<(), String> {
    let namespace = pod.namespace().to_string();
    let name = pod.str_at(&["spec", "serviceAccountName"]).filter(|name| !name.is_empty()).unwrap_or(DEFAULT);
    let account = snapshot.find(&kind::SERVICE_ACCOUNT, &namespace, name);
    // The default one of a new namespace is about to be made.
    if account.is_none() && name != DEFAULT {
        return Err(format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        ));
    }
    let asks = |object: &Object, path: &[&str]| object.at(path).and_then(Value::as_bool);
    let of_account = account.and_then(|account| asks(account, &["automountServiceAccountToken"]));
    let mounts = asks(pod, &["spec", "automountServiceAccountToken"]).or(of_account).unwrap_or(true);
    let secrets = account.and_then(|account| account.at(&["imagePullSecrets"])).cloned();
    if !pod.json().get("spec").is_some_and(Value::is_object) {
        return Ok(());
    }
    let spec = map_at_mut(pod.json_mut(), "spec");
    let has_secrets = |spec: &Map<String, Value>| {
        spec.get("imagePullSecrets").and_then(Value::as_array).is_some_and(|list| !list.is_empty())
    };
    if let Some(secrets) = secrets.filter(|_| !has_secrets(spec)) {
        spec.insert("imagePullSecrets".into(), secrets);
    }
    if mounts {
        mount(spec, suffix);
    }
    Ok(())
}

/// Adds the volume, unless every container has something of its own at its place.
fn mount(spec: &mut Map<String, Value>, suffix: impl FnOnce() -> String) {
    let volumes = spec.get("volumes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names = volumes.iter().filter_map(|volume| volume.get("name")?.as_str());
    let known = names.clone().find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_string);
    let name = known.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", suffix()));
    let mut is_needed = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().all(|mount| mount.get("mountPath").and_then(Value::as_str) != Some(MOUNT_PATH)) {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
                is_needed = true;
            }
        }
    }
    if is_needed
        && known.is_none()
        && let Some(volumes) = spec.entry("volumes").or_insert_with(|| json!([])).as_array_mut()
    {
        volumes.push(volume(&name));
    }
}

fn volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    fn admitted(spec: Value, accounts: &[Value]) -> Result<Value, String> {
        let snapshot: Snapshot = accounts.iter().cloned().map(object).collect();
        let mut pod = object(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "shop"}, "spec": spec}));
        admit(&snapshot, &mut pod, || "abcde".into()).map(|()| pod.to_value()["spec"].clone())
    }

    fn account(name: &str, more: Value) -> Value {
        let mut account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": "shop"}});
        account.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        account
    }

    #[test]
    fn containers_get_the_token_unless_they_have_their_own() {
        let own = json!({"name": "mine", "mountPath": MOUNT_PATH});
        let spec = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b",
            "volumeMounts": [own]}]});
        let spec = admitted(spec, &[]).unwrap();
        let ours = json!([{"name": "kube-api-access-abcde", "readOnly": true, "mountPath": MOUNT_PATH}]);
        assert_eq!(
            (&spec["initContainers"][0]["volumeMounts"], &spec["containers"][0]["volumeMounts"]),
            (&ours, &ours)
        );
        assert_eq!(spec["containers"][1]["volumeMounts"], json!([own]));
        assert_eq!(spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
        let all_own = json!({"containers": [{"name": "b", "volumeMounts": [own]}]});
        assert_eq!(admitted(all_own.clone(), &[]).unwrap(), all_own);
        // What was admitted once is as it is to be.
        assert_eq!(admitted(spec.clone(), &[]).unwrap(), spec);
    }

    #[test]
    fn the_pod_and_then_its_account_say_whether_there_is_one() {
        let shy = [account("shy", json!({"automountServiceAccountToken": false}))];
        let has_volume = |automount: Option<bool>| {
            let mut spec = json!({"serviceAccountName": "shy", "containers": [{"name": "a"}]});
            if let Some(automount) = automount {
                spec["automountServiceAccountToken"] = automount.into();
            }
            admitted(spec, &shy).unwrap().get("volumes").is_some()
        };
        assert_eq!([has_volume(None), has_volume(Some(true)), has_volume(Some(false))], [false, true, false]);
    }

    #[test]
    fn the_account_must_be_there_and_brings_its_pull_secrets() {
        let spec = json!({"serviceAccountName": "robot", "containers": []});
        assert_eq!(
            admitted(spec.clone(), &[]).unwrap_err(),
            "error looking up service account shop/robot: serviceaccount \"robot\" not found"
        );
        let robot = [account("robot", json!({"imagePullSecrets": [{"name": "regcred"}]}))];
        assert_eq!(admitted(spec, &robot).unwrap()["imagePullSecrets"], json!([{"name": "regcred"}]));
        let own = json!({"serviceAccountName": "robot", "containers": [], "imagePullSecrets": [{"name": "own"}]});
        assert_eq!(admitted(own, &robot).unwrap()["imagePullSecrets"], json!([{"name": "own"}]));
    }
}
