//! Watches: every change to the objects that a selector takes in, from a resourceVersion on, without a gap.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::body::Body;
use super::custom;
use super::query::Filter;
use super::read::select;
use super::respond::{self, Form, Shape};
use super::route::Target;
use super::selectable;
use super::serve::Call;
use super::status::ApiError;
use super::table::{self, Columns};
use crate::object::{KindRef, Object};
use crate::store::{Event, EventType, Store, Version};

/// How long a watch lasts that does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);
/// How often a watch that takes bookmarks gets one.
const BOOKMARKS: Duration = Duration::from_secs(60);

/// What a watcher is told before the changes.
enum Start {
    /// Changes after this resourceVersion.
    After(u64),
    /// All objects as they are now, then changes. With a bookmark in between when `marked`.
    Everything { marked: bool },
}

pub fn start(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    let form = Form::wanted(&call)?;
    let filter = Filter::new(target.namespace.as_deref(), &call.query)?;
    selectable::check(call.definition.as_deref(), target.kind, &filter)?;
    let version = call.query.number::<u64>("resourceVersion")?.unwrap_or(0);
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let start = match (call.query.get("sendInitialEvents").is_some(), call.query.flag("sendInitialEvents"), version) {
        (_, true, _) => Start::Everything { marked: bookmarks },
        (true, false, 0) => Start::After(call.api.store.snapshot().resource_version()),
        (false, _, 0) => Start::Everything { marked: false },
        _ => Start::After(version),
    };
    let timeout = call.query.number::<u64>("timeoutSeconds")?.map(Duration::from_secs);
    let permit = call.api.stream_permit()?;
    let (sender, body) = Body::stream();
    let watcher = Watcher {
        kind: target.kind,
        filter,
        form,
        headers_sent: false,
        store: call.api.store.clone(),
        sender,
        bookmarks,
        end: Instant::now() + timeout.filter(|t| !t.is_zero()).unwrap_or(DEFAULT_TIMEOUT).min(24 * DEFAULT_TIMEOUT),
        _permit: permit,
    };
    let mut closing = call.closing.clone();
    tokio::spawn(async move {
        tokio::select! {
            // `None`: the client is gone.
            _ = watcher.run(target, start) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    });
    Ok(respond::streaming("application/json", body))
}

impl super::Api {
    /// The right to one more stream; bounded, so that forgotten clients cannot pile up.
    pub(super) fn stream_permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let permit = self.streams.clone().try_acquire_owned();
        permit.map_err(|_| ApiError::too_many_requests("too many watches are open, please try again later"))
    }
}

struct Watcher {
    kind: KindRef,
    filter: Filter,
    form: Form,
    /// A table's column definitions go out with the first event only.
    headers_sent: bool,
    store: Arc<Store>,
    sender: mpsc::Sender<Bytes>,
    bookmarks: bool,
    end: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    async fn run(mut self, target: Target, start: Start) -> Option<()> {
        let mut changed = self.store.version();
        let mut seen = match start {
            Start::After(version) => version,
            Start::Everything { marked } => {
                let snapshot = self.store.snapshot();
                let filter = self.filter.clone();
                for object in select(&snapshot, &target, &filter) {
                    self.send("ADDED", object).await?;
                }
                if marked {
                    self.bookmark(snapshot.resource_version(), true).await?;
                }
                snapshot.resource_version()
            }
        };
        let mut next_bookmark = Instant::now() + BOOKMARKS;
        loop {
            changed.mark_unchanged();
            match self.store.events_since(seen) {
                Ok(events) => {
                    for event in &events {
                        if event.key.kind == self.kind {
                            self.tell(event).await?;
                        }
                        seen = event.resource_version;
                    }
                }
                Err(gone) => return self.line("ERROR", &ApiError::expired(gone.to_string()).to_value()).await,
            }
            tokio::select! {
                changed = changed.changed() => changed.ok()?,
                _ = self.sender.closed() => return None,
                _ = tokio::time::sleep_until(self.end) => {
                    if self.bookmarks {
                        self.bookmark(seen, false).await?;
                    }
                    return Some(());
                }
                _ = tokio::time::sleep_until(next_bookmark), if self.bookmarks => {
                    self.bookmark(seen, false).await?;
                    next_bookmark = Instant::now() + BOOKMARKS;
                }
            }
        }
    }

    /// What a change means to somebody who sees only the objects of the selector.
    async fn tell(&mut self, event: &Event) -> Option<()> {
        // Earlier versions are only read where it matters.
        let simple = self.filter.takes_in(&event.key.namespace);
        let takes_in = |version: &Version| simple.unwrap_or_else(|| self.filter.matches(&version.object()));
        let is = event.event_type != EventType::Deleted && takes_in(&event.object);
        let was = event.before.as_ref().is_some_and(takes_in);
        match (was, is) {
            (false, true) => self.send("ADDED", &event.object.object()).await,
            (true, true) => self.send("MODIFIED", &event.object.object()).await,
            (true, false) => match (&event.before, event.event_type) {
                // As it was when it was last seen, at the moment it went out of sight.
                (Some(before), EventType::Modified) => {
                    let mut last = Object::clone(&before.object());
                    last.metadata_mut().insert("resourceVersion".into(), event.resource_version.to_string().into());
                    self.send("DELETED", &Arc::new(last)).await
                }
                _ => self.send("DELETED", &event.object.object()).await,
            },
            (false, false) => Some(()),
        }
    }

    async fn send(&mut self, event_type: &str, object: &Arc<Object>) -> Option<()> {
        let object = &custom::served_as(self.kind, object);
        let value = respond::in_form(&self.form, object, !self.headers_sent);
        self.headers_sent = true;
        self.line(event_type, &value).await
    }

    async fn bookmark(&mut self, version: u64, initial_events_end: bool) -> Option<()> {
        let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form.shape {
            Shape::Objects => {
                json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata})
            }
            Shape::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Shape::Table(_) => {
                let columns = Columns::of(self.kind, self.form.definition());
                table::bookmark(columns, &metadata, !std::mem::replace(&mut self.headers_sent, true))
            }
        };
        self.line("BOOKMARK", &object).await
    }

    async fn line(&self, event_type: &str, object: &Value) -> Option<()> {
        let mut bytes = format!("{{\"type\":\"{event_type}\",\"object\":").into_bytes();
        serde_json::to_writer(&mut bytes, object).ok()?;
        bytes.extend_from_slice(b"}\n");
        self.sender.send(bytes.into()).await.ok()
    }
}
