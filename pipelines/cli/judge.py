"""The LLM judge: `nightshift judge prove` and `nightshift judge label RUN_ID`."""

from __future__ import annotations

import argparse
import getpass
from datetime import UTC, datetime
from typing import Any

from pipelines.cli.common import add_command, add_date, add_json
from pipelines.core.config import Config


def add(commands: Any) -> None:
    """Add the command `judge` with its own commands."""
    text = "compare the LLM judge with people's choices"
    judge = commands.add_parser("judge", help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parts = judge.add_subparsers(dest="part", metavar="COMMAND", required=True, help="prove or label")
    prove = add_command(parts, "prove", "ask the judge about people's choices, and keep the proof", _prove)
    add_date(prove, "--night", help="as of which night (default: today, UTC)")
    add_json(prove)
    label = add_command(parts, "label", "compare some of a night's answers yourself", _label)
    label.add_argument("run_id", metavar="RUN_ID", help="the run, as `nightshift status` names it")
    label.add_argument("--pairs", type=int, default=30, help="how many at most (default: %(default)s)")
    label.add_argument("--person", default=getpass.getuser(), help="who compares them (default: you)")


def _prove(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.judge.prove import print_proof

    return print_proof(config, args.night or datetime.now(UTC).date(), args.json)


def _label(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.judge.label import label_pairs

    return label_pairs(config, args.run_id, args.pairs, args.person)
