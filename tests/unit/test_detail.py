"""The comparison of two models by group and by class."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from pipelines.evaluation.detail import MOST, by_class, by_group

LABELS = ("yes", "no", "maybe")


def items(*subjects):
    return [{"subject": one, "tenant": "all", "locale": "all"} for one in subjects]


def both(before, after):
    return {"production": np.array(before, float), "candidate": np.array(after, float)}


def test_each_group_is_compared_by_each_scorer():
    scored = {"chrf": both([0.2, 0.4, 0.5], [0.6, 0.4, 0.5]), "exact": both([0, 0, 0], [1, 0, 0])}
    first, second = by_group(items("bills", "bills", "visits"), scored, 0.95)
    assert (first.of, first.group, second.group) == ("subject", "bills", "visits")
    assert first.scores["chrf"].difference.value == pytest.approx(0.2)
    assert first.scores["exact"].difference.value == 0.5
    assert second.scores["chrf"].n == 1


def test_equal_answers_of_a_small_group_prove_nothing():
    found = by_group(items("a", "a", "b"), {"exact": both([1, 1, 1], [1, 1, 1])}, 0.95)
    assert found[0].scores["exact"].difference.low < -0.5


def test_a_slice_with_one_group_is_left_out():
    assert by_group(items("a", "a"), {"exact": both([1, 1], [1, 0])}, 0.95) == ()


def test_only_the_largest_of_many_groups_are_shown():
    names = [f"g{place}" for place in range(40)]
    found = by_group(items(*names, "g7", "g39"), {"exact": both([0] * 42, [1] * 42)}, 0.95)
    assert len(found) == MOST
    assert {"g7", "g39"} <= {one.group for one in found}


def test_measures_by_class_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    right, before, after = (rng.choice(LABELS, 200).tolist() for _ in range(3))
    found = by_class({"production": before, "candidate": after}, right, 200, 0.95, 0)
    for given, side in ((before, "production"), (after, "candidate")):
        wanted = precision_recall_fscore_support(right, given, labels=LABELS)
        for place, label in enumerate(LABELS):
            one = getattr(found[label], side)
            assert (one.precision, one.recall, one.f1) == pytest.approx(
                [part[place] for part in wanted[:3]], abs=1e-6
            )
            assert found[label].n == wanted[3][place]


def test_a_class_that_is_never_answered_has_no_precision():
    found = by_class({"production": ["no"], "candidate": ["yes"]}, ["yes"], 50, 0.95, 0)["yes"]
    assert (found.production.precision, found.production.f1, found.candidate.f1) == (None, 0.0, 1.0)


def test_the_change_of_f1_lies_within_its_interval():
    right = ["yes", "no"] * 60
    before = ["yes"] * 120
    after = right[:100] + before[100:]
    change = by_class({"production": before, "candidate": after}, right, 2_000, 0.95, 0)["no"].f1
    assert 0 < change.low < change.value < change.high <= 1


def test_the_interval_of_f1_holds_at_its_rate():
    """400 samples of a world whose F1 are known: 95% intervals hold the true change in at least 90%."""
    rng, held = np.random.default_rng(3), 0
    for sample in range(400):
        right = rng.random(80) < 0.4
        before = np.where(rng.random(80) < 0.7, right, ~right)
        after = np.where(rng.random(80) < 0.8, right, ~right)
        given = {
            name: np.where(one, "yes", "no").tolist()
            for name, one in (("production", before), ("candidate", after))
        }
        change = by_class(given, np.where(right, "yes", "no").tolist(), 400, 0.95, sample)["yes"].f1
        held += change.low <= _f1(0.8) - _f1(0.7) <= change.high
    assert held / 400 >= 0.9


def _f1(right: float, share: float = 0.4) -> float:
    hits = share * right
    return 2 * hits / (hits + (1 - share) * (1 - right) + share)
