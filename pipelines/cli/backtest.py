"""Stored nights under another policy: `nightshift backtest`."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli.common import add_command, add_date, add_json
from pipelines.core.config import Config

POLICY_HELP = "a whole profile; or, without the key `profile`, only the settings that differ (default: none)"
RULES_HELP = "also ask the rules of this former version, and show them beside today's"
FORMER_RULES = ("0.1",)  # those of pipelines.policy.night.rules, which the command line does not load


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "backtest",
        "replay recorded decisions under other settings or former rules and show which flip",
        _run,
    )
    command.add_argument("--policy", metavar="FILE", help=POLICY_HELP)
    command.add_argument("--rules", choices=FORMER_RULES, help=RULES_HELP)
    add_date(command, "--from", dest="first", help="the first night (default: the first recorded)")
    add_date(command, "--to", dest="last", help="the last night (default: the last recorded)")
    add_json(command)


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.backtest import run_backtest

    return run_backtest(args, config)
