"""The command line of a rollout: `python -m pipelines rollout-...`."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path
from typing import Any

from pipelines.config import Config

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
    from pipelines import rollout
    from pipelines.policy.route import Adapter

    by = rollout.By(args.actor, args.reason, args.run_id)
    named = Adapter(args.version, args.digest) if getattr(args, "digest", "") else None
    if args.rollout == "shadow":
        result = rollout.begin(config, by, args.version)
    elif args.rollout == "judge":
        result = rollout.look(config, args.stage)
    elif args.rollout == "advance":
        result = rollout.advance(config, by, args.to, Adapter(args.version, args.digest))
    elif args.rollout == "abort":
        result = rollout.abort(config, by, named)
    elif args.rollout == "rollback":
        result = rollout.rollback(config, by)
    else:
        result = rollout.repair(config)
    print(f"{result.command:<9} {result.answer:<8} {result.headline}", flush=True)
    for reason in result.reasons:
        print(f"          {reason}", flush=True)
    if args.result:
        Path(args.result).write_text(result.model_dump_json(), encoding="utf-8")
    return 0
