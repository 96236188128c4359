"""Train or not, and why. Also pins what tonight is measured against: the baseline and the new nights."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipelines.core.contract import digest_of
from pipelines.data import open_lake
from pipelines.data.feedback_log import feedback_counts
from pipelines.data.lake import Lake
from pipelines.models.aliases import in_production
from pipelines.policy.alerts.firing import firing_data_faults
from pipelines.policy.night.decide import ALERT, Situation, decide
from pipelines.runner import Context, Outcome
from pipelines.stores import open_inbox, open_ledger
from pipelines.stores.ledger import Decision, Ledger

SETTINGS = ("decide",)
TRAINED = ("trained", "rejected")  # a rejected night trained too
BUDGET_DAYS = 30


def external_inputs(ctx: Context) -> dict[str, str]:
    first = date.fromisoformat(_nights(ctx)["first"])
    return {
        "baseline": digest_of(_baseline(ctx)),
        "lake": _lake(ctx).digest(date.min, ctx.night, as_of=ctx.night, since=first),
        "ledger": digest_of({**_nights(ctx), "cpu_hours_30d": _cpu_hours(ctx), "faults": _faults(ctx)}),
    }


def run(ctx: Context) -> Outcome:
    nights, settings = _nights(ctx), ctx.config.decide
    first = date.fromisoformat(nights["first"])
    feedback = feedback_counts(_lake(ctx), first, ctx.night, as_of=ctx.night)
    situation = Situation(
        corrections=feedback["corrections"],
        likes=feedback["likes"],
        drift=bool(ctx.inputs["drift"].facts["drift"]),
        nights_since_training=nights["since_training"],
        cpu_hours_30d=_cpu_hours(ctx),
        force=settings.force,
        cause=settings.cause,
        data_faults=tuple(_faults(ctx)),
    )
    answer = decide(situation, settings)
    return Outcome(
        headline=f"{situation.labelled} labelled rows, {'drift' if situation.drift else 'no drift'}",
        verdict=answer.verdict,
        reasons=(answer.reason,),
        metrics={
            "labelled_rows": (float(situation.labelled), "rows"),
            "cpu_hours_30d": (situation.cpu_hours_30d, "h"),
        },
        facts={
            "baseline": _baseline(ctx),
            "window": {"first": nights["first"], "last": ctx.night.isoformat(), "rows": feedback["rows"]},
            "new_corrections": situation.corrections,
            "likes": situation.likes,
            "drift": situation.drift,
            "cause": situation.cause,
            "ruling": settings.ruling,
            "data_faults": list(situation.data_faults),
            "force": situation.force,
            "nights_since_training": situation.nights_since_training,
            "cpu_hours_30d": situation.cpu_hours_30d,
            "rules": list(answer.rules),
        },
    )


def _nights(ctx: Context) -> dict[str, Any]:
    """The first night whose delivery is new, and how many nights ago the last training was."""
    known = _ledger(ctx).decisions(before=ctx.night + timedelta(days=1))
    trained = [d.night for d in known if d.outcome in TRAINED and _came_before(ctx, d)]
    if trained:
        last = max(trained)
        return {"first": str(last + timedelta(days=1)), "since_training": (ctx.night - last).days}
    days = _lake(ctx).days(as_of=ctx.night)
    return {"first": str(min([*days, ctx.night])), "since_training": None}


def _came_before(ctx: Context, decision: Decision) -> bool:
    """Of an earlier night; or of this one, for an alert: its training learned what this delivery holds.

    Another attempt at a night is asked for by a person, so what the night's first run trained is no bar.
    """
    for_an_alert = str(decision.facts["cause"]).startswith(ALERT)
    return decision.night < ctx.night or (for_an_alert and decision.run_id != ctx.run.run_id)


def _baseline(ctx: Context) -> dict[str, Any]:
    """What serves now; every later step compares with this and never asks the registry again."""
    production = in_production(ctx.config)
    if production is None:
        return {"kind": "base"}
    return {
        "kind": "adapter",
        "version": production.version,
        "digest": production.digest,
        "nights": list(production.nights),
    }


def _cpu_hours(ctx: Context) -> float:
    """CPU hours of the 30 days before tonight, to a hundredth."""
    first, last = ctx.night - timedelta(days=BUDGET_DAYS), ctx.night - timedelta(days=1)
    return round(_ledger(ctx).cpu_hours(first, last), 2)


def _faults(ctx: Context) -> list[str]:
    """Data faults that fire now. What they spoil should not be learned, whichever night it is read for."""
    now, expires_s = datetime.now(UTC), ctx.config.alerts.expires_s
    deliveries = open_inbox(ctx.config).deliveries(now - timedelta(seconds=expires_s))
    return firing_data_faults(deliveries, now, expires_s)


def _ledger(ctx: Context) -> Ledger:
    return open_ledger(ctx.config)


def _lake(ctx: Context) -> Lake:
    return open_lake(ctx.config)
