"""Evaluation items are drawn from a log in proportion to what the log holds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.policy.night.proposal import draw_in_proportion
from tests.support.fuzz import examples


def drawn(log: list[tuple[str, ...]], known: list[tuple[str, ...]], count: int, seed: int = 0) -> Counter:
    places = draw_in_proportion(log, known, count, np.random.default_rng(seed))
    return Counter(known[place] for place in places)


def test_a_group_gets_its_share_of_the_log() -> None:
    log = [("en", "a")] * 700 + [("en", "b")] * 200 + [("de", "a")] * 100
    assert drawn(log, log, 50) == {("en", "a"): 35, ("en", "b"): 10, ("de", "a"): 5}


def test_the_log_counts_and_not_the_candidates() -> None:
    """People of one group rate ten times as often; the items still follow the log."""
    log = [("rates",)] * 500 + [("silent",)] * 500
    known = [("rates",)] * 500 + [("silent",)] * 50
    assert drawn(log, known, 60) == {("rates",): 30, ("silent",): 30}


def test_a_group_with_few_candidates_gives_all() -> None:
    log = [("a",)] * 500 + [("b",)] * 500
    found = drawn(log, [("a",)] * 200 + [("b",)] * 5, 50)
    assert found == {("a",): 45, ("b",): 5}


def test_small_groups_get_their_share_together() -> None:
    """A hundred tenants of one percent and ten items: no rule of rounding leaves all or the same ones out."""
    log = [(f"tenant-{number:03d}",) for number in range(100) for _ in range(10)]
    found: Counter = Counter()
    for seed in range(200):
        once = drawn(log, log, 10, seed)
        assert sorted(once.values()) == [1] * 10
        found += once
    assert len(found) == 100
    assert max(found.values()) < 45  # 20 are expected of each


groups = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=40)


@pytest.mark.fuzz
@settings(max_examples=examples(), deadline=None, derandomize=True)
@given(more=groups, known=groups, count=st.integers(0, 60), seed=st.integers(0, 9))
def test_it_draws_the_count_or_all(
    more: list[tuple[str, str]], known: list[tuple[str, str]], count: int, seed: int
) -> None:
    places = draw_in_proportion([*more, *known], known, count, np.random.default_rng(seed))
    assert len(places) == len(set(places)) == min(count, len(known))
    assert all(0 <= place < len(known) for place in places)


@pytest.mark.parametrize("count", [7, 40, 99])
def test_every_candidate_can_be_drawn(count: int) -> None:
    log = [("a",)] * 60 + [("b",)] * 40
    seen: set[int] = set()
    for seed in range(400):
        seen.update(draw_in_proportion(log, log, count, np.random.default_rng(seed)))
    assert len(seen) == 100
