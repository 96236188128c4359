"""The newest feedback of each request, and the account of all of it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.data.lake import connect
from pipelines.data.reader.feedback import Told
from pipelines.data.separate_feedback import load_feedback
from tests.support.fuzz import examples

NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)


def at(hours):
    return NOON + timedelta(hours=hours)


def load(tmp_path, *rows):
    with connect(64, tmp_path) as connection:
        found = load_feedback(rows, tmp_path / "feedback.parquet", connection)
        newest = connection.execute("SELECT request_id, rating FROM feedback ORDER BY 1").fetchall()
        withdrawn = connection.execute("SELECT request_id FROM withdrawn ORDER BY 1").fetchall()
    assert found.read == sum(found.refused.values()) + found.withdrawn + found.superseded + len(newest)
    return found, newest, [name for (name,) in withdrawn]


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        (None, None, -1),
        (at(0), at(1), -1),
        (at(1), at(0), 1),
        (at(0), at(0), -1),
        (None, at(0), -1),
        (at(0), None, 1),
    ],
)
def test_the_newest_stands_by_its_time_else_by_its_place(tmp_path, first, second, stands):
    rows = [Told("a", 1, feedback_ts=first), Told("a", -1, feedback_ts=second)]
    assert load(tmp_path, *rows)[1] == [("a", stands)]


def test_every_row_has_its_fate(tmp_path):
    found, newest, withdrawn = load(
        tmp_path,
        Told("a", 1),
        Told("a", -1),
        Told("b", 1),
        Told("c", 1),
        Told("c", opt_out=True),
        Told("c", 1),
        Told(problem="request_id is missing"),
    )
    assert (newest, withdrawn) == ([("a", -1), ("b", 1)], ["c"])
    assert (found.withdrawn, found.superseded, found.refused) == (3, 1, {"request_id is missing": 1})


def test_no_feedback_is_an_empty_table(tmp_path):
    assert load(tmp_path)[1:] == ([], [])


ANY = st.builds(
    Told,
    st.sampled_from("abc"),
    st.sampled_from([1, -1]),
    st.none(),
    st.none() | st.integers(0, 3).map(at),
    st.integers(0, 9).map(lambda number: number == 0),
    st.none(),
)


@pytest.mark.slow
@settings(max_examples=examples())
@given(st.lists(ANY, max_size=12))
def test_what_stands_is_what_a_reader_in_order_would_keep(tmp_path_factory, rows):
    kept: dict[str, Told] = {}
    for row in rows:
        before = kept.get(row.request_id)
        if (
            not before
            or not before.feedback_ts
            or (row.feedback_ts and row.feedback_ts >= before.feedback_ts)
        ):
            kept[row.request_id] = row
    _, newest, _ = load(tmp_path_factory.mktemp("feedback"), *rows)
    gone = {row.request_id for row in rows if row.opt_out}
    assert dict(newest) == {name: row.rating for name, row in kept.items() if name not in gone}
