"""The command line of a rollout: `python -m pipelines rollout-...`."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.results import RolloutResult

HELP = {
    "shadow": "let a candidate answer in the shadow of production",
    "judge": "ask the judge about the stage under way",
    "advance": "go on to the next stage, if the judge agrees",
    "abort": "end the rollout; production stays",
    "rollback": "put back what answered before the last promotion",
    "reconcile": "make MLflow's aliases agree with the ledger",
}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the parser."""
    for name, text in HELP.items():
        command = commands.add_parser(f"rollout-{name}", parents=[common], help=text, description=text)
        command.add_argument("--result", metavar="FILE", help="write the short answer there, as JSON")
        command.add_argument("--actor", default=getpass.getuser(), help="who moves (you)")
        command.add_argument("--run-id", default="", help="the run that this is part of")
        needs_reason = name in ("abort", "rollback")
        command.add_argument("--reason", required=needs_reason, default="", help="why; kept in the ledger")
        if name == "judge":
            command.add_argument("--stage", required=True)
        if name == "advance":
            command.add_argument("--to", required=True, metavar="STAGE", help="a stage, or production")
        if name in ("shadow", "advance", "abort"):
            command.add_argument("--version", default="", required=name == "advance")
        if name in ("advance", "abort"):
            command.add_argument("--digest", default="", required=name == "advance")
        command.set_defaults(run=_run, rollout=name)


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.observability.tracing import command_span, traceparent_of

    with command_span(f"rollout-{args.rollout}") as span:
        result = _ask(args, config, traceparent_of(span))
        span.set_attributes({"nightshift.answer": result.answer, "nightshift.promotion": result.promotion})
    print(f"{result.command:<9} {result.answer:<8} {result.headline}", flush=True)
    for reason in result.reasons:
        print(f"          {reason}", flush=True)
    if args.result:
        Path(args.result).write_text(result.model_dump_json(), encoding="utf-8")
    return 0


def _ask(args: argparse.Namespace, config: Config, traceparent: str) -> RolloutResult:
    from pipelines.core.traffic_split import Adapter
    from pipelines.operations import rollout

    by = rollout.By(args.actor, args.reason, args.run_id, traceparent)
    named = Adapter(args.version, args.digest) if getattr(args, "digest", "") else None
    if args.rollout == "shadow":
        return rollout.begin(config, by, args.version)
    if args.rollout == "judge":
        return rollout.look(config, args.stage)
    if args.rollout == "advance":
        return rollout.advance(config, by, args.to, Adapter(args.version, args.digest))
    if args.rollout == "abort":
        return rollout.abort(config, by, named)
    if args.rollout == "rollback":
        return rollout.rollback(config, by)
    return rollout.repair(config)
