"""Anchors: many small losses add up to no more than the anchors' limits."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from pipelines.core.config import Evaluate, Gate
from pipelines.core.contract import Verdict
from pipelines.core.facts.common import Baseline
from pipelines.policy.night.anchors import anchor_checks, anchors_tonight
from pipelines.policy.night.gate import check_candidate
from pipelines.policy.night.level import Asks
from pipelines.policy.night.measured import measured_from
from pipelines.policy.stats.intervals import paired_difference
from tests.support.facts import facts_like, group

BASE = Baseline(kind="base")
ONE, TWO = (Baseline(kind="adapter", version=str(n), digest=str(n) * 64) for n in (1, 2))
ITEMS = 300
FIRST = Asks(date(2026, 1, 1))  # nobody asked before
NAMES = ("general ability", "perplexity", "forgetting")
rng = np.random.default_rng(7)


def compared(before, after):
    """As evaluate writes it down, with its own interval."""
    value, low, high = paired_difference(before, after, 300, 0.95, 7)
    means = {"production": float(before.mean()), "candidate": float(after.mean())}
    return {"n": len(before), **means, "difference": {"value": value, "low": low, "high": high}}


def beliefs(loss, concentration=8.0, n=ITEMS):
    """Probabilities of the right answer with the mean 0.8 - `loss`, spread as a Beta distribution."""
    mean = 0.8 - loss
    return rng.beta(mean * concentration, (1 - mean) * concentration, n)


def ratio(value):
    return {"production": 20.0, "candidate": 20.0 * value, "ratio": value}


def against(anchor, general, perplexity, forgetting=None):
    parts = {"general": general, "perplexity": ratio(perplexity), "forgetting": forgetting}
    return {"name": anchor.name, "digest": anchor.digest, **parts}


def found(general, perplexity=1.05, anchors=(), **changes):
    """A candidate that is clearly better at the task."""
    facts = facts_like(
        "evaluate",
        baseline="adapter",
        paired={"n": 240, "both": 20, "only_production": 10, "only_candidate": 90, "neither": 120},
        general=general,
        perplexity=ratio(perplexity),
        forgetting={**compared(beliefs(0), beliefs(0)), "paired": lost(5)},
        anchors=list(anchors),
        **changes,
    )
    fairness = {"stereotype": [group("not worse")], "slices": [], "answer": "not worse"}
    timed = {"latency_ms": ratio(1.0)}
    return measured_from(facts, timed, fairness, {"answer": "safe"})


def lost(count, n=400):
    return {"n": n, "both": n - count, "only_production": count, "only_candidate": 0, "neither": 0}


def test_five_small_losses_do_not_pass_together():
    """Each night loses 0.05 and makes text 1.8 times as unlikely; the first may pass, the fifth never."""
    settings = Gate(max_perplexity_ratio=2.0)
    verdicts, without = [], []
    for night in range(1, 6):
        anchor = against(BASE, compared(beliefs(0), beliefs(0.05 * night)), 1.8**night)
        tonight = found(compared(beliefs(0.05 * (night - 1)), beliefs(0.05 * night)), 1.8, [anchor])
        verdicts.append(check_candidate("adapter", tonight, settings, FIRST, [BASE])[1])
        without.append(check_candidate("adapter", tonight, settings, FIRST)[1])
    assert set(without) == {Verdict.PROCEED}, "each night's loss is within the limits against production"
    assert verdicts[0] is Verdict.PROCEED
    assert set(verdicts[1:]) == {Verdict.REJECT}


def test_each_guard_is_a_row_with_its_own_limit():
    settings = Gate(max_anchor_forgetting=0.3)
    forgotten = {**compared(beliefs(0), beliefs(0)), "paired": lost(40)}
    anchors = [against(one, compared(beliefs(0), beliefs(0)), 1.2, forgotten) for one in (BASE, ONE)]
    table, verdict = check_candidate(
        "adapter", found(anchors[0]["general"], 1.1, anchors), settings, FIRST, [BASE, ONE]
    )
    rows = {row.check: row for row in table}
    assert verdict is Verdict.PROCEED, table
    for anchor in ("the base", "version 1"):
        limits = [rows[f"{name} against {anchor}"].limit for name in NAMES]
        assert limits == [-0.2, 3.0, -0.3]
        assert anchor in rows[f"general ability against {anchor}"].measure
    assert rows["forgetting against version 1"].value == pytest.approx(-0.1)


@pytest.mark.parametrize("anchors", [None, [], [{"digest": "", "name": "the base"}], "absent"])
def test_an_anchor_that_was_not_measured_holds(anchors):
    changes = {} if anchors == "absent" else {"anchors": anchors}
    tonight = found(compared(beliefs(0), beliefs(0)))
    facts = facts_like("evaluate", **changes)
    tonight = type(tonight)(
        measured_from(facts, {}, {}, {}).evaluate.model_copy(
            update=dict(tonight.evaluate) | {"anchors": measured_from(facts, {}, {}, {}).evaluate.anchors}
        ),
        tonight.readings, tonight.fairness, tonight.safety, tonight.unreadable,
    )  # fmt: skip
    assert check_candidate("adapter", tonight, Gate(), FIRST, [BASE])[1] is Verdict.HOLD


def test_an_anchors_limits_are_never_the_narrower_ones():
    """A profile that allows more against production keeps its meaning."""
    loose = Gate(max_perplexity_ratio=100.0, max_general_loss=1.0, max_forgetting=1.0)
    anchor = against(BASE, compared(beliefs(0), beliefs(0.5)), 50.0)
    rows = anchor_checks([BASE], found(compared(beliefs(0), beliefs(0)), anchors=[anchor]), loose)
    assert [row.answer for row in rows] == ["pass", "pass"]


def test_production_is_no_anchor_of_its_own():
    assert anchors_tonight(BASE, None) == ()
    assert anchors_tonight(ONE, None) == (BASE,)
    assert anchors_tonight(ONE, ONE) == (BASE,)
    assert anchors_tonight(TWO, ONE) == (BASE, ONE)
    assert anchors_tonight(BASE, ONE) == (ONE,)


def passes(loss, concentration, times=100):
    """Share of candidates that pass, with the default number of items."""
    settings, count, n = Gate(), 0, Evaluate().general_items
    for _ in range(times):
        anchor = against(BASE, compared(beliefs(0, concentration, n), beliefs(loss, concentration, n)), 1.2)
        row = anchor_checks([BASE], found(anchor["general"], anchors=[anchor]), settings)[0]
        count += row.answer == "pass"
    return count / times


@pytest.mark.parametrize("concentration", [8.0, 1.0])
def test_a_loss_at_the_limit_hardly_ever_passes(concentration):
    """The interval promises 2.5%; 2.3% and 4.0% (where beliefs spread widely) of 300 draws passed."""
    assert passes(0.2, concentration) < 0.1
    assert passes(0.05, concentration) > 0.55, "power: a quarter of the allowed loss"
