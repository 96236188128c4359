"""Airflow's processes one by one, so that one of them can be killed. Its database is PostgreSQL's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from pipelines.core.config import load_config
from pipelines.core.errors import NightshiftError
from tests.support.cluster import PROJECT, free_port

sys.path.insert(0, str(PROJECT / "plugins"))

from nightshift.local.api import Api
from nightshift.local.environment import airflow_environment, create_secrets, password
from nightshift.pools import pools
from nightshift.settings import Settings

AIRFLOW = PROJECT / ".venv-airflow" / "bin" / "airflow"
DAG = "/api/v2/dags/nightly_retrain"
# Airflow takes half a minute and more to notice that a part of it died; a test has no time for that.
HURRY = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
}


@dataclass
class Airflow:
    """API server, DAG processor and scheduler. `orphans`: what a scheduler that was killed left behind."""

    settings: Settings
    environment: dict[str, str]
    port: int
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    orphans: list[psutil.Process] = field(default_factory=list)

    @property
    def api(self) -> Api:
        return Api(f"http://127.0.0.1:{self.port}", password(self.settings))

    def run(self, *words: str) -> None:
        done = subprocess.run([AIRFLOW, *words], env=self.environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-4000:]

    def start(self, part: str, *options: str) -> None:
        with (self.settings.home / f"{part}.log").open("ab") as log:
            command = [str(AIRFLOW), part, *options]
            self.parts[part] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def freeze_scheduler(self, is_held: Callable[[], bool]) -> None:
        """Stop the scheduler at a moment at which it holds what `is_held` asks for."""
        scheduler = psutil.Process(self.parts["scheduler"].pid)

        def frozen() -> bool:
            scheduler.suspend()
            if is_held():
                time.sleep(1)  # somebody else would have let it go
                if is_held():
                    return True
            scheduler.resume()
            return False

        within(120, frozen)

    def kill_scheduler(self, with_workers: bool) -> None:
        """SIGKILL of this one process, or of all that it started too, as when its machine dies."""
        scheduler = self.parts["scheduler"]
        children = psutil.Process(scheduler.pid).children(recursive=True)
        scheduler.kill()
        scheduler.wait()
        if not with_workers:
            self.orphans += children
            return
        for process in children:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(children, 20)

    def end(self) -> None:
        found = list(self.orphans)
        for part in self.parts.values():
            with suppress(psutil.NoSuchProcess):
                found += [*psutil.Process(part.pid).children(recursive=True), psutil.Process(part.pid)]
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for part in self.parts.values():
            part.wait()


@contextmanager
def running_airflow(home: Path, profile: Path, database: str) -> Iterator[Airflow]:
    """An Airflow that has parsed the DAGs. All its processes end with the block."""
    settings = Settings(home, profile, Path(sys.executable), load_config(profile, home))
    create_secrets(settings)
    port = free_port()
    urls = {f"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN{end}": database for end in ("", "_ASYNC")}
    found = Airflow(settings, airflow_environment(settings, port) | HURRY | urls, port)
    (home / "pools.json").write_text(pools(settings.config))
    found.run("db", "migrate")
    found.run("pools", "import", str(home / "pools.json"))
    try:
        found.start("api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
        found.start("dag-processor")
        within(240, lambda: found.api.call(DAG))
        found.start("scheduler", "--skip-serve-logs")
        yield found
    finally:
        found.end()


def within(seconds: float, look: Callable[[], Any]) -> Any:
    """What `look` finds, once it is something. Fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        with suppress(NightshiftError, OSError):
            if found := look():
                return found
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.5)
