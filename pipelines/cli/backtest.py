"""The command line of a backtest: `python -m pipelines backtest`."""

from __future__ import annotations

import argparse
from datetime import date
from typing import Any

from pipelines.core.config import Config

HELP = "replay stored nights' decisions under another policy and show which flip"
POLICY_HELP = (
    "a whole profile, or (without `profile`) only what differs from the settings each night ran under"
)


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    command = commands.add_parser("backtest", parents=[common], help=HELP, description=HELP)
    command.add_argument("--policy", required=True, metavar="FILE", help=POLICY_HELP)
    command.add_argument("--from", dest="first", type=date.fromisoformat, metavar="YYYY-MM-DD")
    command.add_argument("--to", dest="last", type=date.fromisoformat, metavar="YYYY-MM-DD")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.backtest import run_backtest

    return run_backtest(args, config)
