"""Step 9: candidate and baseline answer the same frozen items, so that every difference is paired."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

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
)
from pipelines.core.facts.train import TrainFacts
from pipelines.core.files import write_jsonl
from pipelines.data import open_lake
from pipelines.data.feedback_log import earlier_rated
from pipelines.evaluation import scores
from pipelines.evaluation.comparing import Comparing
from pipelines.evaluation.detail import by_class, by_group
from pipelines.evaluation.guard_facts import against, forgetting, instructions, left_out_of
from pipelines.evaluation.guards import Guards, GuardScores, guard_scores, guards_of, instruction_rows
from pipelines.evaluation.judges.choices import choices_digest
from pipelines.evaluation.judges.tonight import EARLIER, SUITE, Tonight, compared, judge_tonight
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
from pipelines.models.pair import CANDIDATE, ModelPair
from pipelines.models.rendering import Rendering
from pipelines.models.served import answered_by
from pipelines.policy.night.feedback import holdout_items
from pipelines.runner import Context, Outcome

SETTINGS = ("model", "task", "curate", "evaluate", "judge")
log = logging.getLogger("nightshift")
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


@dataclass(frozen=True)
class _Items:
    """What both models are asked, beside the guards."""

    suite: list[Item]
    fresh: list[Item]
    drawn: Drawn
    pool: list[Item]


@dataclass
class _Given:
    """Both models' answers."""

    suite: Answers = field(default_factory=dict)
    fresh: Answers = field(default_factory=dict)
    pool: Answers = field(default_factory=dict)
    guards: dict[str, GuardScores] = field(default_factory=dict)

    @property
    def earlier(self) -> Answers:
        return {name: one.answers for name, one in self.guards.items()}


def run(ctx: Context) -> Outcome:
    settings, task, comparing = ctx.config.evaluate, task_of(ctx.config), Comparing.of(ctx.config)
    suite = suite_items(ctx.config)
    about_suite = suite_facts(ctx.config, ctx.run.run_id, suite)
    baseline = ctx.facts(DecideFacts).baseline
    models = ModelPair(ctx.config, baseline, ctx.read("train", "adapter"), ctx.facts(TrainFacts), ctx.step)
    ctx.ends.callback(models.close)
    items = _items(ctx, suite, models.engine.rendering)
    earlier = _earlier_items(ctx, task, models.engine.rendering)
    asked = guards_of(settings, task, models.engine.rendering, earlier)
    given = _answered(ctx, models, items, asked)
    anchors = _anchors(ctx, models, given.guards[CANDIDATE], asked)
    judged = _judged(ctx, items, given, asked)
    facts = EvaluateFacts(
        baseline=baseline.kind,
        suite_digest=suite_digest(ctx.config),
        suite_file_digest=suite_file_digest(ctx.config),
        suite=about_suite,
        anchors=anchors,
        fresh=_fresh(given.fresh, items.fresh, task),
        pool=_asked(_fresh(given.pool, items.pool, task), items.drawn) if items.drawn.items else None,
        judge=judged.facts,
        **_of_suite(ctx, task, suite, given.suite),
        **_of_guards(comparing, given, asked),
    )
    write_jsonl(ctx.out / "held_back.jsonl", ({"id": item["id"]} for item in earlier))
    write_jsonl(ctx.out / "instructions.jsonl", instruction_rows(asked, given.guards))
    assert facts.accuracy
    before, after = facts.accuracy.production, facts.accuracy.candidate
    return Outcome(
        headline=f"{task.measure} {before.value:.1%} to {after.value:.1%} "
        f"({after.low:.1%} to {after.high:.1%}) on {len(suite)} frozen items",
        reasons=(
            *about_suite.sentences,
            *filter(None, [about_pool(ctx.config, items.drawn)]),
            *judged.reasons,
        ),
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
        facts=facts,
        readings=EvaluateReadings(
            latency_ms=scores.ratio(scores.latency(models, suite[: settings.latency_items], task)),
            judge_cost=judged.cost,
        ),
    )


def _items(ctx: Context, suite: list[Item], rendering: Rendering) -> _Items:
    drawn = _drawn(ctx)
    pool = without_suite(ctx.config, drawn.items, suite)
    waiting, share = ctx.facts(DecideFacts).waiting, ctx.facts(CurateFacts).people_kept_back
    return _Items(
        suite=suite,
        fresh=fresh_items(ctx.config, ctx.night, waiting, share, rendering.takes),
        drawn=drawn,
        pool=[one for one in pool if rendering.takes(one["messages"])],
    )


def _answered(ctx: Context, models: ModelPair, items: _Items, asked: Guards) -> _Given:
    given, task = _Given(), asked.task
    for name, engine in models:
        kept = KeptAnswers(
            ctx.config, engine, models.digests[name], ctx.step, answering=models.answering(name)
        )
        given.suite[name], given.fresh[name], given.pool[name] = (
            task.answers(kept, [item["messages"] for item in some]) if some else []
            for some in (items.suite, items.fresh, items.pool)
        )
        log.info("evaluate: %s answered %d items of the suite", name, len(items.suite))
        given.guards[name] = guard_scores(asked, kept)
        log.info("evaluate: %s answered the general questions and instructions", name)
    return given


def _anchors(
    ctx: Context, models: ModelPair, candidate: GuardScores, asked: Guards
) -> tuple[AnchorFacts, ...]:
    found = []
    for anchor in ctx.facts(DecideFacts).anchors:
        use, answering = partial(models.as_anchor, anchor), models.answering_as_anchor(anchor)
        kept = KeptAnswers(ctx.config, models.engine, anchor.digest, ctx.step, use, answering)
        found.append(against(Comparing.of(ctx.config), anchor, guard_scores(asked, kept), candidate, asked))
    return tuple(found)


def _judged(ctx: Context, items: _Items, given: _Given, asked: Guards) -> Tonight:
    """What the LLM judge of `[judge]` says; nothing without one."""
    copies = ctx.facts(CurateFacts).suite_copies
    of_suite = compared(SUITE, items.suite, given.suite, copies)
    return judge_tonight(ctx.config, ctx.night, [*of_suite, *compared(EARLIER, asked.earlier, given.earlier)])


def _of_suite(ctx: Context, task: Task, suite: list[Item], given: Answers) -> dict[str, Any]:
    """The facts of the frozen items, which are written beside them."""
    comparing, right = Comparing.of(ctx.config), [item["answer"] for item in suite]
    scored = {name: scores.score(task, answers, suite) for name, answers in given.items()}
    others = {
        scorer: {name: score(answers, right) for name, answers in given.items()}
        for scorer, score in scorers_of(ctx.config).items()
        if scorer != ctx.config.scorers[0]
    }
    _write_items(ctx.out / "items.parquet", suite, given, scored)
    return {
        "measure": task.measure,
        "accuracy": Accuracy(**{name: comparing.mean(values) for name, values in scored.items()}),
        "paired": _paired(task, _without_copies(ctx, scored, suite)),
        "scores": {name: comparing.comparison(both) for name, both in others.items()} or None,
        "difference": comparing.difference(scored),
        "by_subject": scores.by_subject(suite, scored),
        "by_group": by_group(suite, {task.measure: scored, **others}, comparing.confidence),
        "by_class": by_class(given, right, *comparing) if task.has_classes else None,
    }


def _of_guards(comparing: Comparing, given: _Given, asked: Guards) -> dict[str, Any]:
    guards = given.guards.items()
    return {
        "forgetting": forgetting(comparing, given.earlier, asked),
        "general": comparing.comparison({name: one.belief for name, one in guards}),
        "perplexity": scores.ratio({name: one.perplexity for name, one in guards}),
        "instructions": instructions(comparing, {name: one.followed for name, one in guards}),
        "left_out": left_out_of(comparing, given.earlier, asked),
    }


def _paired(task: Task, scored: Scores) -> common.PairedCounts:
    return scores.paired_scores(scored) if task.is_graded else scores.paired_counts(scored)


def _without_copies(ctx: Context, right: Scores, suite: Sequence[Item]) -> Scores:
    """Items that ask nearly the same count once: the limits of the improvement need independent ones."""
    copies = set(ctx.facts(CurateFacts).suite_copies)
    counted = np.array([item["id"] not in copies for item in suite])
    return {name: values[counted] for name, values in right.items()}


def _fresh(given: Answers, items: Sequence[Item], task: Task) -> common.Fresh:
    found = scores.paired_counts(
        {name: scores.right(answers, items, task) for name, answers in given.items()}
    )
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


def _write_items(path: Path, items: Sequence[Item], answers: Answers, scored: Scores) -> None:
    columns = {key: [item[key] for item in items] for key in ("id", "subject", "answer")}
    asked = {"question": [question_text(item["messages"]) for item in items]}
    points = {f"{name}_score": values for name, values in scored.items()}
    pq.write_table(pa.table({**columns, **asked, **answers, **points}), path)
