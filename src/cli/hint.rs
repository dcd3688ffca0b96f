//! What somebody who asked for an object that is not there probably meant.

use serde_json::Value;

use super::Context;
use super::path::Query;
use crate::object::kind::{self, KindRef};
use crate::object::nearest::nearest;

/// Kinds that a name is looked for in when its own kind has none of that name.
static NEIGHBOURS: [KindRef; 4] = [&kind::POD, &kind::DEPLOYMENT, &kind::SERVICE, &kind::REPLICA_SET];

/// As many names as a hint lists before it only counts.
const FEW: usize = 5;

/// Hints for an object that was not found. Asks the API, which an error has time for; says nothing when it cannot.
pub async fn for_missing(cx: &Context, kind: KindRef, namespace: &str, name: &str) -> Vec<String> {
    let Ok(same_kind) = cx.client.items(kind, None, &Query::new()).await else { return Vec::new() };
    let (here, elsewhere): (Vec<&Value>, Vec<&Value>) =
        same_kind.iter().partition(|o| !kind.namespaced || namespace_of(o) == namespace);
    if let Some(other) = elsewhere.iter().find(|o| name_of(o) == name) {
        let other = namespace_of(other);
        return vec![format!("{} \"{name}\" is in namespace \"{other}\": add -n {other}", kind.singular())];
    }
    let mut hints = Vec::new();
    if kind.namespaced && !namespace_exists(cx, namespace).await {
        hints.push(format!("there is no namespace \"{namespace}\""));
        return hints;
    }
    let mut meant: Vec<String> = Vec::new();
    if NEIGHBOURS.contains(&kind) {
        for neighbour in NEIGHBOURS.iter().filter(|k| **k != kind) {
            if let Ok(Some(_)) = cx.client.find(neighbour, namespace, name).await {
                meant.push(format!("{}/{name}", neighbour.singular()));
            }
        }
    }
    if let Some(near) = nearest(name, here.iter().map(|o| name_of(o))) {
        meant.push(if meant.is_empty() { near.to_string() } else { format!("{}/{near}", kind.singular()) });
    }
    if !meant.is_empty() {
        hints.push(format!("did you mean {}?", meant.join(" or ")));
    }
    if meant.len() < 2 {
        hints.extend(what_there_is(kind, namespace, &here));
    }
    hints
}

/// `pods in namespace default: a, b`.
fn what_there_is(kind: KindRef, namespace: &str, here: &[&Value]) -> Option<String> {
    let place = if kind.namespaced { format!(" in namespace {namespace}") } else { String::new() };
    let names: Vec<&str> = here.iter().map(|o| name_of(o)).collect();
    match names.len() {
        0 => Some(format!("there are no {}{place}", kind.plural)),
        1..=FEW => Some(format!("{}{place}: {}", kind.plural, names.join(", "))),
        _ => None,
    }
}

/// The namespace, when it is missing, is the cause of "No resources found" that nobody thinks of.
pub async fn for_nothing_found(cx: &Context, namespace: &str) -> Option<String> {
    if namespace_exists(cx, namespace).await {
        return None;
    }
    let namespaces = cx.client.items(&kind::NAMESPACE, None, &Query::new()).await.ok()?;
    let near = nearest(namespace, namespaces.iter().map(name_of));
    let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Some(format!("there is no namespace \"{namespace}\"{meant}"))
}

async fn namespace_exists(cx: &Context, namespace: &str) -> bool {
    // Only a clear "no" counts.
    !matches!(cx.client.find(&kind::NAMESPACE, "", namespace).await, Ok(None))
}

pub fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

pub fn namespace_of(object: &Value) -> &str {
    object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default()
}
