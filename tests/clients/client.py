"""Kubernetes' own Python client against a lab: a failed assertion, or any exception, is a failed test."""

import time
import threading
from ipaddress import ip_address, ip_network

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

PATIENCE = 30


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.02)
    return found


def pod(name, *containers):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": list(containers)}}


SHELL = {"name": "c", "image": "busybox", "command": ["sh", "-c", "echo begun; sleep 100000"]}
WEB = {"name": "web", "image": "sysnet4admin/echo-hname"}


def lists_and_changes(core, apps):
    names = [node.metadata.name for node in core.list_node().items]
    assert names == ["m-k8s", "w1-k8s", "w2-k8s", "w3-k8s"], names

    container = client.V1Container(name="web", image="sysnet4admin/echo-hname",
                                   ports=[client.V1ContainerPort(container_port=80)])
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels={"app": "py"}),
                                        spec=client.V1PodSpec(containers=[container]))
    spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels={"app": "py"}),
                                   template=template)
    apps.create_namespaced_deployment("default", client.V1Deployment(metadata=client.V1ObjectMeta(name="py"), spec=spec))
    until("two pods ready", lambda: apps.read_namespaced_deployment("py", "default").status.ready_replicas == 2)
    apps.patch_namespaced_deployment_scale("py", "default", {"spec": {"replicas": 3}})
    until("three pods ready", lambda: apps.read_namespaced_deployment_status("py", "default").status.ready_replicas == 3)
    page = core.list_namespaced_pod("default", label_selector="app=py", limit=2)
    rest = core.list_namespaced_pod("default", label_selector="app=py", limit=2, _continue=page.metadata._continue)
    assert (len(page.items), len(rest.items)) == (2, 1)
    try:
        core.read_namespaced_pod("no-such-pod", "default")
        raise AssertionError("found what is not there")
    except ApiException as error:
        assert (error.status, error.reason) == (404, "Not Found"), error
        assert 'pods \\"no-such-pod\\" not found' in error.body, error.body


def watches(core):
    begin = core.list_namespaced_config_map("default").metadata.resource_version
    maps = ["a", "b", "c"]

    def write():
        for name in maps:
            core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name)))
        core.delete_namespaced_config_map("a", "default")

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    for event in watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=begin,
                                      timeout_seconds=PATIENCE):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            break
    writer.join()
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"), ("DELETED", "a")], seen


def sessions(core):
    core.create_namespaced_pod("default", pod("py-shell", SHELL, WEB))
    until("the pod runs", lambda: core.read_namespaced_pod("py-shell", "default").status.phase == "Running")
    assert core.read_namespaced_pod_log("py-shell", "default", container="c") == "begun\n"

    said = stream(core.connect_get_namespaced_pod_exec, "py-shell", "default", container="c",
                  command=["sh", "-c", "echo out; echo err >&2"], stdout=True, stderr=True)
    assert sorted(said.split()) == ["err", "out"], said
    shell = stream(core.connect_get_namespaced_pod_exec, "py-shell", "default", container="c", stdin=True, stdout=True,
                   stderr=True, command=["sh", "-c", "read line; echo got $line; exit 3"], _preload_content=False)
    shell.write_stdin("a line\n")
    shell.run_forever(timeout=PATIENCE)
    assert shell.read_stdout() == "got a line\n"
    assert shell.returncode == 3, shell.returncode

    forwarded = portforward(core.connect_get_namespaced_pod_portforward, "py-shell", "default", ports="80")
    connection = forwarded.socket(80)
    connection.setblocking(True)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while chunk := connection.recv(4096):
        answer += chunk
    connection.close()
    assert forwarded.error(80) is None, forwarded.error(80)
    assert answer.endswith(b"py-shell\n"), answer
    core.delete_namespaced_pod("py-shell", "default", grace_period_seconds=0)


def dynamic_and_files(api):
    resources = dynamic.DynamicClient(api).resources
    services = resources.get(api_version="v1", kind="Service")
    utils.create_from_dict(api, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "py"},
                                 "spec": {"selector": {"app": "py"}, "ports": [{"port": 80}]}})
    service = services.get(name="py", namespace="default")
    assert ip_address(service.spec.clusterIP) in ip_network("10.96.0.0/12"), service
    services.server_side_apply(namespace="default", field_manager="py", body={
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "py", "labels": {"made-by": "python"}}})
    assert services.get(name="py", namespace="default").metadata.labels["made-by"] == "python"
    services.delete(name="py", namespace="default")


def main():
    config.load_kube_config()
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    lists_and_changes(core, apps)
    watches(core)
    sessions(core)
    dynamic_and_files(core.api_client)


main()
