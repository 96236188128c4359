"""The steps of a night: `nightshift STEP --run-dir URI`."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from pipelines.cli.common import add_command, add_result, show, write_result
from pipelines.core.config import Config
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.core.errors import LeaseLost, NightshiftError, bug_sentences
from pipelines.core.results import progress_line

HELP = {
    "ingest": "read a night's interactions; keep, quarantine or drop each row",
    "validate": "check the rows against the data contract and add them to the lake",
    "features": "compute features and write them to the online store",
    "drift": "compare the night with earlier nights",
    "decide": "decide whether to train, and why",
    "curate": "turn feedback into a clean training set",
    "train": "train a LoRA adapter",
    "evaluate": "compare candidate and production on the same frozen items",
    "fairness": "compare candidate and production for each group of users",
    "safety": "measure refusals, toxicity and leaked training data",
    "gate": "check the candidate against every limit",
    "register": "store the candidate with its evidence in MLflow",
    "report": "write the night's HTML report",
    "record": "sign the night's decision into the ledger",
}
assert set(HELP) == {*NIGHTLY, *CLOSING}
log = logging.getLogger("nightshift")


def add(commands: Any) -> None:
    """Add a command for each step."""
    for step, text in HELP.items():
        command = add_command(commands, step, text, _run)
        command.add_argument(
            "--run-dir", required=True, metavar="URI", help="the run's folder, named YYYY-MM-DD[-suffix]"
        )
        command.add_argument(
            "--rerun", action="store_true", help="do the work again even if the step is done"
        )
        add_result(command)
        command.set_defaults(step=step)


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.runner import record_fault, run_step
    from pipelines.stores.retention import prune

    try:
        result = run_step(args.step, args.run_dir, config, args.rerun)
    except LeaseLost:  # the step's folder belongs to whoever took over
        raise
    except NightshiftError as error:
        record_fault(args.step, args.run_dir, error)
        raise
    except Exception as error:  # a bug: its traceback first, then the line that Airflow and the ledger keep
        record_fault(args.step, args.run_dir, error)
        log.exception("%s broke", args.step)
        print(f"fault: {bug_sentences(error)}", file=sys.stderr)
        return 1
    if args.step == CLOSING[-1]:
        prune(config)
    show(progress_line(result), result.reasons)
    write_result(args, result)
    return 0
