"""Faults on demand, which only the double makes."""

import os
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path

import kubernetes
import pytest

from tests.kubernetes.conftest import condition, patiently, pod_of, state

ApiException = kubernetes.client.ApiException
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def running(cluster, double):
    """A pod that has said `up`, and its name."""
    name = cluster.run("trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")
    patiently(lambda: "running" in state(cluster.sync.read(name)) and cluster.sync.log(name) == "up\n")
    return name


def deleted(cluster, name, cause):
    """The last the watch shows of a pod, when `cause` makes somebody delete it."""
    version = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    cause()
    stream = kubernetes.watch.Watch().stream(
        cluster.core.list_namespaced_pod, cluster.namespace, resource_version=version,
        field_selector=f"metadata.name={name}", timeout_seconds=60,
    )  # fmt: skip
    return next(event["raw_object"] for event in stream if event["type"] == "DELETED")


def test_evicted(cluster, double, running):
    double.evict(running, "The node was low on resource: memory.", cluster.namespace)
    pod = cluster.over(running)
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["reason"] == "Evicted"
    assert pod["status"]["message"] == "The node was low on resource: memory."
    assert condition(pod, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    assert "Evicted" in {event["reason"] for event in cluster.sync.events(running)}


def test_preempted(cluster, double, running):
    last = deleted(cluster, running, lambda: double.preempt(running, cluster.namespace))
    assert condition(last, "DisruptionTarget")["reason"] == "PreemptionByScheduler"
    assert state(last)["terminated"]["exitCode"] == 0


def test_its_node_is_lost(cluster, double):
    double.add_node("lost", {"nightshift.test/lost": "1"})
    only_there = {"resources": {"limits": {"nightshift.test/lost": "1"}}}
    name = cluster.run("sleep 60", container=only_there)
    cluster.until(name, lambda pod: "running" in state(pod))
    last = deleted(cluster, name, lambda: double.node_lost("lost"))
    assert condition(last, "DisruptionTarget")["reason"] == "DeletionByTaintManager"
    assert condition(last, "Ready")["status"] == "False"
    node = cluster.core.read_node("lost")
    assert next(one.status for one in node.status.conditions if one.type == "Ready") == "Unknown"


def test_out_of_memory_on_demand(cluster, double, running):
    double.oom(running, namespace=cluster.namespace)
    assert state(cluster.over(running))["terminated"]["reason"] == "OOMKilled"


def test_pending_until_released(cluster, double):
    double.hold_scheduling()
    name = cluster.run()
    time.sleep(0.5)
    assert cluster.sync.read(name)["status"].get("conditions") is None
    double.release_scheduling()
    cluster.over(name)


def test_an_image_that_comes_back(cluster, double):
    name = cluster.run(container={"image": "team/thing:1"})
    cluster.until(name, lambda pod: state(pod).get("waiting", {}).get("reason") == "ImagePullBackOff")
    double.images["team/thing"] = double.images["busybox"]
    assert cluster.over(name)["status"]["phase"] == "Succeeded"


def test_refused_by_a_webhook(double, refused, client):
    double.refuse("policy.example.com", "pods need an owner")
    with refused("Forbidden") as error:
        client.create(pod_of())
    assert 'admission webhook "policy.example.com" denied the request: pods need an owner' in error.value.text


@pytest.mark.parametrize("status", [403, 500, 503, 429])
def test_errors_of_the_server(cluster, double, status):
    double.api_errors(1, status, match="POST .*/pods")
    with pytest.raises(ApiException) as error:
        cluster.core.create_namespaced_pod(cluster.namespace, pod_of())
    assert error.value.status == status
    assert ("Retry-After" in error.value.headers) == (status in (429, 503))
    cluster.run()


def test_a_cut_watch_raises_or_ends(cluster, double, running):
    started = threading.Event()

    def cut():
        started.wait(30)
        double.cut_watches()

    threading.Thread(target=cut).start()

    def look():
        for _ in kubernetes.watch.Watch().stream(
            cluster.core.list_namespaced_pod, cluster.namespace, timeout_seconds=60,
            field_selector=f"metadata.name={running}",
        ):  # fmt: skip
            started.set()

    begun = time.monotonic()
    with pytest.raises(kubernetes.client.rest.urllib3.exceptions.ProtocolError):
        look()
    assert time.monotonic() - begun < 50


def test_versions_become_too_old(cluster, double):
    listed = cluster.core.list_namespaced_pod(cluster.namespace, limit=1)
    double.compact()
    with pytest.raises(ApiException) as error:
        list(kubernetes.watch.Watch().stream(
            cluster.core.list_namespaced_pod, cluster.namespace, timeout_seconds=60,
            resource_version=listed.metadata.resource_version,
        ))  # fmt: skip
    assert error.value.status == 410


def test_a_log_with_a_gap(cluster, double):
    name = cluster.run("echo before; while [ ! -e /shared/go ]; do sleep 0.05; done; echo after",
                       container={"volumeMounts": [{"name": "work", "mountPath": "/shared"}]},
                       volumes=[{"name": "work", "emptyDir": {}}])  # fmt: skip
    patiently(lambda: "running" in state(cluster.sync.read(name)) and cluster.sync.log(name) == "before\n")
    double.log_gap(name, namespace=cluster.namespace)
    uid = cluster.sync.read(name)["metadata"]["uid"]
    (double.folder / uid / "volumes" / "work" / "go").touch()
    cluster.over(name)
    assert cluster.sync.log(name) == "after\n"


def test_a_slow_server(cluster, double):
    double.slow(1.0, 1, match="GET .*/pods/nobody")
    begun = time.monotonic()
    with pytest.raises(ApiException):
        cluster.core.read_namespaced_pod("nobody", cluster.namespace)
    assert time.monotonic() - begun >= 1


def test_a_pod_of_higher_priority_takes_the_room(cluster, double):
    double.add_node("small", {"nightshift.test/seat": "1"})
    double.create({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1000,
                   "metadata": {"name": "urgent"}})  # fmt: skip
    seat = {"resources": {"limits": {"nightshift.test/seat": "1"}}}
    low = cluster.run("trap 'exit 0' TERM; while :; do sleep 0.1; done", container=seat)
    cluster.until(low, lambda pod: "running" in state(pod))
    other = cluster.run(container=seat)
    cluster.until(other, lambda pod: condition(pod, "PodScheduled"))
    names = []
    last = deleted(
        cluster, low, lambda: names.append(cluster.run(container=seat, priorityClassName="urgent"))
    )
    assert condition(last, "DisruptionTarget")["reason"] == "PreemptionByScheduler"
    assert cluster.over(names[0])["spec"]["nodeName"] == "small"
    cluster.over(other)


CHILD = """
import sys, time
from tests.support.kubernetes import running_kubernetes
with running_kubernetes() as cluster:
    how, seconds = sys.argv[1:]
    script = f"trap '' TERM; sleep {seconds} & setsid sleep {seconds} & echo $$$$; wait"
    container = {"name": "base", "image": "busybox", "command": ["sh", "-c", script]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec})
    worker = cluster.wait(lambda: next(iter(cluster._machine.workers.values()), None))
    lines = cluster.wait(lambda: worker.mains[0].log and worker.mains[0].log.lines)
    print(lines[0][1].decode(), flush=True)
    if how == "stay":
        time.sleep(600)
"""


def sleepers(seconds):
    """The process ids of `sleep` with this number of seconds, which no one else has."""
    found = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in found.splitlines() if line.split()[1:] == ["sleep", seconds]]


@pytest.mark.parametrize("how", ["stay", "leave"])
def test_no_process_outlives_the_double(how):
    """`stay`: the test process is killed. The container ignores SIGTERM; one child left its session."""
    seconds = str(secrets.randbelow(10**8) + 10**5)
    command = [sys.executable, "-c", CHILD, how, seconds]
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=PROJECT, env=env, stdout=subprocess.PIPE, text=True) as test:
        pid = int(test.stdout.readline())
        if how == "stay":
            patiently(lambda: len(sleepers(seconds)) == 2)
            test.kill()
        test.wait(60)
    patiently(lambda: not sleepers(seconds))
    assert not Path(f"/proc/{pid}").exists()


def test_an_account_may_do_what_its_role_says(cluster, double, running):
    """A real server does the same; only the double makes a kubeconfig of an account."""
    space = cluster.namespace
    double.create({"apiVersion": "v1", "kind": "ServiceAccount",
                   "metadata": {"name": "launcher", "namespace": space}})  # fmt: skip
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "launch", "namespace": space}}
    rules = [{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}]
    double.create({**head, "kind": "Role", "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "launcher", "namespace": space}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "launch"}
    double.create({**head, "kind": "RoleBinding", "subjects": [subject], "roleRef": role})
    api = kubernetes.config.new_client_from_config(str(double.kubeconfig_of(space, "launcher")))
    core = kubernetes.client.CoreV1Api(api)
    assert core.read_namespaced_pod_log(running, space)
    for forbidden, verb, name in [
        (lambda: core.list_namespaced_secret(space), "list", "secrets"),
        (lambda: core.delete_namespaced_pod(running, space), "delete", "pods"),
        (lambda: core.list_namespaced_pod("default"), "list", "pods"),
    ]:
        with pytest.raises(ApiException) as error:
            forbidden()
        assert error.value.status == 403
        user = f"system:serviceaccount:{space}:launcher"
        assert f'User \\"{user}\\" cannot {verb} resource \\"{name}\\"' in error.value.body
