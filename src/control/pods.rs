//! What controllers ask about pods.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Context, conditions};
use crate::object::Object;

/// All its containers have ended for good.
pub(super) fn is_finished(pod: &Object) -> bool {
    matches!(pod.str_at(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

/// Neither ended nor ending: it counts as a replica.
pub(super) fn is_active(pod: &Object) -> bool {
    !is_finished(pod) && !pod.is_terminating()
}

pub(super) fn is_ready(pod: &Object) -> bool {
    conditions::is(pod, "Ready", "True")
}

/// `None` when it is not ready, or does not say since when.
pub(super) fn ready_since(pod: &Object) -> Option<Timestamp> {
    let ready = conditions::find(pod, "Ready").filter(|c| conditions::text(c, "status") == "True")?;
    conditions::text(ready, "lastTransitionTime").parse().ok()
}

/// Ready for at least `min_ready_seconds`; asks to be woken when it will be.
pub(super) fn is_available(pod: &Object, min_ready_seconds: i64, ctx: &mut Context) -> bool {
    if !is_ready(pod) {
        return false;
    }
    if min_ready_seconds <= 0 {
        return true;
    }
    let Some(since) = ready_since(pod) else { return false };
    let Ok(at) = since.checked_add(SignedDuration::from_secs(min_ready_seconds)) else { return false };
    if at > ctx.now {
        ctx.wake(at);
    }
    at <= ctx.now
}

/// The node it is bound to.
pub(super) fn node(pod: &Object) -> Option<&str> {
    pod.str_at(&["spec", "nodeName"]).filter(|node| !node.is_empty())
}

/// `status.podIPs`, in their order.
pub(super) fn addresses(pod: &Object) -> impl Iterator<Item = IpAddr> {
    let list = pod.at(&["status", "podIPs"]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|entry| entry.get("ip")?.as_str()?.parse().ok())
}

pub(super) fn containers(pod: &Object) -> impl Iterator<Item = &Value> {
    pod.at(&["spec", "containers"]).and_then(Value::as_array).into_iter().flatten()
}
