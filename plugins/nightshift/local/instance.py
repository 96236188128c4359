"""Airflow's processes on this machine as one unit: they start together and end together.

A small guard process is the parent of them all. It holds a lock while it lives (so a stale file cannot lie),
adopts what they leave behind, and ends everything when it is told to or when its own parent dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from nightshift.local.environment import HOST, airflow_environment, airflow_home
from nightshift.processes import adopt_orphans, dies_with_parent
from nightshift.settings import Settings
from pipelines.core.errors import MachineError

MIN_FREE_GIB = 3
START_LIMIT_S = 180
STOP_GRACE_S = 8.0
ENDED = "ended on its own:"
SCHEDULER = "scheduler"


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
    with _lock_file(settings).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Instance(**json.loads(_state_file(settings).read_text()))
    return None


def check_machine(settings: Settings) -> None:
    """Raises MachineError when the disk is nearly full or the work environment is missing."""
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free / 2**30
    if free < MIN_FREE_GIB:
        raise MachineError(
            f"{MIN_FREE_GIB} GiB of free disk at {settings.home}", f"{free:.1f} GiB", "Free some space."
        )
    if not settings.python.exists():
        raise MachineError("the work environment", f"nothing at {settings.python}", "Run `make setup`.")


def check_port(port: int, variable: str) -> None:
    """Raises MachineError when something else listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise MachineError(
                f"port {port} to be free",
                f"{error.strerror}",
                f"Choose another: `{variable}={free_port()} make up`.",
            ) from None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def start(settings: Settings, port: int, mlflow_port: int, attached: bool) -> Instance:
    """Start a guard and wait until Airflow answers. Attached, it ends with this process."""
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
    while not _healthy(instance):
        if guard.poll() is not None or time.monotonic() > deadline:
            stop(instance)
            said = [line for line in log.read_text().splitlines() if line.startswith(ENDED)]
            found = said[-1] if said else f"no answer within {START_LIMIT_S} s"
            raise MachineError("Airflow to start", found, f"Its log says why: {log}")
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


def guard(settings: Settings, port: int, mlflow_port: int) -> int:
    """Run the servers until one of them ends or a signal comes. Exit status 0 when told to stop.

    The scheduler comes last: what it starts fails where the API server does not answer yet.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    adopt_orphans()
    with _holding_lock(settings):
        instance = Instance(os.getpid(), port, mlflow_port)
        _state_file(settings).write_text(json.dumps(asdict(instance)))
        commands = _commands(settings, port, mlflow_port)
        try:
            servers = {name: _server(name, commands[name]) for name in commands if name != SCHEDULER}
            while all(server.poll() is None for server in servers.values()):
                if SCHEDULER not in servers and _healthy(instance):
                    servers[SCHEDULER] = _server(SCHEDULER, commands[SCHEDULER])
                time.sleep(0.2)
            ended = [name for name, server in servers.items() if server.poll() is not None]
            print(ENDED, ", ".join(ended), flush=True)
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _end_descendants()
            _state_file(settings).unlink()


def _commands(settings: Settings, port: int, mlflow_port: int) -> dict[str, list[str]]:
    airflow = [str(Path(sys.executable).parent / "airflow")]
    commands = {
        "api-server": [*airflow, "api-server", "--host", HOST, "--port", str(port), "--workers", "1"],
        # Without its log server, which listens on every interface; the API server reads the files itself.
        SCHEDULER: [*airflow, "scheduler", "--skip-serve-logs"],
        "dag-processor": [*airflow, "dag-processor"],
        "triggerer": [*airflow, "triggerer", "--skip-serve-logs"],  # watches the inbox of alerts
    }
    if mlflow_port:
        config = settings.config
        store = ["--backend-store-uri", config.path(config.tracking_uri)]
        artifacts = ["--default-artifact-root", config.path(config.artifact_root), "--no-serve-artifacts"]
        where = ["--host", HOST, "--port", str(mlflow_port), "--workers", "1"]
        commands["mlflow"] = [str(settings.python), "-m", "mlflow", "server", *where, *store, *artifacts]
    return commands


def _server(name: str, command: list[str]) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    if name == "mlflow":
        environment = {k: v for k, v in environment.items() if not k.startswith(("AIRFLOW", "PYTHONPATH"))}
    return subprocess.Popen(
        command, env=environment, start_new_session=True, preexec_fn=dies_with_parent(signal.SIGTERM)
    )


def _end_descendants() -> None:
    """Ask the servers to end; kill the workers at once, as the scheduler would wait for them.

    Repeats until none is left. A step that is killed loses nothing: it runs again when Airflow next starts.
    """
    me = psutil.Process()
    servers = me.children()
    for process in [p for p in me.children(recursive=True) if p not in servers]:
        _signal(process, signal.SIGKILL)
    for process in servers:
        _signal(process, signal.SIGTERM)
    psutil.wait_procs(servers, timeout=STOP_GRACE_S)
    while left := me.children(recursive=True):
        for process in left:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=STOP_GRACE_S)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _healthy(instance: Instance) -> bool:
    """Also warms the API that tasks talk to: its first answer takes seconds, which a task would pay for."""
    pages = [f"{instance.url}/api/v2/version", f"{instance.url}/execution/health"]
    if instance.mlflow_port:
        pages.append(f"{instance.mlflow_url}/health")
    try:
        for page in pages:
            urllib.request.urlopen(page, timeout=30).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _holding_lock(settings: Settings) -> Iterator[None]:
    with _lock_file(settings).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock_file(settings: Settings) -> Path:
    airflow_home(settings).mkdir(parents=True, exist_ok=True)
    return airflow_home(settings) / "instance.lock"


def _state_file(settings: Settings) -> Path:
    return airflow_home(settings) / "instance.json"
