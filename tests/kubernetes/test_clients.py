"""What each of the three clients sends, and what comes back."""

import pytest

from tests.kubernetes.conftest import IMAGE, NO_IMAGE, condition, patiently, pod_of, state


def test_a_pod_from_birth_to_deletion(client, cluster, refused):
    made = client.create(pod_of("echo one; echo two", metadata={"labels": {"app": "whole-life"}}))
    name = made["metadata"]["name"]
    assert made["status"]["phase"] == "Pending"
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    cluster.over(name)
    pod = client.read(name)
    assert pod["status"]["phase"] == "Succeeded"
    assert state(pod)["terminated"]["exitCode"] == 0
    assert state(pod)["terminated"]["reason"] == "Completed"
    assert client.log(name) == "one\ntwo\n"
    client.delete(name, 0)
    cluster.gone(name)
    with refused("NotFound"):
        client.read(name)


def test_exit_code_and_labels(client, cluster):
    name = client.create(pod_of("exit 3"))["metadata"]["name"]
    cluster.over(name)
    assert client.label(name, "checked", "True")["metadata"]["labels"] == {"checked": "True"}
    pod = client.read(name)
    assert pod["status"]["phase"] == "Failed"
    assert state(pod)["terminated"]["exitCode"] == 3
    assert state(pod)["terminated"]["reason"] == "Error"


def test_the_same_name_twice(client, refused):
    pod = pod_of("sleep 60")
    client.create(pod)
    with refused("AlreadyExists"):
        client.create(pod)
    client.delete(pod["metadata"]["name"], 0)


def test_a_misspelled_field(client, refused):
    with refused("BadRequest") as error:
        client.create(pod_of(restartPolice="Never"))
    assert 'unknown field "spec.restartPolice"' in error.value.text


@pytest.mark.parametrize("name", ["Upper", "under_score"])
def test_a_name_that_is_none(client, refused, name):
    with refused("Invalid") as error:
        client.create(pod_of(metadata={"name": name}))
    assert "RFC 1123" in error.value.text


def test_what_is_not_there(client, refused):
    with refused("NotFound") as error:
        client.read("nobody")
    assert 'pods "nobody" not found' in error.value.text
    with refused("NotFound"):
        client.delete("nobody", 0)
    with refused("NotFound"):
        client.log("nobody")


def test_selectors(client, cluster):
    names = {
        kind: cluster.run(metadata={"labels": {"kind": kind, "suite": "selectors"}}) for kind in ("a", "b")
    }
    for name in names.values():
        cluster.over(name)

    def found(labels="suite=selectors", fields=""):
        return {pod["metadata"]["labels"]["kind"] for pod in client.list(labels, fields)}

    assert found() == {"a", "b"}
    assert found("suite=selectors,kind!=a") == {"b"}
    assert found("suite in (selectors),kind in (a,c)") == {"a"}
    assert found("suite=selectors,kind notin (a)") == {"b"}
    assert found("suite=selectors,!kind") == set()
    assert found(fields=f"metadata.name={names['b']}") == {"b"}
    assert found(fields="status.phase=Succeeded") == {"a", "b"}
    assert found(fields="status.phase!=Succeeded") == set()


def test_a_field_without_index(client, refused):
    with refused("BadRequest") as error:
        client.list(fields="spec.hostname=x")
    assert "field label not supported" in error.value.text


def test_tail_and_the_end_of_a_followed_log(client, cluster):
    name = cluster.run("for i in 1 2 3; do echo line $i; sleep 0.3; done")
    patiently(lambda: state(cluster.sync.read(name)).keys() & {"running", "terminated"})
    assert client.log(name, follow=True) == "line 1\nline 2\nline 3\n"
    assert client.log(name, tail_lines=1) == "line 3\n"
    stamp, _, rest = client.log(name, tail_lines=1, timestamps=True).partition(" ")
    assert rest == "line 3\n"
    assert stamp.endswith("Z")


def test_no_log_of_a_pod_that_cannot_pull(client, cluster, refused):
    name = cluster.run(container={"image": NO_IMAGE})
    cluster.until(name, lambda pod: state(pod).get("waiting", {}).get("reason") == "ImagePullBackOff")
    with refused("BadRequest") as error:
        client.log(name)
    assert "is waiting to start: trying and failing to pull image" in error.value.text
    reasons = {event["reason"] for event in client.events(name)}
    assert {"Scheduled", "Pulling", "Failed", "BackOff"} <= reasons
    client.delete(name, 0)


def test_the_log_of_several_containers(client, cluster, refused):
    more = {"name": "side", "image": IMAGE, "command": ["sh", "-c", "echo side"]}
    first = {"name": "first", "image": IMAGE, "command": ["sh", "-c", "echo first"]}
    pod = pod_of("echo base", initContainers=[first])
    pod["spec"]["containers"].append(more)
    name = cluster.sync.create(pod)["metadata"]["name"]
    cluster.over(name)
    assert client.log(name, container="base") == "base\n"
    assert client.log(name, container="side") == "side\n"
    assert client.log(name, container="first") == "first\n"
    with refused("BadRequest"):
        client.log(name, container="base", previous=True)


def test_no_room_on_any_node(client, cluster):
    name = cluster.run(container={"resources": {"limits": {"nvidia.com/gpu": "1000"}}})
    cluster.until(name, lambda pod: condition(pod, "PodScheduled").get("status") == "False")
    pod = client.read(name)
    assert pod["status"]["phase"] == "Pending"
    assert condition(pod, "PodScheduled")["reason"] == "Unschedulable"
    assert "Insufficient nvidia.com/gpu" in condition(pod, "PodScheduled")["message"]
    events = patiently(lambda: [one for one in client.events(name) if one["reason"] == "FailedScheduling"])
    assert "nodes are available" in events[0]["message"]
    assert client.log(name) == ""
    client.delete(name, 0)
    cluster.gone(name)
