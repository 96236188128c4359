"""Train or not, and why. Also pins the baseline of tonight's comparisons and the feedback to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

from pipelines.core.config import Curate, Decide
from pipelines.core.config.training import Objective
from pipelines.core.contract import Verdict, digest_of
from pipelines.core.facts.common import Baseline, Flag, Waiting, Window
from pipelines.core.facts.decide import DecideFacts, Weight
from pipelines.core.facts.drift import DriftFacts
from pipelines.core.facts.reading import as_json, facts_of
from pipelines.data import open_lake
from pipelines.data.feedback_log import counts_by_night, feedback_of, total
from pipelines.data.feedback_states import feedback_states, trainings
from pipelines.evaluation.waiting import run_of, waiting_candidate
from pipelines.models.aliases import in_production
from pipelines.policy.alerts.firing import firing_data_faults
from pipelines.policy.night.anchors import anchors_tonight
from pipelines.policy.night.caps import Weighed, capped_by_person, capped_total, limit_of_a_person, weighed
from pipelines.policy.night.claim import fresh_so_far
from pipelines.policy.night.decide import ROWS, TrainingSituation, decide
from pipelines.policy.night.flags import bursts
from pipelines.policy.night.lineage import spans
from pipelines.policy.night.preferences import TAKES, is_one_sided, learnable, objective_tonight
from pipelines.policy.night.row_states import RowStates
from pipelines.policy.night.waiting import measured_again
from pipelines.runner import Context, Outcome
from pipelines.stores import open_inbox, open_ledger

SETTINGS = ("decide", "curate")
BUDGET_DAYS = 30
BURST_DAYS = 28  # before tonight, whose shares of people and tenants tonight's are compared with


def external_inputs(ctx: Context) -> dict[str, str]:
    (_, states, since_training) = _known(ctx)
    nights = {"pending": [str(n) for n in states.pending], "tried": [str(n) for n in states.tried]}
    first = min((*states.unlearned, ctx.night - timedelta(days=BURST_DAYS)))
    return {
        "baseline": digest_of(as_json(_baseline(ctx))),
        "waiting": digest_of(as_json(_waiting(ctx))),
        "objective": digest_of(ctx.config.train.objective),
        "anchors": digest_of([as_json(one) for one in _anchors(ctx)]),
        "lake": open_lake(ctx.config).digest(date.min, ctx.night, as_of=ctx.night, since=first),
        "ledger": digest_of(
            {**nights, "since_training": since_training, "hours_30d": _hours(ctx), "faults": _faults(ctx)}
        ),
    }


def run(ctx: Context) -> Outcome:
    (delivered, states, since_training), settings = _known(ctx), ctx.config.decide
    given = feedback_of(open_lake(ctx.config), states.unlearned, as_of=ctx.night)
    feedback, tried = total(given.nights.values()), total(given.nights[night] for night in states.tried)
    told = _capped(given.people, ctx.config.curate)
    objective, why = objective_tonight(ctx.config.train.objective, told)
    weight, flags = _weight(given.people[objective], ctx.config.curate), _bursts(ctx, objective)
    cpu_hours, gpu_hours = _hours(ctx)
    situation = TrainingSituation(
        corrections=feedback["corrections"],
        likes=feedback["likes"],
        dislikes=feedback["dislikes"],
        pairs=feedback["pairs"],
        one_sided=is_one_sided(told["corrections"] + told["likes"], told["dislikes"]),
        objective=objective,
        tried=learnable(tried, objective),
        not_counted=weight.over_person + weight.over_tenant,
        drift=ctx.facts(DriftFacts).drift,
        nights_since_training=since_training,
        cpu_hours_30d=cpu_hours,
        gpu_hours_30d=gpu_hours,
        force=settings.force,
        cause=settings.cause,
        data_faults=tuple(_faults(ctx)),
    )
    decision, waiting = decide(situation, settings), _waiting(ctx)
    if decision.verdict is Verdict.HOLD:
        waiting = None
    if ctx.config.evaluate.pool and (waiting or decision.verdict is Verdict.PROCEED):
        from pipelines.evaluation.pool import join  # loads PyTorch, which most profiles need only later

        join(ctx.config)
    deliveries = {night: delivered[night] for night in states.unlearned}
    reason = (
        measured_again(waiting.run_id, fresh_so_far(waiting), ctx.config.gate) if waiting else decision.reason
    )
    tried_words = f" ({situation.tried} tried before)" * bool(situation.tried)
    return Outcome(
        headline=f"{situation.learnable} {ROWS[objective]}{tried_words}, "
        f"{'drift' if situation.drift else 'no drift'}",
        verdict=Verdict.PROCEED if waiting else decision.verdict,
        reasons=(
            reason,
            *([why] if why else []),
            *_who_weighs(weight, ROWS[objective]),
            *(f"Flag: {flag.words}." for flag in flags),
        ),
        metrics={
            "labelled_rows": (float(situation.learnable), "rows"),
            "cpu_hours_30d": (situation.cpu_hours_30d, "h"),
        },
        facts=DecideFacts(
            baseline=_baseline(ctx),
            anchors=_anchors(ctx),
            window=Window(
                first=min(states.unlearned, default=ctx.night), last=ctx.night, rows=feedback["rows"]
            ),
            new_corrections=situation.corrections,
            likes=situation.likes,
            dislikes=situation.dislikes,
            pairs=situation.pairs,
            one_sided=situation.one_sided,
            objective=objective,
            drift=situation.drift,
            cause=situation.cause,
            ruling=settings.ruling,
            data_faults=situation.data_faults,
            force=situation.force,
            nights_since_training=situation.nights_since_training,
            cpu_hours_30d=situation.cpu_hours_30d,
            gpu_hours_30d=situation.gpu_hours_30d,
            rules=decision.rules,
            deliveries=_deliveries_of(ctx, waiting) if waiting else deliveries,
            waiting=waiting,
            tried_nights=tuple(spans(states.tried)),
            tried=situation.tried,
            weight=Weight(**asdict(weight)),
            flags=flags,
        ),
    )


def _waiting(ctx: Context) -> Waiting | None:
    """The candidate that is measured again instead of a training, unless somebody asked for one."""
    settings = ctx.config.decide
    if settings.force or settings.cause != Decide().cause:
        return None
    return waiting_candidate(ctx.config, ctx.run.run_id, ctx.night, _baseline(ctx))


def _deliveries_of(ctx: Context, waiting: Waiting) -> dict[date, str] | None:
    """What the candidate that waits was trained on."""
    manifest = run_of(ctx.config, waiting).manifest("decide")
    return facts_of({"decide": manifest}, DecideFacts).deliveries if manifest else None


def _capped(people: Mapping[str, Mapping[str, Mapping[int, int]]], settings: Curate) -> dict[str, int]:
    """Corrections, likes and dislikes with each person capped: one person must not choose what is learned."""
    limit = limit_of_a_person(people["kto"], settings.rows_per_person)
    return {name: capped_total(people[name], limit) for name in TAKES["kto"]}


def _weight(people: Mapping[str, Mapping[int, int]], settings: Curate) -> Weighed:
    """Whose rows count, among those that no adapter in production has learned."""
    limit = limit_of_a_person(people, settings.rows_per_person)
    return weighed(capped_by_person(people, limit), settings.max_tenant_share)


def _who_weighs(weight: Weighed, rows: str) -> list[str]:
    if not weight.rows:
        return []
    said = f"{weight.in_words()}. " if weight.in_words() else ""
    return [
        f"{said}Of the {rows} that count, the tenant {weight.largest_tenant} gives"
        f" {weight.largest_tenant_share:.0%}, and the three people with the most give"
        f" {weight.largest_people_share:.0%}."
    ]


def _bursts(ctx: Context, objective: Objective) -> tuple[Flag, ...]:
    """Whether one person or one tenant gave far more tonight than anybody did on the nights before."""
    first = ctx.night - timedelta(days=BURST_DAYS)
    nights = counts_by_night(open_lake(ctx.config), first, ctx.night, objective)
    tonight = nights.pop(ctx.night, None)
    return tuple(bursts(tonight, list(nights.values()))) if tonight else ()


def _known(ctx: Context) -> tuple[dict[date, str], RowStates, int | None]:
    """The deliveries up to tonight's, their states, and how many nights ago the last training was."""
    ledger, delivered = open_ledger(ctx.config), open_lake(ctx.config).deliveries(ctx.night)
    known = trainings(ledger, ctx.run.run_id)
    states = feedback_states(ledger, delivered, known)
    last = max((one.night for one in known.values() if one.night <= ctx.night), default=None)
    return delivered, states, (ctx.night - last).days if last else None


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


def _anchors(ctx: Context) -> tuple[Baseline, ...]:
    """What a candidate must not fall behind, beside production."""
    chosen = open_ledger(ctx.config).anchor()
    named = chosen and chosen.version
    return anchors_tonight(
        _baseline(ctx),
        Baseline(kind="adapter", version=chosen.version, digest=chosen.digest) if chosen and named else None,
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
