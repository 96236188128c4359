"""The command line: `python -m pipelines STEP ...`, and what people ask: status, verify, nights, sample."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from datetime import date
from pathlib import Path

from pipelines.cli import alerts as alert_commands
from pipelines.cli import backtest as backtest_command
from pipelines.cli import rollout as rollout_commands
from pipelines.cli import watch as watch_command
from pipelines.core.config import Config, load_config, parse_override
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.core.errors import NightshiftError
from pipelines.core.results import progress_line

STEP_HELP = {
    "ingest": "read one night's delivery into canonical rows",
    "validate": "hold the rows against the data contract and publish them to the lake",
    "features": "compute features, materialise them online, check parity",
    "drift": "compare the night with the reference window",
    "decide": "train or not, and why",
    "curate": "turn feedback into a clean training set",
    "train": "fine-tune a LoRA adapter",
    "evaluate": "compare candidate and production on the same frozen items",
    "fairness": "measure stereotypes and slices, candidate against production",
    "safety": "measure harm, toxicity and leaked training rows",
    "gate": "one table, one verdict",
    "register": "register the candidate with its evidence",
    "report": "write the night's HTML report",
    "record": "sign the decision into the ledger",
}
log = logging.getLogger("nightshift")
assert set(STEP_HELP) == {*NIGHTLY, *CLOSING}


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 an answer was given (any verdict), 2 an error to act on, 1 a bug."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    logging.getLogger("nightshift").setLevel(logging.INFO)
    warnings.filterwarnings("ignore")  # vendors' deprecations are noise to whoever reads a night's log
    try:
        config = load_config(
            args.config, Path(args.home).resolve(), dict(parse_override(s) for s in args.set)
        )
        return args.run(args, config)
    except NightshiftError as error:
        print(f"fault: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        default=os.environ.get("NIGHTSHIFT_CONFIG", "config/demo.toml"),
        help="profile, a TOML file",
    )
    common.add_argument(
        "--home", default=os.environ.get("NIGHTSHIFT_HOME", ".nightshift"), help="folder of all state"
    )
    common.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, e.g. train.epochs=2",
    )
    parser = argparse.ArgumentParser(
        prog="python -m pipelines", description="Nightshift keeps a deployed LLM good."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for step, text in STEP_HELP.items():
        command = commands.add_parser(step, parents=[common], help=text, description=text)
        command.add_argument(
            "--run-dir", required=True, metavar="URI", help="run folder, named YYYY-MM-DD[-suffix]"
        )
        command.add_argument("--result", metavar="FILE", help="write the step's short answer there, as JSON")
        command.add_argument("--rerun", action="store_true", help="work again even if the step is done")
        command.set_defaults(run=_step, step=step)
    command = commands.add_parser(
        "prepare", parents=[common], help="set up state: sample model and data, databases"
    )
    command.set_defaults(run=_prepare)
    command = commands.add_parser(
        "sample", parents=[common], help="lay out and answer one night of the sample workload"
    )
    command.add_argument(
        "--night", type=date.fromisoformat, help="YYYY-MM-DD; default: the one after the last decided"
    )
    command.set_defaults(run=_sample)
    command = commands.add_parser(
        "nights", parents=[common], help="run nights one after the other, without Airflow"
    )
    command.add_argument("--from", dest="first", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")
    command.add_argument("--to", dest="last", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD")
    command.add_argument(
        "--attempt", type=int, default=1, help="count up to run nights again that are decided (1)"
    )
    command.set_defaults(run=_nights)
    command = commands.add_parser(
        "status", parents=[common], help="the last nights, their decisions and reasons"
    )
    command.add_argument("--json", action="store_true", help="for programs")
    command.add_argument("--run-id", help="this run only, in detail")
    command.add_argument("--limit", type=int, default=14, help="how many nights (14)")
    command.set_defaults(run=_status)
    command = commands.add_parser(
        "verify", parents=[common], help="re-hash manifests, check signatures and the ledger's chain"
    )
    command.set_defaults(run=_verify)
    rollout_commands.add(commands, common)
    watch_command.add(commands, common)
    backtest_command.add(commands, common)
    alert_commands.add(commands, common)
    return parser


def _step(args: argparse.Namespace, config: Config) -> int:
    from pipelines.runner import record_fault, run_step

    try:
        result = run_step(args.step, args.run_dir, config, args.rerun)
    except NightshiftError as error:
        record_fault(args.step, args.run_dir, error)
        raise
    except Exception as error:  # a bug: its traceback first, then the one line that people see in Airflow
        record_fault(args.step, args.run_dir, error)
        log.exception("%s broke", args.step)
        print(f"fault: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(progress_line(result), flush=True)
    for reason in result.reasons:
        print(f"          {reason}", flush=True)
    if args.result:
        Path(args.result).write_text(result.model_dump_json(), encoding="utf-8")
    return 0


def _prepare(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.prepare import prepare

    prepare(config)
    return 0


def _sample(args: argparse.Namespace, config: Config) -> int:
    from pipelines.sample.workload import write_night
    from pipelines.stores import open_ledger

    decided = (decision.night for decision in open_ledger(config).decisions())
    night = args.night or config.sample.next_night(decided)
    write_night(config, night)
    print(night, flush=True)
    return 0


def _nights(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.nights import run_nights

    return run_nights(args, config)


def _status(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.status import print_status

    return print_status(config, args.limit, args.json, args.run_id)


def _verify(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.verify import verify

    return verify(config)
