"""A stand-in for the work plane, in tests only: it obeys the command line and writes manifests.

What a step answers is said by `<home>/script.json`: {"decide": "hold", "train": "fault", "curate": "crash"}.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipelines.core.contract import FAULT_NAME, MANIFEST_NAME, Fault, night_of
from pipelines.core.results import RolloutResult, StepResult
from tests.support.manifests import make_manifest

WORDS = {"skip": "Nothing new to learn.", "hold": "A person should look.", "reject": "Not better."}


def write_interpreter(path: Path) -> Path:
    """A program that answers `PYTHON -m pipelines ARGS` with this stand-in."""
    path.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {__file__} "$@"\n')
    path.chmod(0o755)
    return path


def write_program(folder: Path) -> Path:
    """A program `nightshift` that is this stand-in, as in the image of the work plane."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nightshift").write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} "$@"\n')
    (folder / "nightshift").chmod(0o755)
    return folder


def main() -> int:
    args = _arguments()
    args.home = os.environ.get("STANDIN_HOME", args.home)  # a pod has a home of its own, without a script
    Path(args.result or ".").parent.mkdir(parents=True, exist_ok=True)
    if args.step == "sample":
        print(_next_night(Path(args.home)))
        return 0
    if args.step == "status":
        print("decision      (stand-in)")
        return 0
    if args.step.startswith("rollout-"):
        return _rollout(args)
    home, run = Path(args.home), Path(args.run_dir)
    script = json.loads((home / "script.json").read_text()) if (home / "script.json").exists() else {}
    said = str(script.get(args.step, "proceed"))
    print(f"{args.step} works with {args.set}", file=sys.stderr, flush=True)
    with (home / "calls.txt").open("a") as calls:
        calls.write(f"{args.step} {run.name} {' '.join(args.set)}\n")
    if said.startswith("sleep"):
        (home / f"{args.step}.pid").write_text(str(os.getpid()))
        if said == "sleep deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if said == "wait":  # for the file `go`
        (home / f"{args.step}.pid").write_text(str(os.getpid()))
        while not (home / "go").exists():
            time.sleep(0.1)
        said = "proceed"
    if said in ("fault", "crash"):
        return _break(args.step, run, said)
    _finish(args.step, run, said, Path(args.result))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("step")
    parser.add_argument("--run-dir")
    parser.add_argument("--home")
    parser.add_argument("--config")
    parser.add_argument("--result")
    parser.add_argument("--run-id")
    parser.add_argument("--set", action="append", default=[])
    for name in ("version", "digest", "actor", "reason", "stage", "to"):
        parser.add_argument(f"--{name}", default="")
    return parser.parse_args()


def _rollout(args: argparse.Namespace) -> int:
    """Answers as the script says under the command's name, or `judge <stage>`, or `advance <to>`."""
    home, command = Path(args.home), args.step.removeprefix("rollout-")
    script = json.loads((home / "script.json").read_text()) if (home / "script.json").exists() else {}
    key = f"{command} {args.stage or args.to}".strip()
    usual = {"shadow": "nothing", "judge": "promote"}.get(command, "moved")
    answer = script.get(key, usual)
    if isinstance(answer, list):  # one answer a call; the last one stays
        answer, script[key] = answer[0], answer[1:] or answer
        (home / "script.json").write_text(json.dumps(script))
    with (home / "rollouts.txt").open("a") as calls:
        calls.write(json.dumps({"key": key, **vars(args)}) + "\n")
    if answer == "fault":
        print("fault: It rains. Take an umbrella.", file=sys.stderr, flush=True)
        return 2
    result = RolloutResult(
        command=command,
        answer=answer,
        reasons=("It rained.",) if answer == "abort" else (),
        headline=f"{key}: {answer}",
        version=args.version or "3",
        digest=args.digest or "d" * 64,
        promotion=1,
        evidence={"night": "2026-01-01", "report": str(home / "runs/2026-01-01/report/report.html")},
    )
    Path(args.result).write_text(result.model_dump_json())
    return 0


def _next_night(home: Path) -> date:
    done = [night_of(path.parent.parent.name) for path in home.glob(f"runs/*/record/{MANIFEST_NAME}")]
    return max(done) + timedelta(days=1) if done else date(2026, 1, 1)


def _break(step: str, run: Path, said: str) -> int:
    message = f"It rains in {step}. Take an umbrella."
    fault = Fault(step=step, error="InputError", message=message, at=datetime.now(UTC))
    (run / step).mkdir(parents=True, exist_ok=True)
    (run / step / FAULT_NAME).write_text(fault.model_dump_json())
    if said == "crash":
        raise RuntimeError(message)
    print(f"fault: {message}", file=sys.stderr, flush=True)
    return 2


def _finish(step: str, run: Path, verdict: str, result: Path) -> None:
    reasons = (WORDS[verdict],) if verdict in WORDS else ()
    manifest = make_manifest(step, run.name, verdict=verdict, reasons=reasons)
    target = run / step / MANIFEST_NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    reused = target.exists()
    target.write_text(manifest.model_dump_json())
    answer = StepResult(
        step=step,
        verdict=verdict,
        reasons=reasons,
        headline=manifest.headline,
        manifest_uri=str(target),
        seconds=0.01,
        reused=reused,
    )
    result.write_text(answer.model_dump_json())


if __name__ == "__main__":
    sys.exit(main())
