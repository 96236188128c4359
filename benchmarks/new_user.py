"""A new user's first session with their own data, as the guide shows it: from a log to a decided night.

    .venv/bin/python -m benchmarks.new_user [--base FOLDER] [--rows 2000] [--keep FOLDER]

It writes a log as a user has it (OpenAI-format JSONL, and a CSV of thumbs), runs the commands that the guide
names, and prints each with what it says and how long it takes. The base model is the sample's.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import TextIO

from benchmarks.machine import describe
from pipelines.sample.packaged import convert_smollm2
from tests.support.openai_log import write_log

ROOT = Path(__file__).parents[1]
DAY = date(2026, 11, 27)
LABELS = ("Anatomy", "Dental", "Pharmacology", "Surgery")
LAPTOP = ROOT / "config" / "demo.toml"  # its sizes are a laptop's
SIZES = ("train", "evaluate", "fairness", "safety", "gate")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", help="the base model: a folder (default: the packaged one)")
    parser.add_argument("--rows", type=int, default=2_000, help="rows of the log (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="work in this folder, and keep it")
    args = parser.parse_args()
    print(f"machine: {describe()}")
    with tempfile.TemporaryDirectory(prefix="new-user-") as folder:
        place = args.keep or Path(folder)
        base = args.base or str(place / "smollm2-135m-instruct")
        if not args.base:
            convert_smollm2(Path(base))
        return session(place, base, args.rows, sizes_of(LAPTOP.read_text("utf-8")))


def session(folder: Path, base: str, rows: int, sizes: str, out: TextIO = sys.stdout) -> int:
    """Run the session in `folder`; what the user sees goes to `out`. Returns the first exit status but 0."""
    write_log(folder, DAY, rows, LABELS)
    profile = folder / "mine.toml"
    commands = ["nightshift inspect chat.jsonl --feedback thumbs.csv --write mine.toml"]
    after = [
        "nightshift suite propose chat.jsonl --items 200",
        "nightshift doctor",
        f'make -C {ROOT} nightly ARGS="--night {DAY}"',
    ]
    for command in [*commands, *after]:
        if status := _run(command, folder, profile, out):
            return status
        if command in commands:
            adapt(profile, base, sizes)
    return 0


def adapt(profile: Path, base: str, sizes: str) -> None:
    """What the user does by hand: name the base model, and set the sizes of a laptop."""
    text = re.sub(r"^base = .*$", f'base = "{base}"', profile.read_text("utf-8"), flags=re.MULTILINE)
    for section, lines in re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", sizes, re.MULTILINE | re.DOTALL):
        head = f"[{section}]\n"
        text = text.replace(head, head + lines) if head in text else f"{text}\n{head}{lines}"
    profile.write_text(text, "utf-8")


def sizes_of(profile: str) -> str:
    """The sections of another profile that say how much each step looks at."""
    sections = re.findall(r"^\[\w+\]\n.*?(?=^\[|\Z)", profile, re.MULTILINE | re.DOTALL)
    return "\n".join(one for one in sections if one[1:].partition("]")[0] in SIZES)


def _run(command: str, folder: Path, profile: Path, out: TextIO) -> int:
    print(f"\n$ {command}", file=out, flush=True)
    environment = os.environ | {
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "NIGHTSHIFT_CONFIG": str(profile),
        "NIGHTSHIFT_HOME": str(folder / "home"),
    }
    began = time.monotonic()
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False
    )
    print(f"({time.monotonic() - began:.1f} s)", file=out, flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
