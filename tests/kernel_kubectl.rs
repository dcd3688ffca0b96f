//! Kubernetes' own kubectl (1.31 or newer, whose exec speaks WebSocket) as a client of the lab. `scripts/test` says so and
//! leaves this out where the distribution has none; `KUBECTL` says where another one is.

mod lab_rig;

use std::process::Command;

use lab_rig::{Lab, Out};

/// Kubernetes' own kubectl with the lab's kubeconfig.
fn kubectl_of(lab: &Lab) -> impl Fn(&[&str]) -> Out + use<> {
    let printed = lab.lab("kubeconfig").ok();
    printed.has("server: https://192.168.1.10:6443").has("current-context: nslab-lab");
    let config = "/run/kubeconfig-of-a-test";
    std::fs::write(config, &printed.stdout).unwrap();
    move |args: &[&str]| {
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
    }
}

#[test]
fn a_kubeconfig_is_all_that_kubectl_needs() {
    let lab = Lab::up(&["labs/nodeport"]);
    let kubectl = kubectl_of(&lab);
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
fn custom_kinds_are_kinds_like_others_to_kubectl() {
    let file = "tests/labs/crontabs.yaml";
    let lab = Lab::up(&["labs/nodeport", file]);
    let kubectl = kubectl_of(&lab);
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
