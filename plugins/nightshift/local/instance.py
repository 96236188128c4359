"""Airflow on this machine: is it running, start it, stop it. One instance per home.

A guard process (`guard`) is the parent of Airflow's processes. It holds a lock while it lives, so a state
file that a crash left behind is never believed.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil

from nightshift.local.environment import HOST, airflow_environment, airflow_home
from nightshift.processes import dies_with_parent
from nightshift.settings import Settings
from pipelines.core.errors import MachineError

MIN_FREE_GIB = 3
START_LIMIT_S = 180
STOP_GRACE_S = 8.0
ENDED = "ended on its own:"  # begins the line that the guard logs


@dataclass(frozen=True)
class Instance:
    """A running Airflow: the guard's process id and the addresses. `mlflow_port` is 0 without MLflow's UI."""

    pid: int
    port: int
    mlflow_port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def mlflow_url(self) -> str:
        return f"http://{HOST}:{self.mlflow_port}"


def running(settings: Settings) -> Instance | None:
    """The instance of this home, if one lives."""
    with lock_file(settings).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Instance(**json.loads(state_file(settings).read_text()))
    return None


def check_machine(settings: Settings) -> None:
    """Raises MachineError when the disk is nearly full or the work environment is missing."""
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free / 2**30
    if free < MIN_FREE_GIB:
        raise MachineError(
            f"Only {free:.1f} GiB of disk is free at {settings.home}; {MIN_FREE_GIB} GiB are needed.",
            "Free some space.",
        )
    if not settings.python.exists():
        raise MachineError(
            f"The work environment is missing: there is no {settings.python}.", "Run `make setup`."
        )


def check_port(port: int, variable: str) -> None:
    """Raises MachineError when something else listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise MachineError(
                f"Port {port} cannot be used: {error.strerror}.",
                f"Choose another one: `{variable}={free_port()} make up`.",
            ) from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def start(settings: Settings, port: int, mlflow_port: int, attached: bool) -> Instance:
    """Start a guard and wait until Airflow answers. An attached one ends with this process.

    Raises MachineError where Airflow does not start.
    """
    log = airflow_home(settings) / "instance.log"
    guard = subprocess.Popen(
        [sys.executable, "-m", "nightshift.local", "guard", str(port), str(mlflow_port)],
        env=airflow_environment(settings, port),
        stdin=subprocess.DEVNULL,
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for the parent, who then tells the guard
        preexec_fn=dies_with_parent(signal.SIGTERM) if attached else None,
    )
    instance = Instance(guard.pid, port, mlflow_port)
    deadline = time.monotonic() + START_LIMIT_S
    while not healthy(instance):
        if guard.poll() is not None or time.monotonic() > deadline:
            stop(instance)
            ended = [line for line in log.read_text().splitlines() if line.startswith(ENDED)]
            how = ended[-1] if ended else f"it did not answer within {START_LIMIT_S} s"
            raise MachineError(f"Airflow did not start ({how}).", f"Read its log: {log}")
        time.sleep(0.2)
    return instance


def stop(instance: Instance) -> None:
    """Tell the guard to end everything, and wait until it has."""
    try:
        guard = psutil.Process(instance.pid)
        guard.terminate()
        guard.wait(4 * STOP_GRACE_S)
    except psutil.NoSuchProcess:
        return


def healthy(instance: Instance) -> bool:
    """Whether all servers answer. It asks the API of tasks too, whose first answer takes seconds."""
    pages = [f"{instance.url}/api/v2/version", f"{instance.url}/execution/health"]
    if instance.mlflow_port:
        pages.append(f"{instance.mlflow_url}/health")
    try:
        for page in pages:
            urllib.request.urlopen(page, timeout=30).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def lock_file(settings: Settings) -> Path:
    airflow_home(settings).mkdir(parents=True, exist_ok=True)
    return airflow_home(settings) / "instance.lock"


def state_file(settings: Settings) -> Path:
    return airflow_home(settings) / "instance.json"
