"""The parent of Airflow's processes on this machine: they start together and end together.

It adopts what they leave behind, and ends everything when it is told to, when one of them ends, or when its
own parent dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil

from nightshift.local.environment import HOST
from nightshift.local.instance import ENDED, STOP_GRACE_S, Instance, healthy, lock_file, state_file
from nightshift.processes import adopt_orphans, dies_with_parent
from nightshift.settings import Settings

SCHEDULER = "scheduler"


def guard(settings: Settings, port: int, mlflow_port: int) -> int:
    """Run the servers until one of them ends or a signal comes. Returns 0 when told to stop, otherwise 1.

    The scheduler starts last: its tasks fail while the API server does not answer yet.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    adopt_orphans()
    with _holding_lock(settings):
        instance = Instance(os.getpid(), port, mlflow_port)
        state_file(settings).write_text(json.dumps(asdict(instance)))
        commands = _commands(settings, port, mlflow_port)
        try:
            servers = {name: _start(name, commands[name]) for name in commands if name != SCHEDULER}
            while all(server.poll() is None for server in servers.values()):
                if SCHEDULER not in servers and healthy(instance):
                    servers[SCHEDULER] = _start(SCHEDULER, commands[SCHEDULER])
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
            state_file(settings).unlink()


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


def _start(name: str, command: list[str]) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    if name == "mlflow":
        environment = {k: v for k, v in environment.items() if not k.startswith(("AIRFLOW", "PYTHONPATH"))}
    return subprocess.Popen(
        command, env=environment, start_new_session=True, preexec_fn=dies_with_parent(signal.SIGTERM)
    )


def _end_descendants() -> None:
    """Ask the servers to end, and kill the workers at once: the scheduler would wait for them.

    Repeats until none is left. A killed step loses nothing: it runs again when Airflow starts again.
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


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _holding_lock(settings: Settings) -> Iterator[None]:
    with lock_file(settings).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
