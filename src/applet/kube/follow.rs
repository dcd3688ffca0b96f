//! List, then watch, then start again when that ends: the loop of every Kubernetes client.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Api, Connection, KubeError, collection};
use crate::object::{KindRef, Object};

/// Between two attempts, at first and at most. The first is short, because a pod may be up a moment before the API.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// What lasted so long was no failed attempt.
const LASTED: Duration = Duration::from_secs(1);

/// What happened to the objects of a kind.
#[derive(Debug)]
pub enum Change {
    /// These are all of them; what was known before and is not here is gone.
    All(Vec<Object>),
    /// New or changed.
    Set(Object),
    Gone(Object),
}

/// Up to where all changes of a kind have been told.
pub struct Position {
    kind: KindRef,
    /// `None`: from the beginning.
    version: Option<String>,
}

impl Position {
    pub fn beginning(kind: KindRef) -> Self {
        Position { kind, version: None }
    }

    pub fn kind(&self) -> KindRef {
        self.kind
    }
}

/// Tells of all objects of each kind, once, and returns from where to [`follow`] them. Tries until it has worked. Over
/// one connection, because a program that waits for this is usually waited for itself.
pub async fn list_all(api: &Api, kinds: &[KindRef], mut tell: impl FnMut(KindRef, Change)) -> Vec<Position> {
    let mut attempts = Attempts::new("the API");
    let mut positions: Vec<Position> = Vec::new();
    while positions.len() < kinds.len() {
        let result = list_rest(api, kinds, &mut positions, &mut tell).await;
        if let Err(error) = result {
            attempts.failed(&error).await;
        }
    }
    positions
}

async fn list_rest(
    api: &Api,
    kinds: &[KindRef],
    positions: &mut Vec<Position>,
    tell: &mut impl FnMut(KindRef, Change),
) -> Result<(), KubeError> {
    let mut connection = api.connect().await?;
    for kind in kinds.iter().skip(positions.len()) {
        let (all, version) = list(&mut connection, kind).await?;
        tell(kind, Change::All(all));
        positions.push(Position { kind, version: Some(version) });
    }
    Ok(())
}

/// Tells of each change, for ever, and of all objects anew when changes were missed. Failures are reported to standard
/// error, once each time that it begins to fail.
pub async fn follow(api: &Api, mut position: Position, mut tell: impl FnMut(Change)) {
    let mut attempts = Attempts::new(position.kind.plural);
    loop {
        let (began, was_known) = (Instant::now(), position.version.is_some());
        let ended = session(api, &mut position, &mut tell).await;
        if began.elapsed() >= LASTED || (!was_known && position.version.is_some()) {
            attempts = Attempts::new(position.kind.plural);
        }
        match ended {
            Ok(()) => attempts.pause().await,
            Err(error) => {
                if error.is_gone() {
                    position.version = None;
                }
                attempts.failed(&error).await;
            }
        }
    }
}

/// One connection's worth.
async fn session(api: &Api, position: &mut Position, tell: &mut impl FnMut(Change)) -> Result<(), KubeError> {
    let mut connection = api.connect().await?;
    let from = match &position.version {
        Some(version) => version.clone(),
        None => {
            let (all, version) = list(&mut connection, position.kind).await?;
            tell(Change::All(all));
            position.version.insert(version).clone()
        }
    };
    let path = collection(position.kind);
    let watch = format!("{path}?watch=true&allowWatchBookmarks=true&resourceVersion={from}");
    let mut lines = connection.lines(&watch).await?;
    while let Some((event_type, object)) = lines.event().await? {
        if let Some(seen) = resource_version(&object) {
            position.version = Some(seen.to_string());
        }
        let Some(object) = Object::from_value(object) else { continue };
        match event_type.as_str() {
            "ADDED" | "MODIFIED" => tell(Change::Set(object)),
            "DELETED" => tell(Change::Gone(object)),
            _ => {}
        }
    }
    Ok(())
}

/// All objects, and the resourceVersion of the moment that they are from.
async fn list(connection: &mut Connection, kind: KindRef) -> Result<(Vec<Object>, String), KubeError> {
    let mut list = connection.get(&collection(kind)).await?;
    let version = resource_version(&list).unwrap_or_default().to_string();
    let items = match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    Ok((items.into_iter().filter_map(Object::from_value).collect(), version))
}

fn resource_version(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("resourceVersion")?.as_str()
}

/// Waits between attempts, twice as long each time, and says why there is another, unless it has just been said.
struct Attempts<'a> {
    what: &'a str,
    wait: Duration,
    said: String,
}

impl<'a> Attempts<'a> {
    fn new(what: &'a str) -> Self {
        Attempts { what, wait: FIRST_WAIT, said: String::new() }
    }

    async fn failed(&mut self, error: &KubeError) {
        let text = error.to_string();
        if text != self.said {
            eprintln!("[WARNING] {}: {text}; trying again", self.what);
            self.said = text;
        }
        self.pause().await;
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}
