"""Which adapter answers users, and the rollout under way, candidate beside production. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nightshift.page.links import ago, run_url, shown_time, version_url
from nightshift.page.snapshot import Row, Snapshot
from pipelines.core.facts.reading import parsed
from pipelines.core.facts.rollout import RolloutLeftOut
from pipelines.core.facts.told import Told, percent, told
from pipelines.stores.journal.comparison import Outcome

BASE = "the bare base model"
ROLLOUT = {
    "continue": "The candidate stays at this stage: there are too few answers yet, or it waits.",
    "promote": "The candidate does well enough at this stage to go on to the next.",
    "abort": "The candidate does worse than production, or cannot go on, so the rollout ends.",
}


def live_of(shown: Snapshot, moves: Sequence[Row]) -> dict[str, Any]:
    """The adapter that answers users, and the move since which it does."""
    if not moves:
        return {"version": None, "digest": None, "words": BASE, "move": None, "held": "", "mlflow": ""}
    live = moves[-1]["route"]["production"]
    first = len(moves) - 1
    while first and moves[first - 1]["route"]["production"] == live:
        first -= 1
    made = moves[first] if first or live else None
    return {
        "version": live and live["version"],
        "digest": live and live["digest"],
        "words": f"version {live['version']}" if live else BASE,
        "move": made and _move(shown, made),
        "held": shown.held_move,
        "mlflow": version_url(shown.mlflow, shown.name, live),
    }


def _move(shown: Snapshot, move: Row) -> dict[str, Any]:
    return {
        "at": shown_time(move["at"]),
        "ago": ago(move["at"], shown.now),
        "move": move["move"],
        "actor": move["actor"],
        "reason": move["reason"],
        "evidence": list(move["evidence"].get("reasons", ())),
        "left_out": left_out_of(move["evidence"]),
        "run": _promote_run(shown, move),
    }


def rollout_of(shown: Snapshot, moves: Sequence[Row]) -> dict[str, Any] | None:
    """The candidate, its stages, and its numbers beside production's; None without a rollout."""
    route = moves[-1]["route"] if moves else {}
    candidate = route.get("canary") or route.get("shadow")
    if not candidate:
        return None
    weight = route["canary_weight"] if route["canary"] else 0.0
    place = next((number for number, stage in enumerate(shown.stages) if stage[1] == weight), -1)
    names = [(name, share) for name, share in shown.stages] + [("production", 1.0)]
    return {
        "version": candidate["version"],
        "digest": candidate["digest"],
        "move": _move(shown, moves[-1]),
        "stages": [
            {"name": name, "share": share, "state": _place(number, place)}
            for number, (name, share) in enumerate(names)
        ],
        "told": rollout_told(shown.analysis, shown.outcomes).model_dump(mode="json")
        if shown.analysis
        else None,
        "comparison": comparison_of(shown.outcomes),
        "judge": _analysis(shown),
        "mlflow": version_url(shown.mlflow, shown.name, candidate),
    }


def _place(number: int, now: int) -> str:
    return "done" if number < now else "now" if number == now else "ahead"


def rollout_told(analysis: Row, outcomes: Sequence[Outcome]) -> Told:
    """The last analysis of the stage under way in a sentence and three figures."""
    answer = analysis["result"]["answer"]
    sides = [[one for one in outcomes if one.is_candidate is side] for side in (False, True)]
    liked = [[one.rating == 1 for one in side if one.rating is not None] for side in sides]
    before, now = (_ratio(side) for side in liked)
    errors = _ratio([one.is_error for one in sides[1]])
    return told(
        "rollout",
        answer,
        ROLLOUT.get(answer, "There is no rollout."),
        (f"{len(sides[1]):,}", "answers by the candidate"),
        (f"{percent(now)} / {percent(before)}", "of its rated answers liked / of production's"),
        (percent(errors), "of its answers failed"),
    )


def left_out_of(evidence: Mapping[str, Any]) -> list[dict[str, str]]:
    """Who was left out of an analysis, and what it says without them; none in moves of older versions."""
    parts = [parsed(part, RolloutLeftOut) for part in evidence.get("left_out", ())]
    return [
        {
            "who": part.who,
            "measure": part.measure,
            "rows": f"{part.rows:,}",
            "answer": part.answer,
            "clean": "" if part.p_value is None else f"{part.p_value:.1%}",
        }
        for part in parts
    ]


def _ratio(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def comparison_of(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Each measure as text, for [production, candidate]. Empty before the first answer."""
    sides = [[one for one in outcomes if one.is_candidate is side] for side in (False, True)]
    if not outcomes:
        return []
    rated = [[one.rating for one in side if one.rating is not None] for side in sides]
    times = [sorted(one.latency_ms for one in side if one.latency_ms is not None) for side in sides]
    return [
        {"what": "answers", "sides": [f"{len(side):,}" for side in sides]},
        {"what": "liked, of those rated", "sides": [_share([r == 1 for r in side]) for side in rated]},
        {"what": "errors", "sides": [_share([one.is_error for one in side]) for side in sides]},
        {"what": "refusals", "sides": [_share([one.refused for one in side]) for side in sides]},
        {"what": "latency, median", "sides": [_quantile(side, 0.5) for side in times]},
        {"what": "latency, 95 in 100 within", "sides": [_quantile(side, 0.95) for side in times]},
    ]


def _share(flags: Sequence[bool]) -> str:
    return f"{sum(flags) / len(flags):.1%} ({sum(flags):,} of {len(flags):,})" if flags else "none yet"


def _quantile(ordered: Sequence[float], share: float) -> str:
    return f"{ordered[int(share * (len(ordered) - 1))]:,.0f} ms" if ordered else "none yet"


def _analysis(shown: Snapshot) -> dict[str, Any] | None:
    if shown.analysis is None:
        return None
    result = shown.analysis["result"]
    return {
        "stage": shown.analysis["stage"],
        "answer": result["answer"],
        "reasons": list(result["reasons"]),
        "left_out": left_out_of(result.get("evidence", {})),
        "at": shown_time(shown.analysis["at"]),
        "ago": ago(shown.analysis["at"], shown.now),
    }


def _promote_run(shown: Snapshot, move: Row) -> str:
    """The address of the DAG run that made a move; empty for a move by hand."""
    dag = "rollback" if move["move"] == "rollback" else "promote"
    return run_url(shown.root, dag, move["run_id"]) if move["run_id"] else ""
