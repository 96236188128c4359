"""What a training does when it is asked to stop (SIGTERM): it saves a checkpoint first."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.core.errors import Interrupted

log = logging.getLogger("nightshift")


class StopRequest:
    """Whether this process was asked to stop.

    While `can_save` the request is noted, and the training saves after its step. At other times there is
    nothing to save, and Interrupted is raised at once.
    """

    def __init__(self) -> None:
        self.asked = self.can_save = False

    def note(self, *_: Any) -> None:
        """The handler of the signal."""
        self.asked = True
        if not self.can_save:
            raise interrupted("The training was asked to stop before its first step or after its last.")
        log.info("train was asked to stop: it saves a checkpoint after this step")


def interrupted(problem: str) -> Interrupted:
    return Interrupted(problem, "Run the same command again: it goes on from there.")


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGTERM instead of dying of it. In a thread other than the main one, nothing is noted."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, request.note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
