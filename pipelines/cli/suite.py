"""The evaluation suite: `nightshift suite propose`, `review` and `renew`."""

from __future__ import annotations

import argparse
import getpass
from typing import Any

from pipelines.cli.common import add_command, add_json
from pipelines.core.config import Config

PROPOSE = """Without FILE the items come from the lake. The first suite is written at once. Items for a
suite that is there wait until a person has accepted them and `nightshift suite renew` brings them in.

Example:
  nightshift suite propose logs/2026-11-27/chat.jsonl --items 200
  nightshift suite propose --items 3000 --pool
"""
REVIEW = """Airflow's page *Evaluation suite* does the same. The suite's file stays as it is until
`nightshift suite renew`.

Example:
  nightshift suite review
  nightshift suite review show 3f2a9c
  nightshift suite review accept 3f2a9c 81b0d4
  nightshift suite review accept 77c1e0 --answer Surgery
  nightshift suite review drop 5e90aa
"""
RENEW = """Items that people dropped leave, edited ones get their answer, and accepted ones fill the gaps.
With --share further accepted items replace those that are longest in the suite. The earlier suite is kept.

Example:
  nightshift suite renew --share 0.2
"""
ACTIONS = ("list", "show", "accept", "drop", "reopen")


def add(commands: Any) -> None:
    """Add the command `suite` with its own commands."""
    text = "propose, review and renew the items of the evaluation suite"
    suite = commands.add_parser("suite", help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parts = suite.add_subparsers(dest="part", metavar="COMMAND", required=True, help="propose, review, renew")
    _add_propose(parts)
    _add_review(parts)
    _add_renew(parts)


def _add_propose(parts: Any) -> None:
    propose = add_command(parts, "propose", "draw evaluation items from a log, in proportion", _propose)
    propose.formatter_class, propose.epilog = argparse.RawDescriptionHelpFormatter, PROPOSE
    propose.add_argument("file", nargs="?", metavar="FILE", help="a log: a file, folder, glob or URI")
    propose.add_argument(
        "--items", type=int, default=200, help="how many items to draw at most (default: %(default)s)"
    )
    propose.add_argument("--to", metavar="PATH", help="where to write them (default: evaluate.suite)")
    propose.add_argument(
        "--pool", action="store_true", help="write to evaluate.pool instead of evaluate.suite"
    )
    add_json(propose)


def _add_review(parts: Any) -> None:
    review = add_command(
        parts, "review", "list, accept, edit or drop items that nobody has reviewed", _review
    )
    review.formatter_class, review.epilog = argparse.RawDescriptionHelpFormatter, REVIEW
    review.add_argument(
        "action", nargs="?", choices=ACTIONS, default="list", help="what to do (default: %(default)s)"
    )
    review.add_argument("items", nargs="*", metavar="ITEM", help="the beginning of an item's digest")
    review.add_argument("--answer", help="with accept: the right answer of the one item")
    review.add_argument("--actor", default=getpass.getuser(), help="who reviews (default: you)")
    add_json(review)


def _add_renew(parts: Any) -> None:
    renew = add_command(
        parts, "renew", "bring reviewed items into the suite, and replace a part of it", _renew
    )
    renew.formatter_class, renew.epilog = argparse.RawDescriptionHelpFormatter, RENEW
    renew.add_argument(
        "--share", type=float, default=0.0, help="of the suite, that new items replace (default: %(default)s)"
    )
    renew.add_argument("--actor", default=getpass.getuser(), help="who renews it (default: you)")
    add_json(renew)


def _propose(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.suite.command import propose_suite

    return propose_suite(config, args.file, args.items, args.to, args.json, args.pool)


def _review(args: argparse.Namespace, config: Config) -> int:
    from pipelines.core.errors import InputError
    from pipelines.operations.suite import review

    if args.action == "list":
        return review.list_unreviewed(config, args.json)
    if not args.items or (args.action == "show" and len(args.items) > 1):
        raise InputError(f"`{args.action}` needs an item.", "`nightshift suite review` lists their names.")
    if args.action == "show":
        return review.show_item(config, args.items[0])
    return review.review_items(config, args.action, args.items, args.actor, args.answer)


def _renew(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.suite.renew import renew_suite

    return renew_suite(config, args.share, args.actor, args.json)
