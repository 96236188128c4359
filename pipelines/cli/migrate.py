"""`nightshift migrate`: move the home of one machine to PostgreSQL and S3."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli.common import add_command
from pipelines.core.config import Config, load_config


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(
        commands, "migrate", "move this home to the databases and stores of another profile", _run
    )
    command.add_argument("--to", required=True, metavar="FILE", help="the profile that machines will share")
    command.add_argument("--to-home", metavar="FOLDER", help="its home on this machine (default: --home)")
    command.add_argument(
        "--as", dest="owner", metavar="ROLE", default="", help="PostgreSQL's role that owns the tables"
    )


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.migrate.move import migrate
    from pipelines.operations.verify import verify

    target = load_config(args.to, args.to_home or config.home)
    migrate(config, target, lambda line: print(line, flush=True), args.owner)
    print("verifying what was copied", flush=True)
    return verify(target)
