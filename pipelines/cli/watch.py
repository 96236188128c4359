"""The command line of the hourly look: `python -m pipelines watch`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.results import progress_line

HELP = "look at live traffic once: drift, feedback, errors, latency, features"


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser."""
    command = commands.add_parser("watch", parents=[common], help=HELP, description=HELP)
    command.add_argument("--run-id", default="", help="recorded once under this name (the time)")
    command.add_argument("--result", metavar="FILE", help="write the short answer there, as JSON")
    command.set_defaults(run=_run)


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.observability.tracing import command_span
    from pipelines.operations.watch.look import watch

    with command_span("watch") as span:
        result = watch(config, args.run_id)
        span.set_attributes({"nightshift.verdict": result.verdict, "nightshift.seconds": result.seconds})
    print(progress_line(result), flush=True)
    for reason in result.reasons:
        print(f"          {reason}", flush=True)
    print(f"          {result.manifest_uri}", flush=True)
    if args.result:
        Path(args.result).write_text(result.model_dump_json(), encoding="utf-8")
    return 0
