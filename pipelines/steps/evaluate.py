"""Step 9: candidate and baseline answer the same frozen items, so that every difference is paired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.contract import digest_of
from pipelines.core.conversations import question_text
from pipelines.core.facts import common
from pipelines.core.facts.curate import CurateFacts
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.evaluate import (
    Accuracy,
    AnchorFacts,
    ClassScores,
    Disliked,
    EvaluateFacts,
    EvaluateReadings,
    Forgetting,
    Instructions,
    LeftOut,
)
from pipelines.core.facts.train import TrainFacts
from pipelines.core.files import write_jsonl
from pipelines.data import open_lake
from pipelines.data.feedback_log import earlier_rated
from pipelines.evaluation import scores
from pipelines.evaluation.detail import by_class, by_group
from pipelines.evaluation.guards import Guards, GuardScores, guard_scores, guards_of, instruction_rows
from pipelines.evaluation.judges.choices import choices_digest
from pipelines.evaluation.judges.tonight import EARLIER, SUITE, compared, judge_tonight
from pipelines.evaluation.kept_answers import KeptAnswers
from pipelines.evaluation.pool import Drawn, about_pool, drawn_digest, pool_tonight, without_suite
from pipelines.evaluation.scorers import scorers_of
from pipelines.evaluation.scorers.own import own_digests
from pipelines.evaluation.scores import Answers, Scores
from pipelines.evaluation.suite import Item, suite_digest, suite_file_digest, suite_items
from pipelines.evaluation.suite_history import history_digest, suite_facts
from pipelines.evaluation.tasks import Task, task_of
from pipelines.evaluation.waiting import fresh_items
from pipelines.models.base import base_folder, digest_base, digest_tokenizer
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair
from pipelines.models.rendering import Rendering
from pipelines.models.served import answered_by
from pipelines.policy.night.feedback import holdout_items
from pipelines.policy.night.influence import left_out
from pipelines.policy.stats.intervals import Interval, bootstrap_mean, paired_difference
from pipelines.runner import Context, Outcome

SETTINGS = ("model", "task", "curate", "evaluate", "judge")
NOTHING_KNOWN = common.Comparison(
    n=0, production=0.0, candidate=0.0, difference=common.Interval(value=0.0, low=-1.0, high=1.0)
)
EARLIER_ROWS = 50_000  # labelled rows of earlier nights that are read at most; this bounds time and memory


def external_inputs(ctx: Context) -> dict[str, str]:
    base = base_folder(ctx.config)
    pool = {"pool": drawn_digest(_drawn(ctx))} if ctx.config.evaluate.pool else {}
    choices = {"choices": choices_digest(ctx.config)} if ctx.config.judge.is_on else {}
    return {
        **pool,
        **choices,
        **own_digests(ctx.config.scorers),
        **answered_by(ctx.config),
        "base_model": digest_base(base),
        "tokenizer": digest_tokenizer(base),
        "suite": suite_file_digest(ctx.config),
        "earlier_suites": history_digest(ctx.config, ctx.run.run_id),
        "lake": open_lake(ctx.config).digest(date.min, ctx.night, as_of=ctx.night),
        "max_nights_waiting": digest_of(ctx.config.gate.max_nights_waiting),
    }


def run(ctx: Context) -> Outcome:
    settings, baseline = ctx.config.evaluate, ctx.facts(DecideFacts).baseline
    suite, task = suite_items(ctx.config), task_of(ctx.config)
    about_suite = suite_facts(ctx.config, ctx.run.run_id, suite)
    models = ModelPair(ctx.config, baseline, ctx.read("train", "adapter"), ctx.facts(TrainFacts), ctx.step)
    ctx.ends.callback(models.close)
    earlier = _earlier_items(ctx, task, models.engine.rendering)
    asked = guards_of(settings, task, models.engine.rendering, earlier)
    fresh = _fresh_items(ctx, models.engine.rendering)
    drawn = _drawn(ctx)
    pool = [
        one
        for one in without_suite(ctx.config, drawn.items, suite)
        if models.engine.rendering.takes(one["messages"])
    ]
    answers, fresh_answers, pool_answers = Answers(), Answers(), Answers()
    guards: dict[str, GuardScores] = {}
    for name, engine in models:
        kept = KeptAnswers(
            ctx.config, engine, models.digests[name], ctx.step, answering=models.answering(name)
        )
        answers[name], fresh_answers[name], pool_answers[name] = (
            task.answers(kept, [item["messages"] for item in items]) if items else []
            for items in (suite, fresh, pool)
        )
        guards[name] = guard_scores(asked, kept)
    scored = {name: scores.score(task, given, suite) for name, given in answers.items()}
    anchors = tuple(
        _against(ctx, anchor, _anchor_scores(ctx, models, anchor, asked), guards[CANDIDATE], asked)
        for anchor in ctx.facts(DecideFacts).anchors
    )
    _write_items(ctx.out / "items.parquet", suite, answers, scored)
    write_jsonl(ctx.out / "held_back.jsonl", ({"id": item["id"]} for item in earlier))
    write_jsonl(ctx.out / "instructions.jsonl", instruction_rows(asked, guards))
    others = _others(ctx, answers, suite)
    of_users = {name: one.answers for name, one in guards.items()}
    judged = judge_tonight(
        ctx.config,
        ctx.night,
        [
            *compared(SUITE, suite, answers, ctx.facts(CurateFacts).suite_copies),
            *compared(EARLIER, earlier, of_users),
        ],
    )
    before, after = _accuracy(ctx, scored[PRODUCTION]), _accuracy(ctx, scored[CANDIDATE])
    return Outcome(
        headline=f"{task.measure} {before.value:.1%} to {after.value:.1%} "
        f"({after.low:.1%} to {after.high:.1%}) on {len(suite)} frozen items",
        reasons=(*about_suite.sentences, *filter(None, [about_pool(ctx.config, drawn)]), *judged.reasons),
        outputs={
            "items": "items.parquet",
            "held_back": "held_back.jsonl",
            "instructions": "instructions.jsonl",
            **judged.written(ctx.out),
        },
        metrics={
            "accuracy_production": (before.value, "share"),
            "accuracy_candidate": (after.value, "share"),
        },
        facts=EvaluateFacts(
            baseline=baseline.kind,
            measure=task.measure,
            suite_digest=suite_digest(ctx.config),
            suite_file_digest=suite_file_digest(ctx.config),
            suite=about_suite,
            accuracy=Accuracy(production=before, candidate=after),
            paired=_paired(task, _without_copies(ctx, scored, suite)),
            scores={name: _compared(ctx, both) for name, both in others.items()} or None,
            difference=_difference(ctx, scored),
            by_subject=scores.by_subject(suite, scored),
            by_group=by_group(suite, {task.measure: scored, **others}, settings.confidence),
            by_class=_by_class(ctx, answers, suite) if task.has_classes else None,
            forgetting=_forgetting(ctx, {name: one.answers for name, one in guards.items()}, asked),
            general=_compared(ctx, {name: one.belief for name, one in guards.items()}),
            perplexity=scores.ratio({name: one.perplexity for name, one in guards.items()}),
            instructions=_instructions(ctx, {name: one.followed for name, one in guards.items()}),
            anchors=anchors,
            fresh=_fresh(fresh_answers, fresh),
            pool=_asked(_fresh(pool_answers, pool), drawn) if drawn.items else None,
            left_out=_left_out(ctx, {name: one.answers for name, one in guards.items()}, asked),
            judge=judged.facts,
        ),
        readings=EvaluateReadings(
            latency_ms=scores.ratio(scores.latency(models, suite[: settings.latency_items], task)),
            judge_cost=judged.cost,
        ),
    )


def _others(ctx: Context, given: Answers, items: Sequence[Item]) -> dict[str, Scores]:
    """The scores by each scorer but the primary one."""
    right = [item["answer"] for item in items]
    return {
        scorer: {name: score(answers, right) for name, answers in given.items()}
        for scorer, score in scorers_of(ctx.config).items()
        if scorer != ctx.config.scorers[0]
    }


def _by_class(ctx: Context, given: Answers, items: Sequence[Item]) -> dict[str, ClassScores]:
    settings, right = ctx.config.evaluate, [item["answer"] for item in items]
    return by_class(given, right, settings.bootstrap_samples, settings.confidence, ctx.config.seed)


def _paired(task: Task, scored: Scores) -> common.PairedCounts:
    return scores.paired_scores(scored) if task.is_graded else scores.paired_counts(scored)


def _without_copies(ctx: Context, right: Scores, suite: Sequence[Item]) -> Scores:
    """Items that ask nearly the same count once: the limits of the improvement need independent ones."""
    copies = set(ctx.facts(CurateFacts).suite_copies)
    counted = np.array([item["id"] not in copies for item in suite])
    return {name: values[counted] for name, values in right.items()}


def _fresh_items(ctx: Context, rendering: Rendering) -> list[Item]:
    """Rows that the candidate cannot know."""
    waiting, share = ctx.facts(DecideFacts).waiting, ctx.facts(CurateFacts).people_kept_back
    return fresh_items(ctx.config, ctx.night, waiting, share, rendering.takes)


def _fresh(given: Answers, items: Sequence[Item]) -> common.Fresh:
    found = scores.paired_counts({name: scores.right(answers, items) for name, answers in given.items()})
    won, lost = found.only_candidate, found.only_production
    return common.Fresh(won=won, lost=lost, neither=found.n - won - lost)


def _drawn(ctx: Context) -> Drawn:
    return pool_tonight(ctx.config, ctx.run.run_id, ctx.facts(DecideFacts).waiting)


def _asked(found: common.Fresh, drawn: Drawn) -> common.Asked:
    return common.Asked(**dict(found), position=drawn.position, left=drawn.left)


def _earlier_items(ctx: Context, task: Task, rendering: Rendering) -> list[Item]:
    """Rated rows of earlier nights that are kept back from training, drawn by the seed."""
    settings, system = ctx.config.evaluate, ctx.config.task.system_prompt
    rows = earlier_rated(open_lake(ctx.config), ctx.night, EARLIER_ROWS, ctx.config.seed)
    items = holdout_items(rows, ctx.config.curate.holdout_share, task.read, system)
    drawn = np.random.default_rng(ctx.config.seed).permutation(len(items))
    fit = (place for place in drawn if rendering.takes(items[place]["messages"]))
    return [items[place] for place in sorted(islice(fit, settings.max_earlier_items))]


def _accuracy(ctx: Context, values: np.ndarray) -> common.Interval:
    settings = ctx.config.evaluate
    return _rounded(bootstrap_mean(values, settings.bootstrap_samples, settings.confidence, ctx.config.seed))


def _difference(ctx: Context, both: Scores) -> common.Interval:
    settings = ctx.config.evaluate
    return _rounded(
        paired_difference(
            both[PRODUCTION],
            both[CANDIDATE],
            settings.bootstrap_samples,
            settings.confidence,
            ctx.config.seed,
        )
    )


def _rounded(interval: Interval) -> common.Interval:
    value, low, high = (round(float(number), 6) for number in interval)
    return common.Interval(value=value, low=low, high=high)


def _compared(ctx: Context, both: Scores) -> common.Comparison:
    return common.Comparison(
        n=len(both[PRODUCTION]),
        production=_mean(both[PRODUCTION]),
        candidate=_mean(both[CANDIDATE]),
        difference=_difference(ctx, both),
    )


def _forgetting(ctx: Context, given: Answers, asked: Guards) -> Forgetting | None:
    """None without items."""
    if not asked.earlier:
        return None
    told = scores.told(given, asked.earlier, asked.task.is_closed)
    known = [place for place, one in enumerate(told) if one.is_known]
    right = {
        name: scores.right([answers[place] for place in known], [asked.earlier[place] for place in known])
        for name, answers in given.items()
    }
    return Forgetting(
        **dict(_compared(ctx, right) if known else NOTHING_KNOWN),
        paired=scores.paired_counts(right),
        disliked=Disliked(**Counter(one.outcome for one in told if not one.is_known)),
    )


def _instructions(ctx: Context, followed: Scores) -> Instructions | None:
    if not len(followed[CANDIDATE]):
        return None
    return Instructions(**dict(_compared(ctx, followed)), paired=scores.paired_counts(followed))


def _left_out(ctx: Context, given: Answers, asked: Guards) -> tuple[LeftOut, ...]:
    told = scores.told(given, asked.earlier, asked.task.is_closed)
    return left_out(told, np.random.default_rng(ctx.config.seed)) if told else ()


def _anchor_scores(ctx: Context, models: ModelPair, anchor: common.Baseline, asked: Guards) -> GuardScores:
    use = partial(models.as_anchor, anchor)
    kept = KeptAnswers(
        ctx.config, models.engine, anchor.digest, ctx.step, use, models.answering_as_anchor(anchor)
    )
    return guard_scores(asked, kept)


def _against(
    ctx: Context, anchor: common.Baseline, its: GuardScores, candidate: GuardScores, asked: Guards
) -> AnchorFacts:
    """The candidate compared with an anchor, which takes production's place."""
    return AnchorFacts(
        name=anchor.name,
        digest=anchor.digest,
        general=_compared(ctx, {PRODUCTION: its.belief, CANDIDATE: candidate.belief}),
        perplexity=scores.ratio({PRODUCTION: its.perplexity, CANDIDATE: candidate.perplexity}),
        forgetting=_forgetting(ctx, {PRODUCTION: its.answers, CANDIDATE: candidate.answers}, asked),
        instructions=_instructions(ctx, {PRODUCTION: its.followed, CANDIDATE: candidate.followed}),
    )


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 6)


def _write_items(path: Path, items: Sequence[Item], answers: Answers, scored: Scores) -> None:
    columns = {key: [item[key] for item in items] for key in ("id", "subject", "answer")}
    asked = {"question": [question_text(item["messages"]) for item in items]}
    points = {f"{name}_score": values for name, values in scored.items()}
    pq.write_table(pa.table({**columns, **asked, **answers, **points}), path)
