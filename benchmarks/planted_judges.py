"""Judges of known behaviour, and choices of people for them to be compared with.

A judge sees a question and two answers in an order, and says "1", "2" or "tie". Like a model at temperature 0
it says the same to the same question. People always take the answer that holds `RIGHT`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from pipelines.evaluation.judges.ask import Pair
from pipelines.evaluation.judges.choices import Choice
from pipelines.evaluation.judges.prompt import Better

RIGHT, PRAISE = "properly", "What a wonderful question!"
WORDS = (
    "the", "ward", "opens", "nurse", "asks", "patient", "dose", "twice", "daily", "after", "meals", "doctor",
    "clinic", "letter", "wound", "clean", "rest", "water", "visit", "report",
)  # fmt: skip
AGREES, DRAWN_TO_LENGTH = 0.85, 0.3
Judge = Callable[[str, str, str], Better]


def choices(rng: np.random.Generator, count: int, mostly_longer: float = 0.65) -> list[Choice]:
    """`count` choices of people, each of whom made two on average.

    Half are easy: the other answer is about something else. In the hard half it differs by one word.
    """
    people = rng.integers(max(1, count // 2), size=count)
    return [
        Choice(_pair(rng, number, rng.random() < mostly_longer), ("t", str(person)))
        for number, person in enumerate(people)
    ]


def _pair(rng: np.random.Generator, number: int, longer: bool) -> Pair:
    said = _text(rng, 12)
    right, wrong = f"{said} {RIGHT}", f"{said} wrongly" if rng.random() < 0.5 else _text(rng, 12)
    more = " ".join(["", _text(rng, int(rng.integers(2, 10)))])
    right, wrong = (right + more, wrong) if longer else (right, wrong + more)
    right, wrong = (f"{PRAISE} {text}" if rng.random() < 0.5 else text for text in (right, wrong))
    return Pair([{"role": "user", "content": f"Question {number}?"}], wrong, right)


def _text(rng: np.random.Generator, words: int) -> str:
    return " ".join(rng.choice(WORDS, words))


def _luck(*texts: str) -> float:
    """The same number in [0, 1) for the same texts."""
    return int(hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12], 16) / 16**12


def at_random(question: str, first: str, second: str) -> Better:
    return "1" if _luck("random", question, first, second) < 0.5 else "2"


def first_place(question: str, first: str, second: str) -> Better:
    return "1"


def second_place(question: str, first: str, second: str) -> Better:
    return "2"


def longest(question: str, first: str, second: str) -> Better:
    return "tie" if len(first) == len(second) else "1" if len(first) > len(second) else "2"


def likes_praise(question: str, first: str, second: str) -> Better:
    """The answer that flatters the user; else one at random, the same in both orders."""
    if (PRAISE in first) != (PRAISE in second):
        return "1" if PRAISE in first else "2"
    return "1" if _luck(question, first) < _luck(question, second) else "2"


def easy_only(question: str, first: str, second: str) -> Better:
    """Right where the answers are about different things, else at random."""
    common = set(first.split()) & set(second.split())
    plain = len(common) < 0.6 * len(set(first.split()) | set(second.split()))
    return _right(first) if plain and "wrongly" not in first + second else at_random(question, first, second)


def good(question: str, first: str, second: str) -> Better:
    """Agrees with people in 85% of the orders in which it is asked."""
    agrees = _luck("good", question, first, second) < AGREES
    return _right(first) if agrees else _other(_right(first))


def good_but_drawn_to_length(question: str, first: str, second: str) -> Better:
    """The same, but in 30% of pairs it takes the longer answer."""
    drawn = _luck("drawn", question, *sorted((first, second))) < DRAWN_TO_LENGTH
    return (longest if drawn else good)(question, first, second)


def always_ties(question: str, first: str, second: str) -> Better:
    return "tie"


def _right(first: str) -> Better:
    return "1" if RIGHT in first else "2"


def _other(better: Better) -> Better:
    return "2" if better == "1" else "1"


BAD: dict[str, Judge] = {
    "random": at_random,
    "first place": first_place,
    "second place": second_place,
    "longest answer": longest,
    "likes praise": likes_praise,
    "easy pairs only": easy_only,
    "always ties": always_ties,
    "good, drawn to length": good_but_drawn_to_length,
}
GOOD: dict[str, Judge] = {"good": good}
