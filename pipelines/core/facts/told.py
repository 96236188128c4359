"""A decision as people read it: one sentence and three figures. The report and the page show the same."""

from __future__ import annotations

from pipelines.core.facts.reading import Part


class Figure(Part):
    """A number in words, and what it counts."""

    value: str
    name: str


class Told(Part):
    """`about`: what was decided. `answer`: the decision in a word or three. Details stand elsewhere."""

    about: str
    answer: str
    sentence: str
    figures: tuple[Figure, Figure, Figure]


def told(about: str, answer: str, sentence: str, *figures: tuple[str, str]) -> Told:
    """`figures`: three pairs of a value and what it counts."""
    first, second, third = (Figure(value=value, name=name) for value, name in figures)
    return Told(about=about, answer=answer, sentence=sentence, figures=(first, second, third))


def points(share: float | None) -> str:
    """A difference of two shares."""
    return "unknown" if share is None else f"{100 * share:+.1f} points"


def percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f}%"
