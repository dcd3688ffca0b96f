use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::api;
use crate::layout::Layout;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Key, Object, Write, kind};
use crate::session::{Command, Family, Pod, Session, SessionError, Sessions, Target};
use crate::store::Store;

struct NoSessions;

impl Sessions for NoSessions {
    fn exec(&self, _: &Target, _: Command) -> Result<Session, SessionError> {
        Err(SessionError::NotRunning("nothing runs here".into()))
    }
    fn attach(&self, _: &Target, _: bool) -> Result<Session, SessionError> {
        Err(SessionError::NotRunning("nothing runs here".into()))
    }
    fn socket(&self, _: &Pod, _: Family) -> Result<OwnedFd, SessionError> {
        Err(SessionError::NotRunning("nothing runs here".into()))
    }
}

/// A directory with a store and a socket, gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nslab-kube-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Place(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("api.sock")
    }

    fn store(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.0.join("store")).unwrap())
    }

    fn serve(&self, store: Arc<Store>) -> (oneshot::Sender<()>, JoinHandle<()>) {
        let _ = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).unwrap();
        let api = api::Api::new(store, Arc::new(NoSessions), Layout::new("test"));
        let (stop, stopped) = oneshot::channel();
        (stop, tokio::spawn(api::serve(listener, Arc::new(api), stopped)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn service(name: &str, ip: &str) -> Object {
    let json = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": ip}});
    Object::from_value(json).unwrap()
}

fn delete(name: &str) -> Write {
    let key = Key::new(&kind::SERVICE, "default", name);
    Write::Delete(Delete { key, uid: None, grace_seconds: None, propagation: Propagation::Background })
}

fn commit(store: &Store, write: Write) {
    store.write(write).unwrap();
}

type Heard = Rc<RefCell<Vec<String>>>;

fn listen(api: Api) -> Heard {
    let heard = Heard::default();
    let told = heard.clone();
    let text = |object: &Object| format!("{}={}", object.name(), object.str_at(&["spec", "clusterIP"]).unwrap());
    tokio::task::spawn_local(async move {
        let tell = |change| {
            told.borrow_mut().push(match change {
                Change::All(all) => format!("all {:?}", all.iter().map(text).collect::<Vec<_>>()),
                Change::Set(object) => format!("set {}", text(&object)),
                Change::Gone(object) => format!("gone {}", object.name()),
            });
        };
        follow(&api, Position::beginning(&kind::SERVICE), tell).await;
    });
    heard
}

/// Waits until what was heard is this, and forgets it.
async fn expect(heard: &Heard, expected: &[&str]) {
    let all = async {
        while *heard.borrow() != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), all).await.is_ok();
    assert!(in_time, "{expected:?} was not heard but {:?}", heard.borrow());
    heard.borrow_mut().clear();
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn everything_is_told_once_and_in_order() {
    run(async {
        let place = Place::new("order");
        let store = place.store();
        commit(&store, Write::Create(service("a", "10.96.0.2")));
        let heard = listen(Api::at_socket(place.socket()));
        // Its first attempt is made before anybody serves.
        tokio::task::yield_now().await;
        let _server = place.serve(store.clone());
        expect(&heard, &["all [\"a=10.96.0.2\"]"]).await;
        commit(&store, Write::Create(service("b", "10.96.0.3")));
        commit(&store, Write::Update(service("a", "10.96.0.4"), Part::All));
        commit(&store, delete("b"));
        expect(&heard, &["set b=10.96.0.3", "set a=10.96.0.4", "gone b"]).await;
    });
}

#[test]
fn a_new_server_is_found_and_nothing_is_missed() {
    run(async {
        let place = Place::new("restart");
        let store = place.store();
        commit(&store, Write::Create(service("a", "10.96.0.2")));
        let (stop, server) = place.serve(store.clone());
        let heard = listen(Api::at_socket(place.socket()));
        expect(&heard, &["all [\"a=10.96.0.2\"]"]).await;
        stop.send(()).unwrap();
        server.await.unwrap();
        commit(&store, Write::Create(service("b", "10.96.0.3")));
        // The same store remembers what happened meanwhile.
        let (stop, server) = place.serve(store.clone());
        expect(&heard, &["set b=10.96.0.3"]).await;
        stop.send(()).unwrap();
        server.await.unwrap();
        commit(&store, delete("a"));
        drop(store);
        // One that was opened anew does not: it says that the changes are gone, and all is listed again.
        let store = place.store();
        let _server = place.serve(store.clone());
        expect(&heard, &["all [\"b=10.96.0.3\"]"]).await;
        commit(&store, delete("b"));
        expect(&heard, &["gone b"]).await;
    });
}

#[test]
fn several_kinds_are_listed_and_nothing_is_missed_after() {
    run(async {
        let place = Place::new("several");
        let store = place.store();
        commit(&store, Write::Create(service("a", "10.96.0.2")));
        let _server = place.serve(store.clone());
        let api = Api::at_socket(place.socket());
        let mut all = Vec::new();
        let tell = |kind: KindRef, change| match change {
            Change::All(objects) => all.push((kind.plural, objects.len())),
            change => panic!("{change:?}"),
        };
        let positions = list_all(&api, &[&kind::NODE, &kind::SERVICE], tell).await;
        assert_eq!(all, [("nodes", 0), ("services", 1)]);
        commit(&store, delete("a"));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let position = positions.into_iter().next_back().unwrap();
        tokio::task::spawn_local(async move { follow(&api, position, |change| tell.send(change).unwrap()).await });
        let change = tokio::time::timeout(Duration::from_secs(20), told.recv()).await.unwrap();
        assert!(matches!(&change, Some(Change::Gone(object)) if object.name() == "a"), "{change:?}");
    });
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    run(async {
        let place = Place::new("refusal");
        let _server = place.serve(place.store());
        let mut connection = Api::at_socket(place.socket()).connect().await.unwrap();
        let error = connection.get("/api/v1/namespaces/default/services/x").await.unwrap_err();
        assert_eq!(error.to_string(), "GET /api/v1/namespaces/default/services/x: services \"x\" not found (404)");
        // The connection is still good.
        let list: Value = connection.get(&collection(&kind::ENDPOINT_SLICE)).await.unwrap();
        assert_eq!(list["kind"], "EndpointSliceList");
    });
}

#[test]
fn without_a_cluster_the_error_says_what_is_missing() {
    run(async {
        let place = Place::new("missing");
        let error = Api::at_socket(place.socket()).connect().await.err().unwrap().to_string();
        assert!(error.starts_with("connect to ") && error.contains("api.sock"), "{error}");
        let api = Api::at_server("127.0.0.1".into(), 1, place.0.clone());
        let error = api.connect().await.err().unwrap().to_string();
        assert!(error.starts_with("read ") && error.contains("/token"), "{error}");
    });
}
