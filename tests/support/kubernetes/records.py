"""What a kubelet knows of one container of a pod: its state, its process, its restarts."""

from __future__ import annotations

import secrets
import time
from typing import Any

from tests.support.kubernetes.container import Log, Process
from tests.support.kubernetes.images import repository
from tests.support.kubernetes.store import now


class Record:
    """One container. `state` has one key: waiting, running or terminated."""

    def __init__(self, container: dict[str, Any], init: bool, waiting: str) -> None:
        self.container = container
        self.name = container["name"]
        self.init = init
        self.state: dict[str, Any] = {"waiting": {"reason": waiting}}
        self.last: dict[str, Any] = {}
        self.restarts = 0
        self.crashed = False  # it waits for its next start
        self.process: Process | None = None
        self.log: Log | None = None
        self.previous: Log | None = None
        self.killed_as = ""  # the reason of a kill that the exit code does not tell
        self.retry_at = 0.0
        self.message_file = ""
        self._id = ""

    @property
    def path(self) -> str:
        return f"spec.{'initContainers' if self.init else 'containers'}{{{self.name}}}"

    def wait(self, reason: str, message: str = "", retry_s: float = 0) -> None:
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        self.retry_at = time.monotonic() + retry_s

    def started(self, process: Process, log: Log) -> None:
        self.process, self.log = process, log
        self.restarts += self.crashed
        self.crashed = False
        self._id = f"containerd://{secrets.token_hex(32)}"
        self.killed_as = ""
        self.state = {"running": {"startedAt": now()}}

    def ended(self, code: int, reason: str = "", message: str = "") -> None:
        """The state of a container that is over; its process is forgotten, its log is kept."""
        started = self.state.get("running", {}).get("startedAt", "1970-01-01T00:00:00Z")
        reason = reason or self.killed_as or ("Error" if code else "Completed")
        terminated = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()}
        if message:
            terminated["message"] = message
        if self._id:
            terminated["containerID"] = self._id
        self.state = {"terminated": terminated}
        self.process = None

    @property
    def exit_code(self) -> int | None:
        return self.state.get("terminated", {}).get("exitCode")

    def status(self) -> dict[str, Any]:
        """The entry of `containerStatuses`."""
        image = self.container["image"]
        done = self.init and self.exit_code == 0
        return {
            "name": self.name,
            "state": self.state,
            "lastState": self.last,
            "ready": done or "running" in self.state,
            "restartCount": self.restarts,
            "image": image,
            "imageID": f"{repository(image)}@sha256:{'0' * 64}" if self._id else "",
            **({"containerID": self._id} if self._id else {}),
            "started": "running" in self.state,
        }
