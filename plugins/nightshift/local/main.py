"""Airflow on one machine. `make` calls it: setup, nightly, up, down."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from datetime import date

from nightshift.local import instance as machine
from nightshift.local.environment import USER, airflow_home, password
from nightshift.local.guard import guard
from nightshift.local.nightly import nightly
from nightshift.local.setup import ensure_ready, setup
from nightshift.settings import Settings
from pipelines.core.errors import MachineError, NightshiftError
from pipelines.core.home import using_home

AIRFLOW_PORT = 8080
MLFLOW_PORT = 5000


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 the night failed, 2 an error that a person has to mend, 130 stopped."""
    args = _parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell may have switched it off
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = Settings.from_environment()
        with using_home(settings.home, settings.config.retention.cache_gib):
            return args.run(settings, args)
    except NightshiftError as error:
        print(f"\n{error}" if sys.stdout.isatty() else error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the next `make nightly` continues from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nightshift.local", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser("setup", help="create Airflow's database, pools and secrets")
    command.set_defaults(run=_setup)
    command = commands.add_parser("nightly", help="run one night in Airflow and show its steps")
    command.add_argument("--night", type=date.fromisoformat, help="YYYY-MM-DD; default: the next one")
    command.add_argument("--force", action="store_true", help="train even if `decide` finds no reason to")
    command.add_argument("--epochs", type=int, help="default: as configured")
    command.add_argument("--rank", type=int, help="of the LoRA adapter; default: as configured")
    command.add_argument("--dry-run", action="store_true", help="do everything except register the candidate")
    command.set_defaults(run=nightly)
    command = commands.add_parser("up", help="start Airflow and MLflow in the background")
    command.add_argument("--port", type=int, default=int(os.environ.get("AIRFLOW_PORT", AIRFLOW_PORT)))
    command.add_argument("--mlflow-port", type=int, default=int(os.environ.get("MLFLOW_PORT", MLFLOW_PORT)))
    command.set_defaults(run=up)
    command = commands.add_parser("down", help="stop what `up` started")
    command.set_defaults(run=down)
    command = commands.add_parser("guard")  # what `up` and `nightly` start, not people
    command.add_argument("port", type=int)
    command.add_argument("mlflow_port", type=int)
    command.set_defaults(run=lambda settings, args: guard(settings, args.port, args.mlflow_port))
    return parser


def _setup(settings: Settings, _args: argparse.Namespace) -> int:
    setup(settings)
    return 0


def up(settings: Settings, args: argparse.Namespace) -> int:
    """Start Airflow and MLflow in the background and print where they are."""
    ensure_ready(settings)
    if found := machine.running(settings):
        raise MachineError(f"Airflow runs already, at {found.url}.", "End it with `make down`.")
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
    """Stop what `up` started, if anything."""
    instance = machine.running(settings)
    if instance:
        machine.stop(instance)
    print("ended" if instance else "nothing was running")
    return 0
