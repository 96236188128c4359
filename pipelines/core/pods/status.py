"""A pod's status document, as Kubernetes' API writes it (JSON), and what is read off it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

Document = Mapping[str, Any]
STEP = "step"  # name of the container that runs the command
SUCCEEDED, FAILED, PENDING, UNKNOWN = "Succeeded", "Failed", "Pending", "Unknown"
DISRUPTED = "DisruptionTarget"  # condition: the cluster wants the pod gone


class Next(StrEnum):
    """What helps after a pod that failed."""

    GO_ON = "go on"  # the cluster took the pod away: a new one goes on, and no retry is used up
    RETRY = "retry"  # another try may end better
    MEND = "mend"  # a person has to change something first


@dataclass(frozen=True)
class PodFault:
    """Why a pod failed: what happened, what to do, and whether another pod may help."""

    kind: str  # a word for programs
    problem: str
    remedy: str
    next: Next = Next.RETRY

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


def name_of(pod: Document) -> str:
    return str(pod.get("metadata", {}).get("name", ""))


def phase_of(pod: Document) -> str:
    return str(pod.get("status", {}).get("phase") or UNKNOWN)


def condition(pod: Document, kind: str) -> Document:
    """The condition of a kind; empty where the pod has none."""
    found: Sequence[Document] = pod.get("status", {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), {})


def containers(pod: Document) -> Iterator[tuple[str, Document]]:
    """The name and the state of each container, those that prepare the pod first."""
    for group in ("initContainerStatuses", "containerStatuses"):
        for one in pod.get("status", {}).get(group) or ():
            yield str(one["name"]), one.get("state") or {}


def terminated(pod: Document) -> Document:
    """How the command's container ended; empty while it has not."""
    return next(
        (state["terminated"] for name, state in containers(pod) if name == STEP and _ended(state)), {}
    )


def waiting(pod: Document) -> Iterator[tuple[str, str, str]]:
    """Name, reason and message of each container that waits."""
    for name, state in containers(pod):
        if wait := state.get("waiting"):
            yield name, str(wait.get("reason") or ""), str(wait.get("message") or "")


def limit(pod: Document, resource: str) -> str:
    """The limit of the command's container."""
    for one in pod.get("spec", {}).get("containers") or ():
        if one["name"] == STEP:
            return str(((one.get("resources") or {}).get("limits") or {}).get(resource, ""))
    return ""


def image(pod: Document, container: str) -> str:
    spec = pod.get("spec", {})
    every = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return next((str(one.get("image", "")) for one in every if one["name"] == container), "")


def node(pod: Document) -> str:
    return str(pod.get("spec", {}).get("nodeName") or "its node")


def at(text: str | None) -> float:
    """Unix seconds of a time as the API writes it; 0 for none."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else 0.0


def _ended(state: Document) -> bool:
    return bool(state.get("terminated"))
