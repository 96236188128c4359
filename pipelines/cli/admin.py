"""Nights without Airflow, what was decided, and the upkeep of a home."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli.common import add_command, add_date, add_json
from pipelines.core.config import Config


def add_nights(commands: Any) -> None:
    """Add the commands that run and show whole nights."""
    command = add_command(commands, "nights", "run nights one after the other, without Airflow", _nights)
    add_date(command, "--from", dest="first", required=True, help="the first night")
    add_date(command, "--to", dest="last", required=True, help="the last night")
    command.add_argument(
        "--attempt", type=int, default=1, help="count up to run decided nights again (default: %(default)s)"
    )
    command = add_command(commands, "status", "show the last nights and their decisions", _status)
    command.add_argument("--run-id", help="show this run only, in detail")
    command.add_argument("--limit", type=int, default=14, help="how many nights (default: %(default)s)")
    add_json(command)
    command = add_command(commands, "sample", "lay out and answer one night of the sample workload", _sample)
    add_date(command, "--night", help="default: the night after the last decided one")
    command = add_command(
        commands, "deliver", "write a night's interactions from the gateway's journal", _deliver
    )
    add_date(command, "--night", required=True, help="the night")


def add_upkeep(commands: Any) -> None:
    """Add the commands that set up and check a home."""
    add_command(commands, "prepare", "set up a home: databases, sample model and sample data", _prepare)
    command = add_command(
        commands, "databases", "create the tables of ledger and journal, or bring them up to date", _databases
    )
    command.add_argument(
        "--as", dest="owner", metavar="ROLE", default="", help="PostgreSQL's role that owns the tables"
    )
    add_command(commands, "prune", "remove data of people that are older than [retention] says", _prune)
    command = add_command(
        commands, "verify", "check every recorded file, signature and the ledger's chain", _verify
    )
    command.add_argument(
        "--accept-end",
        action="store_true",
        help="take the ledger as it is for the whole one, after a backup was put back",
    )


def _databases(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.databases import upgrade_databases

    for line in upgrade_databases(config, args.owner):
        print(line, flush=True)
    return 0


def _prune(args: argparse.Namespace, config: Config) -> int:
    from pipelines.stores.retention import prune

    for path in prune(config):
        print(f"removed {path}")
    return 0


def _nights(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.nights import run_nights

    return run_nights(args, config)


def _status(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.status import print_status

    return print_status(config, args.limit, args.json, args.run_id)


def _sample(args: argparse.Namespace, config: Config) -> int:
    from pipelines.sample.workload import write_night
    from pipelines.stores import open_ledger

    decided = (decision.night for decision in open_ledger(config).decisions())
    night = args.night or config.sample.next_night(decided)
    write_night(config, night)
    print(night, flush=True)
    return 0


def _deliver(args: argparse.Namespace, config: Config) -> int:
    from pipelines.data.journal_delivery import deliver

    print(deliver(config, args.night), flush=True)
    return 0


def _prepare(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.prepare import prepare

    prepare(config)
    return 0


def _verify(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.verify import verify

    return verify(config, args.accept_end)
