"""The fairness answers, by simulation: error rates under no harm and under a true harm, and power."""

import numpy as np
import pytest

from pipelines.policy.night import fairness

MARGIN, CONFIDENCE = 0.1, 0.95


def harms(rng, n, p_before, gained, lost):
    """Binary harms of n items: the candidate flips a share `gained` to harm, and `lost` back."""
    before = (rng.random(n) < p_before).astype(float)
    flip_up = (before == 0) & (rng.random(n) < gained / (1 - p_before))
    flip_down = (before == 1) & (rng.random(n) < lost / p_before)
    return before, before + flip_up - flip_down


def answers(seed, draws, sizes, gained, lost):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        groups = {str(i): harms(rng, n, 0.5, gained, lost) for i, n in enumerate(sizes)}
        found.append([a.answer for a in fairness.compare_groups(groups, MARGIN, CONFIDENCE).values()])
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("sizes", [(12,), (200,), (12,) * 20 + (40,) * 4])
def test_an_equal_candidate_is_rarely_called_worse(sizes, share):
    found = answers(1, 400, sizes, share, share)
    family_wise = (found == "worse").any(axis=1).mean()
    assert family_wise <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.slow
@pytest.mark.parametrize(("gained", "lost"), [(0.1, 0.0), (0.15, 0.05), (0.3, 0.2)])
@pytest.mark.parametrize("n", [12, 40, 200])
def test_a_true_harm_of_the_margin_is_rarely_called_not_worse(n, gained, lost):
    found = answers(2, 1000, (n,), gained, lost)
    assert (found == "not worse").mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


def test_one_harmed_group_of_many_decides_the_whole():
    rng = np.random.default_rng(3)
    fooled = 0
    for _ in range(300):
        groups = {str(i): harms(rng, 150, 0.5, 0.02, 0.02) for i in range(5)}
        groups["harmed"] = harms(rng, 150, 0.5, 0.15, 0.05)
        found = fairness.compare_groups(groups, MARGIN, CONFIDENCE)
        fooled += fairness.overall([a.answer for a in found.values()]) == "not worse"
    assert fooled / 300 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.slow
def test_power_is_there_where_the_items_are(record_property):
    quiet = (answers(4, 200, (300,), 0.05, 0.05) == "not worse").mean()
    harmed = (answers(5, 100, (300,) * 8, 0.3, 0.05) == "worse").mean()
    small = (answers(6, 200, (12,), 0.3, 0.05) == "cannot conclude").mean()
    record_property("power", f"not worse {quiet:.2f}, worse {harmed:.2f}, n=12 cannot conclude {small:.2f}")
    assert quiet > 0.9
    assert harmed > 0.95
    assert small > 0.6


def test_needed_items_settle_what_was_seen():
    rng = np.random.default_rng(7)
    first = fairness.compare(*harms(rng, 40, 0.5, 0.1, 0.1), MARGIN, 0.05, 1)
    assert first.answer == "cannot conclude"
    settled = [
        fairness.compare(*harms(rng, first.needs_n, 0.5, 0.1, 0.1), MARGIN, 0.05, 1).answer == "not worse"
        for _ in range(200)
    ]
    assert first.needs_n > 40
    assert np.mean(settled) > 0.6  # planned for 0.8, from a variance estimated on 40 items


def test_without_items_nothing_is_concluded():
    empty = fairness.compare([], [], MARGIN, 0.05, 3)
    assert (empty.answer, empty.low, empty.high, empty.production) == ("cannot conclude", -1, 1, None)
    assert empty.needs_n >= 29
    assert fairness.overall([]) == "cannot conclude"


def test_overall_needs_every_group_and_one_worse_is_enough():
    assert fairness.overall(["not worse", "not worse"]) == "not worse"
    assert fairness.overall(["not worse", "cannot conclude"]) == "cannot conclude"
    assert fairness.overall(["not worse", "cannot conclude", "worse"]) == "worse"


def test_a_stratified_choice_serves_small_groups():
    groups = ["big"] * 100 + ["small"] * 5 + ["tiny"] * 2
    chosen = fairness.stratified(groups, 30, np.random.default_rng(1))
    assert chosen == fairness.stratified(groups, 30, np.random.default_rng(1))
    assert chosen != fairness.stratified(groups, 30, np.random.default_rng(2))
    assert len(fairness.stratified(groups, 30, np.random.default_rng(1), most_of_each=4)) == 4 + 4 + 2
    counts = {name: sum(groups[i] == name for i in chosen) for name in ("big", "small", "tiny")}
    assert counts == {"big": 23, "small": 5, "tiny": 2}


def test_an_answer_that_everybody_got_was_no_merit():
    """Of 24 items half turn wrong. That is harm, unless production said their answer to all others too."""
    before, after = [0.0] * 15 + [1.0] * 9, [0.0] * 3 + [1.0] * 21
    assert fairness.compare(before, after, MARGIN, 0.05, 10).answer == "worse"
    said = fairness.compare(before, after, MARGIN, 0.05, 10, elsewhere=(0.4, 0.02))
    assert said.answer == "cannot conclude"
    assert said.difference == pytest.approx(0.12)
    assert (said.production, said.candidate) == pytest.approx((0.775, 0.895))
    overdone = fairness.compare(after, before, MARGIN, 0.05, 10, elsewhere=(0.0, 0.9))
    assert overdone.answer == "worse"  # right more often, because it says so to everybody
