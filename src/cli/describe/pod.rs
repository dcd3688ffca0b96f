//! `describe pod`.

use serde_json::Value;

use super::container;
use super::page::{Page, list, number, or_none, text, time};

pub fn pod(page: &mut Page, pod: &Value) {
    let empty = Value::Null;
    let spec = pod.get("spec").unwrap_or(&empty);
    page.name_and_namespace(pod);
    if spec.get("priority").is_some() {
        page.field(0, "Priority", number(spec, "/priority").to_string());
    }
    if !text(spec, "/priorityClassName").is_empty() {
        page.field(0, "Priority Class Name", text(spec, "/priorityClassName"));
    }
    let account = text(spec, "/serviceAccountName");
    if !account.is_empty() {
        page.field(0, "Service Account", account);
    }
    page.field(
        0,
        "Node",
        match (text(spec, "/nodeName"), text(pod, "/status/hostIP")) {
            ("", _) => "<none>".to_string(),
            (node, address) => format!("{node}/{address}"),
        },
    );
    if !text(pod, "/status/startTime").is_empty() {
        page.field(0, "Start Time", time(text(pod, "/status/startTime")));
    }
    page.labels(0, pod);
    page.annotations(0, pod);
    match text(pod, "/metadata/deletionTimestamp") {
        "" => page.field(0, "Status", text(pod, "/status/phase")),
        when => {
            page.field(0, "Status", format!("Terminating (lasts {})", super::page::age(when)));
            let grace = number(pod, "/metadata/deletionGracePeriodSeconds");
            page.field(0, "Termination Grace Period", format!("{grace}s"));
        }
    }
    for (name, at) in [("Reason", "/status/reason"), ("Message", "/status/message")] {
        if !text(pod, at).is_empty() {
            page.field(0, name, text(pod, at));
        }
    }
    page.field(0, "IP", text(pod, "/status/podIP"));
    let addresses = list(pod, "/status/podIPs");
    if addresses.is_empty() {
        page.field(0, "IPs", "<none>");
    } else {
        page.line(0, "IPs:");
        for address in addresses {
            page.field(1, "IP", text(address, "/ip"));
        }
    }
    controlled_by(page, pod);
    let containers = |field: &str| list(spec, field);
    container::containers(
        page,
        "Init Containers",
        containers("/initContainers"),
        list(pod, "/status/initContainerStatuses"),
        0,
    );
    container::containers(page, "Containers", containers("/containers"), list(pod, "/status/containerStatuses"), 0);
    let conditions = list(pod, "/status/conditions");
    if !conditions.is_empty() {
        page.line(0, "Conditions:");
        page.line(1, "Type\tStatus");
        for condition in conditions {
            page.line(1, &format!("{} \t{} ", text(condition, "/type"), text(condition, "/status")));
        }
    }
    container::volumes(page, spec, 0);
    page.field(0, "QoS Class", or_none(text(pod, "/status/qosClass")));
    container::placement(page, spec, 0);
}

/// The owner that is the object's controller.
pub fn controlled_by(page: &mut Page, object: &Value) {
    let owners = list(object, "/metadata/ownerReferences").iter();
    let controller = owners.into_iter().find(|o| o.get("controller") == Some(&Value::Bool(true)));
    if let Some(owner) = controller {
        page.field(0, "Controlled By", format!("{}/{}", text(owner, "/kind"), text(owner, "/name")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_as_kubectl_describes_it() {
        let object = json!({
            "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": true}]},
            "spec": {"nodeName": "w1-k8s", "priority": 0, "serviceAccountName": "default", "containers": [{"name": "a", "image": "nginx", "command": ["sleep", "1"],
                "ports": [{"containerPort": 80, "name": "http"}], "env": [{"name": "A", "value": "b"}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                "volumes": [{"name": "data", "emptyDir": {}}],
                "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
            "status": {"phase": "Running", "hostIP": "192.168.1.101", "podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}], "qosClass": "BestEffort",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "a", "ready": true, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
        });
        let mut page = Page::default();
        pod(&mut page, &object);
        let expected = "\
Name:             web-1
Namespace:        default
Priority:         0
Service Account:  default
Node:             w1-k8s/192.168.1.101
Labels:           app=web
Annotations:      <none>
Status:           Running
IP:               10.244.1.2
IPs:
  IP:           10.244.1.2
Controlled By:  ReplicaSet/web
Containers:
  a:
    Container ID:  
    Image:         nginx
    Image ID:      
    Port:          80/TCP
    Host Port:     0/TCP
    Command:
      sleep
      1
    State:          Waiting
      Reason:       CrashLoopBackOff
    Ready:          True
    Restart Count:  1
    Environment:
      A:  b
    Mounts:
      /data from data (rw)
Conditions:
  Type    Status
  Ready   True 
Volumes:
  data:
    Type:        EmptyDir (a temporary directory that shares a pod's lifetime)
    Medium:      
    SizeLimit:   <unset>
QoS Class:       BestEffort
Node-Selectors:  <none>
Tolerations:     node.kubernetes.io/not-ready:NoExecute op=Exists for 300s
";
        assert_eq!(page.text(), expected);
    }
}
