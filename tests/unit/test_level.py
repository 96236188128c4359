"""The level of tonight's question: what a year's questions may spend, however they are spread."""

from collections import Counter
from datetime import date, timedelta
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.config import Gate
from pipelines.policy.night.level import Asks, earlier_asks, level_tonight, promise, shares_tonight
from tests.support.fuzz import examples

START = date(2026, 1, 1)


def spent(nights):
    """The shares that each of these questions spends."""
    return [shares_tonight(Asks(night, tuple(nights[:place]))) for place, night in enumerate(nights)]


def every(days, count):
    return [START + timedelta(days * i) for i in range(count)]


@given(st.lists(st.sampled_from([-400, -3, 0, 0, 1, 1, 1, 2, 7, 40, 364]), max_size=60))
@settings(max_examples=examples())
def test_no_365_nights_spend_more_than_the_allowance(gaps):
    nights, newest = [], []
    for gap in gaps:
        last = nights[-1] if nights else START
        nights.append(last + timedelta(gap))
        newest.append(max(nights))
    shares = spent(nights)
    assert all(share > 0 for share in shares)
    for first in newest:
        year = [s for s, night in zip(shares, newest, strict=True) if 0 <= (night - first).days < 365]
        assert sum(year) <= 400


def test_a_year_of_three_questions_a_night_spends_no_more():
    assert sum(spent([night for night in every(1, 365) for _ in range(3)])) <= 400


@pytest.mark.parametrize(("days", "shares"), [(1, 1), (7, 7), (14, 14), (90, 17.5)])
def test_regular_questions_get_what_their_nights_bring(days, shares):
    assert spent(every(days, 40))[-1] == pytest.approx(shares, rel=1e-6)


def test_an_alerts_question_gets_half_of_what_is_left():
    nights = every(1, 60)
    assert spent([*nights, nights[-1], nights[-1] + timedelta(1)])[-3:] == pytest.approx([1, 0.5, 0.75])


def test_an_old_night_again_counts_as_asked_now():
    nights = every(1, 60)
    assert spent([*nights, START, nights[-1]])[-2:] == pytest.approx([0.5, 0.25])


def test_the_level_is_the_share_of_the_promise():
    tonight = Asks(START + timedelta(60), tuple(every(1, 60)))
    assert level_tonight(Gate(false_passes_a_year=2.0), tonight) == pytest.approx(2 / 400)
    assert level_tonight(Gate(false_passes_a_year=365.0), Asks(START)) == 1


def test_familywise_levels_sum_to_alpha():
    gate = Gate(error_rate="familywise")
    levels = [level_tonight(gate, Asks(START, of_suite=k)) for k in range(100_000)]
    assert sum(levels) == pytest.approx(0.05, abs=1e-6)
    assert levels[0] == 0.025


def test_only_runs_that_asked_count():
    earlier = [(START, "a"), (START, None), (START + timedelta(1), "b"), (START, "old a")]
    found = earlier_asks(START, earlier, {"a", "old a", None})
    assert found == Asks(START, (START, START + timedelta(1), START), of_suite=2)


def test_the_promise_is_one_sentence():
    assert promise(Gate()) == (
        "In any 365 nights at most 0.5 candidates are expected to pass that are better by less than 2 points."
    )
    assert promise(Gate(error_rate="familywise")).endswith("better by less than 2 points is at most 5%.")


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 1.0])
def test_familywise_holds_for_each_item_of_renewed_suites(share):
    """A suite of 50 items is renewed every 5 nights. By digest alone each renewal would begin anew."""
    rng, gate = np.random.default_rng(3), Gate(error_rate="familywise")
    suite, coming, asked, levels = list(range(50)), count(50), [], []
    for night in range(200):
        if night % 5 == 4:
            leaving = set(rng.choice(suite, round(share * 50), replace=False).tolist())
            suite = [next(coming) if one in leaving else one for one in suite]
        then = [(START, str(number)) for number in range(night)]
        kin = {str(number) for number, items in enumerate(asked) if not items.isdisjoint(suite)}
        levels.append(level_tonight(gate, earlier_asks(START, then, kin)))
        asked.append(frozenset(suite))
    by_item = Counter()
    for items, level in zip(asked, levels, strict=True):
        by_item.update(dict.fromkeys(items, level))
    assert max(by_item.values()) <= gate.alpha
    by_digest = sum(gate.alpha / (k * (k + 1)) for k in range(1, 6)) * 40
    assert (sum(levels) > 0.99 * by_digest) is (share == 1.0), "only a whole new suite begins anew"
