"""Did tonight's traffic move away from what the live model learned from?

The reference is the production adapter's training nights; without a production adapter, the first
nights in the lake. Shadow answers are left out, because no user saw them.
"""

from __future__ import annotations

import logging
import re
from datetime import date
from typing import Any

from pipelines.core.contract import digest_of
from pipelines.core.conversations import question_text
from pipelines.core.facts.drift import ColumnFinding, DriftFacts, Reference, Tonight
from pipelines.data import open_lake
from pipelines.data.embedder import Embedder
from pipelines.data.pii import Redactor
from pipelines.data.reference import reference_of, sample
from pipelines.evaluation.drift_comparison import Comparison, compare_windows
from pipelines.policy.night.drift import ANSWER
from pipelines.runner import Context, Outcome

SETTINGS = ("drift", "model", "task", "curate")
log = logging.getLogger("nightshift")
PLACEHOLDER = re.compile(r"<[A-Z_]+>")  # what stands for personal data names no topic
Rows = list[dict[str, Any]]


def external_inputs(ctx: Context) -> dict[str, str]:
    reference = reference_of(ctx.config, ctx.night)
    first = min([*_nights(reference), ctx.night])
    return {
        "reference": digest_of(reference),
        "lake": open_lake(ctx.config).digest(first, ctx.night, as_of=ctx.night),
    }


def run(ctx: Context) -> Outcome:
    reference = reference_of(ctx.config, ctx.night)
    nights = _nights(reference)
    tonight, total = _sample(ctx, [ctx.night])
    before, reference_total = _sample(ctx, nights)
    seen: dict[str, Any] = {
        "reference": Reference(
            source=reference["source"],
            nights=tuple(nights),
            rows=len(before),
            rows_in_lake=reference_total,
        ),
        "tonight": Tonight(rows=len(tonight), rows_in_lake=total),
        "seed": _seed(ctx),
        "cap": ctx.config.drift.max_rows,
        "alpha": ctx.config.drift.alpha,
    }
    fewest = min(len(before), len(tonight))
    if not nights:
        return _not_compared("no reference yet", "There is no earlier night to compare with.", seen)
    if fewest < ctx.config.drift.min_rows:
        reason = f"One side has {fewest} rows; a comparison needs {ctx.config.drift.min_rows}."
        return _not_compared("too few rows to compare", reason, seen)
    found = _compare(ctx, before, tonight)
    (ctx.out / "evidently.html").write_text(found.html, encoding="utf-8")
    drifted = [column.column for column in found.columns if column.drifted]
    return Outcome(
        headline=_headline(drifted, len(found.columns)),
        reasons=_reasons(found, ctx.config.drift.alpha),
        outputs={"evidently": "evidently.html"},
        metrics={
            "columns_drifted": (float(len(drifted)), "columns"),
            "columns_tested": (float(len(found.columns)), "columns"),
        },
        facts=DriftFacts(
            **seen,
            drift=found.drift,
            columns=found.columns,
            topics=found.topics,
            same_model=found.same_model,
            permutations=found.permutations,
        ),
    )


def _not_compared(headline: str, reason: str, seen: dict[str, Any]) -> Outcome:
    facts = DriftFacts(**seen, drift=False, columns=(), topics=())
    return Outcome(headline=headline, reasons=(reason,), facts=facts)


def _compare(ctx: Context, before: Rows, tonight: Rows) -> Comparison:
    embedder = Embedder(ctx.config.model.embedder, ctx.config.model.threads)
    log.info("drift: embedding %d prompts and their completions", len(before) + len(tonight))
    texts = [question_text(row["messages"], ctx.config.task.system_prompt) for row in before + tonight]
    asked = embedder.embed(texts)
    answered = embedder.embed([row["completion"] for row in before + tonight])
    return compare_windows(before, tonight, asked, answered, _shown(ctx, texts), ctx.config, _seed(ctx))


def _shown(ctx: Context, texts: list[str]) -> list[str]:
    """The texts without personal data, because words of them name the topics."""
    settings, unique = ctx.config.curate, sorted(set(texts))
    clean, _ = Redactor(settings.redact_entities, settings.redact_score).redact(unique)
    known = dict(zip(unique, (PLACEHOLDER.sub(" ", text) for text in clean), strict=True))
    return [known[text] for text in texts]


def _headline(drifted: list[str], columns: int) -> str:
    if not drifted:
        return f"no drift in {columns} columns"
    return f"drift in {len(drifted)} of {columns} columns: {', '.join(drifted[:3])}"


def _reasons(found: Comparison, alpha: float) -> tuple[str, ...]:
    said = [_moved(column) for column in found.columns if column.moved]
    if found.drift:
        top = found.topics[0]
        said.append(f"Topic '{top.words}' went from {top.reference_share:.0%} to {top.tonight_share:.0%}.")
    return tuple(said) or (f"No column moved at a family-wise {alpha:.0%}.",)


def _moved(column: ColumnFinding) -> str:
    if column.drifted:
        return f"{column.column} moved (effect {column.effect:.2f}, adjusted p {column.p_adjusted:.3g})."
    why = "another model answered the reference" if column.about == ANSWER else "it says nothing about users"
    return f"{column.column} moved too, but does not count as drift: {why}."


def _nights(reference: dict[str, Any]) -> list[date]:
    return [date.fromisoformat(night) for night in reference["nights"]]


def _sample(ctx: Context, nights: list[date]) -> tuple[Rows, int]:
    return sample(ctx.config, nights, ctx.night, _seed(ctx), ctx.config.drift.max_rows)


def _seed(ctx: Context) -> int:
    """Another sample every night, the same on every rerun."""
    return ctx.config.seed * 1_000_003 % 2**20 + ctx.night.toordinal()
