"""Step 9: candidate and baseline answer the same frozen items, so that every difference is paired."""

from __future__ import annotations

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
    EvaluateFacts,
    EvaluateReadings,
    Forgetting,
    LeftOut,
)
from pipelines.core.facts.train import TrainFacts
from pipelines.core.files import write_jsonl
from pipelines.data import open_lake
from pipelines.data.feedback_log import earlier_rated
from pipelines.evaluation import scores
from pipelines.evaluation.guards import Guards, GuardScores, guard_scores
from pipelines.evaluation.kept_answers import KeptAnswers
from pipelines.evaluation.pool import Drawn, about_pool, drawn_digest, pool_tonight, without_suite
from pipelines.evaluation.scores import Answers, Scores
from pipelines.evaluation.suite import Item, suite_digest, suite_file_digest, suite_items
from pipelines.evaluation.waiting import fresh_items
from pipelines.models.base import base_folder, digest_base, digest_tokenizer
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair
from pipelines.models.rendering import Rendering
from pipelines.policy.night.feedback import holdout_items
from pipelines.policy.night.influence import left_out
from pipelines.policy.stats.intervals import Interval, bootstrap_mean, paired_difference
from pipelines.runner import Context, Outcome

SETTINGS = ("model", "task", "curate", "evaluate")
EARLIER_ROWS = 50_000  # labelled rows of earlier nights that are read at most; this bounds time and memory


def external_inputs(ctx: Context) -> dict[str, str]:
    base = base_folder(ctx.config)
    pool = {"pool": drawn_digest(_drawn(ctx))} if ctx.config.evaluate.pool else {}
    return {
        **pool,
        "base_model": digest_base(base),
        "tokenizer": digest_tokenizer(base),
        "suite": suite_file_digest(ctx.config),
        "lake": open_lake(ctx.config).digest(date.min, ctx.night, as_of=ctx.night),
        "max_nights_waiting": digest_of(ctx.config.gate.max_nights_waiting),
    }


def run(ctx: Context) -> Outcome:
    settings, labels, baseline = ctx.config.evaluate, ctx.config.task.labels, ctx.facts(DecideFacts).baseline
    suite = suite_items(ctx.config)
    general = scores.general_questions(settings.general_items)
    passages = [passage for passage, _, _ in general[: settings.perplexity_items]]
    models = ModelPair(ctx.config, baseline, ctx.read("train", "adapter"), ctx.facts(TrainFacts))
    earlier = _earlier_items(ctx, models.engine.rendering)
    asked = Guards(general, passages, earlier, labels)
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
        kept = KeptAnswers(ctx.config, engine, models.digests[name], ctx.step)
        answers[name] = kept.choices([item["messages"] for item in suite], labels)
        fresh_answers[name] = kept.choices([item["messages"] for item in fresh], labels) if fresh else []
        pool_answers[name] = kept.choices([item["messages"] for item in pool], labels) if pool else []
        guards[name] = guard_scores(partial(models.answering_as, name), asked, kept)
    right = {name: scores.right(given, suite) for name, given in answers.items()}
    anchors = tuple(
        _against(ctx, anchor, _anchor_scores(ctx, models, anchor, asked), guards[CANDIDATE], earlier)
        for anchor in ctx.facts(DecideFacts).anchors
    )
    _write_items(ctx.out / "items.parquet", suite, answers)
    write_jsonl(ctx.out / "held_back.jsonl", ({"id": item["id"]} for item in earlier))
    before, after = _accuracy(ctx, right[PRODUCTION]), _accuracy(ctx, right[CANDIDATE])
    return Outcome(
        headline=f"accuracy {before.value:.1%} to {after.value:.1%} "
        f"({after.low:.1%} to {after.high:.1%}) on {len(suite)} frozen items",
        reasons=(said,) if (said := about_pool(ctx.config, drawn)) else (),
        outputs={"items": "items.parquet", "held_back": "held_back.jsonl"},
        metrics={
            "accuracy_production": (before.value, "share"),
            "accuracy_candidate": (after.value, "share"),
        },
        facts=EvaluateFacts(
            baseline=baseline.kind,
            suite_digest=suite_digest(ctx.config),
            suite_file_digest=suite_file_digest(ctx.config),
            accuracy=Accuracy(production=before, candidate=after),
            paired=scores.paired_counts(_without_copies(ctx, right, suite)),
            difference=_difference(ctx, right),
            by_subject=scores.by_subject(suite, right),
            forgetting=_forgetting(ctx, {name: one.answers for name, one in guards.items()}, earlier),
            general=_compared(ctx, {name: one.belief for name, one in guards.items()}),
            perplexity=scores.ratio({name: one.perplexity for name, one in guards.items()}),
            anchors=anchors,
            fresh=_fresh(fresh_answers, fresh),
            pool=_asked(_fresh(pool_answers, pool), drawn) if drawn.items else None,
            left_out=_left_out(ctx, {name: one.answers for name, one in guards.items()}, earlier),
        ),
        readings=EvaluateReadings(
            latency_ms=scores.ratio(scores.latency(models, suite[: settings.latency_items], labels))
        ),
    )


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


def _earlier_items(ctx: Context, rendering: Rendering) -> list[Item]:
    """Rated rows of earlier nights that are kept back from training, drawn by the seed."""
    settings, task = ctx.config.evaluate, ctx.config.task
    rows = earlier_rated(open_lake(ctx.config), ctx.night, EARLIER_ROWS, ctx.config.seed)
    items = holdout_items(rows, ctx.config.curate.holdout_share, task.labels, task.system_prompt)
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


def _forgetting(ctx: Context, given: Answers, items: Sequence[Item]) -> Forgetting | None:
    """None where no right answer is known."""
    known = [place for place, item in enumerate(items) if item["answer"] is not None]
    others = [place for place, item in enumerate(items) if item["answer"] is None]
    if not known:
        return None
    both = {name: scores.right(*_at(known, answers, items)) for name, answers in given.items()}
    open_ = {name: _at(others, answers, items)[0] for name, answers in given.items()}
    return Forgetting(
        **dict(_compared(ctx, both)),
        paired=scores.paired_counts(both),
        disliked=scores.disliked(open_, [items[place] for place in others]),
    )


def _left_out(ctx: Context, given: Answers, items: Sequence[Item]) -> tuple[LeftOut, ...]:
    return left_out(scores.told(given, items), np.random.default_rng(ctx.config.seed)) if items else ()


def _at(places: Sequence[int], answers: Sequence[str], items: Sequence[Item]) -> tuple[list[str], list[Item]]:
    return [answers[place] for place in places], [items[place] for place in places]


def _anchor_scores(ctx: Context, models: ModelPair, anchor: common.Baseline, asked: Guards) -> GuardScores:
    kept = KeptAnswers(ctx.config, models.engine, anchor.digest, ctx.step)
    return guard_scores(lambda: models.as_anchor(anchor), asked, kept)


def _against(
    ctx: Context, anchor: common.Baseline, its: GuardScores, candidate: GuardScores, items: Sequence[Item]
) -> AnchorFacts:
    """The candidate compared with an anchor, which takes production's place."""
    return AnchorFacts(
        name=anchor.name,
        digest=anchor.digest,
        general=_compared(ctx, {PRODUCTION: its.belief, CANDIDATE: candidate.belief}),
        perplexity=scores.ratio({PRODUCTION: its.perplexity, CANDIDATE: candidate.perplexity}),
        forgetting=_forgetting(ctx, {PRODUCTION: its.answers, CANDIDATE: candidate.answers}, items),
    )


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 6)


def _write_items(path: Path, items: Sequence[Item], answers: dict[str, list[str]]) -> None:
    columns = {key: [item[key] for item in items] for key in ("id", "subject", "answer")}
    asked = {"question": [question_text(item["messages"]) for item in items]}
    pq.write_table(pa.table({**columns, **asked, **answers}), path)
