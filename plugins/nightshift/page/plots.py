"""Plots as coordinates in an SVG's viewBox; the template draws them. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nightshift.page.links import shown_time

Row = Mapping[str, Any]
QUALITY = (560, 190)  # width, height
SMALL = (300, 150)
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 12, 24
MOST_DOTS = 90  # more points than these are a line only
MOST_PLOTS = 9
ALARM = "alarm"  # the verdict of a watch that found something


def quality_plot(decisions: Sequence[Row], fates: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
    """Accuracy on the frozen items by night: the candidate with its interval, production beside it."""
    rows = [row for row in decisions if row["facts"].accuracy]
    if not rows:
        return None
    sides = {
        side: [getattr(row["facts"].accuracy, side) for row in rows] for side in ("candidate", "production")
    }
    highest = max(one.high for side in sides.values() for one in side)
    top = min(1.0, max(1, math.ceil(highest * 10)) / 10)
    x, y = _scale(len(rows), QUALITY), lambda value: _down(value, 0.0, top, QUALITY)
    low = [(x(i), y(one.low)) for i, one in enumerate(sides["candidate"])]
    high = [(x(i), y(one.high)) for i, one in enumerate(sides["candidate"])]
    promoted = [
        {"x": x(i), "css": "", "words": f"{row['night']}: version {version} {fates[version][0]}"}
        for i, row in enumerate(rows)
        if (version := row["facts"].registered_version) in fates
        and fates[version][0] in ("promoted", "rolled back")
    ]
    renewed = [
        {"x": x(i), "css": "renewed", "words": f"{row['night']}: {suite.sentences[0]}"}
        for i, row in enumerate(rows)
        if (suite := row["facts"].suite) and (suite.new or suite.changed)
    ]
    return {
        **_frame(QUALITY, [row["night"] for row in rows], [0.0, top / 2, top], y, "{:.0%}"),
        "band": _points([*high, *low[::-1]]),
        "marks": [*renewed, *promoted],
        "dense": len(rows) > MOST_DOTS,
        "lines": [
            {
                "css": side,
                "points": _points([(x(i), y(one.value)) for i, one in enumerate(values)]),
                "dots": [
                    {
                        "x": x(i),
                        "y": y(one.value),
                        "words": f"{rows[i]['night']}: {side} {one.value:.1%} "
                        f"({one.low:.1%} to {one.high:.1%})",
                    }
                    for i, one in enumerate(values)
                ]
                if len(values) <= MOST_DOTS
                else [],
            }
            for side, values in sides.items()
        ],
        "summary": f"{rows[-1]['night']}: candidate {sides['candidate'][-1].value:.1%}, "
        f"production {sides['production'][-1].value:.1%}; nights with an evaluation: {len(rows)}",
    }


def drift_plots(watches: Sequence[Row], decisions: Sequence[Row]) -> dict[str, Any]:
    """What `drift_watch` measured over time, and how many nights found drift."""
    told = [row["night"] for row in decisions if row["facts"].drift]
    nights = sum(row["facts"].drift is not None for row in decisions)
    series: dict[str, list[tuple[str, float, str]]] = {}
    for row in watches:
        for name, number in _numbers(json.loads(row["metrics"])).items():
            series.setdefault(name, []).append((row["window_end"], number, row["verdict"]))
    return {
        "plots": [_watched(name, points) for name, points in sorted(series.items())[:MOST_PLOTS]],
        "left_out": sorted(series)[MOST_PLOTS:],
        "last": _last(watches),
        "nights": f"Nights that found drift: {len(told)} of {nights}"
        + (f", last {told[-1]}" if told else ""),
    }


def _numbers(metrics: Row) -> dict[str, float]:
    """The numbers of one look, and how many of its columns moved."""
    numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
    return {"columns that moved": float(sum(row["drifted"] for row in metrics.get("columns", ())))} | numbers


def _last(watches: Sequence[Row]) -> dict[str, Any] | None:
    if not watches:
        return None
    row = watches[-1]
    return {
        "at": shown_time(row["at"]),
        "verdict": row["verdict"],
        "reasons": json.loads(row["reasons"]),
        "report": row["report"].rpartition("/")[2],  # the plugin serves it under its file's name
    }


def _watched(name: str, points: Sequence[tuple[str, float, str]]) -> dict[str, Any]:
    values = [value for _, value, _ in points]
    bottom, top = min(0.0, *values), max(values) if max(values) > 0 else 1.0
    x, y = _scale(len(points), SMALL), lambda value: _down(value, bottom, top, SMALL)
    label = "{:.0%}" if name.endswith(("_share", "_ratio")) and top <= 1 else "{:.3g}"
    return {
        **_frame(SMALL, [when[5:16].replace("T", " ") for when, _, _ in points], [bottom, top], y, label),
        "title": name.removeprefix("nightshift_watch_").replace("_", " "),
        "line": _points([(x(i), y(value)) for i, value in enumerate(values)]),
        "dots": [
            {"x": x(i), "y": y(value), "css": "bad" if verdict == ALARM else "calm"}
            | {"words": f"{when[:16].replace('T', ' ')}: {value:.4g}, {verdict}"}
            for i, (when, value, verdict) in enumerate(points)
            if len(points) <= MOST_DOTS or verdict == ALARM
        ],
        "summary": f"{label.format(values[-1])} at {points[-1][0][:16].replace('T', ' ')} UTC",
    }


def _frame(
    size: tuple[int, int], labels: Sequence[str], ticks: Sequence[float], y: Any, text: str
) -> dict[str, Any]:
    return {
        "width": size[0],
        "height": size[1],
        "left": LEFT,
        "right": size[0] - RIGHT,
        "bottom": size[1] - BOTTOM,
        "ticks": [{"y": y(value), "words": text.format(value)} for value in ticks],
        "first": labels[0],
        "last": labels[-1] if len(labels) > 1 else "",
    }


def _scale(count: int, size: tuple[int, int]) -> Any:
    step = (size[0] - LEFT - RIGHT - 12) / max(1, count - 1)
    return lambda place: round(LEFT + 6 + place * step, 1)


def _down(value: float, bottom: float, top: float, size: tuple[int, int]) -> float:
    return round(TOP + (size[1] - TOP - BOTTOM) * (1 - (value - bottom) / (top - bottom)), 1)


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in pairs)
