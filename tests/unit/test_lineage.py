"""Nights as spans: a year fits into a tag, and nothing is lost on the way."""

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.policy.night.lineage import nights_in, spans

DAYS = st.sets(st.dates(date(2025, 1, 1), date(2026, 12, 31)), max_size=60)


@given(DAYS)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_spans_hold_exactly_their_nights(nights):
    assert nights_in(spans(nights)) == nights


def test_neighbours_are_one_span():
    first = date(2026, 1, 1)
    year = [first + timedelta(days=n) for n in range(365)]
    assert spans(year) == ["2026-01-01..2026-12-31"]
    assert spans([*year[:3], year[5]]) == ["2026-01-01..2026-01-03", "2026-01-06"]
    assert spans([]) == []
