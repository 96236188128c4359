"""What the gate promises, in simulated years, and its power. `benchmarks.decisions` prints all tables."""

import numpy as np
import pytest

from benchmarks.gate_worlds import FAMILYWISE, ITEMS, YEARLY, World, chances, false_passes, levels

MARGIN = YEARLY.min_improvement


@pytest.mark.slow
@pytest.mark.parametrize("world", [World("new answers"), World("follows verdicts", follows=True)])
def test_a_year_lets_few_false_candidates_pass(world):
    passed = false_passes(world, YEARLY, histories=200, nights=365, seed=1)
    error = 3 * passed.std() / np.sqrt(len(passed))
    assert passed.mean() <= YEARLY.false_passes_a_year + error
    assert passed.mean() + error >= 0.1  # a rule that lets nothing pass would keep any promise


def test_power_does_not_fall_from_night_to_night():
    """A true 10 points on the sample's items; today's steady power is 37.6%, added up exactly."""
    found = chances(ITEMS, 0.2, 0.1, levels(YEARLY, 365)[[0, 6, 29, 364]], MARGIN)
    assert found[0] > 0.7
    assert found[2] == pytest.approx(found[3], abs=0.01)
    assert 0.33 < found[3] < 0.42
    assert chances(ITEMS, 0.2, 0.1, levels(FAMILYWISE, 365)[[29, 364]], MARGIN).max() < 0.15


def test_one_night_keeps_its_level_at_the_margin():
    asked = levels(YEARLY, 60)
    for discordant in (0.03, 0.2, 0.6):
        assert (chances(60, discordant, MARGIN, asked, MARGIN) <= asked).all()
