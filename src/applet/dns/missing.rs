//! Names that were asked for, do not exist, and are nearly that of a Service: told once each, as an event of that
//! Service, where `kubectl describe` and `kubectl get events` show it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::Name;
use super::cluster::Cluster;
use crate::applet::kube::{Api, KubeError};
use crate::object::nearest::is_slip_of;
use crate::object::time_text;

/// Of so many names it is remembered that they were looked at. Whoever asks for more makes them up.
const MOST: usize = 1_000;

pub struct Missing {
    api: Api,
    seen: RefCell<HashSet<(String, String)>>,
}

/// A name of a Service that does not exist, and the one that was probably meant.
#[derive(Debug, PartialEq)]
struct Slip {
    namespace: String,
    asked: String,
    meant: String,
}

impl Missing {
    pub fn new(api: Api) -> Self {
        Missing { api, seen: RefCell::default() }
    }

    /// `name` does not exist. What there is to tell is told later, and not again.
    pub fn note(self: &Rc<Self>, cluster: &Cluster, name: &Name) {
        let Some(slip) = self.slip(cluster, name) else { return };
        let told = self.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = told.tell(&slip).await {
                println!("[WARNING] event about {}.{}: {error}", slip.asked, slip.namespace);
            }
        });
    }

    fn slip(&self, cluster: &Cluster, name: &Name) -> Option<Slip> {
        let text = name.to_string().to_ascii_lowercase();
        let (asked, namespace) = text.strip_suffix(".svc.cluster.local")?.split_once('.')?;
        let key = (namespace.to_string(), asked.to_string());
        let mut seen = self.seen.borrow_mut();
        if seen.len() >= MOST || !cluster.has_namespace(namespace) || !seen.insert(key) {
            return None;
        }
        let meant = cluster.names_in(namespace).find(|known| is_slip_of(asked, known))?;
        Some(Slip { namespace: namespace.to_string(), asked: asked.to_string(), meant: meant.to_string() })
    }

    async fn tell(&self, slip: &Slip) -> Result<(), KubeError> {
        let Slip { namespace, asked, meant } = slip;
        let mut connection = self.api.connect().await?;
        let service = connection.get(&format!("/api/v1/namespaces/{namespace}/services/{meant}")).await?;
        let now = Timestamp::now();
        let text = time_text(now);
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("{meant}.{:016x}", now.as_nanosecond()), "namespace": namespace},
            "involvedObject": {"apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": meant,
                "uid": service.pointer("/metadata/uid").unwrap_or(&Value::Null)},
            "type": "Warning", "reason": "NameNotFound", "count": 1, "firstTimestamp": text, "lastTimestamp": text,
            "message": format!("{asked}.{namespace}.svc.cluster.local was asked for and does not exist; did you mean {meant}?"),
            "source": {"component": "coredns"}, "reportingComponent": "coredns",
        });
        let path = format!("/api/v1/namespaces/{namespace}/events");
        connection.request(Method::POST, &path, Some(("application/json", &event))).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;
    use crate::applet::kube::Change;
    use crate::object::{Object, kind};

    #[test]
    fn only_slips_are_told_and_each_once() {
        let mut cluster = Cluster::default();
        let object = |json: Value| Object::from_value(json).unwrap();
        let namespaces = ["default", "blue"].map(|name| object(json!({"metadata": {"name": name}})));
        cluster.change(&kind::NAMESPACE, Change::All(namespaces.into()));
        let front = json!({"metadata": {"name": "front", "namespace": "blue"}, "spec": {"clusterIP": "10.96.0.5"}});
        cluster.change(&kind::SERVICE, Change::Set(object(front)));
        let missing = Missing::new(Api::at_socket("/nowhere".into()));
        let slip = |name: &str| missing.slip(&cluster, &Name::from_str(name).unwrap());
        let told = slip("Fornt.blue.svc.cluster.local").unwrap();
        assert_eq!((told.asked.as_str(), told.namespace.as_str(), told.meant.as_str()), ("fornt", "blue", "front"));
        for name in [
            "fornt.blue.svc.cluster.local",
            "fornt.default.svc.cluster.local",
            "fornt.red.svc.cluster.local",
            "other.blue.svc.cluster.local",
            "x.fornt.blue.svc.cluster.local",
            "fornt.blue.example.org",
        ] {
            assert_eq!(slip(name), None, "{name}");
        }
    }
}
