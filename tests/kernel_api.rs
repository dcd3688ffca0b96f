//! The API as clients in and around the lab reach it: over TLS, by certificate or token, and not at all without.

mod lab_rig;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lab_rig::{Lab, Out};

const API: &str = "https://192.168.1.10:6443";
const PKI: &str = "/var/lib/nslab/lab/pki";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// curl on this machine: the status code on standard error, the body on standard output.
fn curl(args: &[&str]) -> Out {
    let mut command = Command::new("curl");
    command.args(["-s", "-S", "-m", "10", "-w", "%{stderr}%{http_code}"]).args(args);
    let out = command.output().expect("run curl");
    Out {
        what: format!("curl {}", args.join(" ")),
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

struct Admin {
    dir: String,
}

impl Admin {
    /// What `lab` has now.
    fn now() -> Self {
        Admin { dir: PKI.to_string() }
    }

    /// What it has now, for later.
    fn kept(name: &str) -> Self {
        let dir = format!("/run/kept-{name}");
        std::fs::create_dir_all(&dir).unwrap();
        for file in ["ca.crt", "admin.crt", "admin.key"] {
            std::fs::copy(Path::new(PKI).join(file), Path::new(&dir).join(file)).unwrap();
        }
        Admin { dir }
    }

    fn curl(&self, path: &str) -> Out {
        let file = |name: &str| format!("{}/{name}", self.dir);
        let (ca, certificate, key) = (file("ca.crt"), file("admin.crt"), file("admin.key"));
        curl(&["--cacert", &ca, "--cert", &certificate, "--key", &key, &format!("{API}{path}")])
    }
}

#[test]
fn nobody_gets_in_without_a_certificate_or_a_token() {
    let lab = Lab::up(&["labs/nodeport"]);
    let ca = format!("{PKI}/ca.crt");
    for open in ["/healthz", "/livez", "/readyz", "/readyz/ping", "/version"] {
        let out = curl(&["--cacert", &ca, &format!("{API}{open}")]).ok();
        assert_eq!(out.stderr, "200", "{out:#?}");
    }
    for closed in ["/", "/api", "/apis", "/openapi/v3", PODS, "/no/such/path", "/apis/nslab.dev/v1alpha1/status"] {
        for header in
            ["X-None: none", "Authorization: Bearer x.y.z", "Authorization: Basic cm9vdDpyb290", "Authorization;"]
        {
            let out = curl(&["--cacert", &ca, "-H", header, &format!("{API}{closed}")]).ok();
            assert_eq!(out.stderr, "401", "{closed} with {header}");
            assert!(out.stdout.contains(r#""reason":"Unauthorized""#), "{out:#?}");
        }
    }
    // Neither do writes.
    let out = curl(&["--cacert", &ca, "-X", "DELETE", &format!("{API}{PODS}")]).ok();
    assert_eq!(out.stderr, "401");
    assert_eq!(Admin::now().curl(PODS).ok().stderr, "200");
    lab.down();
}

#[test]
fn the_keys_are_roots_and_no_pod_sees_them() {
    let lab = Lab::up(&["labs/nodeport"]);
    assert_eq!(std::fs::metadata(PKI).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata("/run/nslab/lab/api.sock").unwrap().permissions().mode() & 0o777, 0o600);
    for entry in std::fs::read_dir(PKI).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    let pod = lab.kubectl("get pods -o jsonpath={.items[0].metadata.name}").ok().stdout;
    for place in [format!("exec {pod} --"), "node exec w1-k8s --".to_string(), "node exec m-k8s --".to_string()] {
        lab.lab(&format!("{place} ls {PKI}")).fails();
        lab.lab_args(&place, &["sh", "-c", "find / -name ca.key 2>/dev/null | grep ."]).fails();
    }
    lab.down();
}

const IN_POD: &str = "cd /var/run/secrets/kubernetes.io/serviceaccount && curl -sS -m 10 --cacert ca.crt";

#[test]
fn a_pod_reaches_the_api_with_its_token() {
    let lab = Lab::up(&["labs/nodeport"]);
    let pod = lab.kubectl("get pods -o jsonpath={.items[0].metadata.name}").ok().stdout;
    let in_pod = |pod: &str, script: &str| lab.lab_args(&format!("exec {pod} --"), &["sh", "-c", script]);
    let bearer = r#"-H "Authorization: Bearer $(cat token)""#;
    let whole = in_pod(&pod, &format!("{IN_POD} {bearer} https://10.96.0.1{PODS}/{pod}")).ok();
    whole.has(&format!(r#""name":"{pod}""#));
    in_pod(&pod, &format!("{IN_POD} https://10.96.0.1{PODS}")).ok().has("Unauthorized");
    // By the name in the certificate, and by a variable that a client library looks at.
    let by_name = format!("--resolve kubernetes.default.svc:443:10.96.0.1 {bearer} https://kubernetes.default.svc/api");
    in_pod(&pod, &format!("{IN_POD} {by_name}")).ok().has("APIVersions");
    let by_variable = format!("{IN_POD} {bearer} https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api");
    in_pod(&pod, &by_variable).ok().has("APIVersions");
    let files = "cd /var/run/secrets/kubernetes.io/serviceaccount && ls && cat namespace";
    in_pod(&pod, files).ok().is("ca.crt\nnamespace\ntoken\ndefault");

    // Nodes, and the outside machine.
    for place in ["node exec m-k8s --", "node exec w2-k8s --", "client exec --"] {
        let out = lab.lab(&format!("{place} curl -sSk -m 10 {API}/api")).ok();
        out.has("Unauthorized");
    }
    let through_service = lab.lab("node exec w2-k8s -- curl -sSk -m 10 https://10.96.0.1/healthz").ok();
    through_service.is("ok");

    // A token is good for as long as its pod is there.
    let token = in_pod(&pod, "cat /var/run/secrets/kubernetes.io/serviceaccount/token").ok().stdout;
    let with_token = || {
        let header = format!("Authorization: Bearer {token}");
        curl(&["--cacert", &format!("{PKI}/ca.crt"), "-H", &header, &format!("{API}/api")]).ok().stderr
    };
    assert_eq!(with_token(), "200");
    lab.kubectl(&format!("delete pod {pod}")).ok();
    lab.kubectl(&format!("get pod {pod}")).fails();
    assert_eq!(with_token(), "401");
    lab.down();
}

#[test]
fn a_pod_that_wants_no_token_has_none() {
    let lab = Lab::up(&["tests/labs/tokens.yaml"]);
    let secrets = |pod: &str| lab.lab(&format!("exec {pod} -- ls /var/run/secrets/kubernetes.io/serviceaccount"));
    secrets("plain").ok().has("token");
    secrets("asks-for-it").ok().has("token");
    secrets("declines").fails();
    secrets("account-declines").fails();
    let whose = "cut -d. -f2 /var/run/secrets/kubernetes.io/serviceaccount/token | tr _- /+ | base64 -d 2>/dev/null";
    let claims = lab.lab_args("exec asks-for-it --", &["sh", "-c", whose]);
    claims.has(r#""sub":"system:serviceaccount:default:shy""#);
    lab.down();
}

#[test]
fn what_a_lab_trusted_outlives_its_supervisor_but_not_the_lab() {
    let lab = Lab::up(&["labs/nodeport"]);
    let before = Admin::kept("before");
    assert_eq!(before.curl("/api").ok().stderr, "200");
    let pid = std::fs::read_to_string("/run/nslab/lab/supervisor.lock").unwrap();
    // tail ends when the process has.
    let kill = format!("kill -9 {0} && tail --pid={0} -f /dev/null", pid.trim());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    // Nobody answers: the door went with the supervisor.
    lab_rig::refused("192.168.1.10:6443");
    lab.wait_ready();
    assert_eq!(before.curl("/api").ok().stderr, "200");
    let pod = lab.kubectl("get pods -o jsonpath={.items[0].metadata.name}").ok().stdout;
    let api = format!("{IN_POD} -H \"Authorization: Bearer $(cat token)\" https://10.96.0.1/api");
    lab.lab_args(&format!("exec {pod} --"), &["sh", "-c", &api]).ok().has("APIVersions");
    lab.down();

    let lab = Lab::up(&[]);
    // 60: curl does not trust the new authority's server.
    assert_eq!(before.curl("/api").code, 60);
    let (certificate, key) = (format!("{}/admin.crt", before.dir), format!("{}/admin.key", before.dir));
    let stale = ["--cacert", "/var/lib/nslab/lab/pki/ca.crt", "--cert", &certificate, "--key", &key];
    assert_ne!(curl(&[&stale[..], &[&format!("{API}/healthz")]].concat()).code, 0);
    assert_eq!(Admin::now().curl("/api").ok().stderr, "200");
    lab.down();
}
