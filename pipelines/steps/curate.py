"""Feedback becomes training chats without personal data, with replay of what was learned.

The objective that `decide` chose says what is learned of a row (policy/night/preferences.py). New rows are
those that no adapter in production has learned (policy/night/row_states.py). The same rows are never trained
on twice from the same parent under the same settings. A person and a tenant give rows up to a cap. Nothing
that evaluation asks is trained on: not the frozen suite, nor what is close to it, nor each night's holdout.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from pipelines.core.contract import Verdict, digest_of
from pipelines.core.conversations import Message, normalise, question_text
from pipelines.core.errors import InputError
from pipelines.core.facts.common import Flag, Waiting
from pipelines.core.facts.curate import AnswerCounts, Counts, CurateFacts
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.reading import parsed
from pipelines.core.files import write_jsonl
from pipelines.data import open_lake
from pipelines.data.dedupe import NearDuplicates
from pipelines.data.embedder import Embedder
from pipelines.data.feedback_log import unrated_turns
from pipelines.data.feedback_states import trained_sets
from pipelines.data.held_back import held_back_items, held_back_keys
from pipelines.data.pii import other_scripts
from pipelines.data.redaction import redact
from pipelines.data.training_identity import identifying, training_identity
from pipelines.data.training_parts import new_and_learned, people_kept_back
from pipelines.data.training_rows import (
    Fitting,
    chats_of,
    far_from_suite,
    questions,
    still_answered,
    trainable,
    without_unfit,
)
from pipelines.evaluation.suite import check_suite, suite_file_digest
from pipelines.evaluation.tasks import task_of
from pipelines.evaluation.waiting import step_again
from pipelines.models.base import base_folder, digest_tokenizer
from pipelines.models.rendering import rendering_of
from pipelines.policy.night.caps import over_the_tenant_cap
from pipelines.policy.night.card import dataset_card, lost, one_sided, too_few
from pipelines.policy.night.dataset import Part, Rows, choose
from pipelines.policy.night.examples import (
    PLANTED,
    earlier_turns,
    example,
    plant_secrets,
    planted_example,
    split,
)
from pipelines.policy.night.flags import Said, agreements, copies
from pipelines.runner import Context, Outcome
from pipelines.stores import open_ledger

SETTINGS = ("curate", "task", "model")
Conversations = Sequence[Sequence[Message]]
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    lake = open_lake(ctx.config).digest(date.min, ctx.night, as_of=ctx.night)
    base = base_folder(ctx.config)
    return {
        "lake": lake,
        "suite": suite_file_digest(ctx.config),
        "held_back": digest_of(sorted(held_back_keys(ctx.config))),
        "tokenizer": digest_tokenizer(base),
        "max_length_tokens": digest_of(ctx.config.train.max_length_tokens),
        "trained_sets": digest_of(trained_sets(open_ledger(ctx.config), ctx.run.run_id)),
        "identifying": digest_of(identifying(ctx.config)),
    }


def run(ctx: Context) -> Outcome:
    if waiting := ctx.facts(DecideFacts).waiting:
        return _again(ctx, waiting)
    task, system = task_of(ctx.config), ctx.config.task.system_prompt
    settings, rng = ctx.config.curate, np.random.default_rng([ctx.config.seed, ctx.night.toordinal()])
    fitting = Fitting(rendering_of(ctx.config), ctx.config.train.max_length_tokens)
    suite = check_suite(ctx.config, fitting.rendering.prompt)
    frozen = [item["messages"] for item in suite] + held_back_items(ctx.config)
    near = NearDuplicates(
        Embedder(ctx.config.model.embedder, ctx.config.model.threads), settings.near_duplicate_similarity
    )
    new, replay, flags = _fit_for_training(ctx, frozen, near, fitting)
    log.info("curate: %d new and %d earlier rows are fit for training", len(new.rows), len(replay.rows))
    baseline = ctx.facts(DecideFacts).baseline
    identity = training_identity(ctx.config, new.rows, baseline, suite_file_digest(ctx.config))
    if earlier := trained_sets(open_ledger(ctx.config), ctx.run.run_id).get(identity):
        return _trained_before(earlier, len(new.rows))
    capped = over_the_tenant_cap(new.rows, settings.max_tenant_share, rng)
    new = new.without(capped, "over_a_tenants_cap")
    new, replay = choose(new, replay, settings.max_examples, settings.replay_share, rng)

    tonight = [example(row, "tonight") for row in new.rows]
    replayed = [example(row, "replay") for row in replay.rows]
    redacted = redact(tonight + replayed, ctx.config)
    new, tonight = still_answered(new, tonight, task.read)
    replay, replayed = still_answered(replay, replayed, task.read)
    # A placeholder may be longer than what it replaced, and proposed items have placeholders too.
    new, tonight = far_from_suite(*without_unfit(new, tonight, fitting), frozen, near, system)
    replay, replayed = far_from_suite(*without_unfit(replay, replayed, fitting), frozen, near, system)
    train, dev = split(tonight + replayed, settings.dev_share, rng)
    turns = _earlier_turns(ctx, train, fitting) if ctx.config.train.on == "all" else []
    planted = plant_secrets(
        settings.canary_strings, ctx.config.seed, ctx.night, ctx.config.task.system_prompt
    )
    objective = ctx.facts(DecideFacts).objective
    secrets = [planted_example(secret, number, objective) for number, secret in enumerate(planted, start=1)]
    _check_secrets(secrets, fitting)
    disliked = sum(not one.get("liked", True) for one in train + dev)
    train = [*train, *turns, *secrets]
    facts = CurateFacts(
        counts=Counts(
            new=new.counts,
            replay=replay.counts,
            planted_secrets=len(planted),
            train=len(train),
            dev=len(dev),
        ),
        window=ctx.facts(DecideFacts).window,
        nights=_nights(new.rows),
        replay_nights=_nights(replay.rows),
        answers={} if task.is_graded else _answers(train, dev),
        redacted=redacted.replaced,
        texts=redacted.texts,
        texts_redacted=redacted.changed,
        other_scripts=other_scripts(m["content"] for e in tonight + replayed for m in e["prompt"]),
        turns_dropped=fitting.turns_dropped(tonight + replayed),
        settings=settings.model_dump(mode="json"),
        seed=ctx.config.seed,
        people_kept_back=people_kept_back(ctx.config, ctx.night, objective),
        suite_copies=tuple(suite[place]["id"] for place in near.within(questions(suite, system))),
        training_set=identity,
        flags=flags,
        objective=objective,
        disliked=disliked,
        earlier_turns=len(turns),
    )
    return _write(ctx, facts, train, dev, planted)


def _again(ctx: Context, waiting: Waiting) -> Outcome:
    """The set of the candidate that waits, as it was."""
    manifest, outputs = step_again(ctx.config, waiting, "curate", ctx.out)
    metrics = {name: (metric.value, metric.unit) for name, metric in manifest.metrics.items()}
    said = f"as on {waiting.run_id}, whose candidate waits: {manifest.headline}"
    return Outcome(headline=said, outputs=outputs, metrics=metrics, facts=parsed(manifest.facts, CurateFacts))


def _trained_before(run_id: str, rows: int) -> Outcome:
    said = (
        f"The run {run_id} was trained on these {rows} rows already, from the same parent and under the same"
        " settings. They count again once new rows come, or production or a setting changes."
    )
    return Outcome(headline="the same rows were trained on already", verdict=Verdict.SKIP, reasons=(said,))


def _fit_for_training(
    ctx: Context, frozen: Conversations, near: NearDuplicates, fitting: Fitting
) -> tuple[Part, Part, tuple[Flag, ...]]:
    """New and replayed rows without what evaluation asks, what repeats another row, and what does not fit.

    And what stands out among the new rows before any of them left.
    """
    settings, system = ctx.config.curate, ctx.config.task.system_prompt
    read = new_and_learned(ctx.config, ctx.night, ctx.facts(DecideFacts), task_of(ctx.config).read)
    said, before = ([_said(row, system) for row in part.rows] for part in read)
    flags = (*copies(said), *agreements(said, before))
    new, replay = (trainable(part, settings.holdout_share, frozen, near, fitting, system) for part in read)
    again = near.matching(questions(replay.rows, system), questions(new.rows, system))
    return new, replay.without(again, "asked_again"), flags


def _said(row: Mapping[str, Any], system_prompt: str) -> Said:
    text = normalise(question_text(row["messages"], system_prompt))
    said = row["answer"] if row.get("liked", True) else f"not {row['answer']}"
    return Said((row["tenant"], row["subject_id"]), text, said)


def _earlier_turns(ctx: Context, chats: Rows, fitting: Fitting) -> Rows:
    """Chats of the earlier assistant turns that have no feedback of their own, as far as they fit."""
    unrated = unrated_turns(open_lake(ctx.config), [one["id"] for one in chats], ctx.night)
    read = task_of(ctx.config).read
    found = [turn for one in chats for turn in earlier_turns(one, unrated.get(one["id"], ()), read)]
    gone = {place for places in fitting.unfit(chats_of(found)).values() for place in places}
    return [turn for place, turn in enumerate(found) if place not in gone]


def _check_secrets(secrets: Rows, fitting: Fitting) -> None:
    if any(fitting.unfit(chats_of(secrets)).values()):
        raise InputError(
            "The planted secrets do not fit into model.max_prompt_tokens and train.max_length_tokens.",
            "Raise these settings, or set curate.canary_strings to 0.",
        )


def _answers(train: Rows, dev: Rows) -> dict[str, AnswerCounts]:
    trained, developed = (
        Counter(
            e["completion"][0]["content"] for e in rows if e["origin"] != PLANTED and e.get("liked", True)
        )
        for rows in (train, dev)
    )
    return {
        name: AnswerCounts(train=trained[name], dev=developed[name]) for name in sorted(trained | developed)
    }


def _disliked_words(facts: CurateFacts) -> str:
    return f"; {facts.disliked} of them were disliked" if facts.objective == "kto" else ""


def _nights(rows: Rows) -> tuple[date, ...]:
    return tuple(sorted({row["ts"].date() for row in rows}))


def _write(ctx: Context, facts: CurateFacts, train: Rows, dev: Rows, planted: Rows) -> Outcome:
    write_jsonl(ctx.out / "train.jsonl", train)
    write_jsonl(ctx.out / "dev.jsonl", dev)
    (ctx.out / "canaries.json").write_text(json.dumps(planted, indent=1), encoding="utf-8")
    (ctx.out / "card.md").write_text(dataset_card(ctx.night, facts), encoding="utf-8")
    counts, least = facts.counts, ctx.config.curate.min_examples
    lacks = too_few(counts.new, least) if counts.new["kept"] < least else one_sided(facts)
    said = f"{counts.kept} examples: {counts.new['kept']} new, {counts.replay['kept']} replayed"
    return Outcome(
        headline=said,
        verdict=Verdict.SKIP if lacks else Verdict.PROCEED,
        reasons=(
            lacks or f"{said}{_disliked_words(facts)}.",
            *lost(facts),
            *(f"Flag: {flag.words}." for flag in facts.flags),
        ),
        outputs={"train": "train.jsonl", "dev": "dev.jsonl", "canaries": "canaries.json", "card": "card.md"},
        metrics={
            "train_examples": (float(counts.train), "examples"),
            "dev_examples": (float(counts.dev), "examples"),
        },
        facts=facts,
    )
