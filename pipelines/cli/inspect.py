"""A look at one's own log: `nightshift inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipelines.cli.common import add_json

EPILOG = """Example:
  nightshift inspect chats.jsonl --feedback thumbs.csv --write config/mine.toml
"""


def add(commands: Any) -> None:
    """Add the command. It needs no configuration."""
    text = "look at a log: what it holds, how it would be read, what would be kept"
    command = commands.add_parser(
        "inspect",
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="JSON lines, JSON, CSV or Parquet, packed or not; of a folder or pattern the first file",
    )
    command.add_argument(
        "--feedback", metavar="FILE", type=Path, help="feedback that comes apart from the answers"
    )
    command.add_argument(
        "--encoding", default="", metavar="NAME", help="of a text that is not UTF-8, such as windows-1252"
    )
    command.add_argument("--write", metavar="FILE", type=Path, help="write the profile to start from there")
    add_json(command)
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace, _: object) -> int:
    from pipelines.operations.inspect.run import inspect

    return inspect(args.file, args.feedback, args.encoding, args.write, args.json)
