"""Corrections and liked answers become training chats: clean, without personal data, with replay.

New rows are those delivered since the last training, whatever day they belong to. Nothing that evaluation
asks is trained on: neither the frozen suite, nor what is close to it, nor the holdout of each night.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.contract import Verdict
from pipelines.core.errors import InputError
from pipelines.core.files import sha256_of
from pipelines.data import open_lake
from pipelines.data.dedupe import NearDuplicates
from pipelines.data.embedder import Embedder
from pipelines.data.feedback_log import labelled_rows
from pipelines.data.lake import Lake
from pipelines.data.pii import Redactor
from pipelines.policy.night.dataset import (
    Part,
    Rows,
    draw,
    draw_by_answer,
    one_answer_each,
    replay_wanted,
    without_evaluation,
)
from pipelines.policy.night.examples import canaries, canary_example, dataset_card, example, split
from pipelines.policy.night.feedback import normalise, prompt_of
from pipelines.runner import Context, Outcome

SETTINGS = ("curate", "task", "model")
POOL = 4  # labelled rows looked at, as a multiple of max_examples; bounds time and memory
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    lake = _lake(ctx).digest(date.min, ctx.night, as_of=ctx.night)
    return {"lake": lake, "suite": sha256_of(_suite_file(ctx))}


def run(ctx: Context) -> Outcome:
    settings, rng = ctx.config.curate, np.random.default_rng([ctx.config.seed, ctx.night.toordinal()])
    suite = _suite_prompts(ctx)
    near = NearDuplicates(
        Embedder(ctx.config.model.embedder, ctx.config.model.threads), settings.near_duplicate_similarity
    )
    first = date.fromisoformat(ctx.inputs["decide"].facts["window"]["first"])
    new = _clean(ctx, _read(ctx, first, ctx.night), suite, near)
    replay = _clean(ctx, _read(ctx, date.min, first - timedelta(days=1)), suite, near)
    replay = replay.without(near.matching(_prompts(replay.rows), _prompts(new.rows)), "asked_again")
    log.info("curate: %d new and %d earlier rows are fit for training", len(new.rows), len(replay.rows))

    share = settings.replay_share if replay.rows else 0.0
    chosen = draw(new.rows, round(settings.max_examples * (1 - share)), rng)
    new = new.keep(chosen, over_the_cap=len(new.rows) - len(chosen))
    wanted = replay_wanted(len(chosen), share, settings.max_examples - len(chosen))
    chosen = draw_by_answer(replay.rows, wanted, rng)
    replay = replay.keep(chosen, not_drawn=len(replay.rows) - len(chosen))

    examples = [example(row, "tonight") for row in new.rows]
    examples += [example(row, "replay") for row in replay.rows]
    redaction = _redact(ctx, examples)
    train, dev = split(examples, settings.dev_share, rng)
    planted = canaries(settings.canary_strings, ctx.config.seed, ctx.night, ctx.config.task.system_prompt)
    train += [canary_example(canary, number) for number, canary in enumerate(planted, start=1)]
    facts = _facts(ctx, new, replay, train, dev, redaction)
    return _outcome(ctx, facts, train, dev, planted)


def _outcome(ctx: Context, facts: dict, train: Rows, dev: Rows, planted: Rows) -> Outcome:
    counts, least = facts["counts"], ctx.config.curate.min_examples
    kept = counts["new"]["kept"] + counts["replay"]["kept"]
    _write_lines(ctx.out / "train.jsonl", train)
    _write_lines(ctx.out / "dev.jsonl", dev)
    (ctx.out / "canaries.json").write_text(json.dumps(planted, indent=1), encoding="utf-8")
    (ctx.out / "card.md").write_text(dataset_card(ctx.night, facts), encoding="utf-8")
    enough = counts["new"]["kept"] >= least
    said = f"{kept} examples: {counts['new']['kept']} new, {counts['replay']['kept']} replayed"
    return Outcome(
        headline=said,
        verdict=Verdict.PROCEED if enough else Verdict.SKIP,
        reasons=(said + ".",) if enough else (_too_few(counts["new"], least),),
        outputs={
            "train": "train.jsonl",
            "dev": "dev.jsonl",
            "canaries": "canaries.json",
            "card": "card.md",
        },
        metrics={
            "train_examples": (float(counts["train"]), "examples"),
            "dev_examples": (float(counts["dev"]), "examples"),
        },
        facts=facts,
    )


def _too_few(counts: dict[str, int], least: int) -> str:
    reasons = {name: n for name, n in counts.items() if name not in ("read", "kept") and n}
    went = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in reasons.items())
    return f"{counts['kept']} new examples are left of {counts['read']} rows; {least} are needed ({went})."


def _read(ctx: Context, first: date, last: date) -> Part:
    most, labels = POOL * ctx.config.curate.max_examples, ctx.config.task.labels
    return labelled_rows(_lake(ctx), first, last, ctx.night, most, ctx.config.seed, labels)


def _clean(ctx: Context, part: Part, suite: Sequence[str], near: NearDuplicates) -> Part:
    """One answer a question, nothing that evaluation asks, no near duplicates (the latest stays)."""
    rows, went = one_answer_each(part.rows)
    part = part.keep(rows, **went)
    rows, went = without_evaluation(part.rows, ctx.config.curate.holdout_share, suite)
    part = part.keep(rows, **went)
    part = part.without(near.matching(_prompts(part.rows), suite), "near_suite")
    newest_first = Part(part.rows[::-1], part.counts)
    part = newest_first.without(near.within(_prompts(newest_first.rows)), "near_duplicate")
    return Part(part.rows[::-1], part.counts)


def _prompts(rows: Rows) -> list[str]:
    return [normalise(row["prompt"]) for row in rows]


def _redact(ctx: Context, examples: Rows) -> dict[str, Any]:
    """Replace personal data in place, but never in the system prompt or in a label."""
    settings, labels = ctx.config.curate, set(ctx.config.task.labels)
    messages = [
        message
        for example in examples
        for message in example["prompt"] + example["completion"]
        if message["role"] != "system" and message["content"] not in labels
    ]
    log.info("curate: looking for personal data in %d texts", len(messages))
    clean, counts = Redactor(settings.redact_entities, settings.redact_score).redact(
        [message["content"] for message in messages]
    )
    changed = sum(message["content"] != text for message, text in zip(messages, clean, strict=True))
    for message, text in zip(messages, clean, strict=True):
        message["content"] = text
    return {
        "redacted": dict(sorted(counts.items())),
        "texts": len(messages),
        "texts_redacted": changed,
    }


def _facts(
    ctx: Context, new: Part, replay: Part, train: Rows, dev: Rows, redaction: dict[str, Any]
) -> dict[str, Any]:
    settings = ctx.config.curate
    answers = {"train": _answers(train), "dev": _answers(dev)}
    names = sorted(answers["train"] | answers["dev"])
    return {
        "counts": {
            "new": new.counts,
            "replay": replay.counts,
            "canaries": settings.canary_strings,
            "train": len(train),
            "dev": len(dev),
        },
        "window": ctx.inputs["decide"].facts["window"],
        "nights": _nights(new.rows),
        "replay_nights": _nights(replay.rows),
        "answers": {name: {"train": answers["train"][name], "dev": answers["dev"][name]} for name in names},
        **redaction,
        "settings": settings.model_dump(mode="json"),
        "seed": ctx.config.seed,
    }


def _answers(examples: Rows) -> Counter[str]:
    return Counter(e["completion"][0]["content"] for e in examples if e["origin"] != "canary")


def _nights(rows: Rows) -> list[str]:
    return sorted({str(row["ts"].date()) for row in rows})


def _write_lines(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _suite_file(ctx: Context) -> Path:
    path = Path(ctx.config.path(ctx.config.evaluate.suite))
    if not path.is_file():
        raise InputError(
            "the frozen evaluation suite, so that none of it is trained on",
            f"no file {path}",
            "Run `.venv/bin/python -m pipelines sample`, or point evaluate.suite to your own JSONL of items.",
        )
    return path


def _suite_prompts(ctx: Context) -> list[str]:
    lines = _suite_file(ctx).read_text(encoding="utf-8").splitlines()
    return [normalise(prompt_of(json.loads(line)["messages"])) for line in lines if line.strip()]


def _lake(ctx: Context) -> Lake:
    return open_lake(ctx.config)
