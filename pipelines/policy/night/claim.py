"""Is the candidate better? The suite tells on its first night, fresh rows while it waits. Pure."""

from __future__ import annotations

from pipelines.core.config import Gate
from pipelines.core.facts.common import Waiting
from pipelines.core.facts.gate import Check, CheckAnswer
from pipelines.policy.night import checks
from pipelines.policy.night.measured import Measured
from pipelines.policy.night.waiting import Answer, FreshRows, answer_of, first_level, in_words

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
    tonight = found.evaluate.fresh
    rows = (tonight.won, tonight.lost, tonight.neither) if tonight else (0, 0, 0)
    if waiting:
        return fresh_so_far(waiting).and_tonight(*rows)
    return FreshRows(level).and_tonight(*rows) if settings.max_nights_waiting and sum(rows) else None


def fresh_so_far(waiting: Waiting) -> FreshRows:
    return FreshRows(waiting.level, waiting.won, waiting.lost, waiting.neither, waiting.nights)


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
