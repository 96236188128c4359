"""Several gateways: `nightshift gateways` and `nightshift spool deliver HOME`."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli.common import add_command, add_json
from pipelines.core.config import Config

DELIVER = """HOME is the home of a gateway that will not start again, or a copy of it. What it holds and
PostgreSQL does not have yet is stored once. The command may be interrupted and repeated. The spool
stays as it is.

Example:
  nightshift spool deliver /mnt/old-disk/gateway-2 --config config/cluster.toml
"""


def add(commands: Any) -> None:
    """Add the commands."""
    command = add_command(commands, "gateways", "show which gateways live, and what lost ones left", _show)
    command.add_argument(
        "--strike", metavar="ID", help="take this gateway, which is gone, off the list instead"
    )
    add_json(command)
    text = "deliver what a lost gateway left in its spool"
    spool = commands.add_parser("spool", help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parts = spool.add_subparsers(dest="part", metavar="COMMAND", required=True, help="deliver")
    deliver = add_command(parts, "deliver", "store what a lost gateway left in its spool", _deliver)
    deliver.formatter_class, deliver.epilog = argparse.RawDescriptionHelpFormatter, DELIVER
    deliver.add_argument("folder", metavar="HOME", help="the home of the lost gateway")


def _show(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.gateways import print_gateways, strike_gateway

    return strike_gateway(config, args.strike) if args.strike else print_gateways(config, args.json)


def _deliver(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.gateways import deliver_spool

    return deliver_spool(config, args.folder)
