use super::*;
use crate::applet;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_string).collect()
}

/// What runs, as text, on a machine with the usual tools.
fn runs(image: &str, command: &str, args: &str) -> String {
    runs_on(&TOOLS.iter().copied().collect(), image, command, args)
}

fn runs_on(host: &HostPrograms, image: &str, command: &str, args: &str) -> String {
    let (command, args) = (words(command), words(args));
    match resolve(image, Some(&command), Some(&args), host) {
        Ok(Program::Applet { argv }) => format!("applet: {}", argv.join(" ")),
        Ok(Program::Command { argv }) => argv.join(" "),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn every_course_image_has_its_server() {
    for (image, expected) in [
        ("sysnet4admin/echo-hname", "echo-hname"),
        ("docker.io/sysnet4admin/echo-hname:latest", "echo-hname"),
        ("sysnet4admin/chk-hn", "echo-hname"),
        ("sysnet4admin/echo-ip", "echo-ip"),
        ("sysnet4admin/chk-ip:v1", "echo-ip"),
        ("sysnet4admin/chk-info", "chk-info"),
        ("sysnet4admin/audit-trail", "audit-trail"),
        ("sysnet4admin/chk-log", "audit-trail"),
        ("alicek106/rr-test:echo-hostname", "rr-test"),
        ("alicek106/ingress-annotation-test:0.0", "ingress-annotation-test"),
        ("luksa/kubia", "kubia"),
        ("ghcr.io/subicura/echo:v1", "subicura-echo"),
        ("nginx:1.14.2", "nginx --tag 1.14.2"),
        ("docker.io/library/nginx", "nginx --tag latest"),
        ("httpd", "httpd --tag latest"),
        ("registry.k8s.io/e2e-test-images/agnhost:2.39", "agnhost pause"),
        ("registry.k8s.io/hpa-example", "hpa-example"),
        ("registry.k8s.io/pause:3.9", "pause"),
        ("kubernetes/pause", "pause"),
        ("hello-world", "hello-world"),
    ] {
        assert_eq!(runs(image, "", ""), format!("applet: {expected}"), "{image}");
    }
}

#[test]
fn shell_images_run_their_own_default() {
    for (image, expected) in [
        ("busybox:1.28", "sh"),
        ("alpine", "/bin/sh"),
        ("ubuntu:16.04", "/bin/bash"),
        ("debian", "bash"),
        ("centos:7", "/bin/bash"),
        ("curlimages/curl", "curl"),
        ("sysnet4admin/net-tools", "curl"),
        ("sysnet4admin/sleepy", "sleep infinity"),
        ("jonum12312/curl", "/bin/sh"),
    ] {
        assert_eq!(runs(image, "", ""), expected, "{image}");
    }
}

#[test]
fn command_and_args_follow_the_kubernetes_rules() {
    // command drops the image's arguments, args replaces them.
    assert_eq!(runs("busybox", "sleep 3600", ""), "sleep 3600");
    assert_eq!(runs("busybox", "", "sleep 3600"), "sleep 3600");
    assert_eq!(runs("sysnet4admin/sleepy", "/bin/sh -c", "date"), "/bin/sh -c date");
    assert_eq!(runs("jonum12312/curl", "", "sh"), "sh");
    // An image's server keeps its stand-in when it is named, and loses it when something else is.
    assert_eq!(runs("nginx", "nginx -g x", ""), "applet: nginx --tag latest");
    assert_eq!(runs("nginx", "sh -c date", ""), "sh -c date");
    assert_eq!(runs("nginx", "", "nginx-debug -g x"), "applet: nginx --tag latest");
    // A program as entrypoint takes args, and gives way to command.
    let agnhost = "registry.k8s.io/e2e-test-images/agnhost:2.39";
    assert_eq!(runs(agnhost, "", "netexec --http-port=80"), "applet: agnhost netexec --http-port=80");
    assert_eq!(runs(agnhost, "/agnhost", "serve-hostname"), "applet: agnhost serve-hostname");
    assert_eq!(runs(agnhost, "sleep 1", ""), "sleep 1");
}

#[test]
fn the_entrypoint_of_curl_takes_programs_and_options() {
    assert_eq!(runs("curlimages/curl", "", "sh"), "sh");
    assert_eq!(runs("curlimages/curl", "", "/bin/nslookup web"), "/bin/nslookup web");
    assert_eq!(runs("curlimages/curl", "", "-s http://web"), "curl -s http://web");
    assert_eq!(runs("curlimages/curl", "", "web:8080"), "curl web:8080");
}

#[test]
fn databases_are_the_machines_own_or_none() {
    let error = runs("mysql:5.6", "", "");
    assert_eq!(
        error,
        "error: image \"mysql:5.6\" runs the program mysqld of this machine, which is not installed: on \
         Debian and Ubuntu the package default-mysql-server brings it"
    );
    let host = HostPrograms::from_iter(["mysqld", "redis-server"]);
    assert_eq!(runs_on(&host, "mysql:5.6", "", "--character-set-server=utf8"), "mysqld --character-set-server=utf8");
    assert_eq!(runs_on(&host, "redis:7", "", ""), "redis-server");
    assert!(runs_on(&host, "mysql:5.6", "", "mysql -h mysql").contains("the package default-mysql-client"));
    assert_eq!(runs_on(&host, "mysql:5.6", "sleep 1", ""), "sleep 1", "a shell in the image needs no server");
}

#[test]
fn an_unknown_image_is_explained() {
    let error = runs("ngnix", "", "");
    assert_eq!(
        error,
        "error: failed to pull and unpack image \"docker.io/library/ngnix:latest\": failed to resolve reference \
         \"docker.io/library/ngnix:latest\": docker.io/library/ngnix:latest: not found; did you mean \"nginx\"? The lab \
         pulls from no registry"
    );
    assert!(runs("sysnet4admin/echo-hnam", "", "").contains("did you mean \"sysnet4admin/echo-hname\"?"));
    assert!(runs("echo-ip", "", "").contains("did you mean \"sysnet4admin/echo-ip\"?"));
    assert!(runs("192.168.1.10:8443/echo-hname", "", "").contains("did you mean \"sysnet4admin/echo-hname\"?"));
    let unlike_any = runs("example.com/shop/cart:v2", "", "");
    assert!(unlike_any.contains("example.com/shop/cart:v2: not found; the lab pulls"), "{unlike_any}");
    assert!(unlike_any.contains(" nginx, httpd, ") && unlike_any.len() < 1024, "it must fit an Event: {unlike_any}");
    assert!(runs("NGINX", "", "").contains("must be lowercase"));
}

#[test]
fn tags_that_never_were_are_not_found() {
    for tag in ["1.161", "1.91", "2.0", "9"] {
        let said = runs(&format!("nginx:{tag}"), "", "");
        assert!(said.ends_with("not found; the lab has \"nginx\" in the versions 1.x"), "{said}");
    }
    for tag in ["1", "1.10", "1.29.3-alpine", "alpine", "stable", "mainline-perl"] {
        assert!(runs(&format!("nginx:{tag}"), "", "").starts_with("applet: nginx"), "{tag}");
    }
    assert!(runs("alicek106/rr-test", "", "").ends_with("the lab has \"alicek106/rr-test:echo-hostname\""));
}

#[test]
fn the_catalogue_and_the_applets_agree() {
    for image in IMAGES {
        assert!(!image.names.is_empty() && (image.entrypoint != Entrypoint::Plain || !image.cmd.is_empty()));
        for name in image.names {
            assert_eq!(Reference::parse(name).unwrap().short_name(), *name, "names stand in their shortest form");
        }
        let Some(built_in) = &image.applet else { continue };
        let applet = applet::ALL.iter().find(|applet| applet.name == built_in.name);
        let applet = applet.unwrap_or_else(|| panic!("{} has no applet {}", image.names[0], built_in.name));
        assert_eq!(applet.ports, image.ports, "{}", applet.name);
    }
    for applet in applet::ALL {
        let used = IMAGES.iter().any(|image| image.applet.as_ref().is_some_and(|a| a.name == applet.name));
        assert!(used, "no image runs {}", applet.name);
    }
    let mut names: Vec<_> = IMAGES.iter().flat_map(|image| image.names).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands for one image");
}

/// Containers see the machine's `/usr`, read-only: a working directory below it, as httpd's own, can neither be relied
/// on nor made.
#[test]
fn no_image_works_below_usr() {
    let below: Vec<_> = table::IMAGES.iter().filter(|image| image.working_dir.starts_with("/usr")).collect();
    assert!(below.is_empty(), "{:?}", below.iter().map(|image| image.working_dir).collect::<Vec<_>>());
}
