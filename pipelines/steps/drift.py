"""Did tonight's traffic move, compared with the nights that the live model knows?

Tonight is compared with the nights up to the last one that the production adapter learned from. Without a
production adapter, it is compared with the first nights in the lake. Shadow answers are left out, because no
user saw them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from pipelines.core.contract import digest_of
from pipelines.core.conversations import question_text
from pipelines.core.facts.drift import ColumnFinding, DriftFacts, Reference, Tonight
from pipelines.data import open_lake
from pipelines.data.reference import NightRows, reference_of, sample_by_person
from pipelines.policy.night.drift import ANSWER, TOO_FEW, too_little
from pipelines.runner import Context, Outcome

if TYPE_CHECKING:
    from pipelines.evaluation.drift_comparison import Comparison

SETTINGS = ("drift", "model", "task", "curate")
log = logging.getLogger("nightshift")
PLACEHOLDER = re.compile(r"<[A-Z_]+>")  # what stands for personal data names no topic


def external_inputs(ctx: Context) -> dict[str, str]:
    reference = reference_of(ctx.config, ctx.night)
    first = min([*_nights(reference), ctx.night])
    return {
        "reference": digest_of(reference),
        "lake": open_lake(ctx.config).digest(first, ctx.night, as_of=ctx.night),
    }


def run(ctx: Context) -> Outcome:
    reference, settings = reference_of(ctx.config, ctx.night), ctx.config.drift
    *past, tonight = sample_by_person(ctx.config, [*_nights(reference), ctx.night], ctx.night, _seed(ctx))
    compared = [one for one in past if len(one.rows) >= settings.min_rows]
    seen: dict[str, Any] = {
        "reference": Reference(
            source=reference["source"],
            nights=tuple(one.night for one in compared),
            rows=sum(len(one.rows) for one in compared),
            rows_in_lake=sum(one.in_lake for one in compared),
            left_out=tuple(one.night for one in past if one not in compared),
        ),
        "tonight": Tonight(
            rows=len(tonight.rows),
            rows_in_lake=tonight.in_lake,
            people=tonight.people,
            over_the_cap=tonight.over_the_cap,
            without_person=tonight.without_person,
        ),
        "seed": _seed(ctx),
        "cap": settings.max_rows,
        "alpha": settings.alpha,
        "smallest_effect": settings.smallest_effect,
        "rows_per_person": settings.rows_per_person,
    }
    if why := too_little(len(compared), len(tonight.rows), settings.min_rows):
        facts = DriftFacts(**seen, drift=False, rule=TOO_FEW, columns=(), topics=())
        return Outcome(headline=f"cannot conclude: {why}", reasons=(_unconcluded(why),), facts=facts)
    found = _compare(ctx, [*compared, tonight])
    (ctx.out / "evidently.html").write_text(found.html, encoding="utf-8")
    drifted = [column.column for column in found.columns if column.drifted]
    return Outcome(
        headline=_headline(drifted, len(found.columns)),
        reasons=_reasons(found, len(compared)),
        outputs={"evidently": "evidently.html"},
        metrics={
            "columns_drifted": (float(len(drifted)), "columns"),
            "columns_tested": (float(len(found.columns)), "columns"),
        },
        facts=DriftFacts(
            **seen,
            drift=found.drift,
            rule=found.rule,
            columns=found.columns,
            topics=found.topics,
            same_model=found.same_model,
            weekdays_matched=found.weekdays_matched,
        ),
    )


def _unconcluded(why: str) -> str:
    return f"Whether this night drifted cannot be told ({why}), so it counts as a night without drift."


def _compare(ctx: Context, nights: Sequence[NightRows]) -> Comparison:
    # Loaded only here, for it takes seconds, and a night of the first week compares nothing.
    from pipelines.data.embedder import Embedder
    from pipelines.evaluation.drift_comparison import compare_nights

    rows = [row for night in nights for row in night.rows]
    embedder = Embedder(ctx.config.model.embedder, ctx.config.model.threads)
    log.info("drift: embedding %d prompts and their completions", len(rows))
    texts = [question_text(row["messages"], ctx.config.task.system_prompt) for row in rows]
    asked = embedder.embed(texts)
    answered = embedder.embed([row["completion"] for row in rows])
    weekdays = [night.night.weekday() for night in nights]
    compared = [night.rows for night in nights]
    return compare_nights(compared, asked, answered, _shown(ctx, texts), ctx.config, _seed(ctx), weekdays)


def _shown(ctx: Context, texts: list[str]) -> list[str]:
    """The texts without personal data, because words of them name the topics."""
    from pipelines.data.pii import Redactor

    settings, unique = ctx.config.curate, sorted(set(texts))
    clean, _ = Redactor(settings.redact_entities, settings.redact_score).redact(unique)
    known = dict(zip(unique, (PLACEHOLDER.sub(" ", text) for text in clean), strict=True))
    return [known[text] for text in texts]


def _headline(drifted: list[str], columns: int) -> str:
    if not drifted:
        return f"no drift in {columns} columns"
    return f"drift in {len(drifted)} of {columns} columns: {', '.join(drifted[:3])}"


def _reasons(found: Comparison, past: int) -> tuple[str, ...]:
    said = [_moved(column, past) for column in found.columns if column.moved]
    if found.drift:
        top = found.topics[0]
        said.append(f"Topic '{top.words}' went from {top.reference_share:.0%} to {top.tonight_share:.0%}.")
    return tuple(said) or (f"No column is farther from usual than it was on {past} nights before.",)


def _moved(column: ColumnFinding, past: int) -> str:
    *before, now = column.distances
    usual = sum(before) / past
    said = (
        f"{column.column} is {now:.2f} from usual; nights usually are {usual:.2f}, at most {max(before):.2f}"
    )
    if column.drifted:
        return f"{said} (p {column.p_adjusted:.2g}, {past} nights)."
    why = "the nights had different models" if column.about == ANSWER else "it says nothing about users"
    return f"{said}. It does not count as drift: {why}."


def _nights(reference: dict[str, Any]) -> list[date]:
    return [date.fromisoformat(night) for night in reference["nights"]]


def _seed(ctx: Context) -> int:
    """Another sample every night, the same on every rerun."""
    return ctx.config.seed * 1_000_003 % 2**20 + ctx.night.toordinal()
