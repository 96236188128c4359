"""Airflow's database, pools and secrets for one machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from nightshift.endpoint import senders as alerts
from nightshift.local import instance as machine
from nightshift.local.environment import airflow_environment, airflow_home, create_secrets
from nightshift.pools import pools
from nightshift.settings import Settings
from pipelines.core.errors import MachineError


def setup(settings: Settings) -> None:
    """Create or upgrade Airflow's database, its pools and keys. Safe to run again."""
    machine.check_machine(settings)
    create_secrets(settings)
    alerts.create_secrets(settings)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(pools(settings.config))
        file.flush()
        _airflow(settings, "db", "migrate")
        _airflow(settings, "pools", "import", file.name)
    ready_file(settings).write_text(pools(settings.config), encoding="utf-8")


def ensure_ready(settings: Settings) -> None:
    """Set up what is missing. Raises MachineError where the machine cannot run a night."""
    machine.check_machine(settings)
    alerts.create_secrets(settings)  # a home of an earlier version has none
    if not _is_ready(settings):
        print("preparing Airflow's database ...", flush=True)
        setup(settings)


def _is_ready(settings: Settings) -> bool:
    """Whether Airflow was prepared, with the pools that the configuration asks for."""
    ready = ready_file(settings)
    if not ready.exists():
        return False
    known = ready.read_text(encoding="utf-8")
    # An earlier version left the file empty, and its pools were those without a setting.
    return known == pools(settings.config) if known else not settings.config.evaluations_at_once


def ready_file(settings: Settings) -> Path:
    return airflow_home(settings) / "ready"


def _airflow(settings: Settings, *words: str) -> None:
    command = [str(Path(sys.executable).parent / "airflow"), *words]
    done = subprocess.run(
        command, env=airflow_environment(settings, 0), capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1]
        raise MachineError(f"`airflow {' '.join(words[:2])}` failed: {last}", "Run `make setup` again.")
