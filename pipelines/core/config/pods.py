"""Commands in pods: what each asks of Kubernetes. `[pods]` holds for all, `[pods.train]` for one command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pipelines.core.config.base import Count, Positive, Section
from pipelines.core.contract import CLOSING, NIGHTLY

ROLLOUT = ("shadow", "judge", "advance", "abort", "rollback")
COMMANDS = (*NIGHTLY, *CLOSING, *(f"rollout-{name}" for name in ROLLOUT), "alerts-route", "watch")
COMMANDS = (*COMMANDS, "features-sync")  # what Airflow runs
MEMORY = re.compile(r"[1-9][0-9]*(k|M|G|T|Ki|Mi|Gi|Ti)")
CPU = re.compile(r"[1-9][0-9]*m?|[0-9]+\.[0-9]{1,3}")
DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


def _memory(text: str) -> str:
    if not MEMORY.fullmatch(text):
        raise ValueError(f'{text!r} is no amount of memory, such as "64Gi" or "512Mi"')
    return text


def _cpu(text: str) -> str:
    if not CPU.fullmatch(text) or not float(text.removesuffix("m")):
        raise ValueError(f'{text!r} is no number of cores, such as "8" or "500m"')
    return text


def _image(text: str) -> str:
    if text and not DIGEST.fullmatch(text):
        raise ValueError(
            f"{text!r} has no digest: a tag may name another image tomorrow, or on another node. "
            "Write NAME@sha256:..., as `docker push` prints it"
        )
    return text


Memory = Annotated[str, AfterValidator(_memory)]
Cpu = Annotated[str, AfterValidator(_cpu)]
Image = Annotated[str, AfterValidator(_image)]


class Toleration(Section):
    """`[[pods.tolerations]]`: a taint that the pod puts up with, as Kubernetes writes it."""

    key: str = ""  # of the taint; empty with operator Exists: every taint
    operator: Literal["Equal", "Exists"] = "Equal"  # Exists: whatever its value
    value: str = ""  # of the taint
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""  # empty: every effect


class CommandPods(Section):
    """`[pods.COMMAND]`, such as `[pods.train]`: what is set here wins over `[pods]`."""

    image: Image | None = None  # NAME@sha256:...
    cpu: Cpu | None = None  # cores
    memory: Memory | None = None  # such as "64Gi"
    gpu: Count | None = None  # number of accelerators
    gpu_resource: str | None = None  # the accelerator's name in Kubernetes
    home_size: Memory | None = None  # of the pod's home
    storage_class: str | None = None  # of the home's volume
    node_selector: dict[str, str] | None = None  # labels of the nodes
    tolerations: tuple[Toleration, ...] | None = None  # taints of the nodes
    priority_class: str | None = None  # a PriorityClass
    runtime_class: str | None = None  # a RuntimeClass
    queue: str | None = None  # a LocalQueue of Kueue
    deadline_s: Positive | None = None  # of one pod, from its start
    grace_period_s: Positive | None = None  # from SIGTERM to SIGKILL


class Pods(Section):
    """`[pods]`: with `launcher = "pod"`, how each command's pod looks. Requests equal limits."""

    namespace: str = "nightshift"  # where the pods run
    image: Image = ""  # of the work plane, NAME@sha256:...
    pull_secrets: tuple[str, ...] = ()  # Secrets with logins of image registries
    kubeconfig: str = ""  # a file on Airflow's machines; empty: Airflow's own service account
    service_account: str = "nightshift-step"  # of the pods, which get no token of it
    environment_secret: str = "nightshift-environment"  # a Secret whose keys become variables; empty: none
    profile_map: str = "nightshift-profile"  # a ConfigMap; its cluster.toml is the profile of the pods
    keys_secret: str = "nightshift-keys"  # a Secret, the files of /run/secrets/nightshift; empty: none
    labels: dict[str, str] = Field(default={})  # of every pod, such as a tenant's or a cost centre's
    secret_files: dict[str, str] = Field(default={})  # other Secrets -> the folder that shows their files
    cpu: Cpu = "2"  # cores
    memory: Memory = "8Gi"  # a command that needs more is ended
    gpu: Count = 0  # number of accelerators
    gpu_resource: str = "nvidia.com/gpu"  # the accelerator's name: google.com/tpu, amd.com/gpu ...
    home_size: Memory = "20Gi"  # of the pod's home: caches, models, checkpoints
    storage_class: str = ""  # of a volume for the home; empty: the node's own disk
    node_selector: dict[str, str] = Field(default={})  # labels that a node has to have
    tolerations: tuple[Toleration, ...] = ()  # taints of nodes that the pod puts up with
    priority_class: str = ""  # a PriorityClass; empty: the cluster's default
    runtime_class: str = ""  # a RuntimeClass, such as nvidia; empty: the cluster's default
    queue: str = ""  # a LocalQueue of Kueue; empty: no queue
    deadline_s: Positive = 3_600  # a pod that runs longer is ended
    grace_period_s: Positive = 60  # from SIGTERM to SIGKILL, when the cluster wants the pod gone
    kill_grace_s: Annotated[int, Field(gt=0, le=20)] = 10  # the same, when a person ended the task
    schedule_timeout_s: Positive = 3_600  # until a node is found; covers a queue and a growing cluster
    startup_timeout_s: Positive = 900  # from the node to the running container; covers a large image
    broken_start_s: Positive = 60  # an image that cannot be pulled, or a missing Secret, gets this long
    node_lost_s: Positive = 120  # a pod on a node that is silent for so long runs anew elsewhere
    max_interruptions: Count = 5  # preemptions, evictions and lost nodes that cost a task no retry
    poll_s: Positive = 2  # between two looks at a pod
    logging_interval_s: Positive = 10  # between two readings of a pod's log
    reaper_poll_s: Annotated[int, Field(gt=0, le=8)] = 5  # between two looks for pods that were left over
    commands: dict[str, CommandPods] = Field(default={})  # [pods.COMMAND]

    @model_validator(mode="before")
    @classmethod
    def _commands(cls, data: Any) -> Any:
        """`[pods.train]` is a table of `commands`."""
        if not isinstance(data, Mapping):
            return data
        tables = {key: value for key, value in data.items() if key not in cls.model_fields}
        tables = {key: value for key, value in tables.items() if isinstance(value, Mapping | CommandPods)}
        rest = {key: value for key, value in data.items() if key not in tables}
        commands = {**rest.get("commands", {}), **tables}
        if unknown := sorted(set(commands) - set(COMMANDS)):
            raise ValueError(f"there is no command {unknown[0]!r}: the commands are {', '.join(COMMANDS)}")
        return {**rest, "commands": commands}

    def of(self, command: str) -> Pods:
        """The settings of one command's pod."""
        own = self.commands.get(command, CommandPods())
        return self.model_copy(update=own.model_dump(exclude_none=True) | _tolerations(own))


def _tolerations(own: CommandPods) -> dict[str, Any]:
    """A dump turns them into dicts."""
    return {} if own.tolerations is None else {"tolerations": own.tolerations}
