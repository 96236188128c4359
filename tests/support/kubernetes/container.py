"""A container's process on this machine, its log and its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.support.kubernetes.shim import children

_SHIM = Path(__file__).with_name("shim.py")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def precise_now() -> str:
    """The time as log lines carry it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class Log:
    """The lines of one container, each with its time. Readers wait on `grown`."""

    def __init__(self) -> None:
        self.grown = threading.Condition()
        self.lines: list[tuple[str, bytes]] = []
        self.dropped = 0  # lines that rotation took away
        self.ended = False
        self.cuts = 0  # how often open streams were ended

    def add(self, line: bytes) -> None:
        with self.grown:
            self.lines.append((precise_now(), line))
            self.grown.notify_all()

    def end(self) -> None:
        with self.grown:
            self.ended = True
            self.grown.notify_all()

    def rotate(self) -> None:
        """Lose all lines so far, and end the open streams, as a rotation at a bad moment does."""
        with self.grown:
            self.dropped += len(self.lines)
            self.lines.clear()
            self.cuts += 1
            self.grown.notify_all()

    def follow(self, gone: threading.Event, first: int) -> Iterator[tuple[str, bytes] | None]:
        """Lines from number `first` on, until the container ends; None about each second without one."""
        cuts, position = self.cuts, first
        while not gone.is_set():
            with self.grown:
                new = self.lines[max(0, position - self.dropped) :]
                position = self.dropped + len(self.lines)
                if not new and (self.ended or self.cuts != cuts):
                    return
                if not new:
                    self.grown.wait(1)
            yield from new
            if not new:
                yield None


class Process:
    """One run of a container's command."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: str, log: Log) -> None:
        self.log = log
        self.peak_bytes = 0
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), *command],
            env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                self.log.add(line)
        self.log.end()

    def poll(self) -> int | None:
        """The exit code once the process has ended and its last line is read."""
        code = self._process.poll()
        if code is None:
            return None
        self._reader.join(5)
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGUSR1)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def memory_bytes(self) -> int:
        """What a cgroup would charge: the memory of the process tree that no file backs."""
        total = 0
        for pid in children(self._process.pid):
            try:
                _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += (int(resident) - int(shared)) * _PAGE
        self.peak_bytes = max(self.peak_bytes, total)
        return total
