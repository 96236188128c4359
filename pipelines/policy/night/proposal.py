"""Which rows of a log become evaluation items: a draw in proportion to the whole log."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Group = tuple[str, ...]  # what a row belongs to, such as (language, tenant, topic)


def draw_in_proportion(
    log: Sequence[Group],
    candidates: Sequence[Group],
    count: int,
    rng: np.random.Generator,
) -> list[int]:
    """Places of `count` candidates, or of all, sorted. Their groups are as frequent as in the log.

    A group is what a row belongs to, such as (language, tenant, topic). A candidate stands for the rows of
    its group, in equal parts; the candidates are sorted by group and taken at equal steps from a random
    start: systematic sampling with probability proportional to size (Cochran, Sampling Techniques, 1977,
    sections 8.1 and 9A.4). A group of 3% then gets 3% of the items, up to one item more or less for each
    level of the group, and small groups get their share together. A group with too few candidates gives all.
    """
    rows, known = Counter(log), Counter(candidates)
    shuffled = rng.permutation(len(candidates)).tolist()
    order = sorted(shuffled, key=lambda place: candidates[place])
    weight = {place: rows[candidates[place]] / known[candidates[place]] for place in order}
    certain: set[int] = set()
    while len(certain) < min(count, len(order)):
        left = [place for place in order if place not in certain]
        step = sum(weight[place] for place in left) / (count - len(certain))
        heavy = [place for place in left if weight[place] >= step]
        if not heavy:
            return sorted(certain | _at_equal_steps(left, weight, step, rng))
        certain.update(sorted(heavy, key=lambda place: -weight[place])[: count - len(certain)])
    return sorted(certain)


def _at_equal_steps(
    order: Sequence[int], weight: dict[int, float], step: float, rng: np.random.Generator
) -> set[int]:
    ends = np.cumsum([weight[place] for place in order])
    marks = rng.uniform(0, step) + step * np.arange(round(ends[-1] / step))
    return {order[min(found, len(order) - 1)] for found in np.searchsorted(ends, marks, side="right")}


class Share(NamedTuple):
    """How often a name occurs in the log and among the items."""

    name: str
    rows: int
    items: int


def share_of_each(log: Sequence[str], items: Sequence[str]) -> list[Share]:
    """The names of the log with their rows and items, the most frequent first."""
    rows, drawn = Counter(log), Counter(items)
    return [
        Share(name, rows[name], drawn[name]) for name in sorted(rows, key=lambda name: (-rows[name], name))
    ]


def item_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A labelled row as an evaluation item that nobody has reviewed yet."""
    return {
        "id": f"item-{hashlib.sha256(row['request_id'].encode()).hexdigest()[:12]}",
        "messages": [dict(message) for message in row["messages"]],
        "answer": row["answer"],
        "tenant": row["tenant"],
        "locale": row["locale"],
        "channel": row["channel"],
        "origin": "a correction" if row["correction"] else "a liked answer",
        "reviewed": False,
    }


def language_of(locale: str) -> str:
    """The language of a BCP 47 tag: en for en-GB."""
    return locale.replace("_", "-").split("-")[0].lower()


def in_words(counts: Mapping[str, int]) -> str:
    """Where the rows went, such as "200 read, 150 no known answer"."""
    return ", ".join(f"{rows} {reason.replace('_', ' ')}" for reason, rows in counts.items() if rows)
