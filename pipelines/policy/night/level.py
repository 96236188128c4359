"""At which level is tonight's candidate tested for an improvement? Pure.

By default: at most `false_passes_a_year` candidates that are no better than the margin are expected to pass
in any 365 nights. Expected numbers add up whatever the candidates have to do with each other, so the levels
of a year only have to sum to that number. They do, because each question spends from an allowance. A night
adds one share of 1/400 to it, at most 35 shares are kept, and a question spends half of what is there. Who
asks every night spends a share each night, for ever. Who asks once a week spends seven. A second question in
one night, as an alert brings, gets half of what the first one left.

With `error_rate = "familywise"`: the k-th question to one suite is asked at alpha / (k (k + 1)). These sum to
alpha, so the chance that any such candidate ever passes is at most alpha (Lan and DeMets 1983; union bound),
and the power falls from night to night. Suites that share an item count as one: so the sum holds for the
suites that ask any one item, however often a part of the others is renewed. Only a suite without an item of
the earlier ones starts the count again.

Both need candidates that were not chosen by the suite's items. Verdicts tell a later candidate little (Blum
and Hardt 2015), published answers tell it all: renew a suite that people tuned against.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

from pipelines.core.config import Gate

KEPT_SHARES = 35
SHARES_A_YEAR = 365 + KEPT_SHARES  # the most that can be spent in 365 nights


@dataclass(frozen=True)
class Asks:
    """The questions before tonight's: `nights` of all, as they were recorded; how many went to its suite,
    or to one that shares an item with it.
    """

    tonight: date
    nights: tuple[date, ...] = ()
    of_suite: int = 0


def earlier_asks(
    tonight: date, earlier: Iterable[tuple[date, str | None]], suite: Collection[str | None]
) -> Asks:
    """From each earlier run's night and the suite that it asked, if any.

    `suite`: the digests of tonight's, and of earlier ones that share an item with it.
    """
    asked = [(night, digest) for night, digest in earlier if digest]
    return Asks(tonight, tuple(night for night, _ in asked), sum(digest in suite for _, digest in asked))


def level_tonight(settings: Gate, asks: Asks) -> float:
    """The error rate of tonight's test of the improvement."""
    if settings.error_rate == "familywise":
        k = asks.of_suite + 1
        return settings.alpha / (k * (k + 1))
    return min(1.0, settings.false_passes_a_year * shares_tonight(asks) / SHARES_A_YEAR)


def shares_tonight(asks: Asks) -> float:
    """How many nights' shares of the allowance tonight's question spends.

    A run of an old night that is recorded later counts on the newest night before it.
    """
    kept, spent, newest = float(KEPT_SHARES), 0.0, min((asks.tonight, *asks.nights))
    for night in (*asks.nights, asks.tonight):
        kept = min(KEPT_SHARES, kept - spent + max(0, (night - newest).days))
        newest, spent = max(newest, night), kept / 2
    return spent


def promise(settings: Gate) -> str:
    """What the levels guarantee, in one sentence."""
    points = f"{100 * settings.min_improvement:g}"
    if settings.error_rate == "familywise":
        return (
            f"The chance that this suite ever lets a candidate pass that is better by less than {points} "
            f"points is at most {settings.alpha:.0%}."
        )
    return (
        f"In any 365 nights at most {settings.false_passes_a_year:g} candidates are expected to pass "
        f"that are better by less than {points} points."
    )
