use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::desired::Nat;
use crate::plan::plan;

/// The objects of a lab by key, from which random changes make one snapshot after the other.
struct History {
    random: StdRng,
    objects: BTreeMap<Key, Arc<Object>>,
    snapshot: Snapshot,
}

impl History {
    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.random.random_range(0..list.len())]
    }

    fn name(&mut self) -> (&'static str, &'static str) {
        (self.one_of(&["default", "blue"]), self.one_of(&["a", "b", "c"]))
    }

    fn address(&mut self) -> String {
        format!("10.244.1.{}", self.random.random_range(2..7))
    }

    fn pod(&mut self) -> Value {
        let (namespace, name) = self.name();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "uid": self.one_of(&["1", "2"]),
                "annotations": {"nslab.dev/pod-ips": self.address()}},
            "spec": {"nodeName": self.one_of(&["w1-k8s", "w2-k8s", "gone"]), "containers": [{"name": "c",
                "image": "nginx"}], "hostNetwork": self.random.random_bool(0.2),
                "enableServiceLinks": self.random.random_bool(0.7)},
            "status": {"phase": self.one_of(&["Pending", "Running", "Running", "Succeeded"])}});
        if self.random.random_bool(0.3) {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        pod
    }

    fn service(&mut self) -> Value {
        let (namespace, name) = match self.random.random_range(0..8) {
            0 => ("default", "kubernetes"),
            _ => self.name(),
        };
        // Few addresses, so that some are taken twice.
        let address = format!("10.96.0.{}", self.random.random_range(1..6));
        let external: &[&str] = self.one_of(&[&[], &[], &["10.96.0.3"], &["203.0.113.1", "203.0.113.2"]]);
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace,
                "labels": {"n": self.one_of(&["1", "2"])}},
            "spec": {"type": self.one_of(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
                "clusterIP": address, "externalIPs": external,
                "externalTrafficPolicy": self.one_of(&["Cluster", "Local"]),
                "internalTrafficPolicy": self.one_of(&["Cluster", "Cluster", "Local"]),
                "publishNotReadyAddresses": self.random.random_bool(0.2),
                "ports": [{"name": "x", "port": self.one_of(&[80, 81]), "nodePort": self.one_of(&[30000, 30001])}]}})
    }

    fn slice(&mut self) -> Value {
        let (namespace, name) = self.name();
        let endpoints: Vec<Value> = (0..self.random.random_range(0..3))
            .map(|_| {
                let target = json!({"kind": "Pod", "namespace": namespace, "name": self.one_of(&["a", "b"]),
                    "uid": self.one_of(&["1", "2"])});
                json!({"addresses": [self.address()], "conditions": {"ready": self.random.random_bool(0.8)},
                    "targetRef": target, "nodeName": self.one_of(&["w1-k8s", "w2-k8s", "gone"])})
            })
            .collect();
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "namespace": namespace,
                "labels": {"kubernetes.io/service-name": self.one_of(&["a", "b", "kubernetes"])}},
            "ports": [{"name": "x", "port": 8080}], "endpoints": endpoints})
    }

    fn account(&mut self) -> Value {
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": self.one_of(&["default", "blue"])},
            "automountServiceAccountToken": self.random.random_bool(0.5)})
    }

    fn lab(&mut self) -> Value {
        json!({"apiVersion": "nslab.dev/v1alpha1", "kind": "Lab", "metadata": {"name": "lab"},
            "nodes": [{"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}],
            "networking": {"podSubnet": self.one_of(&["10.244.0.0/16", "10.240.0.0/12"])}})
    }

    fn step(&mut self) {
        for _ in 0..self.random.random_range(1..4) {
            let json = match self.random.random_range(0..32) {
                0 => self.lab(),
                1..3 => self.account(),
                3..12 => self.service(),
                12..22 => self.slice(),
                _ => self.pod(),
            };
            let object = Object::from_value(json).unwrap();
            let key = object.key().unwrap();
            if self.random.random_bool(0.25) {
                self.objects.remove(&key);
            } else {
                self.objects.insert(key, Arc::new(object));
            }
        }
        let objects = self.objects.iter().map(|(key, object)| (key.clone(), object.clone())).collect();
        self.snapshot = Snapshot::new(Arc::new(objects), 0);
    }
}

/// Whatever it has seen before, a planner gives what a new one gives.
#[test]
fn what_is_taken_over_is_what_would_be_made() {
    let (mut contested, mut own, mut translated, mut pods) = (0, 0, 0, 0);
    for seed in 0..12 {
        let random = StdRng::seed_from_u64(seed);
        let mut history = History { random, objects: BTreeMap::new(), snapshot: Snapshot::default() };
        let mut planner = Planner::new("lab", Machine::default());
        for step in 0..100 {
            history.step();
            let fresh = plan("lab", &history.snapshot, &Machine::default());
            let cached = planner.plan(&history.snapshot).map(Arc::unwrap_or_clone);
            match (fresh, cached) {
                (Ok(fresh), Ok(cached)) => {
                    assert_eq!(cached.nat, fresh.nat, "seed {seed}, step {step}");
                    assert_eq!(cached, fresh, "seed {seed}, step {step}");
                    contested += usize::from(planner.last.as_ref().is_some_and(|last| last.tables.is_contested));
                    let nats: BTreeSet<*const Nat> = cached.nat.values().map(Arc::as_ptr).collect();
                    own += nats.len() - 1;
                    let nat = fresh.nat.values().next().unwrap();
                    translated += nat.services.values().filter(|backend| !backend.endpoints.is_empty()).count();
                    pods += fresh.pods.len();
                }
                (fresh, cached) => assert_eq!(fresh.is_err(), cached.is_err()),
            }
        }
    }
    // The histories have something to say about all of it.
    let said = format!("{contested} {own} {translated} {pods}");
    assert!(contested > 50 && own > 100 && translated > 100 && pods > 1000, "{said}");
}

#[test]
fn what_did_not_change_is_the_same_value() {
    let mut history =
        History { random: StdRng::seed_from_u64(1), objects: BTreeMap::new(), snapshot: Snapshot::default() };
    (0..60).for_each(|_| history.step());
    let mut planner = Planner::new("lab", Machine::default());
    let before = planner.plan(&history.snapshot).unwrap();
    assert!(!before.pods.is_empty());
    let again = planner.plan(&history.snapshot).unwrap();
    assert!(Arc::ptr_eq(&before, &again), "nothing changed");
    let key = Key::new(&kind::POD, "default", "new");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "new", "namespace": "default",
        "annotations": {"nslab.dev/pod-ips": "10.244.1.9"}}, "spec": {"nodeName": "w1-k8s", "containers": []}});
    history.objects.insert(key, Arc::new(Object::from_value(pod).unwrap()));
    let objects = history.objects.iter().map(|(key, object)| (key.clone(), object.clone())).collect();
    let after = planner.plan(&Snapshot::new(Arc::new(objects), 0)).unwrap();
    assert_eq!(after.pods.len(), before.pods.len() + 1);
    assert!(before.pods.iter().all(|(key, pod)| Arc::ptr_eq(pod, &after.pods[key])));
    assert!(before.nat.iter().all(|(netns, nat)| Arc::ptr_eq(nat, &after.nat[netns])));
}
