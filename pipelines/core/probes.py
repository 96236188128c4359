"""Probes: prompts with what an adapter and its base model answer to them, in log-probabilities.

They are kept with a registered version. A gateway asks them of its engine, to see that the engine serves the
adapter and not something else under its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from pipelines.core.contract import Frozen

LOWEST = -30.0  # a smaller log-probability counts as this one; some servers send -9999 for "none"
TOP = 20  # log-probabilities of a step, as many as OpenAI's API and vLLM give
DECIMALS = 4  # of a log-probability


class Token(Frozen):
    """One token of an answer as an engine says it, with the likeliest ones at its place."""

    text: str
    logprob: float | None  # None where the engine does not say it
    likeliest: tuple[tuple[str, float], ...] = ()

    @property
    def step(self) -> Step:
        """The same as probes keep it."""
        return make_step(self.text, self.likeliest)


class Step(Frozen):
    """One token of a greedy answer, and the log-probabilities of the likeliest tokens at its place."""

    token: str
    top: dict[str, float]


class Answer(Frozen):
    """The beginning of a greedy answer."""

    text: str
    steps: tuple[Step, ...]


class Probe(Frozen):
    """A conversation without the task's system prompt, and what both models answer."""

    messages: tuple[dict[str, str], ...]
    adapter: Answer
    base: Answer


class ProbeSet(Frozen):
    """The probes of one version."""

    schema_version: int = 1
    tokens: int  # the longest answer
    probes: tuple[Probe, ...]


def make_step(token: str, likeliest: Iterable[tuple[str, float]]) -> Step:
    """A step from what an engine says.

    Engines write a token's white space in their own ways, so it is left out; tokens that are equal then count
    as one.
    """
    top: dict[str, float] = {}
    for text, value in likeliest:
        name, value = _plain(text), max(value, LOWEST)
        before = top.get(name)
        top[name] = value if before is None else _either(before, value)
    return Step(token=_plain(token), top={name: round(value, DECIMALS) for name, value in top.items()})


def _plain(token: str) -> str:
    return token.replace("\u2581", " ").strip() or token


def _either(one: float, other: float) -> float:
    """log(exp(one) + exp(other))."""
    high, low = max(one, other), min(one, other)
    return high + math.log1p(math.exp(low - high))
