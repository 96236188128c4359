"""Ingest: a night's delivery becomes typed rows. Each row is kept, quarantined or dropped for a reason.

Late rows join their own day. The text of people who opted out is written nowhere. The lake is not touched
here: `validate` publishes.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from pathlib import Path

from pipelines.core.config.data import MOST_LATE_DAYS, SAMPLE_FILES
from pipelines.core.contract import Verdict
from pipelines.core.errors import InputError
from pipelines.core.facts.ingest import FeedbackAccount, IngestFacts
from pipelines.data import delivery, open_lake
from pipelines.data.accounts import Account, feedback_account, reasons_of_nothing, unread_ratings
from pipelines.data.delivered import read_delivery
from pipelines.data.intake import Intake
from pipelines.data.journal_delivery import deliver
from pipelines.data.lake import connect
from pipelines.data.row_reader import RowReader
from pipelines.data.separate_feedback import read_separate_feedback
from pipelines.runner import Context, Outcome

SETTINGS = ("ingest",)
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    """The delivery's bytes, and the part of the lake in which duplicates are looked for."""
    first, before = ctx.night - timedelta(days=ctx.config.ingest.late_days), ctx.night - timedelta(days=1)
    feedback = _feedback_source(ctx)
    return {
        "delivery": delivery.digest(_source(ctx)),
        "lake": open_lake(ctx.config).digest(first, ctx.night, before),
        **({"feedback": delivery.digest(feedback)} if feedback else {}),
    }


def run(ctx: Context) -> Outcome:
    settings, source = ctx.config.ingest, _source(ctx)
    if not delivery.names(source):
        return _hold(f"no delivery: nothing at {source}", "No file: is the night's log written yet?")
    reader = RowReader(ctx.config, ctx.night)
    with _work_folder(ctx) as work, connect(settings.memory_mib, work) as connection:
        try:
            files = read_delivery(source, settings, reader, work)
            told = read_separate_feedback(_feedback_source(ctx), settings, work, connection)
        except InputError as error:
            return _hold("the delivery cannot be read", str(error))
        unusable = [*files.unusable(settings), *(told.unusable if told else ())]
        if unusable or (unusable := unread_ratings(reader.unread_ratings, told, settings)):
            return _hold("columns or ratings cannot be read", *unusable)
        intake = Intake(connection, files.typed, files.opt_out_if_silent)
        days = MOST_LATE_DAYS if reader.defaulted["ts"] else settings.late_days  # nothing says a row's day
        intake.classify(ctx.night, days, open_lake(ctx.config))
        account = Account(intake.accounting(), intake.accounting_by_file(), files.names)
        separate = feedback_account(told, intake)
        log.info("read %d rows of %d files", account.read, len(files.names))
        _warn(separate, settings.feedback)
        again = separate.redelivered if separate else 0
        assert intake.write_kept(ctx.out / "rows.parquet") == account.kept + again
        assert intake.write_quarantined(ctx.out / "quarantine.parquet", files.names) == account.quarantined
        opted_out = intake.write_opted_out(ctx.out / "opted_out.parquet")
        kept_late = intake.late_rows(_midnight(ctx).isoformat())
        reasons = [] if account.kept + again + opted_out else reasons_of_nothing(account, intake)
    return Outcome(
        headline=f"{account.kept} rows kept of {account.read}"
        + (f", and {again} earlier answers with new feedback" if again else ""),
        verdict=Verdict.HOLD if reasons else Verdict.PROCEED,
        reasons=tuple(reasons),
        outputs={
            "rows": "rows.parquet",
            "quarantine": "quarantine.parquet",
            "opted_out": "opted_out.parquet",
        },
        metrics={name: (float(rows), "rows") for name, rows in account.totals.items()},
        facts=IngestFacts(
            **account.totals,
            accounting=account.by_reason,
            files=tuple(files.names),
            ignored_columns=tuple(files.ignored(settings)),
            kept_late=kept_late,
            by_file=account.by_file,
            defaulted=dict(sorted(reader.defaulted.items())),
            opted_out=opted_out,
            feedback=separate,
        ),
    )


def _warn(feedback: FeedbackAccount | None, source: str) -> None:
    """Say it where separate feedback is set up and changes nothing."""
    if feedback is None:
        return
    if not feedback.files:
        log.warning("no file matches ingest.feedback (%s)", source)
    elif feedback.unmatched and feedback.unmatched == feedback.read - sum(feedback.refused.values()):
        log.warning("no request of the separate feedback is in the log of these nights")


def _source(ctx: Context) -> str:
    """Where the delivery lies. A delivery of the gateway or of the sample is made here, once."""
    kind = ctx.config.ingest.kind
    if kind == "gateway":
        return deliver(ctx.config, ctx.night)
    source = ctx.config.path(SAMPLE_FILES if kind == "sample" else ctx.config.ingest.source, ctx.night)
    if kind == "sample" and not delivery.names(source):
        from pipelines.sample.workload import (
            write_night,  # brings the model along, so only where it has to answer
        )

        write_night(ctx.config, ctx.night)
    return source


def _feedback_source(ctx: Context) -> str:
    return ctx.config.path(ctx.config.ingest.feedback, ctx.night)


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


def _midnight(ctx: Context) -> datetime:
    """When the night's day begins."""
    return datetime.combine(ctx.night, time(), ctx.config.ingest.zone)


def _hold(headline: str, *reasons: str) -> Outcome:
    return Outcome(headline=headline, verdict=Verdict.HOLD, reasons=reasons)
