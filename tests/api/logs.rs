//! `pods/log`, from files as the node runtimes write them.

use std::fs::File;
use std::io::Write as _;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use nslab::object::{Key, Write, kind, write::Part};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Server, put};

const LOG: &str = "/api/v1/namespaces/default/pods/p/log";

fn pod(server: &Server) {
    put(
        &server.store,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"nodeName": "w1", "containers": [{"name": "c"}]}}),
    );
}

fn attempt(server: &Server, number: u32, lines: &[&str]) -> File {
    let directory = server.directory.join("p/c");
    std::fs::create_dir_all(&directory).unwrap();
    let mut file = File::create(directory.join(format!("{number}.log"))).unwrap();
    for (second, line) in lines.iter().enumerate() {
        writeln!(file, "2026-01-01T00:00:{second:02}.000000001Z stdout F {line}").unwrap();
    }
    file
}

fn set_state(server: &Server, state: Value) {
    set_run(server, 0, state);
}

fn set_run(server: &Server, restarts: u32, state: Value) {
    let mut pod = (*server.store.get(&Key::new(&kind::POD, "default", "p")).unwrap()).clone();
    let status = json!({"containerStatuses": [{"name": "c", "restartCount": restarts, "state": state}]});
    pod.json_mut().insert("status".into(), status);
    server.store.write(Write::Update(pod, Part::Status)).unwrap();
}

#[tokio::test]
async fn the_last_attempt_is_shown_and_the_one_before_on_demand() {
    let server = Server::start();
    pod(&server);
    attempt(&server, 9, &["before"]);
    attempt(&server, 10, &["one", "two", "three"]);
    set_run(&server, 10, json!({"running": {}}));
    for (query, expected) in [
        ("", "one\ntwo\nthree\n"),
        ("previous=true", "before\n"),
        ("tailLines=1", "three\n"),
        ("tailLines=0", ""),
        ("sinceTime=2026-01-01T00:00:01Z", "two\nthree\n"),
        ("sinceSeconds=1", ""),
        ("limitBytes=5", "one\nt"),
        ("tailLines=1&timestamps=true", "2026-01-01T00:00:02.000000001Z three\n"),
        ("container=c", "one\ntwo\nthree\n"),
    ] {
        let answer = server.get(&format!("{LOG}?{query}")).await;
        assert_eq!((answer.code, answer.text.as_str()), (200, expected), "{query}");
    }
}

/// A run that has written nothing has no file, and the log of an earlier one is not its own.
#[tokio::test]
async fn a_silent_run_has_an_empty_log() {
    let server = Server::start();
    pod(&server);
    attempt(&server, 0, &["before"]);
    set_run(&server, 1, json!({"running": {}}));
    for (query, expected) in [("", ""), ("tailLines=1", ""), ("previous=true", "before\n")] {
        let answer = server.get(&format!("{LOG}?{query}")).await;
        assert_eq!((answer.code, answer.text.as_str()), (200, expected), "{query}");
    }
    let answer = server.open(Method::GET, &format!("{LOG}?follow=true"), &[], Vec::new()).await;
    let mut body = answer.into_body();
    attempt(&server, 1, &["first words"]);
    read(&mut body, "first words\n").await;
}

#[tokio::test]
async fn a_container_without_a_log_says_what_it_waits_for() {
    let server = Server::start();
    pod(&server);
    set_state(&server, json!({"waiting": {"reason": "ImagePullBackOff"}}));
    for (query, message) in [
        ("", "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image"),
        ("previous=true", "previous terminated container \"c\" in pod \"p\" not found"),
        ("container=x", "container x is not valid for pod p"),
        ("sinceTime=yesterday", "sinceTime: \"yesterday\" is no RFC 3339 time"),
    ] {
        let answer = server.get(&format!("{LOG}?{query}")).await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (400, Some(message)));
    }
    assert_eq!(server.get("/api/v1/namespaces/default/pods/q/log").await.code, 404);
}

/// Reads until `expected` is all there.
async fn read(body: &mut Incoming, expected: &str) {
    let mut text = String::new();
    while text.len() < expected.len() {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("more in time").expect("no end yet");
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
    }
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_followed_log_goes_on_until_the_container_ends() {
    let server = Server::start();
    pod(&server);
    set_state(&server, json!({"running": {}}));
    let mut file = attempt(&server, 0, &["one"]);
    let answer = server.open(Method::GET, &format!("{LOG}?follow=true"), &[], Vec::new()).await;
    let mut body = answer.into_body();
    read(&mut body, "one\n").await;
    writeln!(file, "2026-01-01T00:00:09Z stderr F two").unwrap();
    read(&mut body, "two\n").await;
    writeln!(file, "2026-01-01T00:00:09Z stderr F last words").unwrap();
    set_state(&server, json!({"terminated": {"exitCode": 0}}));
    read(&mut body, "last words\n").await;
    assert!(tokio::time::timeout(PATIENCE, body.frame()).await.expect("the end in time").is_none());
}
