"""The report's plots as inline SVG (matplotlib), in colours that follow the page's light or dark mode."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import mean
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.core.facts.drift import ColumnFinding, TopicShare
from pipelines.core.facts.evaluate import SubjectAccuracy
from pipelines.core.facts.fairness import SliceFinding, StereotypeFinding

INK = "#123456"  # replaced by the page's own text colour
BEFORE, AFTER, ALARM, CALM = "#8a94a6", "#2f6fde", "#d1495b", "#5a9e6f"
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "nightshift",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
        ),
    }
)


def drift_plot(columns: Sequence[tuple[str, float, bool]], alpha: float) -> str:
    """Adjusted p-value of each (column, adjusted p, whether it drifted). Left of the line is drift."""
    rows = sorted(columns, key=lambda row: row[1], reverse=True)
    axes = _axes(rows)
    values = [max(p_adjusted, 1e-6) for _, p_adjusted, _ in rows]
    axes.scatter(
        values, range(len(rows)), color=[ALARM if drifted else CALM for _, _, drifted in rows], zorder=3
    )
    axes.hlines(range(len(rows)), values, 1, color=INK, alpha=0.15)
    axes.axvline(alpha, color=ALARM, linestyle="--", linewidth=1)
    axes.set(xscale="log", xlim=(5e-7, 1.6), xlabel=f"adjusted p-value (drift left of {alpha:.2g})")
    axes.set_yticks(range(len(rows)), [column for column, _, _ in rows])
    return _svg(axes)


def nights_plot(columns: Sequence[ColumnFinding]) -> str:
    """How far each night is from the others in each column. Tonight is the large dot."""
    rows = list(reversed(columns))
    axes = _axes(rows)
    past = [distance for row in rows for distance in row.distances[:-1]]
    places = [y for y, row in enumerate(rows) for _ in row.distances[:-1]]
    axes.scatter(past, places, color=BEFORE, s=9, alpha=0.6, label="an earlier night")
    for drifted, color, label in ((False, CALM, "tonight"), (True, ALARM, "tonight, drifted")):
        found = {y: row.distances[-1] for y, row in enumerate(rows) if row.drifted is drifted}
        if found:
            axes.scatter([*found.values()], [*found], color=color, zorder=3, label=label)
    axes.set(xlabel="distance from the other nights (0: equal, 1: nothing in common)", xlim=(0, None))
    axes.set_yticks(range(len(rows)), [row.column for row in rows])
    _legend_above(axes)
    return _svg(axes)


def topics_plot(topics: Sequence[TopicShare]) -> str:
    """Share of each topic, reference window against tonight."""
    rows = sorted(topics, key=lambda topic: topic.tonight_share - topic.reference_share)
    before, after = [row.reference_share for row in rows], [row.tonight_share for row in rows]
    return _pairs([row.words for row in rows], before, after, ("reference", "tonight"))


def loss_plot(train: Sequence[Sequence[float]], dev: Sequence[Sequence[float]]) -> str:
    """Training and development loss by step."""
    axes = _axes(range(9))
    axes.plot(*zip(*train, strict=True), color=BEFORE, label="training")
    if dev:
        axes.plot(*zip(*dev, strict=True), color=AFTER, marker="o", label="development")
    axes.set(xlabel="optimizer step", ylabel="loss", ylim=(0, None))
    axes.legend(frameon=False)
    return _svg(axes)


def accuracy_plot(by_subject: Mapping[str, SubjectAccuracy]) -> str:
    """Accuracy on the frozen items by subject, production against candidate."""
    rows = sorted(by_subject.items(), key=lambda row: row[1].candidate)
    before, after = [found.production for _, found in rows], [found.candidate for _, found in rows]
    labels = [f"{name} ({found.n})" for name, found in rows]
    return _pairs(labels, before, after, ("before", "after"))


def fairness_plot(groups: Sequence[StereotypeFinding | SliceFinding], margin: float) -> str:
    """Growth of each group's harm with its interval, against the margin."""
    rows = [(group, group.difference) for group in groups if group.difference is not None]
    axes = _axes(rows)
    colors = {"worse": ALARM, "not worse": CALM}
    for y, (group, difference) in enumerate(rows):
        color = colors.get(group.answer, BEFORE)
        axes.plot([group.low, group.high], [y, y], color=color)
        axes.scatter([difference], [y], color=color, zorder=3)
    for x, style in ((0, "-"), (margin, "--")):
        axes.axvline(x, color=INK, linestyle=style, linewidth=0.8, alpha=0.5)
    axes.set(xlabel=f"candidate minus production (worse: right of {margin})")
    axes.set_yticks(range(len(rows)), [": ".join(group.names) for group, _ in rows])
    return _svg(axes)


def time_plot(steps: Sequence[dict[str, Any]]) -> str:
    """Seconds of each step."""
    rows = list(reversed(steps))
    axes = _axes(rows)
    axes.barh(range(len(rows)), [row["seconds"] for row in rows], color=AFTER)
    axes.set_yticks(range(len(rows)), [row["step"] for row in rows])
    axes.set(xlabel="seconds")
    return _svg(axes)


def rollout_plots(
    answers: Sequence[tuple[datetime, str, bool]], moves: Sequence[tuple[datetime, str]], window: int = 40
) -> tuple[str, str]:
    """Two plots: each adapter's share of right answers, and its share of all answers.

    `answers` holds (when, adapter, right) in order, and `moves` (when, name of the move). Both plots show
    means over the last `window` answers. The x-axis counts answers, so that hours without traffic take no
    room.
    """
    names = sorted({adapter for _, adapter, _ in answers}, key=lambda name: (name != "base", name))
    colours = dict(zip(names, (BEFORE, AFTER, ALARM, CALM) * len(names), strict=False))
    right, shares = (_axes(range(9)) for _ in range(2))
    for name in names:
        own = [(place, ok) for place, (_, adapter, ok) in enumerate(answers) if adapter == name]
        means = _means([ok for _, ok in own], window)
        right.plot([place for place, _ in own], means, color=colours[name], label=_label(name))
        taken = _means([adapter == name for _, adapter, _ in answers], window)
        shares.plot(taken, color=colours[name], label=_label(name))
    labels: dict[int, list[str]] = {}
    for at, words in moves:
        labels.setdefault(sum(when < at for when, _, _ in answers), []).append(words)
    for axes in (right, shares):
        for place, made in labels.items():
            words = ", ".join(made)
            axes.axvline(place, color=INK, alpha=0.3, linewidth=1)
            axes.text(place, 1.03, f" {words}", rotation=35, fontsize=7, transform=axes.get_xaxis_transform())
        axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
        axes.set(xlabel="answers", ylim=(-0.02, 1.02))
        axes.legend(frameon=False, loc="upper left")
    return _svg(right), _svg(shares)


def _means(values: Sequence[bool], window: int) -> list[float]:
    """Mean of each value and up to `window` - 1 before it."""
    return [mean(values[max(0, end - window) : end]) for end in range(1, len(values) + 1)]


def _label(adapter: str) -> str:
    return "base model" if adapter == "base" else f"version {adapter}"


def _pairs(
    labels: Sequence[str], left: Sequence[float], right: Sequence[float], names: tuple[str, str]
) -> str:
    axes = _axes(labels)
    axes.hlines(range(len(labels)), left, right, color=INK, alpha=0.3)
    axes.scatter(left, range(len(labels)), color=BEFORE, label=names[0], zorder=3)
    axes.scatter(right, range(len(labels)), color=AFTER, label=names[1], zorder=3)
    axes.set_yticks(range(len(labels)), labels)
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
    _legend_above(axes)
    return _svg(axes)


def _legend_above(axes: Axes) -> None:
    """A legend that covers no point, wherever the points lie."""
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderpad=0)


def _axes(rows: Sequence[Any]) -> Axes:
    return Figure(figsize=(7, 0.9 + 0.26 * max(4, len(rows))), layout="constrained").subplots()


def _svg(axes: Axes) -> str:
    figure, buffer = axes.get_figure(root=True), io.StringIO()
    assert figure is not None
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
