"""Why a pod does not start: no node fits, an image or a Secret is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipelines.core.pods.status import (
    Document,
    Next,
    PodFault,
    condition,
    image,
    limit,
    name_of,
    node,
    phase_of,
    waiting,
)

PULL = (
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
    "ImageInspectError",
)  # fmt: skip
CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CreateContainer")
MISSING = re.compile(r"""(secret|configmap) "([^"]+)" not found""", re.IGNORECASE)
MISSING_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) (\S+)", re.IGNORECASE)
NO_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
TAINT = re.compile(r"(\d+) node\(s\) had untolerated taint(?:\(s\)| \{([^}]*)\})")
INSUFFICIENT = re.compile(r"(\d+) Insufficient ([\w./-]*\w)")


def broken_start(pod: Document, events: Sequence[Document]) -> PodFault | None:
    """What keeps a pod from starting that time alone rarely mends; None for nothing of that kind."""
    for container, reason, message in waiting(pod):
        if reason in PULL:
            return _pull(pod, container, reason, message)
        if reason in CONFIG:
            return _config(pod, reason, message)
    if phase_of(pod) == "Pending":
        mounts = newest(events, ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"))
        found = MISSING.search(mounts) or MISSING_KEY.search(mounts)
        return _config(pod, "FailedMount", mounts) if found else None
    return None


def pending(pod: Document, events: Sequence[Document], waited_s: float) -> PodFault:
    """Why a pod still waits after `waited_s` seconds."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "True":
        return _slow_start(pod, events, waited_s)
    message = str(scheduled.get("message") or newest(events, ("FailedScheduling",)))
    if scheduled.get("reason") == "SchedulingGated":
        return _queued(pod, waited_s)
    problem, remedy = _no_node(pod, message)
    return PodFault(
        "pending", f"Pod {name_of(pod)} found no node within {waited_s:.0f} s: {problem}.", remedy
    )


def newest(events: Iterable[Document], reasons: Sequence[str]) -> str:
    """The message of the newest event with one of these reasons."""
    found = [event for event in events if event.get("reason") in reasons]
    found.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return str(found[-1].get("message", "")) if found else ""


def _pull(pod: Document, container: str, reason: str, message: str) -> PodFault:
    """Registries say little, so the sentence quotes them."""
    what, low = image(pod, container), message.lower()
    if "not found" in low or "manifest unknown" in low:
        why, remedy = "the registry has no such image", "Push it, or correct pods.image."
    elif any(word in low for word in ("unauthorized", "denied", "forbidden", "authentication")):
        why, remedy = "the registry refused access", "Name a Secret with its login in pods.pull_secrets."
    elif reason == "InvalidImageName":
        why, remedy = "that is no name of an image", "Correct pods.image."
    else:
        why, remedy = (
            f"{reason}: {message or 'no message'}",
            "Look after the registry and the node's way to it.",
        )
    where = f" of the container {container}"
    problem = f"The image {what}{where} of pod {name_of(pod)} cannot be pulled: {why}."
    return PodFault("image", problem, remedy, Next.MEND)


def _config(pod: Document, reason: str, message: str) -> PodFault:
    if found := MISSING_KEY.search(message):
        key, kind, name = found.groups()
        what = f"{kind} {name} has no key {key}"
        remedy = "Add the key."
    elif found := MISSING.search(message):
        kind = {"secret": "Secret", "configmap": "ConfigMap"}[found[1].lower()]
        what, remedy = f"there is no {kind} {found[2]}", f"Create it in {_namespace(pod)}, or correct [pods]."
    else:
        what, remedy = f"{reason}: {message or 'no message'}", "Correct what the message names."
    return PodFault("config", f"Pod {name_of(pod)} cannot start: {what}.", remedy, Next.MEND)


def _namespace(pod: Document) -> str:
    return f"namespace {pod.get('metadata', {}).get('namespace', 'default')}"


def _slow_start(pod: Document, events: Sequence[Document], waited_s: float) -> PodFault:
    told = newest(
        events, ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "Failed", "BackOff")
    )
    if not told and newest(events, ("Pulling",)) and not newest(events, ("Pulled",)):
        told = "its image is still being pulled"
    said = (f"{reason} {message}".strip() for _, reason, message in waiting(pod))
    reason = next(said, "") or "no reason was given"
    problem = f"Pod {name_of(pod)} did not start on {node(pod)} within {waited_s:.0f} s: {told or reason}."
    return PodFault("start", problem, "Mend that, or raise pods.startup_timeout_s.")


def _queued(pod: Document, waited_s: float) -> PodFault:
    queue = pod.get("metadata", {}).get("labels", {}).get("kueue.x-k8s.io/queue-name")
    where = f"queue {queue}" if queue else "a scheduling gate"
    problem = f"Pod {name_of(pod)} waited {waited_s:.0f} s in {where} and was not admitted."
    remedy = "Raise the queue's quota, end other work in it, or raise pods.schedule_timeout_s."
    return PodFault("queued", problem, remedy)


def _no_node(pod: Document, message: str) -> tuple[str, str]:
    """What the scheduler says, in our words; the first cause that a person can mend gives the remedy."""
    causes: list[tuple[str, str]] = []
    for count, resource in INSUFFICIENT.findall(message):
        asked = limit(pod, resource)
        causes.append((f"{count} node(s) have not enough {resource} left (asked: {asked})", _more(resource)))
    for count, taint in TAINT.findall(message):
        name = f" {taint}" if taint else ""
        causes.append(
            (f"{count} node(s) have the taint{name}", "Add it to pods.tolerations, if it is meant.")
        )
    if found := re.search(r"(\d+) node\(s\) didn't match Pod's node affinity/selector", message):
        selector = pod.get("spec", {}).get("nodeSelector") or {}
        words = ", ".join(f"{key}={value}" for key, value in selector.items())
        causes.append((f"{found[1]} node(s) lack the label {words}", "Correct pods.node_selector."))
    if found := NO_CLAIM.search(message):
        causes.append((f"there is no volume claim {found[1]}", "Create it, or correct pods.storage_class."))
    elif "volume" in message.lower():
        part = next(part for part in re.split(r"[:,.] ", message) if "volume" in part.lower())
        causes.append((part.strip(), "Correct pods.storage_class, or free volumes."))
    if not causes:
        return message or "the scheduler gave no reason", "Look at the cluster's nodes and its scheduler."
    return "; ".join(problem for problem, _ in causes), causes[0][1]


def _more(resource: str) -> str:
    if "/" in resource:
        return "Add such a node, end what holds the accelerators, or raise pods.schedule_timeout_s."
    return f"Add a larger node, or lower pods.{'memory' if 'memory' in resource else 'cpu'}."
