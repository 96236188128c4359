"""Validate: rows that break the data contract go to quarantine. A night that breaks it holds the loop.

What passes is published into the lake. After a hold the lake holds nothing of this night.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

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
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    """None: everything comes from ingest."""
    return {}


def run(ctx: Context) -> Outcome:
    config, checker, taken_in = ctx.config, Checker(), ctx.facts(IngestFacts)
    lake = open_lake(config)
    with connect(config.ingest.memory_mib, ctx.scratch()) as connection:
        night = NightRows(connection, ctx.read("ingest", "rows"))
        chunks = night.chunks(data_contract.ROW_PROFILE, config.validate_.chunk_rows)
        rules = checker.check(data_contract.row_suite(config), chunks, row="row")
        refused = night.refuse([(rule.reason, rows) for rule in rules for rows in rule.rows if len(rows)])
        log.info("%d of %d rows break a rule", refused, taken_in.kept)
        totals = night.totals(data_contract.NIGHT_PROFILE) | {
            "quarantined_share": (taken_in.quarantined + refused) / max(1, taken_in.read),
        }
        for_night = checker.check_one(data_contract.night_suite(config), totals)
        broken = [_sentence(rule, totals) for rule in for_night if not rule.result.success]
        assert night.write_refused(ctx.out / "quarantine.parquet") == refused
        published = lake.publish(ctx.night, [] if broken else night.passing())
    checker.write_docs(ctx.out / "data_docs", ctx.night, {"rows": rules, "night": for_night})
    assert broken or sum(published.values()) == totals["rows"]
    return Outcome(
        headline=f"{totals['rows']} rows pass, {refused} in quarantine",
        verdict=Verdict.HOLD if broken else Verdict.PROCEED,
        reasons=tuple(broken),
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
