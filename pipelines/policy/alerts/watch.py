"""What the tests of a watch say together. Pure.

A watch runs several tests at once. Holm's step-down keeps the chance that even one of them alarms by mistake
below the watch's share, `alpha_day / looks_per_day`. Over a day that adds up to `alpha_day` at most (the
union bound), also when the windows of neighbouring watches overlap: at most one day in `1 / alpha_day` has a
false alarm.

The window's questions are compared with nights, which knows how much nights differ. Where nights are too few,
and for answers, people change sides with all their rows. A change must also have the smallest effect.

Where there is too little to test, the watch says so; that is never an alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipelines.policy.stats.holm import holm


@dataclass(frozen=True)
class ColumnTest:
    """One column's comparison. `effect` runs from 0 (equal) to 1; `method` says which effect it is.

    `beyond`: how much larger it is than chance makes it; None for a test against a limit.
    """

    column: str
    about: str
    method: str
    p_value: float
    effect: float
    beyond: float | None = None


class WatchVerdict(StrEnum):
    """Whether anything changed. Also a column of the ledger."""

    QUIET = "quiet"
    ALARM = "alarm"
    UNCLEAR = "cannot conclude"


@dataclass(frozen=True)
class WatchFinding:
    """The verdict of one watch. `columns`: a row a test, the smallest p-value first."""

    verdict: WatchVerdict
    reasons: tuple[str, ...]
    columns: list[dict[str, Any]]
    alarms: dict[str, bool]  # what was tested (INPUT, ANSWER, FEEDBACK, SERVING) -> whether it changed


def conclude(
    tests: Sequence[ColumnTest], alpha: float, unclear: Mapping[str, str], smallest_effect: float = 0.0
) -> WatchFinding:
    """Adjust the p-values and compare them with `alpha`, the watch's share.

    `smallest_effect`: what an effect must be beyond chance. `unclear`: what could not be tested, and why.
    """
    adjusted = holm([test.p_value for test in tests])
    columns = [_row(test, p, alpha, smallest_effect) for test, p in zip(tests, adjusted, strict=True)]
    columns.sort(key=lambda row: (row["p_adjusted"], -row["effect"], row["column"]))
    changed = [row for row in columns if row["drifted"]]
    moved = [
        f"{row['about']}: {row['column']} moved (effect {row['effect']:.2f}, p {row['p_adjusted']:.2g})."
        for row in changed
    ]
    verdict = WatchVerdict.ALARM if changed else WatchVerdict.QUIET if tests else WatchVerdict.UNCLEAR
    return WatchFinding(
        verdict=verdict,
        reasons=(*moved, *(f"{about}: cannot conclude, {why}." for about, why in unclear.items())),
        columns=columns,
        alarms={test.about: any(row["about"] == test.about for row in changed) for test in tests},
    )


def _row(test: ColumnTest, p_adjusted: float, alpha: float, smallest: float) -> dict[str, Any]:
    return {
        "column": test.column,
        "about": test.about,
        "method": test.method,
        "p_value": test.p_value,
        "p_adjusted": round(p_adjusted, 8),
        "drifted": p_adjusted <= alpha and (test.beyond is None or test.beyond >= smallest),
        "effect": round(test.effect, 4),
    }
