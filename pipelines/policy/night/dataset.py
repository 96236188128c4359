"""Which rows with feedback may be trained on, and how many of them. Every row that leaves is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.core.conversations import beginnings_of, conversation_key
from pipelines.policy.night.feedback import is_holdout, latest

Rows = list[dict[str, Any]]
UNFIT = ("cannot_render", "too_long", "beyond_max_length")  # why a row leaves
NO_ANSWER = "no_answer_once_redacted"  # so does a row whose answer is none with its placeholders


@dataclass(frozen=True)
class Part:
    """New or replayed rows. `counts`: read, kept, and the reasons why rows left, which add up to read."""

    rows: Rows
    counts: dict[str, int]

    def keep(self, rows: Rows, **went: int) -> Part:
        """The same with fewer rows. `went`: reason -> how many left for it."""
        assert len(self.rows) - len(rows) == sum(went.values())
        counts = {name: count for name, count in self.counts.items() if name != "kept"}
        counts |= {name: counts.get(name, 0) + count for name, count in went.items()}
        return Part(rows, {**counts, "kept": len(rows)})

    def without(self, places: Sequence[int], why: str) -> Part:
        """The same without the rows at these places, which left for the reason `why`."""
        gone = set(places)
        return self.keep([row for i, row in enumerate(self.rows) if i not in gone], **{why: len(gone)})


def one_answer_each(rows: Rows) -> tuple[Rows, dict[str, int]]:
    """One row a conversation, the latest. The others are counted as repeats or as conflicts."""
    kept = latest(rows)
    told = {row["key"]: (row["answer"], row.get("liked")) for row in kept}
    same = sum(told[row["key"]] == (row["answer"], row.get("liked")) for row in rows)
    return kept, {"exact_duplicate": same - len(kept), "conflicting_answer": len(rows) - same}


def without_evaluation(
    rows: Rows, share: float, suite: Set[str], system_prompt: str
) -> tuple[Rows, dict[str, int]]:
    """Rows that are not kept back for evaluation and hold nothing of the frozen suite, also in earlier turns.

    `suite`: its items' keys.
    """
    free = [row for row in rows if not is_holdout(row["messages"], share, system_prompt)]
    kept = [row for row in free if not holds_any(row, suite)]
    return kept, {"holdout": len(rows) - len(free), "in_suite": len(free) - len(kept)}


def holds_any(row: dict[str, Any], keys: Set[str]) -> bool:
    """Whether a row or an earlier part of its conversation has one of the keys."""
    return row["key"] in keys or any(
        conversation_key(part) in keys for part in beginnings_of(row["messages"])
    )


def choose(
    new: Part, replay: Part, most: int, replay_share: float, rng: np.random.Generator
) -> tuple[Part, Part]:
    """At most `most` rows in all, `replay_share` of them replayed where there is anything to replay."""
    share = replay_share if replay.rows else 0.0
    chosen = draw(new.rows, round(most * (1 - share)), rng)
    wanted = replay_wanted(len(chosen), share, most - len(chosen))
    replayed = draw_by_answer(replay.rows, wanted, rng)
    return (
        new.keep(chosen, over_the_cap=len(new.rows) - len(chosen)),
        replay.keep(replayed, not_drawn=len(replay.rows) - len(replayed)),
    )


def replay_wanted(new: int, share: float, most: int) -> int:
    """How many earlier examples make up `share` of the whole set."""
    return min(round(new * share / (1 - share)), most) if share < 1 else most


def draw(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """At most `count` rows at random; the mix of answers stays as it is."""
    places = sorted(rng.permutation(len(rows))[:count])
    return [rows[place] for place in places]


def draw_by_answer(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """At most `count` rows, taken from each answer in turn, so that rare answers are not forgotten."""
    shuffled = [rows[place] for place in rng.permutation(len(rows))]
    turn: Counter[str] = Counter()
    turns = []
    for row in shuffled:
        turns.append((turn[row["answer"]], row["answer"]))
        turn[row["answer"]] += 1
    order = sorted(range(len(shuffled)), key=lambda place: turns[place])
    return sorted((shuffled[place] for place in order[:count]), key=lambda row: row["request_id"])
