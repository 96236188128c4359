"""A tiny night with its real steps: what it needs, and the same night in processes, for comparison.

`python -m tests.support.real_night FOLDER REDIS_PORT`, in the work environment, makes the model, the night's
delivery and the suite, sets up `FOLDER/pods.toml` too, and runs the night in processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

from pipelines.core.contract import CLOSING, NIGHTLY

PROJECT = Path(__file__).parents[2]
NIGHT = date(2026, 1, 1)
STEPS = (*NIGHTLY, *CLOSING)


def tables(folder: Path, redis: str, registry: str) -> str:
    """The tables of a profile: the tiny night's, with everything it reads in `folder`."""
    tiny = (PROJECT / "tests/support/tiny.toml").read_text().replace('profile = "tiny"\n', "")
    delivered = f"{folder}/processes/sample/interactions/dt={{night}}/*.parquet"
    return tiny.replace("[evaluate]", f'[evaluate]\nsuite = "{folder}/suite.jsonl"') + (
        f'\n[model]\nbase = "{folder}/base"\n[ingest]\nkind = "files"\nsource = "{delivered}"\n'
        f'[features]\nonline_url = "{redis}"\nregistry_url = "{registry}"\nsync_schedule = ""\n'
    )


def processes(folder: Path) -> list[str]:
    """The options of a command that belongs to the night in processes."""
    return ["--home", str(folder / "processes"), "--config", str(folder / "processes.toml")]


def start(folder: Path, redis_port: int) -> subprocess.Popen[bytes]:
    """The night in processes, in the work environment, beside whatever the caller does.

    It has one thread, as its pods have one core: on some processors two threads add up in another order.
    """
    python = str(PROJECT / ".venv/bin/python")
    program = [python, "-m", "tests.support.real_night", str(folder), str(redis_port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "processes.log").open("w") as output:
        return subprocess.Popen(
            program, cwd=PROJECT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def write_program(folder: Path) -> Path:
    """The program `nightshift` of the image of the work plane."""
    folder.mkdir(parents=True, exist_ok=True)
    line = f'cd {PROJECT} && exec .venv/bin/python -m pipelines "$@"'  # a pod has its own /tmp: no `cwd`
    (folder / "nightshift").write_text(f"#!/bin/sh\n{line}\n")
    (folder / "nightshift").chmod(0o755)
    return folder


def main(folder: Path, redis_port: str) -> None:
    from pipelines.cli.main import main as nightshift
    from tests.support import tiny
    from tests.support.kept import share_heads

    profile, where = folder / "processes.toml", processes(folder)
    made = tables(folder, f"redis://127.0.0.1:{redis_port}/2", f"sqlite:///{folder}/processes/feast.db")
    profile.write_text(f'profile = "processes"\nkeys = "{folder}/keys"\n{made}')
    tiny.make_base(folder / "base")
    share_heads(folder / "processes")
    for command in (["prepare"], ["sample", "--night", str(NIGHT)]):
        assert nightshift([*command, *where, '--set=ingest.kind="sample"', '--set=ingest.source=""']) == 0
    assert (
        nightshift(["prepare", "--home", str(folder / "other"), "--config", str(folder / "pods.toml")]) == 0
    )
    for step in STEPS:
        assert nightshift([step, f"--run-dir={folder}/processes/runs/{NIGHT}", *where]) == 0, step


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
