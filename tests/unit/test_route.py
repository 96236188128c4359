"""The moves of the route table, and the ledger that keeps them."""

import pytest

from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.traffic_split import (
    Adapter,
    Route,
    aborted,
    rolled_back,
    to_canary,
    to_production,
    to_shadow,
)
from pipelines.stores.ledger import START, Ledger

ONE, TWO = Adapter("1", "a" * 64), Adapter("2", "b" * 64)


def promoted(route, adapter):
    return to_production(to_canary(to_shadow(route, adapter), adapter, 0.25), adapter)


def test_a_rollout_goes_through_its_stages():
    shadow = to_shadow(Route(), ONE)
    assert (shadow.shadow, shadow.production, shadow.in_rollout) == (ONE, None, ONE)
    canary = to_canary(shadow, ONE, 0.05)
    assert (canary.shadow, canary.canary, canary.canary_weight) == (None, ONE, 0.05)
    first = to_production(canary, ONE)
    assert first == Route(production=ONE, has_previous=True)
    assert promoted(first, TWO) == Route(production=TWO, previous=ONE, has_previous=True)


def test_every_move_can_be_made_twice():
    shadow = to_shadow(Route(), ONE)
    assert to_shadow(shadow, ONE) == shadow
    done = promoted(Route(production=ONE), TWO)
    assert to_production(done, TWO) == done
    assert rolled_back(rolled_back(done)) == rolled_back(done) == Route(production=ONE)
    assert aborted(aborted(shadow)) == Route()


def test_a_rollback_ends_a_rollout_and_can_reach_the_base():
    first = promoted(Route(), ONE)
    assert rolled_back(to_canary(to_shadow(first, TWO), TWO, 0.05)) == Route()


def test_an_adapter_that_is_not_in_rollout_is_refused():
    with pytest.raises(InputError, match="version 1 is in rollout"):
        to_shadow(to_shadow(Route(), ONE), TWO)
    for move in (lambda route: to_canary(route, TWO, 0.05), lambda route: to_production(route, TWO)):
        with pytest.raises(InputError, match="not in rollout"):
            move(to_shadow(Route(), ONE))
    with pytest.raises(InputError):  # the same version with other content
        to_production(to_shadow(Route(), ONE), Adapter("1", "c" * 64))


def test_the_ledger_keeps_each_move_and_refuses_a_stale_one(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    assert ledger.promotion() == START
    shadow = ledger.add_promotion(START, "shadow", to_shadow(Route(), ONE), "a candidate", "scheduler")
    assert (shadow.number, shadow.route, ledger.promotion()) == (1, to_shadow(Route(), ONE), shadow)
    assert ledger.add_promotion(shadow, "shadow", shadow.route, "again", "scheduler") == shadow
    with pytest.raises(IntegrityError, match="promotion 0"):
        ledger.add_promotion(START, "abort", Route(production=TWO), "late", "someone")
    ledger.add_promotion(shadow, "abort", aborted(shadow.route), "slower", "judge", evidence={"p99": 2.0})
    assert [(move.number, move.move) for move in ledger.promotions()] == [(1, "shadow"), (2, "abort")]
    assert ledger.promotions()[1].evidence == {"p99": 2.0}
    assert ledger.verify() == 2
