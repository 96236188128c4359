"""Why a pod failed: status documents as a real cluster writes them, and the sentence for each."""

import copy

import pytest

from pipelines.core.pods.faults import ended, no_result, why
from pipelines.core.pods.refused import refused
from pipelines.core.pods.status import Next

IMAGE = "registry.example/nightshift/pipelines@sha256:0a1b"


def pod(phase="Running", state=None, init=None, **status):
    """A pod of `train` on node-7 in the namespace nightshift."""
    document = {
        "metadata": {"name": "train-1", "namespace": "nightshift", "labels": {}},
        "spec": {
            "nodeName": "node-7",
            "activeDeadlineSeconds": 7200,
            "nodeSelector": {"gpu": "a100"},
            "initContainers": [{"name": "fetch", "image": "registry.example/fetch@sha256:0c"}]
            if init
            else [],
            "containers": [
                {
                    "name": "step",
                    "image": IMAGE,
                    "resources": {"limits": {"memory": "64Gi", "cpu": "8", "nvidia.com/gpu": "1"}},
                }
            ],
        },
        "status": {"phase": phase, **status},
    }
    if state:
        document["status"]["containerStatuses"] = [{"name": "step", "state": state}]
    if init:
        document["status"]["initContainerStatuses"] = [{"name": "fetch", "state": init}]
    return document


def with_meta(document, **meta):
    document = copy.deepcopy(document)
    document["metadata"] |= meta
    return document


def condition(kind, status, reason="", message=""):
    return {"type": kind, "status": status, "reason": reason, "message": message}


def disrupted(reason, message=""):
    return [condition("DisruptionTarget", "True", reason, message)]


def end(code, reason="Error", message=""):
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def wait(reason, message=""):
    return {"waiting": {"reason": reason, "message": message}}


def unscheduled(message, reason="Unschedulable"):
    return pod("Pending", conditions=[condition("PodScheduled", "False", reason, message)])


def scheduled(**status):
    return pod("Pending", conditions=[condition("PodScheduled", "True")], **status)


def event(reason, message, at="2026-01-01T02:00:00Z"):
    return {"reason": reason, "message": message, "lastTimestamp": at}


GPU = (
    "0/5 nodes are available: 2 Insufficient nvidia.com/gpu, 3 node(s) didn't match Pod's node "
    "affinity/selector. preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."
)
TAINT = (
    "0/3 nodes are available: 3 node(s) had untolerated taint {nvidia.com/gpu: present}. preemption: none."
)
MEMORY = "0/3 nodes are available: 3 Insufficient memory."
CLAIM = (
    '0/3 nodes are available: persistentvolumeclaim "home-x" not found. preemption: 0/3 nodes are available'
)
ZONE = "0/3 nodes are available: 3 node(s) had volume node affinity conflict. preemption: none."
EMPTY = 'Usage of EmptyDir volume "home" exceeds the limit "20Gi". '
DISK = "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 9Gi. "
NO_SECRET = 'secret "nightshift-environment" not found'
NO_MAP = 'MountVolume.SetUp failed for volume "profile" : configmap "nightshift-profile" not found'
PULL = 'failed to pull and unpack image "x": failed to resolve reference "x": x: not found'
LOGIN = "failed to authorize: failed to fetch oauth token: 401 Unauthorized"

TABLE = {
    "memory": (
        pod("Failed", end(137, "OOMKilled")), [], Next.MEND,
        "Pod train-1 used more memory than its limit of 64Gi and was killed. Raise pods.memory for "
        "this command, or give it less work.",
    ),
    "killed": (
        pod("Failed", end(137)), [], Next.RETRY,
        "Something killed the command of pod train-1 on node-7 (exit status 137). Its memory limit "
        "is 64Gi; the node's log may say more.",
    ),
    "gpu": (
        unscheduled(GPU), [], Next.RETRY,
        "Pod train-1 found no node within 90 s: 2 node(s) have not enough nvidia.com/gpu left "
        "(asked: 1); 3 node(s) lack the label gpu=a100. Add such a node, end what holds the "
        "accelerators, or raise pods.schedule_timeout_s.",
    ),
    "taint": (
        unscheduled(TAINT), [], Next.RETRY,
        "Pod train-1 found no node within 90 s: 3 node(s) have the taint nvidia.com/gpu: present. "
        "Add it to pods.tolerations, if it is meant.",
    ),
    "small nodes": (
        unscheduled(MEMORY), [], Next.RETRY,
        "Pod train-1 found no node within 90 s: 3 node(s) have not enough memory left (asked: 64Gi). "
        "Add a larger node, or lower pods.memory.",
    ),
    "claim": (
        unscheduled(CLAIM), [], Next.RETRY,
        "Pod train-1 found no node within 90 s: there is no volume claim home-x. Create it, or "
        "correct pods.storage_class.",
    ),
    "volume": (
        unscheduled(ZONE), [], Next.RETRY,
        "Pod train-1 found no node within 90 s: 3 node(s) had volume node affinity conflict. Correct "
        "pods.storage_class, or free volumes.",
    ),
    "no condition yet": (
        pod("Pending"), [event("FailedScheduling", MEMORY)], Next.RETRY,
        "Pod train-1 found no node within 90 s: 3 node(s) have not enough memory left (asked: 64Gi). "
        "Add a larger node, or lower pods.memory.",
    ),
    "no scheduler": (
        pod("Pending"), [], Next.RETRY,
        "Pod train-1 found no node within 90 s: the scheduler gave no reason. Look at the cluster's "
        "nodes and its scheduler.",
    ),
    "queue": (
        with_meta(unscheduled("", "SchedulingGated"), labels={"kueue.x-k8s.io/queue-name": "night"}), [],
        Next.RETRY,
        "Pod train-1 waited 90 s in queue night and was not admitted. Raise the queue's quota, end "
        "other work in it, or raise pods.schedule_timeout_s.",
    ),
    "image": (
        pod("Pending", wait("ErrImagePull", PULL)), [], Next.MEND,
        f"The image {IMAGE} of the container step of pod train-1 cannot be pulled: the registry has "
        f"no such image. Push it, or correct pods.image.",
    ),
    "image of an init container": (
        pod("Pending", wait("PodInitializing"), init=wait("ImagePullBackOff", LOGIN)), [], Next.MEND,
        "The image registry.example/fetch@sha256:0c of the container fetch of pod train-1 cannot be "
        "pulled: the registry refused access. Name a Secret with its login in pods.pull_secrets.",
    ),
    "registry": (
        pod("Pending", wait("ImagePullBackOff", "dial tcp: i/o timeout")), [], Next.MEND,
        f"The image {IMAGE} of the container step of pod train-1 cannot be pulled: ImagePullBackOff: "
        f"dial tcp: i/o timeout. Look after the registry and the node's way to it.",
    ),
    "secret": (
        pod("Pending", wait("CreateContainerConfigError", NO_SECRET)), [], Next.MEND,
        "Pod train-1 cannot start: there is no Secret nightshift-environment. Create it in namespace "
        "nightshift, or correct [pods].",
    ),
    "configmap": (
        scheduled(), [event("FailedMount", NO_MAP)], Next.MEND,
        "Pod train-1 cannot start: there is no ConfigMap nightshift-profile. Create it in namespace "
        "nightshift, or correct [pods].",
    ),
    "key": (
        pod(
        "Pending", wait(
        "CreateContainerConfigError",
        "couldn't find key url in Secret nightshift/s3")), [],
        Next.MEND, "Pod train-1 cannot start: Secret nightshift/s3 has no key url. Add the key.",
    ),
    "slow volume": (
        scheduled(), [event("FailedAttachVolume", "Multi-Attach error for volume pvc-1")], Next.RETRY,
        "Pod train-1 did not start on node-7 within 90 s: Multi-Attach error for volume pvc-1. Mend "
        "that, or raise pods.startup_timeout_s.",
    ),
    "slow pull": (
        scheduled(), [event("Pulling", "Pulling image")], Next.RETRY,
        "Pod train-1 did not start on node-7 within 90 s: its image is still being pulled. Mend "
        "that, or raise pods.startup_timeout_s.",
    ),
    "program": (
        pod("Failed", end(128, "StartError", 'exec: "nightshift": executable file not found in $PATH')), [],
        Next.MEND,
        'The command of pod train-1 could not be started: exec: "nightshift": executable file not '
        "found in $PATH. Correct pods.image: it has to be nightshift/pipelines.",
    ),
    "preempted": (
        pod(
        "Failed", end(143), conditions=disrupted(
        "PreemptionByScheduler",
        "a pod of priority 1000")), [],
        Next.GO_ON,
        "Pod train-1 was preempted by one of higher priority: a pod of priority 1000.",
    ),
    "node full, marked": (
        pod(
            "Failed", reason="Evicted", message=DISK, conditions=disrupted("TerminationByKubelet", "low disk")
        ),
        [],
        Next.GO_ON,
        "Pod train-1 was evicted from node-7: low disk.",
    ),
    "another end": (
        pod("Failed", conditions=disrupted("DeletedByOperator")), [], Next.GO_ON,
        "Pod train-1 was taken from node-7 (DeletedByOperator).",
    ),
    "drained": (
        pod("Failed", end(143), conditions=disrupted("EvictionByEvictionAPI")), [], Next.GO_ON,
        "Pod train-1 was evicted from node-7, as when a node is drained.",
    ),
    "node lost": (
        pod("Running", {"running": {}}, conditions=disrupted("DeletionByTaintManager")), [], Next.GO_ON,
        "Pod train-1 lost node-7, which got a taint.",
    ),
    "node gone": (
        pod("Failed", conditions=disrupted("DeletionByPodGC", "node no longer exists")), [], Next.GO_ON,
        "Pod train-1 lost node-7, which left the cluster: node no longer exists.",
    ),
    "node shut down": (
        pod(
        "Failed", reason=
        "Terminated", message=
        "Pod was terminated in response to imminent node shutdown."), [],
        Next.GO_ON,
        "Pod train-1 lost node-7: Pod was terminated in response to imminent node shutdown.",
    ),
    "unknown": (
        pod("Unknown", {"running": {}}), [], Next.GO_ON,
        "Pod train-1 lost node-7: the cluster no longer knows its state.",
    ),
    "no device": (
        pod(
        "Failed", reason=
        "UnexpectedAdmissionError", message=
        "Allocate failed: no healthy devices present"), [],
        Next.GO_ON,
        "node-7 refused pod train-1 (UnexpectedAdmissionError): Allocate failed: no healthy devices "
        "present.",
    ),
    "node full": (
        pod("Failed", reason="Evicted", message=DISK), [], Next.GO_ON,
        "Pod train-1 was evicted from node-7: The node was low on resource: ephemeral-storage. "
        "Threshold quantity: 10Gi, available: 9Gi.",
    ),
    "disk": (
        pod("Failed", reason="Evicted", message=EMPTY), [], Next.MEND,
        'Pod train-1 was evicted because it filled its disk: Usage of EmptyDir volume "home" exceeds '
        'the limit "20Gi". Raise pods.home_size.',
    ),
    "deadline": (
        pod("Failed", end(143), reason="DeadlineExceeded", message="Pod was active on the node longer"), [],
        Next.MEND,
        "Pod train-1 ran for longer than its deadline of 7200 s. Raise pods.deadline_s, or find out "
        "why it took so long.",
    ),
    "deleted": (
        with_meta(pod("Running", end(143)), deletionTimestamp="2026-01-01T02:00:00Z"), [], Next.RETRY,
        "Pod train-1 was deleted while it ran, and not by Nightshift. The API server's audit log "
        "says by whom.",
    ),
    "deleted, and it saved a checkpoint": (
        with_meta(pod("Failed", end(75)), deletionTimestamp="2026-01-01T02:00:00Z"), [], Next.RETRY,
        "Pod train-1 was deleted while it ran, and not by Nightshift. The API server's audit log "
        "says by whom.",
    ),
    "failed early": (
        pod("Failed"), [], Next.RETRY,
        "Pod train-1 failed before its command began: no reason given. The events of its namespace "
        "may say more.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_a_failed_pod_says_why(name):
    document, events, helps, sentence = TABLE[name]
    fault = why(document, events, {}, 90)
    sentence += " It costs no retry: a new pod goes on where this one was." * (helps is Next.GO_ON)
    assert (str(fault), fault.next) == (sentence, helps)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_command_that_ended_by_itself_speaks_for_itself(code):
    assert why(pod("Failed" if code else "Succeeded", end(code)), [], {}, 0) is None
    assert why(None, [], pod("Running", end(code)), 0) is None


@pytest.mark.parametrize(
    ("last", "events", "words", "helps"),
    [
        (pod(), [], "was deleted while it ran, and not by Nightshift", Next.RETRY),
        (
            pod(),
            [event("TaintManagerEviction", "Marking for deletion Pod")],
            "Marking for deletion",
            Next.GO_ON,
        ),
        (pod(conditions=disrupted("PreemptionByScheduler")), [], "preempted by one of higher", Next.GO_ON),
        (pod(), [event("Preempted", "Preempted by a pod on node node-7")], "Preempted by a pod", Next.GO_ON),
        ({}, [], "went while nobody watched it", Next.GO_ON),
    ],
)
def test_a_pod_that_is_gone_says_what_was_last_seen(last, events, words, helps):
    fault = why(None, events, last, 0)
    assert words in str(fault)
    assert fault.next == helps


FORBIDDEN = (
    'pods is forbidden: User "system:serviceaccount:airflow:worker" cannot create resource "pods" in API '
    'group "" in the namespace "nightshift"'
)
QUOTA = (
    'pods "train-1" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: '
    "requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4"
)
WEBHOOK = 'admission webhook "policy.example" denied the request: images have to come from registry.example'
SECURITY = 'pods "train-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'


@pytest.mark.parametrize(
    ("status", "message", "words", "helps"),
    [
        (403, QUOTA,
        "Quota gpus of namespace ns has no room for pod p: it asks for requests.nvidia.com/gpu=1, "
        "requests.nvidia.com/gpu=4 is in use, requests.nvidia.com/gpu=4 is the limit.", Next.RETRY),
        (400, WEBHOOK,
        "Admission webhook policy.example refused pod p: images have to come from registry.example.",
         Next.MEND),
        (403, SECURITY,
        'Namespace ns refused pod p: it violates PodSecurity "restricted:latest": runAsNonRoot',
         Next.MEND),
        (403, FORBIDDEN, "Airflow may not do that in namespace ns", Next.MEND),
        (404,
        'namespaces "ns" not found',
        "There is no namespace ns. Create it, or correct pods.namespace.",
         Next.MEND),
        (403,
        'pods "p" is forbidden: error looking up service account ns/step: serviceaccount "step" not '
        "found",
         "Namespace ns has no service account step.", Next.MEND),
        (403,
        'pods "p" is forbidden: no PriorityClass with name night was found',
        "no PriorityClass night.",
         Next.MEND),
        (403,
        'pods "p" is forbidden: pod rejected: RuntimeClass "nvidia" not found',
        "no RuntimeClass nvidia.",
         Next.MEND),
        (403, 'pods "p" is forbidden: maximum memory usage per Container is 8Gi, but limit is 64Gi',
         "has a LimitRange: the maximum memory is 8Gi.", Next.MEND),
        (401, "Unauthorized", "does not know who asks", Next.MEND),
        (422,
        'Pod "p" is invalid: spec.containers[0].image: Required value',
        "does not take pod p", Next.MEND),
        (500, "etcdserver: request timed out", "did not make pod p (500 etcdserver", Next.RETRY),
    ],
)  # fmt: skip
def test_a_refusal_says_who_refused(status, message, words, helps):
    fault = refused("p", "ns", status, message)
    assert words in str(fault)
    assert fault.next == helps


def test_a_pod_without_a_result_is_a_fault():
    assert "succeeded but left no result at s3://b/r.json" in str(
        no_result(pod("Succeeded"), "s3://b/r.json")
    )


@pytest.mark.parametrize(
    ("document", "over"),
    [
        (pod("Running", {"running": {}}), False),
        (pod("Pending"), False),
        (pod("Succeeded", end(0)), True),
        (pod("Running", end(1)), True),
        (pod("Running", {"running": {}}, conditions=disrupted("DeletionByTaintManager")), True),
        (pod("Running", {"running": {}}, conditions=disrupted("PreemptionByScheduler")), False),
        (with_meta(pod(), deletionTimestamp="1970-01-01T00:15:00Z"), True),
        (with_meta(pod(), deletionTimestamp="1970-01-01T00:16:35Z"), False),
    ],
)
def test_a_pod_is_over_when_it_ended_or_its_node_is_silent(document, over):
    assert ended(document, now=1000.0) is over
