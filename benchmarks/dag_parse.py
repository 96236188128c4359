"""How long each DAG file takes to parse after Airflow's own imports: `python -m benchmarks.dag_parse`."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parents[1]
AIRFLOW = PROJECT / ".venv-airflow" / "bin" / "python"
RUNS = 7
PROBE = """
import sys, time
import airflow.sdk, airflow.providers.standard.operators.empty, pydantic
from airflow.sdk.bases.skipmixin import SkipMixin
airflow.sdk.DAG, airflow.sdk.BaseOperator, airflow.sdk.Asset, airflow.sdk.Param  # loaded on first use
airflow.sdk.AssetOrTimeSchedule, airflow.sdk.CronTriggerTimetable, airflow.sdk.TriggerRule
started = time.perf_counter()
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), {"__name__": "dag"})
print(time.perf_counter() - started)
"""


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'DAG file':<28} {'median':>9} {'worst':>9}  ({RUNS} fresh processes; aim: under 0.200 s)")
    for dag in sorted((PROJECT / "dags").glob("*.py")):
        seconds = [parse_seconds(dag) for _ in range(RUNS)]
        print(f"{dag.name:<28} {median(seconds):>7.3f} s {max(seconds):>7.3f} s")


def parse_seconds(dag: Path) -> float:
    """Seconds to parse one DAG file in a fresh process, Airflow already imported."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": home,
            "NIGHTSHIFT_HOME": home,
            "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}",
        }
        command = [str(AIRFLOW), "-c", PROBE, str(dag)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
