//! Event objects: what happened to an object, told to people. The same thing happening again raises a count, many
//! similar things become one, and all of it is forgotten after an hour.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Context;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Object, Snapshot, Write, kind, time_text};

/// An Event is deleted this long after it last happened (kube-apiserver `--event-ttl`).
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// When there are more Events than this, the oldest go.
const MOST: usize = 2_000;

/// So many Events of one object that differ only in their messages are told apart; further ones are combined...
const SIMILAR: usize = 10;

/// ...when they happened within this time.
const SIMILAR_WITHIN: SignedDuration = SignedDuration::from_mins(10);

const COMBINED: &str = "(combined from similar events): ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

/// Something that happened to an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// An ObjectReference.
    pub involved: Value,
    pub event_type: EventType,
    /// `Scheduled`, `SuccessfulCreate`, ...
    pub reason: String,
    pub message: String,
    /// `kubelet`, `default-scheduler`, ...
    pub component: String,
    /// The node, for what a kubelet tells.
    pub host: Option<String>,
    /// Says that something is so rather than that it happened: nothing new while the Event is there.
    pub is_standing: bool,
}

impl Occurrence {
    pub fn new(component: &str, about: &Object, event_type: EventType, reason: &str, message: String) -> Self {
        let mut involved = json!({"apiVersion": about.api_version(), "kind": about.kind_name(), "name": about.name(),
            "uid": about.uid(), "resourceVersion": about.resource_version().to_string()});
        if let (Some(involved), false) = (involved.as_object_mut(), about.namespace().is_empty()) {
            involved.insert("namespace".into(), about.namespace().into());
        }
        let (reason, component) = (reason.to_string(), component.to_string());
        Occurrence { involved, event_type, reason, message, component, host: None, is_standing: false }
    }

    /// Names the node that it happened on.
    pub fn on(mut self, node: &str) -> Self {
        self.host = Some(node.to_string());
        self
    }

    fn involved(&self, field: &str) -> &str {
        self.involved.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

/// An Event that is there already, or that is about to be.
struct Known {
    stored: Option<Arc<Object>>,
    latest: Occurrence,
    first: String,
    last: String,
    count: i64,
    is_changed: bool,
}

impl Known {
    fn new(occurrence: Occurrence, now: &str) -> Self {
        let (first, last) = (now.to_string(), now.to_string());
        Known { stored: None, latest: occurrence, first, last, count: 1, is_changed: true }
    }

    fn read(stored: &Arc<Object>) -> Option<Self> {
        let event = stored.glance();
        let text = |path: &[&str]| event.str_at(path).unwrap_or_default().to_string();
        let latest = Occurrence {
            involved: event.at(&["involvedObject"])?.clone(),
            event_type: if event.str_at(&["type"]) == Some("Warning") { EventType::Warning } else { EventType::Normal },
            reason: text(&["reason"]),
            message: text(&["message"]),
            component: text(&["source", "component"]),
            host: event.str_at(&["source", "host"]).map(str::to_string),
            is_standing: false,
        };
        let (first, last) = (text(&["firstTimestamp"]), text(&["lastTimestamp"]));
        let count = event.i64_at(&["count"]).unwrap_or(1);
        Some(Known { stored: Some(stored.clone()), latest, first, last, count, is_changed: false })
    }

    /// Of the same object, told by the same component for the same reason.
    fn is_similar(&self, other: &Occurrence) -> bool {
        let Occurrence { event_type, reason, component, .. } = &self.latest;
        (event_type, reason, component) == (&other.event_type, &other.reason, &other.component)
            && self.latest.involved("uid") == other.involved("uid")
    }

    fn is_combined(&self) -> bool {
        self.latest.message.starts_with(COMBINED)
    }

    fn write(self, ctx: &mut Context) -> Write {
        let Known { stored, latest, first, last, count, .. } = self;
        let namespace = match latest.involved("namespace") {
            "" => "default",
            namespace => namespace,
        };
        let name = match &stored {
            Some(stored) => stored.name().to_string(),
            None => format!("{}.{:016x}", latest.involved("name"), ctx.event_number()),
        };
        let mut event = stored.as_deref().cloned().unwrap_or_default();
        let mut source = json!({"component": latest.component});
        if let (Some(source), Some(host)) = (source.as_object_mut(), &latest.host) {
            source.insert("host".into(), host.as_str().into());
        }
        let content = json!({
            "apiVersion": "v1", "kind": "Event", "involvedObject": latest.involved, "reason": latest.reason,
            "message": latest.message, "source": source, "firstTimestamp": first, "lastTimestamp": last,
            "count": count, "type": format!("{:?}", latest.event_type), "eventTime": null,
            "reportingComponent": latest.component, "reportingInstance": latest.host.as_deref().unwrap_or_default(),
        });
        if let Value::Object(content) = content {
            event.json_mut().extend(content);
        }
        event.metadata_mut().insert("name".into(), name.into());
        event.metadata_mut().insert("namespace".into(), namespace.into());
        match stored {
            Some(_) => Write::Update(event, Part::All),
            None => Write::Create(event),
        }
    }
}

/// The writes that tell what happened. The agent uses this for what kubelets tell.
pub fn record(snapshot: &Snapshot, ctx: &mut Context, occurrences: Vec<Occurrence>) -> Vec<Write> {
    let now = ctx.now_text();
    let recent = time_text(ctx.now - SIMILAR_WITHIN);
    // In the order in which objects are first mentioned, so that the same run gives the same writes.
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut known: Vec<Vec<Known>> = Vec::new();
    for occurrence in occurrences {
        let at = *index.entry(occurrence.involved("uid").to_string()).or_insert_with(|| {
            known.push(stored_events(snapshot, &occurrence));
            known.len() - 1
        });
        if let Some(of_object) = known.get_mut(at) {
            tell(of_object, occurrence, &now, &recent);
        }
    }
    known.into_iter().flatten().filter(|known| known.is_changed).map(|known| known.write(ctx)).collect()
}

fn stored_events(snapshot: &Snapshot, about: &Occurrence) -> Vec<Known> {
    let namespace = match about.involved("namespace") {
        "" => "default",
        namespace => namespace,
    };
    let prefix = format!("{}.", about.involved("name"));
    let events = snapshot.list_with_prefix(&kind::EVENT, namespace, &prefix);
    events.filter_map(Known::read).filter(|known| known.latest.involved("uid") == about.involved("uid")).collect()
}

fn tell(known: &mut Vec<Known>, mut occurrence: Occurrence, now: &str, recent: &str) {
    let same = |k: &Known| k.is_similar(&occurrence) && k.latest.message == occurrence.message;
    let mut at = known.iter().position(same);
    if at.is_none() {
        let similar = known.iter().filter(|k| k.is_similar(&occurrence) && k.last.as_str() >= recent);
        if similar.count() >= SIMILAR {
            occurrence.message.insert_str(0, COMBINED);
            at = known.iter().position(|k| k.is_similar(&occurrence) && k.is_combined());
        }
    }
    match at.and_then(|at| known.get_mut(at)) {
        Some(_) if occurrence.is_standing => {}
        Some(known) => {
            known.latest = occurrence;
            known.count += 1;
            known.last = now.to_string();
            known.is_changed = true;
        }
        None => known.push(Known::new(occurrence, now)),
    }
}

/// Deletes Events that are too old or too many.
pub fn expire(snapshot: &Snapshot, ctx: &mut Context) -> Vec<Write> {
    // Those that came since are younger, and one that was told again can stay longer.
    let oldest = ctx.events_kept_until.filter(|until| *until > ctx.now);
    if let Some(until) = oldest.filter(|_| snapshot.list(&kind::EVENT).count() <= MOST) {
        ctx.wake(until);
        return Vec::new();
    }
    let cutoff = time_text(ctx.now - KEPT);
    let mut events: Vec<(String, &Arc<Object>)> = snapshot.list(&kind::EVENT).map(|e| (last_time(e), e)).collect();
    let mut expired = Vec::new();
    if events.len() > MOST {
        events.sort_by_cached_key(|(last, event)| (last.clone(), event.resource_version()));
        // Some more than needed, so that this is not done at each run.
        expired.extend(events.drain(..events.len() - MOST * 9 / 10));
    }
    let mut oldest: Option<String> = None;
    for (last, event) in events {
        if last <= cutoff {
            expired.push((last, event));
        } else if oldest.as_ref().is_none_or(|oldest| last < *oldest) {
            oldest = Some(last);
        }
    }
    ctx.events_kept_until = oldest.and_then(|text| text.parse::<Timestamp>().ok()).map(|oldest| oldest + KEPT);
    ctx.events_kept_until.into_iter().for_each(|until| ctx.wake(until));
    let delete = |event: &Arc<Object>| {
        let propagation = Propagation::Background;
        Some(Delete { key: event.key()?, uid: Some(event.uid().into()), grace_seconds: None, propagation })
    };
    expired.into_iter().filter_map(|(_, event)| delete(event)).map(Write::Delete).collect()
}

/// When it last happened; times of this form are in order as texts.
fn last_time(event: &Object) -> String {
    let event = event.glance();
    let last = event.str_at(&["lastTimestamp"]).filter(|text| !text.is_empty());
    last.unwrap_or(event.creation_timestamp()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::{Cluster, object};

    fn pod() -> Object {
        object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"}}))
    }

    fn tell_and_keep(cluster: &mut Cluster, messages: &[&str]) {
        let web = cluster.get(&kind::POD, "default", "web");
        let occurrences = messages
            .iter()
            .map(|m| Occurrence::new("kubelet", &web, EventType::Normal, "Pulled", m.to_string()).on("w1-k8s"));
        let writes = record(&cluster.store.snapshot(), &mut cluster.ctx, occurrences.collect());
        cluster.commit(writes);
    }

    fn events(cluster: &Cluster) -> Vec<(String, i64)> {
        let mut found: Vec<_> = cluster
            .list(&kind::EVENT)
            .iter()
            .map(|e| (e.str_at(&["message"]).unwrap().to_string(), e.i64_at(&["count"]).unwrap()))
            .collect();
        found.sort();
        found
    }

    #[test]
    fn the_same_again_is_counted() {
        let mut cluster = Cluster::with([pod()]);
        tell_and_keep(&mut cluster, &["one", "two", "one"]);
        cluster.pass(SignedDuration::from_secs(5));
        tell_and_keep(&mut cluster, &["one"]);
        assert_eq!(events(&cluster), [("one".to_string(), 3), ("two".to_string(), 1)]);
        let one = cluster.list(&kind::EVENT).into_iter().find(|e| e.i64_at(&["count"]) == Some(3)).unwrap();
        assert!(one.str_at(&["firstTimestamp"]) < one.str_at(&["lastTimestamp"]));
        assert_eq!(one.at(&["source"]), Some(&json!({"component": "kubelet", "host": "w1-k8s"})));
        let (name, id) = one.name().split_once('.').unwrap();
        assert!(name == "web" && id.len() == 16 && u64::from_str_radix(id, 16).is_ok(), "{}", one.name());
        assert_eq!(one.str_at(&["involvedObject", "namespace"]), Some("default"));
    }

    #[test]
    fn many_similar_ones_are_combined() {
        let mut cluster = Cluster::with([pod()]);
        let messages: Vec<String> = (0..30).map(|n| format!("m{n:02}")).collect();
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        tell_and_keep(&mut cluster, &messages[..12]);
        tell_and_keep(&mut cluster, &messages[12..]);
        let events = events(&cluster);
        assert_eq!(events.len(), 11);
        assert_eq!(events[0], (format!("{COMBINED}m29"), 20));
    }

    #[test]
    fn a_standing_warning_is_said_once() {
        let mut cluster = Cluster::with([pod()]);
        let web = cluster.get(&kind::POD, "default", "web");
        for _ in 0..3 {
            cluster.ctx.standing_warning("ipam", &web, "Full", "no address".into());
            let occurrences = std::mem::take(&mut cluster.ctx.occurrences);
            let writes = record(&cluster.store.snapshot(), &mut cluster.ctx, occurrences);
            cluster.commit(writes);
        }
        assert_eq!(events(&cluster), [("no address".to_string(), 1)]);
    }

    #[test]
    fn they_go_after_an_hour_and_when_they_are_too_many() {
        let mut cluster = Cluster::with([pod()]);
        tell_and_keep(&mut cluster, &["early"]);
        cluster.pass(SignedDuration::from_mins(30));
        tell_and_keep(&mut cluster, &["late"]);
        cluster.pass(SignedDuration::from_mins(29));
        assert!(expire(&cluster.store.snapshot(), &mut cluster.ctx).is_empty());
        let due = cluster.ctx.wake_at.unwrap();
        assert!(due > cluster.ctx.now);
        cluster.ctx.now = due;
        let writes = expire(&cluster.store.snapshot(), &mut cluster.ctx);
        cluster.commit(writes);
        assert_eq!(events(&cluster), [("late".to_string(), 1)]);
        let event = |n: usize| {
            let last = time_text(cluster.ctx.now - SignedDuration::from_secs((n % 600) as i64));
            object(json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("x.{n}"),
                "namespace": "default"}, "lastTimestamp": last}))
        };
        let snapshot: Snapshot = (0..MOST + 1).map(event).collect();
        let writes = expire(&snapshot, &mut cluster.ctx);
        assert_eq!(writes.len(), MOST + 1 - MOST * 9 / 10);
        // The oldest, here the 599 seconds old, are among them.
        let first = writes[0].key().unwrap();
        let number: usize = first.name.strip_prefix("x.").unwrap().parse().unwrap();
        assert_eq!(number % 600, 599, "{first}");
    }
}
