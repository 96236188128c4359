"""Child processes that never outlive the process that started them (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def dies_with_parent(with_signal: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends the child this signal when the parent dies, however it dies."""
    parent = os.getpid()

    def arm() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, with_signal)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return arm


def adopt_orphans() -> None:
    """Make this process the parent of every orphan among its descendants, so that it can end them."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def stop(process: subprocess.Popen[str], grace_s: float) -> None:
    """End a child and its process group: SIGTERM, then SIGKILL after `grace_s` seconds."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, ending)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            continue
