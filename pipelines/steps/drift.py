"""Did tonight's traffic move away from what the live model learned from?

The reference is the production adapter's training nights; without a production adapter, the first
nights in the lake. Shadow answers are left out: nobody asked for them.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.data import open_lake
from pipelines.data.embedder import Embedder
from pipelines.data.lake import Lake
from pipelines.data.reference import reference_of, sample
from pipelines.data.topics import find_topics
from pipelines.evaluation.drift_report import compare, frame_of
from pipelines.policy.night.drift import ANSWER, INPUT, ColumnTest, drifted_columns, topic_shares
from pipelines.policy.night.feedback import label_of, prompt_of
from pipelines.policy.stats.permutation import energy_test, permutations_needed
from pipelines.runner import Context, Outcome

SETTINGS = ("drift", "model", "task")
ENERGY = "energy distance, relabelled"
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    lake, reference = _lake(ctx), _reference(ctx)
    nights = [date.fromisoformat(night) for night in reference["nights"]]
    first = min([*nights, ctx.night])
    return {
        "reference": digest_of(reference),
        "lake": lake.digest(first, ctx.night, as_of=ctx.night),
    }


def run(ctx: Context) -> Outcome:
    reference = _reference(ctx)
    nights = [date.fromisoformat(night) for night in reference["nights"]]
    tonight, total = _sample(ctx, [ctx.night])
    before, reference_total = _sample(ctx, nights)
    facts = {
        "drift": False,
        "reference": {**reference, "rows": len(before), "rows_in_lake": reference_total},
        "tonight": {"rows": len(tonight), "rows_in_lake": total},
        "columns": [],
        "topics": [],
        "seed": _seed(ctx),
        "cap": ctx.config.drift.max_rows,
        "alpha": ctx.config.drift.alpha,
    }
    if not nights:
        return _no_answer("no reference yet", "There is no earlier night to compare with.", facts)
    fewest = min(len(before), len(tonight))
    if fewest < ctx.config.drift.min_rows:
        reason = f"One side has {fewest} rows; a comparison needs {ctx.config.drift.min_rows}."
        return _no_answer("too few rows to compare", reason, facts)
    return _compare(ctx, before, tonight, facts)


def _compare(ctx: Context, before: list[dict], tonight: list[dict], facts: dict[str, Any]) -> Outcome:
    embedder = Embedder(ctx.config.model.embedder, ctx.config.model.threads)
    log.info("drift: embedding %d prompts and their completions", len(before) + len(tonight))
    asked = embedder.embed([prompt_of(row["messages"]) for row in before + tonight])
    answered = embedder.embed([row["completion"] for row in before + tonight])
    found, html = assess(before, tonight, asked, answered, ctx.config, _seed(ctx))
    (ctx.out / "evidently.html").write_text(html, encoding="utf-8")
    facts |= found
    drifted = [row["column"] for row in facts["columns"] if row["drifted"]]
    return Outcome(
        headline=_headline(drifted, len(facts["columns"])),
        reasons=_reasons(facts),
        outputs={"evidently": "evidently.html"},
        metrics={
            "columns_drifted": (float(len(drifted)), "columns"),
            "columns_tested": (float(len(facts["columns"])), "columns"),
        },
        facts=facts,
    )


def assess(
    before: list[dict],
    tonight: list[dict],
    asked: np.ndarray,
    answered: np.ndarray,
    config: Config,
    seed: int,
) -> tuple[dict[str, Any], str]:
    """The facts of a comparison and Evidently's page.

    `asked` and `answered`: embeddings of prompts and completions, rows of `before`, then of `tonight`.
    """
    alpha, labels, cut = config.drift.alpha, config.task.labels, len(before)
    codes, words = find_topics(asked, [prompt_of(row["messages"]) for row in before + tonight], seed)
    named = [words[code] for code in codes]
    frames = frame_of(before, labels, named[:cut]), frame_of(tonight, labels, named[cut:])
    columns = len(frames[0].columns) + 2  # and the two embeddings
    permutations = permutations_needed(config.drift.permutations, columns, alpha)
    tests, html = compare(*frames, permutations, seed, threshold=alpha / columns)

    rng = np.random.default_rng([seed, 1])
    for name, about, vectors in (
        ("prompt_embedding", INPUT, asked),
        ("completion_embedding", ANSWER, answered),
    ):
        p_value, effect = energy_test(vectors[:cut], vectors[cut:], permutations, rng)
        tests.append(ColumnTest(name, about, ENERGY, p_value, effect))

    if any(_gave_no_answer(row) for row in before + tonight):
        # Then what is known of the wanted labels depends on which answers the model got right.
        tests = [replace(test, about=ANSWER) if test.column == "wanted_label" else test for test in tests]
    same_model = {row["adapter"] for row in before} == {row["adapter"] for row in tonight}
    drift, judged = drifted_columns(tests, alpha, same_model)
    facts = {
        "drift": drift,
        "columns": judged,
        "topics": topic_shares(codes[:cut], codes[cut:], words),
        "same_model": same_model,
        "permutations": permutations,
    }
    return facts, html


def _gave_no_answer(row: dict[str, Any]) -> bool:
    """Whether a person rated without telling the right answer."""
    return row["rating"] is not None and label_of(row["rating"], row["correction"], row["completion"]) is None


def _no_answer(headline: str, reason: str, facts: dict[str, Any]) -> Outcome:
    return Outcome(headline=headline, reasons=(reason,), facts=facts)


def _headline(drifted: list[str], columns: int) -> str:
    if not drifted:
        return f"no drift in {columns} columns"
    return f"drift in {len(drifted)} of {columns} columns: {', '.join(drifted[:3])}"


def _reasons(facts: dict[str, Any]) -> tuple[str, ...]:
    said = []
    for row in facts["columns"]:
        if row["drifted"]:
            said.append(
                f"{row['column']} moved (effect {row['effect']:.2f}, adjusted p {row['p_adjusted']:.3g})."
            )
        elif row["moved"]:
            why = (
                "another model answered the reference"
                if row["about"] == ANSWER
                else "it says nothing about users"
            )
            said.append(f"{row['column']} moved too, but does not count as drift: {why}.")
    if facts["drift"]:
        top = facts["topics"][0]
        said.append(
            f"Topic '{top['words']}' went from {top['reference_share']:.0%} to {top['tonight_share']:.0%}."
        )
    return tuple(said) or (f"No column moved at a family-wise {facts['alpha']:.0%}.",)


def _reference(ctx: Context) -> dict[str, Any]:
    return reference_of(ctx.config, ctx.night)


def _sample(ctx: Context, nights: list[date]) -> tuple[list[dict], int]:
    return sample(ctx.config, nights, ctx.night, _seed(ctx), ctx.config.drift.max_rows)


def _seed(ctx: Context) -> int:
    """Another sample every night, the same on every rerun."""
    return ctx.config.seed * 1_000_003 % 2**20 + ctx.night.toordinal()


def _lake(ctx: Context) -> Lake:
    return open_lake(ctx.config)
