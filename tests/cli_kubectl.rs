//! The same command lines for this program and for Kubernetes' own kubectl, each with an API of its own: what is printed,
//! the exit code and the objects that come of it are the same. `scripts/test` runs these where there is a kubectl of 1.31
//! or newer, and says so where there is none; `KUBECTL` says where another one is.

#[allow(dead_code)] // What the other tests need of the rig.
mod cli_rig;

use std::process::{Command, Stdio};

use cli_rig::{Rig, Said, finish, words};
use serde_json::Value;

/// Kubernetes' own, with the API of `rig`.
fn kubectl(rig: &Rig, line: &str) -> Said {
    let program = std::env::var("KUBECTL").unwrap_or_else(|_| "/usr/bin/kubectl".to_string());
    let child = Command::new(program)
        .arg(format!("--server=http://{}", rig.address))
        .args(words(line).into_iter().skip(1))
        .current_dir(&rig.directory)
        .env("HOME", &rig.directory)
        .env_remove("KUBECONFIG")
        .env("KUBE_EDITOR", "./editor")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run Kubernetes' kubectl: KUBECTL says where it is");
    finish(child)
}

/// Without what only this program says, and what differs from run to run.
fn comparable(said: Said, rig: &Rig) -> Said {
    let plain = |text: String| -> String {
        let text = text.replace(&rig.directory.display().to_string(), "");
        let ours = |line: &&str| !line.starts_with("hint: ") && !line.starts_with("See '");
        // What kubectl's libraries log: W1121 10:33:38.822511 ...
        let logged = |line: &&str| {
            let day = line.strip_prefix(['I', 'W', 'E']).and_then(|rest| rest.get(..5));
            day.is_some_and(|day| day.ends_with(' ') && day.trim_end().chars().all(|c| c.is_ascii_digit()))
        };
        let lines = text.lines().filter(ours).filter(|line| !logged(line)).map(str::trim_end);
        // kubectl leaves "error: " away where it gathers several errors, and forgets to say of some verbs that it was a
        // dry run.
        let lines = lines.map(|line| line.trim_start_matches("error: "));
        let lines = lines.map(|line| line.trim_end_matches(" (dry run)").trim_end_matches(" (server dry run)"));
        lines.flat_map(|line| [line, "\n"]).collect()
    };
    Said { out: plain(said.out), err: plain(said.err), code: said.code }
}

/// All objects, without what the server made of its own.
fn objects(rig: &Rig) -> Vec<String> {
    let snapshot = rig.store.snapshot();
    let plain = |value: &mut Value| {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
                metadata.remove(field);
            }
        }
        if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
            for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                port.as_object_mut().unwrap().remove("nodePort");
            }
        }
        if let Some(status) = value.as_object_mut() {
            status.remove("status");
        }
    };
    let kept = |key: &nslab::object::Key| !["Event", "ReplicaSet", "Pod", "EndpointSlice"].contains(&key.kind.kind);
    let text = |(_, object): (_, &std::sync::Arc<nslab::object::Object>)| {
        let mut value = object.to_value();
        plain(&mut value);
        serde_json::to_string_pretty(&value).unwrap()
    };
    snapshot.iter().filter(|(key, _)| kept(key)).map(text).collect()
}

/// Runs `lines` with both. A line `settle` lets the controllers work.
fn same(prepare: impl Fn(&Rig), lines: &[&str]) {
    let (ours, theirs) = (Rig::start(), Rig::start());
    let mut found = Vec::new();
    for rig in [&ours, &theirs] {
        prepare(rig);
    }
    for line in lines {
        if *line == "settle" {
            ours.settle();
            theirs.settle();
            continue;
        }
        let (own, upstream) = (comparable(ours.run(line), &ours), comparable(kubectl(&theirs, line), &theirs));
        if own != upstream {
            found.push(format!("{line}\n    lab     {own:?}\n    kubectl {upstream:?}"));
        }
    }
    let (own, upstream) = (objects(&ours), objects(&theirs));
    for object in own.iter().filter(|object| !upstream.contains(object)) {
        found.push(format!("only with lab: {object}"));
    }
    for object in upstream.iter().filter(|object| !own.contains(object)) {
        found.push(format!("only with kubectl: {object}"));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn with_web(rig: &Rig) {
    rig.ok("kubectl create deployment web --image=nginx:1.25");
    rig.ok("kubectl create service clusterip web --tcp=80");
    rig.settle();
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn setting() {
    same(
        with_web,
        &[
            "kubectl set image deployment/web nginx=nginx:1.26",
            "kubectl set image deploy web *=nginx:1.27",
            "kubectl set image deploy web *=nginx:1.27",
            "kubectl set image deploy web other=nginx:1.27",
            "kubectl set image deploy web",
            "kubectl set image deploy nope a=b",
            "kubectl set image deploy web nginx=nginx:1.28 --dry-run=client",
            "kubectl set image deploy web nginx=nginx:1.28 --dry-run=server",
            "kubectl set image deploy web nginx=nginx:1.28 -o name",
            "kubectl set env deploy/web A=1 B=2",
            "kubectl set env deploy/web A-",
            "kubectl set env deploy/web B=3 --overwrite=false",
            "kubectl set env deploy/web --list",
            "kubectl create configmap conf --from-literal=some-key=1",
            "kubectl set env deploy/web --from=configmap/conf --prefix=X_",
            "kubectl set env deploy/web --list",
            "kubectl set env deploy/web --list --resolve",
            "kubectl set env deploy/web",
            "kubectl set resources deploy web --limits=cpu=200m,memory=512Mi --requests=cpu=100m",
            "kubectl set resources deploy web",
            "kubectl set resources deploy web -c nope --limits=cpu=1",
            "kubectl set selector svc web app=other",
            "kubectl set selector deploy web app=other",
            "kubectl set serviceaccount deploy web robot",
            "kubectl set sa deploy web",
        ],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn patching() {
    let prepare = |rig: &Rig| {
        with_web(rig);
        rig.write("p.yaml", "spec:\n  replicas: 4\n");
        rig.write("bad.yaml", "spec: [\n");
    };
    same(
        prepare,
        &[
            "kubectl patch deployment web -p '{\"spec\":{\"replicas\":2}}'",
            "kubectl patch deployment web -p '{\"spec\":{\"replicas\":2}}'",
            "kubectl patch deploy/web --type=merge -p '{\"metadata\":{\"labels\":{\"a\":\"b\"}}}'",
            "kubectl patch deploy/web --type json -p '[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":3}]'",
            "kubectl patch deploy web --patch-file p.yaml",
            "kubectl patch deploy web --patch-file p.yaml -p x",
            "kubectl patch deploy web",
            "kubectl patch deploy web --type=x -p '{}'",
            "kubectl patch deploy web --subresource=scale --type=merge -p '{\"spec\":{\"replicas\":5}}'",
            "kubectl patch deploy nope -p '{}'",
            "kubectl patch deploy web -p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"nginx\",\"image\":\"nginx:2\"}]}}}}'",
            "kubectl patch deploy web -p '{\"spec\":{\"replicas\":-1}}'",
            "kubectl patch deploy web --dry-run=client -p '{\"spec\":{\"replicas\":1}}'",
            "kubectl patch deploy web --dry-run=server -p '{\"spec\":{\"replicas\":1}}'",
            "kubectl patch deploy web -o name -p '{\"spec\":{\"replicas\":6}}'",
            "kubectl patch node w1-k8s -p '{\"spec\":{\"unschedulable\":true}}'",
        ],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn nodes() {
    let prepare = |rig: &Rig| {
        rig.ok("kubectl run single --image=x");
        rig.ok("kubectl wait --for=condition=Ready pod/single");
    };
    same(
        prepare,
        &[
            "kubectl cordon w1-k8s",
            "kubectl cordon w1-k8s",
            "kubectl uncordon w1-k8s w2-k8s",
            "kubectl uncordon nope",
            "kubectl cordon",
            "kubectl taint nodes w1-k8s a=b:NoSchedule",
            "kubectl taint nodes w1-k8s a=c:NoSchedule",
            "kubectl taint nodes w1-k8s a=c:NoSchedule --overwrite",
            "kubectl taint node w1-k8s w2-k8s x:NoExecute y:PreferNoSchedule",
            "kubectl taint nodes w1-k8s a-",
            "kubectl taint nodes w1-k8s a-",
            "kubectl taint nodes --all x:NoExecute-",
            "kubectl taint pods w1-k8s a:NoSchedule",
            "kubectl taint nodes w1-k8s",
            "kubectl drain w1-k8s --force --dry-run=client",
            "kubectl drain w1-k8s --force",
            "kubectl drain w1-k8s --ignore-daemonsets",
            "kubectl uncordon w1-k8s",
        ],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn rollouts() {
    same(
        with_web,
        &[
            "kubectl rollout history deployment/web",
            "kubectl set image deploy web nginx=nginx:1.26",
            "settle",
            "kubectl annotate deploy web kubernetes.io/change-cause='to 1.26'",
            "settle",
            "kubectl rollout history deploy web",
            "kubectl rollout history deploy web --revision=2",
            "kubectl rollout history deploy web --revision=9",
            "kubectl rollout undo deploy web",
            "settle",
            "kubectl rollout history deploy web",
            "kubectl rollout undo deploy web --to-revision=2",
            "settle",
            "kubectl rollout undo deploy web --to-revision=9",
            "kubectl rollout undo deploy web --to-revision=4",
            "kubectl rollout pause deploy web",
            "kubectl rollout pause deploy web",
            "kubectl rollout undo deploy web",
            "kubectl rollout restart deploy web",
            "kubectl rollout resume deploy/web",
            "kubectl rollout resume deploy/web",
            "kubectl rollout undo deploy web --dry-run=server",
            "kubectl rollout undo deploy nope",
            "kubectl rollout pause svc web",
            "kubectl rollout history",
        ],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn creating() {
    let prepare = |rig: &Rig| {
        rig.write("config.json", "{}");
        rig.write("cert.pem", CERTIFICATE);
        rig.write("key.pem", KEY);
        rig.write("other.pem", OTHER_KEY);
    };
    same(
        prepare,
        &[
            "kubectl create job one --image=busybox -- date -u",
            "kubectl create job one --image=busybox",
            "kubectl create job two",
            "kubectl create job two --image=busybox --dry-run=client -o yaml",
            "kubectl create cronjob often --image=busybox --schedule='*/5 * * * *' -- date",
            "kubectl create cronjob often --image=busybox --schedule='*/5 * * * *' --dry-run=client -o yaml",
            "kubectl create job three --from=cronjob/often --dry-run=client -o name",
            "kubectl create ingress web --rule=a.example/=web:80 --rule='a.example/x*=web:http,tls=cert' --class=nginx",
            "kubectl create ingress all --default-backend=web:80 --annotation=a=b --rule='b.example/*=x:1,tls'",
            "kubectl create ingress all --dry-run=client -o yaml --rule='b.example/*=x:1,tls' --rule='/y=x:1,tls=s'",
            "kubectl create ingress none",
            "kubectl create ingress bad --rule=a=b",
            "kubectl create serviceaccount robot",
            "kubectl create sa robot",
            "kubectl create role reader --verb=get,list --resource=pods,deployments.apps,pods/log",
            "kubectl create role reader --verb=get --resource=po --resource-name=a --dry-run=client -o yaml",
            "kubectl create role none --resource=pods",
            "kubectl create role none --verb=get",
            "kubectl create role odd --verb=gett --resource=pods",
            "kubectl create clusterrole c --verb='*' --resource='*'",
            "kubectl create clusterrole urls --verb=get --non-resource-url=/healthz,/logs/*",
            "kubectl create clusterrole sum --aggregation-rule=a=b",
            "kubectl create clusterrole none --verb=get",
            "kubectl create rolebinding b --role=reader --user=ann --group=dev --serviceaccount=default:robot",
            "kubectl create rolebinding b2 --clusterrole=c --serviceaccount=robot",
            "kubectl create rolebinding b2",
            "kubectl create clusterrolebinding cb --clusterrole=c --user=ann",
            "kubectl create quota q --hard=cpu=1,pods=10 --scopes=BestEffort",
            "kubectl create quota q2 --hard=cpu",
            "kubectl create pdb budget --selector=app=web --min-available=50%",
            "kubectl create pdb budget2 --selector=app=web --max-unavailable=1 --dry-run=client -o yaml",
            "kubectl create pdb budget2 --selector=app=web",
            "kubectl create priorityclass high --value=1000 --description='much needed'",
            "kubectl create priorityclass p --value=1 --global-default --dry-run=client -o yaml",
            "kubectl create secret docker-registry reg --docker-username=a --docker-password=b --docker-email=c",
            "kubectl create secret docker-registry reg2 --from-file=config.json",
            "kubectl create secret docker-registry reg3",
            "kubectl create secret generic s --from-literal=a=b --type=my/type",
            "kubectl create secret tls t --cert=cert.pem --key=key.pem",
            "kubectl create secret tls t2 --cert=cert.pem --key=other.pem",
            "kubectl create secret tls t2 --cert=cert.pem",
            "kubectl create service clusterip c1 --tcp=80:8080",
            "kubectl create service clusterip c2 --clusterip=None",
            "kubectl create service nodeport n1 --tcp=80 --node-port=30123",
            "kubectl create service loadbalancer l1 --tcp=80 --dry-run=client -o yaml",
            "kubectl create service externalname e1 --external-name=example.com",
            "kubectl create service clusterip c3",
            "kubectl create namespace shop",
            "kubectl create namespace shop",
        ],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn editing() {
    let prepare = |rig: &Rig| {
        with_web(rig);
        rig.script("editor", "sed -i 's/replicas: 1/replicas: 2/' \"$1\"");
        rig.ok("kubectl create configmap conf --from-literal=a=b");
    };
    same(
        prepare,
        &["kubectl edit deployment web", "kubectl edit deploy/web", "kubectl edit cm conf", "kubectl edit cm nope"],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn replacing_and_differences() {
    let prepare = |rig: &Rig| {
        rig.write("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n");
        rig.write("b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: c}\n");
        rig.write("s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}\n");
    };
    same(
        prepare,
        &[
            "kubectl replace -f a.yaml",
            "kubectl create -f a.yaml",
            "kubectl replace -f b.yaml",
            "kubectl replace --force -f a.yaml",
            "kubectl replace --force --dry-run=client -f a.yaml",
            "kubectl replace --grace-period=1 -f a.yaml",
            "kubectl replace",
            "kubectl replace -f b.yaml --dry-run=server",
            "kubectl replace -f b.yaml -o name",
            "kubectl diff",
        ],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn asking() {
    same(
        with_web,
        &[
            "kubectl auth can-i get pods",
            "kubectl auth can-i get pods/a --subresource=log",
            "kubectl auth can-i get nodes",
            "kubectl auth can-i frob pods",
            "kubectl auth can-i get /healthz",
            "kubectl auth can-i get nonsense",
            "kubectl auth can-i get",
            "kubectl auth can-i --list",
            "kubectl auth whoami",
            "kubectl auth whoami -o yaml",
            "kubectl autoscale deployment web --max=0",
            "kubectl autoscale deployment web --max=1 --min=2",
            "kubectl autoscale deploy nope --max=1",
            "kubectl api-versions",
            "kubectl events --types=Odd",
            "kubectl events --for=x",
            "kubectl events -n kube-system",
        ],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn contexts() {
    let prepare = |rig: &Rig| {
        std::fs::create_dir(rig.directory.join(".kube")).unwrap();
        rig.write(".kube/config", KUBECONFIG);
    };
    same(
        prepare,
        &[
            "kubectl config current-context",
            "kubectl config get-contexts",
            "kubectl config get-contexts -o name",
            "kubectl config get-contexts b nope",
            "kubectl config use-context b",
            "kubectl config use-context nope",
            "kubectl config set-context --current --namespace=shop",
            "kubectl config set-context c --cluster=one --user=me",
            "kubectl config set-context",
            "kubectl config set-context c --current",
            "kubectl config get-contexts",
            "kubectl config rename-context c d",
            "kubectl config rename-context a b",
            "kubectl config rename-context nope x",
            "kubectl config get-clusters",
            "kubectl config get-users",
            "kubectl config view",
            "kubectl config view --minify",
            "kubectl config view --raw -o jsonpath={.users[0].user.token}",
            "kubectl config delete-context nope",
            "kubectl config delete-context b",
            "kubectl config current-context",
        ],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn waiting() {
    let prepare = |rig: &Rig| {
        rig.ok("kubectl run a --image=x");
        rig.ok("kubectl wait --for=condition=Ready pod/a");
    };
    // Of a watch that lasted less than a second kubectl complains.
    same(
        prepare,
        &[
            "kubectl wait --for=condition=Ready pod/a",
            "kubectl wait --for=condition=Ready=true pods a",
            "kubectl wait --for=condition=ready pods --all",
            "kubectl wait --for=condition=Odd pod/a --timeout=2s",
            "kubectl wait --for=jsonpath='{.status.phase}'=Running pod/a",
            "kubectl wait --for=jsonpath={.status.podIP} pod/a",
            "kubectl wait --for=jsonpath={.status.phase}=Odd pod/a --timeout=2s",
            "kubectl wait --for=jsonpath={.status.nope}=Odd pod/a --timeout=2s",
            "kubectl wait --for=create pod/a",
            "kubectl wait --for=create pod/b --timeout=2s",
            "kubectl wait --for=delete pod/b",
            "kubectl wait --for=delete pod/a --timeout=2s",
            "kubectl wait --for=condition=Ready pod/nope",
            "kubectl wait --for=condition=Ready pods -l run=nope",
            "kubectl wait --for=delete pods -l run=nope",
            "kubectl wait --for=odd pod/a",
            "kubectl wait pod/a",
            "kubectl wait --for=condition=Ready pods --all -A",
            "kubectl wait --for=condition=Ready pod/a -o name",
            "kubectl wait --for=condition=Ready pods --field-selector=metadata.name=a",
        ],
    );
}

#[test]
#[ignore = "needs Kubernetes' own kubectl"]
fn scaling_exposing_and_labelling() {
    same(
        with_web,
        &[
            "kubectl scale deploy web --replicas=2",
            "kubectl scale deploy web --replicas=3 --current-replicas=2",
            "kubectl scale deploy web --replicas=4 --current-replicas=2",
            "kubectl scale deploy nope --replicas=4",
            "kubectl scale deploy web --replicas=-1",
            "kubectl scale deploy --all --replicas=1",
            "kubectl scale --replicas=5 deployment/web -o name",
            "kubectl expose deployment web --name=e1 --port=80",
            "kubectl expose deployment web --name=e2 --port=80,443 --target-port=8080 --type=NodePort",
            "kubectl expose svc web --name=e3 --port=81",
            "kubectl expose deploy web --name=e4 --port=80 --protocol=UDP --external-ip=1.2.3.4",
            "kubectl expose deploy web --name=e5 --port=80 --cluster-ip=None --session-affinity=ClientIP",
            "kubectl expose deploy web --name=e6 --port=80 --selector=a=b -l x=y",
            "kubectl expose deploy web --name=e7",
            "kubectl expose deploy web --name=e7 --port=80 --dry-run=client -o yaml",
            "kubectl expose node w1-k8s --port=80",
            "kubectl expose deploy nope --port=80",
            "kubectl expose deploy web --port=80",
            "kubectl label deploy web tier=front",
            "kubectl label deploy web tier=back",
            "kubectl label deploy web tier=back --overwrite",
            "kubectl label deploy web tier=back",
            "kubectl label deploy web tier-",
            "kubectl label deploy web tier-",
            "kubectl label deploy web",
            "kubectl label deploy --all a=b",
            "kubectl label deploy -l a=b c=d",
            "kubectl label deploy web a=b c=x",
            "kubectl label deploy web 'bad key=x'",
            "kubectl label deploy nope a=b",
            "kubectl annotate deploy web note='a b'",
            "kubectl annotate deploy web note=c",
            "kubectl annotate deploy web note=c --overwrite",
            "kubectl annotate deploy web note-",
            "kubectl annotate deploy web --list",
            "kubectl run p --image=busybox --env=A=1 --labels=a=b,c=d --port=80 --restart=Never -- sleep 1",
            "kubectl run q --image=busybox --dry-run=client -o yaml --command -- sleep 1",
            "kubectl run p --image=busybox",
            "kubectl run s --image=busybox --restart=Odd",
            "kubectl run s --image=busybox --rm",
            "kubectl run s --image=busybox --expose",
            "kubectl run s --image=busybox --image-pull-policy=Never --privileged --dry-run=client -o yaml",
        ],
    );
}

const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
preferences: {}
clusters:
- name: one
  cluster: {server: \"https://one.example:6443\", certificate-authority-data: QQ==}
contexts:
- name: a
  context: {cluster: one, user: me}
- name: b
  context: {cluster: one, user: me, namespace: x}
current-context: a
users:
- name: me
  user: {token: secret}
";

/// Of nobody: made for this test.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBgzCCASmgAwIBAgIUCbBOIPmDwyoEPcpKtRJaHPJ1zh4wCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLd2ViLmV4YW1wbGUwIBcNMjYxMTIxMDgyMDU2WhgPMjEyNjEw
MjgwODIwNTZaMBYxFDASBgNVBAMMC3dlYi5leGFtcGxlMFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAELFT3WzIBvWoDg8KsIL4qbGgbnfD1CrwMj6BdwDQfyXDPZR2+
aSkIclp9UwBZ52Ia3KGdgt8OL1znVWxYiOejHKNTMFEwHQYDVR0OBBYEFDFsAVpl
jUsc4qTzkqVFLkQT4VgaMB8GA1UdIwQYMBaAFDFsAVpljUsc4qTzkqVFLkQT4Vga
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgZBPkG2Z79/FDDDyn
nTxj6sh4vQc3JIBA1hXSYahElv4CIQC2Ii7L3GS2oYglpyeN1DD5tjZ23wcZ0ze6
EmUREqCJpg==
-----END CERTIFICATE-----
";
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgPVZCepJnWNe8qQVE
1pT+5g1QT147DHvGmHLKET1b5VuhRANCAAQsVPdbMgG9agODwqwgvipsaBud8PUK
vAyPoF3ANB/JcM9lHb5pKQhyWn1TAFnnYhrcoZ2C3w4vXOdVbFiI56Mc
-----END PRIVATE KEY-----
";
const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgSEFYUpeLJHHU6fV8
0oV7HnCbFUfYbXSSk9wd5GcU1BihRANCAAQ49nZ7PmPLMMxdThygZDmBvDqpMPfr
jNLXp8FD+/Rs+K9JPRjO95Uv60CcHokcq4h3dWUQBfcBgsi+ptgh56wQ
-----END PRIVATE KEY-----
";
