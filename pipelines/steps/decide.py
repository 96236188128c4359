"""Train or not, and why. Also pins what tonight is measured against: the baseline and the new nights."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from pipelines.core.contract import digest_of
from pipelines.core.facts.common import Baseline, Window
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.drift import DriftFacts
from pipelines.core.facts.reading import as_json
from pipelines.core.facts.record import decision_facts
from pipelines.data import open_lake
from pipelines.data.feedback_log import feedback_counts
from pipelines.models.aliases import in_production
from pipelines.policy.alerts.firing import firing_data_faults
from pipelines.policy.night.decide import ALERT, TrainingSituation, decide
from pipelines.runner import Context, Outcome
from pipelines.stores import open_inbox, open_ledger
from pipelines.stores.ledger import Decision

SETTINGS = ("decide",)
TRAINED = ("trained", "rejected")  # a rejected night trained too
BUDGET_DAYS = 30


def external_inputs(ctx: Context) -> dict[str, str]:
    first, since_training = _nights(ctx)
    ledger = {"first": str(first), "since_training": since_training}
    return {
        "baseline": digest_of(as_json(_baseline(ctx))),
        "lake": open_lake(ctx.config).digest(date.min, ctx.night, as_of=ctx.night, since=first),
        "ledger": digest_of({**ledger, "hours_30d": _hours(ctx), "faults": _faults(ctx)}),
    }


def run(ctx: Context) -> Outcome:
    (first, since_training), settings = _nights(ctx), ctx.config.decide
    feedback = feedback_counts(open_lake(ctx.config), first, ctx.night, as_of=ctx.night)
    cpu_hours, gpu_hours = _hours(ctx)
    situation = TrainingSituation(
        corrections=feedback["corrections"],
        likes=feedback["likes"],
        drift=ctx.facts(DriftFacts).drift,
        nights_since_training=since_training,
        cpu_hours_30d=cpu_hours,
        gpu_hours_30d=gpu_hours,
        force=settings.force,
        cause=settings.cause,
        data_faults=tuple(_faults(ctx)),
    )
    decision = decide(situation, settings)
    return Outcome(
        headline=f"{situation.labelled} labelled rows, {'drift' if situation.drift else 'no drift'}",
        verdict=decision.verdict,
        reasons=(decision.reason,),
        metrics={
            "labelled_rows": (float(situation.labelled), "rows"),
            "cpu_hours_30d": (situation.cpu_hours_30d, "h"),
        },
        facts=DecideFacts(
            baseline=_baseline(ctx),
            window=Window(first=first, last=ctx.night, rows=feedback["rows"]),
            new_corrections=situation.corrections,
            likes=situation.likes,
            drift=situation.drift,
            cause=situation.cause,
            ruling=settings.ruling,
            data_faults=situation.data_faults,
            force=situation.force,
            nights_since_training=situation.nights_since_training,
            cpu_hours_30d=situation.cpu_hours_30d,
            gpu_hours_30d=situation.gpu_hours_30d,
            rules=decision.rules,
        ),
    )


def _nights(ctx: Context) -> tuple[date, int | None]:
    """The first night whose delivery is new, and how many nights ago the last training was."""
    known = open_ledger(ctx.config).decisions(before=ctx.night + timedelta(days=1))
    trained = [d.night for d in known if d.outcome in TRAINED and _came_before(ctx, d)]
    if trained:
        last = max(trained)
        return last + timedelta(days=1), (ctx.night - last).days
    return min([*open_lake(ctx.config).days(as_of=ctx.night), ctx.night]), None


def _came_before(ctx: Context, decision: Decision) -> bool:
    """Whether a training counts as an earlier one.

    Trainings of earlier nights do. Of tonight's, only one that an alert asked for does: it learned what this
    delivery holds. A person who asks for another attempt wants the same delivery trained again.
    """
    for_an_alert = (decision_facts(decision.facts).cause or "").startswith(ALERT)
    return decision.night < ctx.night or (for_an_alert and decision.run_id != ctx.run.run_id)


def _baseline(ctx: Context) -> Baseline:
    """What serves now. Every later step compares with this and does not ask the registry again."""
    production = in_production(ctx.config)
    if production is None:
        return Baseline(kind="base")
    return Baseline(
        kind="adapter",
        version=production.version,
        digest=production.digest,
        nights=tuple(production.nights),
    )


def _hours(ctx: Context) -> tuple[float, float]:
    """CPU and GPU hours of the 30 days before tonight, to a hundredth."""
    first, last = ctx.night - timedelta(days=BUDGET_DAYS), ctx.night - timedelta(days=1)
    ledger = open_ledger(ctx.config)
    return round(ledger.cpu_hours(first, last), 2), round(ledger.gpu_hours(first, last), 2)


def _faults(ctx: Context) -> list[str]:
    """Data faults that fire now. No night should learn from data that they spoil."""
    now, expires_s = datetime.now(UTC), ctx.config.alerts.expires_s
    deliveries = open_inbox(ctx.config).deliveries(now - timedelta(seconds=expires_s))
    return firing_data_faults(deliveries, now, expires_s)
