//! The verbs that change objects, and those that ask: what they print, and what comes of them. `cli_kubectl.rs` compares
//! more of their output with Kubernetes' own kubectl, where there is one.

#[allow(dead_code)] // What the other tests need of the rig.
mod cli_rig;

use cli_rig::{Rig, put};
use nslab::object::kind;
use serde_json::{Value, json};

fn with_web() -> Rig {
    let rig = Rig::start();
    rig.ok("kubectl create deployment web --image=nginx:1.25");
    rig.settle();
    rig
}

fn at(rig: &Rig, pointer: &str) -> Value {
    rig.object(&kind::DEPLOYMENT, "web").unwrap().pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn set_changes_what_runs() {
    let rig = with_web();
    let container = "/spec/template/spec/containers/0";
    assert_eq!(rig.ok("kubectl set image deploy/web nginx=nginx:1.26"), "deployment.apps/web image updated\n");
    assert_eq!(at(&rig, &format!("{container}/image")), "nginx:1.26");
    assert_eq!(rig.ok("kubectl set image deploy/web nginx=nginx:1.26"), "", "nothing to change");
    let unknown = rig.fails("kubectl set image deploy/web ngin=nginx:1.26");
    assert_eq!(unknown, "error: unable to find container named \"ngin\"\nhint: its containers: nginx\n");
    rig.ok("kubectl create configmap conf --from-literal=log-level=debug");
    assert!(rig.ok("kubectl set env deploy/web A=1 B=2").ends_with("env updated\n"));
    rig.ok("kubectl set env deploy/web A- --from=configmap/conf");
    let listed = rig.ok("kubectl set env deploy/web --list --resolve");
    assert_eq!(listed, "# Deployment web, container nginx\nB=2\nLOG_LEVEL=debug\n");
    let refused = rig.fails("kubectl set env deploy/web B=3 --overwrite=false");
    assert_eq!(refused, "error: deployments/web 'B' already has a value (2), and --overwrite is false\n");
    rig.ok("kubectl set resources deploy web --limits=cpu=200m -c 'ng*'");
    assert_eq!(at(&rig, &format!("{container}/resources/limits/cpu")), "200m");
    rig.ok("kubectl set serviceaccount deploy web robot");
    assert_eq!(at(&rig, "/spec/template/spec/serviceAccountName"), "robot");
    rig.write(
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: b}]}\n",
    );
    let local = rig.ok("kubectl set image -f pod.yaml a=c --local -o jsonpath={.spec.containers[0].image}");
    assert_eq!(local, "c");
    assert_eq!(rig.object(&kind::POD, "a"), None);
}

#[test]
fn a_patch_of_each_type() {
    let rig = with_web();
    let patch = |line: &str| rig.ok(&format!("kubectl patch deploy web {line}"));
    assert_eq!(patch("-p '{\"spec\":{\"replicas\":2}}'"), "deployment.apps/web patched\n");
    assert_eq!(patch("-p '{\"spec\":{\"replicas\":2}}'"), "deployment.apps/web patched (no change)\n");
    patch("-p '{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"log\",\"image\":\"x\"}]}}}}'");
    assert_eq!(at(&rig, "/spec/template/spec/containers").as_array().unwrap().len(), 2, "lists merge by name");
    patch("--type=json -p '[{\"op\":\"remove\",\"path\":\"/spec/template/spec/containers/0\"}]'");
    assert_eq!(at(&rig, "/spec/template/spec/containers").as_array().unwrap().len(), 1);
    rig.write("patch.yaml", "spec:\n  replicas: 3\n");
    patch("--type=merge --patch-file=patch.yaml");
    assert_eq!(at(&rig, "/spec/replicas"), 3);
    patch("--subresource=scale --type=merge -p '{\"spec\":{\"replicas\":4}}'");
    assert_eq!(at(&rig, "/spec/replicas"), 4);
    assert!(patch("--dry-run=client -o yaml -p '{\"spec\":{\"replicas\":9}}'").contains("replicas: 9\n"));
    assert_eq!(at(&rig, "/spec/replicas"), 4);
    let wrong = rig.fails("kubectl patch deploy web -p '{\"spec\":'");
    assert!(wrong.starts_with("error: unable to parse \"{\"spec\":\": "), "{wrong}");
}

#[test]
fn an_edit_that_is_refused_is_opened_again() {
    let rig = with_web();
    rig.script("editor", "true");
    let said = rig.run("kubectl edit deploy web");
    assert_eq!((said.err.as_str(), said.code), ("Edit cancelled, no changes made.\n", 0));
    rig.script("editor", ": > \"$1\"");
    assert_eq!(rig.run("kubectl edit deploy web").err, "Edit cancelled, saved file was empty.\n");
    // The first time it writes nonsense; the second time it keeps what it saw, and puts it right.
    rig.script(
        "editor",
        "if grep -q 'was not valid' \"$1\"; then cp \"$1\" seen; sed -i 's/replicas: -1/replicas: 3/' \"$1\"\nelse sed -i \
         's/replicas: 1/replicas: -1/' \"$1\"; fi",
    );
    assert_eq!(rig.ok("kubectl edit deploy web"), "deployment.apps/web edited\n");
    assert_eq!(at(&rig, "/spec/replicas"), 3);
    let seen = std::fs::read_to_string(rig.directory.join("seen")).unwrap();
    assert!(
        seen.starts_with("# Please edit the object below. Lines beginning with a '#' will be ignored,\n"),
        "{seen}"
    );
    assert!(seen.contains("# deployments.apps \"web\" was not valid:\n# * spec.replicas: Invalid value: "), "{seen}");
    rig.script("editor", "sed -i 's/replicas: 3/replicas: -1/' \"$1\"");
    let given_up = rig.run("kubectl edit deploy web");
    assert_eq!(given_up.code, 1);
    assert!(given_up.err.ends_with("error: Edit cancelled, no valid changes were saved.\n"), "{given_up:?}");
    let kept = given_up.err.split('"').find(|part| part.ends_with(".yaml")).expect("where the text is kept");
    assert!(std::fs::read_to_string(kept).unwrap().contains("replicas: -1"));
    std::fs::remove_file(kept).unwrap();
    let none = rig.run_in(("KUBE_EDITOR", "no-such-editor"), "kubectl edit deploy web");
    assert!(none.err.starts_with("error: unable to launch the editor \"no-such-editor\"\nhint: "), "{none:?}");
}

#[test]
fn replacing_and_what_apply_would_change() {
    let rig = Rig::start();
    let file = |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{{data}}}\n");
    rig.write("a.yaml", &file("a: b"));
    assert!(rig.fails("kubectl replace -f a.yaml").starts_with("Error from server (NotFound): error when replacing"));
    let new = rig.run("kubectl diff -f a.yaml");
    assert_eq!(new.code, 1);
    assert!(new.out.contains("\n+  a: b\n"), "{new:?}");
    assert_eq!(rig.object(&kind::CONFIG_MAP, "a"), None);
    rig.ok("kubectl apply -f a.yaml");
    assert_eq!(rig.ok("kubectl diff -f a.yaml"), "");
    rig.write("a.yaml", &file("b: c"));
    let changed = rig.run("kubectl diff -f a.yaml");
    assert_eq!(changed.code, 1);
    assert!(changed.out.contains("\n-  a: b\n+  b: c\n"), "what the file no longer says goes: {changed:?}");
    assert_eq!(rig.run("kubectl diff -f nope.yaml").code, 2);
    assert_eq!(rig.ok("kubectl replace -f a.yaml"), "configmap/a replaced\n");
    assert_eq!(rig.object(&kind::CONFIG_MAP, "a").unwrap()["data"], json!({"b": "c"}));
    let uid = rig.object(&kind::CONFIG_MAP, "a").unwrap()["metadata"]["uid"].clone();
    assert_eq!(rig.ok("kubectl replace --force -f a.yaml"), "configmap \"a\" deleted\nconfigmap/a replaced\n");
    assert_ne!(rig.object(&kind::CONFIG_MAP, "a").unwrap()["metadata"]["uid"], uid);
}

#[test]
fn nodes_are_cordoned_tainted_and_drained() {
    let rig = Rig::start();
    rig.ok("kubectl run single --image=x");
    rig.ok("kubectl wait --for=condition=Ready pod/single");
    let node = |pointer: &str| rig.object(&kind::NODE, "w1-k8s").unwrap().pointer(pointer).cloned();
    let refused = rig.run("kubectl drain w1-k8s");
    assert_eq!(refused.out, "node/w1-k8s cordoned\n");
    let why = "cannot delete Pods that declare no controller (use --force to override): default/single";
    assert!(
        refused.err.starts_with(&format!("error: unable to drain node \"w1-k8s\" due to error: {why}, ")),
        "{refused:?}"
    );
    assert!(rig.object(&kind::POD, "single").is_some());
    let drained = rig.run("kubectl drain w1-k8s --force --timeout=20s");
    assert_eq!(drained.err, "Warning: deleting Pods that declare no controller: default/single\n");
    let lines = "node/w1-k8s already cordoned\nevicting pod default/single\npod/single evicted\nnode/w1-k8s drained\n";
    assert_eq!(drained.out, lines);
    assert_eq!(rig.object(&kind::POD, "single"), None);
    assert_eq!(rig.ok("kubectl uncordon w1-k8s"), "node/w1-k8s uncordoned\n");
    assert_eq!(node("/spec/unschedulable"), None);
    assert_eq!(rig.ok("kubectl taint nodes w1-k8s a=b:NoSchedule"), "node/w1-k8s tainted\n");
    assert_eq!(node("/spec/taints/0/key"), Some(json!("a")));
    assert_eq!(rig.ok("kubectl taint nodes w1-k8s a-"), "node/w1-k8s untainted\n");
    assert_eq!(node("/spec/taints"), None);
}

#[test]
fn a_rollout_and_its_way_back() {
    let rig = with_web();
    rig.ok("kubectl set image deploy web nginx=nginx:1.26 --record");
    rig.settle();
    let history = rig.ok("kubectl rollout history deploy web");
    let caused = "kubectl set image deploy web nginx=nginx:1.26 --record=true";
    assert_eq!(
        history,
        format!("deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         {caused}\n\n")
    );
    let second = rig.ok("kubectl rollout history deploy web --revision=2");
    assert!(
        second.starts_with("deployment.apps/web with revision #2\nPod Template:\n  Labels:\tapp=web\n"),
        "{second}"
    );
    assert!(second.contains("    Image:\tnginx:1.26\n"), "{second}");
    assert_eq!(rig.ok("kubectl rollout undo deploy web"), "deployment.apps/web rolled back\n");
    rig.settle();
    let container = "/spec/template/spec/containers/0/image";
    assert_eq!(at(&rig, container), "nginx:1.25");
    assert_eq!(at(&rig, "/metadata/annotations/kubernetes.io~1change-cause"), Value::Null, "it belongs to the other");
    for cause in ["one", "another"] {
        let line = format!("kubectl annotate deploy web kubernetes.io/change-cause={cause}");
        assert_eq!(rig.ok(&line), "deployment.apps/web annotated\n", "a cause may always be written anew");
    }
    rig.ok("kubectl rollout undo deploy web --to-revision=2");
    rig.settle();
    assert_eq!(at(&rig, container), "nginx:1.26");
    assert_eq!(
        rig.fails("kubectl rollout undo deploy web --to-revision=7"),
        "error: unable to find specified revision 7 in history\nhint: revisions that are kept: 3, 4\n"
    );
    assert_eq!(rig.ok("kubectl rollout pause deploy web"), "deployment.apps/web paused\n");
    assert_eq!(rig.fails("kubectl rollout pause deploy web"), "error: deployments.apps \"web\" is already paused\n");
    assert!(rig.fails("kubectl rollout undo deploy web").starts_with("error: you cannot rollback a paused deployment"));
    assert!(rig.fails("kubectl rollout restart deploy web").contains("can't restart paused deployment"));
    assert_eq!(rig.ok("kubectl rollout resume deploy web"), "deployment.apps/web resumed\n");
}

#[test]
fn the_namespace_of_the_labs_context_is_the_verbs() {
    let rig = Rig::start();
    assert_eq!(
        rig.fails("kubectl config set-context --current --namespace=kube-system"),
        "error: no current context is set\nhint: the lab's context: sudo lab kubeconfig --merge\n"
    );
    std::fs::create_dir(rig.directory.join(".kube")).unwrap();
    rig.write(
        ".kube/config",
        "contexts:\n- {name: nslab-lab, context: {cluster: a, user: b}}\n- {name: other, context: {cluster: a, user: b, \
         namespace: shop}}\ncurrent-context: other\n",
    );
    rig.ok("kubectl create cm here --from-literal=a=b");
    assert_eq!(rig.object(&kind::CONFIG_MAP, "here").unwrap()["metadata"]["namespace"], "default");
    assert_eq!(rig.ok("kubectl config use-context nslab-lab"), "Switched to context \"nslab-lab\".\n");
    assert_eq!(
        rig.ok("kubectl config set-context --current --namespace=kube-system"),
        "Context \"nslab-lab\" modified.\n"
    );
    assert_eq!(rig.run("kubectl get cm").err, "No resources found in kube-system namespace.\n");
    assert!(rig.ok("kubectl get cm -n default").contains("here"));
    assert_eq!(rig.ok("kubectl config current-context"), "nslab-lab\n");
}

#[test]
fn what_the_api_says_when_it_is_asked() {
    let rig = with_web();
    assert_eq!(rig.ok("kubectl auth can-i create pods"), "yes\n");
    assert!(rig.ok("kubectl auth whoami").contains("kubernetes-admin"));
    assert!(rig.ok("kubectl api-versions").contains("\napps/v1\n"));
    assert_eq!(
        rig.ok("kubectl autoscale deploy web --max=5 --cpu-percent=80"),
        "horizontalpodautoscaler.autoscaling/web autoscaled\n"
    );
    let scaler = rig.object(&kind::HORIZONTAL_POD_AUTOSCALER, "web").unwrap();
    assert_eq!(scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    let events = rig.ok("kubectl events --for=deployment/web");
    let rows: Vec<&str> = events.lines().collect();
    assert!(rows[0].starts_with("LAST SEEN   TYPE     REASON "), "{events}");
    assert!(rows[1].contains(" ScalingReplicaSet   Deployment/web   Scaled up replica set web-"), "{events}");
    assert_eq!(rig.run("kubectl events -n kube-system").err, "No events found in kube-system namespace.\n");
}

#[test]
fn a_kustomization_is_built_by_a_program_that_can() {
    let rig = Rig::start();
    let without = rig.run_in(("PATH", "/nonexistent"), "kubectl apply -k .");
    assert_eq!(without.code, 1);
    assert!(
        without.err.starts_with("error: cannot build the kustomization .: kustomize is not installed\nhint: install")
    );
    std::fs::create_dir(rig.directory.join("bin")).unwrap();
    let built = "apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: built}\\n";
    rig.script("bin/kustomize", &format!("[ \"$1 $2\" = 'build overlay' ] && printf '{built}'"));
    let path = format!("{}:{}", rig.directory.join("bin").display(), std::env::var("PATH").unwrap());
    let said = rig.run_in(("PATH", &path), "kubectl apply -k overlay");
    assert_eq!((said.out.as_str(), said.code), ("configmap/built created\n", 0), "{said:?}");
    let printed = rig.run_in(("PATH", &path), "kubectl kustomize overlay");
    assert!(printed.out.ends_with("metadata: {name: built}\n"), "{printed:?}");
}

#[test]
fn verbs_that_are_not_there_say_what_to_use() {
    let rig = Rig::start();
    for (line, why) in [
        ("kubectl top pods -A", "error: top is not supported by the lab: Metrics API not available "),
        ("kubectl proxy --port=8001", "error: proxy is not supported by the lab: "),
        ("kubectl debug -it web --image=busybox", "error: debug is not supported by the lab: "),
        ("kubectl certificate approve x", "error: certificate is not supported by the lab: "),
        ("kubectl plugin list", "error: plugin is not supported by the lab: "),
    ] {
        let said = rig.fails(line);
        assert!(said.starts_with(why) && said.contains("\nhint: "), "{line}: {said}");
    }
}

#[test]
fn waiting_for_objects_in_every_way() {
    let rig = Rig::start();
    put(&rig.store, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}));
    rig.ok("kubectl run a --image=x");
    rig.ok("kubectl run b --image=x -n other");
    let both = rig.ok("kubectl wait --for=condition=Ready pods --all -A");
    assert_eq!(both, "pod/a condition met\npod/b condition met\n");
    let line = "kubectl wait --for=jsonpath={.status.phase}=Running pods --field-selector=metadata.name=a -o name";
    assert_eq!(rig.ok(line), "pod/a\n");
    let gone = rig.ok("kubectl wait --for=delete pod/nope");
    assert_eq!(gone, "");
    assert!(rig.fails("kubectl wait pod/a").starts_with("error: unrecognized condition: \"\"\n"));
}
