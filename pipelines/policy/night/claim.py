"""Is the candidate better? The suite tells on its first night, fresh rows and a pool while it waits. Pure."""

from __future__ import annotations

from typing import Any

from pipelines.core.config import Gate
from pipelines.core.facts.common import Fresh, Waiting
from pipelines.core.facts.gate import Check, CheckAnswer
from pipelines.policy.night import checks
from pipelines.policy.night.measured import Measured
from pipelines.policy.night.waiting import Answer, Counts, FreshRows, answer_of, first_level, in_words

ANSWERS: dict[Answer, CheckAnswer] = {"pass": "pass", "wait": "cannot conclude", "drop": "fail"}
WORDS: dict[Answer, str] = {
    "pass": "enough for the claim",
    "wait": "it waits for more",
    "drop": "more nights would not decide",
}


def fresh_rows(
    found: Measured, settings: Gate, level: float, waiting: Waiting | None = None
) -> FreshRows | None:
    """The candidate's fresh rows with tonight's; None where it cannot wait: the first night decides then.

    `level`: tonight's, which counts on its first night. `waiting`: the candidate, if it waited before.
    """
    evaluate = found.evaluate
    rows, pool = _counts(evaluate.fresh), _counts(evaluate.pool)
    if waiting:
        return fresh_so_far(waiting).and_tonight(rows, pool)
    begun = FreshRows(level, pool=(0, 0, 0) if evaluate.pool else None).and_tonight(rows, pool)
    return begun if settings.max_nights_waiting and begun.count else None


def fresh_so_far(waiting: Waiting) -> FreshRows:
    pool = _counts(waiting.pool) if waiting.pool else None
    return FreshRows(waiting.level, _counts(waiting), waiting.nights, pool)


def waiting_facts(found: FreshRows) -> dict[str, Any]:
    """As the facts about a candidate that waits have it."""
    pool = Fresh(**_named(found.pool)) if found.pool else None
    return {"level": found.level, "nights": found.nights, "pool": pool, **_named(found.rows)}


def _named(counts: Counts) -> dict[str, int]:
    return dict(zip(("won", "lost", "neither"), counts, strict=True))


def _counts(found: Fresh | None) -> Counts:
    return (found.won, found.lost, found.neither) if found else (0, 0, 0)


def improvement(found: Measured, settings: Gate, level: float, waiting: Waiting | None = None) -> Check:
    """Passes by the suite on its first night, or by its fresh rows. Whoever is worse on the suite fails."""
    fresh = fresh_rows(found, settings, level, waiting)
    if fresh is None:
        return checks.improvement(found, settings.min_improvement, level)
    check = checks.improvement(found, settings.min_improvement, first_level(fresh.level, waits=True))
    if check.high is None or (check.answer == "pass" and not waiting):
        return check
    answer = answer_of(fresh, settings)
    detail = f"{check.detail}; {in_words(fresh, settings)}: {WORDS[answer]}"
    if check.high < 0:
        return check.model_copy(update={"answer": "fail", "detail": f"{check.detail}; it is worse"})
    return check.model_copy(update={"answer": ANSWERS[answer], "detail": detail})
