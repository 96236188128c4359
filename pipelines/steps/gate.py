"""One table, one verdict: is tonight's candidate registered? The rules are in policy/night/gate.py."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from pipelines.core.contract import Verdict, digest_of
from pipelines.core.facts.common import Waiting
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.gate import Check, GateFacts, GateReadings
from pipelines.core.facts.record import decision_facts
from pipelines.evaluation.waiting import pair_digest
from pipelines.policy.night.claim import fresh_rows, waiting_facts
from pipelines.policy.night.gate import check_candidate
from pipelines.policy.night.level import Asks, earlier_asks, level_tonight, promise
from pipelines.policy.night.measured import Measured, measured
from pipelines.runner import Context, Outcome
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Decision

SETTINGS = ("gate",)


def external_inputs(ctx: Context) -> dict[str, str]:
    """The nights on which runs decided before this one asked a suite: reruns of a night count too."""
    asks = _asks(ctx, measured(ctx.inputs))
    return {"earlier_asks": digest_of([asks.of_suite, *map(str, asks.nights)])}


def run(ctx: Context) -> Outcome:
    settings, decided, found = ctx.config.gate, ctx.facts(DecideFacts), measured(ctx.inputs)
    baseline, asks = decided.baseline, _asks(ctx, found)
    level, waiting = level_tonight(settings, asks), decided.waiting
    table, verdict = check_candidate(baseline.kind, found, settings, asks, decided.anchors, waiting)
    rows = [_without_clock(check) for check in table]
    by_name = {check.check: check for check in table}
    improvement = by_name["improvement"]
    return Outcome(
        headline=_headline(verdict, improvement, found.evaluate.measure),
        verdict=verdict,
        reasons=tuple(f"{row.check}: {row.answer} ({row.detail})" for row in rows if row.answer != "pass"),
        metrics={} if improvement.value is None else {"improvement": (improvement.value, "share")},
        readings=GateReadings(latency=_rounded(by_name["latency"])),
        facts=GateFacts(
            rows=tuple(_rounded(row) for row in rows),
            asks_before=asks.of_suite,
            alpha_tonight=waiting.level if waiting else level,
            promise=promise(settings),
            suite_digest=found.evaluate.suite_digest,
            baseline=baseline,
            waiting=_waiting(ctx, found, level) if verdict is Verdict.WAIT else None,
        ),
    )


def _waiting(ctx: Context, found: Measured, level: float) -> Waiting:
    """The candidate with the fresh rows that it has, for the next night."""
    decided = ctx.facts(DecideFacts)
    fresh = fresh_rows(found, ctx.config.gate, level, decided.waiting)
    assert fresh, "a candidate without fresh rows does not wait"
    return Waiting(
        **waiting_facts(fresh),
        run_id=decided.waiting.run_id if decided.waiting else ctx.run.run_id,
        last_night=ctx.night,
        pair=pair_digest(ctx.config, decided.baseline),
    )


def asks_before(decided: Iterable[Decision], night: date, found: Measured) -> Asks:
    """The questions of the runs decided before the one of `night`, which asked the suite of `found`.

    A suite of which a part was renewed is the same one: what shares an item with tonight's counts. Older
    versions wrote down the digest of the suite's file, today's that of its items. A candidate that waits asks
    once, on the night of its training.
    """
    facts = ((one.night, decision_facts(one.facts)) for one in decided)
    earlier = ((night, one.suite_digest) for night, one in facts if not one.measured_again)
    asked = found.evaluate
    kin = asked.suite.kin if asked.suite else ()
    return earlier_asks(night, earlier, {asked.suite_digest, asked.suite_file_digest, *kin})


def _asks(ctx: Context, found: Measured) -> Asks:
    return asks_before(open_ledger(ctx.config).decided_before(ctx.run.run_id), ctx.night, found)


def _headline(verdict: Verdict, improvement: Check, measure: str) -> str:
    if improvement.value is None or improvement.low is None or improvement.limit is None:
        return f"{verdict}: no improvement was measured"
    if verdict is Verdict.WAIT or (improvement.answer == "pass" and improvement.low < improvement.limit):
        return f"{verdict}: {improvement.detail.rpartition('; ')[2]}"  # what the fresh rows say
    return (
        f"{verdict}: {measure} {improvement.value:+.3f} (at least {improvement.low:+.3f} at tonight's level)"
    )


def _without_clock(check: Check) -> Check:
    """The check for the facts. The measured times differ from run to run, so they go to the readings."""
    if check.check != "latency":
        return check
    return check.model_copy(update={"value": None, "detail": "as evaluate timed it"})


def _rounded(check: Check) -> Check:
    """The check with six digits, and with every field set, so that all are stored."""
    fields: dict[str, Any] = {
        name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in check
    }
    return Check(**fields)
