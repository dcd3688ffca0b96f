//! The course notes' command lines, typed at the real program, which talks to the real API.

#[allow(dead_code)] // What the other tests need of the rig.
mod cli_rig;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use cli_rig::{Rig, Said, finish, put};
use nslab::object::kind;
use serde_json::json;

/// The words of each line, whatever the blanks between them.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn the_node_port_exercise() {
    let rig = Rig::start();
    let typo = rig.fails("kubectl create deployment np-pods --images=sysnet4admin/echo-hname");
    assert!(typo.starts_with("error: unknown flag: --images\n"), "{typo}");
    assert!(typo.ends_with("hint: did you mean --image?\n"), "{typo}");
    assert_eq!(
        rig.ok("kubectl create deployment np-pods --image=sysnet4admin/echo-hname"),
        "deployment.apps/np-pods created\n"
    );
    let deployment = rig.object(&kind::DEPLOYMENT, "np-pods").unwrap();
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], json!({"app": "np-pods"}));
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["name"], "echo-hname");

    rig.file("002-y1.yaml", "nodeport.yaml");
    assert_eq!(rig.ok("kubectl create -f nodeport.yaml"), "service/np-svc created\n");
    let table = rig.ok("kubectl get services");
    let rows_seen = rows(&table);
    assert_eq!(rows_seen[0], ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
    assert_eq!((rows_seen[1][0], rows_seen[1][1], rows_seen[1][4]), ("np-svc", "NodePort", "80:30000/TCP"));
    let nodes = rig.ok("kubectl get nodes -o wide");
    let worker = &rows(&nodes)[2];
    assert_eq!((worker[0], worker[5]), ("w1-k8s", "192.168.1.101"), "{nodes}");

    assert_eq!(rig.ok("kubectl scale deployment np-pods --replicas=3"), "deployment.apps/np-pods scaled\n");
    assert_eq!(rig.object(&kind::DEPLOYMENT, "np-pods").unwrap()["spec"]["replicas"], 3);
    assert_eq!(
        rig.ok("kubectl expose deployment np-pods --type=NodePort --name=np-svc-v2 --port=80"),
        "service/np-svc-v2 exposed\n"
    );
    let service = rig.object(&kind::SERVICE, "np-svc-v2").unwrap();
    assert_eq!(service["spec"]["selector"], json!({"app": "np-pods"}));
    let node_port = service["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30001..=32767).contains(&node_port));
    assert_eq!(rig.ok("lab service np-svc-v2 --url"), format!("http://192.168.1.101:{node_port}\n"));

    assert_eq!(rig.ok("kubectl delete deployment np-pods"), "deployment.apps \"np-pods\" deleted\n");
    assert_eq!(rig.ok("kubectl delete services np-svc"), "service \"np-svc\" deleted\n");
    assert_eq!(rig.ok("kubectl delete services np-svc-v2"), "service \"np-svc-v2\" deleted\n");
    let nothing = rig.run("kubectl get services");
    assert_eq!((nothing.out.as_str(), nothing.code), ("", 0));
    assert_eq!(nothing.err, "No resources found in default namespace.\n");
}

#[test]
fn the_cluster_ip_exercise() {
    let rig = Rig::start();
    rig.file("003-y2.yaml", "deployment-hostname.yaml");
    rig.file("003-y3.yaml", "hostname-svc-clusterip.yaml");
    let wrong_name = rig.fails("kubectl apply -f deploy-hostname.yaml");
    assert!(wrong_name.starts_with("error: the path \"deploy-hostname.yaml\" does not exist\n"), "{wrong_name}");
    assert!(wrong_name.contains("did you mean"), "{wrong_name}");
    let apply = "kubectl apply -f deployment-hostname.yaml";
    assert_eq!(rig.ok(apply), "deployment.apps/hostname-deployment created\n");
    assert_eq!(rig.ok(apply), "deployment.apps/hostname-deployment unchanged\n");
    assert_eq!(rig.ok("k apply -f hostname-svc-clusterip.yaml"), "service/hostname-svc-clusterip created\n");
    let table = rig.ok("k get svc");
    let row = &rows(&table)[1];
    assert_eq!((row[0], row[1], row[3], row[4]), ("hostname-svc-clusterip", "ClusterIP", "<none>", "8080/TCP"));

    put(
        &rig.store,
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "hostname-svc-clusterip", "namespace": "default"},
            "subsets": [{"addresses": [{"ip": "10.244.1.2"}, {"ip": "10.244.2.2"}], "ports": [{"name": "web-port", "port": 80}]}]}),
    );
    let endpoints = rig.ok("kubectl get endpoints");
    assert!(endpoints.contains("hostname-svc-clusterip   10.244.1.2:80,10.244.2.2:80"), "{endpoints}");
    let page = rig.ok("kubectl describe svc hostname-svc-clusterip");
    assert!(page.contains("Endpoints:                10.244.1.2:80,10.244.2.2:80\n"), "{page}");
    assert_eq!(rig.ok("kubectl delete -f hostname-svc-clusterip.yaml"), "service \"hostname-svc-clusterip\" deleted\n");
}

#[test]
fn a_throw_away_pod_with_a_shell() {
    let rig = Rig::start();
    let run = "kubectl run -i --tty --rm debug --image=jonum12312/curl --restart=Never -- sh";
    let said = rig.run_with(run, "echo out; echo err >&2; exit 7\n");
    assert_eq!(
        said,
        Said {
            out: "out\npod \"debug\" deleted\n".into(),
            err: "Unable to use a TTY - input is not a terminal or the right kind of file\nIf you don't see a command prompt, try \
                  pressing enter.\nerr\n"
                .into(),
            code: 7,
        }
    );
    assert_eq!(rig.object(&kind::POD, "debug"), None);
}

#[test]
fn commands_in_containers_and_on_nodes() {
    let rig = Rig::start();
    assert_eq!(rig.ok("kubectl run web --image=nginx --port=80"), "pod/web created\n");
    rig.ok("kubectl wait --for=condition=Ready pod/web");
    assert_eq!(rig.ok("kubectl exec web -- echo hi"), "hi\n");
    let failed = rig.run("kubectl exec web -- sh -c 'exit 3'");
    assert_eq!((failed.err.as_str(), failed.code), ("command terminated with exit code 3\n", 3));
    // Input goes in as it is, all of it, and its end is the command's end.
    let input = "0123456789abcdef\n".repeat(20_000);
    let echoed = rig.run_with("kubectl exec -i web -- cat", &input);
    assert!(echoed.out == input, "{} of {} bytes came back", echoed.out.len(), input.len());
    let missing = rig.fails("kubectl exec web -- nonsense");
    assert!(missing.contains("executable file not found in $PATH"), "{missing}");
    let old_form = rig.fails("kubectl exec web ls");
    assert!(old_form.ends_with("hint: kubectl exec web -- ls\n"), "{old_form}");

    assert_eq!(rig.ok("lab node exec w1-k8s -- echo on a node"), "on a node\n");
    assert_eq!(rig.ok("lab client exec -- echo outside"), "outside\n");
    let failed = rig.run("lab client exec -- sh -c 'exit 4'");
    assert_eq!((failed.err.as_str(), failed.code), ("", 4));
    let missing = rig.fails("lab node exec w9-k8s -- true");
    assert!(missing.contains("nodes \"w9-k8s\" not found\nhint: did you mean"), "{missing}");
    assert_eq!(rows(&rig.ok("lab node list"))[1][0], "m-k8s");
}

#[test]
fn names_that_were_meant() {
    let rig = Rig::start();
    rig.ok("kubectl create deployment in-hname-pod --image=sysnet4admin/echo-hname");
    rig.ok("kubectl expose deployment in-hname-pod --name=hname-svx-default --port=80,443");
    assert_eq!(
        rig.object(&kind::SERVICE, "hname-svx-default").unwrap()["spec"]["ports"],
        json!([{"name": "port-1", "port": 80, "protocol": "TCP", "targetPort": 80},
               {"name": "port-2", "port": 443, "protocol": "TCP", "targetPort": 443}])
    );
    let gone = rig.fails("kubectl delete services hname-svc-default");
    assert!(gone.starts_with("Error from server (NotFound): services \"hname-svc-default\" not found\n"), "{gone}");
    assert!(gone.contains("hint: did you mean hname-svx-default?\n"), "{gone}");

    rig.ok("kubectl create deployment nodejs-app --image=x");
    rig.ok("kubectl run test-node-app --image hello-world --port=3002");
    let pod = rig.fails("kubectl expose pod nodejs-app");
    assert!(pod.starts_with("Error from server (NotFound): pods \"nodejs-app\" not found\n"), "{pod}");
    assert!(pod.contains("hint: did you mean deployment/nodejs-app"), "{pod}");
    assert!(pod.contains("test-node-app"), "{pod}");
    let no_port = rig.fails("kubectl expose deploy nodejs-app");
    assert!(no_port.starts_with("error: couldn't find port via --port flag or introspection\n"), "{no_port}");
    let no_deployment = rig.fails("kubectl expose deployment ex-lb --type=LoadBalancer --name=ex-svc");
    assert!(no_deployment.contains("deployments.apps \"ex-lb\" not found"), "{no_deployment}");

    let elsewhere = rig.fails("kubectl get pod test-node-app -n kube-system");
    assert!(
        elsewhere.ends_with("hint: pod \"test-node-app\" is in namespace \"default\": add -n default\n"),
        "{elsewhere}"
    );
    let verb = rig.fails("kubectl gett pods");
    assert_eq!(verb, "error: unknown command \"gett\" for \"kubectl\"\nhint: did you mean kubectl get?\n");
}

#[test]
fn a_selector_that_no_pod_has_is_explained() {
    let rig = Rig::start();
    rig.ok("kubectl run web --image=nginx --labels=label-test=label-name");
    rig.ok("kubectl create service clusterip back-end --tcp=80");
    rig.write("svc.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: back-end2}\nspec:\n  ports: [{port: 80}]\n  selector: {label-test: lable-name}\n");
    rig.ok("kubectl apply -f svc.yaml");
    let said = rig.run("kubectl describe service back-end2");
    assert_eq!(
        said.err,
        "hint: Service back-end2 selects label-test=lable-name: 0 pods match. Labels in use: label-test=label-name. Did you \
         mean label-test=label-name?\n"
    );
}

#[test]
fn all_of_the_files_or_nothing() {
    let rig = Rig::start();
    rig.file("002-y1.yaml", "nodeport.yaml");
    rig.ok("kubectl apply -f nodeport.yaml");
    let taken = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: second}\nspec:\n  type: NodePort\n  ports:\n  - port: 80\n    nodePort: 30000\n";
    rig.write("two.yaml", taken);
    let said = rig.fails("kubectl apply -f two.yaml");
    assert!(
        said.starts_with("The Service \"second\" is invalid: spec.ports[0].nodePort: Invalid value: 30000: provided port is already allocated"),
        "{said}"
    );
    assert!(said.contains("spec.ports[0].nodePort is at two.yaml:12:15\n"), "{said}");
    assert!(said.ends_with("hint: nothing was applied: it is all of the objects or none\n"), "{said}");
    assert_eq!(rig.object(&kind::CONFIG_MAP, "first"), None);

    rig.write("bad.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n\tname: x\n");
    let tab = rig.fails("kubectl create -f nodeport.yaml -f bad.yaml");
    assert!(tab.starts_with("error: bad.yaml:4:"), "{tab}");
}

#[test]
fn output_that_scripts_read() {
    let rig = Rig::start();
    rig.ok("kubectl run web-1 --image=nginx");
    rig.ok("kubectl run web-2 --image=nginx");
    rig.ok("kubectl wait --for=condition=Ready pod --all");
    for (line, expected) in [
        ("kubectl get pods -o name", "pod/web-1\npod/web-2\n"),
        ("kubectl get pods -o jsonpath='{.items[*].metadata.name}'", "web-1 web-2"),
        ("kubectl get pod web-1 -o=jsonpath='{.status.podIP}'", "10.244.1.2"),
        ("kubectl get node w1-k8s -o=jsonpath='{.status.addresses[0].address}'", "192.168.1.101"),
        (
            "kubectl get po -l run=web-2 -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName",
            "NAME    NODE\nweb-2   w1-k8s\n",
        ),
        ("kubectl get po --no-headers -o custom-columns=N:.metadata.name", "web-1\nweb-2\n"),
        ("kubectl -n kube-system get po --ignore-not-found", ""),
    ] {
        assert_eq!(rig.ok(line), expected, "{line}");
    }
    let yaml = rig.ok("kubectl get pod web-1 -o yaml");
    assert!(yaml.starts_with("apiVersion: v1\nkind: Pod\nmetadata:\n  creationTimestamp: \"2"), "{yaml}");
    rig.write("again.yaml", &yaml);
    assert_eq!(rig.ok("kubectl apply -f again.yaml --dry-run=client -o name"), "pod/web-1\n");
    let all = rig.run("kubectl get pods,nodes");
    assert!(all.out.contains("\n\nNAME"), "two tables: {}", all.out);
    assert!(all.out.contains("pod/web-1 ") && all.out.contains("node/w1-k8s "), "{}", all.out);
    let missing = rig.run("kubectl get pod web-1 nope");
    assert!(missing.out.contains("web-1") && missing.code == 1, "{missing:?}");
    assert!(missing.err.starts_with("Error from server (NotFound): pods \"nope\" not found\n"), "{missing:?}");
}

#[test]
fn a_watch_prints_each_change_as_it_comes() {
    let rig = Rig::start();
    rig.ok("kubectl create configmap first --from-literal=a=b");
    let mut watch = rig.spawn("kubectl get configmaps -w");
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("NAME "));
    assert!(lines.next().unwrap().starts_with("first "));
    rig.ok("kubectl create configmap second --from-literal=a=b");
    assert!(lines.next().unwrap().starts_with("second "));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let rig = Rig::start();
    for number in 0..2000 {
        let name = format!("some-config-map-with-a-long-name-{number}");
        put(
            &rig.store,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}),
        );
    }
    let mut child = rig.spawn("kubectl get cm -o yaml");
    let mut first = [0; 10];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    let said = finish(child);
    assert_eq!((said.err.as_str(), said.code), ("", 141));
}

#[test]
fn deleting_waits_until_it_is_gone() {
    let rig = Rig::start();
    rig.ok("kubectl run a --image=x");
    rig.ok("kubectl run b --image=x");
    rig.ok("kubectl wait --for=condition=Ready pods --all");
    assert_eq!(rig.ok("kubectl delete pods a b"), "pod \"a\" deleted\npod \"b\" deleted\n");
    assert_eq!(rig.object(&kind::POD, "a"), None);
    assert_eq!(rig.object(&kind::POD, "b"), None);
    assert_eq!(rig.ok("kubectl delete pods --all"), "No resources found\n");
    let nameless = rig.fails("kubectl delete pods");
    assert!(nameless.starts_with("error: resource(s) were provided, but no name was specified\n"), "{nameless}");
}

#[test]
fn labels_annotations_and_rollouts() {
    let rig = Rig::start();
    rig.ok("kubectl create deployment web --image=nginx");
    assert_eq!(rig.ok("kubectl label deploy web tier=front"), "deployment.apps/web labeled\n");
    let clash = rig.fails("kubectl label deploy/web tier=back");
    assert!(clash.starts_with("error: 'tier' already has a value (front), and --overwrite is false\n"), "{clash}");
    assert_eq!(rig.ok("kubectl label deploy web tier-"), "deployment.apps/web unlabeled\n");
    assert_eq!(rig.ok("kubectl annotate deploy web note='a b'"), "deployment.apps/web annotated\n");
    assert_eq!(rig.ok("kubectl rollout restart deployment web"), "deployment.apps/web restarted\n");
    let web = rig.object(&kind::DEPLOYMENT, "web").unwrap();
    assert_eq!(web["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(web["metadata"]["annotations"]["note"], "a b");
    assert!(web["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].is_string());
    let status = rig.ok("kubectl rollout status deployment/web --watch=false");
    assert!(status.starts_with("Waiting for deployment"), "{status}");
}

/// Whatever is open: a session, a watch, a wait.
#[test]
fn what_is_open_when_the_server_ends_says_why() {
    for (by_down, words) in [(true, "error: lab \"lab\" was taken down\n"), (false, "sudo lab up\n")] {
        let mut rig = Rig::start();
        rig.ok("kubectl run web --image=nginx");
        rig.ok("kubectl wait --for=condition=Ready pod/web");
        let mut clients = Vec::new();
        for line in [
            "kubectl exec -i web -- cat",
            "kubectl get pods -w",
            "kubectl wait --for=jsonpath={.status.phase}=Failed pod/web --timeout=1h",
        ] {
            let mut client = rig.spawn(line);
            if line.contains("exec") {
                client.stdin.as_mut().unwrap().write_all(b"here\n").unwrap();
            }
            if !line.contains("wait") {
                let mut first = String::new();
                BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
            }
            clients.push((line, client));
        }
        rig.end_server(by_down);
        for (line, client) in clients {
            let said = finish(client);
            assert!(said.code == 1 && said.err.ends_with(words), "{line}: {said:?}");
        }
    }
}

#[test]
fn without_a_lab_the_next_step_is_told() {
    let rig = Rig::start();
    let said = rig.fails("kubectl --api-socket=nothing.sock get pods");
    assert!(said.starts_with("error: no lab \"lab\" is running; "), "{said}");
    assert!(said.contains("sudo lab up"), "{said}");
    rig.write("stale.sock", "");
    let stale = rig.fails("kubectl --api-socket=stale.sock get pods");
    assert!(stale.starts_with("error: lab \"lab\" does not answer at stale.sock"), "{stale}");
}

#[test]
fn kinds_and_fields_are_explained() {
    let rig = Rig::start();
    assert_eq!(
        rig.ok("kubectl explain pod.spec.containers.imagePullPolicy"),
        "KIND:       Pod\nVERSION:    v1\n\nFIELD: imagePullPolicy <string>\nENUM:\n    Always\n    IfNotPresent\n    \
         Never\n\nDESCRIPTION:\n    Image pull policy. One of Always, Never, IfNotPresent. Defaults to Always if\n    \
         :latest tag is specified, or IfNotPresent otherwise. Cannot be updated. More\n    info: \
         https://kubernetes.io/docs/concepts/containers/images#updating-images\n    \n\n"
    );
    let ports = rig.ok("lab explain svc.spec.ports --recursive");
    assert!(ports.ends_with(
        "FIELDS:\n  appProtocol\t<string>\n  name\t<string>\n  nodePort\t<integer>\n  port\t<integer> -required-\n  \
         protocol\t<string>\n  enum: SCTP, TCP, UDP\n  targetPort\t<IntOrString>\n\n"
    ));
    let shallow = rig.ok("lab explain deploy --api-version=apps/v1 -R --max-depth=2");
    assert!(shallow.starts_with("GROUP:      apps\nKIND:       Deployment\n"), "{shallow}");
    assert!(shallow.contains("\n    template\t<PodTemplateSpec> -required-\n  status\t"), "{shallow}");
    assert!(rig.ok("lab explain deployments.apps.spec.template").contains("FIELD: template <PodTemplateSpec>\n"));
    assert_eq!(
        rig.fails("lab explain pod.spec.contianers.image"),
        "error: field \"contianers\" does not exist\nhint: did you mean containers?\n"
    );
    assert!(
        rig.fails("lab explain deploy --api-version=apps/v1beta1")
            .starts_with("error: couldn't find resource for \"apps/v1beta1, Resource=deployments\"\n")
    );
}

#[test]
fn what_needs_no_lab() {
    let rig = Rig::start();
    assert!(rig.ok("lab --api-socket=nothing.sock api-resources").contains("deployments "));
    assert!(rig.ok("lab completion bash").contains("_lab()"));
    assert!(rig.ok("lab man").contains(".TH lab 1"));
    let schema: serde_json::Value = serde_json::from_str(&rig.ok("lab schema")).unwrap();
    assert!(schema["properties"]["nodes"].is_object());
    assert!(rig.ok("kubectl version --client").starts_with("Client Version: v"));
    assert_eq!(
        rig.ok("kubectl --api-socket=nothing.sock create deployment a --image=b --dry-run=client -o name"),
        "deployment.apps/a\n"
    );
}

#[test]
fn applying_on_the_server() {
    let rig = Rig::start();
    let web = |replicas: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  \
             selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      \
             containers: [{{name: web, image: nginx}}]\n",
        )
    };
    rig.write("web.yaml", &web(1));
    rig.write("more.yaml", &web(3));
    assert_eq!(rig.ok("kubectl apply -f web.yaml"), "deployment.apps/web created\n");
    assert_eq!(rig.ok("kubectl apply --server-side -f web.yaml"), "deployment.apps/web serverside-applied\n");
    let refused = rig.fails("lab apply --server-side --field-manager ci -f more.yaml");
    assert_eq!(
        refused,
        "error: Apply failed with 1 conflict: conflict with \"kubectl\": .spec.replicas\nhint: leave these fields out \
         of the file, give them the values that they have, or take them over with --force-conflicts\n"
    );
    let forced = rig.ok("lab apply --server-side --field-manager ci --force-conflicts --dry-run=server -f more.yaml");
    assert_eq!(forced, "deployment.apps/web serverside-applied (server dry run)\n");
    rig.ok("lab apply --server-side --field-manager ci --force-conflicts -f more.yaml");
    assert_eq!(rig.object(&kind::DEPLOYMENT, "web").unwrap()["spec"]["replicas"], 3);
    rig.ok("kubectl scale deployment web --replicas=2");
    let shown = rig.ok("kubectl get deployment web --show-managed-fields -o yaml");
    for manager in ["manager: kubectl\n", "manager: ci\n", "manager: lab\n"] {
        assert!(shown.contains(manager), "{manager}: {shown}");
    }
    assert!(!rig.ok("kubectl get deployment web -o yaml").contains("manager"));
    assert_eq!(
        rig.fails("lab apply --force-conflicts -f web.yaml"),
        "error: --force-conflicts only works with --server-side\n"
    );
    assert!(
        rig.fails("lab apply --server-side --dry-run=client -f web.yaml").contains("did you mean --dry-run=server")
    );
}
