"""Validate: rows that break the data contract go to quarantine. A night that breaks it holds the loop.

What passes is published into the lake, also on a quiet night. After a hold the lake holds nothing of this
night, but who opted out is left out of every reading all the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import date, timedelta
from typing import Any

import numpy as np
from pyarrow.parquet import read_table

from pipelines.core.contract import Verdict
from pipelines.core.facts.ingest import IngestFacts
from pipelines.core.facts.validate import RuleFinding, ValidateFacts
from pipelines.data import open_lake
from pipelines.data.lake import connect
from pipelines.data.quality import contract as data_contract
from pipelines.data.quality.expectations import Checker, Rule
from pipelines.data.quality.profile import NightRows
from pipelines.runner import Context, Outcome

SETTINGS = ("validate", "ingest")
DAYS = 3  # with rows before the night, for what a column looks like when it is not stuck
REASONS = 3  # of the commonest are told
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    """The nights before, which say what a column looks like when it is not stuck."""
    days = _days_before(ctx)
    return {"lake": open_lake(ctx.config).digest(days[0], days[-1], _before(ctx)) if days else ""}


def run(ctx: Context) -> Outcome:
    config, checker, taken_in = ctx.config, Checker(), ctx.facts(IngestFacts)
    lake = open_lake(config)
    with connect(config.ingest.memory_mib, ctx.scratch()) as connection:
        night = NightRows(connection, ctx.read("ingest", "rows"))
        chunks = night.chunks(data_contract.ROW_PROFILE, config.validate_.chunk_rows)
        rules = checker.check(data_contract.row_suite(config), chunks, row="row")
        refused = night.refuse([(rule.reason, rows) for rule in rules for rows in rule.rows if len(rows)])
        again = taken_in.feedback.redelivered if taken_in.feedback else 0
        log.info("%d of %d rows break a rule", refused, taken_in.kept + again)
        totals = night.totals(data_contract.NIGHT_PROFILE) | {
            "quarantined_share": (taken_in.quarantined + refused) / max(1, taken_in.read),
        }
        quiet = totals["rows"] < config.validate_.min_rows
        for_night = checker.check_one(data_contract.night_suite(config, [] if quiet else _moved(ctx)), totals)
        broken = [_sentence(rule, totals) for rule in for_night if not rule.result.success]
        assert night.write_refused(ctx.out / "quarantine.parquet") == refused
        lake.remove(ctx.night, read_table(ctx.read("ingest", "opted_out")))  # first: nobody reads their rows
        published = lake.publish(ctx.night, [] if broken else night.passing())
    checker.write_docs(ctx.out / "data_docs", ctx.night, {"rows": rules, "night": for_night})
    assert broken or sum(published.values()) == totals["rows"]
    verdict, reasons = _verdict(ctx, totals, broken, _commonest(taken_in, rules))
    return Outcome(
        headline=f"{totals['rows']} rows pass, {refused} in quarantine{', none published' if broken else ''}",
        verdict=verdict,
        reasons=tuple(reasons),
        outputs={"quarantine": "quarantine.parquet", "data_docs": "data_docs"},
        metrics={
            "passed": (totals["rows"], "rows"),
            "quarantined": (refused, "rows"),
            "quarantined_share": (round(totals["quarantined_share"], 6), "share of rows read"),
        },
        facts=ValidateFacts(
            night=totals,
            quarantined=refused,
            rules=tuple(_finding(rule) for rule in rules),
            published={str(day): rows for day, rows in published.items()},
            where={"passed": "the lake", "quarantined": "validate/quarantine.parquet"},
        ),
    )


def _verdict(
    ctx: Context, totals: dict[str, Any], broken: list[str], commonest: str
) -> tuple[Verdict, list[str]]:
    """Hold a broken night. The rows of a quiet one are in the lake, and a later night decides on them."""
    least = ctx.config.validate_.min_rows
    if broken:
        return Verdict.HOLD, [*broken, commonest] if commonest else broken
    if totals["rows"] < least:
        said = f"{totals['rows']} clean rows came, fewer than validate.min_rows ({least})."
        return Verdict.SKIP, [f"{said} They are in the lake, and a later night decides on them."]
    return Verdict.PROCEED, []


def _commonest(taken_in: IngestFacts, rules: list[Rule]) -> str:
    """The commonest reasons why rows are in quarantine."""
    rows = Counter({one.reason: one.rows for one in taken_in.accounting if one.answer == "quarantined"})
    rows.update({rule.reason: rule.failed for rule in rules if rule.failed})
    told = ", ".join(f"{reason} ({count} rows)" for reason, count in rows.most_common(REASONS))
    return f"The commonest reasons: {told}." if told else ""


def _moved(ctx: Context) -> list[str]:
    """The measures that were no constant in the nights before."""
    days = _days_before(ctx)
    if not days:
        return []
    sql = f"SELECT {data_contract.HISTORY_PROFILE} FROM interactions"
    (found,) = open_lake(ctx.config).query(sql, days[0], days[-1], _before(ctx)).to_pylist()
    return [name for name, moved in found.items() if moved]


def _days_before(ctx: Context) -> list[date]:
    """The last days before the night that have rows."""
    return [day for day in open_lake(ctx.config).days(_before(ctx)) if day < ctx.night][-DAYS:]


def _before(ctx: Context) -> date:
    return ctx.night - timedelta(days=1)


def _sentence(rule: Rule, totals: dict[str, Any]) -> str:
    """Why the night holds: the rule's reason, what was found, what was allowed."""
    low, high = rule.settings.get("min_value"), rule.settings.get("max_value")
    allowed = f"at least {low}" if high is None else f"at most {high}"
    column = rule.settings["column"]
    return f"{rule.reason}: {column} is {totals[column]:.6g}, {allowed} is allowed."


def _finding(rule: Rule) -> RuleFinding:
    return RuleFinding(
        reason=rule.reason,
        column=rule.settings["column"],
        rows=rule.failed,
        first_rows=tuple(int(row) for row in np.concatenate(rule.rows)[:5]),
    )
