"""Parts of a cluster that go away and come back while users ask and steps run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.cluster import Postgres, Server
from tests.support.gateways import Running, process, until
from tests.support.users import Users

OUTAGE_S = float(os.environ.get("NIGHTSHIFT_OUTAGE_S", "30"))  # how long a part is away; `make chaos` sets it
RETRIES = 1  # as plugins/nightshift/dag.py
RETRY_DELAY_S = {"features": 60.0}  # as dags/nightly_retrain.py
USUAL_DELAY_S = 10.0


@dataclass
class Member:
    """A gateway in a process of its own, on one port, that can be killed and started again."""

    home: Path
    settings: dict[str, Any]
    running: Running | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> Running:
        _, self.running = self._stack.enter_context(process(self.home, **self.settings))
        return self.running

    def kill(self) -> None:
        """SIGKILL, as the machine's end."""
        self._stack.close()


@contextmanager
def asking(users: Users) -> Iterator[None]:
    """They ask one question after the other until the block ends."""
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            users.ask(1)
            time.sleep(0.02)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(120)


@contextmanager
def away(name: str, parts: dict[str, Any]) -> Iterator[None]:
    """The part is away inside the block, for OUTAGE_S at least."""
    began = time.monotonic()
    _break(name, parts)
    try:
        yield
        time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - began)))
    finally:
        _mend(name, parts)


def _break(name: str, parts: dict[str, Any]) -> None:
    part = parts[name]
    if isinstance(part, Postgres):
        part.server.stop(signal.SIGQUIT)  # at once, as after a loss of power
    elif isinstance(part, Server):
        part.stop(signal.SIGKILL)
    elif isinstance(part, Member):
        part.kill()
    else:
        fill(part)


def _mend(name: str, parts: dict[str, Any]) -> None:
    part = parts[name]
    if isinstance(part, Postgres):
        part.server.start(part.is_ready)
    elif isinstance(part, (Server, Member)):
        part.start()
    else:
        (part / "filler").unlink()


def fill(folder: Path) -> None:
    """Write until no byte more fits on the file system."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


@contextmanager
def small_disk(folder: Path, size: str = "16m") -> Iterator[bool]:
    """A file system of its own for a folder; False where this process may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


class Step:
    """A night's step as a process, tried again as the DAG does: once, and not after status 2."""

    def __init__(self, step: str, uri: str, where: list[str]) -> None:
        self.command = [sys.executable, "-m", "pipelines", step, "--run-dir", uri, *where]
        self.step, self.said, self.tries = step, list[str](), 0
        self.process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run)
        self.status: int | None = None
        self._thread.start()

    def _run(self) -> None:
        for attempt in range(RETRIES + 1):
            if attempt:
                time.sleep(RETRY_DELAY_S.get(self.step, USUAL_DELAY_S))
            self.tries += 1
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self.said.append(self.process.communicate()[0])
            self.status = self.process.returncode
            if self.status in (0, 2):
                return

    def kill(self) -> None:
        """As when the scheduler is killed: its steps die with it."""
        until(lambda: self.process is not None, 10)
        assert self.process
        self.process.kill()

    def wait(self) -> None:
        self._thread.join(400)
        assert self.status == 0, "\n".join(self.said)[-6000:]
