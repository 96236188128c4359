"""The HTML reports that the page serves: those of nights, and those of looks at live traffic."""

from __future__ import annotations

import re

from fastapi import HTTPException

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.stores import open_run, open_shared
from pipelines.stores.blobs import Folder

RUN_ID = re.compile(r"\d{4}-\d\d-\d\d(-[A-Za-z0-9]+)*")
LOOK = re.compile(r"\d{4}-\d\d-\d\dT\d{6}")
REPORT = "report/report.html"


def night_report(config: Config, run_id: str) -> bytes:
    """The report of a run, wherever `runs_root` lies. Raises HTTPException 404 where there is none."""
    missing = HTTPException(404, f"There is no report of the run {run_id}: it may not have got that far.")
    if not RUN_ID.fullmatch(run_id):
        raise missing
    try:
        run = open_run(config, run_id)
    except InputError:  # a date that does not exist
        raise missing from None
    if run.folder.is_local:
        path = run.folder.path(REPORT)
        if not path.resolve().is_relative_to(path.parents[2].resolve()):  # a link that leads out of runs_root
            raise missing
        return _content(run.folder, REPORT, missing)
    manifest = run.manifest("report")
    if manifest is None:
        raise missing
    return _content(run.folder, manifest.place(manifest.outputs["report"]), missing)


def watch_report(config: Config, name: str) -> bytes:
    """The report of a look at live traffic. Raises HTTPException 404 where there is none."""
    missing = HTTPException(404, f"There is no report of the look {name}: old ones are deleted.")
    if not LOOK.fullmatch(name):
        raise missing
    return _content(open_shared(config), f"watch/{name}.html", missing)


def _content(folder: Folder, path: str, missing: HTTPException) -> bytes:
    try:
        return folder.read_bytes(path)
    except FileNotFoundError:
        raise missing from None
