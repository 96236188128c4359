"""What a command's pod looks like, as a document of Kubernetes' API."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nightshift.launchers import Command
from pipelines.core.config import Config, Pods
from pipelines.core.contract import digest_of
from pipelines.core.pods.status import STEP

DISK, PROFILE, KEYS = "/var/lib/nightshift", "/etc/nightshift", "/run/secrets/nightshift"
HOME = f"{DISK}/home"
PREFIX = "nightshift/"  # of our labels and annotations
UID, TASK, INSTANCE = f"{PREFIX}uid", f"{PREFIX}task", f"{PREFIX}instance"
USER = 10001  # of the images
TMP_SIZE = "256Mi"
SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
# No autoscaler moves a pod for tidiness; the cluster's own needs still come first.
STAYS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}


@dataclass(frozen=True)
class Owner:
    """The task that a pod works for."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def digest(self, config: Config) -> str:
        """A short name of the task, the same for every pod that it gets."""
        return digest_of([instance(config), self.dag_id, self.run_id, self.task_id, self.map_index])[:12]


def instance(config: Config) -> str:
    """A short name of this installation: several may share a namespace."""
    return digest_of([config.path(config.ledger_url), config.path(config.runs_root)])[:12]


def pod_name(command: str, owner: Owner, config: Config, number: int) -> str:
    """The name of a task's pod: the same for the same task and number."""
    return f"{command}-{owner.digest(config)}-{number}"


def document(
    command: Command, owner: Owner, config: Config, name: str, uid: str, result: str
) -> dict[str, Any]:
    """The pod that runs a command and writes its result to the URI `result`."""
    pods = config.pods.of(command.words[0])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": pods.namespace,
            "labels": _labels(command, owner, config, uid, pods),
            "annotations": {**STAYS, **owner_annotations(owner)},
        },
        "spec": _spec(command, pods, result),
    }


def owner_annotations(owner: Owner) -> dict[str, str]:
    """The task's whole names, which labels may have to cut."""
    return {
        f"{PREFIX}dag-id": owner.dag_id,
        f"{PREFIX}run-id": owner.run_id,
        f"{PREFIX}task-id": owner.task_id,
        f"{PREFIX}map-index": str(owner.map_index),
    }


def owner_of(annotations: Mapping[str, str]) -> Owner:
    """The task that a pod's annotations name."""
    dag_id, run_id, task_id, map_index = (
        annotations[f"{PREFIX}{name}"] for name in ("dag-id", "run-id", "task-id", "map-index")
    )
    return Owner(dag_id, run_id, task_id, int(map_index))


def _labels(command: Command, owner: Owner, config: Config, uid: str, pods: Pods) -> dict[str, str]:
    folder = next((word for word in command.words if word.startswith("--run-dir=")), owner.run_id)
    queue = {"kueue.x-k8s.io/queue-name": pods.queue} if pods.queue else {}
    return {
        "app.kubernetes.io/name": "nightshift",
        "app.kubernetes.io/component": "step",
        f"{PREFIX}run": _label(folder.rsplit("/", 1)[-1]),
        f"{PREFIX}step": command.words[0],
        TASK: owner.digest(config),
        INSTANCE: instance(config),
        UID: uid,
        **queue,
        **pods.labels,
    }


def _label(text: str) -> str:
    """A text as a label's value: at most 63 letters, digits, dashes, dots and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:63].strip("-._")


def _spec(command: Command, pods: Pods, result: str) -> dict[str, Any]:
    optional = {
        "nodeSelector": pods.node_selector,
        "priorityClassName": pods.priority_class,
        "runtimeClassName": pods.runtime_class,
        "imagePullSecrets": [{"name": name} for name in pods.pull_secrets],
    }
    return {
        "restartPolicy": "Never",
        "serviceAccountName": pods.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "activeDeadlineSeconds": pods.deadline_s,
        "terminationGracePeriodSeconds": pods.grace_period_s,
        "tolerations": _tolerations(pods),
        "securityContext": SECURITY,
        "containers": [_container(command, pods, result)],
        "volumes": [*_volumes(pods).values()],
        **{key: value for key, value in optional.items() if value},
    }


def _container(command: Command, pods: Pods, result: str) -> dict[str, Any]:
    where = [f"--home={HOME}", f"--config={PROFILE}/cluster.toml", f"--result={result}"]
    secrets = [{"secretRef": {"name": pods.environment_secret}}] if pods.environment_secret else []
    return {
        "name": STEP,
        "image": pods.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["nightshift", *(_literal(word) for word in (*command.words, *where))],
        "env": [
            {"name": "TRACEPARENT", "value": command.traceparent},
            {"name": "TMPDIR", "value": DISK},  # a model does not fit into /tmp
            {"name": "OMP_NUM_THREADS", "value": str(_cores(pods.cpu))},  # else one for each of the node's
        ],
        "envFrom": secrets,
        "resources": _resources(pods),
        "volumeMounts": [
            {"name": name, "mountPath": path, **({"readOnly": True} if name not in ("home", "tmp") else {})}
            for name, path in _places(pods).items()
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the fault's line, also without the log
    }


def _literal(word: str) -> str:
    """A word in which Kubernetes replaces no `$(NAME)`, such as a person's reason."""
    return word.replace("$", "$$")


def _cores(cpu: str) -> int:
    return math.ceil(int(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu))


def _resources(pods: Pods) -> dict[str, Any]:
    """Requests equal limits: such a pod is the last that a node evicts."""
    asked = {"cpu": pods.cpu, "memory": pods.memory}
    if pods.gpu:
        asked[pods.gpu_resource] = str(pods.gpu)
    if not pods.storage_class:
        asked["ephemeral-storage"] = pods.home_size
    return {"limits": asked, "requests": asked}


def _tolerations(pods: Pods) -> list[dict[str, Any]]:
    own = [toleration.model_dump(exclude_defaults=True) for toleration in pods.tolerations]
    lost = [
        {
            "key": f"node.kubernetes.io/{name}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": pods.node_lost_s,
        }
        for name in ("not-ready", "unreachable")
    ]
    return [*own, *lost]


def _places(pods: Pods) -> dict[str, str]:
    """Volume -> where it is mounted."""
    keys = {"keys": KEYS} if pods.keys_secret else {}
    files = {f"files-{number}": folder for number, folder in enumerate(pods.secret_files.values())}
    return {"home": DISK, "tmp": "/tmp", "profile": PROFILE, **keys, **files}


def _volumes(pods: Pods) -> dict[str, dict[str, Any]]:
    secrets = {"keys": pods.keys_secret} if pods.keys_secret else {}
    secrets |= {f"files-{number}": name for number, name in enumerate(pods.secret_files)}
    return {
        "home": {"name": "home", **_home(pods)},
        "tmp": {"name": "tmp", "emptyDir": {"sizeLimit": TMP_SIZE}},
        "profile": {"name": "profile", "configMap": {"name": pods.profile_map}},
        **{
            name: {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}
            for name, secret in secrets.items()
        },
    }


def _home(pods: Pods) -> dict[str, Any]:
    if not pods.storage_class:
        return {"emptyDir": {"sizeLimit": pods.home_size}}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": pods.storage_class,
        "resources": {"requests": {"storage": pods.home_size}},
    }
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}
