"""A judge has to agree in the half whose answers are most alike, also where most pairs share nothing."""

import math
from datetime import date

import numpy as np
import pytest

from pipelines.core.config import Judge
from pipelines.core.contract import digest_of
from pipelines.evaluation.judges.ask import Pair, Verdict
from pipelines.evaluation.judges.choices import Choice
from pipelines.evaluation.judges.proof import beside
from pipelines.policy.night.judge_proof import Compared, _most_alike, prove

NIGHT = date(2026, 1, 1)


def world(seed, alike, count=200):
    """A judge that is right where two answers share nothing, and says anything where they are alike."""
    rng, found = np.random.default_rng(seed), []
    for place in range(count):
        is_alike, longer = place < alike * count, 1 if place % 2 else -1
        right = float(rng.random() < 0.5) if is_alike else 1.0
        share = 0.6 + place / 1_000 if is_alike else 0.0
        found.append(Compared(place, right, 0.0, longer, share, digest_of([seed, place])))
    return found


def proof_of(compared):
    return prove(compared, 0, 0, Judge(), "", NIGHT)


@pytest.mark.parametrize("alike", [0.48, 0.5, 0.6])
def test_a_judge_of_unlike_pairs_seldom_proves_itself(alike):
    proofs = [proof_of(world(seed, alike)) for seed in range(40)]
    assert all(proof.agreement.value > 0.6 for proof in proofs)
    assert sum(proof.is_proved for proof in proofs) <= 2


def shuffled(compared, seed=0):
    return [compared[place] for place in np.random.default_rng(seed).permutation(len(compared))]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 200])
@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
def test_the_half_is_a_half_in_any_order(alike, count):
    made = world(1, alike, count)
    half = _most_alike(shuffled(made))
    assert half == _most_alike(made)
    assert len(half) == math.ceil(count / 2)
    left = set(made) - set(half)
    assert min((one.alike for one in half), default=1) >= max((one.alike for one in left), default=0)


def test_ties_are_drawn_without_what_the_judge_said():
    """The judge agrees in the first 100 of 200 pairs that are as alike: half of those drawn are of them."""
    tied = [one._replace(agreement=float(place < 100), alike=0.0) for place, one in enumerate(world(2, 0.0))]
    assert 0.35 < proof_of(tied).on_alike.value < 0.65


def test_a_pair_has_a_name_of_its_own():
    pairs = [Pair([{"role": "user", "content": f"{number}?"}], "No.", "Yes.") for number in range(9)]
    named = [beside(Choice(pair, ("t", "a")), pair, Verdict(won, 0.0)) for pair in pairs for won in (1, -1)]
    assert len({one.name for one in named}) == 9
