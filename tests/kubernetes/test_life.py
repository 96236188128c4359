"""The life of a pod: phases, states, conditions, logs of its containers, its end."""

import kubernetes
import pytest

from tests.kubernetes.conftest import IMAGE, NO_IMAGE, condition, patiently, pod_of, state

UNTIL_TOLD = "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.1; done"
DEAF = "trap '' TERM; echo up; while :; do sleep 0.1; done"


def seen(cluster, version, name):
    """The events of one pod since a version, as plain documents, until it is over or deleted."""
    watch = kubernetes.watch.Watch()
    stream = watch.stream(
        cluster.core.list_namespaced_pod, cluster.namespace, resource_version=version,
        field_selector=f"metadata.name={name}", timeout_seconds=120,
    )  # fmt: skip
    for event in stream:
        yield event["type"], event["raw_object"]


def version_now(cluster):
    return cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version


def test_a_watch_shows_the_whole_life(cluster):
    version = version_now(cluster)
    name = cluster.run("sleep 1")
    found = []
    for kind, pod in seen(cluster, version, name):
        found.append((kind, pod))
        if pod["status"]["phase"] == "Succeeded" and kind != "DELETED" and len(found) > 1:
            cluster.sync.delete(name, 0)
        if kind == "DELETED":
            break
    kinds = [kind for kind, _ in found]
    assert kinds[0] == "ADDED"
    assert set(kinds[1:-1]) == {"MODIFIED"}
    phases = [pod["status"]["phase"] for _, pod in found]
    assert list(dict.fromkeys(phases)) == ["Pending", "Running", "Succeeded"]
    versions = [int(pod["metadata"]["resourceVersion"]) for _, pod in found]
    assert versions == sorted(versions)
    running = next(pod for _, pod in found if pod["status"]["phase"] == "Running")
    assert "running" in state(running)
    assert condition(running, "PodScheduled")["status"] == "True"
    assert condition(running, "Initialized")["status"] == "True"
    assert condition(running, "Ready")["status"] == "True"
    assert condition(running, "ContainersReady")["status"] == "True"
    assert running["spec"]["nodeName"]
    assert running["status"]["podIP"]
    assert running["status"]["startTime"]
    last = found[-1][1]
    assert condition(last, "Ready") | {"status": "False", "reason": "PodCompleted"} == condition(
        last, "Ready"
    )
    assert state(last)["terminated"]["reason"] == "Completed"


def test_before_it_starts_a_container_waits(cluster):
    version = version_now(cluster)
    name = cluster.run()
    reasons = []
    for _, pod in seen(cluster, version, name):
        reasons.append(state(pod).get("waiting", {}).get("reason"))
        if pod["status"]["phase"] == "Succeeded":
            break
    assert "ContainerCreating" in reasons


def test_events_of_a_pod(cluster):
    name = cluster.run()
    cluster.over(name)
    wanted = {"Scheduled", "Pulled", "Created", "Started"}
    patiently(lambda: wanted <= {event["reason"] for event in cluster.sync.events(name)})
    event = next(one for one in cluster.sync.events(name) if one["reason"] == "Started")
    pod = cluster.sync.read(name)
    assert event["type"] == "Normal"
    assert event["involvedObject"]["kind"] == "Pod"
    assert event["involvedObject"]["uid"] == pod["metadata"]["uid"]
    assert event["involvedObject"]["fieldPath"] == "spec.containers{base}"


def test_out_of_memory(cluster):
    limits = {"memory": "64Mi"}
    name = cluster.run("echo up; tail /dev/zero", container={"resources": {"limits": limits}})
    pod = cluster.over(name)
    assert pod["status"]["phase"] == "Failed"
    assert state(pod)["terminated"]["exitCode"] == 137
    assert state(pod)["terminated"]["reason"] == "OOMKilled"


def test_a_deadline(cluster):
    name = cluster.run("sleep 100", activeDeadlineSeconds=2, terminationGracePeriodSeconds=1)
    pod = cluster.over(name)
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert "active on the node longer than the specified deadline" in pod["status"]["message"]


def last_state(cluster, name, grace_s):
    """The last state of a running pod's container that a watch shows after its deletion."""
    patiently(lambda: "up" in cluster.sync.log(name))
    version = version_now(cluster)
    cluster.sync.delete(name, grace_s)
    states, marked = [], None
    for kind, pod in seen(cluster, version, name):
        states.append(state(pod))
        marked = marked or pod["metadata"].get("deletionGracePeriodSeconds")
        if kind == "DELETED":
            break
    assert marked == grace_s
    return states[-1]


def running(cluster, script):
    name = cluster.run(script)
    cluster.until(name, lambda pod: "running" in state(pod))
    return name


def test_a_deleted_pod_is_told(cluster, refused):
    name = running(cluster, UNTIL_TOLD)
    assert last_state(cluster, name, 30)["terminated"]["exitCode"] == 0
    with refused("NotFound"):
        cluster.sync.read(name)


def test_a_deaf_pod_is_killed_after_its_grace(cluster):
    assert last_state(cluster, running(cluster, DEAF), 1)["terminated"]["exitCode"] == 137


def test_process_1_gets_no_signal_it_does_not_handle(cluster):
    name = running(cluster, "echo up; while :; do sleep 0.1; done")
    assert last_state(cluster, name, 1)["terminated"]["exitCode"] == 137


def test_an_image_that_cannot_be_pulled(cluster):
    name = cluster.run(container={"image": NO_IMAGE})
    first = cluster.until(name, lambda pod: state(pod).get("waiting", {}).get("reason") == "ErrImagePull")
    assert first["status"]["phase"] == "Pending"
    assert NO_IMAGE in state(first)["waiting"]["message"]
    cluster.until(name, lambda pod: state(pod)["waiting"]["reason"] == "ImagePullBackOff")
    cluster.sync.delete(name, 0)


def test_an_init_image_that_cannot_be_pulled(cluster):
    first = {"name": "first", "image": NO_IMAGE}
    name = cluster.run(initContainers=[first])
    pod = cluster.until(name, lambda pod: "Err" in state(pod, init=True).get("waiting", {}).get("reason", ""))
    assert pod["status"]["phase"] == "Pending"
    assert state(pod)["waiting"]["reason"] == "PodInitializing"
    assert condition(pod, "Initialized")["reason"] == "ContainersNotInitialized"
    cluster.sync.delete(name, 0)


def test_init_containers_run_first_and_share_a_volume(cluster):
    mount = {"name": "work", "mountPath": "/shared"}
    words = ["sh", "-c", "echo given > /shared/file"]
    first = {"name": "first", "image": IMAGE, "command": words, "volumeMounts": [mount]}
    name = cluster.run(
        "cat /shared/file",
        container={"volumeMounts": [mount]},
        initContainers=[first],
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    pod = cluster.over(name)
    assert state(pod, init=True)["terminated"]["exitCode"] == 0
    assert cluster.sync.log(name) == "given\n"


def test_a_tmp_of_its_own_moves_no_other_volume(cluster):
    mounts = [{"name": name, "mountPath": path} for name, path in (("tmp", "/tmp"), ("work", "/scratch"))]
    name = cluster.run(
        "echo given > /scratch/file; ls /tmp /scratch; cat /scratch/file",
        container={"volumeMounts": mounts},
        volumes=[{"name": name, "emptyDir": {}} for name in ("tmp", "work")],
    )
    assert state(cluster.over(name))["terminated"]["exitCode"] == 0
    assert cluster.sync.log(name).split()[-2:] == ["file", "given"]


def test_a_failed_init_container_fails_the_pod(cluster):
    first = {"name": "first", "image": IMAGE, "command": ["sh", "-c", "exit 4"]}
    pod = cluster.over(cluster.run("echo never", initContainers=[first]))
    assert pod["status"]["phase"] == "Failed"
    assert state(pod, init=True)["terminated"]["exitCode"] == 4
    assert state(pod)["waiting"]["reason"] == "PodInitializing"


def test_a_command_that_is_not_there(cluster):
    pod = cluster.over(cluster.run(container={"command": ["no-such-program"]}))
    assert pod["status"]["phase"] == "Failed"
    assert state(pod)["terminated"]["exitCode"] == 128
    assert state(pod)["terminated"]["reason"] == "StartError"
    assert "no-such-program" in state(pod)["terminated"]["message"]


def test_a_restarted_container(cluster):
    name = cluster.run("echo again; exit 1", restartPolicy="OnFailure")
    pod = cluster.until(
        name, lambda pod: any(one["restartCount"] for one in pod["status"].get("containerStatuses") or [])
    )
    status = pod["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert cluster.sync.log(name, previous=True) == "again\n"
    cluster.sync.delete(name, 0)


def test_last_words(cluster):
    said = cluster.over(cluster.run("echo why > /dev/termination-log; exit 1"))
    assert state(said)["terminated"]["message"] == "why\n"
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    logged = cluster.over(cluster.run("echo from the log; exit 1", container=policy))
    assert state(logged)["terminated"]["message"] == "from the log\n"


def test_the_environment(cluster):
    cluster.core.create_namespaced_config_map(
        cluster.namespace, {"metadata": {"name": "settings"}, "data": {"colour": "green"}}
    )
    cluster.core.create_namespaced_secret(
        cluster.namespace, {"metadata": {"name": "key"}, "stringData": {"word": "open"}}
    )
    env = [
        {"name": "PLAIN", "value": "p"},
        {"name": "BOTH", "value": "$(PLAIN)q"},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "UID_OF_ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "key", "key": "word"}}},
    ]
    name = cluster.run("echo $BOTH $ME $UID_OF_ME $COLOUR $WORD $HOSTNAME", container={"env": env})
    uid = cluster.over(name)["metadata"]["uid"]
    assert cluster.sync.log(name) == f"pq {name} {uid} green open {name}\n"


def test_a_config_map_that_is_not_there(cluster):
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nobody", "key": "a"}}}]
    name = cluster.run(container={"env": env})
    pod = cluster.until(
        name, lambda pod: state(pod).get("waiting", {}).get("reason") == "CreateContainerConfigError"
    )
    assert state(pod)["waiting"]["message"] == 'configmap "nobody" not found'
    cluster.sync.delete(name, 0)


def test_a_volume_that_cannot_be_mounted(cluster):
    volumes = [{"name": "settings", "configMap": {"name": "nobody"}}]
    mounts = [{"name": "settings", "mountPath": "/settings"}]
    name = cluster.run(volumes=volumes, container={"volumeMounts": mounts})
    event = patiently(
        lambda: next((one for one in cluster.sync.events(name) if one["reason"] == "FailedMount"), None)
    )
    assert 'failed for volume "settings" : configmap "nobody" not found' in event["message"]
    assert state(cluster.sync.read(name))["waiting"]["reason"] == "ContainerCreating"
    cluster.sync.delete(name, 0)


def test_a_gated_pod_waits_until_its_gate_is_taken_away(cluster):
    name = cluster.run("echo in", schedulingGates=[{"name": "nightshift.test/queue"}])
    pod = cluster.until(name, lambda pod: condition(pod, "PodScheduled"))
    assert condition(pod, "PodScheduled")["reason"] == "SchedulingGated"
    patch = [{"op": "remove", "path": "/spec/schedulingGates"}]
    cluster.core.patch_namespaced_pod(name, cluster.namespace, patch)
    assert cluster.over(name)["status"]["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"serviceAccountName": "nobody"}, 'serviceaccount "nobody" not found'),
        ({"priorityClassName": "nobody"}, "no PriorityClass with name nobody was found"),
        ({"runtimeClassName": "nobody"}, 'RuntimeClass "nobody" not found'),
    ],
    ids=["account", "priority", "runtime"],
)
def test_a_pod_that_names_what_is_not_there(cluster, refused, fields, message):
    with refused("Forbidden") as error:
        cluster.sync.create(pod_of(**fields))
    assert message in error.value.text
