//! `lab kubeconfig`: what another client, such as kubectl, needs to reach the lab.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value, json};

use super::{Context, Failure, print, yaml_out};
use crate::layout::{ADMIN_CERT, ADMIN_KEY, CA_CERT, Layout};
use crate::manifest;
use crate::object::kind;
use crate::object::lab::in_url;

/// Print a kubeconfig for kubectl and other clients, or merge it into yours
///
/// The lab's context is called nslab-NAME. It holds the administrator's key: keep it to yourself.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// Add the context to ~/.kube/config, or to the file that $KUBECONFIG names, and make it the current one
    #[arg(long)]
    merge: bool,
}

pub async fn run(args: &KubeconfigArgs, cx: &Context) -> Result<(), Failure> {
    let lab = cx.client.lab();
    let endpoints = cx.client.get(&kind::ENDPOINTS, "default", "kubernetes").await?;
    let text = |at: &str| endpoints.pointer(at).map(super::jsonpath::to_text).unwrap_or_default();
    let (address, port) = (text("/subsets/0/addresses/0/ip"), text("/subsets/0/ports/0/port"));
    let layout = Layout::new(lab);
    let credential = |name: &str| {
        let path = layout.pki().join(name);
        fs::read(&path).map(|bytes| STANDARD.encode(bytes)).map_err(|error| {
            let failure = Failure::error(format!("read {}: {error}", path.display()));
            if error.kind() == io::ErrorKind::PermissionDenied { failure.hint("run it with sudo") } else { failure }
        })
    };
    let context = LabContext {
        name: format!("nslab-{lab}"),
        server: format!("https://{}:{port}", in_url(&address)),
        authority: credential(CA_CERT)?,
        certificate: credential(ADMIN_CERT)?,
        key: credential(ADMIN_KEY)?,
    };
    if !args.merge {
        return print(&yaml_out::to_yaml(&merged(json!({}), &context)));
    }
    let path = file_of(std::env::var("KUBECONFIG").ok().as_deref(), std::env::var_os("HOME").map(PathBuf::from))?;
    merge_into(&path, &context)?;
    print(&format!("The context \"{}\" is the current one in {}.\n", context.name, path.display()))
}

struct LabContext {
    name: String,
    server: String,
    /// These three as base64 of PEM.
    authority: String,
    certificate: String,
    key: String,
}

/// The file that kubectl would write to: of a list in `$KUBECONFIG` the first that is there, else the last.
pub fn file_of(variable: Option<&str>, home: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let listed: Vec<PathBuf> =
        variable.unwrap_or_default().split(':').filter(|p| !p.is_empty()).map(PathBuf::from).collect();
    let existing = listed.iter().find(|path| path.exists()).or(listed.last()).cloned();
    match (existing, home) {
        (Some(path), _) => Ok(path),
        (None, Some(home)) => Ok(home.join(".kube/config")),
        (None, None) => Err(Failure::error("neither $KUBECONFIG nor $HOME says where the kubeconfig is")),
    }
}

/// The kubeconfig `config` with the lab's context, which becomes the current one; all else stays as it is.
fn merged(config: Value, lab: &LabContext) -> Value {
    let mut config = match config {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    for (name, value) in [("apiVersion", "v1"), ("kind", "Config")] {
        config.entry(name).or_insert_with(|| value.into());
    }
    let cluster = json!({"server": lab.server, "certificate-authority-data": lab.authority});
    let user = json!({"client-certificate-data": lab.certificate, "client-key-data": lab.key});
    let mut context = json!({"cluster": lab.name, "user": lab.name});
    // The namespace that was chosen for it (kubectl config set-context --namespace) is the user's.
    let before = config.get("contexts").and_then(|list| named(list, &lab.name));
    if let Some(namespace) = before.and_then(|entry| entry.pointer("/context/namespace")) {
        context["namespace"] = namespace.clone();
    }
    for (list, field, value) in
        [("clusters", "cluster", cluster), ("users", "user", user), ("contexts", "context", context)]
    {
        let entry = json!({"name": lab.name, field: value});
        match config.entry(list).or_insert_with(|| json!([])) {
            Value::Array(entries) => match entries.iter_mut().find(|e| e["name"] == lab.name.as_str()) {
                Some(old) => *old = entry,
                None => entries.push(entry),
            },
            // kubectl writes `clusters: null` when there are none.
            other => *other = json!([entry]),
        }
    }
    config.insert("current-context".into(), lab.name.as_str().into());
    Value::Object(config)
}

fn named<'v>(list: &'v Value, name: &str) -> Option<&'v Value> {
    list.as_array()?.iter().find(|entry| entry["name"] == name)
}

fn merge_into(path: &Path, lab: &LabContext) -> Result<(), Failure> {
    // A link stays a link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let failed = |doing: &'static str| {
        let path = path.display().to_string();
        move |error: io::Error| Failure::error(format!("{doing} {path}: {error}"))
    };
    let config = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => json!({}),
        read => {
            let bytes = read.map_err(failed("read"))?;
            let name = path.display().to_string();
            manifest::read_value(&name, &bytes).map_err(|problem| Failure::error(problem.to_string()))?
        }
    };
    if !matches!(config, Value::Object(_) | Value::Null) {
        return Err(Failure::error(format!("{} is no kubeconfig, and was not changed", path.display())));
    }
    let text = yaml_out::to_yaml(&merged(config, lab));
    write_whole(&path, &text).map_err(failed("write"))
}

/// Replaces a file with one that only its owner may read. It belongs to whom it belonged before, or to whom the
/// directory belongs: under sudo that is mostly not the one who writes.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(parent)?;
        if let Some(above) = parent.parent().and_then(|above| above.metadata().ok()) {
            chown(parent, Some(above.uid()), Some(above.gid()))?;
        }
    }
    let owner = path.metadata().or_else(|_| parent.metadata())?;
    let mut aside = path.as_os_str().to_os_string();
    aside.push(format!(".{}.new", std::process::id()));
    let aside = PathBuf::from(aside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| chown(&aside, Some(owner.uid()), Some(owner.gid())))
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // It may hold a key.
        let _ = fs::remove_file(&aside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn lab(server: &str) -> LabContext {
        LabContext {
            name: "nslab-lab".into(),
            server: server.into(),
            authority: "Q0E=".into(),
            certificate: "Q0VSVA==".into(),
            key: "S0VZ".into(),
        }
    }

    const FOREIGN: &str = "\
apiVersion: v1
kind: Config
preferences: {}
clusters:
- name: prod
  cluster: {server: \"https://prod.example:6443\", insecure-skip-tls-verify: true}
contexts:
- context: {cluster: prod, user: me, namespace: shop}
  name: prod
current-context: prod
users:
- name: me
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: login, args: ['0644', \"1e3\"]}
";

    #[test]
    fn what_others_have_in_the_file_stays() {
        let dir = std::env::temp_dir().join(format!("nslab-kubeconfig-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let path = dir.join("new/config");
        merge_into(&path, &lab("https://one:6443")).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

        fs::write(&path, FOREIGN).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let before = manifest::read_value("f", FOREIGN.as_bytes()).unwrap();
        merge_into(&path, &lab("https://one:6443")).unwrap();
        merge_into(&path, &lab("https://two:6443")).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let after = manifest::read_value("f", &fs::read(&path).unwrap()).unwrap();
        for list in ["clusters", "contexts", "users"] {
            assert_eq!(after[list][0], before[list][0], "{list}");
            assert_eq!(after[list][1]["name"], "nslab-lab");
            assert_eq!(after[list].as_array().unwrap().len(), 2);
        }
        assert_eq!(after["preferences"], json!({}));
        assert_eq!(after["current-context"], "nslab-lab");
        assert_eq!(after["clusters"][1]["cluster"]["server"], "https://two:6443");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        fs::write(&path, "- a list\n").unwrap();
        assert!(merge_into(&path, &lab("https://two:6443")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "- a list\n");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_namespace_that_was_chosen_stays_and_nulls_are_filled() {
        let before = json!({"clusters": null, "users": null, "contexts": [
            {"name": "nslab-lab", "context": {"cluster": "old", "user": "old", "namespace": "shop"}}]});
        let after = merged(before, &lab("https://one:6443"));
        assert_eq!(
            after["contexts"],
            json!([{"name": "nslab-lab", "context": {"cluster": "nslab-lab", "user": "nslab-lab", "namespace": "shop"}}])
        );
        assert_eq!(after["users"][0]["user"]["client-key-data"], "S0VZ");
    }

    #[test]
    fn the_file_is_the_one_that_kubectl_would_write() {
        let home = || Some(PathBuf::from("/home/ann"));
        assert_eq!(file_of(None, home()).unwrap(), Path::new("/home/ann/.kube/config"));
        assert_eq!(file_of(Some(""), home()).unwrap(), Path::new("/home/ann/.kube/config"));
        assert_eq!(file_of(Some("/no/a:/no/b"), home()).unwrap(), Path::new("/no/b"));
        let there = std::env::current_exe().unwrap();
        assert_eq!(file_of(Some(&format!("/no/a:{}:/no/b", there.display())), home()).unwrap(), there);
        assert!(file_of(None, None).is_err());
    }
}
