"""One night through Airflow on this machine: start it, show its steps, sum it up."""

from __future__ import annotations

import argparse
import subprocess
import time
from datetime import date, datetime, timedelta
from typing import Any

from nightshift.local import instance as machine
from nightshift.local.api import Api
from nightshift.local.environment import password
from nightshift.local.follow import Night, follow, start_night, xcom
from nightshift.local.setup import ensure_ready
from nightshift.operators.command import ANSWER
from nightshift.settings import PROJECT, Settings


def nightly(settings: Settings, args: argparse.Namespace) -> int:
    """Run a night in the Airflow that `up` started, or in one that ends with the night."""
    ensure_ready(settings)
    began = time.monotonic()
    sample = None if args.night else _start_sample(settings)
    instance = own = None
    try:
        instance = machine.running(settings)
        if instance is None:
            print("starting Airflow ...", flush=True)
            own = instance = machine.start(settings, machine.free_port(), mlflow_port=0, attached=True)
        api = Api(instance.url, password(settings))
        started = time.monotonic() - began
        night = args.night or _next_night(settings, sample)
        print(f"night {night}", flush=True)
        dag_run = start_night(api, _conf(night, args))
        result = follow(api, dag_run)
        recorded = xcom(api, dag_run, "record", ANSWER) if result.succeeded else None
    finally:
        if sample:
            sample.kill()
        if own:
            machine.stop(own)
    return _sum_up(settings, result, started, recorded)


def _start_sample(settings: Settings) -> subprocess.Popen[str] | None:
    """Start to write the next night of the sample workload; None where the configuration reads other data."""
    if settings.config.ingest.kind != "sample":
        return None
    return subprocess.Popen(
        _work_command(settings, "sample"),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _next_night(settings: Settings, sample: subprocess.Popen[str] | None) -> date:
    if sample is None:
        return datetime.now(settings.config.ingest.zone).date() - timedelta(days=1)
    out, errors = sample.communicate()
    if sample.returncode:
        raise SystemExit(errors.strip().splitlines()[-1])
    return date.fromisoformat(out.strip().splitlines()[-1])


def _work_command(settings: Settings, *words: str) -> list[str]:
    where = ["--home", str(settings.home), "--config", str(settings.config_path)]
    return [str(settings.python), "-m", "pipelines", *words, *where]


def _conf(night: date, args: argparse.Namespace) -> dict[str, Any]:
    conf = {"force": args.force, "epochs": args.epochs, "rank": args.rank, "dry_run": args.dry_run}
    return {"night": night.isoformat(), **{name: value for name, value in conf.items() if value}}


def _sum_up(settings: Settings, night: Night, started: float, recorded: dict[str, Any] | None) -> int:
    share = night.idle_s / (night.seconds or 1.0)
    print(
        f"\nnight took {night.seconds:.1f} s, of which Airflow's own {night.idle_s:.1f} s ({share:.1%}); "
        f"start-up before it {started:.1f} s",
        flush=True,
    )
    if recorded is None:
        return 1
    run_id = recorded["manifest_uri"].split("/")[-3]
    return subprocess.run(
        _work_command(settings, "status", "--run-id", run_id), cwd=PROJECT, check=False
    ).returncode
