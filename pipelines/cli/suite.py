"""The evaluation suite: `nightshift suite propose`."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli.common import add_command, add_json
from pipelines.core.config import Config

MORE = """Without FILE the items come from the lake. Afterwards read each item, correct its answer,
and drop what is wrong.

Example:
  nightshift suite propose logs/2026-11-27/chat.jsonl --items 200
  nightshift suite propose --items 3000 --pool
"""


def add(commands: Any) -> None:
    """Add the command `suite` with its own commands."""
    text = "propose items for the evaluation suite from a log"
    suite = commands.add_parser("suite", help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parts = suite.add_subparsers(dest="part", metavar="COMMAND", required=True, help="propose")
    propose = add_command(parts, "propose", "draw evaluation items from a log, in proportion", _propose)
    propose.formatter_class, propose.epilog = argparse.RawDescriptionHelpFormatter, MORE
    propose.add_argument("file", nargs="?", metavar="FILE", help="a log: a file, folder, glob or URI")
    propose.add_argument(
        "--items", type=int, default=200, help="how many items to draw at most (default: %(default)s)"
    )
    propose.add_argument("--to", metavar="PATH", help="where to write them (default: evaluate.suite)")
    propose.add_argument(
        "--pool", action="store_true", help="write to evaluate.pool instead of evaluate.suite"
    )
    add_json(propose)


def _propose(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.suite.command import propose_suite

    return propose_suite(config, args.file, args.items, args.to, args.json, args.pool)
