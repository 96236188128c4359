# PYTHON_ARGCOMPLETE_OK
"""The command `nightshift`, also `python -m pipelines`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from typing import Any

from pipelines.cli import (
    admin,
    alerts,
    anchor,
    backtest,
    completion,
    doctor,
    gateways,
    inspect,
    judge,
    migrate,
    rollout,
    steps,
    suite,
    watch,
)
from pipelines.core.config.options import load
from pipelines.core.errors import STOPPED, Interrupted, NightshiftError, UnavailableError
from pipelines.core.home import using_home

ABOUT = """Nightshift keeps a deployed LLM good: it reads what users did, retrains when that is worth it,
checks the result, and promotes it in stages."""
GROUPS = {
    "Your own data": [inspect.add, suite.add, doctor.add],
    "Nights": [admin.add_nights, judge.add],
    "Steps of a night": [steps.add],
    "Rollout": [rollout.add, anchor.add],
    "Several gateways": [gateways.add],
    "Alerts": [alerts.add],
    "Watch and backtest": [watch.add, backtest.add],
    "Administration": [admin.add_upkeep, migrate.add, completion.add],
}
MORE = """Example:
  nightshift nights --from 2026-01-01 --to 2026-01-07
  nightshift status --limit 7

`nightshift COMMAND --help` shows a command's options.
Read on in README.md (a first night) and docs/guide.md (your own logs and model).
"""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 an answer (any verdict), 2 an error to act on, 1 a bug or a server that is away.

    75: the process was asked to stop (SIGTERM); the same command goes on from its checkpoint.
    """
    # Before torch is loaded: its threads must not spin while they wait, or two steps on the same cores
    # (evaluate beside safety, anything beside Airflow) slow each other down twenty-fold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = build_parser()
    completion.complete(parser)
    args = parser.parse_args(arguments)
    if args.command is None:
        parser.print_help()
        return 0
    _log_to_stderr()
    try:
        if "config" not in args:
            return args.run(args, None)
        config = load(args)
        with using_home(config.home, config.retention.cache_gib):
            return args.run(args, config)
    except NightshiftError as error:
        print(f"fault: {error}", file=sys.stderr)
        return _status(error)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __package__.partition(".")[0]:
            raise
        print(f"fault: {error.name} is not installed. Install nightshift[work].", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Every command; the help lists them by group."""
    parser = argparse.ArgumentParser(
        prog="nightshift",
        usage="nightshift COMMAND [OPTIONS]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=MORE,
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", prog="nightshift", help=argparse.SUPPRESS
    )
    parser.description = "\n\n".join([ABOUT, *(_group(commands, title) for title in GROUPS)])
    return parser


def _status(error: NightshiftError) -> int:
    """1 is worth another try, 2 is for a person to mend, STOPPED goes on where it stood."""
    if isinstance(error, Interrupted):
        return STOPPED
    return 1 if isinstance(error, UnavailableError) else 2


def _group(commands: Any, title: str) -> str:
    """Add a group's commands; returns its part of the help."""
    before = len(commands.choices)
    for add in GROUPS[title]:
        add(commands)
    return f"{title}:\n" + "\n".join(
        f"  {action.dest:<20}{action.help}" for action in commands._choices_actions[before:]
    )


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
    )
    logging.getLogger("nightshift").setLevel(logging.INFO)
    warnings.filterwarnings("ignore")  # vendors' deprecations are noise to whoever reads a night's log
