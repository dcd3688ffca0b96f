//! Kubernetes' own kubectl (1.31 or newer, whose exec speaks WebSocket) as a client of the lab. `scripts/test` says so and
//! leaves this out where the distribution has none; `KUBECTL` says where another one is.

mod lab_rig;

use std::process::Command;

use lab_rig::{Lab, Out};

#[test]
fn a_kubeconfig_is_all_that_kubectl_needs() {
    let lab = Lab::up(&["labs/nodeport"]);
    let printed = lab.lab("kubeconfig").ok();
    printed.has("server: https://192.168.1.10:6443").has("current-context: nslab-lab");
    let config = "/run/kubeconfig-of-a-test";
    std::fs::write(config, &printed.stdout).unwrap();
    let kubectl = |args: &[&str]| {
        // Kubernetes' own, not this program under its name.
        let program = std::env::var("KUBECTL").unwrap_or_else(|_| "/usr/bin/kubectl".to_string());
        let out = Command::new(program).args(["--kubeconfig", config]).args(args).output();
        let out = out.expect("run Kubernetes' kubectl: KUBECTL says where it is");
        Out {
            what: format!("kubectl {}", args.join(" ")),
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    };
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

#[test]
fn kubectl_applies_on_the_server() {
    let lab = Lab::up(&[]);
    let directory = std::path::Path::new("/run/apply-of-a-test");
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join("config"), lab.lab("kubeconfig").ok().stdout).unwrap();
    let kubectl = |line: &str| {
        let program = std::env::var("KUBECTL").unwrap_or_else(|_| "/usr/bin/kubectl".to_string());
        let mut command = Command::new(program);
        command.current_dir(directory).args(["--kubeconfig", "config"]).args(line.split_whitespace());
        let out = command.output().expect("run Kubernetes' kubectl: KUBECTL says where it is");
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
