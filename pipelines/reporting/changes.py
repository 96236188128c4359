"""The answers that changed most between two models, with the words that differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import regex
from rapidfuzz.distance import Indel

MOST_CHARS = 3_000  # of an answer that are compared; the rest is left out
KEPT_WORDS = 12  # of an unchanged passage, on each side of what is left out of it
CUT = " … "
# Where a script has no spaces between words, each character is a word.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"(?:[[\p{{L}}\p{{N}}\p{{M}}]--[{_UNSPACED}]]+|\X)\s*", regex.V1)

Stretch = tuple[Literal["same", "changed"], str]


@dataclass(frozen=True)
class Change:
    """One item: both models' answers as stretches of words, and their scores in [0, 1]."""

    id: str
    subject: str
    question: str
    right: str
    scores: tuple[float, float]
    before: list[Stretch]
    after: list[Stretch]


def most_changed(rows: Iterable[Mapping[str, Any]], count: int = 10) -> tuple[list[Change], int]:
    """The items whose score changed most, losses first among equals, and how many changed at all.

    `rows` are those of the evaluation's items: id, subject, question, answer, production, candidate,
    production_score and candidate_score.
    """
    changed = [row for row in rows if row["production_score"] != row["candidate_score"]]
    changed.sort(key=lambda row: (-abs(_gain(row)), _gain(row), row["id"]))
    return [_change(row) for row in changed[:count]], len(changed)


def word_diff(before: str, after: str) -> tuple[list[Stretch], list[Stretch]]:
    """Both texts in stretches of words that the other one has too, or has not. Spaces do not count."""
    old, new = (_WORD.findall(_bounded(text)) for text in (before, after))
    left: list[Stretch] = []
    right: list[Stretch] = []
    for what, a, b, c, d in Indel.opcodes(*([word.strip() for word in words] for words in (old, new))):
        if what == "equal":
            left.append(("same", _folded(old[a:b])))
            right.append(("same", _folded(new[c:d])))
        left += [("changed", "".join(old[a:b]))] if what == "delete" else []
        right += [("changed", "".join(new[c:d]))] if what == "insert" else []
    return left, right


def _gain(row: Mapping[str, Any]) -> float:
    return float(row["candidate_score"] - row["production_score"])


def _change(row: Mapping[str, Any]) -> Change:
    before, after = word_diff(row["production"], row["candidate"])
    return Change(
        id=row["id"],
        subject=row["subject"],
        question=_bounded(row["question"]),
        right=_bounded(row["answer"]),
        scores=(row["production_score"], row["candidate_score"]),
        before=before,
        after=after,
    )


def _bounded(text: str) -> str:
    return text if len(text) <= MOST_CHARS else text[:MOST_CHARS] + CUT


def _folded(words: Sequence[str]) -> str:
    if len(words) <= 4 * KEPT_WORDS:
        return "".join(words)
    return "".join(words[:KEPT_WORDS]) + CUT + "".join(words[-KEPT_WORDS:])
