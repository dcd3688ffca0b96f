//! A container's log: the files that the node runtime writes, one an attempt.

mod lines;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

use super::body::Body;
use super::exec::container_name;
use super::respond;
use super::route::Target;
use super::serve::Call;
use super::status::ApiError;
use crate::object::{Key, Object, kind};
use crate::store::Store;
use lines::Lines;

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(50);
const CHUNK: usize = 64 << 10;
const TEXT: &str = "text/plain; charset=utf-8";

pub fn get(target: Target, call: Call) -> Result<Response<Body>, ApiError> {
    if *target.kind != kind::POD {
        return Err(ApiError::no_such_path());
    }
    let pod = call.api.find(&target)?;
    let container = container_name(&pod, call.query.get("container"))?.to_string();
    let lines = wanted_lines(&call)?;
    let tail = call.query.number::<usize>("tailLines")?;
    let previous = call.query.flag("previous");
    let follow = call.query.flag("follow") && !previous;
    let directory = (call.api.pod_logs)(pod.namespace(), pod.name(), pod.uid()).join(&container);

    let Some(attempt) = attempt_of(&pod, &container, previous) else {
        return Err(no_log(&pod, &container, previous));
    };
    let path = directory.join(format!("{attempt}.log"));
    let cannot = |error: io::Error| ApiError::internal(format!("{} cannot be read: {error}", path.display()));
    let mut file = open(&path).map_err(cannot)?;
    if let (Some(tail), Some(file)) = (tail, &mut file) {
        let start = lines::start_of_last(file, tail).map_err(cannot)?;
        file.seek(SeekFrom::Start(start)).map_err(cannot)?;
    }
    let permit = call.api.stream_permit()?;
    let (sender, body) = Body::stream();
    let source = Source {
        file,
        path,
        lines,
        attempt,
        container,
        pod: Key::new(&kind::POD, pod.namespace(), pod.name()),
        uid: pod.uid().to_string(),
        store: call.api.store.clone(),
    };
    let mut closing = call.closing.clone();
    tokio::spawn(async move {
        let _permit = permit;
        tokio::select! {
            // A file that cannot be read any more ends the answer.
            _ = source.send(sender, follow) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    });
    Ok(respond::streaming(TEXT, body))
}

fn wanted_lines(call: &Call) -> Result<Lines, ApiError> {
    let since = match (call.query.number::<i64>("sinceSeconds")?, call.query.get("sinceTime")) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request("at most one of sinceTime or sinceSeconds may be specified"));
        }
        (Some(seconds), None) if seconds < 1 => {
            return Err(ApiError::bad_request("sinceSeconds must be greater than 0"));
        }
        (Some(seconds), None) => Some(Timestamp::now() - jiff::SignedDuration::from_secs(seconds)),
        (None, Some(time)) => {
            let bad = |_| ApiError::bad_request(format!("sinceTime: \"{time}\" is no RFC 3339 time"));
            Some(time.parse().map_err(bad)?)
        }
        (None, None) => None,
    };
    let limit = call.query.number::<usize>("limitBytes")?;
    Ok(Lines::new(since, call.query.flag("timestamps"), limit))
}

/// A run's log. It has no file until the container has written something.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of the run whose log is meant, if there has been one: the one that runs or ended last; the one before it
/// for `previous`. While a container waits for its restart both are the one that ended, as with the kubelet.
fn attempt_of(pod: &Object, container: &str, previous: bool) -> Option<u64> {
    let status = status_of(pod, container)?;
    let has = |pointer: &str| status.pointer(pointer).is_some_and(|state| !state.is_null());
    let restarts = status.get("restartCount").and_then(Value::as_u64).unwrap_or(0);
    if has("/state/running") || has("/state/terminated") {
        return if previous { restarts.checked_sub(1) } else { Some(restarts) };
    }
    has("/lastState/terminated").then_some(restarts)
}

fn status_of<'a>(pod: &'a Object, container: &str) -> Option<&'a Value> {
    let lists = ["containerStatuses", "initContainerStatuses"];
    let all = lists.into_iter().filter_map(|list| pod.at(&["status", list])?.as_array()).flatten();
    all.into_iter().find(|status| status.get("name").and_then(Value::as_str) == Some(container))
}

/// Why a container has no log (yet).
fn no_log(pod: &Object, container: &str, previous: bool) -> ApiError {
    let name = pod.name();
    if previous {
        return ApiError::bad_request(format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        ));
    }
    let waiting = status_of(pod, container).and_then(|s| s.pointer("/state/waiting/reason")?.as_str());
    let why = match waiting {
        Some("ErrImagePull" | "ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
        None if pod.str_at(&["spec", "nodeName"]).unwrap_or("").is_empty() => {
            return ApiError::bad_request(format!("pod {name} does not have a host assigned"));
        }
        None => "ContainerCreating",
    };
    ApiError::bad_request(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}"))
}

struct Source {
    file: Option<File>,
    path: PathBuf,
    lines: Lines,
    attempt: u64,
    container: String,
    pod: Key,
    uid: String,
    store: Arc<Store>,
}

impl Source {
    async fn send(mut self, sender: mpsc::Sender<Bytes>, follow: bool) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            // Asked before the last read, so that nothing written before the end is missed.
            let over = !follow || self.is_over();
            if self.file.is_none() {
                self.file = open(&self.path)?;
            }
            while let Some(file) = &mut self.file {
                let count = file.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                let text = self.lines.take(buffer.get(..count).unwrap_or(&[]));
                if !text.is_empty() && sender.send(text.into()).await.is_err() {
                    return Ok(());
                }
                if self.lines.is_done() {
                    return Ok(());
                }
            }
            if over {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = sender.closed() => return Ok(()),
            }
        }
    }

    /// Will nothing be added to the file any more?
    fn is_over(&self) -> bool {
        let Some(pod) = self.store.get(&self.pod).filter(|pod| pod.uid() == self.uid) else {
            return true;
        };
        let newer = attempt_of(&pod, &self.container, false).is_some_and(|last| last > self.attempt);
        let ended = status_of(&pod, &self.container).is_some_and(|status| {
            let state = |name: &str| status.get("state").and_then(|s| s.get(name)).is_some_and(|s| !s.is_null());
            state("terminated") || (state("waiting") && status.pointer("/lastState/terminated").is_some())
        });
        newer || ended || matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed"))
    }
}
