//! From what a user names (`web-1`, `deployment/web`, `svc/web`) to a pod, and to a container in it.

use serde_json::Value;

use super::path::Query;
use super::{Context, Failure, hint, resource};
use crate::object::kind::{self, KindRef};

/// The pod that the arguments name; of a Deployment, Service, ... the first that runs.
pub async fn find_one(cx: &Context, args: &[String], command: &str) -> Result<Value, Failure> {
    let (kind, name) = resource::parse_one(args, Some(&kind::POD), command)?;
    let object = get(cx, kind, &name).await?;
    if kind == &kind::POD {
        return Ok(object);
    }
    let pods = selected_by(cx, kind, &object).await?;
    let running = |pod: &&Value| phase(pod) == "Running";
    let pod = pods.iter().find(running).or(pods.first()).cloned();
    pod.ok_or_else(|| {
        let selector = selector_text(kind, &object).unwrap_or_default();
        Failure::error(format!("{}/{name} selects {selector}: no pod has these labels", kind.singular()))
    })
}

/// An object, or "not found" with hints.
pub async fn get(cx: &Context, kind: KindRef, name: &str) -> Result<Value, Failure> {
    match cx.client.get(kind, &cx.namespace, name).await {
        Ok(object) => Ok(object),
        Err(error) if error.is_not_found() => {
            Err(Failure::from(error).hints(hint::for_missing(cx, kind, &cx.namespace, name).await))
        }
        Err(error) => Err(error.into()),
    }
}

/// All pods of a workload or a Service.
pub async fn selected_by(cx: &Context, kind: KindRef, object: &Value) -> Result<Vec<Value>, Failure> {
    let selector = selector_text(kind, object).filter(|s| !s.is_empty()).ok_or_else(|| {
        let name = hint::name_of(object);
        Failure::error(format!("{}/{name} selects no pods: it has no selector", kind.singular()))
    })?;
    let query = Query::new().with("labelSelector", selector);
    let namespace = hint::namespace_of(object);
    Ok(cx.client.items(&kind::POD, Some(namespace), &query).await?)
}

/// The labels that a kind selects its pods by, as `-l` takes them; `None` for kinds that select none.
pub fn selector_text(kind: KindRef, object: &Value) -> Option<String> {
    let selector = object.pointer("/spec/selector")?;
    if [&kind::SERVICE, &kind::REPLICATION_CONTROLLER].contains(&kind) {
        return Some(labels_text(selector, ","));
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_string();
    let mut parts: Vec<String> = Vec::new();
    if let Some(labels) = selector.get("matchLabels") {
        parts.push(labels_text(labels, ","));
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = text(expression.get("key"));
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let values = values.filter_map(Value::as_str).collect::<Vec<_>>().join(",");
        parts.push(match text(expression.get("operator")).as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key,
        });
    }
    parts.retain(|part| !part.is_empty());
    Some(parts.join(","))
}

/// `a=b,c=d`, in the order of the names.
pub fn labels_text(labels: &Value, separator: &str) -> String {
    let labels = labels.as_object().into_iter().flatten();
    labels.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect::<Vec<_>>().join(separator)
}

pub fn phase(pod: &Value) -> &str {
    pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default()
}

/// Names of the containers in `spec.FIELD`.
pub fn containers<'p>(pod: &'p Value, field: &str) -> Vec<&'p str> {
    let list = pod.get("spec").and_then(|s| s.get(field)).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|c| c.get("name").and_then(Value::as_str)).collect()
}

/// The container that was asked for, or the pod's first, which is said when there are others.
pub fn container(pod: &Value, asked: Option<&str>, quiet: bool) -> Result<String, Failure> {
    let main = containers(pod, "containers");
    let all = ["containers", "initContainers", "ephemeralContainers"].map(|field| containers(pod, field)).concat();
    if let Some(asked) = asked {
        if all.contains(&asked) {
            return Ok(asked.to_string());
        }
        let name = hint::name_of(pod);
        let words = format!("Error from server (BadRequest): container {asked} is not valid for pod {name}");
        return Err(Failure::verbatim(words).hint(format!("its containers: {}", all.join(", "))));
    }
    let by_annotation = pod.pointer("/metadata/annotations/kubectl.kubernetes.io~1default-container");
    if let Some(name) = by_annotation.and_then(Value::as_str).filter(|name| all.contains(name)) {
        return Ok(name.to_string());
    }
    let first = main.first().ok_or_else(|| Failure::error(format!("pod {} has no container", hint::name_of(pod))))?;
    if all.len() > 1 && !quiet {
        let init = containers(pod, "initContainers");
        let list = all.iter().map(|c| if init.contains(c) { format!("{c} (init)") } else { c.to_string() });
        eprintln!("Defaulted container \"{first}\" out of: {}", list.collect::<Vec<_>>().join(", "));
    }
    Ok(first.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_as_a_command_line_has_them() {
        let service = json!({"spec": {"selector": {"app": "web", "tier": "x"}}});
        assert_eq!(selector_text(&kind::SERVICE, &service).as_deref(), Some("app=web,tier=x"));
        let deployment = json!({"spec": {"selector": {"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["b", "c"]}, {"key": "d", "operator": "DoesNotExist"}, {"key": "e", "operator": "Exists"}]}}});
        assert_eq!(selector_text(&kind::DEPLOYMENT, &deployment).as_deref(), Some("app=web,a in (b,c),!d,e"));
    }

    #[test]
    fn the_first_container_unless_another_is_asked_for() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container(&pod, None, true).as_deref(), Ok("a"));
        assert_eq!(container(&pod, Some("i"), true).as_deref(), Ok("i"));
        assert!(container(&pod, Some("x"), true).unwrap_err().to_string().ends_with("hint: its containers: a, b, i"));
        let chosen =
            json!({"metadata": {"annotations": {"kubectl.kubernetes.io/default-container": "b"}}, "spec": pod["spec"]});
        assert_eq!(container(&chosen, None, true).as_deref(), Ok("b"));
    }
}
