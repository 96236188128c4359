"""Who answers users, and the rollout under way with its two sides. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nightshift.page.links import ago, run_url, shown_time, version_url

if TYPE_CHECKING:
    from nightshift.page.model import Read

Row = Mapping[str, Any]
BASE = "the bare base model"


@dataclass(frozen=True)
class Answered:
    """One answer or failed attempt of the rollout under way, or of production beside it."""

    candidate: bool
    error: bool
    refused: bool
    latency_ms: float | None
    rating: int | None


def live_of(read: Read, moves: Sequence[Row]) -> dict[str, Any]:
    """Who answers users, and the move that made it so."""
    if not moves:
        return {"version": None, "digest": None, "words": BASE, "move": None, "mlflow": ""}
    live = moves[-1]["route"]["production"]
    first = len(moves) - 1
    while first and moves[first - 1]["route"]["production"] == live:
        first -= 1
    made = moves[first] if first or live else None
    return {
        "version": live and live["version"],
        "digest": live and live["digest"],
        "words": f"version {live['version']}" if live else BASE,
        "move": made and _move(read, made),
        "mlflow": version_url(read.mlflow, read.name, live),
    }


def _move(read: Read, move: Row) -> dict[str, Any]:
    return {
        "at": shown_time(move["at"]),
        "ago": ago(move["at"], read.now),
        "move": move["move"],
        "actor": move["actor"],
        "reason": move["reason"],
        "evidence": list(move["evidence"].get("reasons", ())),
        "run": _promote_run(read, move),
    }


def rollout_of(read: Read, moves: Sequence[Row]) -> dict[str, Any] | None:
    """The candidate under way, stage by stage, and how it does beside production; None without one."""
    route = moves[-1]["route"] if moves else {}
    candidate = route.get("canary") or route.get("shadow")
    if not candidate:
        return None
    weight = route["canary_weight"] if route["canary"] else 0.0
    place = next((number for number, stage in enumerate(read.stages) if stage[1] == weight), -1)
    names = [(name, share) for name, share in read.stages] + [("production", 1.0)]
    return {
        "version": candidate["version"],
        "digest": candidate["digest"],
        "move": _move(read, moves[-1]),
        "stages": [
            {"name": name, "share": share, "state": _place(number, place)}
            for number, (name, share) in enumerate(names)
        ],
        "comparison": comparison_of(read.answered),
        "judge": _judge(read),
        "mlflow": version_url(read.mlflow, read.name, candidate),
    }


def _place(number: int, now: int) -> str:
    return "done" if number < now else "now" if number == now else "ahead"


def comparison_of(answered: Sequence[Answered]) -> list[dict[str, Any]]:
    """Each measure with its two sides, [production, candidate], as text; [] before the first answer."""
    sides = [[one for one in answered if one.candidate is side] for side in (False, True)]
    if not answered:
        return []
    rated = [[one.rating for one in side if one.rating is not None] for side in sides]
    times = [sorted(one.latency_ms for one in side if one.latency_ms is not None) for side in sides]
    return [
        {"what": "answers", "sides": [f"{len(side):,}" for side in sides]},
        {"what": "liked, of those rated", "sides": [_share([r == 1 for r in side]) for side in rated]},
        {"what": "errors", "sides": [_share([one.error for one in side]) for side in sides]},
        {"what": "refusals", "sides": [_share([one.refused for one in side]) for side in sides]},
        {"what": "latency, median", "sides": [_quantile(side, 0.5) for side in times]},
        {"what": "latency, 95 in 100 within", "sides": [_quantile(side, 0.95) for side in times]},
    ]


def _share(flags: Sequence[bool]) -> str:
    return f"{sum(flags) / len(flags):.1%} ({sum(flags):,} of {len(flags):,})" if flags else "none yet"


def _quantile(ordered: Sequence[float], share: float) -> str:
    return f"{ordered[int(share * (len(ordered) - 1))]:,.0f} ms" if ordered else "none yet"


def _judge(read: Read) -> dict[str, Any] | None:
    if read.judge is None:
        return None
    said = read.judge["said"]
    return {
        "stage": read.judge["stage"],
        "answer": said["answer"],
        "reasons": list(said["reasons"]),
        "at": shown_time(read.judge["at"]),
        "ago": ago(read.judge["at"], read.now),
    }


def _promote_run(read: Read, move: Row) -> str:
    """The DAG run behind a move; moves by hand have none."""
    dag = "rollback" if move["move"] == "rollback" else "promote"
    return run_url(read.root, dag, move["run_id"]) if move["run_id"] else ""
