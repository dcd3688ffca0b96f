//! The lab as a user has it: the binary, real namespaces, real packets. Run by `scripts/test` inside `scripts/sandbox`,
//! so that what is "this machine" here is a private network, mount and pid namespace.

mod lab_rig;

use lab_rig::{Lab, http, http_names, refused};

/// SEEDS 002-C01 to C13, H01, H02: the book's NodePort chapter, as its reader types it.
#[test]
fn the_notes_nodeport_chapter() {
    let lab = Lab::up(&[]);
    let typo = lab.kubectl("create deployment np-pods --images=sysnet4admin/echo-hname").fails();
    typo.has("unknown flag: --images").has("--image");
    lab.kubectl("create deployment np-pods --image=sysnet4admin/echo-hname")
        .ok()
        .is("deployment.apps/np-pods created\n");
    lab.wait_ready();
    lab.kubectl("get pods").ok().matches_line(&["np-pods-", "1/1", "Running", "0"]);
    let missing = lab.kubectl("create -f ~/BookInfra/ch3/3.3.1/nodeport.yaml").fails();
    missing.has("the path \"~/BookInfra/ch3/3.3.1/nodeport.yaml\" does not exist");
    lab.kubectl("create -f labs/nodeport/nodeport.yaml").ok().is("service/np-svc created\n");
    lab.kubectl("get services").ok().matches_line(&["np-svc", "NodePort", "10.", "<none>", "80:30000/TCP"]);
    let nodes = lab.kubectl("get nodes -o wide").ok();
    for (node, address) in [("w1-k8s", "192.168.1.101"), ("w2-k8s", "192.168.1.102"), ("w3-k8s", "192.168.1.103")] {
        nodes.matches_line(&[node, "Ready", address]);
    }
    lab.wait_ready();
    let pod = lab.kubectl("get pods -o jsonpath={.items[0].metadata.name}").ok().stdout;
    for node in ["192.168.1.101", "192.168.1.102", "192.168.1.103", "192.168.1.10"] {
        assert_eq!(http(&format!("{node}:30000"), "/"), format!("{pod}\n"), "through {node}");
    }

    lab.kubectl("scale deployment np-pods --replicas=3").ok().is("deployment.apps/np-pods scaled\n");
    lab.wait_ready();
    lab.kubectl("get pods").ok().lines_with("Running", 3);
    assert_eq!(http_names("192.168.1.101:30000", 60).len(), 3, "three pods take turns");

    let exposed = lab.kubectl("expose deployment np-pods --type=NodePort --name=np-svc-v2 --port=80").ok();
    exposed.is("service/np-svc-v2 exposed\n");
    lab.wait_ready();
    let port = lab.kubectl("get svc np-svc-v2 -o jsonpath={.spec.ports[0].nodePort}").ok().stdout;
    let number: u16 = port.parse().expect("a node port");
    assert!((30000..=32767).contains(&number), "{number}");
    assert!(http(&format!("192.168.1.102:{port}"), "/").starts_with("np-pods-"));

    lab.kubectl("delete deployment np-pods").ok().is("deployment.apps \"np-pods\" deleted\n");
    lab.kubectl("delete services np-svc").ok().is("service \"np-svc\" deleted\n");
    lab.kubectl("delete services np-svc-v2").ok().is("service \"np-svc-v2\" deleted\n");
    lab.wait_ready();
    for node in ["192.168.1.101", "192.168.1.102", "192.168.1.103"] {
        refused(&format!("{node}:30000"));
        refused(&format!("{node}:{port}"));
    }
    lab.down();
}

/// SEEDS 003-C04 to C15: pods by address, ClusterIP from nodes and pods, names that only pods know.
#[test]
fn the_notes_clusterip_chapter() {
    let lab = Lab::up(&[]);
    lab.kubectl("apply -f labs/clusterip/deployment-hostname.yaml")
        .ok()
        .is("deployment.apps/hostname-deployment created\n");
    lab.wait_ready();
    let wide = lab.kubectl("get pods -o wide").ok();
    wide.lines_with("hostname-deployment-", 3);
    let ips = lab.kubectl("get pods -o jsonpath={.items[*].status.podIP}").ok().stdout;
    let first = ips.split(' ').next().expect("a pod's address").to_string();
    for node in ["m-k8s", "w1-k8s", "w2-k8s", "w3-k8s"] {
        let page = lab.lab(&format!("node exec {node} -- curl -s {first}")).ok().stdout;
        let line = page.lines().find(|line| line.contains("Hello")).expect("the Hello line");
        assert!(
            line.starts_with("\t<p>Hello,  hostname-deployment-") && line.ends_with("</p>\t</blockquote>"),
            "{line:?}"
        );
    }

    let created = lab.kubectl("apply -f labs/clusterip/hostname-svc-clusterip.yaml").ok();
    created.is("service/hostname-svc-clusterip created\n");
    let services = lab.kubectl("get svc").ok();
    services.matches_line(&["hostname-svc-clusterip", "ClusterIP", "10.", "<none>", "8080/TCP"]);
    services.matches_line(&["kubernetes", "ClusterIP", "10.96.0.1", "<none>", "443/TCP"]);
    lab.wait_ready();
    let ip = lab.kubectl("get svc hostname-svc-clusterip -o jsonpath={.spec.clusterIP}").ok().stdout;
    let loop_of_curls = format!("for i in $(seq 40); do curl -s {ip}:8080 | grep Hello; done");
    for place in ["node exec w1-k8s --", "node exec m-k8s --"] {
        let out = lab.lab_args(place, &["sh", "-c", &loop_of_curls]).ok().stdout;
        let names: std::collections::BTreeSet<&str> = out.lines().collect();
        assert_eq!((out.lines().count(), names.len()), (40, 3), "{place}: {out}");
    }
    // From outside there is no way to a ClusterIP.
    lab.lab(&format!("client exec -- curl -s -m 2 {ip}:8080")).fails();

    let debug = "run -i --rm debug --image=jonum12312/curl --restart=Never -- sh -c";
    let by_ip = lab.kubectl_args(debug, &[&format!("curl {ip}:8080 --silent | grep Hello")]).ok();
    by_ip.has("Hello,  hostname-deployment-").has("pod \"debug\" deleted");
    let by_name = lab.kubectl_args(debug, &["curl hostname-svc-clusterip:8080 --silent | grep Hello"]).ok();
    by_name.has("Hello,  hostname-deployment-");
    for place in ["node exec m-k8s --", "node exec w1-k8s --", "client exec --"] {
        let out = lab.lab(&format!("{place} curl -s -m 5 hostname-svc-clusterip:8080"));
        assert_eq!(out.code, 6, "{place}: the name must not resolve: {out:?}");
    }
    let endpoints = lab.kubectl("get endpoints").ok();
    endpoints.matches_line(&["hostname-svc-clusterip", ":80,10.244."]);
    endpoints.matches_line(&["kubernetes", "192.168.1.10:6443"]);
    lab.down();
}

/// What cannot be had is refused with the reason, and leaves everything as it was.
#[test]
fn refusals_change_nothing() {
    let lab = Lab::nothing_yet();
    let bad = std::env::temp_dir().join(format!("nslab-refused-{}.yaml", std::process::id()));
    let two = "apiVersion: v1\nkind: Service\nmetadata: {name: good}\nspec:\n  ports: [{port: 80}]\n---\n\
               apiVersion: v1\nkind: Service\nmetadata:\n  name: hogehogeService\nspec:\n  ports: [{port: 80}]\n";
    std::fs::write(&bad, two).unwrap();
    let file = bad.to_str().unwrap();
    lab.run("lab", &["up", file])
        .fails()
        .has(&format!("{file}:10:9: metadata.name: Invalid value"))
        .has("hogehoge-service");
    lab_rig::nothing_is_left();
    // What only the API knows to refuse is refused as early.
    let taken = two.replace("hogehogeService", "second").replace("[{port: 80}]", "[{port: 80, nodePort: 30008}]");
    std::fs::write(&bad, taken.replace("spec:\n", "spec:\n  type: NodePort\n")).unwrap();
    lab.run("lab", &["up", file]).fails().has("30008: provided port is already allocated");
    lab_rig::nothing_is_left();
    std::fs::write(&bad, two).unwrap();

    lab.run("lab", &["up"]).ok();
    lab.run("lab", &["up", file]).fails();
    lab.kubectl("get service good").fails().has("services \"good\" not found");
    std::fs::remove_file(&bad).unwrap();

    let clash = lab.lab("up --name other").fails();
    clash.has("192.168.1.0/24").has("lanSubnet");
    assert!(!std::path::Path::new("/run/nslab/other").exists(), "a lab that was refused is no lab");
    assert_eq!(lab.lab("status -o json").ok().stdout.matches("\"lab\":").count(), 1);

    let lock = std::fs::File::open("/run/nslab/lab/lock").expect("the lock's file");
    lock.lock().expect("the lock");
    lab.lab("up").fails().has("is at work on this lab");
    lab.lab("down").fails().has("is at work on this lab");
    drop(lock);
    lab.down();
}

/// Where one lab runs under another name, a command that names none means that one.
#[test]
fn the_only_lab_needs_no_name() {
    let lab = Lab::nothing_yet();
    lab.lab("up --name solo labs/nodeport").ok();
    lab.lab("up").ok().has("Nothing changed: the lab \"solo\"");
    lab.kubectl("get pods").ok().matches_line(&["np-pods-", "Running"]);
    lab.lab("down --volumes").ok().has("Lab \"solo\" is down");
    lab_rig::nothing_is_left();
}
