"""Rules of the API that hold for every client: versions, conflicts, pages, patches, quotas, Jobs."""

import json
import secrets

import kubernetes
import pytest

from tests.kubernetes.conftest import IMAGE, patiently, pod_of, state

ApiException = kubernetes.client.ApiException


def status_of(error):
    return json.loads(error.value.body)


def config_map(cluster, **data):
    name = f"map-{secrets.token_hex(4)}"
    return cluster.core.create_namespaced_config_map(
        cluster.namespace, {"metadata": {"name": name}, "data": data}
    )


def test_a_stale_version_is_a_conflict(cluster):
    old = config_map(cluster, a="1")
    name = old.metadata.name
    cluster.core.patch_namespaced_config_map(name, cluster.namespace, {"data": {"a": "2"}})
    with pytest.raises(ApiException) as error:
        cluster.core.replace_namespaced_config_map(name, cluster.namespace, old)
    assert error.value.status == 409
    assert status_of(error)["reason"] == "Conflict"
    assert "the object has been modified" in status_of(error)["message"]
    assert cluster.core.read_namespaced_config_map(name, cluster.namespace).data == {"a": "2"}


def test_a_deletion_of_another_uid_is_a_conflict(cluster):
    name = config_map(cluster).metadata.name
    other = {"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}}
    with pytest.raises(ApiException) as error:
        cluster.core.delete_namespaced_config_map(name, cluster.namespace, body=other)
    assert error.value.status == 409
    assert "Precondition failed: UID in precondition" in status_of(error)["message"]
    answer = cluster.core.delete_namespaced_config_map(name, cluster.namespace)
    assert answer.status == "Success"
    assert answer.details.name == name


def test_errors_say_what_they_are_about(cluster):
    with pytest.raises(ApiException) as error:
        cluster.batch.read_namespaced_job("nobody", cluster.namespace)
    found = status_of(error)
    assert found["kind"] == "Status"
    assert found["status"] == "Failure"
    assert found["code"] == 404
    assert found["message"] == 'jobs.batch "nobody" not found'
    assert found["details"] == {"name": "nobody", "group": "batch", "kind": "jobs"}


def test_a_fixed_field_of_a_pod(cluster):
    name = cluster.run("sleep 60")
    with pytest.raises(ApiException) as error:
        cluster.core.patch_namespaced_pod(name, cluster.namespace, {"spec": {"restartPolicy": "Always"}})
    assert error.value.status == 422
    assert status_of(error)["reason"] == "Invalid"
    assert "pod updates may not change fields other than" in status_of(error)["message"]
    cluster.sync.delete(name, 0)


def test_a_gpu_without_a_limit(cluster, refused):
    asked = {"requests": {"nvidia.com/gpu": "1"}}
    with refused("Invalid") as error:
        cluster.sync.create(pod_of(container={"resources": asked}))
    assert "Limit must be set for non overcommitable resources" in error.value.text


def test_a_mount_without_a_volume(cluster, refused):
    mounts = [{"name": "nobody", "mountPath": "/a"}]
    with refused("Invalid") as error:
        cluster.sync.create(pod_of(container={"volumeMounts": mounts}))
    assert 'spec.containers[0].volumeMounts[0].name: Not found: "nobody"' in error.value.text


def test_a_missing_field(cluster, refused):
    pod = pod_of()
    del pod["spec"]["containers"][0]["name"]
    with refused("Invalid") as error:
        cluster.sync.create(pod)
    assert "spec.containers[0].name: Required value" in error.value.text


def test_a_namespace_that_is_not_there(cluster):
    with pytest.raises(ApiException) as error:
        cluster.core.create_namespaced_pod("nightshift-nobody", pod_of())
    assert error.value.status == 404
    assert status_of(error)["message"] == 'namespaces "nightshift-nobody" not found'


def test_a_wrong_token(cluster):
    api = kubernetes.config.new_client_from_config(cluster.kubeconfig)
    api.configuration.api_key = {"authorization": "Bearer nobody", "BearerToken": "Bearer nobody"}
    api.configuration.cert_file = api.configuration.key_file = None
    api.configuration.refresh_api_key_hook = None
    with pytest.raises(ApiException) as error:
        kubernetes.client.CoreV1Api(api).list_namespaced_pod(cluster.namespace)
    assert error.value.status == 401
    assert status_of(error)["reason"] == "Unauthorized"


def test_pages(cluster):
    label = {"suite": f"pages-{secrets.token_hex(4)}"}
    wanted = sorted(f"page-{number}-{label['suite']}" for number in range(5))
    for name in wanted:
        cluster.core.create_namespaced_config_map(
            cluster.namespace, {"metadata": {"name": name, "labels": label}}
        )
    found, token = [], None
    for _ in range(3):
        page = cluster.core.list_namespaced_config_map(
            cluster.namespace, label_selector=f"suite={label['suite']}", limit=2, _continue=token
        )
        found += [one.metadata.name for one in page.items]
        token = page.metadata._continue
    assert found == wanted
    assert not token


def test_a_version_that_is_too_old(cluster):
    watch = kubernetes.watch.Watch()
    with pytest.raises(ApiException) as error:
        list(watch.stream(cluster.core.list_namespaced_pod, cluster.namespace, resource_version="1",
                          timeout_seconds=60))  # fmt: skip
    assert error.value.status == 410
    assert "too old resource version" in error.value.reason


def test_a_watch_ends_at_its_timeout_with_a_bookmark(cluster):
    answer = cluster.core.list_namespaced_pod(
        cluster.namespace, watch=True, timeout_seconds=1, allow_watch_bookmarks=True, _preload_content=False,
        resource_version=cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version,
    )  # fmt: skip
    for line in answer.read().decode().splitlines():
        event = json.loads(line)
        assert event["type"] in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")
        assert event["object"]["metadata"]["resourceVersion"]


def test_a_watch_with_a_selector_sees_an_object_leave(cluster):
    name = cluster.run("sleep 60", metadata={"labels": {"suite": "leaves"}})
    watch, kinds = kubernetes.watch.Watch(), []
    version = cluster.core.list_namespaced_pod(cluster.namespace).metadata.resource_version
    cluster.sync.label(name, "suite", "left")
    stream = watch.stream(
        cluster.core.list_namespaced_pod, cluster.namespace, label_selector="suite=leaves",
        resource_version=version, timeout_seconds=60,
    )  # fmt: skip
    for event in stream:
        kinds.append(event["type"])
        if event["type"] == "DELETED":
            break
    assert kinds[-1] == "DELETED"
    assert cluster.sync.read(name)["metadata"]["labels"] == {"suite": "left"}
    cluster.sync.delete(name, 0)


def test_a_dry_run_stores_nothing(cluster, refused):
    pod = pod_of()
    cluster.core.create_namespaced_pod(cluster.namespace, pod, dry_run="All")
    with refused("NotFound"):
        cluster.sync.read(pod["metadata"]["name"])


def test_quota(cluster, refused):
    hard = {"requests.nightshift.test/thing": "1"}
    quota = {"metadata": {"name": "things"}, "spec": {"hard": hard}}
    cluster.core.create_namespaced_resource_quota(cluster.namespace, quota)
    patiently(lambda: cluster.core.read_namespaced_resource_quota("things", cluster.namespace).status.hard)
    things = {"limits": {"nightshift.test/thing": "2"}}
    with refused("Forbidden") as error:
        cluster.sync.create(pod_of(container={"resources": things}))
    assert (
        "exceeded quota: things, requested: requests.nightshift.test/thing=2, "
        "used: requests.nightshift.test/thing=0, limited: requests.nightshift.test/thing=1"
    ) in error.value.text
    cluster.core.delete_namespaced_resource_quota("things", cluster.namespace)


def job_of(script, **fields):
    container = {"name": "base", "image": IMAGE, "command": ["sh", "-c", script]}
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}, **fields}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"job-{secrets.token_hex(4)}"},
        "spec": spec,
    }


def finished(cluster, name, kind):
    def found():
        conditions = cluster.batch.read_namespaced_job(name, cluster.namespace).status.conditions or []
        return next((one for one in conditions if one.type == kind and one.status == "True"), None)

    return patiently(found)


def test_a_job_runs_its_pods_and_takes_them_along(cluster, refused):
    name = cluster.batch.create_namespaced_job(cluster.namespace, job_of("echo done")).metadata.name
    finished(cluster, name, "Complete")
    job = cluster.batch.read_namespaced_job(name, cluster.namespace)
    assert job.status.succeeded == 1
    assert job.status.completion_time
    (pod,) = cluster.sync.list(labels=f"job-name={name}")
    assert pod["metadata"]["ownerReferences"][0]["uid"] == job.metadata.uid
    assert cluster.sync.log(pod["metadata"]["name"]) == "done\n"
    cluster.batch.delete_namespaced_job(name, cluster.namespace, propagation_policy="Background")
    patiently(lambda: not cluster.sync.list(labels=f"job-name={name}"))
    with pytest.raises(ApiException) as error:
        cluster.batch.read_namespaced_job(name, cluster.namespace)
    assert error.value.status == 404


def test_a_job_that_fails(cluster):
    job = job_of("exit 1", backoffLimit=0)
    name = cluster.batch.create_namespaced_job(cluster.namespace, job).metadata.name
    assert finished(cluster, name, "Failed").reason == "BackoffLimitExceeded"
    assert cluster.batch.read_namespaced_job(name, cluster.namespace).status.failed == 1
    with pytest.raises(ApiException) as error:
        cluster.batch.create_namespaced_job(cluster.namespace, {**job, "metadata": {"name": name}})
    assert status_of(error)["reason"] == "AlreadyExists"


def test_an_indexed_job_numbers_its_pods(cluster):
    job = job_of("echo $JOB_COMPLETION_INDEX", completions=2, parallelism=2, completionMode="Indexed")
    name = cluster.batch.create_namespaced_job(cluster.namespace, job).metadata.name
    finished(cluster, name, "Complete")
    pods = cluster.sync.list(labels=f"job-name={name}")
    assert {cluster.sync.log(pod["metadata"]["name"]) for pod in pods} == {"0\n", "1\n"}
    assert all(state(pod)["terminated"]["exitCode"] == 0 for pod in pods)
