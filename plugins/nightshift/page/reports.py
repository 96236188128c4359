"""The HTML reports that the page serves: those of nights, and those of looks at live traffic."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import HTTPException

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.stores import open_run

RUN_ID = re.compile(r"\d{4}-\d\d-\d\d(-[A-Za-z0-9]+)*")
LOOK = re.compile(r"\d{4}-\d\d-\d\dT\d{6}")
REPORT = "report/report.html"


def night_report(config: Config, run_id: str) -> Path:
    """The report of a run below `runs_root`.

    Raises HTTPException 404 where there is none, and where `runs_root` is not on this machine.
    """
    missing = HTTPException(404, f"There is no report of the run {run_id}: it may not have got that far.")
    if not RUN_ID.fullmatch(run_id):
        raise missing
    try:
        run = open_run(config, run_id).folder
    except InputError:  # a date that does not exist
        raise missing from None
    if not run.is_local:
        raise HTTPException(404, f"Reports are not on this machine. This one is {run.uri}/{REPORT}")
    if not run.exists(REPORT):
        raise missing
    path = run.local(REPORT)
    if not path.resolve().is_relative_to(path.parents[2].resolve()):  # a link that leads out of runs_root
        raise missing
    return path


def watch_report(home: Path, name: str) -> Path:
    """The report of a look at live traffic. Raises HTTPException 404 where there is none."""
    path = home / "watch" / f"{name}.html"
    if not (LOOK.fullmatch(name) and path.is_file()):
        raise HTTPException(404, f"There is no report of the look {name}: old ones are deleted.")
    return path
