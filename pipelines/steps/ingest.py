"""Ingest: a night's delivery becomes typed rows; each row read is kept, quarantined or dropped for a reason.

Late rows join their own day. The text of people who opted out is written nowhere. The lake is not touched
here: `validate` publishes.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipelines.core.config.data import SAMPLE_FILES
from pipelines.core.contract import Verdict
from pipelines.core.errors import InputError
from pipelines.core.interactions import COLUMNS, REQUIRED
from pipelines.data import delivery, open_lake
from pipelines.data.intake import Intake
from pipelines.data.journal_delivery import deliver
from pipelines.data.lake import Lake, connect
from pipelines.data.scans import Scan, scan
from pipelines.runner import Context, Outcome

SETTINGS = ("ingest",)
WHERE = {"kept": "ingest/rows.parquet", "quarantined": "ingest/quarantine.parquet", "dropped": "nowhere"}
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    """The delivery's bytes, and the part of the lake in which duplicates are looked for."""
    first, before = ctx.night - timedelta(days=ctx.config.ingest.late_days), ctx.night - timedelta(days=1)
    return {
        "delivery": delivery.digest(_source(ctx)),
        "lake": _lake(ctx).digest(first, ctx.night, before),
    }


def run(ctx: Context) -> Outcome:
    settings, names = ctx.config.ingest, delivery.names(_source(ctx))
    if not names:
        return _hold(f"no delivery: nothing at {_source(ctx)}", "No file: is the night's log written yet?")
    with _work_folder(ctx) as work, connect(settings.memory_mib, work) as connection:
        try:
            files = delivery.fetch(_source(ctx), work)
            scans = [scan(connection, f, i, work, settings.max_text_bytes) for i, f in enumerate(files)]
        except InputError as error:
            return _hold("the delivery cannot be read", str(error))
        if missing := _missing(names, scans):
            return _hold("columns are missing", *missing)
        intake = Intake(connection, scans, settings.max_text_bytes)
        answers = intake.classify(ctx.night, settings.late_days, _lake(ctx))
        facts = _account(answers) | {"files": names, "ignored_columns": _ignored(scans)}
        log.info("read %d rows of %d files", facts["read"], len(names))
        assert intake.write_kept(ctx.out / "rows.parquet") == facts["kept"]
        assert intake.write_quarantined(ctx.out / "quarantine.parquet", names) == facts["quarantined"]
        facts["kept_late"] = intake.late_rows(ctx.night)
    empty = facts["read"] == 0
    return Outcome(
        headline=f"{facts['kept']} rows kept of {facts['read']}",
        verdict=Verdict.HOLD if empty else Verdict.PROCEED,
        reasons=("The night is empty: its files hold no rows.",) if empty else (),
        outputs={"rows": "rows.parquet", "quarantine": "quarantine.parquet"},
        metrics={name: (facts[name], "rows") for name in ("read", "kept", "quarantined", "dropped")},
        facts=facts,
    )


def _source(ctx: Context) -> str:
    """Where the delivery lies; the gateway's and the sample's are made here, once."""
    kind = ctx.config.ingest.kind
    if kind == "gateway":
        return str(deliver(ctx.config, ctx.night))
    source = ctx.config.path(SAMPLE_FILES if kind == "sample" else ctx.config.ingest.source, ctx.night)
    if kind == "sample" and not delivery.names(source):
        from pipelines.sample.workload import (
            write_night,  # brings the model along, so only where it has to answer
        )

        write_night(ctx.config, ctx.night)
    return source


def _lake(ctx: Context) -> Lake:
    return open_lake(ctx.config)


@contextmanager
def _work_folder(ctx: Context) -> Iterator[Path]:
    """Copies of the delivery lie here; they may hold the text of people who opted out, so none stays."""
    work = ctx.scratch() / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work)


def _missing(names: list[str], scans: list[Scan]) -> list[str]:
    """A sentence for each file that lacks required columns; a file without any rows lacks nothing."""
    lacks = [
        (name, sorted(set(REQUIRED) - found.columns))
        for name, found in zip(names, scans, strict=True)
        if found.columns
    ]
    return [f"{name} has no column {', '.join(columns)}." for name, columns in lacks if columns]


def _ignored(scans: list[Scan]) -> list[str]:
    return sorted(frozenset().union(*(found.columns for found in scans)) - set(COLUMNS))


def _account(answers: list[tuple[str, str, int]]) -> dict[str, Any]:
    """read = kept + quarantined + dropped, and the table behind it."""
    totals = Counter[str]()
    for answer, _, rows in answers:
        totals[answer] += rows
    table = [
        {"answer": answer, "reason": reason, "rows": rows, "where": WHERE[answer]}
        for answer, reason, rows in answers
    ]
    return {
        "read": totals.total(),
        **{name: totals[name] for name in ("kept", "quarantined", "dropped")},
        "accounting": table,
    }


def _hold(headline: str, *reasons: str) -> Outcome:
    return Outcome(headline=headline, verdict=Verdict.HOLD, reasons=reasons)
