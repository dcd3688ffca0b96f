//! List, then watch, then start again when that ends: the loop of every Kubernetes client.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Api, KubeError, collection};
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

/// Tells of all objects of a kind and then of each change, for ever. Failures are reported to standard error, once each
/// time that it begins to fail.
pub async fn follow(api: &Api, kind: KindRef, mut tell: impl FnMut(Change)) {
    let mut version = None;
    let mut wait = FIRST_WAIT;
    let mut said = String::new();
    loop {
        let began = Instant::now();
        let known = version.is_some();
        match session(api, kind, &mut version, &mut tell).await {
            Ok(()) => said.clear(),
            Err(error) => {
                if error.is_gone() {
                    version = None;
                }
                let text = error.to_string();
                if text != said {
                    eprintln!("[WARNING] {}: {text}; trying again", kind.plural);
                    said = text;
                }
            }
        }
        if began.elapsed() >= LASTED || (!known && version.is_some()) {
            wait = FIRST_WAIT;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One connection's worth. `version` is up to where all changes have been told.
async fn session(
    api: &Api,
    kind: KindRef,
    version: &mut Option<String>,
    tell: &mut impl FnMut(Change),
) -> Result<(), KubeError> {
    let path = collection(kind);
    let mut connection = api.connect().await?;
    let from = match version {
        Some(version) => version.clone(),
        None => {
            let mut list = connection.get(&path).await?;
            let from = resource_version(&list).unwrap_or_default().to_string();
            let items = list.get_mut("items").map(Value::take);
            let items = items.and_then(|items| if let Value::Array(items) = items { Some(items) } else { None });
            tell(Change::All(items.unwrap_or_default().into_iter().filter_map(Object::from_value).collect()));
            version.insert(from).clone()
        }
    };
    let watch = format!("{path}?watch=true&allowWatchBookmarks=true&resourceVersion={from}");
    let mut lines = connection.lines(&watch).await?;
    while let Some((event_type, object)) = lines.event().await? {
        if let Some(seen) = resource_version(&object) {
            *version = Some(seen.to_string());
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

fn resource_version(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("resourceVersion")?.as_str()
}
