"""Runs a command as a process of this machine, in the work environment."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightshift.launchers import FAULT_PREFIX, Command, Ended, Log
from nightshift.processes import dies_with_parent, stop
from nightshift.settings import PROJECT, Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

KILL_GRACE_S = 3.0  # Airflow itself kills the task 5 s after it asked it to stop


class ProcessLauncher:
    """A `Launcher`. The process dies with this one, also when this one is killed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, command: Command, log: Log, context: Context | None = None, event: dict[str, Any] | None = None
    ) -> Ended:
        started = time.time()
        with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
            result_file = Path(folder) / "result.json"
            status, last_line = self._run(self._line(command, result_file), command.traceparent, log)
            result = result_file.read_bytes() if result_file.exists() else None
        return Ended(status, last_line, result, started, time.time())

    def stop(self) -> None:
        if self._process:
            stop(self._process, KILL_GRACE_S)

    def _line(self, command: Command, result_file: Path) -> list[str]:
        """The whole command line, as a person could type it."""
        where = {
            "home": self._settings.home,
            "config": self._settings.config_path,
            "result": result_file,
        }
        options = [f"--{name}={path}" for name, path in where.items()]
        return [str(self._settings.python), "-m", "pipelines", *command.words, *options]

    def _run(self, line: Sequence[str], traceparent: str, log: Log) -> tuple[int, str]:
        log.info("%s", " ".join(line))
        self._process = process = subprocess.Popen(
            line,
            cwd=PROJECT,
            env=environment(traceparent),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGKILL),  # safe: a step survives kill -9
        )
        try:
            last_line = _follow(process, log)
            return process.wait(), last_line
        finally:
            stop(process, KILL_GRACE_S)  # a timeout arrives here as an exception


def environment(traceparent: str) -> dict[str, str]:
    """This process's environment without Airflow's settings: they hold secrets that no step needs."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return {**kept, "TRACEPARENT": traceparent}


def _follow(process: subprocess.Popen[str], log: Log) -> str:
    """Log what the process prints, line by line; returns its fault, or else its last line."""
    last_line = ""
    for line in process.stdout or ():
        log.info("%s", line.rstrip())
        if not last_line.startswith(FAULT_PREFIX):  # a library may still print at exit
            last_line = line.strip() or last_line
    return last_line
