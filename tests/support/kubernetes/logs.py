"""`GET pods/NAME/log`, with the kubelet's answers where there is no log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from tests.support.kubernetes.container import Log
from tests.support.kubernetes.kubelet import PodWorker
from tests.support.kubernetes.records import Record
from tests.support.kubernetes.status import ApiError
from tests.support.kubernetes.store import Thing


def chosen(pod: Thing, name: str) -> str:
    """The container whose log is meant. Raises 400 where several could be."""
    spec = pod["spec"]
    mains = [one["name"] for one in spec["containers"]]
    inits = [one["name"] for one in spec.get("initContainers") or []]
    title = pod["metadata"]["name"]
    if not name:
        default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
        if default or len(mains) == 1:
            return default or mains[0]
        both = f"choose one of: [{' '.join(mains)}]"
        both += f" or one of the init containers: [{' '.join(inits)}]" if inits else ""
        raise ApiError(400, f"a container name must be specified for pod {title}, {both}")
    if name not in mains + inits:
        raise ApiError(400, f"container {name} is not valid for pod {title}")
    return name


def log_of(pod: Thing, one: Record, previous: bool) -> Log:
    title = pod["metadata"]["name"]
    if previous:
        if one.previous is None:
            raise ApiError(400, f'previous terminated container "{one.name}" in pod "{title}" not found')
        return one.previous
    if one.log is None:
        reason = one.state.get("waiting", {}).get("reason", "")
        why = "trying and failing to pull image" if reason in ("ErrImagePull", "ImagePullBackOff") else reason
        raise ApiError(400, f'container "{one.name}" in pod "{title}" is waiting to start: {why}')
    return one.log


def lines(
    worker: PodWorker, one: Record, pod: Thing, query: dict[str, str], cut: Callable[[], bool]
) -> Iterator[bytes | None]:
    """The lines asked for; with `follow` until the container ends. None about each second without one."""
    log = log_of(pod, one, query.get("previous") == "true")
    stamped = query.get("timestamps") == "true"
    start = _since(query)
    first = 0
    with log.grown:
        so_far = [line for line in log.lines if line[0] >= start]
        after = log.dropped + len(log.lines)
    if "tailLines" in query:
        first = max(0, len(so_far) - int(query["tailLines"]))
    for when, line in so_far[first:]:
        yield f"{when} ".encode() + line if stamped else line
    if query.get("follow") != "true":
        return
    for new in log.follow(worker.gone if not log.ended else threading.Event(), after):
        if cut():
            return
        if new is None:
            yield None
        else:
            yield f"{new[0]} ".encode() + new[1] if stamped else new[1]


def _since(query: dict[str, str]) -> str:
    if "sinceSeconds" in query:
        at = datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))
    elif "sinceTime" in query:
        at = datetime.fromisoformat(query["sinceTime"]).astimezone(UTC)
    else:
        return ""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
