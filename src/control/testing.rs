//! A cluster in memory for tests: a store, the controllers, and a kubelet that only says that pods run.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Context, POD_IPS, bootstrap, pods, run_once};
use crate::object::lab::Lab;
use crate::object::write::{Delete, Part, Propagation};
use crate::object::{Key, KindRef, Object, Write, kind};
use crate::store::{Store, WriteError};

pub fn object(json: Value) -> Object {
    Object::from_value(json).unwrap()
}

pub struct Cluster {
    pub store: Store,
    pub ctx: Context,
}

impl Cluster {
    pub fn with(objects: impl IntoIterator<Item = Object>) -> Self {
        // The store stamps creations with the real time.
        let mut cluster = Cluster { store: Store::in_memory(), ctx: Context::seeded(Timestamp::now(), 7) };
        cluster.commit(objects.into_iter().map(Write::Create).collect());
        cluster
    }

    /// The nodes of the default lab, ready, and `objects`.
    pub fn lab(objects: impl IntoIterator<Item = Value>) -> Self {
        let mut cluster = Self::with([]);
        cluster.commit(bootstrap::cluster(&Lab::default()).unwrap());
        for node in cluster.list(&kind::NODE) {
            let mut node = (*node).clone();
            let ready = json!([{"type": "Ready", "status": "True"}]);
            crate::object::map_at_mut(node.json_mut(), "status").insert("conditions".into(), ready);
            cluster.commit(vec![Write::Update(node, Part::Status)]);
        }
        cluster.commit(objects.into_iter().map(object).map(Write::Create).collect());
        cluster
    }

    pub fn commit(&mut self, writes: Vec<Write>) {
        for result in self.store.commit(writes) {
            result.unwrap();
        }
    }

    pub fn pass(&mut self, time: SignedDuration) {
        self.ctx.now += time;
    }

    pub fn get(&self, kind: KindRef, namespace: &str, name: &str) -> Arc<Object> {
        self.store.get(&Key::new(kind, namespace, name)).unwrap_or_else(|| panic!("no {name}"))
    }

    pub fn list(&self, kind: KindRef) -> Vec<Arc<Object>> {
        self.store.snapshot().list(kind).cloned().collect()
    }

    pub fn names(&self, kind: KindRef) -> Vec<String> {
        self.list(kind).iter().map(|o| o.name().to_string()).collect()
    }

    pub fn change(&mut self, kind: KindRef, namespace: &str, name: &str, change: impl FnOnce(&mut Object)) {
        let mut object = (*self.get(kind, namespace, name)).clone();
        change(&mut object);
        self.commit(vec![Write::Update(object, Part::All)]);
    }

    pub fn delete(&mut self, kind: KindRef, namespace: &str, name: &str, propagation: Propagation) {
        let key = Key::new(kind, namespace, name);
        self.commit(vec![Write::Delete(Delete { key, uid: None, grace_seconds: None, propagation })]);
    }

    /// One round of the controllers; how many writes it had. Two of them may want to change the same object, or one what
    /// another just made vanish; nothing else may go wrong.
    pub fn round(&mut self) -> usize {
        let writes = run_once(&self.store.snapshot(), &mut self.ctx);
        let count = writes.len();
        for result in self.store.commit(writes) {
            let is_fine = matches!(result, Ok(_) | Err(WriteError::Conflict { .. } | WriteError::NotFound { .. }));
            assert!(is_fine, "{result:?}");
        }
        count
    }

    /// Rounds until nothing is left to do, which must come.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            if self.round() == 0 {
                // Nothing of what it was not asked to look at again would have been left to do.
                let writes = run_once(&self.store.snapshot(), &mut Context::seeded(self.ctx.now, 7));
                assert!(writes.is_empty(), "other controllers would go on: {writes:?}");
                return;
            }
        }
        panic!("the controllers never come to rest: {:?}", run_once(&self.store.snapshot(), &mut self.ctx));
    }

    /// Every node's kubelet does its next step for at most `count` pods: pods that were told to end do, bound pods with
    /// an address become ready. Returns how many pods changed.
    pub fn kubelet(&mut self, count: usize) -> usize {
        let mut writes = Vec::new();
        for pod in self.list(&kind::POD) {
            if writes.len() == count {
                break;
            }
            let Some(key) = pod.key() else { continue };
            if pod.is_terminating() {
                let (uid, propagation) = (None, Propagation::Background);
                writes.push(Write::Delete(Delete { key, uid, grace_seconds: Some(0), propagation }));
            } else if pods::node(&pod).is_some() && !pods::is_ready(&pod) && !pods::is_finished(&pod) {
                let Some(addresses) = pod.annotation(POD_IPS) else { continue };
                let addresses: Vec<Value> = addresses.split(',').map(|ip| json!({"ip": ip})).collect();
                let mut running = (*pod).clone();
                let mut conditions = pod.at(&["status", "conditions"]).and_then(Value::as_array).cloned();
                let list = conditions.get_or_insert_default();
                super::conditions::set(list, "Ready", "True", None, &self.ctx.now_text());
                let status = json!({"phase": "Running", "podIPs": addresses, "podIP": addresses[0]["ip"],
                    "conditions": list});
                running.json_mut().insert("status".into(), status);
                writes.push(Write::Update(running, Part::Status));
            }
        }
        let count = writes.len();
        self.commit(writes);
        count
    }

    /// Controllers and kubelets until nothing happens any more.
    pub fn run(&mut self) {
        for _ in 0..100 {
            self.settle();
            if self.kubelet(usize::MAX) == 0 {
                return;
            }
        }
        panic!("the cluster never comes to rest");
    }
}

pub fn deployment(name: &str, replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"name": "http", "containerPort": 80}]}]}}}})
}

pub fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}
