//! What a client that lists, watches, loses its connection and watches on knows of a store that many others write to:
//! the truth, each change once and in order. It is what every controller and informer relies on.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::harness::{Server, config_map};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: usize = 50;
const WRITES: usize = 40;
const NAMES: u32 = 30;
/// What ends it: written when all writers have ended.
const LAST: &str = "last";

/// What is known of each object, by name: its version and its value.
type Known = BTreeMap<String, (u64, String)>;

fn version(object: &Value) -> u64 {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap().parse().unwrap()
}

fn known(object: &Value) -> (String, (u64, String)) {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_string();
    (text("/metadata/name"), (version(object), text("/data/n")))
}

async fn list(server: &Server, selector: &str) -> (u64, Known) {
    let list = server.get(&format!("{MAPS}?{selector}")).await.body;
    (version(&list), list["items"].as_array().unwrap().iter().map(known).collect())
}

/// Makes, changes with and without a precondition, labels and deletes at random. How many writes were taken.
async fn write(server: Arc<Server>, writer: usize) -> usize {
    let mut random = SmallRng::seed_from_u64(writer as u64);
    let mut taken = 0;
    for number in 0..WRITES {
        let name = format!("m{}", random.random_range(0..NAMES));
        let path = format!("{MAPS}/{name}");
        let value = format!("{writer}-{number}");
        let group = if random.random_bool(0.5) { "in" } else { "out" };
        let answer = match random.random_range(0..10) {
            0..3 => {
                let mut map = config_map(&name, json!({"group": group}));
                map["data"] = json!({"n": value});
                server.post(MAPS, map).await
            }
            3..6 => {
                let patch = json!({"data": {"n": value}, "metadata": {"labels": {"group": group}}});
                server.patch(&path, "merge-patch+json", patch).await
            }
            6..8 => {
                let mut map = server.get(&path).await.body;
                map["data"] = json!({"n": value});
                // Between the two, others may have written: a conflict.
                server.put(&path, map).await
            }
            _ => server.delete(&path).await,
        };
        match answer.code {
            200 | 201 => taken += 1,
            404 | 409 => {}
            // A put of what the get did not find.
            400 | 422 if answer.body["kind"] == "Status" => {}
            other => panic!("writer {writer}: {other}: {}", answer.text),
        }
    }
    taken
}

/// Lists once and watches until the last object is seen, losing the connection now and then. What it knows at the end.
async fn follow(server: Arc<Server>, selector: &'static str, seed: u64) -> Known {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut at, mut cache) = list(&server, selector).await;
    loop {
        let mut watch =
            server.watch(&format!("{MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion={at}&{selector}")).await;
        let patience = random.random_range(1..60);
        for _ in 0..patience {
            let event = watch.next().await.expect("the server ends no watch");
            let object = &event["object"];
            let seen = version(object);
            assert!(seen > at || event["type"] == "BOOKMARK" && seen == at, "{seen} after {at}: {event}");
            at = seen;
            let (name, state) = known(object);
            match event["type"].as_str().unwrap() {
                "ADDED" => assert_eq!(cache.insert(name, state), None, "was there: {event}"),
                "MODIFIED" => assert!(cache.insert(name, state).is_some(), "was not there: {event}"),
                "DELETED" => assert!(cache.remove(&name).is_some(), "was not there: {event}"),
                "BOOKMARK" => {}
                other => panic!("{other}: {event}"),
            }
            if cache.contains_key(LAST) {
                return cache;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_writers_and_clients_that_come_back_agree_on_what_is_there() {
    let server = Arc::new(Server::start());
    let all = "";
    let selected = "labelSelector=group%3Din";
    let followers: Vec<_> = (0..8)
        .map(|n| (n, if n % 2 == 0 { all } else { selected }))
        .map(|(n, selector)| (selector, tokio::spawn(follow(server.clone(), selector, n))))
        .collect();
    let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(write(server.clone(), n))).collect();
    let mut taken = 0;
    for writer in writers {
        taken += writer.await.unwrap();
    }
    assert!(taken > WRITERS * WRITES / 4, "only {taken} writes were taken");
    assert_eq!(server.post(MAPS, config_map(LAST, json!({"group": "in"}))).await.code, 201);

    let truth = BTreeMap::from([(all, list(&server, all).await.1), (selected, list(&server, selected).await.1)]);
    assert!(truth[selected].len() < truth[all].len(), "the selector leaves something out");
    for (selector, follower) in followers {
        assert_eq!(follower.await.unwrap(), truth[selector], "{selector}");
    }
}
