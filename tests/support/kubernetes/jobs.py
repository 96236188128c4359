"""A small Job controller: pods until enough have succeeded or too many have failed."""

from __future__ import annotations

import secrets
from copy import deepcopy
from datetime import UTC, datetime

from tests.support.kubernetes.defaults import set_defaults
from tests.support.kubernetes.deleting import delete, dependents
from tests.support.kubernetes.podstatus import set_condition
from tests.support.kubernetes.recorder import record
from tests.support.kubernetes.resources import JOBS, PODS
from tests.support.kubernetes.scheduler import OVER
from tests.support.kubernetes.status import ApiError
from tests.support.kubernetes.store import Store, Thing, now

SOURCE = "job-controller"


def sync(store: Store, job: Thing, admit: object) -> None:
    """Bring one Job forward: count its pods, then create, or finish it."""
    namespace, name, uid = job["metadata"]["namespace"], job["metadata"]["name"], job["metadata"]["uid"]
    if "deletionTimestamp" in job["metadata"] or finished(job):
        return
    pods = [pod for _, pod in dependents(store, uid, [PODS])]
    phases = [pod["status"]["phase"] for pod in pods]
    active = [
        pod
        for pod in pods
        if pod["status"]["phase"] not in OVER and "deletionTimestamp" not in pod["metadata"]
    ]
    succeeded, failed = phases.count("Succeeded"), phases.count("Failed")
    spec = job["spec"]
    end = _end(job, succeeded, failed, len(active))

    def write(one: Thing) -> None:
        status = one.setdefault("status", {})
        status.setdefault("startTime", now())
        counts = {"active": 0 if end else len(active), "succeeded": succeeded, "failed": failed}
        for key, count in counts.items():
            status.pop(key, None)
            if count:
                status[key] = count
        if end:
            _finish(one, *end)

    store.update(JOBS, namespace, name, write)
    if end:
        record(store, job, "Completed" if end[0] == "Complete" else end[1], end[2],
               "Normal" if end[0] == "Complete" else "Warning", SOURCE)  # fmt: skip
        for pod in active:
            delete(store, PODS, namespace, pod["metadata"]["name"], {})
        return
    wanted = min(spec["parallelism"], (spec.get("completions") or spec["parallelism"]) - succeeded)
    if not spec["suspend"]:
        for _ in range(wanted - len(active)):
            _create_pod(store, job, pods, admit)


def finished(job: Thing) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(one["type"] in ("Complete", "Failed") and one["status"] == "True" for one in conditions)


def _end(job: Thing, succeeded: int, failed: int, active: int) -> tuple[str, str, str] | None:
    spec, status = job["spec"], job.get("status") or {}
    if failed > spec["backoffLimit"]:
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    limit_s = spec.get("activeDeadlineSeconds")
    if limit_s and status.get("startTime"):
        age = datetime.now(UTC) - datetime.fromisoformat(status["startTime"])
        if age.total_seconds() > limit_s:
            return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    enough = succeeded >= spec["completions"] if spec.get("completions") else succeeded > 0 and not active
    if enough:
        return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
    return None


def _finish(job: Thing, kind: str, reason: str, message: str) -> None:
    first = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
    for one in (first, kind):
        set_condition(job, one, "True", reason, message)
    if kind == "Complete":
        job["status"]["completionTime"] = now()


def _create_pod(store: Store, job: Thing, pods: list[Thing], admit: object) -> None:
    template = deepcopy(job["spec"]["template"])
    metadata = template.get("metadata") or {}
    name = job["metadata"]["name"]
    pod: Thing = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    pod["metadata"] |= {
        "namespace": job["metadata"]["namespace"],
        "generateName": f"{name}-",
        "name": f"{name}-{secrets.token_hex(3)[:5]}",
        "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"],
             "controller": True, "blockOwnerDeletion": True}
        ],
    }  # fmt: skip
    if job["spec"]["completionMode"] == "Indexed":
        _set_index(pod, pods)
    set_defaults(pod)
    try:
        admit(pod)  # type: ignore[operator]
    except ApiError as error:
        record(store, job, "FailedCreate", f"Error creating: {error}", "Warning", SOURCE)
        return
    made = store.create(PODS, pod)
    pods.append(made)
    record(store, job, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}", source=SOURCE)


def _set_index(pod: Thing, pods: list[Thing]) -> None:
    key = "batch.kubernetes.io/job-completion-index"
    taken = {one["metadata"]["annotations"][key] for one in pods if one["status"]["phase"] != "Failed"}
    index = next(str(number) for number in range(len(pods) + 1) if str(number) not in taken)
    pod["metadata"].setdefault("annotations", {})[key] = index
    pod["metadata"]["labels"][key] = index
    for container in pod["spec"]["containers"]:
        container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": index})
