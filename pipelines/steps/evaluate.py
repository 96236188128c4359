"""Step 9: candidate and baseline answer the same frozen items; every difference is paired."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.errors import InputError
from pipelines.core.files import sha256_of
from pipelines.data import open_lake
from pipelines.data.lake import Lake
from pipelines.evaluation.packaged_data import boolq
from pipelines.models.base import digest_base, digest_tokenizer, resolve_base
from pipelines.models.engine import Engine
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair
from pipelines.policy.night.feedback import COLUMNS, holdout_items, prompt_of
from pipelines.policy.stats.intervals import bootstrap_mean, paired_difference
from pipelines.runner import Context, Outcome

SETTINGS = ("model", "task", "curate", "evaluate")
MAX_PASSAGE_CHARS = 400  # short passages keep the general suite affordable on a laptop
Item = dict[str, Any]
Scores = dict[str, np.ndarray]  # production and candidate -> (n,) on the same items


def external_inputs(ctx: Context) -> dict[str, str]:
    base = resolve_base(ctx.config.path(ctx.config.model.base))
    first, last = _earlier_days(ctx)
    return {
        "base_model": digest_base(base),
        "tokenizer": digest_tokenizer(base),
        "suite": sha256_of(_suite_path(ctx)),
        "lake": _lake(ctx).digest(first, last, ctx.night) if first <= last else "",
    }


def run(ctx: Context) -> Outcome:
    settings, baseline = ctx.config.evaluate, ctx.inputs["decide"].facts["baseline"]
    suite, earlier, general = _suite(ctx), _earlier_items(ctx), _general_items(settings.general_items)
    passages = [passage for passage, _, _ in general[: settings.perplexity_items]]
    pair = ModelPair(
        ctx.config, baseline, ctx.read("train", "adapter"), ctx.inputs["train"].facts["base_digest"]
    )
    answers: dict[str, list[str]] = {}
    right: Scores = {}
    kept: Scores = {}
    belief: Scores = {}
    perplexity: dict[str, float] = {}
    for name, engine in pair:
        answers[name] = _answers(engine, ctx, suite)
        right[name] = _right(answers[name], suite)
        kept[name] = _right(_answers(engine, ctx, earlier), earlier)
        belief[name] = _belief(engine, general)
        perplexity[name] = _perplexity(engine, passages)
    _write_items(ctx.out / "items.parquet", suite, answers)
    accuracy = {name: _interval(ctx, scores) for name, scores in right.items()}
    before, after = accuracy[PRODUCTION], accuracy[CANDIDATE]
    return Outcome(
        headline=f"accuracy {before['value']:.1%} to {after['value']:.1%} "
        f"({after['low']:.1%} to {after['high']:.1%}) on {len(suite)} frozen items",
        outputs={"items": "items.parquet"},
        metrics={
            "accuracy_production": (before["value"], "share"),
            "accuracy_candidate": (after["value"], "share"),
        },
        facts={
            "baseline": baseline["kind"],
            "suite_digest": sha256_of(_suite_path(ctx)),
            "accuracy": accuracy,
            "paired": _paired(right),
            "difference": _difference(ctx, right),
            "by_subject": _by_subject(suite, right),
            "forgetting": {**_compared(ctx, kept), "paired": _paired(kept)} if earlier else None,
            "general": _compared(ctx, belief),
            "perplexity": _ratio(perplexity),
        },
        readings={"latency_ms": _ratio(_latency(pair, ctx, suite[: settings.latency_items]))},
    )


def _suite_path(ctx: Context) -> Path:
    path = Path(ctx.config.path(ctx.config.evaluate.suite))
    if not path.exists():
        raise InputError(
            f"frozen items at {path}", "no file", "Run `.venv/bin/python -m pipelines prepare` first."
        )
    return path


def _suite(ctx: Context) -> list[Item]:
    return [json.loads(line) for line in _suite_path(ctx).read_text(encoding="utf-8").splitlines()]


def _lake(ctx: Context) -> Lake:
    return open_lake(ctx.config)


def _earlier_days(ctx: Context) -> tuple[date, date]:
    """First and last day before tonight; an empty range where there is none."""
    days = [day for day in _lake(ctx).days(ctx.night) if day < ctx.night]
    return (days[0], days[-1]) if days else (ctx.night, ctx.night - timedelta(days=1))


def _earlier_items(ctx: Context) -> list[Item]:
    """Labelled rows of earlier nights that are kept back from training, drawn by the seed."""
    first, last = _earlier_days(ctx)
    if first > last:
        return []
    rows = _lake(ctx).interactions(first, last, ctx.night, COLUMNS).to_pylist()
    held_back = holdout_items(rows, ctx.config.curate.holdout_share)
    items = [item for item in held_back if item["answer"] in ctx.config.task.labels]
    drawn = np.random.default_rng(ctx.config.seed).permutation(len(items))
    return [items[i] for i in sorted(drawn[: ctx.config.evaluate.max_earlier_items])]


def _general_items(count: int) -> list[tuple[str, str, bool]]:
    """A frozen slice of BoolQ: (passage, question, answer), the first `count` in the order of their hash."""
    short = [row for row in boolq() if len(row[0]) <= MAX_PASSAGE_CHARS]
    return sorted(short, key=lambda row: hashlib.sha256((row[0] + row[1]).encode()).digest())[:count]


def _answers(engine: Engine, ctx: Context, items: Sequence[Item]) -> list[str]:
    return engine.choose([item["messages"] for item in items], ctx.config.task.labels)


def _right(answers: Sequence[str], items: Sequence[Item]) -> np.ndarray:
    """(n,) 1 where the answer is the item's, else 0."""
    return np.array([float(a == item["answer"]) for a, item in zip(answers, items, strict=True)])


def _belief(engine: Engine, rows: Sequence[tuple[str, str, bool]]) -> np.ndarray:
    """(n,) probability of the right one of ` yes` and ` no`; the prompt is lm-evaluation-harness's BoolQ.

    A graded score, because a small model's yes or no turns over at a breath: the share of right answers
    would need several times the items to show the same loss.
    """
    prompts = [f"{passage}\nQuestion: {question}?\nAnswer:" for passage, question, _ in rows]
    scores, _ = engine.logprobs(prompts * 2, [" yes"] * len(rows) + [" no"] * len(rows))
    odds = scores[: len(rows)] - scores[len(rows) :]
    return 1 / (1 + np.exp(np.where([answer for _, _, answer in rows], -odds, odds)))


def _perplexity(engine: Engine, passages: Sequence[str]) -> float:
    scores, tokens = engine.logprobs([""] * len(passages), passages)
    return math.exp(-float(scores.sum()) / float(tokens.sum()))


def _latency(pair: ModelPair, ctx: Context, items: Sequence[Item]) -> dict[str, float]:
    """Median milliseconds of an answer asked alone. The models take turns, so that load hits both."""
    spent: dict[str, list[float]] = {PRODUCTION: [], CANDIDATE: []}
    for item in (items[0], *items):  # the first warms up
        for name, engine in pair:
            started = time.perf_counter()
            _answers(engine, ctx, [item])
            spent[name].append(1000 * (time.perf_counter() - started))
    return {name: median(values[1:]) for name, values in spent.items()}


def _interval(ctx: Context, values: np.ndarray) -> dict[str, float]:
    settings = ctx.config.evaluate
    return bootstrap_mean(values, settings.bootstrap_samples, settings.confidence, ctx.config.seed).facts()


def _difference(ctx: Context, scores: Scores) -> dict[str, float]:
    settings = ctx.config.evaluate
    return paired_difference(
        scores[PRODUCTION],
        scores[CANDIDATE],
        settings.bootstrap_samples,
        settings.confidence,
        ctx.config.seed,
    ).facts()


def _compared(ctx: Context, scores: Scores) -> dict[str, Any]:
    means = {name: round(float(values.mean()), 6) for name, values in scores.items()}
    return {"n": len(scores[PRODUCTION]), **means, "difference": _difference(ctx, scores)}


def _paired(right: Scores) -> dict[str, int]:
    """How often both, either or neither model is right on an item."""
    before, after = right[PRODUCTION] == 1, right[CANDIDATE] == 1
    return {
        "n": len(before),
        "both": int((before & after).sum()),
        "only_production": int((before & ~after).sum()),
        "only_candidate": int((~before & after).sum()),
        "neither": int((~before & ~after).sum()),
    }


def _by_subject(items: Sequence[Item], right: Scores) -> dict[str, dict[str, float]]:
    subjects = np.array([item["subject"] for item in items])
    return {
        subject: {
            "n": int((subjects == subject).sum()),
            **{name: round(float(values[subjects == subject].mean()), 6) for name, values in right.items()},
        }
        for subject in sorted(set(subjects.tolist()))
    }


def _ratio(values: dict[str, float]) -> dict[str, float]:
    """Both values and candidate over production."""
    rounded = {name: round(value, 4) for name, value in values.items()}
    return {**rounded, "ratio": round(values[CANDIDATE] / values[PRODUCTION], 4)}


def _write_items(path: Path, items: Sequence[Item], answers: dict[str, list[str]]) -> None:
    columns = {key: [item[key] for item in items] for key in ("id", "subject", "answer")}
    asked = {"question": [prompt_of(item["messages"]) for item in items]}
    pq.write_table(pa.table({**columns, **asked, **answers}), path)
