"""The nights: how each ended, and what became of the version that it registered. Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.core.facts.evaluate import Accuracy
from pipelines.core.facts.record import DecisionFacts

Row = Mapping[str, Any]
SIGNS = {  # so that a state is not shown by colour alone
    "promoted": "★",
    "trained": "●",
    "skipped": "–",
    "held": "‖",
    "rejected": "✕",
    "waiting": "…",
    "rolled back": "↩",
}
RECENT_MONTHS = 3
RECENT_NIGHTS = 10
START = {"production": None, "canary": None, "shadow": None}


def fates_of(moves: Sequence[Row]) -> dict[str, tuple[str, str, str]]:
    """Version -> (fate, when, why), from the moves in the ledger."""
    fates: dict[str, tuple[str, str, str]] = {}
    for before, move in itertools.pairwise([{"route": START}, *moves]):
        was, now = before["route"], move["route"]
        when_why = (move["at"], move["reason"])
        gone = was["canary"] or was["shadow"]
        if move["move"] == "rollback" and was["production"]:
            fates[was["production"]["version"]] = ("rolled back", *when_why)
        elif now["production"] and now["production"] != was["production"]:
            fates[now["production"]["version"]] = ("promoted", *when_why)
        if gone and gone not in (now["canary"], now["shadow"], now["production"]):
            fates[gone["version"]] = ("turned back", *when_why)
        if (entered := now["canary"] or now["shadow"]) and entered != gone:
            fates[entered["version"]] = ("in rollout", *when_why)
    return fates


def nights_of(
    decisions: Sequence[Row], fates: Mapping[str, Sequence[str]], links: Callable[[Row], Row]
) -> dict[str, Any]:
    """Months of cells for the strip, and the same nights as a list, newest first."""
    rows = [_night(row, fates, links(row)) for row in sorted(decisions, key=_order)]
    newest_first = rows[::-1]
    counted = Counter(row["state"] for row in rows)
    months = _months(rows)
    return {
        "signs": [
            {"state": state, "sign": sign, "count": counted[state], "css": _css(state)}
            for state, sign in SIGNS.items()
        ],
        "total": len(rows),
        "recent_months": months[:RECENT_MONTHS],
        "older_months": months[RECENT_MONTHS:],
        "recent": newest_first[:RECENT_NIGHTS],
        "older": newest_first[RECENT_NIGHTS:],
    }


def _order(row: Row) -> tuple[str, str]:
    return row["night"], row.get("decided_at", "")


def _night(row: Row, fates: Mapping[str, Sequence[str]], links: Row) -> dict[str, Any]:
    facts: DecisionFacts = row["facts"]
    version = facts.registered_version
    fate, _, fate_why = fates.get(version, ("", "", "")) if version else ("", "", "")
    state = fate if fate in SIGNS else row["outcome"]
    why = [*row["reasons"], *([facts.interruptions.sentence] if facts.interruptions else [])]
    if fate:
        why.append(f"version {version} {'is ' if fate == 'in rollout' else 'was '}{fate}: {fate_why}")
    return {
        "night": row["night"],
        "run_id": row["run_id"],
        "state": state,
        "css": _css(state),
        "sign": SIGNS.get(state, "?"),
        "why": why,
        "cause": facts.cause or "",
        "accuracy": _accuracy(facts.accuracy),
        "told": [decision.model_dump(mode="json") for decision in facts.told],
        **links,
    }


def _css(state: str) -> str:
    return state.replace(" ", "-") if state in SIGNS else "other"


def _accuracy(accuracy: Accuracy | None) -> str:
    return f"{accuracy.production.value:.1%} → {accuracy.candidate.value:.1%}" if accuracy else ""


def _months(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Newest month first; each with 31 days, a day being its last decided run or None."""
    months = []
    for month, nights in itertools.groupby(rows, lambda row: row["night"][:7]):
        days: list[dict[str, Any] | None] = [None] * 31
        for row in nights:
            place = int(row["night"][8:10]) - 1
            before = days[place]
            shown = {key: row[key] for key in ("night", "run_id", "state", "css", "sign", "why")}
            days[place] = {**shown, "more": before["more"] + 1 if before else 0}
        months.append({"month": month, "days": days})
    return months[::-1]
