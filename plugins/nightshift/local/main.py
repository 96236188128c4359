"""Airflow on one machine: `python -m nightshift.local setup | nightly | up | down`; see the Makefile."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from nightshift import endpoint as alerts
from nightshift.local import instance as machine
from nightshift.local.environment import USER, airflow_environment, airflow_home, create_secrets, password
from nightshift.local.follow import Api, Night, begin, follow
from nightshift.operators.command import ANSWER
from nightshift.settings import PROJECT, Settings
from pipelines.core.errors import MachineError, NightshiftError

AIRFLOW_PORT = 8080
MLFLOW_PORT = 5000


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 the night ended in a fault, 2 an error to act on, 130 stopped by a person."""
    args = _parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell may have switched it off
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return args.run(Settings.from_environment(), args)
    except NightshiftError as error:
        print(f"\n{error}" if sys.stdout.isatty() else error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the next `make nightly` goes on where this ended", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nightshift.local", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser("setup", help="Airflow's database, pools and keys")
    command.set_defaults(run=setup)
    command = commands.add_parser("nightly", help="run one night through Airflow and show it")
    command.add_argument("--night", type=date.fromisoformat, help="YYYY-MM-DD; default: the next one")
    command.add_argument("--force", action="store_true", help="train even if nothing calls for it")
    command.add_argument("--epochs", type=int)
    command.add_argument("--rank", type=int)
    command.add_argument("--dry-run", action="store_true", help="do everything but register")
    command.set_defaults(run=nightly)
    command = commands.add_parser("up", help="Airflow with its UI, and MLflow's UI, in the background")
    command.add_argument("--port", type=int, default=int(os.environ.get("AIRFLOW_PORT", AIRFLOW_PORT)))
    command.add_argument("--mlflow-port", type=int, default=int(os.environ.get("MLFLOW_PORT", MLFLOW_PORT)))
    command.set_defaults(run=up)
    command = commands.add_parser("down", help="end what `up` started")
    command.set_defaults(run=down)
    command = commands.add_parser("guard")  # what `up` and `nightly` start, not people
    command.add_argument("port", type=int)
    command.add_argument("mlflow_port", type=int)
    command.set_defaults(run=lambda settings, args: machine.guard(settings, args.port, args.mlflow_port))
    return parser


def setup(settings: Settings, _args: argparse.Namespace | None = None) -> int:
    """Create or upgrade Airflow's database, its pools and keys. Safe to run again."""
    machine.check_machine(settings)
    create_secrets(settings)
    alerts.create_secrets(settings)
    pools = {
        "gpu": {"slots": 1, "description": "training"},
        "model": {"slots": os.cpu_count() or 1, "description": "steps that run the model"},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(pools, file)
        file.flush()
        _airflow(settings, "db", "migrate")
        _airflow(settings, "pools", "import", file.name)
    _ready_file(settings).touch()
    return 0


def nightly(settings: Settings, args: argparse.Namespace) -> int:
    """Run a night through Airflow: through the instance that `up` started, or one of its own."""
    _ensure_ready(settings)
    began = time.monotonic()
    sample = None if args.night else _begin_sample(settings)
    instance = own = None
    try:
        instance = machine.running(settings)
        if instance is None:
            print("starting Airflow ...", flush=True)
            own = instance = machine.start(settings, machine.free_port(), mlflow_port=0, attached=True)
        api = Api(instance.url, password(settings))
        started = time.monotonic() - began
        night = args.night or _next_night(sample)
        print(f"night {night}", flush=True)
        dag_run = begin(api, _conf(night, args))
        result = follow(api, dag_run)
        recorded = api.said(dag_run, "record", ANSWER) if result.succeeded else None
    finally:
        if sample:
            sample.kill()
        if own:
            machine.stop(own)
    return _sum_up(settings, result, started, recorded)


def up(settings: Settings, args: argparse.Namespace) -> int:
    """Start everything in the background and say where it is."""
    _ensure_ready(settings)
    if found := machine.running(settings):
        raise MachineError(
            "nothing of this home to be running", f"an instance at {found.url}", "End it with `make down`."
        )
    machine.check_port(args.port, "AIRFLOW_PORT")
    machine.check_port(args.mlflow_port, "MLFLOW_PORT")
    print("starting ...", flush=True)
    instance = machine.start(settings, args.port, args.mlflow_port, attached=False)
    shown = airflow_home(settings) / "password.shown"
    secret = f"(in {airflow_home(settings)}/passwords.json)" if shown.exists() else password(settings)
    shown.touch()
    print(f"Airflow  {instance.url}  user {USER}  password {secret}\nMLflow   {instance.mlflow_url}")
    return 0


def down(settings: Settings, _args: argparse.Namespace) -> int:
    """End what `up` started; nothing running is fine."""
    instance = machine.running(settings)
    if instance:
        machine.stop(instance)
    print("ended" if instance else "nothing was running")
    return 0


def _ensure_ready(settings: Settings) -> None:
    machine.check_machine(settings)
    alerts.create_secrets(settings)  # a home that an earlier version made has none
    if not _ready_file(settings).exists():
        print("preparing Airflow's database ...", flush=True)
        setup(settings)


def _ready_file(settings: Settings) -> Path:
    return airflow_home(settings) / "ready"


def _airflow(settings: Settings, *words: str) -> None:
    command = [str(Path(sys.executable).parent / "airflow"), *words]
    done = subprocess.run(
        command, env=airflow_environment(settings, 0), capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1]
        raise MachineError(f"`airflow {' '.join(words[:2])}` to work", last, "Run `make setup` again.")


def _begin_sample(settings: Settings) -> subprocess.Popen[str] | None:
    """Lay out the next night of the sample workload meanwhile, where the configuration reads that."""
    if settings.config.ingest.kind != "sample":
        return None
    return subprocess.Popen(
        _work_command(settings, "sample"),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _next_night(sample: subprocess.Popen[str] | None) -> date:
    if sample is None:
        return date.today() - timedelta(days=1)
    out, errors = sample.communicate()
    if sample.returncode:
        raise SystemExit(errors.strip().splitlines()[-1])  # its fault, in its own words
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
