"""Ingest: a night's delivery becomes typed rows. Each row is kept, quarantined or dropped for a reason.

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

from pipelines.core.config.data import SAMPLE_FILES
from pipelines.core.contract import Verdict
from pipelines.core.errors import InputError
from pipelines.core.facts.ingest import Accounted, IngestFacts
from pipelines.core.interactions import COLUMNS, REQUIRED
from pipelines.data import delivery, open_lake
from pipelines.data.intake import Intake
from pipelines.data.journal_delivery import deliver
from pipelines.data.lake import connect
from pipelines.data.scans import Scan, scan
from pipelines.runner import Context, Outcome

SETTINGS = ("ingest",)
WHERE = {
    "kept": "ingest/rows.parquet",
    "quarantined": "ingest/quarantine.parquet",
    "dropped": "nowhere",
}
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    """The delivery's bytes, and the part of the lake in which duplicates are looked for."""
    first, before = ctx.night - timedelta(days=ctx.config.ingest.late_days), ctx.night - timedelta(days=1)
    return {
        "delivery": delivery.digest(_source(ctx)),
        "lake": open_lake(ctx.config).digest(first, ctx.night, before),
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
        sorted_rows = intake.classify(ctx.night, settings.late_days, open_lake(ctx.config))
        accounting, totals = _account(sorted_rows)
        log.info("read %d rows of %d files", totals.total(), len(names))
        assert intake.write_kept(ctx.out / "rows.parquet") == totals["kept"]
        assert intake.write_quarantined(ctx.out / "quarantine.parquet", names) == totals["quarantined"]
        kept_late = intake.late_rows(ctx.night)
    read = totals.total()
    return Outcome(
        headline=f"{totals['kept']} rows kept of {read}",
        verdict=Verdict.PROCEED if read else Verdict.HOLD,
        reasons=() if read else ("The night is empty: its files hold no rows.",),
        outputs={"rows": "rows.parquet", "quarantine": "quarantine.parquet"},
        metrics={"read": (float(read), "rows"), **{name: (float(totals[name]), "rows") for name in WHERE}},
        facts=IngestFacts(
            read=read,
            kept=totals["kept"],
            quarantined=totals["quarantined"],
            dropped=totals["dropped"],
            accounting=accounting,
            files=tuple(names),
            ignored_columns=tuple(_ignored(scans)),
            kept_late=kept_late,
        ),
    )


def _source(ctx: Context) -> str:
    """Where the delivery lies. A delivery of the gateway or of the sample is made here, once."""
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


@contextmanager
def _work_folder(ctx: Context) -> Iterator[Path]:
    """A folder for copies of the delivery. They may hold the text of people who opted out, so none stays."""
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


def _account(sorted_rows: list[tuple[str, str, int]]) -> tuple[tuple[Accounted, ...], Counter[str]]:
    """The table of (answer, reason, rows), and the rows by answer: read = kept + quarantined + dropped."""
    totals = Counter[str]()
    for answer, _, rows in sorted_rows:
        totals[answer] += rows
    accounting = tuple(
        Accounted(answer=answer, reason=reason, rows=rows, where=WHERE[answer])
        for answer, reason, rows in sorted_rows
    )
    return accounting, totals


def _hold(headline: str, *reasons: str) -> Outcome:
    return Outcome(headline=headline, verdict=Verdict.HOLD, reasons=reasons)
