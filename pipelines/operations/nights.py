"""Run nights one after the other without Airflow. Each step is a process of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from pipelines.core.config import Config, parse_override
from pipelines.core.contract import NIGHTLY, Verdict, run_id_for
from pipelines.core.errors import InputError
from pipelines.core.results import StepResult
from pipelines.stores import report_uri, run_uri


def run_nights(args: argparse.Namespace, config: Config) -> int:
    """Run all nights from `args.first` to `args.last`. Stops at the first fault (exit status 2)."""
    if args.last < args.first:
        raise InputError(f"--to {args.last} is before --from {args.first}.", "Swap them.")
    nights = [args.first + timedelta(days=n) for n in range((args.last - args.first).days + 1)]
    overrides = dict(parse_override(text) for text in args.set)
    for number, night in enumerate(nights, start=1):
        print(f"night {night} ({number} of {len(nights)})", flush=True)
        run_id = run_id_for(night, overrides, args.attempt)
        if not _run_night(config, run_id, args):
            return 2
    return 0


def _run_night(config: Config, run_id: str, args: argparse.Namespace) -> bool:
    """All steps until one stops the night, then the closing ones; False after a fault."""
    run_dir = run_uri(config, run_id)
    verdict: Verdict | None = Verdict.PROCEED
    for step in NIGHTLY:
        if verdict is Verdict.PROCEED:
            verdict = _verdict(step, run_dir, args)
    if _verdict("report", run_dir, args):
        print(f"report: {report_uri(config, run_id)}", flush=True)
    return verdict is not None and _verdict("record", run_dir, args) is not None


def _verdict(step: str, run_dir: str, args: argparse.Namespace) -> Verdict | None:
    """The step's verdict, or None after a fault. The command itself prints its headline or the fault."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        if not _succeeds([step, "--run-dir", run_dir, "--result", file.name], args):
            return None
        return StepResult.model_validate_json(Path(file.name).read_bytes()).verdict


def _succeeds(words: list[str], args: argparse.Namespace) -> bool:
    settings = [part for text in args.set for part in ("--set", text)]
    common = ["--config", args.config, "--home", args.home, *settings]
    return subprocess.run([sys.executable, "-m", "pipelines", *words, *common], check=False).returncode == 0
