"""What goes wrong on demand between a client and the server."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field

from tests.support.kubernetes.status import ApiError, forbidden

_TEXTS = {
    429: "Too many requests, please try again later.",
    500: "Internal error occurred: etcdserver: request timed out",
    503: "the server is currently unable to handle the request",
}


@dataclass
class _Planned:
    """A fault for the requests whose `METHOD /path` matches; `left` counts down, -1 stays.

    `late`: the request is done first, and its answer is lost.
    """

    match: re.Pattern[str]
    left: int
    status: int = 0
    seconds: float = 0
    late: bool = False


@dataclass
class Faults:
    """The plans, and the number of cuts that each open stream compares with."""

    cuts: int = 0
    plans: list[_Planned] = field(default_factory=list)
    refusals: list[tuple[str, str, re.Pattern[str]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, match: str, left: int, status: int = 0, seconds: float = 0, late: bool = False) -> None:
        with self._lock:
            self.plans.append(_Planned(re.compile(match), left, status, seconds, late))

    def clear(self) -> None:
        with self._lock:
            self.plans.clear()
            self.refusals.clear()

    def meet(self, request: str, late: bool = False) -> None:
        """Wait or raise as planned for `METHOD /path`, before it is done or (`late`) after that."""
        with self._lock:
            mine = (plan for plan in self.plans if plan.left and plan.late is late)
            due = [plan for plan in mine if plan.match.search(request)][:1]
            for plan in due:
                plan.left -= 1
        for plan in due:
            time.sleep(plan.seconds)
            if plan.status:
                error = ApiError(plan.status, _TEXTS.get(plan.status, "fault on demand"))
                if plan.status in (429, 503):
                    error.headers["Retry-After"] = "1"
                    error.document["details"] = {"retryAfterSeconds": 1}
                raise error

    def admit(self, plural: str, group: str, name: str) -> None:
        """Raise 403 where a webhook refuses this kind of object."""
        for webhook, message, match in self.refusals:
            if match.fullmatch(plural):
                text = f'admission webhook "{webhook}" denied the request: {message}'
                error = forbidden(plural, group, name, "")
                error.document |= {"message": text, "reason": "Forbidden"}
                error.document.pop("details")
                raise error
