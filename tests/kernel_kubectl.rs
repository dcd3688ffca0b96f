//! Kubernetes' own kubectl as a client of the lab. `KUBECTL` says where it is; `scripts/test` runs this with each one that
//! `scripts/clients` brings.

mod lab_rig;
mod transcript;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab_rig::{Lab, Out};
use transcript::{Shell, play};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Every file of tests/kubectl, each in a lab of its own.
#[test]
fn kubectl_prints_what_it_prints_in_a_cluster() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(Path::new(REPOSITORY).join("tests/kubectl")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    // TRANSCRIPT names one of them, for who works on it.
    let wanted = std::env::var("TRANSCRIPT").unwrap_or_default();
    for file in files.into_iter().filter(|file| file.to_string_lossy().contains(&wanted)) {
        let lab = Lab::up(&[]);
        play(&file, &shell(&lab));
        lab.down();
    }
}

/// A home with the lab's kubeconfig, an empty working directory, and Kubernetes' own kubectl as `kubectl`.
fn shell(lab: &Lab) -> Shell {
    let home = PathBuf::from("/run/home-of-a-test");
    let _ = fs::remove_dir_all(&home);
    let (bin, work, kube) = (home.join("bin"), home.join("work"), home.join(".kube"));
    for directory in [&bin, &work, &kube] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write(kube.join("config"), lab.lab("kubeconfig").ok().stdout).unwrap();
    symlink(program(), bin.join("kubectl")).unwrap();
    symlink(env!("CARGO_BIN_EXE_lab"), bin.join("lab")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let variables = [("PATH", path), ("HOME", home.display().to_string()), ("REPOSITORY", REPOSITORY.to_string())];
    Shell { directory: work, variables: variables.map(|(name, value)| (name.to_string(), value)).into() }
}

const CONFIG: &str = "/run/kubeconfig-of-a-test";
/// What `kubectl edit` changes.
const EDITOR: &str = "sed -i 's/ port: 80$/ port: 8080/'";

/// Writes the file that kubectl reads.
fn configure(lab: &Lab) -> Out {
    let printed = lab.lab("kubeconfig").ok();
    std::fs::write(CONFIG, &printed.stdout).unwrap();
    printed
}

/// Kubernetes' own kubectl, and not this program under its name. It tells the server its file's name, which is to be
/// `kubectl` for any of them.
fn program() -> PathBuf {
    let link = PathBuf::from("/run/kubernetes-of-a-test/kubectl");
    let kubectl = std::env::var("KUBECTL").unwrap_or_else(|_| "/usr/bin/kubectl".to_string());
    let kubectl = fs::canonicalize(kubectl).expect("KUBECTL says where Kubernetes' kubectl is");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    match symlink(kubectl, &link) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => panic!("{}: {error}", link.display()),
        _ => link,
    }
}

fn kubectl(args: &[&str]) -> Out {
    // What kubectl keeps of the API is of no lab but this.
    let cache = ["--kubeconfig", CONFIG, "--cache-dir", "/run/kubectl-cache"];
    let out = Command::new(program()).args(cache).args(args).env("KUBE_EDITOR", EDITOR).output();
    let out = out.expect("run Kubernetes' kubectl");
    Out {
        what: format!("kubectl {}", args.join(" ")),
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

#[test]
fn a_kubeconfig_is_all_that_kubectl_needs() {
    let lab = Lab::up(&["labs/nodeport"]);
    configure(&lab).has("server: https://192.168.1.10:6443").has("current-context: nslab-lab");
    kubectl(&["get", "pods"]).ok().matches_line(&["np-pods-", "1/1", "Running"]);
    kubectl(&["auth", "whoami"]).ok().matches_line(&["Username", "kubernetes-admin"]);
    kubectl(&["exec", "deploy/np-pods", "--", "hostname"]).ok().has("np-pods-");
    // What kubectl makes itself comes in protobuf.
    kubectl(&["create", "deployment", "web", "--image=nginx", "--replicas=2"]).ok();
    kubectl(&["rollout", "status", "deployment/web", "--timeout=10s"]).ok().has("successfully rolled out");
    kubectl(&["create", "deployment", "none", "--image=nginx", "--replicas=0"]).ok();
    kubectl(&["get", "deployment", "none", "-o", "jsonpath={.spec.replicas}"]).ok().is("0");
    kubectl(&["run", "once", "--image=busybox", "-i", "--rm", "--restart=Never", "--", "echo", "hello"])
        .ok()
        .has("hello");
    for change in [&["cordon", "w3-k8s"][..], &["uncordon", "w3-k8s"], &["taint", "nodes", "w3-k8s", "a=b:NoSchedule"]]
    {
        assert_eq!(kubectl(change).ok().stderr, "", "{change:?}");
    }
    let token = kubectl(&["create", "token", "default"]).ok().stdout;
    let as_account = kubectl(&["--token", token.trim(), "auth", "whoami"]);
    // The certificate of the file wins over a token, as in a cluster.
    as_account.ok().matches_line(&["Username", "kubernetes-admin"]);
    let header = format!("Authorization: Bearer {}", token.trim());
    let with_token = ["-sf", "-m", "10", "--cacert", "/var/lib/nslab/lab/pki/ca.crt", "-H", &header];
    let answered = Command::new("curl").args(with_token).arg("https://192.168.1.10:6443/api").status();
    assert!(answered.expect("run curl").success(), "the token is good");
    lab.down();
}

/// kubectl reads what OpenAPI says of the kinds to explain them, to compute patches, and to know what the server checks.
#[test]
fn kubectl_finds_in_openapi_what_it_looks_for() {
    let lab = Lab::up(&["labs/nodeport"]);
    configure(&lab);
    for path in [
        "pods",
        "pod.spec.containers",
        "pod.spec.containers.resources.limits",
        "service.spec.type",
        "deployments.apps.spec.strategy.rollingUpdate.maxSurge",
        "crd.spec.versions.schema.openAPIV3Schema",
        "lab.nodes",
    ] {
        for recursive in [&[][..], &["--recursive"]] {
            let args = [&["explain", path], recursive].concat();
            let theirs = kubectl(&args).ok();
            lab.run("lab", &args).ok().is(&theirs.stdout);
        }
    }
    // Version 2, which kubectl reads in protobuf alone.
    for kind in ["pod", "deployment.spec.template", "crd.spec", "lab.nodes"] {
        kubectl(&["explain", kind, "-o", "plaintext-openapiv2"]).ok().has("KIND:").has("DESCRIPTION:");
    }
    kubectl(&["explain", "deploy", "--api-version=apps/v1"]).ok().matches_line(&["GROUP:", "apps"]);
    let nowhere = kubectl(&["explain", "pod.spec.nope"]);
    assert_eq!((nowhere.code, nowhere.stderr.as_str()), (1, "error: field \"nope\" does not exist\n"));

    let file = "/run/a-manifest-of-a-test.yaml";
    let manifest = "apiVersion: v1\nkind: Service\nmetadata: {name: two}\nspec: {selector: {a: b}, ports: [{name: a, \
                    port: 80}, {name: b, port: 81}]}\n";
    std::fs::write(file, manifest).unwrap();
    let quiet = |args: &[&str]| {
        let out = kubectl(args).ok();
        assert_eq!(out.stderr, "", "{args:?}");
        out.stdout
    };
    assert_eq!(quiet(&["create", "--validate=strict", "-f", file, "--save-config"]), "service/two created\n");
    assert_eq!(quiet(&["diff", "-f", file]), "");
    std::fs::write(file, manifest.replace(", {name: b, port: 81}", "")).unwrap();
    let difference = kubectl(&["diff", "-f", file]);
    assert_eq!(difference.code, 1, "{difference:?}");
    assert!(difference.stdout.contains("-  - name: b"), "{difference:?}");
    assert_eq!(quiet(&["apply", "-f", file]), "service/two configured\n");
    // A port that the file does not have any more is gone: kubectl knows that ports are told apart by their number.
    assert_eq!(quiet(&["get", "svc", "two", "-o", "jsonpath={.spec.ports[*].port}"]), "80");
    assert_eq!(quiet(&["apply", "-f", file]), "service/two unchanged\n");

    std::fs::write(file, manifest.replace("selector:", "selectors:")).unwrap();
    let unknown = "Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown field \
                   \"spec.selectors\"";
    for validate in ["--validate=true", "--validate=strict"] {
        let refused = kubectl(&["create", validate, "-f", file]);
        assert!(refused.code == 1 && refused.stderr.contains(unknown), "{refused:?}");
    }
    let warned = kubectl(&["apply", "--validate=warn", "--dry-run=server", "-f", file]).ok();
    assert_eq!(warned.stderr, "Warning: unknown field \"spec.selectors\"\n");
    assert_eq!(
        quiet(&["apply", "--validate=ignore", "--dry-run=server", "-f", file]),
        "service/two configured (server dry run)\n"
    );
    assert_eq!(quiet(&["edit", "svc", "two", "--validate=strict"]), "service/two edited\n");
    assert_eq!(quiet(&["get", "svc", "two", "-o", "jsonpath={.spec.ports[*].port}"]), "8080");
    lab.down();
}

#[test]
fn kubectl_applies_on_the_server() {
    let lab = Lab::up(&[]);
    let directory = std::path::Path::new("/run/apply-of-a-test");
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join("config"), lab.lab("kubeconfig").ok().stdout).unwrap();
    let kubectl = |line: &str| {
        let mut command = Command::new(program());
        command.current_dir(directory).args(["--kubeconfig", "config"]).args(line.split_whitespace());
        let out = command.output().expect("run Kubernetes' kubectl");
        Out {
            what: format!("kubectl {line}"),
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    };
    let write = |name: &str, replicas: u32, ports: &str| {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: {replicas}\n  selector:\n    \
             matchLabels: {{app: web}}\n  template:\n    metadata:\n      labels: {{app: web}}\n    spec:\n      \
             containers:\n      - name: web\n        image: nginx\n        env: [{{name: A, value: '1'}}]\n        \
             ports: {ports}\n"
        );
        std::fs::write(directory.join(name), text).unwrap();
    };
    write("web.yaml", 1, "[{containerPort: 80}, {containerPort: 81, protocol: UDP}]");
    write("less.yaml", 2, "[{containerPort: 80}]");
    let ports = "get deploy web -o jsonpath={.spec.template.spec.containers[0].ports}";
    let both = r#"[{"containerPort":80,"protocol":"TCP"},{"containerPort":81,"protocol":"UDP"}]"#;
    let one = r#"[{"containerPort":80,"protocol":"TCP"}]"#;
    let owners = "get deploy web -o jsonpath={range.metadata.managedFields[*]}{.manager}/{.operation},{end}";

    // Without the server: what leaves the file leaves the object.
    kubectl("apply -f web.yaml").ok();
    kubectl(ports).ok().is(both);
    kubectl("apply -f less.yaml").ok().is("deployment.apps/web configured\n");
    kubectl(ports).ok().is(one);
    kubectl(owners).ok().is("kubectl-client-side-apply/Update,");
    // kubectl takes over from itself without a conflict.
    kubectl("apply --server-side -f web.yaml").ok().is("deployment.apps/web serverside-applied\n");
    kubectl(ports).ok().is(both);
    kubectl(owners).ok().has("kubectl/Apply,");
    kubectl("apply --server-side -f less.yaml").ok();
    kubectl(ports).ok().is(one);
    // Somebody else does not.
    kubectl("apply --server-side --field-manager=ci -f web.yaml").fails().has(
        "error: Apply failed with 1 conflict: conflict with \"kubectl\": .spec.replicas\nPlease review the fields above",
    );
    kubectl("apply --server-side --field-manager=ci --force-conflicts -f web.yaml").ok();
    kubectl("scale deployment web --replicas=4").ok();
    let taken = kubectl("apply --server-side --field-manager=ci -f web.yaml").fails();
    taken.has("conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas");
    kubectl("get deploy web -o yaml").ok().lines_with("managedFields", 0);
    kubectl("get deploy web -o yaml --show-managed-fields").ok().lines_with("managedFields", 1);
    // Pods that controllers make carry none.
    let noted = kubectl("get pods -o jsonpath={.items[*].metadata.managedFields}");
    noted.ok().is("");
    lab.down();
}

#[test]
fn custom_kinds_are_kinds_like_others_to_kubectl() {
    let file = "tests/labs/crontabs.yaml";
    let lab = Lab::up(&["labs/nodeport", file]);
    configure(&lab);
    kubectl(&["get", "ct"]).ok().matches_line(&["NAME", "SPEC", "REPLICAS", "AGE"]).matches_line(&["my-tab", "*/5"]);
    kubectl(&["get", "all"]).ok().has("crontab.stable.example.com/my-tab");
    kubectl(&["wait", "--for=condition=Established", "--timeout=5s", "crd/crontabs.stable.example.com"]).ok();
    kubectl(&["explain", "ct.spec.cronSpec"]).ok().has("When to run");
    kubectl(&["scale", "ct", "my-tab", "--replicas=3"]).ok();
    kubectl(&["patch", "ct", "my-tab", "--type=merge", "-p", r#"{"spec":{"image":"x"}}"#]).ok();
    kubectl(&["label", "ct", "my-tab", "a=b"]).ok();
    kubectl(&["describe", "ct", "my-tab"]).ok().matches_line(&["Replicas:", "3"]);
    kubectl(&["apply", "-f", file]).ok().has("crontab.stable.example.com/my-tab configured").has("unchanged");
    let strategic = kubectl(&["patch", "ct", "my-tab", "-p", r#"{"spec":{"image":"y"}}"#]);
    assert!(
        strategic.code != 0 && strategic.stderr.contains("strategic-merge-patch+json is not supported"),
        "{strategic:?}"
    );
    lab.lab("get crontabs my-tab").ok().matches_line(&["my-tab", "*/5", "3"]);
    lab.lab("status").has("x-kubernetes-validations of CronTab are not evaluated");

    kubectl(&["create", "pdb", "np", "--selector=app=np-pods", "--min-available=1"]).ok();
    let node = kubectl(&["get", "pods", "-l", "app=np-pods", "-o", "jsonpath={.items[0].spec.nodeName}"]).ok().stdout;
    let drained = kubectl(&["drain", &node, "--ignore-daemonsets", "--timeout=1s"]);
    assert!(
        drained.stderr.contains("Cannot evict pod as it would violate the pod's disruption budget."),
        "{drained:?}"
    );
    kubectl(&["uncordon", &node]).ok();

    kubectl(&["delete", "crd", "crontabs.stable.example.com"]).ok();
    let gone = kubectl(&["get", "ct"]);
    assert!(gone.code != 0, "{gone:?}");
    lab.down();
}
