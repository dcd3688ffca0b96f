use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::control::conditions;
use crate::control::testing::{Cluster, deployment, object};

/// A running Deployment `web`.
fn running(replicas: i64) -> Cluster {
    let mut cluster = Cluster::lab([deployment("web", replicas)]);
    cluster.run();
    cluster
}

fn change(cluster: &mut Cluster, pointer: &str, value: Value) {
    cluster.change(&kind::DEPLOYMENT, "default", "web", |web| {
        let mut json = web.to_value();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        json.pointer_mut(parent).unwrap()[field] = value;
        *web = object(json);
    });
}

fn set_image(cluster: &mut Cluster, image: &str) {
    change(cluster, "/spec/template/spec/containers/0/image", image.into());
}

fn web(cluster: &Cluster) -> Arc<Object> {
    cluster.get(&kind::DEPLOYMENT, "default", "web")
}

fn condition(cluster: &Cluster, condition_type: &str) -> (String, String, String) {
    let web = web(cluster);
    let condition = conditions::find(&web, condition_type).unwrap();
    ["status", "reason", "message"].map(|field| conditions::text(condition, field).to_string()).into()
}

/// (image, spec.replicas, revision) of each ReplicaSet, in order of their revisions.
fn sets(cluster: &Cluster) -> Vec<(String, i64, i64)> {
    let mut sets: Vec<_> = cluster
        .list(&kind::REPLICA_SET)
        .iter()
        .map(|set| {
            let image = &set.at(&["spec", "template", "spec", "containers"]).unwrap()[0]["image"];
            let revision = set.annotation(REVISION).unwrap().parse().unwrap();
            (image.as_str().unwrap().to_string(), set.i64_at(&["spec", "replicas"]).unwrap(), revision)
        })
        .collect();
    sets.sort_by_key(|(_, _, revision)| *revision);
    sets
}

fn messages(cluster: &Cluster, reason: &str) -> Vec<String> {
    let mut events = cluster.list(&kind::EVENT);
    events.sort_by_key(|event| event.resource_version());
    let of = events.iter().filter(|event| event.str_at(&["reason"]) == Some(reason));
    of.map(|event| event.str_at(&["message"]).unwrap().to_string()).collect()
}

/// How many pods there are in all, and how many of them are ready.
fn pods_and_ready(cluster: &Cluster) -> (i64, i64) {
    let active: Vec<_> = cluster.list(&kind::POD).into_iter().filter(|pod| pods::is_active(pod)).collect();
    (active.len() as i64, active.iter().filter(|pod| pods::is_ready(pod)).count() as i64)
}

/// Runs to the end, one kubelet step of `pace` pods after each single round of the controllers, and checks at every
/// step that there are at most `most` pods and at least `least` ready ones.
fn roll_within(cluster: &mut Cluster, pace: usize, least: i64, most: i64) {
    for _ in 0..500 {
        let writes = cluster.round();
        let (pods, ready) = pods_and_ready(cluster);
        assert!(pods <= most, "{pods} pods, but {most} at most");
        assert!(ready >= least, "{ready} ready pods, but {least} at least");
        if cluster.kubelet(pace) + writes == 0 {
            return;
        }
        assert!(pods_and_ready(cluster).1 >= least);
    }
    panic!("the rollout does not end");
}

#[test]
fn a_new_deployment_comes_up() {
    let cluster = running(3);
    let web = web(&cluster);
    let set = &cluster.list(&kind::REPLICA_SET)[0];
    let hash = set.label(sets::HASH_LABEL).unwrap();
    assert_eq!(hash.len(), 10);
    assert_eq!(set.name(), format!("web-{hash}"));
    assert_eq!(set.at(&["spec", "selector", "matchLabels"]), Some(&json!({"app": "web", "pod-template-hash": hash})));
    assert!(cluster.list(&kind::POD).iter().all(|pod| pod.label(sets::HASH_LABEL) == Some(hash)));
    assert_eq!(web.annotation(REVISION), Some("1"));
    let mut status = web.at(&["status"]).cloned().unwrap();
    status.as_object_mut().unwrap().remove("conditions");
    assert_eq!(
        status,
        json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3})
    );
    let available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.");
    assert_eq!(condition(&cluster, "Available"), (available.0.into(), available.1.into(), available.2.into()));
    let message = format!("ReplicaSet \"{}\" has successfully progressed.", set.name());
    assert_eq!(condition(&cluster, "Progressing"), ("True".into(), "NewReplicaSetAvailable".into(), message));
    let scaled = format!("Scaled up replica set {} from 0 to 3", set.name());
    assert_eq!(messages(&cluster, "ScalingReplicaSet"), [scaled]);
}

#[test]
fn before_its_pods_are_ready_it_is_unavailable_and_progressing() {
    let mut cluster = Cluster::lab([deployment("web", 3)]);
    cluster.settle();
    assert_eq!(condition(&cluster, "Available").1, "MinimumReplicasUnavailable");
    assert_eq!(web(&cluster).i64_at(&["status", "unavailableReplicas"]), Some(3));
    assert_eq!(condition(&cluster, "Progressing").1, "ReplicaSetUpdated");
}

#[test]
fn a_rolling_update_keeps_within_its_bounds() {
    // replicas, maxSurge, maxUnavailable, pods a kubelet step, least ready, most pods
    for (replicas, surge, unavailable, pace, least, most) in [
        (4, json!("25%"), json!("25%"), 1, 3, 5),
        (10, json!("25%"), json!("25%"), 3, 8, 13),
        (10, json!(0), json!(1), 1, 9, 10),
        (3, json!(1), json!(0), usize::MAX, 3, 4),
        (5, json!("100%"), json!(0), 2, 5, 10),
        (6, json!(2), json!(3), 1, 3, 8),
        (1, json!("25%"), json!("25%"), 1, 1, 2),
    ] {
        let mut web = deployment("web", replicas);
        web["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        let mut cluster = Cluster::lab([web]);
        cluster.run();
        for image in ["nginx:2", "nginx:3"] {
            set_image(&mut cluster, image);
            roll_within(&mut cluster, pace, least, most);
            let last = sets(&cluster).pop().unwrap();
            assert_eq!((last.0.as_str(), last.1), (image, replicas));
            assert_eq!(pods_and_ready(&cluster), (replicas, replicas));
        }
        assert_eq!(condition(&cluster, "Progressing").1, "NewReplicaSetAvailable");
    }
}

#[test]
fn an_update_in_the_middle_of_another_keeps_the_bounds_too() {
    let mut cluster = running(8);
    set_image(&mut cluster, "nginx:2");
    for _ in 0..6 {
        cluster.round();
        cluster.kubelet(2);
    }
    let before = sets(&cluster);
    assert!(before.len() == 2 && before.iter().all(|(_, replicas, _)| *replicas > 0), "{before:?}");
    set_image(&mut cluster, "nginx:3");
    roll_within(&mut cluster, 2, 6, 10);
    assert_eq!(sets(&cluster).pop().unwrap(), ("nginx:3".to_string(), 8, 3));
}

#[test]
fn recreate_ends_everything_old_first() {
    let mut json = deployment("web", 3);
    json["spec"]["strategy"] = json!({"type": "Recreate"});
    let mut cluster = Cluster::lab([json]);
    cluster.run();
    set_image(&mut cluster, "nginx:2");
    let image = |pod: &Object| pods::containers(pod).next().unwrap()["image"].clone();
    for _ in 0..50 {
        let writes = cluster.round();
        let pods = cluster.list(&kind::POD);
        // Also those that are still ending count.
        assert!(pods.iter().all(|pod| image(pod) == image(&pods[0])));
        if writes + cluster.kubelet(1) == 0 {
            break;
        }
    }
    assert_eq!(sets(&cluster), [("nginx".to_string(), 0, 1), ("nginx:2".to_string(), 3, 2)]);
    assert_eq!(pods_and_ready(&cluster), (3, 3));
}

#[test]
fn the_same_template_again_is_the_same_replica_set() {
    let mut cluster = running(2);
    for image in ["nginx:2", "nginx"] {
        set_image(&mut cluster, image);
        cluster.run();
    }
    assert_eq!(sets(&cluster), [("nginx:2".to_string(), 0, 2), ("nginx".to_string(), 2, 3)]);
    assert_eq!(web(&cluster).annotation(REVISION), Some("3"));
    let back = cluster.list(&kind::REPLICA_SET).into_iter().find(|set| set.annotation(REVISION) == Some("3")).unwrap();
    assert_eq!(back.annotation("deployment.kubernetes.io/revision-history"), Some("1"));
}

#[test]
fn old_replica_sets_are_kept_up_to_the_limit() {
    let mut cluster = running(1);
    change(&mut cluster, "/spec/revisionHistoryLimit", 2.into());
    for n in 2..=5 {
        set_image(&mut cluster, &format!("nginx:{n}"));
        cluster.run();
    }
    let kept: Vec<_> = sets(&cluster).into_iter().map(|(image, _, _)| image).collect();
    assert_eq!(kept, ["nginx:3", "nginx:4", "nginx:5"]);
}

#[test]
fn scaling_changes_the_number_and_nothing_else() {
    let mut cluster = running(3);
    let names = cluster.names(&kind::POD);
    for replicas in [6, 2, 0, 3] {
        change(&mut cluster, "/spec/replicas", replicas.into());
        cluster.run();
        assert_eq!(pods_and_ready(&cluster), (replicas, replicas));
        assert_eq!(sets(&cluster), [("nginx".to_string(), replicas, 1)]);
        if replicas == 6 {
            assert!(names.iter().all(|name| cluster.names(&kind::POD).contains(name)));
        }
    }
    let set = cluster.names(&kind::REPLICA_SET).pop().unwrap();
    let expected = [(0, 3), (3, 6), (6, 2), (2, 0)].map(|(from, to)| {
        let direction = if to > from { "up" } else { "down" };
        format!("Scaled {direction} replica set {set} from {from} to {to}")
    });
    // The last one is the first one again, with a count of two.
    let messages = messages(&cluster, "ScalingReplicaSet");
    assert!(messages.len() == 4 && expected.iter().all(|message| messages.contains(message)), "{messages:?}");
}

#[test]
fn scaling_in_the_middle_of_a_rollout_keeps_the_proportions() {
    let mut cluster = running(10);
    change(&mut cluster, "/spec/strategy/rollingUpdate", json!({"maxSurge": 3, "maxUnavailable": 2}));
    set_image(&mut cluster, "nginx:2");
    // 3 + 2 new ones that do not become ready, 8 old ones.
    cluster.settle();
    assert_eq!(sets(&cluster).iter().map(|(_, n, _)| *n).collect::<Vec<_>>(), [8, 5]);
    change(&mut cluster, "/spec/replicas", 15.into());
    cluster.settle();
    // Upstream's example: of five more, the larger gets three.
    assert_eq!(sets(&cluster).iter().map(|(_, n, _)| *n).collect::<Vec<_>>(), [11, 7]);
    cluster.run();
    assert_eq!(sets(&cluster).iter().map(|(_, n, _)| *n).collect::<Vec<_>>(), [0, 15]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut cluster = running(2);
    change(&mut cluster, "/spec/paused", true.into());
    set_image(&mut cluster, "nginx:2");
    change(&mut cluster, "/spec/replicas", 4.into());
    cluster.run();
    assert_eq!(sets(&cluster), [("nginx".to_string(), 4, 1)]);
    assert_eq!(condition(&cluster, "Progressing").1, "DeploymentPaused");
    change(&mut cluster, "/spec/paused", false.into());
    cluster.run();
    assert_eq!(sets(&cluster), [("nginx".to_string(), 0, 1), ("nginx:2".to_string(), 4, 2)]);
    assert_eq!(condition(&cluster, "Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn a_rollout_that_gets_stuck_says_so_when_its_time_is_over() {
    let mut cluster = running(2);
    set_image(&mut cluster, "broken");
    cluster.settle();
    let due = cluster.ctx.wake_at.unwrap();
    assert!(due <= cluster.ctx.now + SignedDuration::from_secs(600));
    cluster.ctx.now = due - SignedDuration::from_secs(1);
    cluster.settle();
    assert_eq!(condition(&cluster, "Progressing").1, "ReplicaSetUpdated");
    cluster.ctx.now = due;
    cluster.settle();
    let (status, reason, message) = condition(&cluster, "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ProgressDeadlineExceeded"));
    assert!(message.ends_with("has timed out progressing."), "{message}");
    // The old pods still serve.
    assert_eq!(condition(&cluster, "Available").0, "True");
    // The way out of it is a template that works.
    set_image(&mut cluster, "nginx");
    cluster.run();
    assert_eq!(condition(&cluster, "Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn min_ready_seconds_hold_up_the_rollout() {
    let mut json = deployment("web", 2);
    json["spec"]["minReadySeconds"] = 10.into();
    json["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 1, "maxUnavailable": 0});
    let mut cluster = Cluster::lab([json]);
    cluster.run();
    cluster.pass(SignedDuration::from_secs(11));
    cluster.run();
    set_image(&mut cluster, "nginx:2");
    cluster.run();
    assert_eq!(sets(&cluster).iter().map(|(_, n, _)| *n).collect::<Vec<_>>(), [2, 1]);
    for _ in 0..2 {
        cluster.ctx.now = cluster.ctx.wake_at.unwrap();
        cluster.run();
    }
    assert_eq!(sets(&cluster).iter().map(|(_, n, _)| *n).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn a_taken_name_leads_to_another_hash() {
    let mut cluster = Cluster::lab([]);
    let json = deployment("web", 1);
    let taken = format!("web-{}", template_hash(&object(json.clone()), 0));
    let mut other = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": taken,
        "namespace": "default"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}}});
    other["spec"]["template"] = json["spec"]["template"].clone();
    cluster.commit(vec![Write::Create(object(other)), Write::Create(object(json))]);
    cluster.run();
    assert_eq!(web(&cluster).i64_at(&["status", "collisionCount"]), Some(1));
    assert_eq!(pods_and_ready(&cluster), (1, 1));
}

#[test]
fn annotations_are_handed_down_but_for_the_private_ones() {
    let mut cluster = running(1);
    cluster.change(&kind::DEPLOYMENT, "default", "web", |web| {
        web.set_annotation("kubernetes.io/change-cause", "a new image");
        web.set_annotation("kubectl.kubernetes.io/last-applied-configuration", "{}");
    });
    cluster.run();
    let set = &cluster.list(&kind::REPLICA_SET)[0];
    assert_eq!(set.annotation("kubernetes.io/change-cause"), Some("a new image"));
    assert_eq!(set.annotation("kubectl.kubernetes.io/last-applied-configuration"), None);
}
