"""False alarms and power of `drift`: `python -m benchmarks.drift [NIGHTS [PART ...]]`.

Each world is a stream of nights of people who ask questions. Every night is compared with the nights before
it, as the step does. The rule before, beside it, took rows as independent. Prints Markdown tables.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp

from benchmarks.machine import describe
from pipelines.policy.alerts.watch import ColumnTest, WatchVerdict, conclude
from pipelines.policy.alerts.watch_nights import night_test
from pipelines.policy.night.drift import INPUT, ColumnDistances, judge_night, weekdays_to_match
from pipelines.policy.stats.holm import holm
from pipelines.policy.stats.nights import kolmogorov_smirnov, standardised_shift, total_variation
from pipelines.policy.stats.permutation import homogeneity_test, ks_test

TOPICS, TENANTS, DIMENSIONS, LENGTHS = 12, 5, 16, 60
ALPHA, SMALLEST = 0.05, 0.05
COLUMNS, TESTS = ("topic", "tenant", "length"), (homogeneity_test, homogeneity_test, ks_test)
CENTRES = np.random.default_rng(1).normal(size=(TOPICS, DIMENSIONS)) / np.sqrt(DIMENSIONS)


@dataclass(frozen=True)
class World:
    """One night's people, and how nights differ. Effects are on the logarithm of shares."""

    people: int = 100
    questions: int = 3  # that a person asks
    cap: int = 3  # rows of a person that count
    person: float = 1.0  # spread of what people ask about
    night: float = 0.0  # spread of what nights are about
    tails: float = 0.0  # degrees of freedom of the nights' shocks; 0: normal
    weekend: float = 0.0  # how far Saturdays and Sundays are from other days
    trend: float = 0.0  # a night


@dataclass(frozen=True)
class Shift:
    """What changes on the night of the change."""

    asked: float = 0.0  # share of the people who ask about three topics only
    tenant: float = 1.0  # how many times as many people the first tenant has


STILL = Shift()


@dataclass(frozen=True)
class Night:
    """Shares of one night, and its rows for the rule before."""

    topics: np.ndarray
    tenants: np.ndarray
    lengths: np.ndarray
    mean: np.ndarray
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    weekday: int


def night_of(world: World, number: int, rng: np.random.Generator, shift: Shift = STILL) -> Night:
    """The rows of one night."""
    noise = rng.standard_t(world.tails, TOPICS) if world.tails else rng.normal(size=TOPICS)
    pattern = np.sin(np.arange(TOPICS) * 2.4)
    mix = world.night * noise + pattern * (world.weekend * (number % 7 >= 5) + world.trend * number)
    tastes = mix + world.person * rng.normal(size=(world.people, TOPICS))
    others = rng.random(world.people) < shift.asked
    tastes[others] = 3 * (np.arange(TOPICS) < 3) + rng.normal(size=(int(others.sum()), TOPICS))
    shares = np.exp(tastes)
    shares /= shares.sum(axis=1, keepdims=True)
    rows = min(world.questions, world.cap) if world.cap else world.questions
    drawn = rng.random((world.people, rows, 1))
    topics = (drawn > shares.cumsum(axis=1)[:, None, :-1]).sum(axis=2).ravel()
    weights = np.where(np.arange(TENANTS) == 0, shift.tenant, 1.0)
    tenants = np.repeat(rng.choice(TENANTS, world.people, p=weights / weights.sum()), rows)
    tempers = np.repeat(rng.normal(size=world.people) + world.night * rng.normal(), rows)
    lengths = np.clip((30 + 6 * tempers + 6 * rng.normal(size=len(topics))), 0, LENGTHS - 1).astype(int)
    own = np.repeat(0.3 * world.person * rng.normal(size=(world.people, DIMENSIONS)), rows, axis=0)
    vectors = CENTRES[topics] + own / 4 + rng.normal(size=(len(topics), DIMENSIONS)) / 4
    return Night(
        np.bincount(topics, minlength=TOPICS) / len(topics),
        np.bincount(tenants, minlength=TENANTS) / len(topics),
        np.bincount(lengths, minlength=LENGTHS) / len(topics),
        vectors.mean(axis=0),
        (topics, tenants, lengths),
        number % 7,
    )


def columns_of(nights: Sequence[Night], match: bool = False) -> list[ColumnDistances]:
    """Each column's distances; tonight is the last night. `match`: from nights of the same weekday."""
    kinds = weekdays_to_match([night.weekday for night in nights]) if match else None
    found = {
        "topic": total_variation(np.array([night.topics for night in nights]), kinds),
        "tenant": total_variation(np.array([night.tenants for night in nights]), kinds),
        "length": kolmogorov_smirnov(np.array([night.lengths for night in nights]), kinds),
        "embedding": standardised_shift(np.array([night.mean for night in nights]), 1.0, kinds),
    }
    return [ColumnDistances(name, INPUT, "", tuple(one.tolist())) for name, one in found.items()]


def alarms(nights: Sequence[Night], match: bool = True) -> bool:
    """Whether the last night drifted."""
    return judge_night(columns_of(nights, match), ALPHA, SMALLEST, same_model=True).drift


def alarms_before(nights: Sequence[Night]) -> bool:
    """The rule before: the night against the first three, rows as independent, Holm over columns."""
    first = [np.concatenate(column) for column in zip(*(night.rows for night in nights[:3]), strict=True)]
    p_values = [_chi_square(before, now) for before, now in zip(first[:2], nights[-1].rows[:2], strict=True)]
    p_values.append(float(ks_2samp(first[2], nights[-1].rows[2], method="asymp").pvalue))
    return min(holm(p_values)) <= ALPHA


def _chi_square(before: np.ndarray, now: np.ndarray) -> float:
    most = max(before.max(), now.max()) + 1
    table = np.array([np.bincount(one, minlength=most) for one in (before, now)])
    return float(chi2_contingency(table[:, table.sum(axis=0) > 0], correction=False).pvalue)


def unchanged(world: World, past: int, nights: int, seed: int = 0) -> float:
    """Share of nights without a change that raise drift."""
    rng = np.random.default_rng([seed, past])
    stream = [night_of(world, number, rng) for number in range(nights + past)]
    return float(np.mean([alarms(stream[end - past : end + 1]) for end in range(past, len(stream))]))


def unchanged_before(world: World, nights: int, seed: int = 0) -> float:
    """The same under the rule before, which has no cap and compares with three nights of two weeks before."""
    world, rng = replace(world, cap=0), np.random.default_rng([seed, 2])
    stream = [night_of(world, number, rng) for number in range(nights + 14)]
    return float(np.mean([alarms_before(stream[end - 14 : end + 1]) for end in range(14, len(stream))]))


def weekends(world: World, match: bool, nights: int, seed: int = 0, past: int = 21) -> tuple[float, ...]:
    """Shares that raise drift: of unchanged nights, of unchanged weekends, of nights of two changes.

    `match`: compared with nights of the same weekday, else with all.
    """
    rng = np.random.default_rng([seed, past, 5])
    stream = [night_of(world, number, rng) for number in range(nights + past)]
    before = [stream[end - past : end] for end in range(past, len(stream))]
    still = np.array([alarms([*b, now], match) for b, now in zip(before, stream[past:], strict=True)])
    weekend = np.array([night.weekday >= 5 for night in stream[past:]])
    found = [
        np.mean([alarms([*b, night_of(world, past + k, rng, shift)], match) for k, b in enumerate(before)])
        for shift in (Shift(asked=0.2), Shift(asked=0.4))
    ]
    return float(still.mean()), float(still[weekend].mean()), *map(float, found)


def watch_unchanged(world: World, days: int, seed: int = 0) -> float:
    """Share of days without a change on which one watch at 5% alarms, against three days."""
    rng, alarms = np.random.default_rng([seed, 3]), 0
    stream = [night_of(world, number, rng) for number in range(days + 3)]
    for end in range(3, len(stream)):
        before = [
            np.concatenate(column) for column in zip(*(n.rows for n in stream[end - 3 : end]), strict=True)
        ]
        now = stream[end].rows
        people = np.arange(len(before[0]) + len(now[0])) // min(world.questions, world.cap or world.questions)
        tests = [
            ColumnTest(name, INPUT, "", moved.p_value, moved.effect, moved.effect - moved.usual)
            for name, test, was, one in zip(COLUMNS, TESTS, before, now, strict=True)
            for moved in [test(was, one, 199, rng, people)]
        ]
        alarms += conclude(tests, ALPHA, {}, SMALLEST).verdict is WatchVerdict.ALARM
    return alarms / days


def watch_by_night(world: World, days: int, seed: int = 0) -> float:
    """The same where the watch has 21 nights to compare the window with."""
    rng, alarms = np.random.default_rng([seed, 4]), 0
    stream = [night_of(world, number, rng) for number in range(days + 21)]
    for end in range(21, len(stream)):
        columns = columns_of(stream[end - 21 : end + 1])
        tests = [night_test(one.column, np.array(one.distances)) for one in columns]
        alarms += conclude(tests, ALPHA, {}, SMALLEST).verdict is WatchVerdict.ALARM
    return alarms / days


def power(world: World, shift: Shift, past: int, tries: int, seed: int = 0) -> float:
    """Share of first nights of a change that raise drift; each try is another night."""
    rng = np.random.default_rng([seed, past, 1])
    stream = [night_of(world, number, rng) for number in range(tries + past)]
    ends = range(past, len(stream))
    return float(
        np.mean([alarms([*stream[end - past : end], night_of(world, end, rng, shift)]) for end in ends])
    )


WORLDS = {
    "1 question a person": World(questions=1, people=300),
    "3 questions": World(),
    "10 questions": World(questions=10),
    "30 questions": World(questions=30),
    "30 questions, no cap": World(questions=30, people=60, cap=0),
    "nights differ": World(night=0.3),
    "nights differ, extreme ones": World(night=0.3, tails=2.1),
    "weekends differ": World(weekend=1.0),
    "nights and weekends differ": World(night=0.3, weekend=1.0),
    "slow trend": World(trend=0.02),
}
SHIFTS = {
    "20% of people ask another mix": Shift(asked=0.2),
    "40%": Shift(asked=0.4),
    "80%": Shift(asked=0.8),
    "one tenant doubles": Shift(tenant=2.0),
    "one tenant is four times as large": Shift(tenant=4.0),
}
PAST = (7, 13, 21, 42)


def print_unchanged(nights: int) -> None:
    print(f"\nRaised on nights without a change, of {nights}:\n")
    print("| world | the rule before | " + " | ".join(f"{past} past nights" for past in PAST) + " |")
    print("|---|---|" + "---|" * len(PAST))
    for name, world in WORLDS.items():
        found = [unchanged_before(world, nights), *(unchanged(world, past, nights) for past in PAST)]
        print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in found) + " |", flush=True)


def print_power(nights: int) -> None:
    print(f"\nFound on the first night of a change, of {nights // 2}:\n")
    print("| change | world | " + " | ".join(f"{past} past nights" for past in PAST) + " |")
    print("|---|---|" + "---|" * len(PAST))
    for name, shift in SHIFTS.items():
        for told in ("3 questions", "nights differ"):
            found = [power(WORLDS[told], shift, past, nights // 2) for past in PAST]
            print(f"| {name} | {told} | " + " | ".join(f"{share:.0%}" for share in found) + " |", flush=True)


def print_weekends(nights: int) -> None:
    print(f"\nCompared with all of 21 nights, and with those of the same weekday, {nights} nights each:\n")
    print("| world | compared with | raised | on weekends | found: 20% ask another mix | 40% |")
    print("|---|---|---|---|---|---|")
    for name in ("weekends differ", "nights and weekends differ", "3 questions", "nights differ"):
        for match, words in ((False, "all nights"), (True, "its weekday")):
            found = weekends(WORLDS[name], match, nights)
            print(f"| {name} | {words} | " + " | ".join(f"{share:.1%}" for share in found) + " |", flush=True)


def print_watch(nights: int) -> None:
    print(f"\nOne watch a day at the level 5%, on {nights // 4} days without a change:\n")
    print("| world | people change sides | 21 nights |\n|---|---|---|")
    for name, world in WORLDS.items():
        found = [watch_unchanged(world, nights // 4), watch_by_night(world, nights // 4)]
        print(f"| {name} | " + " | ".join(f"{share:.1%}" for share in found) + " |", flush=True)


PARTS = {
    "unchanged": print_unchanged, "power": print_power, "weekends": print_weekends, "watch": print_watch,
}  # fmt: skip


def main(nights: int, *parts: str) -> None:
    print(describe())
    for part in parts or PARTS:
        PARTS[part](nights)
    print(f"\nA decision from sufficient statistics: {1000 * seconds_of_a_decision():.1f} ms for 22 nights.")


def seconds_of_a_decision() -> float:
    rng = np.random.default_rng(0)
    columns = columns_of([night_of(World(), number, rng) for number in range(22)]) * 4
    began = time.perf_counter()
    for _ in range(100):
        judge_night(columns, ALPHA, SMALLEST, same_model=True)
    return (time.perf_counter() - began) / 100


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000, *sys.argv[2:])
