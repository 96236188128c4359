"""`nightshift anchor`: choose the version that no candidate may fall behind."""

from __future__ import annotations

import argparse
import getpass
from typing import Any

from pipelines.cli.common import add_command
from pipelines.core.config import Config


def add(commands: Any) -> None:
    """Add the command. Without a version it shows the anchors."""
    text = "show or choose the version that no candidate may fall behind"
    command = add_command(commands, "anchor", text, _run)
    which = command.add_mutually_exclusive_group()
    which.add_argument("version", nargs="?", default="", help="a registered version")
    which.add_argument(
        "--none", action="store_true", help="from now on only the bare base model is an anchor"
    )
    command.add_argument("--why", default="", help="the reason; kept in the ledger")
    command.add_argument("--actor", default=getpass.getuser(), help="who chooses it (default: you)")


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations import anchor

    if args.version:
        print(anchor.choose_anchor(config, args.version, args.actor, args.why))
    elif args.none:
        print(anchor.remove_anchor(config, args.actor, args.why))
    else:
        print(anchor.shown_anchor(config))
    return 0
