"""Moves of a rollout: `nightshift rollout-...`."""

from __future__ import annotations

import argparse
import getpass
from typing import Any

from pipelines.cli.common import add_command, add_result, show, write_result
from pipelines.core.config import Config
from pipelines.core.results import RolloutResult

HELP = {
    "shadow": "start a rollout: the candidate answers copies of requests, unseen by users",
    "judge": "analyse the evidence of the stage under way",
    "advance": "go on to the next stage, if the analysis allows it",
    "abort": "end the rollout; production stays as it is",
    "rollback": "undo the last promotion",
    "reconcile": "make MLflow's aliases agree with the ledger",
}


def add(commands: Any) -> None:
    """Add a command for each move."""
    for move, text in HELP.items():
        command = add_command(commands, f"rollout-{move}", text, _run)
        command.add_argument("--actor", default=getpass.getuser(), help="who does it (default: you)")
        command.add_argument("--run-id", default="", help="the run that this is part of")
        needs_reason = move in ("abort", "rollback")
        command.add_argument("--reason", required=needs_reason, default="", help="why; kept in the ledger")
        _add_target(command, move)
        add_result(command)
        command.set_defaults(rollout=move)


def _add_target(command: argparse.ArgumentParser, move: str) -> None:
    """Which stage and which candidate a move is about."""
    if move == "judge":
        command.add_argument("--stage", required=True, help="a stage of [promote]")
    if move == "advance":
        command.add_argument("--to", required=True, metavar="STAGE", help="a stage, or production")
    if move in ("shadow", "advance", "abort"):
        command.add_argument("--version", default="", required=move == "advance", help="of the candidate")
    if move in ("advance", "abort"):
        command.add_argument("--digest", default="", required=move == "advance", help="of the candidate")


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.observability.tracing import command_span, traceparent_of

    with command_span(f"rollout-{args.rollout}") as span:
        result = _ask(args, config, traceparent_of(span))
        span.set_attributes({"nightshift.answer": result.answer, "nightshift.promotion": result.promotion})
    show(f"{result.command:<9} {result.answer:<8} {result.headline}", result.reasons)
    write_result(args, result)
    return 0


def _ask(args: argparse.Namespace, config: Config, traceparent: str) -> RolloutResult:
    from pipelines.core.traffic_split import Adapter
    from pipelines.operations import rollout

    provenance = rollout.Provenance(args.actor, args.reason, args.run_id, traceparent)
    named = Adapter(args.version, args.digest) if getattr(args, "digest", "") else None
    if args.rollout == "shadow":
        return rollout.start_shadow(config, provenance, args.version)
    if args.rollout == "judge":
        return rollout.assess_stage(config, args.stage)
    if args.rollout == "advance":
        return rollout.advance(config, provenance, args.to, Adapter(args.version, args.digest))
    if args.rollout == "abort":
        return rollout.abort(config, provenance, named)
    if args.rollout == "rollback":
        return rollout.rollback(config, provenance)
    return rollout.repair(config)
