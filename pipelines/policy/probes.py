"""Does an engine serve the adapter that was registered? Its answers to probes say so. Pure.

The distance of two answers is the mean absolute difference of log-probabilities (in nats) over the likeliest
tokens, along both answers for as long as they are the same. docs/gateway.md has measured distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from pipelines.core.conversations import normalise
from pipelines.core.probes import Answer, Probe, Step

LEAST_TOP = 5  # fewer log-probabilities a token tell too little
MOST_ANSWERS = 0.75  # by answers alone: this share of them must be a model's, as near ties may turn


class Served(StrEnum):
    """What an engine serves under an adapter's name."""

    ADAPTER = "adapter"
    BASE = "base"
    OTHER = "other"  # neither the adapter nor its base
    UNKNOWN = "unknown"  # the answers do not tell


@dataclass(frozen=True)
class Finding:
    """What the answers say.

    `from_adapter` and `from_base`: how far they are from either, as a share of the distance between the two,
    on the probe where that is largest.
    """

    served: Served
    words: str
    from_adapter: float | None = None
    from_base: float | None = None


def distance(recorded: Sequence[Step], seen: Sequence[Step]) -> float | None:
    """The distance of two answers; None where there is nothing to compare."""
    compared = []
    for one, other in zip(recorded, seen, strict=False):
        if min(len(one.top), len(other.top)) < LEAST_TOP:
            return None
        compared.append(_step_distance(one.top, other.top))
        if one.token != other.token:  # from here on they answer different beginnings
            break
    return fmean(compared) if compared else None


def by_distance(probes: Sequence[Probe]) -> list[tuple[float, Probe]]:
    """Each probe with how far its adapter's answer is from the base's, the farthest first."""
    found = [(distance(probe.adapter.steps, probe.base.steps), probe) for probe in probes]
    return sorted(((far, probe) for far, probe in found if far is not None), key=lambda pair: -pair[0])


def compare(probes: Sequence[Probe], seen: Sequence[Answer], tolerance: float) -> Finding:
    """What is served, by the log-probabilities of the answers `seen`.

    `tolerance`, below a half: on each probe the answer may be so far from the adapter's, as a share of the
    distance between adapter and base.
    """
    shares = [_shares(probe, answer) for probe, answer in zip(probes, seen, strict=True)]
    told = [pair for pair in shares if pair is not None]
    if not told or len(told) < len(shares):
        return Finding(Served.UNKNOWN, f"the engine gives fewer than {LEAST_TOP} log-probabilities a token")
    from_adapter, from_base = (max(pair[side] for pair in told) for side in (0, 1))
    words = (
        f"its log-probabilities are {from_adapter:.2f} from the adapter's and {from_base:.2f} from the"
        f" base's, where the two are 1 apart and {tolerance:g} is the tolerance"
    )
    served = Served.OTHER
    if from_adapter <= tolerance:
        served = Served.ADAPTER
    elif from_base <= tolerance:
        served = Served.BASE
    return Finding(served, words, from_adapter, from_base)


def compare_texts(probes: Sequence[Probe], seen: Sequence[Answer]) -> Finding:
    """What is served, by the answers' texts alone. An adapter that answers alike is not told apart."""
    told = [
        (normalise(probe.adapter.text), normalise(probe.base.text), normalise(answer.text))
        for probe, answer in zip(probes, seen, strict=True)
        if normalise(probe.adapter.text) != normalise(probe.base.text)
    ]
    if not told:
        return Finding(Served.UNKNOWN, "adapter and base answer all probes with the same text")
    as_adapter = sum(text == adapter for adapter, _, text in told)
    as_base = sum(text == base for _, base, text in told)
    words = f"of {len(told)} answers {as_adapter} are the adapter's and {as_base} the base's"
    served = Served.OTHER
    if as_adapter >= MOST_ANSWERS * len(told):
        served = Served.ADAPTER
    elif as_base >= MOST_ANSWERS * len(told):
        served = Served.BASE
    return Finding(served, words)


def _shares(probe: Probe, answer: Answer) -> tuple[float, float] | None:
    """The answer's distance from the adapter's and from the base's, as shares of that between the two."""
    size = min((len(step.top) for step in answer.steps), default=0)  # a server may give fewer than asked for
    adapter, base = (_cut(one.steps, size) for one in (probe.adapter, probe.base))
    apart, to_adapter, to_base = (
        distance(*pair) for pair in ((adapter, base), (adapter, answer.steps), (base, answer.steps))
    )
    if not apart or to_adapter is None or to_base is None:
        return None
    return to_adapter / apart, to_base / apart


def _cut(steps: Sequence[Step], size: int) -> list[Step]:
    """The same steps with the `size` likeliest tokens of each."""
    return [Step(token=step.token, top=_likeliest(step.top, size)) for step in steps]


def _step_distance(one: dict[str, float], other: dict[str, float]) -> float:
    """Over the union of both lists. A token that one lacks has there at most the list's last value."""
    size = min(len(one), len(other))
    first, second = _likeliest(one, size), _likeliest(other, size)
    ends = min(first.values()), min(second.values())
    return fmean(
        abs(first[token] - second[token])
        if token in first and token in second
        else max(0.0, first[token] - ends[1])
        if token in first
        else max(0.0, second[token] - ends[0])
        for token in sorted({*first, *second})
    )


def _likeliest(top: dict[str, float], count: int) -> dict[str, float]:
    return dict(sorted(top.items(), key=lambda pair: -pair[1])[:count])
