"""What a rating that is written as a word means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_WORDS = """
good      up thumbsup thumbs_up thumbup thumb_up upvote upvoted like liked love good great excellent
good      positive yes true +1 helpful satisfied correct accepted accept 👍 ❤ 😀 😃 😄 😊 🙂 😍 ✅ ✔
bad       down thumbsdown thumbs_down thumbdown thumb_down downvote downvoted dislike disliked bad poor
bad       terrible negative no false -1 unhelpful not_helpful dissatisfied unsatisfied incorrect wrong
bad       rejected reject
bad       👎 😞 😠 😡 🙁 ☹ ❌ ✖
neutral   neutral none 0 ok okay meh mixed neither n/a na skip skipped unrated average 😐 🤷
"""
_PAIRS = [
    ("up", "down"), ("like", "dislike"), ("liked", "disliked"), ("good", "bad"), ("positive", "negative"),
    ("yes", "no"), ("true", "false"), ("helpful", "unhelpful"), ("correct", "incorrect"), ("👍", "👎"),
    ("accepted", "rejected"), ("accept", "reject"), ("satisfied", "dissatisfied"), ("upvote", "downvote"),
    ("upvoted", "downvoted"),
]  # fmt: skip
SIDES: dict[str, set[str]] = {}
for _line in _WORDS.strip().splitlines():
    _side, *_words = _line.split()
    SIDES.setdefault(_side, set()).update(_words)
ORNAMENT = re.compile("[\ufe0e\ufe0f\u200d\U0001f3fb-\U0001f3ff]")  # variation selectors, joiners, skin tones
FULL, EMPTY = "★⭐🌟", "☆✩"
NUMBER = r"(\d+(?:[.,]\d+)?)"
OF = re.compile(rf"{NUMBER}\s*(?:/|of|out of|von|sur|de|su)\s*{NUMBER}(?:\s*(?:stars?|points?|★|⭐))?")
STARS = re.compile(rf"{NUMBER}\s*[- ]?(?:stars?|sterne?|étoiles?|estrellas?|★|⭐)")
PERCENT = re.compile(rf"{NUMBER}\s*(?:%|percent|per cent)")
COMMA = re.compile(r"\d+,\d+")


class Share(NamedTuple):
    """A number that is written as a word, and the best of its scale; `top` 0: it is not told."""

    number: float
    top: float


def side_of(key: str) -> str | None:
    """good, bad or neutral; None for a word that is not known."""
    word = ORNAMENT.sub("", key).strip(" .!")
    joined = re.sub(r"[ -]+", "_", word) if len(word) > 2 else word
    for written in (word, joined, joined.replace("_", "")):
        for side, words in SIDES.items():
            if written in words:
                return side
    return None


def opposites_of(keys: list[str], is_good: bool) -> list[str]:
    """The other side's words, written as these are: a log that has only `up` may have `down` tomorrow."""
    found = []
    for good, bad in _PAIRS:
        here, there = (good, bad) if is_good else (bad, good)
        found += [
            key.removesuffix(here) + there for key in keys if re.search(rf"(^|[\W_s]){re.escape(here)}$", key)
        ]
    return sorted(set(found))


def thumbs_of(word: str) -> list[str]:
    """Both thumbs in every tone of skin, if it is one."""
    if ORNAMENT.sub("", word) not in ("👍", "👎"):
        return []
    return [sign + tone for sign in "👍👎" for tone in ("", "\ufe0f", *"🏻🏼🏽🏾🏿")]


def share_of(key: str) -> Share | None:
    """`4 stars`, `4/5`, `★★★★☆`, `80%`, `4,5`: the number and what it is of."""
    signs = ORNAMENT.sub("", key).replace(" ", "")
    if signs and set(signs) <= set(FULL + EMPTY):
        return Share(sum(sign in FULL for sign in signs), max(5, len(signs)))
    if found := OF.fullmatch(key):
        return Share(_number(found[1]), _number(found[2])) if _number(found[2]) else None
    if found := STARS.fullmatch(key):
        return Share(_number(found[1]), 5)
    if found := PERCENT.fullmatch(key):
        return Share(_number(found[1]), 100)
    return Share(_number(key), 0) if COMMA.fullmatch(key) else None


def family_of(word: str, share: Share) -> Iterator[tuple[str, Share]]:
    """The other stars of the same scale, written alike: `5 stars` today is `2 stars` tomorrow."""
    if not 2 <= share.top <= 10 or "." in word or "," in word:
        return
    top, empty = int(share.top), next((sign for sign in word if sign in EMPTY), "")
    full = next((sign for sign in word if sign in FULL), "")
    for count in range(1, top + 1):
        if (digit := re.match(r"\d+", word)) is not None:
            rest = word[digit.end() :]
            yield f"{count}{rest}", Share(count, top)
            if rest.endswith(("star", "stars")):
                yield f"{count}{rest.removesuffix('s')}{'s' if count > 1 else ''}", Share(count, top)
        elif full:
            yield full * count + empty * (top - count), Share(count, top)


def _number(text: str) -> float:
    return float(text.replace(",", "."))
