"""One table, one verdict: does tonight's candidate become a registered one? The policy is policy/gate.py."""

from __future__ import annotations

from dataclasses import asdict, replace

from pipelines.core.contract import Verdict, digest_of
from pipelines.policy.night.gate import Row, alpha_tonight, judge
from pipelines.runner import Context, Outcome
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Decision

SETTINGS = ("gate",)


def external_inputs(ctx: Context) -> dict[str, str]:
    """The runs decided before this one that asked the same suite: reruns of a night count too."""
    return {"earlier_asks": digest_of([decision.run_id for decision in _earlier_asks(ctx)])}


def run(ctx: Context) -> Outcome:
    evaluated = ctx.inputs["evaluate"].facts | ctx.inputs["evaluate"].readings
    baseline = ctx.inputs["decide"].facts["baseline"]
    asks, settings = len(_earlier_asks(ctx)), ctx.config.gate
    rows, verdict = judge(
        baseline, evaluated, ctx.inputs["fairness"].facts, ctx.inputs["safety"].facts, settings, asks
    )
    improvement = next(row for row in rows if row.check == "improvement")
    return Outcome(
        headline=_headline(verdict, improvement),
        verdict=verdict,
        reasons=tuple(
            f"{row.check}: {row.answer} ({row.detail})"
            for row in map(_without_clock, rows)
            if row.answer != "pass"
        ),
        metrics={} if improvement.value is None else {"improvement": (improvement.value, "share")},
        readings={"latency": next(_rounded(row) for row in rows if row.check == "latency")},
        facts={
            "rows": [_rounded(_without_clock(row)) for row in rows],
            "asks_before": asks,
            "alpha_tonight": alpha_tonight(settings.alpha, asks),
            "suite_digest": evaluated.get("suite_digest"),
            "baseline": baseline,
        },
    )


def _earlier_asks(ctx: Context) -> list[Decision]:
    suite = ctx.inputs["evaluate"].facts.get("suite_digest")
    decisions = open_ledger(ctx.config).decided_before(ctx.run.run_id)
    return [decision for decision in decisions if suite and decision.facts.get("suite_digest") == suite]


def _headline(verdict: Verdict, improvement: Row) -> str:
    if improvement.value is None or improvement.low is None:
        return f"{verdict}: no improvement was measured"
    return (
        f"{verdict}: accuracy {improvement.value:+.3f} (at least {improvement.low:+.3f} at tonight's level)"
    )


def _without_clock(row: Row) -> Row:
    """A ratio of times differs from run to run: it belongs to the readings, its answer to the facts."""
    return replace(row, value=None, detail="as evaluate timed it") if row.check == "latency" else row


def _rounded(row: Row) -> dict[str, object]:
    fields = asdict(row)
    return {name: float(f"{v:.6g}") if isinstance(v, float) else v for name, v in fields.items()}
