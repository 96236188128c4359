"""Why a pod ended without a result."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.core.errors import STOPPED
from pipelines.core.pods.start import broken_start, newest, pending
from pipelines.core.pods.status import (
    DISRUPTED,
    FAILED,
    PENDING,
    SUCCEEDED,
    Document,
    Next,
    PodFault,
    at,
    condition,
    limit,
    name_of,
    node,
    phase_of,
    terminated,
)

GONE_EVENTS = ("Preempted", "TaintManagerEviction", "NodeNotReady", "DeletingNode", "Evicted")
ADMISSION = ("UnexpectedAdmissionError", "NodeAffinity", "TopologyAffinityError", "OutOf")  # of the kubelet
OWN_DISK = re.compile(r"EmptyDir|ephemeral local storage usage exceeds", re.IGNORECASE)
TOLD_TO_END = (143, STOPPED)  # exit statuses of a command after SIGTERM; a training saves a checkpoint first
NO_PROGRAM = ("StartError", "ContainerCannotRun")
OF_NIGHTSHIFT = "It costs no retry: a new pod goes on where this one was."


def why(pod: Document | None, events: Sequence[Document], last: Document, waited_s: float) -> PodFault | None:
    """Why a pod has no result; None where its command ended by itself with an exit status.

    `pod` is the document now, None for a pod that is gone; `last` the last one that was seen. `waited_s` is
    how long a pod that did not start was waited for.
    """
    seen = pod or last
    if found := interruption(seen, events, gone=pod is None):
        return found
    if found := _end_of_pod(seen) or _end_of_container(seen):
        return found
    if phase_of(seen) == SUCCEEDED or terminated(seen).get("exitCode", STOPPED) not in TOLD_TO_END:
        return None
    if pod is None or pod.get("metadata", {}).get("deletionTimestamp"):
        return _deleted(seen)
    if terminated(pod):
        return None
    if phase_of(pod) == PENDING:
        return broken_start(pod, events) or pending(pod, events, waited_s)
    return _no_end(pod)


def interruption(pod: Document, events: Sequence[Document], gone: bool) -> PodFault | None:
    """How the cluster took a pod away; None for a pod that it left alone."""
    target, status = condition(pod, DISRUPTED), pod.get("status", {})
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    name, where = name_of(pod), node(pod)
    if reason == "Evicted" and OWN_DISK.search(message):
        return None  # its own fault
    if target.get("status") == "True":
        return _disrupted(pod, str(target.get("reason") or ""), str(target.get("message") or message))
    if reason == "Evicted":
        return _taken("evicted", f"Pod {name} was evicted from {where}: {_clause(message)}.")
    if reason in ("Preempting", "Preempted"):
        return _taken("preempted", f"Pod {name} was preempted on {where}: {_clause(message)}.")
    if reason in ("NodeLost", "NodeShutdown", "Terminated", "Shutdown"):
        return _taken("node_lost", f"Pod {name} lost {where}: {_clause(message) or reason}.")
    if reason.startswith(ADMISSION):
        return _taken("node_refused", f"{where} refused pod {name} ({reason}): {_clause(message)}.")
    if phase_of(pod) == "Unknown" and status:
        return _taken("node_lost", f"Pod {name} lost {where}: the cluster no longer knows its state.")
    if gone and (told := newest(events, GONE_EVENTS)):
        return _taken("taken", f"The cluster took pod {name} away: {_clause(told)}.")
    if gone and not status:  # as after hours without a triggerer: its events have expired
        return _taken("gone", f"Pod {name} went while nobody watched it.")
    return None


def _disrupted(pod: Document, reason: str, message: str) -> PodFault:
    name, where, said = name_of(pod), node(pod), f": {_clause(message)}" if message else ""
    if reason == "PreemptionByScheduler":
        return _taken("preempted", f"Pod {name} was preempted by one of higher priority{said}.")
    if reason == "DeletionByTaintManager":
        return _taken("node_lost", f"Pod {name} lost {where}, which got a taint{said}.")
    if reason == "DeletionByPodGC":
        return _taken("node_lost", f"Pod {name} lost {where}, which left the cluster{said}.")
    if reason == "EvictionByEvictionAPI":
        return _taken("evicted", f"Pod {name} was evicted from {where}, as when a node is drained{said}.")
    if reason == "TerminationByKubelet":
        return _taken("evicted", f"Pod {name} was evicted from {where}{said}.")
    return _taken("evicted", f"Pod {name} was taken from {where} ({reason}){said}.")


def _taken(kind: str, problem: str) -> PodFault:
    return PodFault(kind, problem, OF_NIGHTSHIFT, Next.GO_ON)


def _end_of_pod(pod: Document) -> PodFault | None:
    status = pod.get("status", {})
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if reason == "DeadlineExceeded":
        most = pod.get("spec", {}).get("activeDeadlineSeconds")
        problem = f"Pod {name_of(pod)} ran for longer than its deadline of {most} s."
        return PodFault(
            "deadline", problem, "Raise pods.deadline_s, or find out why it took so long.", Next.MEND
        )
    if reason == "Evicted":
        problem = f"Pod {name_of(pod)} was evicted because it filled its disk: {_clause(message)}."
        return PodFault("disk", problem, "Raise pods.home_size.", Next.MEND)
    return None


def _end_of_container(pod: Document) -> PodFault | None:
    end = terminated(pod)
    reason, code = str(end.get("reason") or ""), end.get("exitCode")
    if reason == "OOMKilled":
        most = limit(pod, "memory")
        problem = f"Pod {name_of(pod)} used more memory than its limit of {most} and was killed."
        return PodFault(
            "memory", problem, "Raise pods.memory for this command, or give it less work.", Next.MEND
        )
    if reason in NO_PROGRAM:
        problem = (
            f"The command of pod {name_of(pod)} could not be started: {_clause(str(end.get('message')))}."
        )
        return PodFault("start", problem, "Correct pods.image: it has to be nightshift/pipelines.", Next.MEND)
    if code == 137 and not pod.get("metadata", {}).get("deletionTimestamp"):
        problem = f"Something killed the command of pod {name_of(pod)} on {node(pod)} (exit status 137)."
        most = limit(pod, "memory")
        return PodFault("killed", problem, f"Its memory limit is {most}; the node's log may say more.")
    return None


def _deleted(pod: Document) -> PodFault:
    problem = f"Pod {name_of(pod)} was deleted while it ran, and not by Nightshift."
    return PodFault("deleted", problem, "The API server's audit log says by whom.")


def no_result(pod: Document, uri: str) -> PodFault:
    """A pod that says it succeeded, and left no result."""
    problem = f"Pod {name_of(pod)} succeeded but left no result at {uri}."
    remedy = "Look whether pods and Airflow use the same profile and the same object store."
    return PodFault("no_result", problem, remedy)


def _no_end(pod: Document) -> PodFault:
    if phase_of(pod) == FAILED:
        message = str(pod.get("status", {}).get("message") or pod.get("status", {}).get("reason") or "")
        problem = (
            f"Pod {name_of(pod)} failed before its command began: {_clause(message) or 'no reason given'}."
        )
        return PodFault("failed", problem, "The events of its namespace may say more.")
    problem = f"Pod {name_of(pod)} still ran when its time was over."
    return PodFault("deadline", problem, "Raise pods.deadline_s.", Next.MEND)


def ended(pod: Document, now: float) -> bool:
    """Whether a pod is over: it ended, or its node does not confirm that it did."""
    if phase_of(pod) in (SUCCEEDED, FAILED) or terminated(pod):
        return True
    going = at(pod.get("metadata", {}).get("deletionTimestamp"))
    lost = condition(pod, DISRUPTED).get("reason") == "DeletionByTaintManager"
    if lost and condition(pod, "Ready").get("status") != "True":
        return True  # the node is silent; leases keep a pod that lives on it from doing harm
    return bool(going) and now > going + SILENT_S


SILENT_S = 15.0  # a node confirms an end within this time after the grace period


def _clause(message: str) -> str:
    """A message of Kubernetes as part of a sentence."""
    return " ".join(message.split()).rstrip(". ")
