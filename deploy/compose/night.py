"""One night through the Airflow of docker-compose.yaml, as `make nightly` on one machine: night.py [NIGHT].

It runs in the scheduler's container, which holds both environments.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

from nightshift.local.api import Api
from nightshift.local.follow import follow, start_night, xcom
from nightshift.operators.command import ANSWER
from nightshift.settings import Settings

from pipelines.core.errors import NightshiftError

AIRFLOW = "http://airflow:8080"
USERS = Path("/run/secrets/airflow_users")


def main(words: list[str]) -> int:
    """Exit status: that of `status`, or 1 for a night that failed."""
    settings = Settings.from_environment()
    night = date.fromisoformat(words[0]) if words else _next_night(settings)
    print(f"night {night}", flush=True)
    api = Api(AIRFLOW, json.loads(USERS.read_text())["admin"])
    dag_run = start_night(api, {"night": night.isoformat()})
    result = follow(api, dag_run)
    print(f"\nnight took {result.seconds:.1f} s, of which Airflow's own {result.idle_s:.1f} s", flush=True)
    if not result.succeeded:
        return 1
    run_id = xcom(api, dag_run, "record", ANSWER)["manifest_uri"].split("/")[-3]
    return _nightshift(settings, "status", "--run-id", run_id).returncode


def _next_night(settings: Settings) -> date:
    """The sample's next night, which is written first; yesterday where the profile reads other data."""
    if settings.config.ingest.kind != "sample":
        return datetime.now(settings.config.ingest.zone).date() - timedelta(days=1)
    written = _nightshift(settings, "sample", stdout=subprocess.PIPE, text=True, check=True)
    return date.fromisoformat(written.stdout.strip().splitlines()[-1])


def _nightshift(settings: Settings, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    line = [str(settings.python), "-m", "pipelines", *words]
    return subprocess.run([*line, "--home", settings.home, "--config", settings.config_path], **options)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except NightshiftError as error:
        sys.exit(str(error))
