from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.policy.night.parity import Skew, check, compare, is_old, stale

AT = datetime(2026, 1, 4, tzinfo=UTC)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def one(value):
    return {"anna": {"rate": value}}


@given(finite)
def test_equal_values_agree(value):
    assert compare(one(value), one(value), tolerance=0.0) == []


@given(finite, st.floats(min_value=1.01e-3, max_value=1e6))
def test_a_difference_above_the_tolerance_is_found(value, factor):
    shifted = value + factor * max(1.0, abs(value))
    assert compare(one(value), one(shifted), tolerance=1e-3) == [Skew("anna", "rate", value, shifted)]


@pytest.mark.parametrize("other", [0.0, float("nan"), float("inf")])
def test_null_equals_null_only(other):
    assert compare(one(None), one(None), 1e-6) == []
    assert len(compare(one(None), one(other), 1e-6)) == 1
    assert len(compare(one(0.5), one(None), 1e-6)) == 1


def test_an_entity_missing_online_differs_in_every_value():
    assert len(compare({"anna": {"a": 1, "b": 2}}, {}, 1e-6)) == 2


@pytest.mark.parametrize(
    ("age", "found"),
    [(timedelta(0), 0), (timedelta(hours=48), 0), (timedelta(hours=49), 1), (-timedelta(1), 1)],
)
def test_freshness(age, found):
    assert len(stale({"anna": AT - age}, AT, timedelta(hours=48))) == found


def test_an_entity_that_was_never_written_is_stale():
    assert stale({"anna": None}, AT, timedelta(hours=48)) == [
        Skew("anna", "event_timestamp", AT.isoformat(), None)
    ]


def test_a_check_names_age_and_values():
    skews = check(one(0.5), one(0.7), {"anna": None}, AT, timedelta(hours=48), 1e-6)
    assert [skew.feature for skew in skews] == ["event_timestamp", "rate"]


@pytest.mark.parametrize(("hours", "old"), [(0, False), (48, False), (49, True), (None, True)])
def test_features_grow_old(hours, old):
    newest = None if hours is None else AT - timedelta(hours=hours)
    assert is_old(newest, AT, timedelta(hours=48)) is old
